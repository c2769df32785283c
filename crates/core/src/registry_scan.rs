//! What ECR's own scanning, basic or enhanced, found in an image, as far as its tenant lets us read it.

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ecr::{EcrError, RegistryId},
    session::Session,
};

/// What a scan of ECR's own found in an image: the JSON that lies beside its report.
///
/// The same answers of ECR give the same bytes: what changes with every scan, such as when a finding was last seen, is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryScan {
    /// Who scanned.
    pub scanner: RegistryScanner,
    /// When the scan ended, where ECR says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Whether there are more findings than were read.
    #[serde(default)]
    pub truncated: bool,
    /// The findings, each once for every package that has it, in an order of their own.
    pub findings: Vec<RegistryFinding>,
}

/// Which of ECR's two ways of scanning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistryScanner {
    /// Basic scanning, ECR's own.
    Basic,
    /// Enhanced scanning, which is Amazon Inspector's.
    Enhanced,
}

/// A flaw of a package in the words of ECR.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct RegistryFinding {
    /// The flaw's names; the one that ECR gives it comes first.
    pub ids: Vec<String>,
    /// The name of the package, or of its source package.
    pub package: String,
    /// The package's whole version, with epoch and release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What manages the package, in Amazon Inspector's word, such as `OS` or `JAR`; basic scanning says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// The version that fixes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// How bad it is, in ECR's word, such as `HIGH`.
    pub severity: String,
    /// The score in tenths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_tenths: Option<u8>,
    /// The CVSS vector of the newest version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<String>,
    /// What it is; may be empty.
    pub summary: String,
    /// Where to read more.
    pub links: Vec<String>,
    /// When it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
}

impl RegistryScan {
    /// Writes the scan as JSON.
    ///
    /// # Panics
    ///
    /// Never: texts, numbers and lists can always be written as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and lists can be written as JSON")
    }

    /// Stands for the content: another text for every other one.
    pub fn stamp(&self) -> String {
        Digest::of(&self.to_json()).hex()[..16].to_owned()
    }
}

/// Reads what ECR's own scanning found.
#[async_trait]
pub trait ReadRegistryScan: Send + Sync {
    /// Returns what was found in an image; nothing if no scan of it has ended well, for whatever reason ECR gives.
    async fn registry_scan(
        &self,
        session: &Session,
        registry: &RegistryId,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<RegistryScan>, EcrError>;
}
