use portwarden_aws::{DynamoStore, Ecr, EventBus};
use portwarden_core::{
    announce::{Announce as _, Announcement, ConnectionChanged},
    ecr::{DescribeImage as _, EcrError, ProbeEcr as _, RegistryId},
    id::{IntegrationId, RequestId, TenantId},
    integration::Light,
    problem::chain,
    random::OsRandomness,
    scope::OperatorScope,
    session::Session,
    store::{Condition, Conflict, Key, Store as _, StoreError, Write, WriteError},
};
use portwarden_oci::Digest;
use serde_json::json;

use crate::answers::{Answers, json_error};

fn key(sort: &str) -> Key {
    OperatorScope::of_this_process()
        .own()
        .partition(&["p"])
        .key(&[sort])
}

async fn write(answer: (u16, String), writes: usize) -> WriteError {
    let answers = Answers::start(&[answer]).await;
    let store = DynamoStore::new(&answers.aws(), "t".into());
    let writes: Vec<Write> = (0..writes)
        .map(|index| Write::put(key(&index.to_string()), &json!({}), Condition::Absent))
        .collect();
    store.write(&writes).await.unwrap_err()
}

fn canceled(codes: &[&str]) -> (u16, String) {
    let reasons: Vec<_> = codes.iter().map(|code| json!({"Code": code})).collect();
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": reasons,
    });
    (400, body.to_string())
}

