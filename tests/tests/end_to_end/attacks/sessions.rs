//! A8, A13 and A16: what is done in sessions, and when none is opened.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecr::config::Credentials;
use futures_util::future::join_all;
use portwarden_aws::{Aws, ScanQueue, Service, SystemClock};
use portwarden_core::{
    arn::RoleArn,
    clock::Clock as _,
    id::RequestId,
    random::OsRandomness,
    trace::TraceId,
    work::{KnownBy, QueueScan as _, ScanRequest},
};
use portwarden_local::{Account, Tenant, push::Pushed, watch::Action};
use portwarden_testkit::proxy::Call;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Mark, Opening, Scene, demands};
use crate::{
    console::ADMINISTRATOR,
    reconcile::{plain, push_untold},
    trust::{allow, trusts},
    world::eventually,
};

impl Scene<'_> {
    /// Has a tenant's own role tested by the tenant, and waits until its state is this.
    async fn test_again(&self, tenant: &Tenant, state: &str) {
        let region = tenant.account.region();
        let path = format!("/v1/tenants/{}/integrations/{}", tenant.id, tenant.integration);
        let test = format!("{path}/regions/{region}/verification");
        let (status, queued) = self
            .caller
            .call(ADMINISTRATOR, Method::POST, &test, Some(json!({})))
            .await;
        assert_eq!(status, StatusCode::ACCEPTED, "{queued}");
        eventually("it is tested", async || {
            let (_, shown) = self.caller.call(ADMINISTRATOR, Method::GET, &path, None).await;
            let region = &shown["regions"][region.as_str()];
            (region["verdict"]["request"] == queued["request"] && region["trust"]["state"] == state)
                .then_some(())
        })
        .await;
    }

    /// Pushes an image of its own to a tenant's registry, and writes the event about it.
    async fn pushed(&self, tenant: &Tenant, label: &str) -> (Pushed, Value) {
        let digest = push_untold(&tenant.account, "shop/web", label, &plain(label)).await;
        let image = Pushed {
            repository: "shop/web".parse().unwrap(),
            tag: label.parse().unwrap(),
            digest,
            images: Vec::new(),
        };
        let event = self.world.cloud.event(tenant, Action::Push, &image);
        (image, event)
    }

    /// Sends an event until it is taken: the endpoint remembers for seconds that a role was not proven.
    async fn until_taken(&self, tenant: &Tenant, event: &Value) {
        eventually("the event is taken", async || {
            let integration = tenant.integration.as_str();
            let answer = self.send(integration, Some(&tenant.auth), event).await;
            (answer.0 == StatusCode::ACCEPTED).then_some(())
        })
        .await;
    }

    /// Asserts that the scanner has opened no session in a role and has used none.
    fn assert_not_scanned_with(&self, role: &RoleArn, since: Mark) {
        let opened = self.scans(since);
        let opened: Vec<_> = opened
            .iter()
            .filter(|opening| opening.role == role.as_str())
            .filter(|opening| self.witness.is_open(opening))
            .collect();
        assert!(opened.is_empty(), "{opened:?}");
        let calls = self.witness.calls(since).filter(|(session, call)| {
            session.opening.role == role.as_str()
                && session.opening.name.starts_with("scan-")
                && call.service == "ecr"
        });
        assert_eq!(calls.count(), 0);
    }

    /// Returns what the scanner asked STS for in tenants' accounts.
    fn scans(&self, since: Mark) -> Vec<Opening> {
        let mut openings = self.witness.openings(since);
        openings.retain(|opening| opening.name.starts_with("scan-"));
        openings
    }
}

