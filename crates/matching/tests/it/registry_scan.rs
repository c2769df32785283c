//! What ECR's own scanning found, merged with what advisories say.

use portwarden_core::{
    inventory::Inventory,
    object::{Document, ReadObject as _},
    registry_scan::{RegistryFinding, RegistryScan, RegistryScanner},
};
use portwarden_matching::Rematched;
use portwarden_oci::Digest;
use portwarden_report::{ChangeReason, FoundBy, ImageFindings};

use crate::world::{World, news};

/// A scan that found these flaws: each the id, the package, and how bad it is.
fn scan(flaws: &[(&str, &str, &str)]) -> RegistryScan {
    let findings = flaws.iter().map(|(id, package, severity)| RegistryFinding {
        ids: vec![(*id).to_owned()],
        package: (*package).to_owned(),
        severity: (*severity).to_owned(),
        ..RegistryFinding::default()
    });
    RegistryScan {
        scanner: RegistryScanner::Basic,
        completed_at: None,
        truncated: false,
        findings: findings.collect(),
    }
}

async fn findings(world: &World, image: &Digest) -> ImageFindings {
    let key = world.scope.image_object(image, 1, Document::Findings);
    let document = world.objects.read_object(&key).await.unwrap();
    serde_json::from_slice(&document.unwrap()).unwrap()
}

/// Who found what.
async fn finders(world: &World, image: &Digest) -> Vec<(String, Vec<FoundBy>)> {
    let findings = findings(world, image).await;
    let mut all: Vec<_> = findings
        .open()
        .map(|found| (found.finding.id.clone(), found.found_by.clone()))
        .collect();
    all.sort();
    all
}

fn named(all: &[(&str, &[FoundBy])]) -> Vec<(String, Vec<FoundBy>)> {
    let own = |(id, by): &(&str, &[FoundBy])| ((*id).to_owned(), by.to_vec());
    all.iter().map(own).collect()
}

async fn merge(world: &World, image: &Digest, scan: &RegistryScan) -> Rematched {
    let merged = world.matcher.merge_registry_scan(&world.scope, image, scan);
    merged.await.unwrap()
}

/// An image with one flaw by advisories; its packages are all named `x`.
async fn world() -> (World, Digest) {
    let world = World::new();
    world.publish(&[("EX-1", "a", "2.0.0")]).await;
    let image = world.scan("image", &["latest"], &["pkg:npm/a@1.0.0"]).await;
    world.tell(&image).await;
    (world, image)
}

use FoundBy::{Advisories, EcrBasic};

#[tokio::test]
async fn duplicates_fold_and_the_rest_is_added_once() {
    let (world, image) = world().await;
    let scan = scan(&[("EX-1", "x", "LOW"), ("CVE-1", "x", "HIGH")]);
    assert_eq!(merge(&world, &image, &scan).await, Rematched::Changed);
    assert_eq!(merge(&world, &image, &scan).await, Rematched::Known);
    let expected = named(&[("CVE-1", &[EcrBasic]), ("EX-1", &[Advisories, EcrBasic])]);
    assert_eq!(finders(&world, &image).await, expected);
    let inventory = Inventory::new(world.table.clone());
    let with = inventory
        .images_with_finding(&world.scope, "CVE-1", None, 10)
        .await;
    assert_eq!(with.unwrap().items, [image], "it is found by its name");
    let matching = inventory
        .image(&world.scope, &image)
        .await
        .unwrap()
        .matching
        .unwrap();
    assert_eq!(matching.counts.get("high"), Some(&1), "it counts");
    assert_eq!(world.told().await, [], "the first scan is no news");
}

