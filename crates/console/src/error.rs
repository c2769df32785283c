//! Why a request is refused, and how that is told: problem details with a stable code and the fix.
//!
//! Source: RFC 9457, "Problem Details for HTTP APIs".

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use portwarden_core::{
    name::NameError,
    notification::TellError,
    object::ObjectError,
    problem::{self, Problem},
    store::StoreError,
    webhook::WebhookKeyError,
    work::QueueError,
};
use serde::Serialize;

use crate::auth::FetchError;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nobody is known to ask: no token, session or key, or one that is not valid.
    #[error("the caller is not known")]
    Unauthenticated,
    /// The caller is known, and may not do this.
    #[error("the caller may not do this")]
    Forbidden,
    /// There is no such thing, or it is another tenant's: nobody can tell which.
    #[error("there is nothing like that")]
    NotFound,
    /// The path is there, and the method is not.
    #[error("the method is not known here")]
    Method,
    /// The request cannot be read, or asks for something that cannot be.
    #[error("the request is not right")]
    Invalid(Problem),
    /// It is not the time for this: what is there does not allow it.
    #[error("the request does not fit what is there")]
    Conflict(Problem),
    /// What is to be changed was changed by somebody else.
    #[error("it was changed in between")]
    Changed,
    /// The body is larger than any that is expected.
    #[error("the body is too large")]
    TooLarge,
    /// The body is not declared as JSON.
    #[error("the content type is not application/json")]
    ContentType,
    /// The tenant asks more than its share.
    #[error("the tenant is over its budget")]
    OverBudget {
        /// When there will be room for one more request.
        retry_after: Duration,
    },
    /// The table did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// What webhooks' secrets are derived from cannot be read.
    #[error(transparent)]
    WebhookKey(#[from] WebhookKeyError),
    /// The bucket did not answer.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A document of ours cannot be read.
    #[error("a stored document cannot be read")]
    Document(#[source] serde_json::Error),
    /// The issuer of tokens did not answer.
    #[error(transparent)]
    Issuer(#[from] FetchError),
}

/// A refusal as its receiver sees it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ProblemDetails {
    /// The kind of problem: a name, not an address.
    #[serde(rename = "type")]
    #[schema(example = "urn:portwarden:problem:not_found")]
    kind: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// The cause, in one sentence.
    title: String,
    /// The stable code.
    #[schema(value_type = String, example = "not_found")]
    code: Cow<'static, str>,
    /// What to do.
    fix: String,
}

/// What the log needs to know of a refusal; the response carries it to where the line is written.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) code: Cow<'static, str>,
    /// The chain of errors, of what is our fault.
    pub(crate) ours: Option<String>,
}

/// The media type of problem details.
pub const PROBLEM_JSON: &str = "application/problem+json";

impl Refusal {
    /// Refuses a request that cannot be.
    pub fn invalid(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Invalid(Problem::new(code, message, fix))
    }

    /// Refuses a request that does not fit what is there.
    pub fn conflict(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Conflict(Problem::new(code, message, fix))
    }

    /// Refuses what is no invitation, or not any more.
    pub(crate) fn no_invitation() -> Self {
        Self::conflict(
            "invitation_invalid",
            "The invitation is not valid, or not any more.",
            "Ask whoever sent it for a new one; it lasts seven days and can be redeemed once.",
        )
    }

    /// Refuses a name.
    pub(crate) fn name(error: NameError) -> Self {
        let fix = "Choose another name, without line breaks.";
        Self::invalid("name_invalid", format!("The name is not taken: {error}."), fix)
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::OverBudget { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Document(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Store(_) | Self::Queue(_) | Self::WebhookKey(_) | Self::Object(_) | Self::Issuer(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Tells what is wrong, in words for whoever asked.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Unauthenticated => Problem::new(
                "unauthenticated",
                "The request does not say who asks, or what it says is not valid any more.",
                "Sign in, or send a valid token or API key as Authorization: Bearer.",
            ),
            Self::Forbidden => Problem::new(
                "forbidden",
                "You may not do this.",
                "Ask an administrator of the tenant, or the operator, for the role that may.",
            ),
            Self::NotFound => Problem::new(
                "not_found",
                "There is nothing here that you may see.",
                "Check the address and its ids; lists show what there is.",
            ),
            Self::Method => Problem::new(
                "method_not_allowed",
                "There is something at this address, and it does not take this method.",
                "Look the method up in /v1/openapi.json.",
            ),
            Self::Invalid(problem) | Self::Conflict(problem) => problem.clone(),
            Self::Changed => Problem::new(
                "changed_in_between",
                "Somebody else has changed it since you read it.",
                "Read it again, and send your change with the new ETag as If-Match.",
            ),
            Self::TooLarge => Problem::new(
                "too_large",
                "The body is larger than any that is expected.",
                "Send one request for each thing, as JSON of at most 64 KiB.",
            ),
            Self::ContentType => Problem::new(
                "not_json",
                "The body is not declared as JSON.",
                "Send Content-Type: application/json.",
            ),
            Self::OverBudget { .. } => Problem::new(
                "over_budget",
                "The tenant asks more than its share.",
                "Wait as long as Retry-After says, and ask less often.",
            ),
            Self::Document(_) => Problem::new(
                "document_unreadable",
                "What was stored of this image cannot be read by this version of Portwarden.",
                "Push the image again, or tell the operator.",
            ),
            Self::Store(_) | Self::Queue(_) | Self::WebhookKey(_) | Self::Object(_) | Self::Issuer(_) => {
                Problem::new(
                    "unavailable",
                    "Something that the answer needs does not answer just now.",
                    "Send the same request again in a moment, with the same Idempotency-Key.",
                )
            }
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::OverBudget { retry_after } => {
                Some(retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0))
            }
            _ if self.is_ours() => Some(1),
            _ => None,
        }
    }

    fn is_ours(&self) -> bool {
        self.status().is_server_error()
    }
}

impl From<TellError> for Refusal {
    fn from(error: TellError) -> Self {
        match error {
            TellError::Store(error) => error.into(),
            TellError::Queue(error) => error.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Problem { code, message, fix } = self.problem();
        let details = ProblemDetails {
            kind: format!("urn:portwarden:problem:{code}"),
            status: self.status().as_u16(),
            title: message,
            code: code.clone(),
            fix,
        };
        let mut response = (self.status(), Json(details)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Self::Unauthenticated = self {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        let ours = self.is_ours().then(|| problem::chain(&self));
        response.extensions_mut().insert(Told { code, ours });
        response
    }
}
