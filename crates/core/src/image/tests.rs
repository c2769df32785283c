mod lists;

use jiff::ToSpan as _;
use proptest::prelude::*;

use super::*;
use crate::{
    id::{RequestId, TenantId},
    random::OsRandomness,
    store::MemoryStore,
    trace::TraceId,
};

const VERSION: u32 = 1;

struct World {
    images: Images,
    scope: TenantScope,
    digest: Digest,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let images = Images::new(Arc::new(MemoryStore::default()));
        let scope = TenantScope::of(TenantId::generate(&OsRandomness));
        Self {
            images,
            scope,
            digest: Digest::of(b"image"),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    async fn claim(&self, holder: &RequestId, minutes: i64) -> Claimed {
        let now = self.now + minutes.minutes();
        let until = now + 15.minutes();
        self.images
            .claim_scan(&self.scope, &self.digest, VERSION, holder, now, until)
            .await
            .unwrap()
    }

    async fn lease(&self, holder: &RequestId, minutes: i64) -> ScanLease {
        match self.claim(holder, minutes).await {
            Claimed::Ours(lease) => lease,
            other => panic!("expected a lease, got {other:?}"),
        }
    }

    fn location(&self, seconds: i64, presence: Presence) -> Location {
        let at = self.now + seconds.seconds();
        Location {
            integration: IntegrationId::generate(&OsRandomness),
            account: "111122223333".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            repository: "shop/web".parse().unwrap(),
            presence,
            observed_at: at,
            known_by: KnownBy::Event,
            known_at: at,
        }
    }
}

fn request() -> RequestId {
    RequestId::generate(&OsRandomness)
}

fn trace() -> TraceId {
    TraceId::generate(Timestamp::UNIX_EPOCH, &OsRandomness)
}

fn reported() -> ScanResult {
    ScanResult::Reported {
        packages: 1,
        partial: false,
        pulled_bytes: 1,
        spared_bytes: 0,
    }
}

#[tokio::test]
async fn one_scan_however_many_come() {
    let world = World::new();
    let [first, second] = [request(), request()];
    let lease = world.lease(&first, 0).await;
    let until = world.now + 15.minutes();
    assert_eq!(world.claim(&second, 1).await, Claimed::Held { until });
    let summary = world
        .images
        .finish_scan(&world.scope, &lease, trace(), world.now, reported())
        .await
        .unwrap();
    // The table answers once more, to a retry whose first attempt had its effect.
    let again = world
        .images
        .finish_scan(&world.scope, &lease, summary.trace, world.now, reported())
        .await;
    assert_eq!(again.unwrap(), summary);
    let later = world
        .images
        .finish_scan(
            &world.scope,
            &lease,
            summary.trace,
            world.now + 1.second(),
            reported(),
        )
        .await;
    assert!(matches!(later, Err(FinishError::Lost)), "{later:?}");
    assert_eq!(world.claim(&second, 2).await, Claimed::Done(summary.clone()));
    assert!(!summary.announced);
    world
        .images
        .mark_announced(&world.scope, &world.digest, VERSION)
        .await
        .unwrap();
    let stored = world
        .images
        .scan(&world.scope, &world.digest, VERSION)
        .await
        .unwrap()
        .unwrap();
    assert!(stored.announced);
    // Another version of the catalog is another scan.
    assert_eq!(
        world
            .images
            .scan(&world.scope, &world.digest, VERSION + 1)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn a_crashed_holder_is_followed_by_its_own_redelivery_or_by_anybody_later() {
    let world = World::new();
    let [first, second] = [request(), request()];
    let lost = world.lease(&first, 0).await;
    let again = world.lease(&first, 1).await;
    assert!(matches!(
        world
            .images
            .finish_scan(&world.scope, &lost, trace(), world.now, reported())
            .await,
        Err(FinishError::Lost)
    ));
    world.lease(&second, 17).await;
    assert!(matches!(
        world
            .images
            .finish_scan(&world.scope, &again, trace(), world.now, reported())
            .await,
        Err(FinishError::Lost)
    ));
    assert_eq!(
        world.images.release_scan(&world.scope, &again).await.unwrap(),
        Released::Lost
    );
}

#[tokio::test]
async fn a_scan_that_was_given_back_can_be_taken_up() {
    let world = World::new();
    let [first, second] = [request(), request()];
    let lease = world.lease(&first, 0).await;
    assert!(matches!(world.claim(&second, 1).await, Claimed::Held { .. }));
    assert_eq!(
        world.images.release_scan(&world.scope, &lease).await.unwrap(),
        Released::Open
    );
    world.lease(&second, 2).await;
}

proptest! {
    #[test]
    fn the_latest_observation_wins_in_any_order(order in Just(vec![0i64, 1, 2, 3, 3]).prop_shuffle()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            for seconds in order {
                let tags = BTreeSet::from([format!("v{seconds}").parse().unwrap()]);
                let presence = Presence::Present { tags, pushed_at: None, archived: false };
                let presence = if seconds == 3 { Presence::Deleted } else { presence };
                let location = world.location(seconds, presence);
                world.images.observe(&world.scope, &world.digest, &location).await.unwrap();
            }
            let locations = world.images.locations(&world.scope, &world.digest).await.unwrap();
            assert_eq!(locations.len(), 1);
            assert_eq!(locations[0].presence, Presence::Deleted);
        });
    }
}
