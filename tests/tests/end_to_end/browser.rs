//! People use the console of the local cloud in a browser: `browser/people.py` drives Chromium, and asks for what happens
//! outside of it, a line of JSON for each wish.

use std::{collections::BTreeMap, path::Path, process::Stdio, sync::Arc};

use jiff::SignedDuration;
use portwarden_aws::SystemClock;
use portwarden_core::{clock::Clock as _, id::AccountId};
use portwarden_local::{
    Launched, Links, WalkThrough, destination::BasicAuth, push::ImageChoice, watch::Action,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::{push::next_release, webhooks::Inbox, world::World};

/// Says why the browser cannot be driven on this machine, if it cannot.
async fn what_is_missing() -> Option<&'static str> {
    let checks: [(&str, &[&str], &str); 3] = [
        (
            "python3",
            &["-c", "import playwright.sync_api"],
            "Playwright is not installed: .ci/run installs it",
        ),
        (
            "chromium",
            &["--version"],
            "Chromium is not installed: apt-get install chromium",
        ),
        (
            "python3",
            &[
                "-c",
                "import sys, os; sys.exit(not os.path.exists(sys.prefix + '/node_modules/axe-core/axe.min.js'))",
            ],
            "axe-core is not installed: .ci/run installs it",
        ),
    ];
    for (program, arguments, missing) in checks {
        let ended = Command::new(program).args(arguments).output().await;
        if !ended.is_ok_and(|ended| ended.status.success()) {
            return Some(missing);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn people_connect_accounts_and_see_what_is_pushed() {
    if let Some(missing) = what_is_missing().await {
        println!("not run: the local cloud's console in a browser ({missing})");
        return;
    }
    let world = Arc::new(World::start("browser").await);
    let walk_through = walk_through(&world).await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("people");
    std::fs::create_dir_all(&pictures).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let role = |name| world.cloud.stack().output(name).unwrap();
    let mut people = Command::new("python3")
        .arg(root.join("tests/end_to_end/browser/people.py"))
        .env("PYTHONPATH", root.join("../crates/console/tests/browser"))
        .env("CONSOLE", world.cloud.console().unwrap())
        .env("ISSUER", world.cloud.issuer().issuer())
        .env("TENANT", world.tenant(0).id.as_str())
        .env("OTHER_TENANT", world.tenant(1).id.as_str())
        .env("OTHER_INTEGRATION", world.tenant(1).integration.as_str())
        .env("CONNECTOR", role("ConnectorRoleArn"))
        .env("CANARY", role("CanaryRoleArn"))
        .env("WALK_THROUGH", walk_through.url())
        .env("PICTURES", &pictures)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut wishes = BufReader::new(people.stdout.take().unwrap()).lines();
    let mut answers = people.stdin.take().unwrap();
    let mut launched = BTreeMap::new();
    while let Some(wish) = wishes.next_line().await.unwrap() {
        let wish: Value = serde_json::from_str(&wish).unwrap();
        let answer = fulfil(&world, &mut launched, &wish).await;
        answers.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
    }
    let status = people.wait().await.unwrap();
    assert!(
        status.success(),
        "pictures of what went wrong are in {}",
        pictures.display()
    );
}

/// The page of `make run`, whose button pushes the sample's next release.
async fn walk_through(world: &Arc<World>) -> WalkThrough {
    let tenant = world.tenant(0);
    let console = world.cloud.console().unwrap();
    let links = Links {
        sign_in: world.cloud.sign_in_link().unwrap(),
        images: format!("{console}/tenants/{}/images", tenant.id),
    };
    let world = Arc::clone(world);
    let push = move |number: u32| {
        let (world, tenant) = (Arc::clone(&world), Arc::clone(&tenant));
        let pushed = async move {
            let image = next_release(&world, &tenant, &format!("walk-{number}")).await;
            world.tell(&tenant, Action::Push, &image).await;
            Ok(())
        };
        Box::pin(pushed) as futures_util::future::BoxFuture<'static, _>
    };
    WalkThrough::start(links, Box::new(push)).await.unwrap()
}

/// The stacks that were launched, each in an account of its own.
type Stacks = BTreeMap<AccountId, Launched>;

async fn fulfil(world: &World, launched: &mut Stacks, wish: &Value) -> Value {
    let text = |name: &str| wish[name].as_str().unwrap_or_default();
    // A wish that is about no account names none.
    let account: Option<AccountId> = wish["account"].as_str().map(|id| id.parse().unwrap());
    let stack = || &launched[account.as_ref().unwrap()];
    match text("wish") {
        // The tenant's administrator follows the launch link, and fills in what it leaves open.
        "launch" => {
            let credentials = (!text("password").is_empty()).then(|| BasicAuth {
                username: text("username").to_owned(),
                password: text("password").to_owned().into(),
            });
            let account = account.unwrap();
            let stack = world.cloud.launch(text("link"), &account, credentials);
            let stack = stack.await.unwrap();
            let role = stack.role.clone();
            launched.insert(account, stack);
            json!({ "role": role })
        }
        // With other details than the stack's own, another time or another password, if the wish has any.
        "heartbeat" => {
            let stack = stack();
            let mut heartbeat = stack.heartbeat();
            let other = wish["detail"].as_object().into_iter().flatten();
            for (name, value) in other {
                heartbeat["detail"][name] = value.clone();
            }
            let hours_ago = wish["hours_ago"].as_i64().unwrap_or_default();
            let time = SystemClock.now() - SignedDuration::from_hours(hours_ago);
            heartbeat["time"] = json!(format!("{time:.0}"));
            let status = match wish["password"].as_str() {
                None => stack.send(&heartbeat).await,
                Some(password) => stack.send_with(&heartbeat, &password.to_owned().into()).await,
            };
            json!({ "status": status.unwrap().as_u16() })
        }
        "secret" => {
            let stack = stack();
            let id = &stack.heartbeat()["detail"]["secret-arn"];
            let call = async |action: &str, request: Value| {
                let target = format!("secretsmanager.{action}");
                world
                    .json_api(&stack.account, "secretsmanager", &target, &request)
                    .await
            };
            let before = call("GetSecretValue", json!({ "SecretId": id })).await;
            call(
                "PutSecretValue",
                json!({ "SecretId": id, "SecretString": text("value") }),
            )
            .await;
            json!({ "before": before["SecretString"] })
        }
        "iam" => {
            let region = world.cloud.operator().region();
            let account = world.cloud.account(&account.unwrap(), region);
            let parameters = wish["parameters"].as_object().unwrap().iter();
            let parameters: Vec<(&str, &str)> = parameters
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                .chain([("Version", "2010-05-08")])
                .collect();
            json!({ "answer": world.query_api(&account, "iam", &parameters).await })
        }
        "push" => {
            let tenant = Arc::clone(&world.tenant(0));
            let image = world
                .push(&tenant, &ImageChoice::Sample, text("repository"), text("tag"))
                .await;
            world.tell(&tenant, Action::Push, &image).await;
            json!({ "digest": image.digest })
        }
        // A server of the tenant's, which fails once.
        "hook" => json!({ "url": Inbox::default().open().await }),
        other => panic!("nobody knows how to {other}"),
    }
}
