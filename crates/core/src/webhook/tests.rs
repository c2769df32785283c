use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;
use crate::{
    id::{NotificationId, TenantId},
    notification::{MemoryNotifies, Notification, NotificationKind, NotifyRequest},
    random::OsRandomness,
    store::MemoryStore,
};

fn start() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn key() -> WebhookKey {
    WebhookKey::parse("a-key-of-thirty-two-characters-00".to_owned().into()).unwrap()
}

struct World {
    webhooks: Webhooks,
    queue: MemoryNotifies,
    scope: TenantScope,
}

impl World {
    fn new() -> Self {
        Self {
            webhooks: Webhooks::new(Arc::new(MemoryStore::default())),
            queue: MemoryNotifies::default(),
            scope: TenantScope::of(TenantId::generate(&OsRandomness)),
        }
    }

    async fn webhook(&self) -> Webhook {
        let url = WebhookUrl::parse("https://hooks.example.com/").unwrap();
        let made = self
            .webhooks
            .create(&self.scope, ("a name", &url), &key(), start(), &OsRandomness)
            .await;
        made.unwrap().0
    }

    async fn tell(&self, at: Timestamp) -> Notification {
        let notification = Notification {
            id: NotificationId::of(at, &["x"]),
            kind: NotificationKind::FindingsChanged,
            at,
            data: json!({"a": 1}),
            announced: true,
        };
        self.webhooks
            .deliver(&self.scope, &notification, at, &self.queue)
            .await
            .unwrap();
        notification
    }

    async fn begin(&self, webhook: &Webhook, id: &NotificationId, attempt: u32, now: Timestamp) -> Begun {
        self.webhooks
            .begin(&self.scope, &webhook.id, id, attempt, now)
            .await
            .unwrap()
    }

    /// Makes an attempt that ends so.
    async fn attempt(
        &self,
        webhook: &Webhook,
        id: &NotificationId,
        attempt: u32,
        outcome: Outcome,
        now: Timestamp,
    ) -> Followed {
        let begun = self.begin(webhook, id, attempt, now).await;
        assert!(matches!(begun, Begun::Ours(_)), "attempt {attempt}: {begun:?}");
        self.webhooks
            .finish(
                &self.scope,
                webhook,
                (id, attempt),
                (outcome, now),
                now + SignedDuration::from_millis(7),
                &OsRandomness,
            )
            .await
            .unwrap()
    }

    async fn last(&self, webhook: &Webhook) -> Delivery {
        let list = self.webhooks.deliveries(&self.scope, &webhook.id, None, 10).await;
        list.unwrap().items.remove(0)
    }

    async fn reason(&self, webhook: &Webhook) -> Option<DisabledReason> {
        let found = self.webhooks.find(&self.scope, &webhook.id).await.unwrap();
        found.unwrap().disabled.map(|disabled| disabled.reason)
    }
}

const REFUSED: Outcome = Outcome::Refused {
    status: 500,
    retry_after: None,
};
const TAKEN: Outcome = Outcome::Taken { status: 204 };

