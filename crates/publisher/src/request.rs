//! What CloudFormation asks of a custom resource, read so that even a bad request can be answered.
//!
//! Source: CloudFormation user guide, "Custom resource request objects". Values of properties come as texts or lists.

use portwarden_core::{
    arn::RoleArn,
    id::Region,
    tenant_template::publication::{TemplateBucket, TemplateVersion},
};
use reqwest::Url;
use serde_json::Value;

use crate::error::{AnswerError, PublishError};

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// How to answer.
    pub reply: Reply,
    /// What to do, or why that is not clear.
    pub work: Result<Work, PublishError>,
}

/// What an answer must repeat, and where it goes.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Where it goes: S3, or an emulator on this machine.
    pub url: Url,
    /// The stack.
    pub stack_id: String,
    /// The request.
    pub request_id: String,
    /// The resource's name in the template.
    pub logical_id: String,
    /// The resource's own id, if it was given one.
    pub physical_id: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Create or update: publish a version and let links lead to it.
    Publish(Publication),
    /// Delete: let no link lead here any more.
    Withdraw(Publication),
    /// Delete what was never published.
    Nothing,
}

/// What the resource's properties say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The version.
    pub version: TemplateVersion,
    /// The SHA-256 of the template as the stack's source keeps it.
    pub source_sha256: String,
    /// The role that tenants' roles trust.
    pub connector: RoleArn,
    /// Where to publish.
    pub main: TemplateBucket,
    /// Where copies go.
    pub copies: Vec<TemplateBucket>,
    /// Whether deleting removes the versions, too.
    pub remove_versions: bool,
}

/// The id of a resource that was published: there is one in a stack, so it never changes.
pub(crate) const PUBLISHED: &str = "tenant-template";

/// The id of a resource that could not be created.
///
/// CloudFormation deletes such a resource, too, which must not take away what another deployment published in the
/// same bucket.
pub(crate) const UNPUBLISHED: &str = "tenant-template-unpublished";

impl Request {
    /// Reads an event; fails only where nobody can be answered.
    pub fn read(event: &Value, is_emulated: bool) -> Result<Self, AnswerError> {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let physical_id = Some(repeated(text("PhysicalResourceId"))).filter(|id| !id.is_empty());
        let reply = Reply {
            url: response_url(text("ResponseURL"), is_emulated)?,
            stack_id: repeated(text("StackId")),
            request_id: repeated(text("RequestId")),
            logical_id: repeated(text("LogicalResourceId")),
            physical_id,
        };
        let repeated = [
            ("StackId", &reply.stack_id),
            ("RequestId", &reply.request_id),
            ("LogicalResourceId", &reply.logical_id),
        ];
        let missing = repeated.into_iter().find(|(_, value)| value.is_empty());
        if let Some(name) = missing.map(|(name, _)| name) {
            let work = Err(bad(name, "is missing"));
            return Ok(Self { reply, work });
        }
        let publication = Publication::read(&event["ResourceProperties"]);
        let work = match text("RequestType") {
            "Create" | "Update" => publication.map(Work::Publish),
            "Delete" if reply.physical_id.as_deref() == Some(UNPUBLISHED) => Ok(Work::Nothing),
            "Delete" => Ok(publication.map_or(Work::Nothing, Work::Withdraw)),
            _ => Err(bad("RequestType", "is none of Create, Update and Delete")),
        };
        Ok(Self { reply, work })
    }
}

impl Publication {
    fn read(properties: &Value) -> Result<Self, PublishError> {
        let text = |name: &'static str| {
            let text = properties[name].as_str().filter(|text| !text.is_empty());
            text.ok_or_else(|| bad(name, "is missing"))
        };
        let region = parsed("BucketRegion", text("BucketRegion")?.parse())?;
        let main = parsed("Bucket", TemplateBucket::new(text("Bucket")?, region))?;
        let mut copies = Vec::new();
        if let Ok(prefix) = text("RegionalBucketPrefix") {
            let regions = properties["RegionalBucketRegions"].as_array();
            for region in regions.ok_or_else(|| bad("RegionalBucketRegions", "is not a list"))? {
                let region = region.as_str().unwrap_or_default();
                let region = parsed("RegionalBucketRegions", region.parse::<Region>())?;
                copies.push(parsed(
                    "RegionalBucketPrefix",
                    TemplateBucket::regional(prefix, &region),
                )?);
            }
        }
        Ok(Self {
            version: parsed("Version", text("Version")?.parse())?,
            source_sha256: text("SourceSha256")?.to_owned(),
            connector: parsed("ConnectorRoleArn", text("ConnectorRoleArn")?.parse())?,
            main,
            copies,
            remove_versions: match text("RemoveVersionsOnDelete")? {
                "true" => true,
                "false" => false,
                _ => return Err(bad("RemoveVersionsOnDelete", "is neither true nor false")),
            },
        })
    }
}

/// Says which property it is that cannot be read, and what was expected.
fn parsed<T, E: std::error::Error>(name: &'static str, result: Result<T, E>) -> Result<T, PublishError> {
    result.map_err(|error| bad(name, format!("is not valid: {error}")))
}

fn bad(name: &'static str, reason: impl Into<String>) -> PublishError {
    PublishError::Request {
        name,
        reason: reason.into(),
    }
}

/// Takes a text that an answer repeats, or nothing where it is none that CloudFormation sends: an answer has 4,096 bytes.
fn repeated(text: &str) -> String {
    let is_plain = text.len() <= 512
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if is_plain { text.to_owned() } else { String::new() }
}

/// Answers go to S3 by HTTPS, where CloudFormation waits for them, or to an emulator on this machine.
fn response_url(text: &str, is_emulated: bool) -> Result<Url, AnswerError> {
    let refuse = AnswerError::NowhereToAnswer;
    let url: Url = text.parse().map_err(|_| refuse("it is missing, or no URL"))?;
    let host = url.host_str().unwrap_or_default();
    if is_emulated {
        // At any port: functions may reach the emulator by way of something else.
        let is_here = url.scheme() == "http" && ["localhost", "127.0.0.1"].contains(&host);
        return if is_here {
            Ok(url)
        } else {
            Err(refuse("it is not an emulator's on this machine"))
        };
    }
    let is_aws = [".amazonaws.com", ".amazonaws.com.cn"]
        .iter()
        .any(|suffix| host.ends_with(suffix));
    if url.scheme() == "https" && is_aws && url.port().is_none() {
        Ok(url)
    } else {
        Err(refuse("it is not an address of AWS"))
    }
}
