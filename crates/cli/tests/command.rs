//! The program as people and scripts call it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use portwarden_oci::{Platform, RepositoryName, Tag};
use portwarden_testkit::{
    image::{
        Artifact, Compression, Image, ImageBuilder, IndexBuilder, LayerBuilder, write_docker_archive,
        write_oci_layout,
    },
    registry::{Access, Fault, RegistryServer, Settings, Times},
    sample::{self, Sample},
};
use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portwarden"));
    command.args(arguments).stdin(Stdio::null());
    // Nothing of the machine's own AWS settings, and no way to a real account.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Checks that a command failed with one error that has this code and a fix, and wrote no data.
#[track_caller]
fn assert_fails(output: &Output, code: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(stdout(output), "", "data beside an error: {text}");
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    assert!(text.contains(&format!("code: {code}\n")), "{text}");
    let fix = text.lines().find_map(|line| line.strip_prefix("fix: "));
    assert!(fix.is_some_and(|fix| fix.len() > 10), "{text}");
}

fn tag() -> Tag {
    "1.4".parse().unwrap()
}

fn repository() -> RepositoryName {
    "shop/web".parse().unwrap()
}

fn layout(directory: &Path, artifact: &impl Artifact) -> String {
    write_oci_layout(directory, &tag(), artifact).unwrap();
    format!("oci:{}", directory.display())
}

#[track_caller]
fn assert_is_sample(report: &[u8], sample: &Sample) {
    let report: Value = serde_json::from_slice(report).unwrap();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for package in &sample.expected {
        *expected.entry(package.kind.purl_type().to_owned()).or_default() += 1;
    }
    let counts: BTreeMap<String, u64> = serde_json::from_value(report["packages_by_kind"].clone()).unwrap();
    assert_eq!(counts, expected);
    assert_eq!(report["package_count"], sample.expected.len());
    assert_eq!(report["image"]["digest"], sample.image.digest().to_string());
}

#[test]
fn a_layout_is_scanned_in_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let sample = sample::image();
    let image = layout(directory.path(), &sample.image);

    let json = run(&["scan", &image, "--format", "json"]);
    assert_eq!(
        (json.status.code(), stderr(&json)),
        (Some(0), ""),
        "a pipe sees no progress"
    );
    assert_is_sample(&json.stdout, &sample);
    let tagged = run(&["scan", &format!("{image}:1.4"), "--format", "json"]);
    let tagged: Value = serde_json::from_slice(&tagged.stdout).unwrap();
    assert_eq!(tagged["image"]["tags"], serde_json::json!(["1.4"]));

    let table = run(&["scan", &image]);
    assert_eq!(table.status.code(), Some(0));
    assert!(
        stdout(&table).contains("\nos       Debian GNU/Linux 12 (bookworm)\n"),
        "{}",
        stdout(&table)
    );

    let file = directory.path().join("sbom.json");
    let sbom = run(&[
        "scan",
        &image,
        "--format",
        "cyclonedx-json",
        "--output",
        file.to_str().unwrap(),
    ]);
    assert_eq!(
        (sbom.status.code(), stdout(&sbom), stderr(&sbom)),
        (Some(0), "", "")
    );
    let sbom: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(
        (&sbom["bomFormat"], &sbom["specVersion"]),
        (&"CycloneDX".into(), &"1.6".into())
    );
    let components = sbom["components"].as_array().unwrap();
    let libraries = components
        .iter()
        .filter(|component| component["type"] == "library");
    assert_eq!(libraries.count(), sample.expected.len());

    let spdx = run(&["scan", &image, "--format", "spdx-json"]);
    let spdx: Value = serde_json::from_slice(&spdx.stdout).unwrap();
    assert_eq!(spdx["spdxVersion"], "SPDX-2.3");
    let packages = spdx["packages"].as_array().unwrap().iter();
    let libraries = packages.filter(|package| package["primaryPackagePurpose"] == "LIBRARY");
    assert_eq!(libraries.count(), sample.expected.len());
}