#[tokio::test]
async fn a_new_edition_keeps_what_ecr_found_and_reads_no_image_for_it() {
    let (world, image) = world().await;
    merge(
        &world,
        &image,
        &scan(&[("EX-1", "x", "LOW"), ("CVE-1", "x", "HIGH")]),
    )
    .await;
    // An edition that says the same of the package affects no image, whatever ECR says.
    world
        .publish(&[("EX-1", "a", "2.0.0"), ("EX-9", "z", "1.0.0")])
        .await;
    let loaded = world.matcher.database().await.unwrap().unwrap();
    let key = portwarden_core::inventory::PackageKey {
        ecosystem: "npm".to_owned(),
        name: "a".to_owned(),
    };
    let affected = world.matcher.affected(&world.scope, &key, &loaded).await.unwrap();
    assert_eq!(affected, []);
    world.publish(&[("EX-2", "a", "2.0.0")]).await;
    let rematched = world.matcher.rematch(&world.scope, &image).await.unwrap();
    assert_eq!(rematched, Rematched::Changed);
    let expected = named(&[
        ("CVE-1", &[EcrBasic]),
        ("EX-1", &[EcrBasic]),
        ("EX-2", &[Advisories]),
    ]);
    assert_eq!(finders(&world, &image).await, expected);
    let told = world.told().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].reason, ChangeReason::AdvisoriesChanged);
    assert_eq!(
        news(&told[0]),
        (vec!["EX-2"], vec![]),
        "ECR still finds the other one"
    );
}

#[tokio::test]
async fn what_ecr_finds_differently_later_is_news_once() {
    let (world, image) = world().await;
    merge(&world, &image, &scan(&[("CVE-1", "x", "HIGH")])).await;
    let later = scan(&[("CVE-2", "x", "HIGH")]);
    for _ in 0..3 {
        merge(&world, &image, &later).await;
    }
    let told = world.told().await;
    let [event] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(event.reason, ChangeReason::RegistryScanned);
    assert_eq!(news(event), (vec!["CVE-2"], vec!["CVE-1"]));
}

#[tokio::test]
async fn a_tags_images_are_compared_by_advisories_alone() {
    let (world, old) = world().await;
    merge(&world, &old, &scan(&[("CVE-1", "x", "HIGH")])).await;
    let new = world.scan("new", &["latest"], &["pkg:npm/a@1.0.0"]).await;
    world.tell(&new).await;
    assert_eq!(world.told().await, [], "ECR has not scanned the new one yet");
}

#[tokio::test]
async fn a_scan_waits_for_the_first_database() {
    let world = World::new();
    let image = world.scan("image", &["latest"], &["pkg:npm/a@1.0.0"]).await;
    let scan = scan(&[("CVE-1", "x", "HIGH")]);
    assert_eq!(merge(&world, &image, &scan).await, Rematched::NoDatabase);
    world.publish(&[("EX-1", "a", "2.0.0")]).await;
    world.matcher.rematch(&world.scope, &image).await.unwrap();
    let expected = named(&[("CVE-1", &[EcrBasic]), ("EX-1", &[Advisories])]);
    assert_eq!(finders(&world, &image).await, expected);
}

#[tokio::test]
async fn a_crash_anywhere_in_a_merge_loses_nothing() {
    for crash in 0..40 {
        let (world, image) = world().await;
        merge(&world, &image, &scan(&[("CVE-1", "x", "HIGH")])).await;
        let later = scan(&[("CVE-2", "x", "HIGH")]);
        *world.table.left.lock().unwrap() = Some(crash);
        let attempt = world.matcher.merge_registry_scan(&world.scope, &image, &later);
        let crashed = attempt.await.is_err();
        *world.table.left.lock().unwrap() = None;
        for _ in 0..2 {
            merge(&world, &image, &later).await;
        }
        let expected = named(&[("CVE-2", &[EcrBasic]), ("EX-1", &[Advisories])]);
        assert_eq!(finders(&world, &image).await, expected, "crash at write {crash}");
        let ids: std::collections::BTreeSet<_> =
            world.told().await.into_iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), 1, "crash at write {crash}");
        if !crashed {
            assert!(crash >= 3, "there are more writes than {crash}");
            return;
        }
    }
    panic!("it never got through");
}
