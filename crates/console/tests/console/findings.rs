//! What is wrong with images: filters, formats, what changed, and where something is.

use axum::body::Body;
use http::{Request, StatusCode, header};
use portwarden_core::{
    clock::Clock as _,
    inventory::{Entry, Inventory, Matching, PackageKey, TagPlace, Tagged},
    object::{Document, WriteObject as _},
};
use portwarden_oci::Digest;
use serde_json::{Value, json};

use crate::{
    images::{CATALOG, scanned_as},
    world::World,
};

/// Flaws: their numbers, whether each has a fix, and whether somebody has said that it does not count.
type Flaws<'a> = &'a [(u32, bool, bool)];

fn documents(digest: &Digest, world: &World, flaws: Flaws<'_>) -> [(Document, Value); 2] {
    let (now, manifest) = (world.clock.now(), "application/vnd.oci.image.manifest.v1+json");
    let layer = json!({ "index": 0, "digest": Digest::of(b"layer") });
    let package = |(number, ..): &(u32, bool, bool)| {
        json!({
            "purl": format!("pkg:npm/p{number}@1.0.0"), "kind": "npm", "name": format!("p{number}"), "version": "1.0.0",
            "file": "package.json", "layer": layer,
        })
    };
    let finding = |(number, fixed, suppressed): &(u32, bool, bool)| {
        let level = if *number < 2 { "critical" } else { "low" };
        let ids = [format!("CVE-2026-{number}"), format!("GHSA-aaaa-bbbb-{number}")];
        let mut finding = json!({
            "id": ids[0], "ids": ids, "purl": format!("pkg:npm/p{number}@1.0.0"), "severity": { "level": level }, "summary": "s",
            "links": [], "modified": now, "name": format!("p{number}"), "version": "1.0.0",
            "places": [{ "file": "package.json", "layer": layer, "side": "yours" }],
        });
        if *fixed {
            finding["fixed"] = json!("2.0.0");
        }
        if *suppressed {
            finding["suppressed"] =
                json!({ "kind": "ignore_rule", "source": "rules", "reason": "r", "expires": "2099-01-01" });
        }
        finding
    };
    let report = json!({
        "schema_version": 1, "catalog_version": CATALOG,
        "image": { "repository": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop/web", "tags": ["latest"], "digest": digest, "media_type": manifest },
        "started_at": now, "finished_at": now, "pulled_bytes": 1, "spared_bytes": 0, "package_count": flaws.len(),
        "packages_by_kind": { "npm": flaws.len() }, "partial": false,
        "platforms": [{
            "platform": { "os": "linux", "architecture": "amd64" }, "digest": digest, "media_type": manifest, "os": null,
            "packages_by_kind": { "npm": flaws.len() }, "partial": [],
            "layers": [{ "index": 0, "digest": layer["digest"], "size": 1, "origin": "pulled", "media_type": "application/vnd.oci.image.layer.v1.tar+gzip" }],
            "packages": flaws.iter().map(package).collect::<Vec<_>>(),
        }],
    });
    let findings = json!({
        "schema_version": 1, "digest": digest, "catalog_version": CATALOG, "matched_at": now,
        "database": { "version": "v", "ecosystems": [] }, "counts": {}, "fixable": 0, "suppressed": 0,
        "platforms": [{ "digest": digest, "findings": flaws.iter().map(finding).collect::<Vec<_>>(), "unmatched": [] }],
    });
    [(Document::Report, report), (Document::Findings, findings)]
}

/// Puts an image with flaws into the first tenant's repository, matched and in the index, as its latest one.
async fn flawed(world: &World, content: &[u8], flaws: Flaws<'_>) -> Digest {
    flawed_as(world, content, "latest", flaws).await
}

async fn flawed_as(world: &World, content: &[u8], tag: &str, flaws: Flaws<'_>) -> Digest {
    let (digest, scope) = (scanned_as(world, content, tag).await, world.scope(0));
    for (document, content) in documents(&digest, world, flaws) {
        let key = scope.image_object(&digest, CATALOG, document);
        let content = content.to_string().into_bytes();
        world
            .objects
            .write_object(&key, "application/json", content)
            .await
            .unwrap();
    }
    let inventory = Inventory::new(world.store.clone());
    for (number, ..) in flaws {
        let entry = Entry {
            key: PackageKey {
                ecosystem: "npm".to_owned(),
                name: format!("@shop/p{number}"),
            },
            versions: vec!["1.0.0".to_owned()],
            packages: json!([]),
            signature: String::new(),
        };
        inventory.enter(&scope, &digest, &[entry]).await.unwrap();
        let id = format!("CVE-2026-{number}");
        inventory
            .note_findings(&scope, &digest, &[&id], &[])
            .await
            .unwrap();
    }
    let matching = Matching {
        catalog_version: CATALOG,
        edition: Some(1),
        registry_scan: None,
        at: world.clock.now(),
        counts: [("critical".to_owned(), 1)].into(),
        fixable: 1,
        written: true,
    };
    let state = inventory.image(&scope, &digest).await.unwrap();
    assert!(
        inventory
            .keep_matching(&scope, &digest, &state, &matching, None)
            .await
            .unwrap()
    );
    // As the matcher does, which tells what changed.
    let location = &state.locations[0];
    let moved = inventory.moved_tags(&scope, &digest, location).await.unwrap();
    let places: Vec<&TagPlace> = moved.iter().map(|(place, _)| place).collect();
    let to = Tagged {
        digest,
        catalog_version: CATALOG,
        observed_at: location.observed_at,
    };
    assert!(
        inventory
            .move_tags(&scope, &places, &to, None, None)
            .await
            .unwrap()
    );
    world.clock.advance(std::time::Duration::from_mins(1));
    digest
}

const FLAWS: Flaws<'static> = &[
    (1, true, false),
    (2, false, false),
    (3, true, false),
    (4, true, true),
];

