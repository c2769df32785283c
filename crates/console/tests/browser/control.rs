//! What a test lets happen in the world: one path for each kind, with JSON.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, Router, extract::State, routing::post};
use portwarden_aws::SystemClock;
use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    clock::Clock as _,
    id::{IntegrationId, Region, RequestId},
    image::{ChangeCounts, Claimed, Location, Presence, ScanResult},
    inventory::{Entry, Matching, PackageKey, TagPlace, Tagged},
    object::{Document, WriteObject as _},
    problem::Problem,
    random::OsRandomness,
    trace::TraceId,
    verdict::{Check, Outcome},
    work::KnownBy,
};
use portwarden_oci::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{self, World};

const LEVELS: [&str; 4] = ["critical", "high", "medium", "low"];

/// Serves the paths, and returns where.
pub(crate) async fn serve(world: Arc<World>) -> String {
    let router = Router::new()
        .route("/claim", post(claim))
        .route("/heartbeat", post(heartbeat))
        .route("/flaw", post(flaw))
        .route("/push", post(push))
        .route("/report", post(report))
        .route("/bury", post(bury))
        .route("/answer", post(answer))
        .with_state(world);
    let (listener, address) = world::listen().await;
    tokio::spawn(world::serve(listener, router));
    format!("http://{address}")
}

#[derive(Deserialize)]
struct Place {
    integration: IntegrationId,
    region: Region,
}

async fn claim(State(world): State<Arc<World>>, Json(place): Json<Place>) {
    world.claim(&place.integration, &place.region).await;
}

async fn heartbeat(State(world): State<Arc<World>>, Json(place): Json<Place>) {
    let (scope, now) = (world.scope(), SystemClock.now());
    let Place { integration, region } = place;
    world
        .integrations
        .record_heartbeat(&scope, &integration, &region, now, None)
        .await
        .unwrap();
}

#[derive(Deserialize)]
struct Flaw {
    check: Check,
    code: String,
    message: String,
    fix: String,
    /// Whether it could not be found out, rather than failed.
    #[serde(default)]
    unknown: bool,
}

async fn flaw(State(world): State<Arc<World>>, Json(flaw): Json<Option<Flaw>>) {
    *world.flaw.lock().unwrap() = flaw.map(|flaw| {
        let problem = Problem {
            code: flaw.code.into(),
            message: flaw.message,
            fix: flaw.fix,
        };
        let outcome = if flaw.unknown {
            Outcome::Unknown(problem)
        } else {
            Outcome::Failed(problem)
        };
        (flaw.check, outcome)
    });
}

#[derive(Deserialize)]
struct Push {
    integration: IntegrationId,
    repository: String,
    tag: String,
    /// Tells images of one tag apart.
    #[serde(default)]
    build: u32,
}

async fn push(State(world): State<Arc<World>>, Json(push): Json<Push>) -> Json<Value> {
    let now = SystemClock.now();
    let digest = Digest::of(format!("{}:{} {}", push.repository, push.tag, push.build).as_bytes());
    let tags = [push.tag.parse().unwrap()].into();
    let location = Location {
        integration: push.integration,
        account: "111122223333".parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        repository: push.repository.parse().unwrap(),
        presence: Presence::Present {
            tags,
            pushed_at: Some(now),
            archived: false,
        },
        observed_at: now,
        known_by: KnownBy::Event,
        known_at: now,
    };
    world
        .images
        .observe(&world.scope(), &digest, &location)
        .await
        .unwrap();
    Json(json!({ "digest": digest }))
}

#[derive(Deserialize)]
struct Scanned {
    digest: Digest,
    /// What a package, its file and its flaw are called.
    name: String,
    packages: usize,
}

async fn report(State(world): State<Arc<World>>, Json(scanned): Json<Scanned>) {
    let (scope, now, digest) = (world.scope(), SystemClock.now(), scanned.digest);
    for (document, content) in [
        (Document::Report, report_of(&scanned)),
        (Document::Findings, findings_of(&scanned)),
    ] {
        let key = scope.image_object(&digest, CATALOG_VERSION, document);
        world
            .objects
            .write_object(&key, "application/json", content.to_string().into_bytes())
            .await
            .unwrap();
    }
    let holder = RequestId::generate(&OsRandomness);
    let until = now + jiff::SignedDuration::from_mins(1);
    let claimed = world
        .images
        .claim_scan(&scope, &digest, CATALOG_VERSION, &holder, now, until)
        .await;
    let Claimed::Ours(lease) = claimed.unwrap() else {
        panic!("nobody else scans it")
    };
    let result = ScanResult::Reported {
        packages: scanned.packages,
        partial: false,
        pulled_bytes: 1_000_000,
        spared_bytes: 0,
    };
    let trace = TraceId::generate(now, &OsRandomness);
    world
        .images
        .finish_scan(&scope, &lease, trace, now, result)
        .await
        .unwrap();
    index(&world, &scanned).await;
}