pub(super) async fn a_role_that_changes_after_its_test_opens_nothing(scene: &Scene<'_>) {
    let Scene {
        world,
        victim: tenant,
        ..
    } = scene;
    let right = Some(demands(tenant.external_id.as_str()));
    let set = async |condition| trusts(world, &tenant.account, &tenant.role, condition).await;

    // It demands another id: the event is taken, the scan is refused, and that has the role tested.
    let (image, event) = scene.pushed(tenant, "changed").await;
    set(Some(demands("pw-00000000000000000000000000"))).await;
    let since = scene.witness.mark();
    world.deliver(tenant, &event).await;
    eventually("the role is refused", async || {
        let trust = world.region(tenant, &tenant.integration).await.trust;
        (!trust.is_proven()).then_some(())
    })
    .await;
    let asked = scene.scans(since);
    assert!(!asked.is_empty());
    for opening in &asked {
        assert_eq!(opening.external_id.as_deref(), Some(tenant.external_id.as_str()));
    }
    scene.assert_not_scanned_with(&tenant.role, since);
    assert_eq!(world.scan(tenant, &image.digest).await, None);
    set(right.clone()).await;
    scene.test_again(tenant, "proven").await;
    scene.until_taken(tenant, &event).await;
    world.cloud.report(&tenant.id, &image.digest).await.unwrap();

    // It opens for everybody: it is suspended, and what was queued before is not done, though a session may be kept.
    set(None).await;
    scene.test_again(tenant, "refused").await;
    let (image, _) = scene.pushed(tenant, "too-wide").await;
    let since = scene.witness.mark();
    queue_scan(scene, tenant, &image).await;
    eventually("the scan is put off", async || {
        let lines = world.logs(Service::Scanner).await;
        let digest = json!(image.digest);
        let is_put_off =
            |line: &Value| line["image.digest"] == digest && line["outcome.code"] == "role_unproven";
        lines.iter().any(is_put_off).then_some(())
    })
    .await;
    scene.assert_not_scanned_with(&tenant.role, since);
    assert_eq!(world.scan(tenant, &image.digest).await, None);
    set(right).await;
    scene.test_again(tenant, "proven").await;
    queue_scan(scene, tenant, &image).await;
    world.cloud.report(&tenant.id, &image.digest).await.unwrap();
}

/// Queues what an event led to that was taken while the role was proven.
async fn queue_scan(scene: &Scene<'_>, tenant: &Tenant, image: &Pushed) {
    let now = SystemClock.now();
    let request = ScanRequest {
        tenant: tenant.id.clone(),
        integration: tenant.integration.clone(),
        account: tenant.account.id().clone(),
        region: tenant.account.region().clone(),
        repository: image.repository.clone(),
        digest: image.digest,
        known_by: KnownBy::Event,
        event: None,
        request: RequestId::generate(&OsRandomness),
        trace: TraceId::generate(now, &OsRandomness),
        since: now,
        continuation: 0,
    };
    let aws = Aws::over(scene.world.cloud.operator().sdk_config(), None);
    let queue = scene.world.cloud.stack().output("ScanQueueUrl").unwrap();
    let queue = ScanQueue::new(&aws, queue.to_owned());
    queue.queue_scan(&request).await.unwrap();
}

/// How many images each tenant pushes.
const PUSHES: usize = 4;

pub(super) async fn tenants_in_one_process_each_use_their_own_session(scene: &Scene<'_>) {
    let Scene { world, witness, .. } = scene;
    let tenants = world.cloud.tenants();
    let mut pushed = Vec::new();
    for round in 0..PUSHES {
        for tenant in tenants {
            let label = format!("{}-{round}", tenant.account.id());
            pushed.push((tenant, scene.pushed(tenant, &label).await));
        }
    }
    let since = witness.mark();
    join_all(
        pushed
            .iter()
            .map(|(tenant, (_, event))| world.deliver(tenant, event)),
    )
    .await;
    for (tenant, (image, _)) in &pushed {
        world.cloud.report(&tenant.id, &image.digest).await.unwrap();
        for other in tenants.iter().filter(|other| other.id != tenant.id) {
            assert_eq!(world.scan(other, &image.digest).await, None);
        }
    }
    let owner = |role: &str| {
        tenants
            .iter()
            .find(|tenant| tenant.role.as_str() == role)
            .unwrap()
    };
    // A process has one session of the connector role for its scans: it tells processes apart.
    let mut processes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for opening in scene.scans(since) {
        let external_id = owner(&opening.role).external_id.as_str();
        assert_eq!(opening.external_id.as_deref(), Some(external_id), "{opening:?}");
        let tenant = owner(&opening.role).id.to_string();
        processes.entry(opening.by).or_default().insert(tenant);
    }
    let most = processes.values().map(BTreeSet::len).max();
    assert!(most > Some(2), "tenants meet in a process: {processes:?}");
    let mut served = BTreeSet::new();
    let of_scans = witness
        .calls(since)
        .filter(|(session, call)| call.service == "ecr" && session.opening.name.starts_with("scan-"));
    for (session, call) in of_scans {
        let tenant = owner(&session.opening.role);
        let asked: Value = serde_json::from_slice(&call.body).unwrap();
        let registry = &asked["registryId"];
        assert!(
            registry.is_null() || *registry == json!(tenant.account.id()),
            "{} in a session of {}: {asked}",
            call.operation,
            session.opening.role
        );
        if registry.is_string() {
            served.insert(tenant.id.to_string());
        }
    }
    assert_eq!(served.len(), tenants.len());
}

