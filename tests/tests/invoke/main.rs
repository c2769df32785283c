//! Every file of `events/`, through the program of its function under AWS's runtime interface emulator.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    image::{Images, ScanResult},
    scope::OperatorScope,
};
use portwarden_local::{LocalCloud, LocalError, Runtime, invoke, invoke::InvokeOptions, recorded};
use portwarden_testkit::{events, image::Artifact as _, sample};
use serde_json::{Value, json};

fn options(name: &str) -> portwarden_local::LocalOptions {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // The tests lie in `deps` below the directory of the functions' programs.
    let test_program = std::env::current_exe().unwrap();
    let programs = test_program.parent().and_then(Path::parent).unwrap();
    let mut options = recorded::options(root, programs);
    options.state = root.join("target/invoke").join(name);
    options
}

fn function_of(event: &str) -> &'static str {
    match event {
        "sqs_batch" => "scanner",
        "sqs_verify_batch" => "verifier",
        _ => "receiver",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_event_has_its_recorded_answer() {
    let options = options("all");
    let cloud = recorded::start(&options).await.unwrap();
    let mut runtimes = BTreeMap::new();
    for name in ["receiver", "scanner", "verifier"] {
        let function = cloud.function(name).await.unwrap();
        let runtime = Runtime::start(&options.venv, &options.state, &function)
            .await
            .unwrap();
        runtimes.insert(name, runtime);
    }
    // The batches first: what the receiver queues is worked on by the cloud's own functions, for the same images.
    let mut names = events::names();
    names.sort_by_key(|name| (!name.starts_with("sqs_"), name.clone()));
    let mut answers = BTreeMap::new();
    for name in names {
        let event = serde_json::to_vec(&events::load(&name)).unwrap();
        let answer = runtimes[function_of(&name)].invoke(event).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answers.insert(name, answer);
    }
    insta::assert_json_snapshot!(answers);

    // What the answers do not show: the images of the batch are reported, by this program and not by the cloud's own.
    let scanned = reported(&cloud).await;
    let images = [sample::image(), sample::next_release()];
    assert_eq!(scanned, images.map(|sample| Some(sample.expected.len())));
    let log = runtimes["scanner"].log().unwrap();
    for sample in [sample::image(), sample::next_release()] {
        assert!(log.contains(&sample.image.digest().to_string()), "{log}");
    }
    drop(runtimes);
    cloud.shutdown().await;
}

/// Returns how many packages the tenant's reports have.
async fn reported(cloud: &LocalCloud) -> [Option<usize>; 2] {
    let images = Images::new(cloud.store().unwrap());
    let scope = OperatorScope::of_this_process().tenant(cloud.tenant(0).id.clone());
    let mut found = [None; 2];
    for (found, sample) in found.iter_mut().zip([sample::image(), sample::next_release()]) {
        let digest = sample.image.digest();
        let scan = images.scan(&scope, &digest, CATALOG_VERSION).await.unwrap();
        if let Some(ScanResult::Reported { packages, .. }) = scan.map(|scan| scan.result) {
            *found = Some(packages);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_is_invoked_as_from_the_command_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let options = InvokeOptions {
        cloud: options("one"),
        function: "ReceiverFunction".to_owned(),
        event: root.join("events/http_api_push_wrong_credentials.json"),
    };
    let (mut output, mut logs) = (Vec::new(), Vec::new());
    invoke::invoke(&options, &mut output, &mut logs).await.unwrap();
    let answer: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(answer["statusCode"], json!(429));
    // Lambda's own lines and the function's.
    let logs = String::from_utf8(logs).unwrap();
    let lines: BTreeSet<&str> = logs
        .lines()
        .filter_map(|line| line.split(['"', ' ']).next())
        .collect();
    assert!(
        lines.is_superset(&BTreeSet::from(["START", "END", "REPORT", "{"])),
        "{logs}"
    );
}

#[tokio::test]
async fn a_mistake_is_told_before_anything_is_started() {
    let start = |function: &str, event: &str| InvokeOptions {
        cloud: options("mistake"),
        function: function.to_owned(),
        event: event.into(),
    };
    let mut sink = Vec::new();
    let mut invoke = async |options: InvokeOptions| {
        let failure = invoke::invoke(&options, &mut Vec::new(), &mut sink)
            .await
            .unwrap_err();
        assert!(!options.cloud.state.exists(), "nothing was started");
        failure
    };
    let unknown = invoke(start("reciever", "../events/heartbeat.json")).await;
    assert_eq!(unknown.to_string(), "there is no function reciever");
    assert_eq!(
        unknown.fix(),
        "name one of advisor, console, notifier, publisher, receiver, reconciler, rematcher, scanner, verifier"
    );
    for file in ["../events/missing.json", "../events/README.md"] {
        let failure = invoke(start("receiver", file)).await;
        assert!(
            matches!(&failure, LocalError::File { path, .. } if path == Path::new(file)),
            "{failure:?}"
        );
    }
}