#[tokio::test]
async fn attempts_go_on_for_three_days_and_are_given_up_then() {
    let world = World::new();
    let webhook = world.webhook().await;
    let notification = world.tell(start()).await;
    assert_eq!(world.queue.take().len(), 1);
    let mut now = start();
    let mut attempt = 1;
    let next = loop {
        match world
            .attempt(&webhook, &notification.id, attempt, REFUSED, now)
            .await
        {
            Followed::Again { attempt: next, .. } => {
                assert_eq!(next, attempt + 1);
                let DeliveryState::Waiting { next_at } = world.last(&webhook).await.state else {
                    panic!("it waits")
                };
                let early = world
                    .begin(
                        &webhook,
                        &notification.id,
                        next,
                        next_at - SignedDuration::from_millis(1),
                    )
                    .await;
                assert_eq!(early, Begun::Early(Duration::from_secs(1)));
                (now, attempt) = (next_at, next);
            }
            Followed::GivenUp { attempt } => break attempt,
            Followed::Nothing => panic!("something follows"),
        }
    };
    assert_eq!((attempt, next), (10, 11));
    let days = now.duration_since(start()).as_hours();
    assert!((75..92).contains(&days), "{days} hours");
    let delivery = world.last(&webhook).await;
    assert_eq!(delivery.state, DeliveryState::GivenUp);
    assert_eq!(delivery.attempts.len(), 10);
    assert_eq!(delivery.attempts[0].code.as_deref(), Some("refused"));
    assert_eq!(delivery.attempts[0].took_ms, 7);
    // Nothing was taken meanwhile.
    assert_eq!(world.reason(&webhook).await, Some(DisabledReason::Unreachable));
    // A repeated message leads to what followed, and to nothing else.
    let made = world.begin(&webhook, &notification.id, 10, now).await;
    assert_eq!(made, Begun::Made(Followed::GivenUp { attempt: 11 }));
    // Taken out of the dead letters it begins anew, if the webhook is on again.
    world
        .webhooks
        .enable(&world.scope, &webhook.id, true, now)
        .await
        .unwrap();
    let followed = world.attempt(&webhook, &notification.id, 11, REFUSED, now).await;
    assert!(matches!(followed, Followed::Again { attempt: 12, delay } if delay <= Duration::from_secs(6)));
}

#[tokio::test]
async fn each_attempt_is_made_once_and_again_only_if_its_maker_died() {
    let world = World::new();
    let webhook = world.webhook().await;
    let notification = world.tell(start()).await;
    let id = &notification.id;
    assert!(matches!(
        world.begin(&webhook, id, 1, start()).await,
        Begun::Ours(_)
    ));
    assert_eq!(
        world.begin(&webhook, id, 1, start()).await,
        Begun::Early(Duration::from_mins(1))
    );
    // Telling it again queues nothing of what is under way.
    world.queue.take();
    world.tell(start()).await;
    assert_eq!(
        world.queue.take().len(),
        1,
        "no attempt was made, so the message may be lost"
    );
    let later = start() + SignedDuration::from_secs(61);
    let followed = world.attempt(&webhook, id, 1, TAKEN, later).await;
    assert_eq!(followed, Followed::Nothing);
    assert_eq!(
        world.begin(&webhook, id, 1, later).await,
        Begun::Made(Followed::Nothing)
    );
    assert_eq!(world.begin(&webhook, id, 2, later).await, Begun::Dropped);
    // Whoever was taken for dead and was not changes nothing.
    let late = world
        .webhooks
        .finish(
            &world.scope,
            &webhook,
            (id, 1),
            (REFUSED, start()),
            later,
            &OsRandomness,
        )
        .await;
    assert_eq!(late.unwrap(), Followed::Nothing);
    assert_eq!(world.last(&webhook).await.state, DeliveryState::Delivered);
    world.tell(start()).await;
    assert!(world.queue.take().is_empty(), "it was delivered");
}

#[tokio::test]
async fn a_retry_after_is_obeyed_within_a_day() {
    let world = World::new();
    let webhook = world.webhook().await;
    for (asked, least, most) in [(1, 5, 6), (3600, 3600, 3600), (10_000_000, 86_400, 86_400)] {
        let at = start() + SignedDuration::from_secs(asked);
        let notification = world.tell(at).await;
        let outcome = Outcome::Refused {
            status: 429,
            retry_after: Some(Duration::from_secs(u64::try_from(asked).unwrap())),
        };
        let followed = world.attempt(&webhook, &notification.id, 1, outcome, at).await;
        let Followed::Again { delay, .. } = followed else {
            panic!("{followed:?}")
        };
        assert!(delay <= crate::work::LONGEST_DELAY);
        let DeliveryState::Waiting { next_at } = world.last(&webhook).await.state else {
            panic!("it waits")
        };
        let waits = next_at.duration_since(at).as_secs();
        assert!((least..=most).contains(&waits), "{asked}: {waits}");
    }
}

