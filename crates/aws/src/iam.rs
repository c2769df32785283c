use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_iam::{
    Client,
    config::{Builder, IdentityCache, Region as SdkRegion},
};
use portwarden_core::{
    arn::RoleArn,
    id::Region,
    receipt::CallCounter,
    session::Session,
    tenant_account::{ReadError, ReadTrustPolicy},
};

use crate::{Aws, config::counted, failure::Failure};

/// IAM of tenants' accounts, with the session of each call.
#[derive(Debug, Clone)]
pub struct Iam {
    client: Client,
    calls: Arc<CallCounter>,
}

impl Iam {
    /// Makes the one client of the process; its own credentials are never used.
    pub fn new(aws: &Aws) -> Self {
        Self {
            client: Client::new(&aws.sdk),
            calls: aws.calls(),
        }
    }
}

const CALL: &str = "iam:GetRole";

#[async_trait]
impl ReadTrustPolicy for Iam {
    async fn read_trust_policy(
        &self,
        session: &Session,
        role: &RoleArn,
        region: &Region,
    ) -> Result<String, ReadError> {
        // IAM is one service in each partition; the region tells which.
        let caller = Builder::new()
            .region(SdkRegion::new(region.as_str().to_owned()))
            .credentials_provider(counted(session, &self.calls))
            .identity_cache(IdentityCache::no_cache());
        let answer = self
            .client
            .get_role()
            .role_name(role.name())
            .customize()
            .config_override(caller)
            .send()
            .await;
        let answer = answer.map_err(|error| Failure::of(CALL, &error).into_read_error())?;
        let policy = answer.role.and_then(|role| role.assume_role_policy_document);
        let policy = policy.ok_or_else(|| {
            ReadError::Missing(Failure::unreachable(CALL, "the answer has no trust policy").into())
        })?;
        percent_decoded(&policy)
            .ok_or_else(|| ReadError::Missing(Failure::unreachable(CALL, "the policy is not text").into()))
    }
}

/// Reads a policy document, which IAM writes percent-encoded (RFC 3986).
fn percent_decoded(text: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_decoded_as_iam_writes_them() {
        let policy = |text| percent_decoded(text);
        assert_eq!(
            policy("%7B%22Version%22%3A%222012-10-17%22%7D").as_deref(),
            Some(r#"{"Version":"2012-10-17"}"#)
        );
        assert_eq!(
            policy(r#"{"Version":"x"}"#).as_deref(),
            Some(r#"{"Version":"x"}"#)
        );
        assert_eq!(policy("%FF"), None);
    }
}
