use std::sync::Arc;

use portwarden_aws::{Aws, Connector, RoleProber};
use portwarden_core::{
    arn::RoleArn,
    clock::ManualClock,
    id::{Region, RequestId},
    problem::chain,
    random::OsRandomness,
    session::{AssumeError, ProbeRole as _, SessionName},
};

use crate::answers::{Answers, session_of, sts_error};

const OPERATOR: &str = "111111111111";
const TENANT: &str = "222222222222";

pub(crate) fn prober(aws: &Aws) -> RoleProber {
    let role = |name| format!("arn:aws:iam::{OPERATOR}:role/{name}").parse().unwrap();
    let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
    let connector = Connector::new(aws, role("connector"), Arc::new(clock));
    RoleProber::new(Arc::new(connector), role("canary"))
}

pub(crate) async fn probe(prober: &RoleProber, name: &SessionName) -> Result<String, AssumeError> {
    let role: RoleArn = format!("arn:aws:iam::{TENANT}:role/r").parse().unwrap();
    let region: Region = "eu-west-1".parse().unwrap();
    let session = prober.probe_role(&role, Some("pw-1"), &region, name).await?;
    Ok(session.account.to_string())
}

pub(crate) fn verify() -> SessionName {
    SessionName::verify(&RequestId::generate(&OsRandomness))
}

fn connector() -> (u16, String) {
    session_of(OPERATOR, "CONNECTOR")
}

fn tenant() -> (u16, String) {
    session_of(TENANT, "TENANT")
}

#[tokio::test]
async fn the_connectors_session_is_kept_for_each_family_of_names() {
    let answers = Answers::start(&[connector(), tenant(), tenant(), connector(), tenant()]).await;
    let prober = prober(&answers.aws());
    let scan = SessionName::scan(&RequestId::generate(&OsRandomness));
    for name in [&verify(), &verify(), &scan] {
        assert_eq!(probe(&prober, name).await.unwrap(), TENANT);
    }
    let asked: Vec<bool> = answers
        .requests()
        .iter()
        .map(|request| request.contains("role%2Fconnector"))
        .collect();
    assert_eq!(asked, [true, false, false, true, false]);
}

#[tokio::test]
async fn each_call_is_signed_by_the_right_session_and_sends_what_it_must() {
    let answers = Answers::start(&[connector(), tenant()]).await;
    let name = verify();
    probe(&prober(&answers.aws()), &name).await.unwrap();
    let requests = answers.requests();
    assert!(requests[0].contains("Credential=AKIAOWN/"), "{}", requests[0]);
    assert!(
        requests[1].contains("Credential=AKIACONNECTOR/"),
        "{}",
        requests[1]
    );
    assert!(
        requests[1].contains("x-amz-security-token: token-CONNECTOR"),
        "{}",
        requests[1]
    );
    for parameter in ["ExternalId=pw-1", "Policy=", "DurationSeconds=900", name.as_str()] {
        assert!(requests[1].contains(parameter), "{parameter}: {}", requests[1]);
    }
}

#[tokio::test]
async fn an_ended_connector_session_is_renewed_once() {
    let ended = || sts_error(403, "ExpiredToken");
    let answers = Answers::start(&[connector(), tenant(), ended(), connector(), tenant()]).await;
    let prober = prober(&answers.aws());
    for _ in 0..2 {
        assert_eq!(probe(&prober, &verify()).await.unwrap(), TENANT);
    }
    assert_eq!(answers.requests().len(), 5);

    let answers = Answers::start(&[connector(), ended()]).await;
    let error = probe(&self::prober(&answers.aws()), &verify()).await.unwrap_err();
    assert!(matches!(error, AssumeError::Connector(_)), "{error:?}");
    assert_eq!(answers.requests().len(), 2);
}

#[tokio::test]
async fn only_a_refusal_is_not_allowed() {
    for (answer, expected) in [
        (sts_error(403, "AccessDenied"), "the role cannot be assumed"),
        (sts_error(400, "Throttling"), "STS is throttled"),
        (
            sts_error(403, "RegionDisabledException"),
            "the region's STS endpoint is not active in the account",
        ),
        (sts_error(400, "MalformedPolicyDocument"), "STS is unreachable"),
        (sts_error(500, "InternalFailure"), "STS is unreachable"),
        ((403, "<html>proxy</html>".to_owned()), "STS is unreachable"),
        ((200, "<html>proxy</html>".to_owned()), "STS is unreachable"),
        ((200, String::new()), "STS is unreachable"),
    ] {
        let answers = Answers::start(&[connector(), answer.clone()]).await;
        let error = probe(&prober(&answers.aws()), &verify()).await.unwrap_err();
        assert_eq!(error.to_string(), expected, "{answer:?}: {}", chain(&error));
    }
}

#[tokio::test]
async fn a_refused_connector_is_not_the_tenants_fault() {
    for (answer, expected) in [
        (
            sts_error(403, "AccessDenied"),
            "the connector role cannot be assumed",
        ),
        (sts_error(400, "Throttling"), "STS is throttled"),
        (sts_error(503, "ServiceUnavailable"), "STS is unreachable"),
    ] {
        let answers = Answers::start(&[answer]).await;
        let error = probe(&prober(&answers.aws()), &verify()).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(answers.requests().len(), 1);
    }
}