#[tokio::test]
async fn whoever_is_gone_is_left_alone() {
    let world = World::new();
    let webhook = world.webhook().await;
    let [first, second] = [
        world.tell(start()).await,
        world.tell(start() + SignedDuration::from_secs(1)).await,
    ];
    let gone = Outcome::Refused {
        status: 410,
        retry_after: None,
    };
    let followed = world.attempt(&webhook, &first.id, 1, gone, start()).await;
    assert_eq!(
        followed,
        Followed::Nothing,
        "it is no dead letter: they want it so"
    );
    assert_eq!(world.reason(&webhook).await, Some(DisabledReason::Gone));
    let later = start() + SignedDuration::from_secs(2);
    assert_eq!(world.begin(&webhook, &second.id, 1, later).await, Begun::Dropped);
    assert_eq!(world.last(&webhook).await.state, DeliveryState::Cancelled);
    world.queue.take();
    world.tell(later).await;
    assert!(world.queue.take().is_empty());
    let again = world
        .webhooks
        .redeliver(&world.scope, &webhook.id, &second.id, later, &world.queue)
        .await;
    assert_eq!(again.unwrap(), Redelivered::Disabled);
    // A test is made all the same, once.
    let test = world
        .webhooks
        .test(&world.scope, &webhook.id, later, &OsRandomness, &world.queue)
        .await
        .unwrap()
        .unwrap();
    let followed = world
        .attempt(&webhook, &test.notification, 1, REFUSED, later)
        .await;
    assert_eq!(followed, Followed::Nothing);
    assert_eq!(world.last(&webhook).await.state, DeliveryState::GivenUp);
}

#[tokio::test]
async fn one_delivery_that_fails_switches_nothing_off_while_others_pass() {
    let world = World::new();
    let webhook = world.webhook().await;
    let failing = world.tell(start()).await;
    let mut now = start();
    for attempt in 1..=10 {
        let other = world.tell(now + SignedDuration::from_secs(1)).await;
        world
            .attempt(&webhook, &other.id, 1, TAKEN, now + SignedDuration::from_secs(1))
            .await;
        world.attempt(&webhook, &failing.id, attempt, REFUSED, now).await;
        now += SignedDuration::from_hours(29);
    }
    assert_eq!(world.reason(&webhook).await, None);
}

#[tokio::test]
async fn what_failed_can_be_delivered_again_at_once() {
    let world = World::new();
    let webhook = world.webhook().await;
    let notification = world.tell(start()).await;
    world
        .attempt(&webhook, &notification.id, 1, REFUSED, start())
        .await;
    world.queue.take();
    let again = world
        .webhooks
        .redeliver(&world.scope, &webhook.id, &notification.id, start(), &world.queue)
        .await;
    assert!(matches!(again.unwrap(), Redelivered::Queued(_)));
    let queued = world.queue.take();
    let expected = NotifyRequest::Deliver {
        tenant: world.scope.tenant().clone(),
        webhook: webhook.id.clone(),
        notification: notification.id.clone(),
        attempt: 2,
    };
    assert_eq!(queued, [(expected, Duration::ZERO)]);
    world.attempt(&webhook, &notification.id, 2, TAKEN, start()).await;
    // The message of the attempt that waited comes, too.
    assert_eq!(
        world.begin(&webhook, &notification.id, 2, start()).await,
        Begun::Made(Followed::Nothing)
    );
    let other = NotificationId::of(start(), &["other"]);
    let missing = world
        .webhooks
        .redeliver(&world.scope, &webhook.id, &other, start(), &world.queue)
        .await;
    assert_eq!(missing.unwrap(), Redelivered::Missing);
}

