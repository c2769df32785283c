//! What the function is told by its environment.

use std::str::FromStr;

use portwarden_advisories::FOLDERS;
use portwarden_aws::{AwsSettings, Settings, SettingsError};
use portwarden_core::advisory::FeedSource;

/// What the function is told by its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvisorSettings {
    pub(crate) aws: AwsSettings,
    pub(crate) table: String,
    pub(crate) bucket: String,
    pub(crate) rematch_queue: String,
    pub(crate) source: FeedSource,
    pub(crate) folders: Folders,
}

/// The folders of the feed that are followed: some of [`FOLDERS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders(pub(crate) Vec<&'static str>);

/// A text is not a list of folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected folders of OSV's feed with commas between them, such as Debian,Rocky Linux,npm")]
pub struct FoldersError;

impl FromStr for Folders {
    type Err = FoldersError;

    fn from_str(text: &str) -> Result<Self, FoldersError> {
        let known = |name: &str| FOLDERS.into_iter().find(|folder| *folder == name.trim());
        let mut folders = text
            .split(',')
            .map(|name| known(name).ok_or(FoldersError))
            .collect::<Result<Vec<_>, _>>()?;
        folders.sort_unstable();
        folders.dedup();
        Ok(Self(folders))
    }
}

impl AdvisorSettings {
    /// Reads the settings, or says everything that is wrong with them.
    pub fn read(mut settings: Settings) -> Result<Self, SettingsError> {
        let aws = AwsSettings::read(&mut settings);
        let table = settings.required("TABLE_NAME");
        let bucket = settings.required("REPORT_BUCKET");
        let rematch_queue = settings.required("REMATCH_QUEUE_URL");
        let source = settings.required("ADVISORY_SOURCE");
        let folders = settings.required("ADVISORY_FOLDERS");
        settings.finish(|| {
            Some(Self {
                aws: aws?,
                table: table?,
                bucket: bucket?,
                rematch_queue: rematch_queue?,
                source: source?,
                folders: folders?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_setting_is_named_at_once() {
        let error = AdvisorSettings::read(Settings::from_vars([])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "AWS_REGION is missing; TABLE_NAME is missing; REPORT_BUCKET is missing; REMATCH_QUEUE_URL is missing; \
             ADVISORY_SOURCE is missing; ADVISORY_FOLDERS is missing"
        );
    }

    #[test]
    fn folders_are_those_that_can_be_matched() {
        assert_eq!(
            "npm,Rocky Linux, Debian,npm".parse(),
            Ok(Folders(vec!["Debian", "Rocky Linux", "npm"]))
        );
        for text in ["", ",", "debian", "Debian,", "../etc", "Linux"] {
            assert_eq!(text.parse::<Folders>(), Err(FoldersError), "{text:?}");
        }
    }
}
