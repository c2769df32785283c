//! The page, as a browser sees it.

use std::{path::Path, process::Command};

use portwarden_report::{ImageFindings, Suppressions, html};
use serde_json::json;

use crate::{
    registry::merged,
    shop::{advisories, findings, image, now, report, shop},
};

/// Runs the page in Debian's Chromium, scripts included, and returns what became of it; nothing where there is none.
fn browse(page: &str, options: &[&str]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    std::fs::write(&file, page).unwrap();
    let address = format!("file://{}", file.display());
    let profile = format!("--user-data-dir={}", directory.path().join("profile").display());
    let fixed = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        &profile,
    ];
    let program = ["/usr/bin/chromium", "/usr/bin/chromium-browser"]
        .iter()
        .find(|path| Path::new(path).exists());
    let Some(program) = program else {
        println!("not run: the report's page in a browser (chromium is not installed)");
        return None;
    };
    let output = Command::new(program)
        .args(fixed)
        .args(options)
        .arg(&address)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

fn hostile() -> String {
    let mut image = image();
    let attack =
        "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";
    image["image"]["repository"] = json!(attack);
    image["platforms"][0]["layers"][1]["created_by"] = json!(format!("RUN \"'>{attack}"));
    image["platforms"][0]["base"]["name"] = json!(attack);
    for package in image["platforms"][0]["packages"].as_array_mut().unwrap() {
        package["name"] = json!(attack);
        package["file"] = json!(format!("'\">{attack}"));
    }
    let mut records = advisories();
    for record in &mut records {
        record["summary"] = json!(attack);
        record["references"] = json!([{"type": "WEB", "url": "https://x.example/\"onmouseover=\"alert(1)"}]);
    }
    let report = report(&image);
    let mut found = findings(&report, &records);
    let mut rules = Suppressions::default();
    let rule = json!({"rules": [{"id": "CVE-2026-0001", "reason": attack, "expires": "2027-01-01"}]});
    rules.add_rules(attack, rule.to_string().as_bytes()).unwrap();
    rules.apply(&mut found, Some(&report), now());
    html::write(attack, Some(&report), Some(&found))
}

#[test]
fn no_strangers_text_becomes_markup() {
    let page = hostile();
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("</script").count(), 1);
    assert_eq!(page.matches("<img").count(), 0);
    assert!(!page.contains("onmouseover=\""));
    // Nothing is loaded from anywhere.
    for source in ["src=\"", "url(", "@import", "<link", "<iframe"] {
        assert!(!page.contains(source), "{source}");
    }
    if let Some(seen) = browse(&page, &["--dump-dom"]) {
        assert!(!seen.contains("<title>taken"), "a stranger's script ran");
        assert!(!seen.contains("<img"));
    }
}

#[test]
fn the_page_says_what_matters() {
    let (report, mut found) = shop();
    let mut rules = Suppressions::default();
    rules.add_rules("team.yaml", b"rules: [{id: CVE-2026-0002, reason: we never fetch, expires: 2027-01-01}, {id: CVE-2026-0001, reason: r, expires: 2026-01-01}]").unwrap();
    rules.apply(&mut found, Some(&report), now());
    let page = html::write("shop/web:1.4", Some(&report), Some(&found));
    for text in [
        "CVE-2021-44228",
        "<span class=\"fix\">2.15.0</span>",
        "Base image docker.io/library/debian:12, by the image's history",
        "RUN apt-get install curl",
        "we never fetch",
        "The ignore rule for CVE-2026-0001 in team.yaml expired on 2026-01-01",
        "Layer 2: a package file is malformed",
        "1, 1 of them with a fix",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    assert_eq!(page, html::write("shop/web:1.4", Some(&report), Some(&found)));
    let (report, found) = merged();
    let page = html::write("shop/web:1.4", Some(&report), Some(&found));
    for text in [
        "<dt>ECR's own scan</dt><dd>enhanced, 2026-11-22 00:00 UTC</dd>",
        "<dt>Found by</dt><dd>advisories, ECR's enhanced scanning (Amazon Inspector)</dd>",
        "<dt>ECR says</dt><dd>critical, no fix named</dd>",
        "&lt;b&gt;ECR",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    // Packages alone, and findings alone.
    let packages = html::write("shop/web:1.4", Some(&report), None);
    assert!(packages.contains("left-pad") && !packages.contains("What is wrong"));
    assert!(html::write("sbom.json", None, Some(&found)).contains("CVE-2021-44228"));
    let none = findings(&report, &[]);
    assert!(html::write("x", Some(&report), Some(&none)).contains("No advisory that counts"));
}

#[test]
fn the_script_filters_and_the_page_is_whole_without_it() {
    let (report, found): (_, ImageFindings) = shop();
    let page = html::write("shop/web:1.4", Some(&report), Some(&found));
    assert!(page.contains("<form class=\"controls\" hidden"));
    let Some(seen) = browse(&page, &["--dump-dom"]) else {
        return;
    };
    // The script ran: its hash is the one that the page's policy allows.
    assert!(
        !seen.contains("<form class=\"controls\" hidden"),
        "the script did not run"
    );
    assert!(seen.contains("3 findings</output>"), "{seen}");
    assert!(seen.contains("<button type=\"button\">Severity</button>"));
}
