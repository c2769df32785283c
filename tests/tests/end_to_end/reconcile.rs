//! What no event told: images that were there before, and events that were lost.

use std::{collections::BTreeMap, time::Duration};

use portwarden_aws::{Aws, InventoryQueue, SystemClock};
use portwarden_core::{
    clock::Clock as _,
    id::RequestId,
    image::Presence,
    random::OsRandomness,
    reconcile::{Coverage, Finished, Inventories, Unwatched, Watch},
    trace::TraceId,
    work::{InventoryReason, InventoryRequest, KnownBy, QueueInventory as _},
};
use portwarden_local::{Account, LocalCloud, Tenant, push::ImageChoice, watch::Action};
use portwarden_oci::Digest;
use portwarden_testkit::{
    image::{Artifact as _, Image, ImageBuilder, PushTarget, push},
    sample,
};

use crate::world::{World, eventually, options, scope};

/// Pushes an image straight to an account's registry, and tells nobody.
pub(crate) async fn push_untold(account: &Account, name: &str, tag: &str, image: &Image) -> Digest {
    let created = account_ecr(account).create_repository().repository_name(name);
    // It may be there.
    let _ = created.send().await;
    let target = PushTarget::new(account.endpoint())
        .unwrap()
        .with_namespace(&account.registry());
    push(
        &target,
        &name.parse().unwrap(),
        Some(&tag.parse().unwrap()),
        image,
    )
    .await
    .unwrap();
    image.digest()
}

fn account_ecr(account: &Account) -> aws_sdk_ecr::Client {
    aws_sdk_ecr::Client::new(&account.sdk_config())
}

/// An image without packages, of its own digest.
pub(crate) fn plain(label: &str) -> Image {
    ImageBuilder::new().label("name", label).build()
}

impl World {
    async fn last(&self, tenant: &Tenant) -> Option<Finished> {
        Inventories::new(self.cloud.store().unwrap())
            .last(&scope(tenant), &tenant.integration, tenant.account.region())
            .await
            .unwrap()
    }

    /// Has a tenant's registry compared, and waits for the end.
    async fn compare(&self, tenant: &Tenant) -> Finished {
        let request = InventoryRequest {
            tenant: tenant.id.clone(),
            integration: tenant.integration.clone(),
            region: tenant.account.region().clone(),
            reason: InventoryReason::Asked,
            repository: None,
            event: None,
            request: RequestId::generate(&OsRandomness),
            trace: TraceId::generate(SystemClock.now(), &OsRandomness),
            continuation: 0,
        };
        let aws = Aws::over(self.cloud.operator().sdk_config(), None);
        let queue = self.cloud.stack().output("InventoryQueueUrl").unwrap();
        let queue = InventoryQueue::new(&aws, queue.to_owned());
        queue.queue_inventory(&request, Duration::ZERO).await.unwrap();
        eventually("the comparison has come to its end", async || {
            let last = self.last(tenant).await?;
            (last.request == request.request).then_some(last)
        })
        .await
    }

    /// The same account in another region.
    fn account(&self, tenant: &Tenant, region: &str) -> Account {
        self.cloud.account(tenant.account.id(), &region.parse().unwrap())
    }

    async fn coverage(&self, tenant: &Tenant) -> Coverage {
        let connection = self
            .integrations()
            .find(&scope(tenant), &tenant.integration)
            .await
            .unwrap()
            .unwrap();
        Inventories::new(self.cloud.store().unwrap())
            .coverage(&scope(tenant), &connection, SystemClock.now())
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_and_what_no_event_told_is_found() {
    let mut options = options("reconcile");
    // One account in two regions, and another account.
    let mut second_region = options.tenants[0].clone();
    second_region.region = options.tenants[1].region.clone();
    options.tenants.push(second_region);
    let emulator = options.start_emulator().await.unwrap();
    let mut before = Vec::new();
    for (number, plan) in options.tenants.iter().enumerate() {
        let account = emulator.account(&plan.account, &plan.region);
        let web = push_untold(&account, "shop/web", "1", &sample::image().image).await;
        let tool = push_untold(&account, "tool", "2", &plain(&format!("of {number}"))).await;
        before.push([web, tool]);
    }
    let mut cloud = LocalCloud::deploy(emulator, &options).await.unwrap();
    cloud.connect(&options.tenants).await.unwrap();
    let world = World { cloud };
    for (index, images) in before.iter().enumerate() {
        let tenant = world.tenant(index);
        for digest in *images {
            world.cloud.report(&tenant.id, &digest).await.unwrap();
            let location = world.location(&tenant, &digest, |_| true).await;
            assert_eq!(location.known_by, KnownBy::Backfill);
            assert_eq!(location.account, *tenant.account.id());
        }
        let last = eventually("the backfill has ended", async || world.last(&tenant).await).await;
        assert_eq!(
            (last.kind, last.found.new, last.found.missed),
            (KnownBy::Backfill, 2, None)
        );
    }

    let tenant = world.tenant(0);
    let told = world.push(&tenant, &ImageChoice::Sample, "shop/api", "1").await;
    world.tell(&tenant, Action::Push, &told).await;
    let untold = push_untold(&tenant.account, "shop/web", "2", &plain("untold")).await;
    let [_, tool] = before[0];
    let gone = aws_sdk_ecr::types::ImageIdentifier::builder()
        .image_digest(tool.to_string())
        .build();
    let ecr = account_ecr(&tenant.account);
    ecr.batch_delete_image()
        .repository_name("tool")
        .image_ids(gone)
        .send()
        .await
        .unwrap();
    // A region in which nobody watches.
    let elsewhere = world.account(&tenant, "us-west-2");
    push_untold(&elsewhere, "forgotten", "1", &plain("forgotten")).await;
    let found = world.compare(&tenant).await;
    assert_eq!(
        (found.kind, found.found.new, found.found.gone),
        (KnownBy::Reconcile, 1, 1),
        "{found:#?}"
    );
    world.cloud.report(&tenant.id, &untold).await.unwrap();
    let location = world.location(&tenant, &untold, |_| true).await;
    assert_eq!(location.known_by, KnownBy::Reconcile);
    world
        .location(&tenant, &tool, |location| location.presence == Presence::Deleted)
        .await;
    let coverage = world.coverage(&tenant).await;
    let unwatched = &coverage.elsewhere.as_ref().unwrap().regions;
    let with_repositories: BTreeMap<&str, &Unwatched> = unwatched
        .iter()
        .filter(|(_, unwatched)| unwatched.has_repositories())
        .map(|(region, unwatched)| (region.as_str(), unwatched))
        .collect();
    let forgotten = Unwatched::seen(vec!["forgotten".parse().unwrap()], false);
    assert_eq!(with_repositories["us-west-2"], &forgotten, "{unwatched:#?}");
    let coverage = &coverage.regions[tenant.account.region()];
    let images = coverage.images;
    // The image that is gone counts until the next comparison.
    assert_eq!(
        (images.event, images.backfill, images.reconcile),
        (1, 2, 1),
        "{coverage:#?}"
    );
    assert_eq!(coverage.watch, Watch::Watched);
    world.cloud.shutdown().await;
}