#[tokio::test]
async fn a_tenants_webhooks_are_its_own_and_few_and_their_names_are_names() {
    let world = World::new();
    let webhook = world.webhook().await;
    let other = TenantScope::of(TenantId::generate(&OsRandomness));
    assert_eq!(world.webhooks.find(&other, &webhook.id).await.unwrap(), None);
    assert!(!world.webhooks.remove(&other, &webhook.id).await.unwrap());
    for _ in 1..MAX_WEBHOOKS {
        world.webhook().await;
    }
    let create = async |name: &str| {
        let url = webhook.url.clone();
        world
            .webhooks
            .create(&world.scope, (name, &url), &key(), start(), &OsRandomness)
            .await
    };
    assert!(matches!(create("x").await, Err(CreateError::TooMany)));
    assert!(matches!(create("a\nb").await, Err(CreateError::Name(_))));
    assert!(world.webhooks.remove(&world.scope, &webhook.id).await.unwrap());
    assert!(create("x").await.is_ok());
}

#[tokio::test]
async fn of_two_changes_of_what_both_have_read_one_is_made_and_deliveries_are_in_nobodys_way() {
    let world = World::new();
    let webhook = world.webhook().await;
    let edit = async |wanted: WebhookChange, seen: Option<Revision>| {
        let edited = world
            .webhooks
            .edit(&world.scope, &webhook.id, &wanted, seen, start())
            .await;
        edited.unwrap()
    };
    let named = |name: &str| WebhookChange {
        name: Some(name.to_owned()),
        ..WebhookChange::default()
    };
    let seen = webhook.revision();
    let told = world.tell(start()).await;
    world.attempt(&webhook, &told.id, 1, TAKEN, start()).await;
    let Edited::Done(first) = edit(named("first"), Some(seen)).await else {
        panic!("only a delivery came between");
    };
    assert!(first.delivered_at.is_some(), "what was noted meanwhile stays");
    assert_eq!(edit(named("second"), Some(seen)).await, Edited::Changed);
    assert_eq!(
        edit(named("first"), Some(first.revision())).await,
        Edited::Done(first.clone())
    );
    // Another address keeps the secret, and switching off twice keeps the reason.
    let url = WebhookUrl::parse("https://other.example.com/").unwrap();
    let moved = WebhookChange {
        url: Some(url.clone()),
        enabled: Some(false),
        ..WebhookChange::default()
    };
    let Edited::Done(moved) = edit(moved, Some(first.revision())).await else {
        panic!("nobody else changed it");
    };
    assert_eq!((&moved.url, moved.generation), (&url, 1));
    assert_eq!(moved.disabled.unwrap().reason, DisabledReason::Asked);
    let again = world
        .webhooks
        .enable(&world.scope, &webhook.id, false, start() + OLD_SECRET_SIGNS);
    assert_eq!(again.await.unwrap().as_ref(), Some(&moved));
    world.webhooks.remove(&world.scope, &webhook.id).await.unwrap();
    assert_eq!(edit(named("x"), None).await, Edited::Missing);
}

#[tokio::test]
async fn a_new_secret_signs_beside_the_old_one_for_a_day() {
    let world = World::new();
    let webhook = world.webhook().await;
    let old = webhook.secrets(&world.scope, &key(), start());
    let shown = world
        .webhooks
        .renew_secret(&world.scope, &webhook.id, &key(), start())
        .await
        .unwrap()
        .unwrap();
    let webhook = world
        .webhooks
        .find(&world.scope, &webhook.id)
        .await
        .unwrap()
        .unwrap();
    let texts = |at: Timestamp| -> Vec<String> {
        let secrets = webhook.secrets(&world.scope, &key(), at);
        secrets
            .iter()
            .map(|secret| secret.expose().expose_secret().to_owned())
            .collect()
    };
    let (new, old) = (shown.expose(), old[0].expose());
    assert_eq!(texts(start()), [new.expose_secret(), old.expose_secret()]);
    assert_eq!(texts(start() + OLD_SECRET_SIGNS), [new.expose_secret()]);
    let id = NotificationId::of(start(), &["x"]);
    let signed = Signed::new(
        &id,
        start(),
        b"{}",
        &webhook.secrets(&world.scope, &key(), start()),
    );
    assert_eq!(
        signed
            .signature
            .split(' ')
            .filter(|text| text.starts_with("v1,"))
            .count(),
        2
    );
}
