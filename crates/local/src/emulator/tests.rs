use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use std::os::unix::fs::symlink;

use super::*;

fn state() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/local/tests")
}

fn options(name: &str, port: Option<u16>) -> EmulatorOptions {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    EmulatorOptions {
        venv: root.join(".venv"),
        state: state().join(name),
        port,
        operator: "100000000001".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
    }
}

/// Lists the processes whose environment says that they use `port`'s emulator.
fn processes_of(port: u16) -> Vec<PathBuf> {
    let wanted = format!("GATEWAY_PORT={port}");
    let processes = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|process| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes())
        })
        .collect()
}

#[tokio::test]
async fn answers_until_it_is_stopped_and_leaves_nothing() {
    let options = options("stops", None);
    let emulator = Emulator::start(&options).await.unwrap();
    let temporary = options.state.join("tmp");
    assert!(fs::read_dir(&temporary).unwrap().next().is_some());
    let port = emulator.port();
    let health = reqwest::get(format!("{}/_ministack/health", emulator.endpoint()))
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
    // The emulator and its launcher.
    assert_eq!(processes_of(port).len(), 2);
    emulator.stop().await;
    assert_eq!(processes_of(port), Vec::<PathBuf>::new());
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free again");
    assert!(!temporary.exists(), "its copies of the functions' programs");
    assert!(options.state.join("emulator.log").exists(), "what it said");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_another_one() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    let error = Emulator::start(&options("busy", Some(port))).await.unwrap_err();
    assert!(
        matches!(error, LocalError::PortBusy { port: busy } if busy == port),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!("port {port} on 127.0.0.1 is in use by another program")
    );
    assert!(
        error.fix().ends_with(&format!("make run PORT={}", port + 1)),
        "{}",
        error.fix()
    );
}

#[tokio::test]
async fn a_second_cloud_in_the_same_directory_leaves_the_first_alone() {
    let options = options("shared", None);
    let first = Emulator::start(&options).await.unwrap();
    let mark = options.state.join("tmp/mark");
    fs::write(&mark, "").unwrap();
    let error = Emulator::start(&options).await.unwrap_err();
    assert!(
        matches!(&error, LocalError::StateInUse { state } if *state == options.state),
        "{error:?}"
    );
    assert!(mark.exists() && fs::metadata(first.log()).unwrap().len() > 0);
    first.stop().await;
    Emulator::start(&options).await.unwrap();
}

#[tokio::test]
async fn an_environment_without_the_emulator_is_named() {
    let venv = state().join("half-made/venv");
    let _ = fs::remove_dir_all(&venv);
    fs::create_dir_all(venv.join("bin")).unwrap();
    let half_made = EmulatorOptions {
        venv: venv.clone(),
        ..options("no-venv", None)
    };
    let error = Emulator::start(&half_made).await.unwrap_err();
    assert!(
        matches!(&error, LocalError::EmulatorMissing { venv: named } if *named == venv),
        "{error:?}"
    );

    // A Python that has not got the package: what an interrupted installation leaves.
    let python = venv.join("bin/python");
    symlink(
        fs::canonicalize(options("x", None).venv.join("bin/python")).unwrap(),
        &python,
    )
    .unwrap();
    let error = Emulator::start(&half_made).await.unwrap_err();
    assert!(
        matches!(&error, LocalError::EmulatorMissing { venv: named } if *named == venv),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_a_killed_run_left_is_cleared_away() {
    let options = options("leftover", None);
    let leftover = options.state.join("tmp/ministack-provided-code-1/x/bootstrap");
    fs::create_dir_all(leftover.parent().unwrap()).unwrap();
    fs::write(&leftover, "half").unwrap();
    let emulator = Emulator::start(&options).await.unwrap();
    assert!(!leftover.exists());
    drop(emulator);
}
