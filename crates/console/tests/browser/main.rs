//! The pages in a real browser: `pages.py` drives Chromium, and this program is the console and the world around it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod control;
mod world;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use world::World;

/// Says why the browser cannot be driven on this machine, if it cannot.
fn what_is_missing() -> Option<String> {
    let python = Command::new("python3")
        .args(["-c", "import playwright.sync_api"])
        .output();
    if !python.is_ok_and(|ended| ended.status.success()) {
        return Some("Playwright is not installed: .ci/run installs it".to_owned());
    }
    let is_there = |name: &str| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|ended| ended.status.success())
    };
    if !is_there("chromium") {
        return Some("Chromium is not installed: apt-get install chromium".to_owned());
    }
    let axe = Command::new("python3")
        .args([
            "-c",
            "import sys, os; sys.exit(not os.path.exists(sys.prefix + '/node_modules/axe-core/axe.min.js'))",
        ])
        .status();
    if !axe.is_ok_and(|status| status.success()) {
        return Some("axe-core is not installed: .ci/run installs it".to_owned());
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_can_do_with_the_pages_what_they_are_for() {
    if let Some(missing) = what_is_missing() {
        println!("not run: the pages in a browser ({missing})");
        return;
    }
    let world = World::start().await;
    let control = control::serve(world.clone()).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/pages.py");
    let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&pictures).unwrap();
    let mut command = tokio::process::Command::new("python3");
    command
        .arg(script)
        .env("CONSOLE", &world.url)
        .env("ISSUER", world.issuer.issuer())
        .env("WORLD", control)
        .env("TENANT", world.tenants[0].to_string())
        .env("OTHER_TENANT", world.tenants[1].to_string())
        .env("PICTURES", &pictures)
        .kill_on_drop(true);
    let status = command.status().await.unwrap();
    assert!(
        status.success(),
        "pictures of what went wrong are in {}",
        pictures.display()
    );
}
