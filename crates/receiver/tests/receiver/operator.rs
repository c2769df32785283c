//! The operator's own registries, whose events a rule sends without HTTP.

use portwarden_core::{id::IntegrationId, scope::OperatorScope, work::VerifyReason};
use portwarden_receiver::{error::Refusal, handler::handle};
use serde_json::{Value, json};

use crate::world::{Fault, OPERATOR_ACCOUNT, World, push};

fn own(id: &str) -> Value {
    let mut event = push(id);
    event["account"] = json!(OPERATOR_ACCOUNT);
    event
}

#[tokio::test]
async fn the_first_event_makes_the_integration_and_has_it_tested() {
    let mut world = World::saved().await;
    for id in ["1", "2"] {
        assert_eq!(handle(&world.context, &own(id), None).await.unwrap(), Value::Null);
    }
    let scans = world.outside.queues.take_scans();
    assert_eq!(scans.len(), 2);
    for scan in &scans {
        assert_eq!(scan.integration, IntegrationId::operator());
        assert_eq!(scan.account.as_str(), OPERATOR_ACCOUNT);
        assert_eq!(scan.tenant, *OperatorScope::of_this_process().own().tenant());
    }
    let verifications = world.outside.queues.take_verifications();
    assert_eq!(verifications.len(), 1);
    assert_eq!(verifications[0].integration, IntegrationId::operator());
    assert_eq!(verifications[0].reason, VerifyReason::Stack);
    // A warm process makes two calls, and a new one sees that no test was recorded.
    world.outside.count_anew();
    handle(&world.context, &own("3"), None).await.unwrap();
    assert_eq!(world.outside.calls(), ["write", "queue_scan"]);
    world.restart();
    handle(&world.context, &own("4"), None).await.unwrap();
    assert_eq!(world.outside.queues.take_verifications().len(), 1);
}

#[tokio::test]
async fn events_of_others_are_errors_so_that_they_end_as_dead_letters() {
    let world = World::saved().await;
    let mut other_region = own("1");
    other_region["region"] = json!("us-east-1");
    let error = handle(&world.context, &other_region, None).await.unwrap_err();
    assert!(matches!(error, Refusal::OtherRegion), "{error}");
    let error = handle(&world.context, &push("1"), None).await.unwrap_err();
    assert!(matches!(error, Refusal::OtherAccount), "{error}");
    for garbage in [
        json!(null),
        json!([]),
        json!({}),
        json!("x"),
        json!({"detail": {"requestContext": {}}}),
    ] {
        let error = handle(&world.context, &garbage, None).await.unwrap_err();
        assert!(matches!(error, Refusal::Malformed(_)), "{garbage}: {error}");
    }
    assert_eq!(world.outside.queues.take_scans(), []);
}

#[tokio::test]
async fn wherever_it_breaks_the_next_delivery_makes_up_for_it() {
    for fault in [Fault::Before, Fault::After, Fault::Hangs] {
        // Making, finding, testing; then the event and its work.
        for nth in 1..=5 {
            let mut world = World::saved().await;
            world.outside.fail_at(nth, fault);
            let error = handle(&world.context, &own("1"), None).await.unwrap_err();
            assert!(error.is_ours(), "{error}");
            world.outside.count_anew();
            world.restart();
            handle(&world.context, &own("1"), None).await.unwrap();
            assert!(!world.outside.queues.take_scans().is_empty(), "{fault:?} {nth}");
            assert!(
                !world.outside.queues.take_verifications().is_empty(),
                "{fault:?} {nth}"
            );
        }
    }
}

#[tokio::test]
async fn the_operators_endpoint_is_closed_even_when_the_integration_is_there() {
    use crate::world::{request, to, with_credentials};
    let world = World::saved().await;
    handle(&world.context, &own("1"), None).await.unwrap();
    world.clock.advance(std::time::Duration::from_mins(1));
    for (username, password) in [("", ""), ("portwarden", "an-example-password-of-33-letters")] {
        let request = to(request(&own("2")), &IntegrationId::operator());
        let answer = world.http(&with_credentials(request, username, password)).await;
        assert_eq!(answer.row(), (429, Some("not_accepted"), Some("60")));
    }
}