/// All that is ever done in a session of a tenant's role.
const READS: [(&str, &str); 10] = [
    ("ecr", "BatchCheckLayerAvailability"),
    ("ecr", "BatchGetImage"),
    ("ecr", "DescribeImageScanFindings"),
    ("ecr", "DescribeImages"),
    ("ecr", "DescribeRegistry"),
    ("ecr", "DescribeRepositories"),
    ("ecr", "GetAuthorizationToken"),
    ("ecr", "GetDownloadUrlForLayer"),
    ("ecr", "ListImages"),
    ("iam", "GetRole"),
];

pub(super) async fn an_administrators_role_is_only_read_with(scene: &Scene<'_>) {
    let Scene {
        world,
        witness,
        attacker: tenant,
        ..
    } = scene;
    let since = witness.mark();
    allow(world, tenant, &tenant.role, &["*"]).await;
    scene.test_again(tenant, "proven").await;
    let (image, event) = scene.pushed(tenant, "administrator").await;
    world.deliver(tenant, &event).await;
    world.cloud.report(&tenant.id, &image.digest).await.unwrap();
    let calls = witness.calls_of(&tenant.role, since);
    let done = |call: &Call| (call.service.clone(), call.operation.clone());
    let done: BTreeSet<_> = calls.iter().map(done).collect();
    for (service, operation) in &done {
        assert!(READS.contains(&(service, operation)), "{done:?}");
    }
    assert!(done.len() > 5, "{done:?}");

    // Who gets hold of such a session can read with it, and nothing more.
    let of_role = |prefix: &'static str| {
        let role = tenant.role.as_str();
        witness.last_session(|opening| {
            opening.role == role && opening.name.starts_with(prefix) && opening.external_id.is_some()
        })
    };
    for prefix in ["scan-", "verify-"] {
        let session = of_role(prefix).unwrap();
        let ecr = ecr(&tenant.account, session.credentials.clone());
        ecr.describe_repositories().send().await.unwrap();
        let delete = ecr.delete_repository().repository_name("shop/web").force(true);
        let denied = delete.send().await.unwrap_err().into_service_error();
        assert_eq!(
            denied.meta().code(),
            Some("AccessDeniedException"),
            "{prefix}: {denied:?}"
        );
        let create = ecr.create_repository().repository_name("planted");
        let denied = create.send().await.unwrap_err().into_service_error();
        assert_eq!(
            denied.meta().code(),
            Some("AccessDeniedException"),
            "{prefix}: {denied:?}"
        );
    }
    // It is the session that is limited: the role itself may.
    let session = of_role("scan-").unwrap();
    let connector = witness.session(&session.opening.by).unwrap();
    let sts = aws_sdk_sts::Client::new(&with(&tenant.account, connector.credentials));
    let opened = sts
        .assume_role()
        .role_arn(tenant.role.as_str())
        .external_id(tenant.external_id.as_str())
        .role_session_name("scan-whole")
        .send()
        .await
        .unwrap();
    let keys = opened.credentials.unwrap();
    let whole = Credentials::new(
        keys.access_key_id,
        keys.secret_access_key,
        Some(keys.session_token),
        None,
        "whole",
    );
    let ecr = ecr(&tenant.account, whole);
    ecr.create_repository()
        .repository_name("planted")
        .send()
        .await
        .unwrap();
}

fn with(account: &Account, credentials: Credentials) -> aws_config::SdkConfig {
    let config = account.sdk_config().into_builder();
    let provider = aws_sdk_ecr::config::SharedCredentialsProvider::new(credentials);
    config.credentials_provider(provider).build()
}

fn ecr(account: &Account, credentials: Credentials) -> aws_sdk_ecr::Client {
    aws_sdk_ecr::Client::new(&with(account, credentials))
}
