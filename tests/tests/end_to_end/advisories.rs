//! Advisories from their source to findings, in the local cloud.

use std::{fs, path::Path};

use portwarden_core::inventory::Inventory;
use portwarden_local::{AdvisoryChoice, LocalCloud, push::ImageChoice, watch::Action};
use portwarden_report::ImageFindings;
use serde_json::{Value, json};

use crate::world::{World, eventually, options, scope};

/// Writes a record about a package into a folder's directory.
pub(crate) fn write_record(directory: &Path, folder: &str, id: &str, day: u8, package: &Value, fixed: &str) {
    let record = json!({
        "id": id, "modified": format!("2026-01-{day:02}T00:00:00Z"), "aliases": [id.replace("EX-", "CVE-2026-")],
        "summary": "a flaw that was made up", "database_specific": { "severity": "HIGH" },
        "affected": [{ "package": package, "ranges": [{ "type": "ECOSYSTEM",
            "events": [{ "introduced": "0" }, { "fixed": fixed }] }] }],
    });
    let folder = directory.join(folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{id}.json")), record.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_source_leaves_the_last_good_database() {
    let mut options = options("advisories_source");
    options.tenants.clear();
    let feed = options.state.join("feed");
    let _ = fs::remove_dir_all(&feed);
    let npm = json!({ "ecosystem": "npm", "name": "express" });
    write_record(&feed, "npm", "EX-1", 1, &npm, "99.0.0");
    options.advisories = AdvisoryChoice::Directory(feed.clone());
    let world = World {
        cloud: LocalCloud::start(&options).await.unwrap(),
    };
    let first = world.cloud.follow_advisories().await.unwrap().unwrap();
    assert_eq!(
        (first.number, first.advisories),
        (1, 1),
        "two runs made one edition"
    );

    write_record(&feed, "npm", "EX-2", 2, &npm, "98.0.0");
    world.cloud.publish_advisories(&feed).await.unwrap();
    let second = world.cloud.follow_advisories().await.unwrap().unwrap();
    assert_eq!((second.number, second.advisories), (2, 2));

    fs::remove_file(feed.join("npm/EX-1.json")).unwrap();
    fs::remove_file(feed.join("npm/EX-2.json")).unwrap();
    fs::write(
        feed.join("npm/modified_id.csv"),
        "2026-01-09T00:00:00Z,EX-3\n2026-",
    )
    .unwrap();
    fs::write(feed.join("npm/all.zip"), "PK").unwrap();
    world.cloud.publish_advisories(&feed).await.unwrap();
    assert_eq!(world.cloud.follow_advisories().await.unwrap(), Some(second));
    let log = fs::read_to_string(world.cloud.log()).unwrap();
    assert!(log.contains("source_list_malformed"), "the log names the cause");
    assert!(log.contains("AdvisoryAge"), "and how old what is in use is");
    world.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_has_findings_and_a_new_database_has_others_without_any_registry() {
    let mut options = options("advisories_rematch");
    let feed = options.state.join("feed");
    let _ = fs::remove_dir_all(&feed);
    let express = json!({ "ecosystem": "npm", "name": "express" });
    write_record(&feed, "npm", "EX-1", 1, &express, "99.0.0");
    options.advisories = AdvisoryChoice::Directory(feed.clone());
    let world = World {
        cloud: LocalCloud::start(&options).await.unwrap(),
    };
    let tenant = world.tenant(0);
    let subscriber = world.subscribe().await;
    let pushed = world.push(&tenant, &ImageChoice::Sample, "shop/web", "1").await;
    world.tell(&tenant, Action::Push, &pushed).await;
    let scanned = world.cloud.report(&tenant.id, &pushed.digest).await.unwrap();
    let ids = |findings: &ImageFindings| -> Vec<String> {
        findings.open().map(|found| found.finding.id.clone()).collect()
    };
    assert_eq!(ids(&scanned.findings.unwrap()), ["CVE-2026-1"]);
    let announced = eventually("the scan is announced", async || {
        world.take_messages(&subscriber).await.pop()
    })
    .await;
    let announced: Value = serde_json::from_str(&announced).unwrap();
    assert_eq!(announced["detail"]["findings"], json!({ "high": 1 }));

    // Whoever asked the registry now would fail.
    let repository = pushed.repository.to_string();
    let ecr = aws_sdk_ecr::Client::new(&tenant.account.sdk_config());
    ecr.delete_repository()
        .repository_name(&repository)
        .force(true)
        .send()
        .await
        .unwrap();
    write_record(&feed, "npm", "EX-1", 2, &express, "0.0.1");
    write_record(&feed, "npm", "EX-2", 3, &express, "98.0.0");
    world.cloud.publish_advisories(&feed).await.unwrap();
    let edition = world.cloud.follow_advisories().await.unwrap().unwrap();
    assert_eq!(edition.number, 2);
    eventually("the findings are those of the new edition", async || {
        let scanned = world.cloud.report(&tenant.id, &pushed.digest).await.unwrap();
        (ids(&scanned.findings?) == ["CVE-2026-2"]).then_some(())
    })
    .await;
    let inventory = Inventory::new(world.cloud.store().unwrap());
    let scope = scope(&tenant);
    for (id, images) in [
        ("CVE-2026-1", vec![]),
        ("CVE-2026-2", vec![pushed.digest]),
        ("EX-2", vec![pushed.digest]),
    ] {
        let found = inventory.images_with_finding(&scope, id, None, 10).await.unwrap();
        assert_eq!(found.items, images, "{id}");
    }
    let holders = inventory
        .search_packages(&scope, "express", None, 10)
        .await
        .unwrap();
    assert_eq!(holders.items[0].digest, pushed.digest);
    let state = inventory.image(&scope, &pushed.digest).await.unwrap();
    assert_eq!(state.matching.unwrap().edition, Some(2));
    world.cloud.shutdown().await;
}
