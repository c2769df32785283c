//! The console in the local cloud: the real function, under its own role, behind the HTTP API.

use portwarden_core::{access::Role, clock::Clock as _};
use reqwest::{Client, Method, StatusCode, header, redirect::Policy};
use serde_json::{Value, json};

use crate::world::World;

pub(crate) const ADMINISTRATOR: &str = "demonstration-administrator";
pub(crate) const READER: &str = "demonstration-reader";

/// Programs that call the console's API with people's tokens.
pub(crate) struct Caller<'a> {
    pub(crate) api: String,
    client: Client,
    world: &'a World,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        let client = Client::builder().no_proxy().redirect(Policy::none());
        Self {
            api: world.cloud.api().unwrap(),
            client: client.build().unwrap(),
            world,
        }
    }

    pub(crate) fn world(&self) -> &'a World {
        self.world
    }

    pub(crate) fn token(&self, subject: &str) -> String {
        let now = u64::try_from(portwarden_aws::SystemClock.now().as_second()).unwrap();
        self.world.cloud.issuer().token(subject, now)
    }

    pub(crate) async fn call(
        &self,
        subject: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.api));
        if !subject.is_empty() {
            request = request.bearer_auth(self.token(subject));
        }
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (
            status,
            serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default(),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_use_the_console_and_strangers_do_not() {
    let world = World::start("console").await;
    let [a, b] = [world.tenant(0), world.tenant(1)];
    let caller = Caller::new(&world);
    let of = |tenant: &portwarden_local::Tenant, rest: &str| format!("/v1/tenants/{}{rest}", tenant.id);

    let (status, _) = caller.call("", Method::GET, "/v1/me", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, me) = caller.call(ADMINISTRATOR, Method::GET, "/v1/me", None).await;
    assert_eq!(status, StatusCode::OK, "{me}");
    assert_eq!(me["tenants"].as_array().unwrap().len(), 2);
    assert_eq!(me["tenants"][0]["role"], Role::Administrator.name());

    let (_, listed) = caller
        .call(ADMINISTRATOR, Method::GET, &of(&a, "/integrations"), None)
        .await;
    let region = a.account.region().as_str();
    let connected = &listed["items"][0];
    assert_eq!(
        connected["regions"][region]["trust"]["state"], "proven",
        "{listed}"
    );
    for tenant in [&a, &b] {
        let (status, _) = caller
            .call("stranger", Method::GET, &of(tenant, "/integrations"), None)
            .await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }

    // Writes under conditions, deletions and the queue are allowed, and work.
    let new = json!({"name": "other", "regions": ["eu-west-1"]});
    let (status, _) = caller
        .call(READER, Method::POST, &of(&a, "/integrations"), Some(new.clone()))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, made) = caller
        .call(ADMINISTRATOR, Method::POST, &of(&a, "/integrations"), Some(new))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let verify = format!(
        "/integrations/{}/regions/{region}/verification",
        connected["id"].as_str().unwrap()
    );
    let (status, queued) = caller
        .call(ADMINISTRATOR, Method::POST, &of(&a, &verify), Some(json!({})))
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{queued}");
    let key = json!({"name": "ci", "role": "reader", "days": 1});
    let (status, key) = caller
        .call(ADMINISTRATOR, Method::POST, &of(&a, "/api-keys"), Some(key))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{key}");
    let one = format!("/api-keys/{}", key["id"].as_str().unwrap());
    let (status, _) = caller
        .call(ADMINISTRATOR, Method::DELETE, &of(&a, &one), None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    // What the bucket does not have is not there, and no failure.
    let digest = format!("/images/sha256:{}/report", "0".repeat(64));
    let (status, _) = caller
        .call(ADMINISTRATOR, Method::GET, &of(&a, &digest), None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    a_browser_signs_in(&caller, &a).await;
}

/// The cookies pass the HTTP API, and the issuer is asked.
async fn a_browser_signs_in(caller: &Caller<'_>, tenant: &portwarden_local::Tenant) {
    let cloud = &caller.world.cloud;
    let start = caller
        .client
        .get(format!("{}/sign-in/start?return_to=/", caller.api))
        .send()
        .await
        .unwrap();
    assert_eq!(start.status(), StatusCode::SEE_OTHER);
    let location = start.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(cloud.issuer().issuer()), "{location}");
    let cookie = start.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let answered = caller
        .client
        .get(format!("{location}&login_hint={ADMINISTRATOR}"))
        .send()
        .await
        .unwrap();
    let callback = answered.headers()["location"].to_str().unwrap();
    let callback = callback.strip_prefix(cloud.console().unwrap()).unwrap();
    let done = caller
        .client
        .get(format!("{}{callback}", caller.api))
        .header("cookie", cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    let session = done
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().unwrap());
    let mut session = session;
    let session = session
        .find(|value| value.starts_with("__Host-portwarden="))
        .unwrap()
        .to_owned();
    let page = format!("{}/tenants/{}", caller.api, tenant.id);
    let page = caller
        .client
        .get(page)
        .header("cookie", session.split(';').next().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("Demonstration administrator"));
}
