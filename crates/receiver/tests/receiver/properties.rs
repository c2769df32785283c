//! Laws that hold for any request. `Answer::of` fails on 401, on 407 and on a body that is no problem.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{NOT_ACCEPTED, World, request_with};

/// Any JSON, nested a little.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(
                prop_oneof![
                    ".{0,6}",
                    Just("requestContext".to_owned()),
                    Just("http".to_owned()),
                    Just("headers".to_owned()),
                    Just("body".to_owned()),
                    Just("detail".to_owned()),
                ],
                inner,
                0..4
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

/// One connected world for all cases; none of the properties fills the tenant's budget.
static WORLD: LazyLock<World> = LazyLock::new(|| run(World::connected()));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_envelope_leads_to_an_answer_that_is_not_in_the_table(
        context in any_json(), path in "(/v1/events/)?.{0,30}", headers in any_json(), body in any_json(),
        encoded in any::<bool>(),
    ) {
        let request = json!({
            "requestContext": context, "rawPath": path, "headers": headers, "body": body, "isBase64Encoded": encoded,
        });
        let status = run(WORLD.http(&request)).status;
        prop_assert!([400, 404, 405, 413, 415, 429].contains(&status), "{}", status);
    }

    #[test]
    fn no_credentials_but_the_right_ones_open(header in prop_oneof![".{0,40}", "Basic [A-Za-z0-9+/=]{0,60}"]) {
        let request = request_with("/headers/authorization", header);
        let answer = run(WORLD.http(&request));
        prop_assert_eq!(answer.row(), NOT_ACCEPTED);
    }

    #[test]
    fn any_body_of_a_right_sender_is_kept_or_refused_by_name(
        body in any_json(), source in prop_oneof![Just("aws.ecr"), Just("aws.events"), Just("aws.cloudformation")],
        detail_type in prop_oneof![
            Just("ECR Image Action"), Just("Portwarden Heartbeat"), Just("CloudFormation Stack Status Change"), Just("x"),
        ],
    ) {
        let event = json!({
            "id": "e", "source": source, "detail-type": detail_type, "account": "111122223333",
            "time": "2026-11-16T01:01:34Z", "region": "eu-west-1", "detail": body,
        });
        let (bare, wrapped) = (run(WORLD.post(&body)), run(WORLD.post(&event)));
        prop_assert_eq!(bare.row(), (400, Some("event_malformed"), None));
        prop_assert!([202, 400].contains(&wrapped.status), "{:?}", wrapped);
    }
}
