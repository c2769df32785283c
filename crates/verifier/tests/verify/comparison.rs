//! When the registry of a region is listed: once its role is proven, and again if nobody took that up.

use std::sync::Arc;

use jiff::SignedDuration;
use portwarden_core::{
    clock::Clock as _,
    reconcile::{Begun, Inventories},
    verdict::Conclusion,
    work::{InventoryReason, InventoryRequest},
};

use crate::world::{Bench, GOOD, Party, World};

impl Bench {
    /// Tests the role, and returns the listings that this leads to.
    async fn listed(&self, world: &Arc<World>, party: &Party) -> Vec<InventoryRequest> {
        self.verdict(world, party).await;
        let queued = self.queues.take_inventories().into_iter();
        queued
            .map(|(request, delay)| {
                assert!(delay.is_zero());
                assert_eq!(request.reason, InventoryReason::Connected);
                request
            })
            .collect()
    }
}

#[tokio::test]
async fn a_registry_is_listed_until_somebody_is_at_it_and_again_when_the_role_is_proven_anew() {
    let bench = Bench::new();
    let party = bench.party().await;
    let good = Arc::new(World::new(GOOD));
    let wide = Arc::new(World::new(|_, _| true));
    assert_eq!(bench.listed(&good, &party).await.len(), 1);
    // Nobody has begun it: its message may be lost.
    let again = bench.listed(&good, &party).await;
    let [request] = &again[..] else {
        panic!("{again:?}")
    };
    let now = good.clock.now();
    let begun = Inventories::new(bench.store.clone())
        .begin(request, now, now + SignedDuration::from_mins(1))
        .await;
    assert!(matches!(begun, Ok(Begun::Ours(_))), "{begun:?}");
    assert_eq!(bench.listed(&good, &party).await, [], "somebody is at it");
    // What came while the role was not trusted is not known.
    assert_eq!(bench.listed(&wide, &party).await, []);
    let verdict = bench.verdict(&wide, &party).await;
    assert_eq!(verdict.conclusion(), Conclusion::Refused);
    assert_eq!(bench.listed(&good, &party).await.len(), 1);
}
