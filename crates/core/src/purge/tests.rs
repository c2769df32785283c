use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::{
    id::{RequestId, TenantId},
    image::{Claimed, Location, Presence, ScanResult},
    integration::{Deleted, NewRegion, Removal},
    inventory::{Entry, Matching, PackageKey},
    object::{MemoryObjects, WriteObject as _},
    random::OsRandomness,
    reconcile::{Begun, Elsewhere, HowKnown, RepositoryCoverage},
    store::{Key, MemoryStore, Page, Partition, Stored, Write, WriteError},
    trace::TraceId,
    work::{InventoryReason, InventoryRequest, KnownBy},
};

/// A table that fails at one of its calls.
struct Failing(Arc<MemoryStore>, AtomicUsize);

impl Failing {
    fn check(&self) -> Result<(), StoreError> {
        if self.1.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(StoreError::Throttled);
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Failing {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.check()?;
        self.0.get(key).await
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.check()?;
        self.0.query(partition, prefix, after, limit).await
    }

    async fn write(&self, writes: &[Write]) -> Result<(), WriteError> {
        self.check()?;
        self.0.write(writes).await
    }
}

/// Finds in an image's report what is in the index, as whoever matches it does.
struct Reports(Inventory, Arc<MemoryObjects>);

#[async_trait]
impl LeaveIndex for Reports {
    async fn leave_index(&self, scope: &TenantScope, digest: &Digest) -> Result<(), PurgeError> {
        if self.0.image(scope, digest).await?.matching.is_none() {
            return Ok(());
        }
        let report = scope.image_object(digest, VERSION, Document::Report);
        let report = self.1.read_object(&report).await?;
        assert!(report.is_some(), "nothing says any more what is to be deleted");
        Ok(self.0.leave(scope, digest, &[&package()], &["CVE-1"]).await?)
    }
}

struct World {
    store: Arc<MemoryStore>,
    objects: Arc<MemoryObjects>,
    scope: TenantScope,
    gone: IntegrationId,
    other: IntegrationId,
}

const VERSION: u32 = 7;

fn start() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn package() -> PackageKey {
    PackageKey {
        ecosystem: "npm".to_owned(),
        name: "left-pad".to_owned(),
    }
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

impl World {
    /// Two integrations of a tenant: one image in one, one in both, and one that was deleted, in the first.
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let scope = TenantScope::of(TenantId::generate(&OsRandomness));
        let integrations = Integrations::new(store.clone());
        let mut ids = Vec::new();
        for account in ["111122223333", "444455556666"] {
            let regions = ["eu-west-1", "us-east-1"].map(|region| NewRegion::Quick {
                region: region.parse().unwrap(),
            });
            let made = integrations
                .create(&scope, "a name", &regions, start(), &OsRandomness)
                .await;
            let id = made.unwrap().integration.id;
            let account = account.parse().unwrap();
            integrations.confirm_account(&scope, &id, &account).await.unwrap();
            ids.push((id, account));
        }
        let [gone, other] = ids.try_into().unwrap();
        let world = Self {
            store,
            objects: Arc::default(),
            scope,
            gone: gone.0.clone(),
            other: other.0.clone(),
        };
        world.push("only", &gone, true).await;
        world.push("both", &gone, true).await;
        world.push("both", &other, true).await;
        world.push("deleted", &gone, true).await;
        world.push("deleted", &gone, false).await;
        for name in ["only", "both", "deleted"] {
            world.scan(name).await;
            world.enter(&digest(name)).await;
        }
        for id in [&world.gone, &world.other] {
            world.compare(id).await;
        }
        world
    }

    async fn push(&self, name: &str, (id, account): &(IntegrationId, crate::id::AccountId), there: bool) {
        let presence = if there {
            Presence::Present {
                tags: BTreeSet::new(),
                pushed_at: None,
                archived: false,
            }
        } else {
            Presence::Deleted
        };
        let location = Location {
            integration: id.clone(),
            account: account.clone(),
            region: "eu-west-1".parse().unwrap(),
            repository: "shop/web".parse().unwrap(),
            presence,
            observed_at: start() + SignedDuration::from_secs(i64::from(!there)),
            known_by: KnownBy::Event,
            known_at: start(),
        };
        let images = Images::new(self.store.clone());
        images
            .observe(&self.scope, &digest(name), &location)
            .await
            .unwrap();
    }

    /// Enters an image with a package and a finding into the index.
    async fn enter(&self, digest: &Digest) {
        let (scope, inventory) = (&self.scope, Inventory::new(self.store.clone()));
        let entry = Entry {
            key: package(),
            versions: vec!["1".to_owned()],
            packages: json!([]),
            signature: String::new(),
        };
        inventory.enter(scope, digest, &[entry]).await.unwrap();
        inventory
            .note_findings(scope, digest, &["CVE-1"], &[])
            .await
            .unwrap();
        let matching = Matching {
            catalog_version: VERSION,
            edition: None,
            registry_scan: None,
            at: start(),
            counts: BTreeMap::new(),
            fixable: 0,
            written: true,
        };
        let state = inventory.image(scope, digest).await.unwrap();
        assert!(
            inventory
                .keep_matching(scope, digest, &state, &matching, None)
                .await
                .unwrap()
        );
    }

    /// Leaves what a comparison with ECR of more repositories than are deleted at once leaves.
    async fn compare(&self, integration: &IntegrationId) {
        let inventories = Inventories::new(self.store.clone());
        let request = InventoryRequest {
            tenant: self.scope.tenant().clone(),
            integration: integration.clone(),
            region: "eu-west-1".parse().unwrap(),
            reason: InventoryReason::Connected,
            repository: None,
            event: None,
            request: RequestId::generate(&OsRandomness),
            trace: TraceId::generate(start(), &OsRandomness),
            continuation: 0,
        };
        let begun = inventories.begin(&request, start(), later()).await.unwrap();
        let Begun::Ours(run) = begun else {
            panic!("{begun:?}")
        };
        for number in 0..150 {
            let repository = format!("r{number}").parse().unwrap();
            let coverage = RepositoryCoverage {
                repository,
                at: start(),
                images: HowKnown::default(),
                unread: None,
            };
            inventories
                .save_repository(&request, &coverage.repository, Some(&coverage))
                .await
                .unwrap();
        }
        inventories.finish(&request, &run, start()).await.unwrap();
        let elsewhere = Elsewhere {
            at: start(),
            regions: BTreeMap::new(),
        };
        inventories
            .note_elsewhere(&self.scope, integration, &elsewhere)
            .await
            .unwrap();
    }

    async fn scan(&self, name: &str) {
        let images = Images::new(self.store.clone());
        let (image, holder) = (digest(name), RequestId::generate(&OsRandomness));
        let until = start() + SignedDuration::from_mins(1);
        let claimed = images
            .claim_scan(&self.scope, &image, VERSION, &holder, start(), until)
            .await
            .unwrap();
        let Claimed::Ours(lease) = claimed else {
            panic!("{claimed:?}")
        };
        let trace = TraceId::generate(start(), &OsRandomness);
        let result = ScanResult::Reported {
            packages: 1,
            partial: false,
            pulled_bytes: 1,
            spared_bytes: 0,
        };
        images
            .finish_scan(&self.scope, &lease, trace, start(), result)
            .await
            .unwrap();
        let report = json!({"platforms": [{
            "digest": image, "layers": [{"digest": digest("base")}, {"digest": digest(&format!("{name} layer"))}],
        }]});
        for document in [Document::Report, Document::CycloneDx] {
            let key = self.scope.image_object(&image, VERSION, document);
            let content = report.to_string().into_bytes();
            self.objects
                .write_object(&key, "application/json", content)
                .await
                .unwrap();
        }
        for layer in ["base".to_owned(), format!("{name} layer")] {
            let key = self.scope.layer_object(&digest(&layer), VERSION);
            self.objects
                .write_object(&key, "application/json", Vec::new())
                .await
                .unwrap();
        }
    }

    fn purge(&self, store: Arc<dyn Store>) -> Purge {
        let index = Reports(Inventory::new(store.clone()), self.objects.clone());
        Purge::new(store, self.objects.clone(), Arc::new(index))
    }

    async fn removal(&self) -> Removal {
        let integrations = Integrations::new(self.store.clone());
        integrations
            .removal(&self.scope, &self.gone)
            .await
            .unwrap()
            .unwrap()
    }

    /// Goes on until all is deleted.
    async fn finish(&self) -> usize {
        let purge = self.purge(self.store.clone());
        let mut steps = 0;
        while purge.step(&self.scope, &self.gone, later()).await.unwrap() == Purged::Some {
            steps += 1;
        }
        steps
    }

    async fn check(&self) {
        let images = Images::new(self.store.clone());
        for (name, places) in [("only", 0), ("deleted", 0), ("both", 1)] {
            let locations = images.locations(&self.scope, &digest(name)).await.unwrap();
            assert_eq!(locations.len(), places, "{name}");
            let scan = images.scan(&self.scope, &digest(name), VERSION).await.unwrap();
            assert_eq!(scan.is_some(), places > 0, "{name}");
            let report = self.scope.image_object(&digest(name), VERSION, Document::Report);
            let report = self.objects.read_object(&report).await.unwrap();
            assert_eq!(report.is_some(), places > 0, "{name}");
        }
        let inventory = Inventory::new(self.store.clone());
        let package = package();
        let holders = inventory.images_with_package(&self.scope, &package, None, 10);
        let holders = holders.await.unwrap().items;
        assert_eq!(
            holders.iter().map(|holder| holder.digest).collect::<Vec<_>>(),
            [digest("both")]
        );
        for item in self.store.dump() {
            let key = item.key.to_string();
            for name in ["only", "deleted"] {
                assert!(!key.contains(&digest(name).hex()), "{name} is left in {key}");
            }
        }
        let newest = images.newest(&self.scope, None, 10).await.unwrap().items;
        assert_eq!(
            newest.iter().map(|image| image.digest).collect::<Vec<_>>(),
            [digest("both")]
        );
        // The layers of images that are gone, and of no others.
        let layer = async |name| {
            let key = self.scope.layer_object(&digest(name), VERSION);
            self.objects.read_object(&key).await.unwrap().is_some()
        };
        assert!(layer("both layer").await && !layer("only layer").await && !layer("deleted layer").await);
        let left: Vec<String> = self
            .store
            .dump()
            .iter()
            .map(|item| item.key.to_string())
            .filter(|key| key.contains(self.gone.as_str()))
            .map(|key| {
                key.replace(self.gone.as_str(), "GONE")
                    .replace(self.scope.tenant().as_str(), "T")
            })
            .collect();
        let expected = [
            "D#integration#GONE owner",
            "T#T#integrations GONE#integration",
            "T#T#integrations GONE#removal",
        ];
        assert_eq!(left, expected, "its ids, and the receipt");
        let integrations = Integrations::new(self.store.clone());
        let kept = integrations
            .find(&self.scope, &self.other)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(kept.regions.len(), 2);
        let emptied = integrations.find(&self.scope, &self.gone).await.unwrap().unwrap();
        assert_eq!(
            (emptied.integration.name.as_str(), emptied.regions.len()),
            ("", 0)
        );
    }
}

fn later() -> Timestamp {
    start() + Removal::KEPT
}

#[tokio::test]
async fn after_thirty_days_all_is_gone_that_no_other_integration_has() {
    let world = World::new().await;
    let integrations = Integrations::new(world.store.clone());
    let before = world.store.dump().len();
    let purge = world.purge(world.store.clone());
    assert_eq!(
        purge.step(&world.scope, &world.gone, later()).await.unwrap(),
        Purged::All
    );
    assert_eq!(world.store.dump().len(), before, "it is not removed");
    assert!(
        integrations
            .remove(&world.scope, &world.gone, start())
            .await
            .unwrap()
    );
    let too_soon = later() - SignedDuration::from_secs(1);
    assert_eq!(
        purge.step(&world.scope, &world.gone, too_soon).await.unwrap(),
        Purged::All
    );
    assert_eq!(world.removal().await.deleted, Deleted::default());
    // All places, and twice a part of what comparisons left.
    assert_eq!(world.finish().await, 3);
    world.check().await;
    let receipt = world.removal().await;
    let expected = Deleted {
        locations: 3,
        images: 2,
        // The names of a report, an SBOM, findings, what ECR found, and two layers each.
        objects: 12,
        regions: 2,
    };
    assert_eq!((receipt.deleted, receipt.purged_at), (expected, Some(later())));
}

#[tokio::test]
async fn of_what_an_index_lists_only_images_with_a_scan_of_their_own_keep_their_documents() {
    let world = World::new().await;
    let gone = (world.gone.clone(), "111122223333".parse().unwrap());
    let other = (world.other.clone(), "444455556666".parse().unwrap());
    for (name, owner) in [("index", &gone), ("never scanned", &gone), ("scanned", &other)] {
        world.push(name, owner, true).await;
    }
    world.scan("index").await;
    world.scan("scanned").await;
    let listed = ["never scanned", "scanned", "nowhere"];
    let platforms = listed.map(|name| json!({"digest": digest(name)}));
    let object = |name, document| world.scope.image_object(&digest(name), VERSION, document);
    let report = json!({ "platforms": platforms }).to_string().into_bytes();
    let written = [(object("index", Document::Report), report)]
        .into_iter()
        .chain(listed.map(|name| (object(name, Document::CycloneDx), b"{}".to_vec())));
    for (key, content) in written {
        let written = world.objects.write_object(&key, "application/json", content);
        written.await.unwrap();
    }
    let integrations = Integrations::new(world.store.clone());
    integrations
        .remove(&world.scope, &world.gone, start())
        .await
        .unwrap();
    world.finish().await;
    for (name, is_left) in [("never scanned", false), ("scanned", true), ("nowhere", false)] {
        let sbom = world
            .objects
            .read_object(&object(name, Document::CycloneDx))
            .await;
        assert_eq!(sbom.unwrap().is_some(), is_left, "{name}");
    }
}

#[tokio::test]
async fn a_purge_that_is_cut_off_anywhere_is_gone_on_with() {
    let mut calls = 0;
    loop {
        let world = World::new().await;
        let integrations = Integrations::new(world.store.clone());
        assert!(
            integrations
                .remove(&world.scope, &world.gone, start())
                .await
                .unwrap()
        );
        let failing = Arc::new(Failing(world.store.clone(), AtomicUsize::new(calls)));
        let purge = world.purge(failing);
        let cut_off = loop {
            match purge.step(&world.scope, &world.gone, later()).await {
                Ok(Purged::Some) => {}
                Ok(Purged::All) => break false,
                Err(_) => break true,
            }
        };
        world.finish().await;
        world.check().await;
        let deleted = world.removal().await.deleted;
        assert_eq!(
            (deleted.locations, deleted.images, deleted.regions),
            (3, 2, 2),
            "call {calls}"
        );
        if !cut_off {
            break;
        }
        calls += 1;
    }
    assert!(calls > 20, "{calls}");
}
