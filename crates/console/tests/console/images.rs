use std::collections::BTreeSet;

use http::{Method, StatusCode};
use portwarden_core::{
    clock::Clock as _,
    id::{IntegrationId, RequestId},
    image::{Claimed, Images, Location, Presence, ScanResult},
    object::{Document, WriteObject as _},
    random::OsRandomness,
    trace::TraceId,
    work::KnownBy,
};
use portwarden_oci::Digest;

use crate::world::World;

pub(crate) const CATALOG: u32 = 7;

/// Puts a scanned image into the first tenant's repository, as its latest one.
pub(crate) async fn scanned(world: &World, content: &[u8]) -> Digest {
    scanned_as(world, content, "latest").await
}

/// Puts a scanned image into the first tenant's repository.
pub(crate) async fn scanned_as(world: &World, content: &[u8], tag: &str) -> Digest {
    let (images, scope, now) = (
        Images::new(world.store.clone()),
        world.scope(0),
        world.clock.now(),
    );
    let digest = Digest::of(content);
    let location = Location {
        integration: IntegrationId::operator(),
        account: "111122223333".parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        repository: "shop/web".parse().unwrap(),
        presence: Presence::Present {
            tags: BTreeSet::from([tag.parse().unwrap()]),
            pushed_at: Some(now),
            archived: false,
        },
        observed_at: now,
        known_by: KnownBy::Event,
        known_at: now,
    };
    images.observe(&scope, &digest, &location).await.unwrap();
    let request = RequestId::generate(&OsRandomness);
    let until = now + jiff::SignedDuration::from_mins(1);
    let claimed = images
        .claim_scan(&scope, &digest, CATALOG, &request, now, until)
        .await
        .unwrap();
    let Claimed::Ours(lease) = claimed else {
        panic!("nobody else scans")
    };
    let result: ScanResult = serde_json::from_value(serde_json::json!({
        "result": "reported", "packages": 3, "partial": false, "pulled_bytes": 10, "spared_bytes": 20,
    }))
    .unwrap();
    let trace = TraceId::generate(now, &OsRandomness);
    images
        .finish_scan(&scope, &lease, trace, now, result)
        .await
        .unwrap();
    for (document, content) in [
        (Document::Report, "{\"a\":1}"),
        (Document::CycloneDx, "{\"b\":2}"),
    ] {
        let key = scope.image_object(&digest, CATALOG, document);
        let written = world
            .objects
            .write_object(&key, "application/json", content.into());
        written.await.unwrap();
    }
    digest
}

#[tokio::test]
async fn images_and_their_documents_are_the_tenants_own() {
    let world = World::new().await;
    let digest = scanned(&world, b"image").await;
    let (rex, zoe) = (world.token("rex"), world.token("zoe"));
    let listed = world.get(&rex, &world.path(0, "/images")).await.json();
    assert_eq!(listed["items"][0]["digest"], digest.to_string());
    assert_eq!(listed["items"][0]["scan"]["packages"], 3);
    assert_eq!(
        world.get(&zoe, &world.path(1, "/images")).await.json()["items"],
        serde_json::json!([])
    );
    let repositories = world.get(&rex, &world.path(0, "/repositories")).await.json();
    assert_eq!(repositories["items"][0]["repository"], "shop/web");
    let within = world.path(
        0,
        "/registries/111122223333/eu-central-1/images?repository=shop/web",
    );
    assert_eq!(
        world.get(&rex, &within).await.json()["items"][0]["tags"],
        serde_json::json!(["latest"])
    );

    let own = world.path(0, &format!("/images/{digest}"));
    assert_eq!(
        world.get(&rex, &own).await.json()["all_places"][0]["region"],
        "eu-central-1"
    );
    for (query, content, kind) in [
        ("", "{\"a\":1}", "application/json"),
        ("?format=json", "{\"a\":1}", "application/json"),
        (
            "?format=cyclonedx-json",
            "{\"b\":2}",
            "application/vnd.cyclonedx+json",
        ),
    ] {
        let report = world.get(&rex, &format!("{own}/report{query}")).await;
        assert_eq!(
            (&*report.body, report.header("content-type")),
            (content, kind),
            "{query}"
        );
        assert!(report.header("content-disposition").starts_with("attachment; "));
    }
    assert_eq!(
        world
            .get(&rex, &format!("{own}/report?format=findings-json"))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        world.get(&rex, &format!("{own}/report?format=exe")).await.code(),
        "query_invalid"
    );

    // The same image in another tenant is not there, as one that never was.
    let missing = Digest::of(b"another");
    for rest in ["", "/report", "/report?format=cyclonedx-json"] {
        let call = async |digest: &Digest| {
            let path = world.path(1, &format!("/images/{digest}{rest}"));
            let answer = world.call(&zoe, Method::GET, &path, None).await;
            (answer.status, answer.body)
        };
        let foreign = call(&digest).await;
        assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{rest}");
        assert_eq!(foreign, call(&missing).await, "{rest}");
    }
}

#[tokio::test]
async fn images_come_in_pages_newest_first() {
    let world = World::new().await;
    let mut pushed = Vec::new();
    for number in 0..5_u8 {
        pushed.push(scanned(&world, &[number]).await.to_string());
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    pushed.reverse();
    let rex = world.token("rex");
    let (mut seen, mut path) = (Vec::new(), world.path(0, "/images?limit=2"));
    loop {
        let page = world.get(&rex, &path).await.json();
        let items = page["items"].as_array().unwrap();
        seen.extend(
            items
                .iter()
                .map(|item| item["digest"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        path = world.path(0, &format!("/images?limit=2&cursor={next}"));
    }
    assert_eq!(seen, pushed);
}
