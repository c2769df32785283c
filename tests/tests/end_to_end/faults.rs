//! The deployed functions behind a proxy that delays, loses, cuts and throttles their calls to AWS and to registries.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
    time::Duration,
};

use aws_sdk_sqs::types::QueueAttributeName;
use portwarden_aws::Service;
use portwarden_core::image::ScanResult;
use portwarden_local::{LocalCloud, Tenant, destination::Delivery};
use portwarden_oci::Digest;
use portwarden_testkit::{
    events::ImageEvent,
    image::{Artifact as _, Compression, Image, ImageBuilder, LayerBuilder, PushTarget, push},
    proxy::{FaultyProxy, Plan},
};
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::world::{World, eventually, options};

/// How many of a thousand calls fail: far more than AWS ever lets fail, and so few that five attempts in a row do not.
const PER_MILLE: u64 = 40;

/// How long a message is hidden after a failed attempt, instead of the minutes that real scans take.
const VISIBILITY: Duration = Duration::from_secs(10);

/// How long a message is hidden that fails at once.
const BRIEFLY: Duration = Duration::from_secs(2);

/// How long everything may stand still.
const PATIENCE: Duration = Duration::from_secs(100);

/// How many pushes go on at once.
const PARALLEL: usize = 8;

/// Starts a cloud whose functions reach AWS through a proxy, which fails nothing yet.
async fn behind_proxy(test: &str, plan: Plan) -> (World, FaultyProxy) {
    let mut options = options(test);
    let emulator = options.start_emulator().await.unwrap();
    let proxy = FaultyProxy::start(&emulator.endpoint(), plan).await.unwrap();
    options.functions_endpoint = Some(proxy.url());
    let mut cloud = LocalCloud::deploy(emulator, &options).await.unwrap();
    cloud.connect(&options.tenants).await.unwrap();
    let world = World { cloud };
    for queue in ["ScanQueueUrl", "VerifyQueueUrl"] {
        hide_for(&world, queue, VISIBILITY).await;
    }
    for tenant in world.cloud.tenants() {
        let ecr = aws_sdk_ecr::Client::new(&tenant.account.sdk_config());
        ecr.create_repository()
            .repository_name(REPOSITORY)
            .send()
            .await
            .unwrap();
    }
    (world, proxy)
}

const REPOSITORY: &str = "shop/web";

/// Sets how long a message is hidden while it is worked on; in this cloud only, not in the template.
async fn hide_for(world: &World, queue: &'static str, time: Duration) {
    let url = world.cloud.stack().output(queue).unwrap();
    let set = world.sqs().set_queue_attributes().queue_url(url);
    set.attributes(QueueAttributeName::VisibilityTimeout, time.as_secs().to_string())
        .send()
        .await
        .unwrap();
}

/// How many messages a queue holds, hidden ones included.
pub(crate) async fn depth(world: &World, queue: &'static str) -> u64 {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let url = world.cloud.stack().output(queue).unwrap();
    let asked = world.sqs().get_queue_attributes().queue_url(url);
    let answer = asked
        .set_attribute_names(Some(names.to_vec()))
        .send()
        .await
        .unwrap();
    let attributes = answer.attributes.unwrap();
    names
        .iter()
        .map(|name| attributes[name].parse::<u64>().unwrap())
        .sum()
}

