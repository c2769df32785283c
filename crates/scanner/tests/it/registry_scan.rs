//! What ECR's own scanning found, merged where the tenant lets it be read, and never in the way.

use portwarden_advisories::{Bulk, build, parse};
use portwarden_core::{
    advisory::{Edition, Editions},
    clock::Clock as _,
    ecr::EcrError,
    object::{Document, WriteObject as _},
    registry_scan::{RegistryFinding, RegistryScan, RegistryScanner},
};
use portwarden_oci::Digest;
use portwarden_report::{FoundBy, ImageFindings};
use portwarden_testkit::{documents, image::Artifact as _};

use crate::{
    handler::small_image,
    world::{Party, World},
};

const REPOSITORY: &str = "shop/web";

fn scan(id: &str) -> RegistryScan {
    RegistryScan {
        scanner: RegistryScanner::Basic,
        completed_at: None,
        truncated: false,
        findings: vec![RegistryFinding {
            ids: vec![id.to_owned()],
            package: "a".to_owned(),
            version: Some("1.0".to_owned()),
            severity: "HIGH".to_owned(),
            ..RegistryFinding::default()
        }],
    }
}

impl World {
    /// Brings a database into use that knows one flaw of the package `a`.
    async fn publish(&self) {
        let record = documents::advisory("EX-1", "PyPI", "a", "2.0");
        let mut bulk = Bulk::default();
        bulk.advisories
            .insert("EX-1".to_owned(), parse(record.to_string().as_bytes()).unwrap());
        let database = build(&bulk).unwrap();
        let editions = Editions::new(self.store.clone());
        let known = editions.shelf().await.unwrap();
        let edition = Edition {
            number: 1,
            database: Digest::of(&database),
            bytes: 0,
            advisories: 1,
            changes: None,
            built_at: self.clock.now(),
        };
        self.objects
            .write_object(&edition.file().key(), "", database)
            .await
            .unwrap();
        assert!(editions.publish(&known, &edition).await.unwrap());
    }

    async fn found(&self, party: &Party, digest: Digest) -> Vec<(String, Vec<FoundBy>)> {
        let document = self.document(party, digest, Document::Findings).await.unwrap();
        let findings: ImageFindings = serde_json::from_slice(&document).unwrap();
        let mut all: Vec<_> = findings
            .open()
            .map(|found| (found.finding.id.clone(), found.found_by.clone()))
            .collect();
        all.sort();
        all
    }
}

/// A tenant whose image was pushed, and a database.
async fn pushed() -> (World, Party, Digest) {
    let world = World::new();
    world.publish().await;
    let party = world.tenant("111122223333").await;
    let image = small_image(&["a"]);
    world.push(&party, REPOSITORY, &["1"], &image);
    (world, party, image.digest())
}

const OURS: (&str, FoundBy) = ("EX-1", FoundBy::Advisories);
const THEIRS: (&str, FoundBy) = ("CVE-1", FoundBy::EcrBasic);

fn named(all: &[(&str, FoundBy)]) -> Vec<(String, Vec<FoundBy>)> {
    all.iter().map(|(id, by)| ((*id).to_owned(), vec![*by])).collect()
}

#[tokio::test]
async fn a_scan_of_ecrs_own_is_merged_when_it_has_ended() {
    let (world, party, digest) = pushed().await;
    let request = world.event(&party, REPOSITORY, digest).await;
    let process = world.process();
    assert!(world.is_done(&process, &request).await);
    assert_eq!(
        world.found(&party, digest).await,
        named(&[OURS]),
        "it has not ended yet"
    );
    // ECR tells that it has, which leads to another request about the image.
    world.aws.scans.lock().unwrap().insert(digest, scan("CVE-1"));
    assert!(world.is_done(&process, &request).await);
    assert_eq!(world.found(&party, digest).await, named(&[THEIRS, OURS]));
    assert_eq!(world.announced().len(), 1, "no second report");
    // And what it finds later takes the place of that.
    world.aws.scans.lock().unwrap().insert(digest, scan("CVE-2"));
    assert!(world.is_done(&process, &request).await);
    let later = named(&[("CVE-2", FoundBy::EcrBasic), OURS]);
    assert_eq!(world.found(&party, digest).await, later);
}

#[tokio::test]
async fn a_tenant_who_does_not_let_it_be_read_loses_nothing() {
    let (world, party, digest) = pushed().await;
    world.aws.scans.lock().unwrap().insert(digest, scan("CVE-1"));
    let denied = || EcrError::Denied {
        action: "ecr:DescribeImageScanFindings",
        source: "AccessDenied".into(),
    };
    world.aws.scan_errors.lock().unwrap().push(denied());
    let request = world.event(&party, REPOSITORY, digest).await;
    assert!(world.is_done(&world.process(), &request).await);
    assert_eq!(world.found(&party, digest).await, named(&[OURS]));
    assert!(
        world.queues.take_verifications().is_empty(),
        "the connection is as it was"
    );
}

#[tokio::test]
async fn a_throttled_question_is_asked_again_and_holds_no_report_up() {
    let (world, party, digest) = pushed().await;
    world.aws.scans.lock().unwrap().insert(digest, scan("CVE-1"));
    world.aws.scan_errors.lock().unwrap().push(EcrError::Throttled);
    let request = world.event(&party, REPOSITORY, digest).await;
    let process = world.process();
    assert!(!world.is_done(&process, &request).await);
    assert_eq!(world.announced().len(), 1, "the report is there");
    assert!(world.is_done(&process, &request).await);
    assert_eq!(world.found(&party, digest).await, named(&[THEIRS, OURS]));
    assert_eq!(world.announced().len(), 0);
}

#[tokio::test]
async fn another_tenants_scan_of_the_same_image_is_not_seen() {
    let (world, party, digest) = pushed().await;
    world.aws.scans.lock().unwrap().insert(digest, scan("CVE-1"));
    let request = world.event(&party, REPOSITORY, digest).await;
    assert!(world.is_done(&world.process(), &request).await);
    let other = world.tenant("444455556666").await;
    world.push(&other, REPOSITORY, &["1"], &small_image(&["a"]));
    world.aws.scans.lock().unwrap().clear();
    let request = world.event(&other, REPOSITORY, digest).await;
    assert!(world.is_done(&world.process(), &request).await);
    assert_eq!(world.found(&other, digest).await, named(&[OURS]));
    assert_eq!(world.found(&party, digest).await, named(&[THEIRS, OURS]));
}
