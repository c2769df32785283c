//! What the notifier tells, to whom, and what becomes of it when somebody fails.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::{
    collections::VecDeque,
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use portwarden_aws::Metrics;
use portwarden_core::{
    announce::{Announcement, MemoryBus},
    clock::{Clock as _, ManualClock},
    id::{NotificationId, TenantId},
    inventory::{ImageState, Inventory, Matching},
    notification::{MemoryNotifies, Notification, NotificationKind, Notifications, NotifyRequest},
    random::OsRandomness,
    scope::{OperatorScope, TenantScope},
    store::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError},
    webhook::{
        Delivery, DeliveryState, DisabledReason, Outcome, Redelivered, Signed, Webhook, WebhookKey,
        WebhookUrl, Webhooks,
    },
};
use portwarden_notifier::{Context, Done, Outside, Post, handle, work};
use portwarden_oci::Digest;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// A table that fails when it is told to.
#[derive(Default)]
struct Table {
    memory: MemoryStore,
    writes_fail: AtomicBool,
}

#[async_trait]
impl Store for Table {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.memory.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.memory.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        if self.writes_fail.load(Ordering::SeqCst) {
            return Err(WriteError::Store(StoreError::Throttled));
        }
        self.memory.write(writes).await
    }
}

/// Webhooks that answer as they are told, and remember what they were sent.
#[derive(Default)]
struct Receivers {
    answers: Mutex<VecDeque<Outcome>>,
    sent: Mutex<Vec<(String, Signed, Vec<u8>)>>,
    /// The table that breaks once something was sent.
    breaks: Mutex<Option<Arc<Table>>>,
}

#[async_trait]
impl Post for Receivers {
    async fn post(&self, url: &WebhookUrl, signed: &Signed, body: Vec<u8>) -> Outcome {
        self.sent
            .lock()
            .unwrap()
            .push((url.to_string(), signed.clone(), body));
        if let Some(table) = self.breaks.lock().unwrap().take() {
            table.writes_fail.store(true, Ordering::SeqCst);
        }
        let told = self.answers.lock().unwrap().pop_front();
        told.unwrap_or(Outcome::Taken { status: 200 })
    }
}

struct World {
    table: Arc<Table>,
    queue: Arc<MemoryNotifies>,
    dead_letters: Arc<MemoryNotifies>,
    bus: Arc<MemoryBus>,
    receivers: Arc<Receivers>,
    clock: ManualClock,
    webhooks: Webhooks,
    scope: TenantScope,
    lines: Arc<Mutex<Vec<String>>>,
    context: Context,
}

fn key() -> WebhookKey {
    WebhookKey::parse("a-key-of-thirty-two-characters-00".to_owned().into()).unwrap()
}

impl World {
    fn new() -> Self {
        let receivers = Arc::<Receivers>::default();
        Self::with(receivers.clone(), receivers)
    }