fn small_image(content: &str) -> Image {
    let layer = LayerBuilder::new()
        .file("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
        .file("content", content)
        .finish(Compression::Gzip);
    ImageBuilder::new().layer("COPY . /", layer).build()
}

/// Pushes an image past the proxy, and returns ECR's event about it.
async fn push_image(world: &World, tenant: &Tenant, image: &Image, id: &str) -> Value {
    let account = &tenant.account;
    let registry = format!("{}.dkr.ecr.{}.amazonaws.com", account.id(), account.region());
    let target = PushTarget::new(&world.cloud.emulator_endpoint())
        .unwrap()
        .with_namespace(&registry);
    push(&target, &REPOSITORY.parse().unwrap(), None, image)
        .await
        .unwrap();
    ImageEvent {
        id,
        time: "2026-01-01T00:00:00Z",
        account: account.id().as_str(),
        region: account.region().as_str(),
        repository: REPOSITORY,
        digest: &image.digest().to_string(),
        tag: None,
    }
    .push()
}

/// Reads a number from the environment: `make faults` sets them.
#[expect(clippy::disallowed_methods, reason = "settings of a test, not of a function")]
fn number(name: &str) -> Option<u64> {
    env::var(name)
        .ok()
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_push_is_reported_once_whatever_fails() {
    let pushes = usize::try_from(number("PUSHES").unwrap_or(100)).unwrap();
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("faults: SEED={seed} PUSHES={pushes}");
    let plan = Plan {
        seed,
        per_mille: PER_MILLE,
    };
    let (world, proxy) = behind_proxy("faults", plan).await;
    let world = Arc::new(world);
    let subscriber = world.subscribe().await;
    proxy.set_failing(true);
    let started = Instant::now();
    let (images, attempts) = push_all(&world, seed, pushes).await;
    wait_for_reports(&world, &images).await;
    for queue in ["ScanQueueUrl", "VerifyQueueUrl"] {
        eventually("the queue is empty", async || {
            (depth(&world, queue).await == 0).then_some(())
        })
        .await;
    }
    let took = started.elapsed();
    proxy.set_failing(false);
    for queue in ["ScanDeadLetterQueueUrl", "VerifyDeadLetterQueueUrl"] {
        assert_eq!(depth(&world, queue).await, 0, "{queue} with SEED={seed}");
    }

    // What was announced more than once was announced as the same scan.
    let announced = world.take_messages(&subscriber).await;
    let count = announced.len();
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for message in announced {
        let message: Value = serde_json::from_str(&message).unwrap();
        if message["detail-type"] == "Image Scanned" {
            let digest = message["detail"]["digest"].as_str().unwrap().to_owned();
            told.entry(digest)
                .or_default()
                .insert(message["detail"].to_string());
        }
    }
    let digests: BTreeSet<String> = images.iter().map(|(_, digest)| digest.to_string()).collect();
    assert_eq!(digests.len(), pushes, "the images differ");
    assert_eq!(
        told.keys().cloned().collect::<BTreeSet<_>>(),
        digests,
        "SEED={seed}"
    );
    assert!(
        told.values().all(|details| details.len() == 1),
        "{told:#?} with SEED={seed}"
    );
    for (tenant, digest) in &images {
        let scanned = world
            .cloud
            .report(&world.tenant(*tenant).id, digest)
            .await
            .unwrap();
        let told: Value = serde_json::from_str(told[&digest.to_string()].first().unwrap()).unwrap();
        assert_eq!(told["traceId"], json!(scanned.report.trace_id), "SEED={seed}");
        assert_eq!(told["tenant"], json!(world.tenant(*tenant).id));
        assert_eq!(world.scan(&world.tenant(1 - tenant), digest).await, None);
    }

    println!("faults: {pushes} pushes in {took:.1?}, {attempts} deliveries, {count} announcements");
    println!("faults: met {:?}", proxy.met());
    println!("faults: failed {:?}", failed_codes(&world).await);
    assert!(proxy.met().len() > 10, "{:?}", proxy.met());
    Arc::into_inner(world).unwrap().cloud.shutdown().await;
}

/// Pushes images to both tenants in turn and delivers their events; returns them, and how many deliveries it took.
async fn push_all(world: &Arc<World>, seed: u64, pushes: usize) -> (Vec<(usize, Digest)>, u32) {
    let room = Arc::new(Semaphore::new(PARALLEL));
    let mut work = JoinSet::new();
    for index in 0..pushes {
        let (world, room) = (Arc::clone(world), Arc::clone(&room));
        work.spawn(async move {
            let _room = room.acquire().await.unwrap();
            let tenant = world.tenant(index % 2);
            let image = small_image(&format!("{seed} {index}"));
            let event = push_image(&world, &tenant, &image, &format!("push-{index}")).await;
            let delivery = world.cloud.deliver(&tenant, &event).await.unwrap();
            let Delivery::Delivered { attempts, .. } = delivery else {
                panic!("{delivery:?} with SEED={seed}")
            };
            (index % 2, image.digest(), attempts)
        });
    }
    let done = work.join_all().await;
    let attempts = done.iter().map(|(_, _, attempts)| attempts).sum();
    (
        done.into_iter()
            .map(|(tenant, digest, _)| (tenant, digest))
            .collect(),
        attempts,
    )
}

/// Waits until every image has its announced report, as long as there is progress.
async fn wait_for_reports(world: &World, images: &[(usize, Digest)]) {
    let mut missing = images.to_vec();
    let mut progress = Instant::now();
    loop {
        let mut still = Vec::new();
        for (tenant, digest) in &missing {
            let summary = world.scan(&world.tenant(*tenant), digest).await;
            match summary {
                Some(summary) if summary.announced => {
                    assert!(
                        matches!(summary.result, ScanResult::Reported { partial: false, .. }),
                        "{summary:?}"
                    );
                }
                _ => still.push((*tenant, *digest)),
            }
        }
        if still.is_empty() {
            return;
        }
        if still.len() < missing.len() {
            progress = Instant::now();
        }
        missing = still;
        assert!(
            progress.elapsed() < PATIENCE,
            "{} are not reported: {missing:?}",
            missing.len()
        );
        sleep(Duration::from_millis(500)).await;
    }
}

/// How often functions failed, by code.
async fn failed_codes(world: &World) -> BTreeMap<String, usize> {
    let mut codes = BTreeMap::new();
    for service in [Service::Receiver, Service::Verifier, Service::Scanner] {
        for line in world.logs(service).await {
            if line["outcome.name"] == "failed" {
                let code = line["outcome.code"].as_str().unwrap();
                *codes.entry(format!("{} {code}", service.name())).or_default() += 1;
            }
        }
    }
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_ends_alone_and_what_was_mended_can_be_redriven() {
    let plan = Plan {
        seed: 0,
        per_mille: 0,
    };
    let (world, proxy) = behind_proxy("poison", plan).await;
    let tenant = world.tenant(0);
    let images: Vec<_> = (0..5)
        .map(|index| small_image(&format!("neighbour {index}")))
        .collect();
    let queue = world.cloud.stack().output("ScanQueueUrl").unwrap();
    for (index, image) in images.iter().enumerate() {
        let event = push_image(&world, &tenant, image, &format!("neighbour-{index}")).await;
        world.deliver(&tenant, &event).await;
        if index == 2 {
            let poison = world
                .sqs()
                .send_message()
                .queue_url(queue)
                .message_body("{\"poison\":");
            poison.send().await.unwrap();
        }
    }
    // A manifest that the registry does not give, for a while.
    let mended = small_image("mended");
    proxy.close(Some(&format!("/manifests/{}", mended.digest())));
    let event = push_image(&world, &tenant, &mended, "mended").await;
    world.deliver(&tenant, &event).await;

    for image in &images {
        world.cloud.report(&tenant.id, &image.digest()).await.unwrap();
    }
    // Only what fails is left, and that is quick.
    hide_for(&world, "ScanQueueUrl", BRIEFLY).await;
    eventually("both are among the dead letters", async || {
        (depth(&world, "ScanDeadLetterQueueUrl").await == 2).then_some(())
    })
    .await;
    assert_eq!(world.scan(&tenant, &mended.digest()).await, None);
    assert_eq!(depth(&world, "ScanQueueUrl").await, 0);

    proxy.close(None);
    hide_for(&world, "ScanQueueUrl", VISIBILITY).await;
    redrive(&world, "ScanDeadLetterQueueUrl", "ScanQueueUrl").await;
    world.cloud.report(&tenant.id, &mended.digest()).await.unwrap();
    hide_for(&world, "ScanQueueUrl", BRIEFLY).await;
    // What can never be done comes back, alone.
    eventually("the poison is a dead letter again", async || {
        let dead = depth(&world, "ScanDeadLetterQueueUrl").await;
        (dead == 1 && depth(&world, "ScanQueueUrl").await == 0).then_some(())
    })
    .await;
    let dead = world.cloud.stack().output("ScanDeadLetterQueueUrl").unwrap();
    assert_eq!(world.take_messages(dead).await, ["{\"poison\":"]);
    world.cloud.shutdown().await;
}

/// Moves every message back, as SQS does it after `StartMessageMoveTask`, which the emulator lacks.
async fn redrive(world: &World, from: &'static str, to: &'static str) {
    let [from, to] = [from, to].map(|queue| world.cloud.stack().output(queue).unwrap());
    for body in world.take_messages(from).await {
        let send = world.sqs().send_message().queue_url(to).message_body(body);
        send.send().await.unwrap();
    }
}