#[tokio::test]
async fn findings_are_filtered_and_come_in_pages() {
    let world = World::new().await;
    let digest = flawed(&world, b"a", FLAWS).await;
    let rex = world.token("rex");
    let list = world.path(0, &format!("/images/{digest}/findings"));
    let ids = async |query: &str| -> Vec<String> {
        let page = world.get(&rex, &format!("{list}?{query}")).await.json();
        let items = page["items"]
            .as_array()
            .unwrap_or_else(|| panic!("{page}"))
            .iter();
        items
            .map(|item| item["finding"]["id"].as_str().unwrap()[9..].to_owned())
            .collect()
    };
    for (query, found) in [
        ("", &["1", "2", "3"][..]),
        ("severity=critical", &["1"]),
        ("severity=high", &["1"]),
        ("fixable=true", &["1", "3"]),
        ("fixable=false", &["2"]),
        ("package=P3", &["3"]),
        ("id=cve-2026-2", &["2"]),
        ("id=GHSA-aaaa-bbbb-2", &["2"]),
        ("id=CVE-2026", &[]),
        ("state=suppressed", &["4"]),
        ("state=all", &["1", "2", "3", "4"]),
        ("side=base", &[]),
        ("side=yours&limit=2", &["1", "2"]),
    ] {
        assert_eq!(ids(query).await, found, "{query}");
    }
    let first = world.get(&rex, &format!("{list}?limit=2")).await.json();
    let next = format!("limit=2&cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(ids(&next).await, ["3"]);
    // Matched anew, the places of the list mean something else.
    for (document, content) in documents(&digest, &world, FLAWS) {
        let key = world.scope(0).image_object(&digest, CATALOG, document);
        let content = content.to_string().into_bytes();
        world
            .objects
            .write_object(&key, "application/json", content)
            .await
            .unwrap();
    }
    assert_eq!(
        world.get(&rex, &format!("{list}?{next}")).await.code(),
        "list_changed"
    );
    for wrong in [
        "severity=bad",
        "fixable=perhaps",
        "state=x",
        "limit=0",
        "cursor=x",
        "color=red",
    ] {
        let refused = world.get(&rex, &format!("{list}?{wrong}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn reports_come_in_every_format() {
    let world = World::new().await;
    let digest = flawed(&world, b"a", FLAWS).await;
    let rex = world.token("rex");
    let one = world.path(0, &format!("/images/{digest}/report"));
    let get = async |query: &str| world.get(&rex, &format!("{one}?format={query}")).await;
    let page = get("html").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.body.contains("CVE-2026-1") && page.header("content-disposition").starts_with("attachment"));
    let sarif = get("sarif").await;
    assert_eq!(sarif.header("content-type"), "application/sarif+json");
    assert_eq!(sarif.json()["version"], "2.1.0");
    let vex = get("cyclonedx-vex-json").await.json();
    assert_eq!(vex["vulnerabilities"].as_array().unwrap().len(), 4);
    assert_eq!(vex["components"].as_array().unwrap().len(), 4);
    assert_eq!(get("spdx-json").await.json()["spdxVersion"], "SPDX-2.3");
    let platform = get(&format!("cyclonedx-json&platform={digest}")).await.json();
    assert_eq!(platform["bomFormat"], "CycloneDX");
    let other = get(&format!("cyclonedx-json&platform={}", Digest::of(b"x"))).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    // What cannot be read is told as ours, and once.
    let key = world.scope(0).image_object(&digest, CATALOG, Document::Report);
    world
        .objects
        .write_object(&key, "application/json", b"{}".to_vec())
        .await
        .unwrap();
    let broken = get("html").await;
    assert_eq!(
        (broken.status.as_u16(), broken.code()),
        (500, "document_unreadable".to_owned())
    );
    assert_eq!(world.failures.count(), 1);
}

#[tokio::test]
async fn an_image_is_compared_with_the_one_that_its_tag_named_before() {
    let world = World::new().await;
    let old = flawed(&world, b"old", &[(1, true, false), (2, false, false)]).await;
    // Newer, in the same repository, and no predecessor: another tag names it.
    let other = flawed_as(&world, b"other", "nightly", &[(9, true, false)]).await;
    let new = flawed(&world, b"new", &[(2, false, false), (3, true, false)]).await;
    let rex = world.token("rex");
    let changes = async |digest: &Digest| {
        let path = world.path(0, &format!("/images/{digest}/changes"));
        world.get(&rex, &path).await
    };
    let told = changes(&new).await.json();
    assert_eq!(told["before"]["digest"], old.to_string());
    assert_eq!(told["tag"], "latest");
    assert_eq!(
        told["changes"]["counts"],
        json!({"new": 1, "fixed": 1, "suppressed": 0, "stillThere": 1})
    );
    assert_eq!(told["changes"]["new"][0]["id"], "CVE-2026-3");
    assert_eq!(told["changes"]["fixed"][0]["cause"]["kind"], "package_removed");
    for first in [&old, &other] {
        assert_eq!(changes(first).await.status, StatusCode::NOT_FOUND);
    }
    let page = page(&world, &format!("/images/{new}?view=changes")).await;
    assert!(
        page.contains("1 finding came") && page.contains("the package went"),
        "{page}"
    );
}

#[tokio::test]
async fn packages_and_flaws_are_found_and_only_by_their_tenant() {
    let world = World::new().await;
    let digest = flawed(&world, b"a", FLAWS).await;
    let other = flawed(&world, b"b", &[(3, true, false)]).await;
    let (rex, zoe) = (world.token("rex"), world.token("zoe"));
    let packages = world.get(&rex, &world.path(0, "/packages?name=p1")).await.json();
    assert_eq!(packages["items"][0]["name"], "@shop/p1");
    assert_eq!(packages["items"][0]["image"]["digest"], digest.to_string());
    assert_eq!(
        packages["items"][0]["image"]["findings"]["by_severity"],
        json!({"critical": 1})
    );
    let first = world
        .get(&rex, &world.path(0, "/packages?name=p&limit=2"))
        .await
        .json();
    let next = first["next_cursor"].as_str().unwrap();
    let rest = world
        .get(&rex, &world.path(0, &format!("/packages?name=p&cursor={next}")))
        .await
        .json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 3);
    let flawed = world
        .get(&rex, &world.path(0, "/flaws/cve-2026-3/images"))
        .await
        .json();
    assert_eq!(flawed["items"].as_array().unwrap().len(), 2);
    for path in ["/packages?name=p1", "/flaws/CVE-2026-3/images"] {
        let foreign = world.get(&zoe, &world.path(1, path)).await.json();
        assert_eq!(foreign["items"], json!([]), "{path}");
    }
    let found = page(&world, "/search?q=p3").await;
    for text in ["@shop/p3", "shop/web", &other.to_string()] {
        assert!(found.contains(text), "{text}: {found}");
    }
    assert!(
        page(&world, "/search?q=CVE-2026-1")
            .await
            .contains("Images with CVE-2026-1")
    );
    assert!(
        page(&world, "/search?q=nothing")
            .await
            .contains("Nothing is called")
    );
}

async fn page(world: &World, path: &str) -> String {
    let cookie = format!("__Host-portwarden={}", world.session("rex").await.expose());
    let path = format!("/tenants/{}{path}", world.tenants[0]);
    let request = Request::get(path).header(header::COOKIE, cookie);
    let answer = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.body
}