/// Notes where each package and flaw is, how many there are, and what the image's tags name now.
async fn index(world: &World, scanned: &Scanned) {
    let (scope, digest) = (world.scope(), &scanned.digest);
    let entry = |number: usize| Entry {
        key: PackageKey {
            ecosystem: "npm".to_owned(),
            name: format!("@shop/p{number}"),
        },
        versions: vec![format!("1.0.{number}")],
        packages: json!([]),
        signature: String::new(),
    };
    let entries: Vec<Entry> = (0..scanned.packages).map(entry).collect();
    world.inventory.enter(&scope, digest, &entries).await.unwrap();
    let names: Vec<String> = (0..scanned.packages)
        .map(|number| format!("CVE-2026-{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world
        .inventory
        .note_findings(&scope, digest, &names, &[])
        .await
        .unwrap();
    let state = world.inventory.image(&scope, digest).await.unwrap();
    let quarter = scanned.packages / 4;
    let counts = LEVELS.map(|level| (level.to_owned(), quarter));
    let matching = Matching {
        catalog_version: CATALOG_VERSION,
        edition: Some(1),
        registry_scan: None,
        at: SystemClock.now(),
        counts: counts.into(),
        fixable: scanned.packages / 2,
        written: true,
    };
    let kept = world
        .inventory
        .keep_matching(&scope, digest, &state, &matching, None);
    assert!(kept.await.unwrap());
    let location = &state.locations[0];
    let moved = world
        .inventory
        .moved_tags(&scope, digest, location)
        .await
        .unwrap();
    let places: Vec<&TagPlace> = moved.iter().map(|(place, _)| place).collect();
    let state = world.inventory.image(&scope, digest).await.unwrap();
    let mut shown = None;
    if let Some(before) = moved.iter().find_map(|(_, before)| *before) {
        // Packages have a flaw each, and the last ones went.
        let old = world
            .images
            .summary(&scope, &before.digest)
            .await
            .unwrap()
            .unwrap();
        let counted: usize = old.findings.unwrap().by_severity.values().sum();
        let counts = ChangeCounts {
            before: before.digest,
            new: scanned.packages.saturating_sub(counted),
            fixed: counted.saturating_sub(scanned.packages),
        };
        shown = Some((&state, counts));
    }
    let to = Tagged {
        digest: *digest,
        catalog_version: CATALOG_VERSION,
        observed_at: location.observed_at,
    };
    assert!(
        world
            .inventory
            .move_tags(&scope, &places, &to, None, shown)
            .await
            .unwrap()
    );
}

#[derive(Deserialize)]
struct Buried {
    messages: u64,
}

async fn bury(State(world): State<Arc<World>>, Json(buried): Json<Buried>) {
    world.queues.bury(buried.messages);
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
}

async fn answer(State(world): State<Arc<World>>, Json(answer): Json<Answer>) {
    world.answer.store(answer.status, Ordering::SeqCst);
}

fn layers() -> [Value; 2] {
    [0, 1].map(|index| json!({ "index": index, "digest": Digest::of(&[index]) }))
}

fn report_of(scanned: &Scanned) -> Value {
    let package = |number: usize| {
        json!({
            "purl": format!("pkg:npm/p{number}@1.0.{number}"),
            "kind": "npm",
            "name": format!("{}{number}", scanned.name),
            "version": format!("1.0.{number}"),
            "file": format!("srv/app/{}/package.json", scanned.name),
            "layer": layers()[number % 2],
        })
    };
    let layer = |layer: &Value| {
        json!({
            "index": layer["index"], "digest": layer["digest"], "size": 1_000_000, "origin": "pulled",
            "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
            "created_by": format!("COPY {} /", scanned.name),
        })
    };
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    json!({
        "schema_version": 1, "catalog_version": CATALOG_VERSION,
        "image": { "repository": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop/web", "tags": [], "digest": scanned.digest, "media_type": manifest },
        "started_at": SystemClock.now(), "finished_at": SystemClock.now(), "pulled_bytes": 1_000_000, "spared_bytes": 0,
        "package_count": scanned.packages, "packages_by_kind": { "npm": scanned.packages }, "partial": false,
        "platforms": [{
            "platform": { "os": "linux", "architecture": "amd64" }, "digest": scanned.digest, "media_type": manifest, "os": null,
            "packages_by_kind": { "npm": scanned.packages }, "partial": [],
            "base": { "layers": 1, "known_by": "history", "name": "debian:bookworm" },
            "layers": layers().iter().map(layer).collect::<Vec<_>>(),
            "packages": (0..scanned.packages).map(package).collect::<Vec<_>>(),
        }],
    })
}

fn findings_of(scanned: &Scanned) -> Value {
    const SIDES: [&str; 2] = ["base", "yours"];
    let finding = |number: usize| {
        json!({
            "id": format!("CVE-2026-{number}"), "ids": [format!("CVE-2026-{number}")], "purl": format!("pkg:npm/p{number}@1.0.{number}"),
            "fixed": number.is_multiple_of(2).then_some("2.0.0"), "severity": { "level": LEVELS[number * 4 / scanned.packages], "score_tenths": 98 },
            "summary": format!("A flaw of {} {}", scanned.name, "that says much of itself ".repeat(20)), "links": [], "modified": SystemClock.now(),
            "name": format!("{}{number}", scanned.name), "version": format!("1.0.{number}"),
            "places": [{ "file": format!("srv/app/{}/package.json", scanned.name), "layer": layers()[number % 2], "side": SIDES[number % 2] }],
        })
    };
    let findings: Vec<Value> = (0..scanned.packages).map(finding).collect();
    json!({
        "schema_version": 1, "digest": scanned.digest, "catalog_version": CATALOG_VERSION, "matched_at": SystemClock.now(),
        "database": { "version": "v", "ecosystems": [] }, "counts": {}, "fixable": 0, "suppressed": 0,
        "platforms": [{ "digest": scanned.digest, "findings": findings, "unmatched": [] }],
    })
}
