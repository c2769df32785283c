//! What an operator sees of one push, and of what goes wrong.

use portwarden_aws::{Service, telemetry::NAMESPACE};
use portwarden_local::{push::ImageChoice, watch::Action};
use serde_json::{Value, json};

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_event_to_the_report() {
    let world = World::start("trace").await;
    let tenant = world.tenant(0);
    let subscriber = world.subscribe().await;
    let pushed = world.push(&tenant, &ImageChoice::Sample, "shop/web", "1").await;
    let event = world.tell(&tenant, Action::Push, &pushed).await;
    let scanned = world.cloud.report(&tenant.id, &pushed.digest).await.unwrap();
    let trace = json!(scanned.report.trace_id.unwrap());
    let told = eventually("the report is announced", async || {
        world.take_messages(&subscriber).await.pop()
    })
    .await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["detail"]["traceId"], trace);
    let scans = lines_of(&world, Service::Scanner, &trace, 1).await;
    assert_eq!(
        (&scans[0]["outcome.name"], &scans[0]["image.digest"]),
        (&json!("reported"), &json!(pushed.digest))
    );

    // The event again, once its work is done: it still belongs to the same.
    world.deliver(&tenant, &event).await;
    let events = lines_of(&world, Service::Receiver, &trace, 2).await;
    let names: Vec<_> = events.iter().map(|line| &line["outcome.name"]).collect();
    assert_eq!(names, ["new", "settled"]);
    // Each line speaks of the same things in the same words.
    for line in events.iter().chain(&scans) {
        assert_eq!(line["tenant.id"], json!(tenant.id));
        assert_eq!(line["integration.id"], json!(tenant.integration));
        assert_eq!(line["event.id"], event["id"]);
        assert_eq!(line["aws.account"], json!(tenant.account.id()));
        assert_eq!(line["aws.region"], json!(tenant.account.region()));
        assert!(line["duration_ms"].is_u64(), "{line}");
    }
    // Another event is another trace, although it is about the same image.
    world.tell(&tenant, Action::Push, &pushed).await;
    let known = eventually("the image is known", async || {
        let lines = world.logs(Service::Scanner).await;
        lines.into_iter().find(|line| line["outcome.name"] == "known")
    })
    .await;
    assert_ne!(known["trace.id"], trace);
    world.cloud.shutdown().await;
}

/// Waits for a function's lines of a trace.
async fn lines_of(world: &World, service: Service, trace: &Value, count: usize) -> Vec<Value> {
    eventually("the function has logged its lines", async || {
        let lines = world.logs(service).await.into_iter();
        let lines: Vec<_> = lines.filter(|line| line["trace.id"] == *trace).collect();
        assert!(lines.len() <= count, "{lines:#?}");
        (lines.len() == count).then_some(lines)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alarms_look_at_is_there_when_it_happens() {
    let world = World::start("alarms").await;
    let tenant = world.tenant(0);
    let own = [("service", "scanner"), ("outcome.fault", "ours")];
    for (queue, service, name, dimensions) in [
        ("ScanQueueUrl", Service::Scanner, "ScansFailed", &own[..]),
        (
            "VerifyQueueUrl",
            Service::Verifier,
            "VerificationsFailed",
            &[("service", "verifier")],
        ),
    ] {
        let url = world.cloud.stack().output(queue).unwrap();
        let poison = world.sqs().send_message().queue_url(url).message_body("poison");
        poison.send().await.unwrap();
        counted(&world, service, name, dimensions).await;
        let lines = world.logs(service).await;
        let line = lines
            .iter()
            .find(|line| line["outcome.code"] == "message_malformed")
            .unwrap();
        assert_eq!(
            (
                &line["level"],
                &line["outcome.fault"],
                line["message.id"].is_string()
            ),
            (&json!("ERROR"), &json!("ours"), true)
        );
    }
    let missing = format!("arn:aws:iam::{}:role/missing", tenant.account.id());
    let verdict = world
        .verify(&tenant, &tenant.integration, &missing.parse().unwrap())
        .await;
    assert!(!verdict.is_green());
    counted(
        &world,
        Service::Verifier,
        "ProbeRefused",
        &[("service", "verifier")],
    )
    .await;
    world.cloud.shutdown().await;
}

/// Waits until a metric is counted under dimensions that an alarm may name.
async fn counted(world: &World, service: Service, name: &str, dimensions: &[(&str, &str)]) {
    let names: Vec<_> = dimensions.iter().map(|(name, _)| *name).collect();
    let is_wanted = |line: &Value| {
        let metrics = &line["_aws"]["CloudWatchMetrics"][0];
        let sets = metrics["Dimensions"].as_array();
        metrics["Namespace"] == NAMESPACE
            && metrics["Metrics"][0]["Name"] == name
            && line[name] == 1
            && sets.is_some_and(|sets| sets.contains(&json!(names)))
            && dimensions.iter().all(|(name, value)| line[name] == *value)
    };
    eventually("the metric is counted", async || {
        world.logs(service).await.iter().any(is_wanted).then_some(())
    })
    .await;
}
