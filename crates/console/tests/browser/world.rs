use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use portwarden_aws::SystemClock;
use portwarden_console::{
    auth::{HttpFetch, IssuerSettings},
    context::{Context, CountRequests, Outside, Place},
    handler,
};
use portwarden_core::{
    access::{Members, Person, Role},
    clock::Clock as _,
    event::Claim,
    id::{IntegrationId, Region, RequestId, TenantId},
    image::Images,
    integration::{Connection, Integrations, NamedBy},
    inventory::Inventory,
    notification::{MemoryNotifies, NotifyRequest},
    object::MemoryObjects,
    problem::Problem,
    random::OsRandomness,
    scope::{OperatorScope, TenantScope},
    store::MemoryStore,
    tenant::Tenants,
    tenant_template::launch::LaunchPad,
    verdict::{Check, Outcome, Probe, Verdict},
    webhook::{Begun, Outcome as Sent, WebhookKey, Webhooks},
    work::{MemoryQueues, VerifyRequest},
};
use portwarden_testkit::issuer::IssuerServer;
use tokio::net::TcpListener;

/// A console that listens on loopback, and everything around it that a test can let happen.
///
/// Ada administers the first tenant and Rex reads it, Zoe administers the second one, and Olga is an operator.
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) issuer: IssuerServer,
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) integrations: Integrations,
    pub(crate) images: Images,
    pub(crate) inventory: Inventory,
    pub(crate) objects: Arc<MemoryObjects>,
    /// What the next tests find wrong.
    pub(crate) flaw: Mutex<Option<(Check, Outcome)>>,
    pub(crate) queues: Arc<MemoryQueues>,
    pub(crate) webhooks: Webhooks,
    notifies: Arc<MemoryNotifies>,
    /// The status that every webhook answers with.
    pub(crate) answer: AtomicU16,
}

struct Nobody;

impl CountRequests for Nobody {
    fn failed(&self) {}
}

/// The checks of a whole test, in their order.
const CHECKS: [Check; 20] = [
    Check::RoleArn,
    Check::NotOurs,
    Check::SameAccount,
    Check::RoleFree,
    Check::OpensWithExternalId,
    Check::SessionAccount,
    Check::Canary,
    Check::RefusesNone,
    Check::RefusesOthers,
    Check::TrustPolicy,
    Check::Credentials,
    Check::EcrGetAuthorizationToken,
    Check::EcrDescribeRepositories,
    Check::EcrDescribeImages,
    Check::EcrListImages,
    Check::EcrBatchGetImage,
    Check::EcrGetDownloadUrlForLayer,
    Check::EcrBatchCheckLayerAvailability,
    Check::EventPath,
    Check::TemplateVersion,
];

fn webhook_key() -> WebhookKey {
    WebhookKey::parse("a-key-of-thirty-two-characters-00".to_owned().into()).unwrap()
}