    fn with(receivers: Arc<Receivers>, post: Arc<dyn Post>) -> Self {
        let table = Arc::<Table>::default();
        let [queue, dead_letters] = [(), ()].map(|()| Arc::<MemoryNotifies>::default());
        let bus = Arc::<MemoryBus>::default();
        let clock = ManualClock::at("2026-11-23T12:00:00Z".parse().unwrap());
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let measured = Arc::clone(&lines);
        let outside = Outside {
            store: table.clone(),
            queue: queue.clone(),
            dead_letters: dead_letters.clone(),
            bus: bus.clone(),
            post,
            key: Arc::new(key()),
            metrics: Metrics::written_by(Arc::new(clock.clone()), move |line| {
                measured.lock().unwrap().push(line.to_owned());
            }),
            clock: Arc::new(clock.clone()),
            randomness: Arc::new(OsRandomness),
        };
        Self {
            webhooks: Webhooks::new(table.clone()),
            scope: OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness)),
            context: Context::new(outside),
            table,
            queue,
            dead_letters,
            bus,
            receivers,
            clock,
            lines,
        }
    }

    async fn webhook(&self, url: &str) -> (Webhook, String) {
        let url = WebhookUrl::parse_beside_emulator(url).unwrap();
        let now = self.clock.now();
        let (webhook, secret) = self
            .webhooks
            .create(&self.scope, ("a name", &url), &key(), now, &OsRandomness)
            .await
            .unwrap();
        (webhook, secret.expose().expose_secret().to_owned())
    }

    /// Notes something about an image, as the scanner and the rematcher do, and queues it.
    async fn note(&self, data: Value) -> Notification {
        let (at, image) = (self.clock.now(), Digest::of(b"image"));
        let notification = Notification {
            id: NotificationId::of(at, &[&data.to_string()]),
            kind: NotificationKind::FindingsChanged,
            at,
            data,
            announced: false,
        };
        let inventory = Inventory::new(self.table.clone());
        let state = inventory.image(&self.scope, &image).await.unwrap();
        let matching = Matching {
            catalog_version: 1,
            edition: Some(1),
            registry_scan: None,
            at,
            counts: [].into(),
            fixable: 0,
            written: true,
        };
        let kept = inventory.keep_matching(&self.scope, &image, &state, &matching, Some(&notification));
        assert!(kept.await.unwrap());
        let ImageState { untold, .. } = inventory.image(&self.scope, &image).await.unwrap();
        assert_eq!(untold, std::slice::from_ref(&notification.id));
        let notifications = Notifications::new(self.table.clone());
        notifications
            .queue_untold(&self.scope, &image, &untold, &*self.queue)
            .await
            .unwrap();
        assert_eq!(inventory.image(&self.scope, &image).await.unwrap().untold, []);
        notification
    }

    /// Works on whatever is queued, waiting as long as it is kept back, until nothing is left; returns how often.
    async fn run(&self) -> usize {
        let mut count = 0;
        loop {
            let mut waiting = self.queue.take();
            waiting.sort_by_key(|(_, delay)| *delay);
            if waiting.is_empty() {
                return count;
            }
            for (request, delay) in waiting {
                self.clock.advance(delay);
                work(&self.context, &request).await.unwrap();
                count += 1;
                assert!(count < 2000, "it goes on for ever");
            }
        }
    }

    async fn delivery(&self, webhook: &Webhook) -> Delivery {
        let list = self.webhooks.deliveries(&self.scope, &webhook.id, None, 10).await;
        list.unwrap().items.remove(0)
    }

    fn sent(&self) -> Vec<(String, Signed, Vec<u8>)> {
        std::mem::take(&mut self.receivers.sent.lock().unwrap())
    }

    fn answer(&self, answers: impl IntoIterator<Item = Outcome>) {
        self.receivers.answers.lock().unwrap().extend(answers);
    }
}

const REFUSED: Outcome = Outcome::Refused {
    status: 500,
    retry_after: None,
};

/// An implementation of the receiving side that shares nothing with ours.
const VERIFY: &str = "
import base64, hashlib, hmac, json, sys
case = json.load(sys.stdin)
key = base64.b64decode(case['secret'].removeprefix('whsec_'))
signed = f\"{case['id']}.{case['timestamp']}.{case['body']}\".encode()
wanted = 'v1,' + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
print('valid' if any(hmac.compare_digest(wanted, one) for one in case['signature'].split(' ')) else 'invalid')
";

