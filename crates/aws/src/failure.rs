use aws_sdk_sts::{
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId as _,
};
use portwarden_core::{problem, tenant_account::ReadError};

/// A call to AWS that failed, classified once.
///
/// It holds text only: what the SDK keeps beside it, such as the whole answer, may hold secrets and goes no further.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    kind: Kind,
    code: Option<String>,
    text: String,
}

/// What a failure comes down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// We may not do this.
    Denied,
    /// We ask too much.
    Throttled,
    /// The credentials have ended or are not valid.
    Expired,
    /// The service says no, and would say it again.
    Refused,
    /// There is no answer, or the service failed.
    Unreachable,
}

impl Failure {
    /// Classifies what `call` ended with.
    pub(crate) fn of<E>(call: &'static str, error: &SdkError<E>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let SdkError::ServiceError(answer) = error else {
            return Self::unreachable(call, &problem::chain(error));
        };
        let status = answer.raw().status().as_u16();
        let code = error.code().map(str::to_owned);
        let text = format!(
            "{call} answered {status} {}: {} (request {})",
            code.as_deref().unwrap_or("without a code"),
            error.message().unwrap_or("no message"),
            error.request_id().unwrap_or("unknown"),
        );
        Self {
            kind: kind(code.as_deref(), status),
            code,
            text,
        }
    }

    /// Describes an answer that is none.
    pub(crate) fn unreachable(call: &'static str, reason: &str) -> Self {
        Self {
            kind: Kind::Unreachable,
            code: None,
            text: format!("{call} failed: {reason}"),
        }
    }

    /// Says why something in a tenant's account was not read.
    pub(crate) fn into_read_error(self) -> ReadError {
        match self.kind {
            Kind::Denied => ReadError::Denied(self.into()),
            Kind::Refused => ReadError::Missing(self.into()),
            Kind::Throttled => ReadError::Throttled,
            Kind::Expired | Kind::Unreachable => ReadError::Unreachable(self.into()),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Tells whether the service gave this code.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

/// Services spell the same outcome differently; the code says more than the status, which is 400 for most.
fn kind(code: Option<&str>, status: u16) -> Kind {
    match code.unwrap_or_default() {
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "UnauthorizedOperation" => Kind::Denied,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown" => Kind::Throttled,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "InvalidToken"
        | "UnrecognizedClientException" => Kind::Expired,
        _ if status == 429 => Kind::Throttled,
        _ if (400..500).contains(&status) => Kind::Refused,
        _ => Kind::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_and_then_the_status() {
        for (code, status, expected) in [
            (Some("AccessDenied"), 403, Kind::Denied),
            (Some("AccessDeniedException"), 400, Kind::Denied),
            (Some("ThrottlingException"), 400, Kind::Throttled),
            (Some("SlowDown"), 503, Kind::Throttled),
            (Some("ExpiredTokenException"), 400, Kind::Expired),
            (Some("InvalidClientTokenId"), 403, Kind::Expired),
            (Some("ValidationException"), 400, Kind::Refused),
            (None, 403, Kind::Refused),
            (None, 429, Kind::Throttled),
            (Some("InternalServerError"), 500, Kind::Unreachable),
            (None, 503, Kind::Unreachable),
        ] {
            assert_eq!(kind(code, status), expected, "{code:?} {status}");
        }
    }
}
