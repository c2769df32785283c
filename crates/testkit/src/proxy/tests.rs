use std::collections::BTreeSet;

use super::*;
use crate::registry::{RegistryServer, Settings};

const NEVER: Plan = Plan {
    seed: 1,
    per_mille: 0,
};

/// A plan whose first request meets a fault.
fn first(is_wanted: impl Fn(Fault) -> bool) -> Plan {
    let plans = (0..).map(|seed| Plan {
        seed,
        per_mille: 1000,
    });
    plans
        .into_iter()
        .find(|plan| plan.fault(0).is_some_and(&is_wanted))
        .unwrap()
}

/// A proxy in front of a registry, and what it makes of one request for a blob that is there.
async fn ask(plan: Plan) -> (RegistryServer, reqwest::Result<(StatusCode, Bytes)>) {
    let registry = RegistryServer::start(Settings::default()).await.unwrap();
    let repository = "shop/web".parse().unwrap();
    registry.publish_blob(&repository, portwarden_oci::Digest::of(b"content"), "content");
    let proxy = FaultyProxy::start(&registry.url(), plan).await.unwrap();
    proxy.set_failing(true);
    let url = format!(
        "{}/v2/shop/web/blobs/{}",
        proxy.url(),
        portwarden_oci::Digest::of(b"content")
    );
    let answer = async {
        let answer = reqwest::get(url).await?;
        let status = answer.status();
        Ok((status, answer.bytes().await?))
    };
    let answer = answer.await;
    let met: usize = proxy.met().values().sum();
    assert_eq!(met, usize::from(plan.per_mille > 0));
    (registry, answer)
}

#[tokio::test]
async fn calls_are_counted_by_service_and_operation() {
    let registry = RegistryServer::start(Settings::default()).await.unwrap();
    let proxy = FaultyProxy::start(&registry.url(), NEVER).await.unwrap();
    let client = reqwest::Client::new();
    let signed = |service| {
        format!("AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/{service}/aws4_request, Signature=0")
    };
    let post = |service| client.post(proxy.url()).header("authorization", signed(service));
    for request in [
        post("dynamodb").header("x-amz-target", "DynamoDB_20120810.GetItem"),
        post("dynamodb").header("x-amz-target", "DynamoDB_20120810.GetItem"),
        post("sts").body("Version=2011-06-15&Action=AssumeRole"),
        client
            .put(format!("{}/bucket/key", proxy.url()))
            .header("authorization", signed("s3")),
        client.get(format!("{}/v2/shop/web/manifests/1.4", proxy.url())),
    ] {
        request.send().await.unwrap();
    }
    let call = |service: &str, operation: &str| (service.to_owned(), operation.to_owned());
    let expected = Calls::from([
        (call("dynamodb", "GetItem"), 2),
        (call("sts", "AssumeRole"), 1),
        (call("s3", "PUT"), 1),
        (call("registry", "GET manifests"), 1),
    ]);
    assert_eq!(proxy.take_calls(), expected);
    assert_eq!(proxy.take_calls(), Calls::new());
}

#[tokio::test]
async fn an_answer_comes_through_as_it_is() {
    let (registry, answer) = ask(NEVER).await;
    assert_eq!(answer.unwrap(), (StatusCode::OK, Bytes::from_static(b"content")));
    assert!(!registry.requests()[0].headers.contains_key("x-forwarded-for"));
}

#[tokio::test]
async fn requests_are_lost_before_or_after_their_effect() {
    for (fault, seen) in [(Fault::Lost, 0), (Fault::Unanswered, 1), (Fault::Cut, 1)] {
        let (registry, answer) = ask(first(|met| met == fault)).await;
        let error = answer.unwrap_err();
        assert!(!error.is_status(), "{fault:?}: {error}");
        assert_eq!(registry.requests().len(), seen, "{fault:?}");
    }
}

#[tokio::test]
async fn a_throttled_request_never_arrives() {
    let (registry, answer) = ask(first(|met| met == Fault::Throttled)).await;
    let (status, body) = answer.unwrap();
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(body.starts_with(b"{\"errors\""));
    assert_eq!(registry.requests().len(), 0);
}

/// Throttles what is called with one key, and answers others in its own words.
#[derive(Debug, Default)]
struct Meddler(Mutex<Vec<Call>>);

impl Tap for Meddler {
    fn fault(&self, call: &Call) -> Option<Fault> {
        (call.access_key_id == "A").then_some(Fault::Throttled)
    }

    fn answer(&self, call: &Call, _: Bytes) -> Bytes {
        lock(&self.0).push(call.clone());
        Bytes::from_static(b"changed, and of another length")
    }
}

#[tokio::test]
async fn a_tap_sees_calls_and_steps_in() {
    let registry = RegistryServer::start(Settings::default()).await.unwrap();
    let tap = Arc::new(Meddler::default());
    let proxy = FaultyProxy::start_tapped(&registry.url(), NEVER, tap.clone())
        .await
        .unwrap();
    let ask = async |key: &str| {
        let signed =
            format!("AWS4-HMAC-SHA256 Credential={key}/20260101/eu-west-1/sts/aws4_request, Signature=0");
        let request = reqwest::Client::new().post(proxy.url());
        let sent = request
            .header("authorization", signed)
            .body("Action=AssumeRole&RoleArn=r");
        let answer = sent.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let (status, body) = ask("A").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("<Code>Throttling</Code>"), "{body}");
    assert_eq!(ask("B").await.1, "changed, and of another length");
    let seen = Call {
        service: "sts".to_owned(),
        operation: "AssumeRole".to_owned(),
        access_key_id: "B".to_owned(),
        body: Bytes::from_static(b"Action=AssumeRole&RoleArn=r"),
    };
    assert_eq!(*lock(&tap.0), [seen], "what is throttled gets no further");
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_closed_path_is_closed_until_it_is_opened() {
    let registry = RegistryServer::start(Settings::default()).await.unwrap();
    let proxy = FaultyProxy::start(&registry.url(), NEVER).await.unwrap();
    let ask = async |path: &str| {
        reqwest::get(format!("{}{path}", proxy.url()))
            .await
            .unwrap()
            .status()
    };
    proxy.close(Some("/v2/"));
    assert_eq!(ask("/v2/").await, StatusCode::NOT_FOUND);
    proxy.close(None);
    assert_eq!(ask("/v2/").await, StatusCode::OK);
}

#[test]
fn a_seed_decides_everything_and_meets_about_as_many_as_planned() {
    let plan = Plan {
        seed: 7,
        per_mille: 50,
    };
    let faults: Vec<_> = (0..10_000).filter_map(|number| plan.fault(number)).collect();
    assert_eq!(
        faults,
        (0..10_000)
            .filter_map(|number| plan.fault(number))
            .collect::<Vec<_>>()
    );
    assert!((400..600).contains(&faults.len()), "{}", faults.len());
    let kinds: BTreeSet<_> = faults.iter().map(|fault| fault.name()).collect();
    assert_eq!(kinds.len(), 5);
    let other = Plan { seed: 8, ..plan };
    assert_ne!(
        faults,
        (0..10_000)
            .filter_map(|number| other.fault(number))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_signature_names_the_service() {
    let mut headers = HeaderMap::new();
    let value =
        "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host";
    assert_eq!(service_of(&headers, "/"), "other");
    headers.insert(AUTHORIZATION, value.parse().unwrap());
    assert_eq!(service_of(&headers, "/"), "dynamodb");
    assert_eq!(service_of(&headers, "/v2/shop/web/tags/list"), "registry");
}
