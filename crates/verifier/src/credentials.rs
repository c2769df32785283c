//! The credentials that a stack made: read once through the proven role, kept as a hash.

use portwarden_core::{
    arn::SecretArn,
    endpoint::{Password, Username},
    event::Claim,
    integration::{Connection, RegionConnection},
    receipt::ReceiptedSessions,
    session::{AssumeRole as _, Purpose, SessionName},
    tenant_account::ReadError,
    verdict::Outcome,
    work::{VerifyReason, VerifyRequest},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::{
    context::Context,
    error::VerifyError,
    probe::Target,
    problem::{Cause, Service},
};

/// Returns the secret that a stack names, if it holds credentials that we do not know.
pub(crate) fn wanted<'a>(
    region: &RegionConnection,
    claim: &'a Claim,
    reason: VerifyReason,
) -> Option<&'a SecretArn> {
    let newest = region.credentials.last();
    let is_new = newest.is_none_or(|newest| newest.generation < claim.generation)
        // It came with credentials that opened nothing.
        || reason == VerifyReason::Claim;
    claim.secret.as_ref().filter(|_| is_new)
}

/// Reads the secret of a proven role's stack, and stores what opens the endpoint from then on.
pub(crate) async fn read(
    context: &Context,
    connection: &Connection,
    target: &Target<'_>,
    (secret, generation): (&SecretArn, u32),
    request: &VerifyRequest,
) -> Result<Outcome, VerifyError> {
    let fail = |cause: &Cause| Ok(Outcome::Failed(target.tell(cause)));
    let unknown = |cause: &Cause| Ok(Outcome::Unknown(target.tell(cause)));
    if !secret.is_beside(target.role, target.region) {
        return fail(&Cause::SecretElsewhere);
    }
    let Some(trusted) = connection
        .trusted_role(target.region)
        .filter(|trusted| trusted.role() == target.role)
    else {
        return unknown(&Cause::NotPropagated);
    };
    let name = SessionName::verify_credentials(&request.request);
    let purpose = Purpose::Credentials(secret.clone());
    let sessions = ReceiptedSessions::new(
        context.sessions.clone(),
        context.receipts.clone(),
        context.calls.clone(),
        context.clock.clone(),
    );
    let session = match sessions.assume_role(&trusted, purpose, &name).await {
        Ok(session) => session,
        Err(error) => return Ok(target.not_found_out(&error)),
    };
    let read = context.secrets.read_secret(&session, secret, target.region).await;
    sessions.settle(&session).await?;
    let text = match read {
        Ok(text) => text,
        Err(ReadError::Denied(_)) => return fail(&Cause::SecretDenied),
        Err(ReadError::Missing(_)) => return fail(&Cause::SecretMalformed),
        Err(ReadError::Throttled) => return unknown(&Cause::Throttled(Service::SecretsManager)),
        Err(ReadError::Unreachable(_)) => return unknown(&Cause::Unreachable(Service::SecretsManager)),
    };
    let Some((username, password)) = parse(&text) else {
        return fail(&Cause::SecretMalformed);
    };
    let scope = request.scope();
    context
        .integrations
        .add_credentials(
            &scope,
            &request.integration,
            target.region,
            (&username, &password),
            generation,
        )
        .await?;
    Ok(Outcome::Passed)
}

/// What the tenants' template puts into the secret; more fields are ignored.
#[derive(Deserialize)]
struct StackSecret {
    username: String,
    password: String,
}

fn parse(text: &SecretString) -> Option<(Username, Password)> {
    let secret: StackSecret = serde_json::from_str(text.expose_secret()).ok()?;
    Some((
        Username::parse(&secret.username).ok()?,
        Password::parse(&secret.password.into()).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_holds_a_user_name_and_a_long_password() {
        let good = r#"{"username":"portwarden","password":"0123456789abcdefghijklmn","more":1}"#;
        let (username, password) = parse(&good.to_owned().into()).unwrap();
        assert_eq!(
            (username.as_str(), password.secret().expose_secret()),
            ("portwarden", "0123456789abcdefghijklmn")
        );
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"username":"portwarden","password":"short"}"#,
            r#"{"username":"","password":"0123456789abcdefghijklmn"}"#,
            r#"{"username":"a:b","password":"0123456789abcdefghijklmn"}"#,
            r#"{"password":"0123456789abcdefghijklmn"}"#,
        ] {
            assert!(parse(&bad.to_owned().into()).is_none(), "{bad}");
        }
    }
}