#[tokio::test]
async fn a_cancelled_transaction_says_why() {
    let conflict = |index| Conflict {
        index,
        existing: None,
    };
    for (codes, expected) in [
        (["None", "ConditionalCheckFailed"], Some(conflict(Some(1)))),
        (
            ["ConditionalCheckFailed", "ConditionalCheckFailed"],
            Some(conflict(Some(0))),
        ),
        (
            ["TransactionConflict", "ConditionalCheckFailed"],
            Some(conflict(Some(1))),
        ),
        (["None", "TransactionConflict"], Some(conflict(None))),
        (["None", "ThrottlingError"], None),
        (["None", "ValidationError"], None),
    ] {
        match (write(canceled(&codes), 2).await, expected) {
            (WriteError::Conflict(conflict), Some(expected)) => assert_eq!(conflict, expected, "{codes:?}"),
            (WriteError::Store(StoreError::Throttled), None) => assert_eq!(codes[1], "ThrottlingError"),
            (WriteError::Store(StoreError::Refused(_)), None) => assert_eq!(codes[1], "ValidationError"),
            (error, _) => panic!("{codes:?}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn each_transaction_has_a_token_of_the_kernels() {
    let answers = Answers::start(&[(200, "{}".to_owned())]).await;
    let writes = ["a", "b"].map(|sort| Write::put(key(sort), &json!({}), Condition::Absent));
    for _ in 0..2 {
        let store = DynamoStore::new(&answers.aws(), "t".into());
        store.write(&writes).await.unwrap();
    }
    let tokens = answers.requests().into_iter().map(|request| {
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["ClientRequestToken"].as_str().unwrap().to_owned()
    });
    let tokens: Vec<String> = tokens.collect();
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1]);
    // The SDK's own, which the clock decides, is a UUID; ours is one of our ids.
    for token in tokens {
        assert!(token.parse::<RequestId>().is_ok(), "{token}");
    }
}

#[tokio::test]
async fn a_single_write_beside_a_transaction_is_a_conflict() {
    let error = write(json_error(400, "TransactionConflictException"), 1).await;
    let expected = Conflict {
        index: None,
        existing: None,
    };
    assert!(
        matches!(&error, WriteError::Conflict(conflict) if *conflict == expected),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_tables_failures_are_told_apart() {
    for (answer, expected) in [
        (
            json_error(400, "AccessDeniedException"),
            "access to the table is denied",
        ),
        (
            json_error(400, "ProvisionedThroughputExceededException"),
            "the table is throttled",
        ),
        (json_error(400, "ThrottlingException"), "the table is throttled"),
        (
            json_error(400, "ValidationException"),
            "the table refuses the request",
        ),
        (json_error(500, "InternalServerError"), "the table is unavailable"),
        (
            json_error(400, "ExpiredTokenException"),
            "the table is unavailable",
        ),
        ((200, "not json".to_owned()), "the table is unavailable"),
    ] {
        for writes in [1, 2] {
            let error = write(answer.clone(), writes).await;
            assert_eq!(error.to_string(), expected, "{answer:?}: {}", chain(&error));
        }
    }
}

#[tokio::test]
async fn ecrs_failures_are_told_apart() {
    let session = Session {
        access_key_id: "AKIATENANT".into(),
        secret_access_key: "secret".into(),
        session_token: "token".into(),
        expires_at: "2100-01-01T00:00:00Z".parse().unwrap(),
        account: "222222222222".parse().unwrap(),
    };
    let registry = RegistryId {
        account: session.account.clone(),
        region: "us-east-1".parse().unwrap(),
    };
    let (repository, digest) = ("shop/web".parse().unwrap(), Digest::of(b""));
    let ask = async |answer: (u16, String)| {
        let answers = Answers::start(&[answer]).await;
        let ecr = Ecr::new(&answers.aws());
        let image = ecr
            .describe_image(&session, &registry, &repository, &digest)
            .await
            .map(|image| image.is_some());
        let layer = ecr
            .get_download_url_for_layer(&session, &registry, &repository, &digest)
            .await;
        for request in answers.requests() {
            assert!(request.contains("Credential=AKIATENANT/"), "{request}");
            assert!(request.contains("/us-east-1/ecr/"), "{request}");
            assert!(request.contains("222222222222"), "{request}");
        }
        (image, layer)
    };
    for code in [
        "ImageNotFoundException",
        "RepositoryNotFoundException",
        "LayersNotFoundException",
    ] {
        let (image, layer) = ask(json_error(400, code)).await;
        assert!(!image.unwrap(), "{code}");
        layer.unwrap();
    }
    let (image, layer) = ask(json_error(400, "AccessDeniedException")).await;
    assert!(
        matches!(
            image,
            Err(EcrError::Denied {
                action: "ecr:DescribeImages",
                ..
            })
        ),
        "{image:?}"
    );
    assert!(
        matches!(
            layer,
            Err(EcrError::Denied {
                action: "ecr:GetDownloadUrlForLayer",
                ..
            })
        ),
        "{layer:?}"
    );
    for (answer, expected) in [
        (
            json_error(400, "ExpiredTokenException"),
            "the session has expired",
        ),
        (
            json_error(400, "UnrecognizedClientException"),
            "the session has expired",
        ),
        (json_error(400, "ThrottlingException"), "ECR is throttled"),
        (json_error(429, "TooManyRequestsException"), "ECR is throttled"),
        (json_error(500, "ServerException"), "ECR is unreachable"),
        (json_error(404, "SomethingNew"), "ECR is unreachable"),
    ] {
        let (image, _) = ask(answer.clone()).await;
        assert_eq!(image.unwrap_err().to_string(), expected, "{answer:?}");
    }
}

#[tokio::test]
async fn an_event_that_the_bus_does_not_take_is_an_error() {
    let announcement = Announcement::ConnectionChanged(ConnectionChanged {
        tenant: TenantId::generate(&OsRandomness),
        integration: IntegrationId::generate(&OsRandomness),
        region: "eu-west-1".parse().unwrap(),
        number: 1,
        status: Light::Green,
        code: None,
        sentence: "all is well".to_owned(),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        trace_id: "1-5759e988-bd862e3fe1be46a994272793".parse().unwrap(),
    });
    let taken = json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]});
    let failed =
        json!({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "told"}]});
    let answers = Answers::start(&[(200, taken.to_string()), (200, failed.to_string())]).await;
    let bus = EventBus::new(&answers.aws(), "portwarden".into());
    bus.announce(&announcement).await.unwrap();
    let error = bus.announce(&announcement).await.unwrap_err();
    assert_eq!(
        chain(&error),
        "the event bus is unavailable: events:PutEvents failed: InternalFailure: told"
    );
}