#[test]
fn a_saved_image_is_scanned_like_a_layout() {
    let directory = tempfile::tempdir().unwrap();
    let sample = sample::image();
    let report = |image: &str| -> Value {
        let output = run(&["scan", image, "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let expected = report(&layout(&directory.path().join("layout"), &sample.image));
    let file = directory.path().join("image.tar");
    write_docker_archive(&file, "shop/web:1.4", &sample.image).unwrap();
    let image = format!("docker-archive:{}", file.display());
    for name in ["", ":shop/web:1.4", ":docker.io/shop/web:1.4", ":@0"] {
        let report = report(&format!("{image}{name}"));
        assert_eq!(report["image"]["tags"], serde_json::json!(["1.4"]));
        assert_eq!(
            report["platforms"][0]["packages"], expected["platforms"][0]["packages"],
            "{name}"
        );
    }
    assert_fails(
        &run(&["scan", &format!("{image}:shop/web:2")]),
        "archive_unusable",
    );
    assert_fails(&run(&["scan", &format!("{image}.gone")]), "archive_unusable");
    assert_fails(&run(&["scan", "docker-archive:"]), "archive_unusable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_reached_by_plain_http_only_if_that_is_asked_for() {
    let sample = sample::image();
    let registry = RegistryServer::start(Settings::default()).await.unwrap();
    registry.publish(&repository(), Some(&tag()), &sample.image);
    let image = format!("{}/shop/web:1.4", registry.name());

    let refused = run(&["scan", &image]);
    assert_fails(&refused, "registry_refused");
    assert!(
        stderr(&refused).contains("--insecure-http"),
        "{}",
        stderr(&refused)
    );
    assert!(registry.requests().is_empty(), "it was dialled all the same");

    let scanned = run(&["scan", "--insecure-http", &image, "--format", "json"]);
    assert_eq!((scanned.status.code(), stderr(&scanned)), (Some(0), ""));
    assert_is_sample(&scanned.stdout, &sample);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_standard_input_and_is_never_shown() {
    let access = Access::Basic {
        username: "alice".to_owned(),
        password: "open sesame".to_owned(),
    };
    let settings = Settings {
        access,
        ..Settings::default()
    };
    let registry = RegistryServer::start(settings).await.unwrap();
    registry.publish(&repository(), Some(&tag()), &sample::image().image);
    let image = format!("{}/shop/web:1.4", registry.name());

    let anonymous = run(&["scan", "--insecure-http", &image]);
    assert_fails(&anonymous, "registry_unauthorized");
    assert!(
        stderr(&anonymous).contains("--password-stdin"),
        "{}",
        stderr(&anonymous)
    );

    let log_in = |password: &str| {
        let mut child = command(&[
            "scan",
            "--insecure-http",
            &image,
            "--username",
            "alice",
            "--password-stdin",
        ])
        .env("RUST_LOG", "trace")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(password.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    };
    let scanned = log_in("open sesame\n");
    assert_eq!(scanned.status.code(), Some(0), "{}", stderr(&scanned));
    let wrong = log_in("close sesame\n");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        stderr(&wrong).contains("code: registry_unauthorized\n"),
        "{}",
        stderr(&wrong)
    );
    for output in [&scanned, &wrong] {
        // `alice:…` in base 64, whatever the password.
        let is_shown = ["sesame", "YWxpY2U6"]
            .iter()
            .any(|secret| stderr(output).contains(secret));
        assert!(!is_shown, "{}", stderr(output));
    }
    let empty = log_in("\n");
    assert!(
        stderr(&empty).contains("code: password_missing\n"),
        "{}",
        stderr(&empty)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_does_wrong_is_told_with_a_fix() {
    let registry = RegistryServer::start(Settings::default()).await.unwrap();
    let sample = sample::image();
    registry.publish(&repository(), Some(&tag()), &sample.image);
    let scan = |version: &str| {
        let image = format!("{}/shop/web{version}", registry.name());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("report.json");
        fs::write(&file, "old").unwrap();
        let output = run(&[
            "scan",
            "--insecure-http",
            &image,
            "--output",
            file.to_str().unwrap(),
        ]);
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "old",
            "a failure leaves the old file"
        );
        output
    };
    assert_fails(&scan(":2.0"), "image_not_found");
    let layer = sample.image.layers[0].blob.digest();
    registry.fail(&layer.hex(), Times::Always, Fault::Corrupt { at: 1000 });
    let corrupt = scan(":1.4");
    assert_fails(&corrupt, "content_corrupt");
    assert!(stderr(&corrupt).contains(&layer.hex()), "{}", stderr(&corrupt));
}

/// An image with the one package `app-<architecture>`.
fn image_for(architecture: &str) -> Image {
    let status = format!("Package: app-{architecture}\nStatus: install ok installed\nVersion: 1\n\n");
    let layer = LayerBuilder::new()
        .file("var/lib/dpkg/status", status)
        .finish(Compression::Gzip);
    let platform = Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        variant: None,
    };
    ImageBuilder::new().platform(platform).layer("ADD", layer).build()
}

#[test]
fn a_platform_of_an_index_can_be_chosen() {
    let index = IndexBuilder::new()
        .image(image_for("arm64"))
        .attested_image(image_for("amd64"))
        .build();
    let directory = tempfile::tempdir().unwrap();
    let name = layout(directory.path(), &index);
    let scan =
        |arguments: &[&str]| run(&[&["scan", &name, "--format", "cyclonedx-json"], arguments].concat());

    let default = scan(&[]);
    assert!(stdout(&default).contains("app-amd64") && !stdout(&default).contains("app-arm64"));
    assert!(stderr(&default).starts_with("note: of 2 platforms, this is the SBOM of linux/amd64"));
    let chosen = scan(&["--platform", "linux/arm64"]);
    assert!(stdout(&chosen).contains("app-arm64") && !stdout(&chosen).contains("app-amd64"));
    assert_eq!(stderr(&chosen), "");
    let missing = scan(&["--platform", "linux/s390x"]);
    assert_fails(&missing, "platform_missing");
    assert!(
        stderr(&missing).contains("fix: choose one of: linux/arm64, linux/amd64\n"),
        "{}",
        stderr(&missing)
    );

    let alone = tempfile::tempdir().unwrap();
    let alone_name = layout(alone.path(), &image_for("amd64"));
    assert_fails(
        &run(&["scan", &alone_name, "--platform", "linux/arm64"]),
        "platform_missing",
    );
}

#[test]
fn a_partial_result_is_written_and_has_its_own_status() {
    let layer = LayerBuilder::new()
        .file(
            "usr/lib/python3/dist-packages/x-1.dist-info/METADATA",
            "no header at all",
        )
        .finish(Compression::Gzip);
    let image = ImageBuilder::new().layer("ADD", layer).build();
    let directory = tempfile::tempdir().unwrap();
    let name = layout(directory.path(), &image);
    let output = run(&["scan", &name]);
    assert_eq!(
        output.status.code(),
        Some(3),
        "{}\n{}",
        stdout(&output),
        stderr(&output)
    );
    assert!(stderr(&output).starts_with("warning: packages may be missing"));
    assert!(
        stdout(&output).contains("\npartial  layer 0: "),
        "{}",
        stdout(&output)
    );
}

#[test]
fn what_cannot_be_scanned_is_told_with_a_fix() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    for (image, code) in [
        (format!("oci:{path}/missing"), "layout_unusable"),
        (format!("oci:{path}"), "layout_unusable"),
        ("Not An Image".to_owned(), "image_name_invalid"),
        (
            "111122223333.dkr.ecr.eu-west-1.amazonaws.com/a".to_owned(),
            "registry_unauthorized",
        ),
        ("169.254.169.254/latest".to_owned(), "registry_refused"),
    ] {
        assert_fails(&run(&["scan", &image]), code);
    }
    assert_fails(
        &run(&["scan", "a", "--output", &format!("{path}/missing/sbom.json")]),
        "output_failed",
    );
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let name = layout(directory.path(), &sample::image().image);
    let mut child = command(&["scan", &name, "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn the_template_trusts_the_principal_and_nobody_can_smuggle_in_another() {
    let arn = "arn:aws:iam::999988887777:role/portwarden-connector";
    let output = run(&["template", "--principal", arn]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert!(stdout(&output).contains(&format!("AWS: {arn}\n")));
    for arn in [
        "",
        "*",
        "arn:aws:iam::999988887777:root",
        "arn:aws:iam::999988887777:role/*",
        "arn:aws:iam::999988887777:role/r\n          - arn:aws:iam::111122223333:role/evil",
    ] {
        assert_fails(&run(&["template", "--principal", arn]), "principal_invalid");
    }
}

#[test]
fn administration_says_what_it_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| command(arguments).current_dir(&directory).output().unwrap();
    assert_fails(&run(&["tenant", "list"]), "region_missing");
    assert_fails(
        &run(&["tenant", "list", "--stack-region", "eu-west-1"]),
        "credentials_missing",
    );
    assert_fails(&run(&["tenant", "list", "--local"]), "local_cloud_missing");
    let usage = run(&["tenant", "show", "Shop"]);
    assert_eq!((usage.status.code(), stdout(&usage)), (Some(2), ""));
}

/// Builds a database with one critical flaw of a package.
fn database(directory: &Path, ecosystem: &str, name: &str) -> String {
    let folder = directory.join("osv/any");
    fs::create_dir_all(&folder).unwrap();
    let record = serde_json::json!({
        "id": "EX-1", "modified": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-0001"],
        "database_specific": { "severity": "CRITICAL" },
        "affected": [{ "package": { "ecosystem": ecosystem, "name": name },
                       "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "99999:0" }] }] }]
    });
    fs::write(folder.join("EX-1.json"), record.to_string()).unwrap();
    fs::write(folder.join("EX-2.json"), "{}").unwrap();
    let (from, file) = (directory.join("osv"), directory.join("db"));
    let built = run(&[
        "advisories",
        "build",
        "--from",
        from.to_str().unwrap(),
        "--output",
        file.to_str().unwrap(),
    ]);
    assert_eq!(built.status.code(), Some(0), "{}", stderr(&built));
    assert!(
        stderr(&built).contains("EX-2.json: the record is not an OSV record"),
        "{}",
        stderr(&built)
    );
    file.to_str().unwrap().to_owned()
}

#[test]
fn an_image_and_its_sbom_have_the_same_findings() {
    let directory = tempfile::tempdir().unwrap();
    let sample = sample::image();
    let image = layout(directory.path(), &sample.image);
    let package = sample
        .expected
        .iter()
        .find(|package| package.kind == sample::PackageKind::Deb)
        .unwrap();
    let database = database(directory.path(), "Debian:12", &package.name);

    let table = run(&["scan", &image, "--advisories", &database]);
    assert_eq!(table.status.code(), Some(0), "{}", stderr(&table));
    assert!(
        stdout(&table)
            .contains("\nfindings 1: 1 critical\nfixable  1\nlayers   1 in the base image, 0 in yours\n"),
        "{}",
        stdout(&table)
    );
    let json = run(&[
        "scan",
        &image,
        "--advisories",
        &database,
        "--format",
        "json",
        "--fail-on",
        "high",
    ]);
    assert_eq!(json.status.code(), Some(4), "{}", stderr(&json));
    assert_is_sample(&json.stdout, &sample);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let scanned = &json["findings"]["platforms"][0]["findings"][0];
    assert_eq!(scanned["ids"], serde_json::json!(["CVE-2026-0001", "EX-1"]));
    assert_eq!(scanned["fixed"], "99999:0");
    assert_eq!(scanned["places"][0]["file"], "var/lib/dpkg/status");

    let sbom = directory.path().join("sbom.json");
    let sbom = sbom.to_str().unwrap();
    let written = run(&["scan", &image, "--format", "cyclonedx-json", "--output", sbom]);
    assert_eq!(written.status.code(), Some(0));
    let matched = run(&[
        "match",
        sbom,
        "--advisories",
        &database,
        "--format",
        "json",
        "--fail-on",
        "critical",
    ]);
    assert_eq!(matched.status.code(), Some(4), "{}", stderr(&matched));
    let matched: Value = serde_json::from_slice(&matched.stdout).unwrap();
    let matched = &matched["platforms"][0]["findings"][0];
    for field in ["ids", "purl", "fixed", "severity", "name", "version"] {
        assert_eq!(matched[field], scanned[field], "{field}");
    }

    let info = run(&["advisories", "info", &database, "--json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(
        (&info["advisories"], &info["ecosystems"][0]["name"]),
        (&1.into(), &"any".into())
    );
}

#[test]
fn what_cannot_be_matched_with_is_told_with_a_fix() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = database(directory.path(), "npm", "a");
    let whole = fs::read(&good).unwrap();
    let cut = file("cut", &whole[..whole.len() - 1]);
    let (text, empty) = (file("text", b"no database"), file("empty", b""));
    let sbom = file("sbom.json", br#"{"bomFormat":"CycloneDX"}"#);
    for database in [&cut, &text, &empty] {
        assert_fails(
            &run(&["match", &sbom, "--advisories", database]),
            "advisories_unusable",
        );
        assert_fails(&run(&["advisories", "info", database]), "advisories_unusable");
    }
    assert_fails(
        &run(&["match", &sbom, "--advisories", "missing"]),
        "advisories_unreadable",
    );
    assert_fails(
        &run(&["match", "missing", "--advisories", &good]),
        "sbom_unreadable",
    );
    assert_fails(&run(&["match", &text, "--advisories", &good]), "sbom_unusable");
    assert_fails(
        &run(&["scan", "a", "--advisories", &good, "--format", "spdx-json"]),
        "findings_unwritable",
    );
    assert_fails(&run(&["scan", "a", "--format", "sarif"]), "findings_missing");
    for (option, file, code) in [
        ("--ignore", "missing", "ignore_rules_unreadable"),
        ("--ignore", &text, "ignore_rules_unusable"),
        ("--vex", "missing", "vex_unreadable"),
        ("--vex", &text, "vex_unusable"),
    ] {
        let matched = run(&["match", &sbom, "--advisories", &good, option, file]);
        assert_fails(&matched, code);
    }
    // A broken source leaves the old database.
    let broken = directory.path().join("broken");
    fs::create_dir_all(broken.join("npm")).unwrap();
    fs::write(broken.join("npm/all.zip"), "no archive").unwrap();
    let built = run(&[
        "advisories",
        "build",
        "--from",
        broken.to_str().unwrap(),
        "--output",
        &good,
    ]);
    assert_fails(&built, "advisories_unreadable");
    assert_eq!(fs::read(&good).unwrap(), whole);
}

/// Scans the sample, with one critical flaw in it, and returns the command's output.
fn scan_with(directory: &Path, options: &[&str]) -> Output {
    let sample = sample::image();
    let is_deb = |package: &&sample::Package| package.kind == sample::PackageKind::Deb;
    let package = sample.expected.iter().find(is_deb).unwrap();
    let image = layout(directory, &sample.image);
    let database = database(directory, "Debian:12", &package.name);
    let fixed = [
        "scan",
        image.as_str(),
        "--advisories",
        &database,
        "--fail-on",
        "high",
    ];
    run(&[&fixed, options].concat())
}

#[test]
fn what_is_suppressed_is_shown_and_fails_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rule =
        |day: &str| format!("rules:\n- id: CVE-2026-0001\n  reason: we live with it\n  expires: {day}\n");
    let current = file("current.yaml", rule("9999-12-31"));
    let expired = file("expired.yaml", rule("2001-01-01"));
    let digest = sample::image().image.digest();
    let vex = serde_json::json!({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex", "author": "shop",
        "timestamp": "2026-01-02T00:00:00Z", "version": 1,
        "statements": [{
            "vulnerability": {"name": "CVE-2026-0001"},
            "products": [{"hashes": {"sha-256": digest.hex()}}],
            "status": "not_affected", "justification": "vulnerable_code_not_present",
        }],
    });
    let vex = file("vex.json", vex.to_string());
    for (options, status, shown) in [
        (vec![], 4, "findings 1: 1 critical"),
        (vec!["--ignore", &current], 0, "9999-12-31  we live with it"),
        (
            vec!["--ignore", &expired],
            4,
            "expired  the rule for CVE-2026-0001 of ",
        ),
        (vec!["--vex", &vex], 0, "-      vulnerable code not present"),
        (vec!["--ignore", &expired, "--vex", &vex], 0, "hidden   1"),
    ] {
        let scanned = scan_with(directory.path(), &options);
        assert_eq!(
            scanned.status.code(),
            Some(status),
            "{options:?}: {}",
            stderr(&scanned)
        );
        assert!(
            stdout(&scanned).contains(shown),
            "{options:?}: {}",
            stdout(&scanned)
        );
    }
}

#[test]
fn findings_are_written_in_every_format() {
    let directory = tempfile::tempdir().unwrap();
    for (format, shown) in [
        ("table", "SEVERITY"),
        ("json", "\"findings\": {"),
        ("cyclonedx-json", "\"vulnerabilities\":["),
        ("sarif", "\"ruleId\":\"CVE-2026-0001\""),
        ("html", "CVE-2026-0001"),
    ] {
        let scanned = scan_with(directory.path(), &["--format", format]);
        assert_eq!(scanned.status.code(), Some(4), "{format}: {}", stderr(&scanned));
        assert!(stdout(&scanned).contains(shown), "{format}: {}", stdout(&scanned));
    }
}

#[test]
fn two_scans_are_compared() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (before, after) = (file("before.json"), file("after.json"));
    let found = scan_with(directory.path(), &["--format", "json", "--output", &after]);
    assert_eq!(found.status.code(), Some(4), "{}", stderr(&found));
    let image = layout(directory.path(), &sample::image().image);
    let other = database(directory.path(), "npm", "a-package-that-is-not-there");
    let clean = run(&[
        "scan",
        &image,
        "--advisories",
        &other,
        "--format",
        "json",
        "--output",
        &before,
    ]);
    assert_eq!(clean.status.code(), Some(0), "{}", stderr(&clean));

    let new = run(&["diff", &before, &after, "--fail-on", "high"]);
    assert_eq!(new.status.code(), Some(4), "{}", stderr(&new));
    assert!(
        stdout(&new).starts_with("new      1\nfixed    0\n"),
        "{}",
        stdout(&new)
    );
    let fixed = run(&["diff", &after, &before, "--fail-on", "high", "--format", "json"]);
    assert_eq!(fixed.status.code(), Some(0), "{}", stderr(&fixed));
    let fixed: Value = serde_json::from_slice(&fixed.stdout).unwrap();
    assert_eq!(fixed["fixed"][0]["id"], "CVE-2026-0001");

    let packages = run(&["scan", &image, "--format", "json", "--output", &before]);
    assert_eq!(packages.status.code(), Some(0), "{}", stderr(&packages));
    assert_fails(&run(&["diff", &before, &after]), "scan_unusable");
    assert_fails(&run(&["diff", "missing", &after]), "scan_unreadable");
}
