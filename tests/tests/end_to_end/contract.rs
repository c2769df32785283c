//! The REST API held against its own document: schemathesis calls the console of the local cloud with what the document
//! allows and with what it does not. No answer may be a failure of ours, and none one that the document does not know.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use portwarden_local::{AdvisoryChoice, LocalCloud, Tenant, push::ImageChoice, watch::Action};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    console::{ADMINISTRATOR, Caller, READER},
    push::next_release,
    world::{World, eventually, options},
};

const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Who calls, for how many seconds, and how many operations must be done at least, however slow the machine is.
///
/// The reader first: what an administrator removes is not there for a reader.
const CALLERS: [(&str, &str, usize); 2] = [(READER, "12", 1), (ADMINISTRATOR, "25", 5)];

/// The emulator's HTTP API answers for itself where a path has a line break.
const HOOKS: &str = r#"
import schemathesis

@schemathesis.hook
def before_call(context, case, kwargs):
    for name, value in (case.path_parameters or {}).items():
        if isinstance(value, str):
            case.path_parameters[name] = value.replace("\n", " ")
"#;

/// How often a parameter names something that is there; else it is made up.
const REAL: f64 = 0.9;

/// Finds schemathesis among the optional tools, or on the path.
async fn schemathesis() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let kept = root.join(".venv/strict/bin/schemathesis");
    let program = if kept.exists() {
        kept
    } else {
        "schemathesis".into()
    };
    let ended = Command::new(&program).arg("--version").output().await;
    ended.is_ok_and(|ended| ended.status.success()).then_some(program)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_keeps_the_contract_of_its_document() {
    let Some(program) = schemathesis().await else {
        println!(
            "not run: the contract of the REST API (schemathesis is not installed: tests/requirements-strict.txt)"
        );
        return;
    };
    let mut options = options("contract");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    options.advisories = AdvisoryChoice::Directory(root.join("crates/testkit/advisories"));
    let world = World {
        cloud: LocalCloud::start(&options).await.unwrap(),
    };
    let caller = Caller::new(&world);
    let settings = settings(&world, &caller).await;
    for (subject, seconds, least) in CALLERS {
        let directory = options.state.join(subject);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("schemathesis.toml"), &settings).unwrap();
        fs::write(directory.join("hooks.py"), HOOKS).unwrap();
        let ended = Command::new(&program)
            .args(["--config-file", "schemathesis.toml", "run"])
            .arg(format!("{}/v1/openapi.json", caller.api))
            .args(["--url", &caller.api])
            .arg("--header")
            .arg(format!("Authorization: Bearer {}", caller.token(subject)))
            .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
            .args(["--max-time", seconds, "--rate-limit", "18/s"])
            .args(["--warnings", "off", "--continue-on-failure"])
            .args(["--report", "ndjson", "--report-ndjson-path", "calls.ndjson"])
            .current_dir(&directory)
            .output()
            .await
            .unwrap();
        let told = String::from_utf8_lossy(&ended.stdout);
        println!("as {subject}: {told}");
        assert!(ended.status.success(), "the API broke its contract");
        let done = done(&directory.join("calls.ndjson"));
        assert!(done >= least, "only {done} operations were done as {subject}");
    }
    world.cloud.shutdown().await;
}

