//! Why CloudFormation is told of a failure, and why it cannot be told anything.

use portwarden_core::tenant_template::publication::{BucketError, TemplateBucket, TemplateVersion};

/// Why a template was not published or withdrawn; its text is what the stack's events show, with everything behind it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The event is not what CloudFormation sends, or the resource's properties are not what the template must give.
    #[error("{name} {reason}")]
    Request {
        /// The field or property.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The function was built from another template than the stack's.
    #[error(
        "the function holds another text of version {version} than the stack was deployed with; build it again (sam build) \
         and deploy both together"
    )]
    OtherBuild {
        /// The version that both claim.
        version: TemplateVersion,
    },
    /// The version is published with other content, and stacks may have been made from it.
    #[error(
        "version {version} is already published in bucket {bucket} with other content; raise the version of the tenants' \
         template, or name another bucket"
    )]
    VersionTaken {
        /// The version.
        version: TemplateVersion,
        /// Where it is.
        bucket: TemplateBucket,
    },
    /// The version is neither the function's own nor published.
    #[error("version {version} is not published in bucket {bucket}, and the function holds version {built}")]
    VersionMissing {
        /// The version.
        version: TemplateVersion,
        /// Where it is not.
        bucket: TemplateBucket,
        /// The version that the function was built with.
        built: &'static str,
    },
    /// A bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The work panicked; CloudFormation is to hear of it at once, and not when its patience ends.
    #[error("the publisher failed; its log says where")]
    Panicked,
    /// The time that is left is for the answer.
    #[error("S3 did not answer within {seconds} s; deploy again")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
}

impl PublishError {
    /// Returns the stable code that the log and alarms know.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Request { .. } => "request_malformed",
            Self::OtherBuild { .. } => "template_build_differs",
            Self::VersionTaken { .. } => "template_version_taken",
            Self::VersionMissing { .. } => "template_version_missing",
            Self::Bucket(BucketError::Missing(_)) => "template_bucket_missing",
            Self::Bucket(BucketError::Denied(..)) => "template_bucket_denied",
            Self::Bucket(BucketError::Unavailable(..)) => "template_bucket_unavailable",
            Self::Panicked => "publisher_panicked",
            Self::TimedOut { .. } => "publishing_timed_out",
        }
    }
}

/// Why there is no answer; Lambda tries again, and the resource's `ServiceTimeout` ends the wait.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Nobody can be answered.
    #[error("the event has no ResponseURL that an answer may be sent to: {0}")]
    NowhereToAnswer(&'static str),
    /// The answer was not taken.
    #[error("the answer was not taken: {0}")]
    NotTaken(String),
}

impl AnswerError {
    /// Returns the stable code that the log knows.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NowhereToAnswer(_) => "response_url_refused",
            Self::NotTaken(_) => "answer_not_taken",
        }
    }
}
