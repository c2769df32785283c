//! Advisories from their source to findings, in the local cloud.

use std::{fs, path::Path};

use portwarden_local::{AdvisoryChoice, LocalCloud};
use serde_json::{Value, json};

use crate::world::{World, options};

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
