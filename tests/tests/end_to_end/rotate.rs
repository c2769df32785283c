//! New credentials while pushes keep coming: none is lost.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use portwarden_aws::SystemClock;
use portwarden_core::{clock::Clock as _, random::OsRandomness, work::KnownBy};
use portwarden_local::{
    Account, Launched,
    destination::BasicAuth,
    watch::{Action, ImageAction},
};
use portwarden_oci::Digest;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    connect::{Connecting, send_to},
    console::Caller,
    reconcile::{plain, push_untold},
    world::{World, eventually, scope},
};

const REGION: &str = "us-east-1";

/// How long after a refusal EventBridge sends again here; on AWS it is a minute.
const AGAIN: Duration = Duration::from_secs(1);

/// How long an event may be refused: the next minute's claim is looked at, and its secret read.
const LONGEST: Duration = Duration::from_mins(2);

/// How often something is pushed.
const EVERY: Duration = Duration::from_millis(400);

/// Pushes that keep coming until they are told to end.
#[derive(Default)]
struct Load {
    /// What events are sent with, in turn: while a connection changes, EventBridge may use either.
    with: Mutex<Vec<BasicAuth>>,
    refused: Arc<AtomicUsize>,
    ended: AtomicBool,
}

impl Load {
    /// Pushes images, each with an event that is sent until it is accepted; returns all when all are.
    async fn run(&self, account: &Account, url: &Url) -> Vec<Digest> {
        let mut deliveries = JoinSet::new();
        let mut pushed = Vec::new();
        while !self.ended.load(Ordering::Relaxed) {
            let tag = format!("v{}", pushed.len());
            let digest = push_untold(account, "shop/web", &tag, &plain(&tag)).await;
            let action = ImageAction {
                action: Action::Push,
                repository: "shop/web".to_owned(),
                digest: digest.to_string(),
                tag: Some(tag),
            };
            let event = action.event(account, SystemClock.now(), &OsRandomness);
            let auth = {
                let with = self.with.lock().unwrap();
                with[pushed.len() % with.len()].clone()
            };
            deliveries.spawn(deliver(url.clone(), auth, event, self.refused.clone()));
            pushed.push(digest);
            sleep(EVERY).await;
        }
        deliveries.join_all().await;
        pushed
    }

    /// Lets so many more pushes come.
    async fn go_on(&self, pushes: u32) {
        sleep(EVERY * pushes).await;
    }
}

async fn deliver(url: Url, auth: BasicAuth, event: Value, refused: Arc<AtomicUsize>) {
    let deadline = Instant::now() + LONGEST;
    loop {
        let answer = send_to(&url, &auth, &event).await;
        if answer == StatusCode::ACCEPTED {
            return;
        }
        assert_eq!(answer, 429, "all else would make it a dead letter");
        assert!(Instant::now() < deadline, "it is refused for good");
        refused.fetch_add(1, Ordering::Relaxed);
        sleep(AGAIN).await;
    }
}

/// Has the stack make another password while pushes come, from the announcement to the last one with the old password.
async fn rotate(connecting: &Connecting<'_>, stack: &mut Launched, load: &Load) {
    load.go_on(5).await;
    let (status, rotation) = connecting
        .post(&format!("/regions/{REGION}/rotation"), json!({}))
        .await;
    assert_eq!(
        (status, &rotation["generation"]),
        (StatusCode::OK, &json!(2)),
        "{rotation}"
    );
    let updating = stack.status("UPDATE_IN_PROGRESS");
    assert_eq!(stack.send(&updating).await.unwrap(), 202);
    let old = stack.auth.clone();
    stack.renew_password(2).await.unwrap();
    load.with.lock().unwrap().push(stack.auth.clone());
    eventually("pushes come with what nobody knows yet", async || {
        sleep(EVERY).await;
        (load.refused.load(Ordering::Relaxed) > 1).then_some(())
    })
    .await;
    let updated = stack.status("UPDATE_COMPLETE");
    eventually("the new credentials are known", async || {
        let answer = stack.send(&updated).await.unwrap();
        sleep(AGAIN).await;
        (answer == 202).then_some(())
    })
    .await;
    // What was on its way still comes with the old ones.
    load.go_on(6).await;
    let beat = stack.heartbeat();
    assert_eq!(send_to(&stack.events_url, &old, &beat).await, 202);
    load.with.lock().unwrap().remove(0);
    load.go_on(5).await;
    load.ended.store(true, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_push_is_lost_while_a_stack_makes_another_password() {
    let world = World::start("rotate").await;
    let tenant = world.tenant(0);
    let caller = Caller::new(&world);
    let account = "400000000004".parse().unwrap();
    let new = json!({"name": "quick", "regions": [REGION], "account": account});
    let connecting = Connecting::start(&caller, &tenant, new).await;
    let mut stack = connecting.launch(&account, REGION, None).await;
    assert_eq!(stack.send(&stack.status("CREATE_COMPLETE")).await.unwrap(), 429);
    connecting.until(REGION, "proven").await;
    connecting.until_green(&stack).await;

    let load = Load::default();
    load.with.lock().unwrap().push(stack.auth.clone());
    let first = stack.auth.clone();
    let (pushes_to, url) = (stack.account.clone(), stack.events_url.clone());
    let (pushed, ()) = tokio::join!(load.run(&pushes_to, &url), rotate(&connecting, &mut stack, &load));

    assert_ne!(
        secrecy::ExposeSecret::expose_secret(&first.password),
        secrecy::ExposeSecret::expose_secret(&stack.auth.password)
    );
    for digest in &pushed {
        world.cloud.report(&tenant.id, digest).await.unwrap();
        let location = world.location(&tenant, digest, |_| true).await;
        assert_eq!(location.known_by, KnownBy::Event);
    }
    let integration = connecting.id.parse().unwrap();
    let found = world.integrations().find(&scope(&tenant), &integration).await;
    let region = found.unwrap().unwrap().regions[&REGION.parse().unwrap()].clone();
    let generations: Vec<_> = region
        .credentials
        .iter()
        .map(|credential| (credential.generation, credential.first_used_at.is_some()))
        .collect();
    assert_eq!(
        generations,
        [(1, false), (2, true)],
        "the old ones have a day left"
    );
    world.cloud.shutdown().await;
}