/// Serves a router on loopback until the process ends.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl World {
    pub(crate) async fn start() -> Arc<Self> {
        let people = [
            ("ada", "Ada <b>Lovelace</b>"),
            ("rex", "Rex"),
            ("zoe", "Zoe"),
            ("olga", "Olga"),
        ];
        let issuer = IssuerServer::start("portwarden", &people).await.unwrap();
        let store = Arc::new(MemoryStore::default());
        let (now, operator) = (SystemClock.now(), OperatorScope::of_this_process());
        let mut tenants = Vec::new();
        for (name, members) in [
            (
                "Shop <i>&amp;</i> Söhne",
                &[("ada", Role::Administrator), ("rex", Role::Reader)][..],
            ),
            ("Bank", &[("zoe", Role::Administrator)]),
        ] {
            let tenant = Tenants::new(store.clone())
                .create(operator, name, now, &OsRandomness)
                .await
                .unwrap();
            let scope = operator.tenant(tenant.id.clone());
            for (subject, role) in members {
                let person = Person::proven(issuer.issuer(), subject, subject);
                Members::new(store.clone())
                    .add(operator, &scope, &person, *role, now)
                    .await
                    .unwrap();
            }
            tenants.push(tenant.id);
        }
        let olga = Person::proven(issuer.issuer(), "olga", "Olga");
        Members::new(store.clone())
            .add_operator(operator, &olga, now)
            .await
            .unwrap();
        let (listener, address) = listen().await;
        let url = format!("http://localhost:{}", address.port());
        let queues = Arc::new(MemoryQueues::default());
        let notifies = Arc::new(MemoryNotifies::default());
        let objects = Arc::new(MemoryObjects::default());
        let outside = Outside {
            store: store.clone(),
            objects: objects.clone(),
            verifications: queues.clone(),
            notifications: notifies.clone(),
            webhook_key: Arc::new(webhook_key()),
            queues: queues.clone(),
            clock: Arc::new(SystemClock),
            randomness: Arc::new(OsRandomness),
            counts: Arc::new(Nobody),
            fetch: Arc::new(HttpFetch::default()),
        };
        let place = Place {
            console_url: url.clone(),
            events_url: "https://api.example/v1/events".to_owned(),
            connector: "arn:aws:iam::999988887777:role/portwarden-connector"
                .parse()
                .unwrap(),
            launch_pad: LaunchPad::new("https://templates.example/latest/t".to_owned()),
            is_emulated: false,
        };
        let settings = IssuerSettings {
            issuer: issuer.issuer().parse().unwrap(),
            client_id: "portwarden".to_owned(),
            audience: None,
        };
        let router = handler::router(Arc::new(Context::new(outside, place, settings)));
        tokio::spawn(serve(listener, router));
        let world = Arc::new(Self {
            url,
            issuer,
            tenants,
            integrations: Integrations::new(store.clone()),
            images: Images::new(store.clone()),
            inventory: Inventory::new(store.clone()),
            webhooks: Webhooks::new(store),
            notifies,
            answer: AtomicU16::new(204),
            objects,
            flaw: Mutex::default(),
            queues,
        });
        tokio::spawn(verify(world.clone()));
        tokio::spawn(notify(world.clone()));
        world
    }

    /// The scope of the first tenant, to whom everything happens.
    pub(crate) fn scope(&self) -> TenantScope {
        OperatorScope::of_this_process().tenant(self.tenants[0].clone())
    }

    pub(crate) async fn connection(&self, id: &IntegrationId) -> Connection {
        self.integrations.find(&self.scope(), id).await.unwrap().unwrap()
    }

    /// A stack says that it is there, and its role is tested.
    pub(crate) async fn claim(&self, id: &IntegrationId, region: &Region) {
        let connection = self.connection(id).await;
        let claim = serde_json::json!({
            "role-arn": "arn:aws:iam::111122223333:role/portwarden-ecr-Role-1AB2",
            "external-id": connection.integration.external_id,
            "template-version": "2",
            "secret-arn": format!("arn:aws:secretsmanager:{region}:111122223333:secret:s-a1b2c3"),
            "credential-generation": 1,
            "rate-minutes": 15,
        });
        let claim: Claim = serde_json::from_value(claim).unwrap();
        let verdict = self.verdict(false);
        let named = (&claim.role, NamedBy::Message(&claim, None));
        self.integrations
            .record_verdict(&self.scope(), id, region, named, &verdict)
            .await
            .unwrap();
    }

    /// What a test finds: nothing is read before the account is confirmed.
    fn verdict(&self, is_confirmed: bool) -> Verdict {
        let flaw = self.flaw.lock().unwrap().clone();
        let mut is_over = false;
        let mut outcome = |check: Check| {
            if let Some((_, outcome)) = flaw.as_ref().filter(|(flawed, _)| *flawed == check) {
                is_over = Check::OF_TRUST.contains(&check);
                return outcome.clone();
            }
            let skipped = |reason: &str| Outcome::Skipped {
                reason: reason.to_owned(),
            };
            let is_read = Check::Credentials <= check && check <= Check::EcrBatchCheckLayerAvailability;
            match check {
                _ if is_over => skipped("the role is not trusted"),
                _ if is_read && !is_confirmed => skipped("the account is not confirmed"),
                Check::EventPath => {
                    Outcome::Unknown(Problem::new("event_path_unproven", "No heartbeat yet.", "Wait."))
                }
                _ => Outcome::Passed,
            }
        };
        let probes = CHECKS
            .map(|check| Probe {
                check,
                outcome: outcome(check),
            })
            .into();
        Verdict {
            at: SystemClock.now(),
            request: RequestId::generate(&OsRandomness),
            probes,
        }
    }

    async fn test(&self, request: VerifyRequest) {
        let (scope, id, region) = (request.scope(), &request.integration, &request.region);
        let connection = self.connection(id).await;
        let stored = &connection.regions[region];
        let is_confirmed = connection.integration.account.is_some() || request.role.is_some();
        let verdict = self.verdict(is_confirmed);
        let named = match (&request.role, stored.trust.role()) {
            (Some(role), _) => (role, NamedBy::Tenant(request.said_at)),
            (None, Some(role)) => (role, NamedBy::Nobody(stored.claim_at)),
            (None, None) => panic!("the console has asked for a test without a role"),
        };
        self.integrations
            .record_verdict(&scope, id, region, named, &verdict)
            .await
            .unwrap();
    }
}

/// The verifier: takes what the console has queued, and stores what it finds.
async fn verify(world: Arc<World>) {
    loop {
        for request in world.queues.take_verifications() {
            // As long as a test takes that a person can see under way.
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.test(request).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The notifier: makes each attempt that is queued, once, and notes what was answered.
async fn notify(world: Arc<World>) {
    loop {
        for (request, _) in world.notifies.take() {
            let scope = request.scope();
            let NotifyRequest::Deliver {
                webhook,
                notification,
                attempt,
                ..
            } = request
            else {
                continue;
            };
            let began_at = SystemClock.now();
            let begun = world
                .webhooks
                .begin(&scope, &webhook, &notification, attempt, began_at);
            let Begun::Ours(webhook) = begun.await.unwrap() else {
                continue;
            };
            tokio::time::sleep(Duration::from_millis(300)).await;
            let status = world.answer.load(Ordering::SeqCst);
            let outcome = match status {
                200..=299 => Sent::Taken { status },
                _ => Sent::Refused {
                    status,
                    retry_after: None,
                },
            };
            let at = SystemClock.now();
            let attempt = (&notification, attempt);
            let finished =
                world
                    .webhooks
                    .finish(&scope, &webhook, attempt, (outcome, began_at), at, &OsRandomness);
            finished.await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