/// Fills a tenant, and writes the settings by which schemathesis names what is there.
async fn settings(world: &World, caller: &Caller<'_>) -> String {
    let tenant = world.tenant(0);
    let first = world.push(&tenant, &ImageChoice::Sample, "shop/web", "1").await;
    world.tell(&tenant, Action::Push, &first).await;
    world.cloud.report(&tenant.id, &first.digest).await.unwrap();
    let next = next_release(world, &tenant, "1").await;
    world.tell(&tenant, Action::Push, &next).await;
    world.cloud.report(&tenant.id, &next.digest).await.unwrap();
    let difference = format!("/v1/tenants/{}/images/{}/changes", tenant.id, next.digest);
    eventually("the images are compared", async || {
        let (status, _) = caller.call(READER, Method::GET, &difference, None).await;
        status.is_success().then_some(())
    })
    .await;

    let integration = json!({ "name": "spare", "regions": ["eu-west-1"] });
    let spare_integration = made(caller, &tenant, "/integrations", integration).await;
    let webhook = json!({ "name": "chat", "url": "https://hooks.example.com/" });
    let kept_webhook = made(caller, &tenant, "/webhooks", webhook.clone()).await;
    let spare_webhook = made(caller, &tenant, "/webhooks", webhook).await;
    let key = json!({ "name": "ci", "role": "reader", "days": 1 });
    let spare_key = made(caller, &tenant, "/api-keys", key).await;
    let ping = format!("/tenants/{}/webhooks/{kept_webhook}/test", tenant.id);
    let sent = caller
        .call(
            ADMINISTRATOR,
            Method::POST,
            &format!("/v1{ping}"),
            Some(json!({})),
        )
        .await;
    assert_eq!(sent.0, StatusCode::ACCEPTED, "{}", sent.1);
    let reader = caller.call(READER, Method::GET, "/v1/me", None).await.1;

    let real = BTreeMap::from([
        ("path.integration", json!([tenant.integration])),
        ("path.region", json!([tenant.account.region(), "eu-west-1"])),
        ("path.account", json!([tenant.account.id()])),
        (
            "path.digest",
            json!([first.digest.to_string(), next.digest.to_string()]),
        ),
        ("path.flaw", json!(["CVE-2024-29041", "GHSA-rv95-896h-c2vc"])),
        ("path.webhook", json!([kept_webhook])),
        ("path.notification", json!([sent.1["notification"]])),
        ("path.queue", json!(["scan", "verify"])),
        ("query.repository", json!(["shop/web"])),
        ("query.name", json!(["express", "openssl"])),
    ]);
    // Nobody takes away what the others look at, or their own rights.
    let changed = [
        (
            &["removeIntegration"][..],
            "integration",
            json!(spare_integration),
        ),
        (&["removeWebhook"], "webhook", json!(spare_webhook)),
        (&["revokeApiKey"], "key", json!(spare_key)),
        (
            &["showMember", "changeMember", "removeMember"],
            "person",
            reader["person"].clone(),
        ),
    ];
    let mut text = format!(
        "hooks = \"hooks.py\"\n[parameters]\n\"path.tenant\" = \"{}\"\n",
        tenant.id
    );
    for name in real.keys() {
        writeln!(
            text,
            "\"{name}\" = {{ dictionary = \"{name}\", probability = {REAL} }}"
        )
        .unwrap();
    }
    for (name, values) in real {
        writeln!(text, "[dictionaries.\"{name}\"]\nvalues = {values}").unwrap();
    }
    for (operations, name, value) in changed {
        writeln!(
            text,
            "[[operations]]\ninclude-operation-id = {}",
            json!(operations)
        )
        .unwrap();
        writeln!(text, "parameters = {{ \"path.{name}\" = {value} }}").unwrap();
    }
    text
}

/// How many operations were done, rather than refused, at least once.
fn done(calls: &Path) -> usize {
    let calls = fs::read_to_string(calls).unwrap();
    let mut done = BTreeSet::new();
    for line in calls.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let recorder = &event["ScenarioFinished"]["recorder"];
        let calls = recorder["interactions"].as_object().into_iter().flatten();
        let mut statuses = calls.filter_map(|(_, call)| call["response"]["status_code"].as_u64());
        if statuses.any(|status| (200..300).contains(&status)) {
            done.insert(recorder["label"].to_string());
        }
    }
    done.len()
}

/// Makes something of the tenant's, and returns its id.
async fn made(caller: &Caller<'_>, tenant: &Tenant, list: &str, what: Value) -> String {
    let path = format!("/v1/tenants/{}{list}", tenant.id);
    let (status, made) = caller.call(ADMINISTRATOR, Method::POST, &path, Some(what)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made["id"].as_str().unwrap().to_owned()
}