/// Tells whether a receiver takes the signature; nothing without Python.
fn verdict(secret: &str, signed: &Signed, body: &[u8]) -> Option<String> {
    let python = Command::new("python3")
        .args(["-c", VERIFY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else {
        println!("not run: signatures by another implementation (python3 is missing)");
        return None;
    };
    let case = json!({
        "secret": secret, "id": signed.id, "timestamp": signed.timestamp, "signature": signed.signature,
        "body": String::from_utf8(body.to_vec()).unwrap(),
    });
    python
        .stdin
        .take()
        .unwrap()
        .write_all(case.to_string().as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[tokio::test]
async fn what_is_noted_is_told_once_on_the_bus_and_signed_to_every_webhook() {
    let world = World::new();
    let (_, secret) = world.webhook("https://one.example.com/").await;
    let (_, other) = world.webhook("https://two.example.com/").await;
    let notification = world
        .note(json!({"reason": "tag_moved", "odd": "ü\u{202e}\n\"<>"}))
        .await;
    let queued = world.queue.take();
    for (request, _) in queued.iter().chain(&queued) {
        work(&world.context, request).await.unwrap();
    }
    world.run().await;
    assert_eq!(
        world.bus.take(),
        [Announcement::FindingsChanged(notification.data.clone())]
    );
    let sent = world.sent();
    let urls: Vec<&str> = sent.iter().map(|(url, ..)| url.as_str()).collect();
    assert_eq!(urls.len(), 2, "{urls:?}");
    for (url, signed, body) in &sent {
        let (right, wrong) = if url.contains("one") {
            (&secret, &other)
        } else {
            (&other, &secret)
        };
        let told: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(
            told,
            json!({"type": "findings.changed", "timestamp": notification.at, "data": notification.data})
        );
        assert_eq!(signed.id, notification.id.to_string());
        assert_eq!(signed.timestamp, world.clock.now().as_second().to_string());
        let Some(said) = verdict(right, signed, body) else {
            return;
        };
        assert_eq!(said, "valid");
        assert_eq!(verdict(wrong, signed, body).as_deref(), Some("invalid"));
        assert_eq!(verdict(right, signed, b"{}").as_deref(), Some("invalid"));
    }
}

#[tokio::test]
async fn what_is_not_taken_comes_again_under_the_same_id_and_ends_among_the_dead_letters() {
    let world = World::new();
    let (dead, _) = world.webhook("https://dead.example.com/").await;
    let notification = world.note(json!({})).await;
    world.answer([REFUSED; 10]);
    world.run().await;
    let sent = world.sent();
    assert_eq!(sent.len(), 10);
    assert!(
        sent.iter()
            .all(|(_, signed, _)| signed.id == notification.id.to_string())
    );
    let times: Vec<i64> = sent
        .iter()
        .map(|(_, signed, _)| signed.timestamp.parse().unwrap())
        .collect();
    assert!(times.is_sorted() && times[9] - times[0] > 75 * 3600, "{times:?}");
    let letters = world.dead_letters.take();
    assert_eq!(letters.len(), 1);
    let found = world
        .webhooks
        .find(&world.scope, &dead.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.disabled.unwrap().reason, DisabledReason::Unreachable);
    // Others are told meanwhile, and afterwards.
    let (well, _) = world.webhook("https://well.example.com/").await;
    world.note(json!({"b": 1})).await;
    world.run().await;
    assert_eq!(world.sent().len(), 1);
    assert_eq!(world.delivery(&well).await.state, DeliveryState::Delivered);
    // Whoever mends it and redrives is sent it at once, whatever happened to the message meanwhile.
    world
        .webhooks
        .enable(&world.scope, &dead.id, true, world.clock.now())
        .await
        .unwrap();
    for _ in 0..2 {
        work(&world.context, &letters[0].0).await.unwrap();
    }
    assert_eq!(world.sent().len(), 1);
    assert_eq!(world.delivery(&dead).await.state, DeliveryState::Delivered);
    assert!(
        world.lines.lock().unwrap().is_empty(),
        "work itself measures nothing"
    );
}

#[tokio::test]
async fn whoever_answers_gone_is_left_alone() {
    let world = World::new();
    let (webhook, _) = world.webhook("https://gone.example.com/").await;
    world.note(json!({})).await;
    world.answer([Outcome::Refused {
        status: 410,
        retry_after: None,
    }]);
    assert_eq!(world.run().await, 2);
    world.clock.advance(Duration::from_secs(1));
    world.note(json!({"b": 1})).await;
    world.run().await;
    assert_eq!(world.sent().len(), 1);
    assert!(world.dead_letters.take().is_empty());
    let found = world
        .webhooks
        .find(&world.scope, &webhook.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.disabled.unwrap().reason, DisabledReason::Gone);
}

#[tokio::test]
async fn a_crash_between_sending_and_noting_repeats_the_attempt_under_its_id() {
    let world = World::new();
    let (webhook, _) = world.webhook("https://one.example.com/").await;
    world.note(json!({})).await;
    let tell = world.queue.take();
    work(&world.context, &tell[0].0).await.unwrap();
    let deliver = world.queue.take();
    *world.receivers.breaks.lock().unwrap() = Some(world.table.clone());
    work(&world.context, &deliver[0].0).await.unwrap_err();
    world.table.writes_fail.store(false, Ordering::SeqCst);
    // It comes back at once: whoever sent it may still be at it.
    assert_eq!(work(&world.context, &deliver[0].0).await.unwrap(), Done::Waiting);
    let queued = world.queue.take();
    assert_eq!(queued[0].1, Duration::from_mins(1));
    world.clock.advance(Duration::from_mins(1));
    work(&world.context, &queued[0].0).await.unwrap();
    let sent = world.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].1.id, sent[1].1.id);
    let delivery = world.delivery(&webhook).await;
    assert_eq!((delivery.state, delivery.made), (DeliveryState::Delivered, 1));
    // The message that was lost track of comes once more.
    assert_eq!(work(&world.context, &deliver[0].0).await.unwrap(), Done::Repeated);
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn a_crash_before_the_next_attempt_is_queued_loses_it_not() {
    let world = World::new();
    world.webhook("https://one.example.com/").await;
    world.note(json!({})).await;
    let tell = world.queue.take();
    work(&world.context, &tell[0].0).await.unwrap();
    let deliver = world.queue.take();
    world.answer([REFUSED]);
    work(&world.context, &deliver[0].0).await.unwrap();
    // What follows was queued, and let it be lost with the process.
    world.queue.take();
    assert_eq!(work(&world.context, &deliver[0].0).await.unwrap(), Done::Repeated);
    world.run().await;
    assert_eq!(world.sent().len(), 2);
}

#[tokio::test]
async fn a_test_is_sent_to_the_one_webhook_once_and_is_nobody_elses_news() {
    let world = World::new();
    let (webhook, secret) = world.webhook("https://one.example.com/").await;
    world.webhook("https://two.example.com/").await;
    world.answer([REFUSED]);
    let now = world.clock.now();
    let test = world
        .webhooks
        .test(&world.scope, &webhook.id, now, &OsRandomness, &*world.queue);
    let test = test.await.unwrap().unwrap();
    world.run().await;
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    let told: Value = serde_json::from_slice(&sent[0].2).unwrap();
    assert_eq!(told["type"], "ping");
    assert_eq!(told["data"]["id"], json!(test.notification));
    assert_ne!(
        verdict(&secret, &sent[0].1, &sent[0].2).as_deref(),
        Some("invalid")
    );
    assert!(world.bus.take().is_empty() && world.dead_letters.take().is_empty());
    let delivery = world.delivery(&webhook).await;
    assert_eq!(delivery.state, DeliveryState::GivenUp);
    assert_eq!(delivery.attempts[0].status, Some(500));
    // It can be made again by hand.
    let again = world
        .webhooks
        .redeliver(&world.scope, &webhook.id, &test.notification, now, &*world.queue);
    assert!(matches!(again.await.unwrap(), Redelivered::Queued(_)));
    world.run().await;
    assert_eq!(world.delivery(&webhook).await.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn each_message_leaves_its_figures_and_a_poison_one_fails_alone() {
    let world = World::new();
    let (webhook, _) = world.webhook("https://one.example.com/secret-path").await;
    world.note(json!({})).await;
    world.answer([Outcome::Failed { code: "timed_out" }]);
    let batch = |bodies: &[String]| {
        let mut batch = SqsEvent::default();
        for (index, body) in bodies.iter().enumerate() {
            let mut message = SqsMessage::default();
            message.message_id = Some(index.to_string());
            message.body = Some(body.clone());
            batch.records.push(message);
        }
        batch
    };
    let text = |(request, _): &(NotifyRequest, Duration)| serde_json::to_string(request).unwrap();
    let bodies: Vec<String> = ["not json".to_owned()]
        .into_iter()
        .chain(world.queue.take().iter().map(text))
        .collect();
    let answer = handle(&world.context, batch(&bodies)).await;
    let failed: Vec<&str> = answer
        .batch_item_failures
        .iter()
        .map(|item| item.item_identifier.as_str())
        .collect();
    assert_eq!(failed, ["0"]);
    let bodies: Vec<String> = world.queue.take().iter().map(text).collect();
    assert!(
        handle(&world.context, batch(&bodies))
            .await
            .batch_item_failures
            .is_empty()
    );
    let lines = world.lines.lock().unwrap().join("\n");
    for metric in ["NotifiesFailed", "NotificationsTold", "WebhooksFailed"] {
        assert!(lines.contains(metric), "{lines}");
    }
    assert!(lines.contains("timed_out") && !lines.contains("secret-path"));
    let delivery = world.delivery(&webhook).await;
    assert_eq!(delivery.attempts[0].code.as_deref(), Some("timed_out"));
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_told_to_nobody() {
    let world = World::new();
    let unknown = NotifyRequest::Tell {
        tenant: world.scope.tenant().clone(),
        notification: NotificationId::of(world.clock.now(), &["x"]),
    };
    assert_eq!(work(&world.context, &unknown).await.unwrap(), Done::Dropped);
    let (webhook, _) = world.webhook("https://one.example.com/").await;
    world.note(json!({})).await;
    let tell = world.queue.take();
    work(&world.context, &tell[0].0).await.unwrap();
    world.webhooks.remove(&world.scope, &webhook.id).await.unwrap();
    assert_eq!(world.run().await, 1);
    assert!(world.sent().is_empty());
}
