use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use portwarden_console::{
    auth::{HttpFetch, IssuerSettings},
    context::{Context, CountRequests, Outside, Place},
    handler,
};
use portwarden_core::{
    access::{ApiKeys, Members, Person, Role, Sessions, Token},
    clock::{Clock as _, ManualClock},
    id::TenantId,
    notification::MemoryNotifies,
    object::MemoryObjects,
    random::OsRandomness,
    scope::{OperatorScope, TenantScope},
    store::{MemoryStore, Store},
    tenant::Tenants,
    tenant_template::launch::LaunchPad,
    webhook::WebhookKey,
    work::MemoryQueues,
};
use portwarden_testkit::issuer::IssuerServer;
use serde_json::Value;
use tower::ServiceExt as _;

/// A console with two tenants: Ada administers the first one and Rex reads it, Zoe administers the second one, Olga is an
/// operator, and Sam is nobody.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) issuer: IssuerServer,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) queues: Arc<MemoryQueues>,
    pub(crate) notifies: Arc<MemoryNotifies>,
    pub(crate) objects: Arc<MemoryObjects>,
    pub(crate) clock: ManualClock,
    pub(crate) tenants: [TenantId; 2],
    pub(crate) failures: Arc<Failures>,
}

#[derive(Default)]
pub(crate) struct Failures(AtomicUsize);

impl CountRequests for Failures {
    fn failed(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Failures {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// An answer, read whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn webhook_key() -> WebhookKey {
    WebhookKey::parse("a-key-of-thirty-two-characters-00".to_owned().into()).unwrap()
}

pub(crate) fn operator() -> OperatorScope {
    OperatorScope::of_this_process()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(|store| store).await
    }

    /// A console that sees its table through something.
    pub(crate) async fn over(seen: impl FnOnce(Arc<MemoryStore>) -> Arc<dyn Store>) -> Self {
        let people = [
            ("ada", "Ada"),
            ("rex", "Rex"),
            ("zoe", "Zoe"),
            ("olga", "Olga"),
            ("sam", "Sam"),
        ];
        let issuer = IssuerServer::start("portwarden", &people).await.unwrap();
        let store = Arc::new(MemoryStore::default());
        // The issuer's own clock is the machine's, so that ours is near to it.
        let clock = ManualClock::at(portwarden_aws::SystemClock.now());
        let now = clock.now();
        let members = Members::new(store.clone());
        let mut tenants = Vec::new();
        for (name, administrator, reader) in [("Shop", "ada", Some("rex")), ("Bank", "zoe", None)] {
            let tenant = Tenants::new(store.clone())
                .create(operator(), name, now, &OsRandomness)
                .await
                .unwrap();
            let scope = operator().tenant(tenant.id.clone());
            let roles = [(Some(administrator), Role::Administrator), (reader, Role::Reader)];
            for (subject, role) in roles {
                let Some(subject) = subject else { continue };
                let person = Person::proven(issuer.issuer(), subject, subject);
                members.add(operator(), &scope, &person, role, now).await.unwrap();
            }
            tenants.push(tenant.id);
        }
        let olga = Person::proven(issuer.issuer(), "olga", "Olga");
        members.add_operator(operator(), &olga, now).await.unwrap();
        let queues = Arc::new(MemoryQueues::default());
        let notifies = Arc::new(MemoryNotifies::default());
        let objects = Arc::new(MemoryObjects::default());
        let failures = Arc::new(Failures::default());
        let outside = Outside {
            store: seen(store.clone()),
            objects: objects.clone(),
            verifications: queues.clone(),
            notifications: notifies.clone(),
            webhook_key: Arc::new(webhook_key()),
            queues: queues.clone(),
            clock: Arc::new(clock.clone()),
            randomness: Arc::new(OsRandomness),
            counts: failures.clone(),
            fetch: Arc::new(HttpFetch::default()),
        };
        let place = Place {
            console_url: "https://console.example".to_owned(),
            events_url: "https://console.example/v1/events".to_owned(),
            connector: "arn:aws:iam::999988887777:role/portwarden-connector"
                .parse()
                .unwrap(),
            launch_pad: LaunchPad::new("https://templates.example/t".to_owned()),
            is_emulated: false,
        };
        let settings = IssuerSettings {
            issuer: issuer.issuer().parse().unwrap(),
            client_id: "portwarden".to_owned(),
            audience: None,
        };
        let router = handler::router(Arc::new(Context::new(outside, place, settings)));
        Self {
            router,
            issuer,
            store,
            queues,
            notifies,
            objects,
            clock,
            tenants: tenants.try_into().unwrap(),
            failures,
        }
    }

    /// Seconds, as tokens count them.
    pub(crate) fn seconds(&self) -> u64 {
        u64::try_from(self.clock.now().as_second()).unwrap()
    }

    pub(crate) fn token(&self, subject: &str) -> String {
        self.issuer.token(subject, self.seconds())
    }

    pub(crate) fn person(&self, subject: &str) -> Person {
        Person::proven(self.issuer.issuer(), subject, subject)
    }

    pub(crate) fn scope(&self, index: usize) -> TenantScope {
        operator().tenant(self.tenants[index].clone())
    }

    pub(crate) async fn api_key(&self, index: usize, role: Role) -> String {
        let now = self.clock.now();
        let until = now + SignedDuration::from_hours(1);
        let made = ApiKeys::new(self.store.clone())
            .create(&self.scope(index), "ci", role, (now, until), &OsRandomness)
            .await;
        made.unwrap().1.expose().to_owned()
    }

    pub(crate) async fn session(&self, subject: &str) -> Token {
        let opened = Sessions::new(self.store.clone())
            .open(self.person(subject), self.clock.now(), &OsRandomness)
            .await;
        opened.unwrap()
    }

    /// The path of something of a tenant's.
    pub(crate) fn path(&self, index: usize, rest: &str) -> String {
        format!("/v1/tenants/{}{rest}", self.tenants[index])
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Sends a request with a bearer token and, if there is one, a JSON body.
    pub(crate) async fn call(&self, bearer: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_with(bearer, method, path, body, &[]).await
    }

    pub(crate) async fn call_with(
        &self,
        bearer: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !bearer.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, bearer: &str, path: &str) -> Answer {
        self.call(bearer, Method::GET, path, None).await
    }
}
