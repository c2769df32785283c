//! The functions' policies are tight: without one permission, the function fails by name and nothing is lost.

use portwarden_local::{LocalCloud, LocalError, push::ImageChoice, watch::Action};
use reqwest::Client;
use secrecy::ExposeSecret as _;

use crate::world::{World, changed_template, eventually, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_may_not_queue_asks_for_another_delivery() {
    let mut options = options("receiver_permission");
    options.template = changed_template(&options, "ReceiverRole", "sqs:SendMessage", "sqs:GetQueueUrl");
    let world = World {
        cloud: LocalCloud::start(&options).await.unwrap(),
    };
    let tenant = world.tenant(0);
    let image = world.push(&tenant, &ImageChoice::Sample, "shop/web", "1").await;
    let event = world.cloud.event(&tenant, Action::Push, &image);
    let request = Client::new()
        .post(tenant.events_url.clone())
        .basic_auth(&tenant.auth.username, Some(tenant.auth.password.expose_secret()))
        .header("content-type", "application/json");
    let answer = request.body(event.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    world.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_that_may_not_write_reports_says_so_and_keeps_the_message() {
    let mut options = options("scanner_permission");
    options.template = changed_template(&options, "ScannerRole", "s3:PutObject", "s3:GetObjectAcl");
    let world = World {
        cloud: LocalCloud::start(&options).await.unwrap(),
    };
    let tenant = world.tenant(0);
    let image = world.push(&tenant, &ImageChoice::Sample, "shop/web", "1").await;
    world.tell(&tenant, Action::Push, &image).await;
    eventually("the failure is in the log", async || {
        let log = std::fs::read_to_string(world.cloud.log()).unwrap();
        log.contains("\"outcome.code\":\"bucket_unavailable\"")
            .then_some(())
    })
    .await;
    assert_eq!(world.scan(&tenant, &image.digest).await, None);
    let queue = aws_sdk_sqs::Client::new(&world.cloud.operator().sdk_config());
    let name = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    let url = world.cloud.stack().output("ScanQueueUrl").unwrap();
    let kept = queue
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(name.clone())
        .send()
        .await
        .unwrap();
    let kept = kept.attributes.unwrap().remove(&name);
    assert_eq!(
        kept.as_deref(),
        Some("1"),
        "it comes again when its time-out ends"
    );
    world.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_may_not_assume_the_connector_trusts_nobody() {
    let mut options = options("verifier_permission");
    options.template = changed_template(
        &options,
        "VerifierRole",
        "sts:AssumeRole",
        "sts:GetCallerIdentity",
    );
    match LocalCloud::start(&options).await {
        Err(LocalError::NotConnected { reason, .. }) => {
            assert!(
                reason.contains("our own connector role could not be assumed"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
}
