//! Connecting accounts as tenants do: a link, a stack, a claim and a click, or the classic way, in two regions of one account
//! and in another account.

use std::{collections::BTreeSet, time::Duration};

use portwarden_core::{id::AccountId, work::KnownBy};
use portwarden_local::{Launched, Tenant, destination::BasicAuth};
use portwarden_oci::Digest;
use reqwest::{Client, Method, StatusCode, Url};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    console::{ADMINISTRATOR, Caller},
    reconcile::{plain, push_untold},
    world::{World, eventually, scope},
};

/// An integration as its administrator sees it through the API.
pub(crate) struct Connecting<'a> {
    caller: &'a Caller<'a>,
    tenant: &'a Tenant,
    pub(crate) id: String,
    /// What the API answered when it was made.
    pub(crate) made: Value,
}

impl<'a> Connecting<'a> {
    pub(crate) async fn start(caller: &'a Caller<'a>, tenant: &'a Tenant, new: Value) -> Self {
        let path = format!("/v1/tenants/{}/integrations", tenant.id);
        let (status, made) = caller.call(ADMINISTRATOR, Method::POST, &path, Some(new)).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        Self {
            caller,
            tenant,
            id: made["id"].as_str().unwrap().to_owned(),
            made,
        }
    }

    /// Creates the stack of a region by its link.
    pub(crate) async fn launch(
        &self,
        account: &AccountId,
        region: &str,
        credentials: Option<BasicAuth>,
    ) -> Launched {
        let links = self.made["links"].as_array().unwrap();
        let link = links.iter().find(|link| link["region"] == region).unwrap();
        let link = link["link"].as_str().unwrap();
        let cloud = &self.caller.world().cloud;
        cloud.launch(link, account, credentials).await.unwrap()
    }

    pub(crate) async fn get(&self, rest: &str) -> Value {
        let (status, body) = self.ask(Method::GET, rest, None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    pub(crate) async fn post(&self, rest: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, rest, Some(body)).await
    }

    pub(crate) async fn ask(&self, method: Method, rest: &str, body: Option<Value>) -> (StatusCode, Value) {
        let path = format!("/v1/tenants/{}/integrations/{}{rest}", self.tenant.id, self.id);
        self.caller.call(ADMINISTRATOR, method, &path, body).await
    }

    /// Waits until a region's role is in a state.
    pub(crate) async fn until(&self, region: &str, state: &str) -> Value {
        let what = format!("the role in {region} is {state}");
        eventually(&what, async || {
            let shown = self.get("").await;
            (shown["regions"][region]["trust"]["state"] == state).then_some(shown)
        })
        .await
    }

    /// Sends heartbeats until one is accepted: then both directions are proven.
    pub(crate) async fn until_green(&self, stack: &Launched) {
        let region = stack.account.region().as_str();
        eventually("a heartbeat is accepted", async || {
            let answer = stack.send(&stack.heartbeat()).await.unwrap();
            sleep(Duration::from_millis(500)).await;
            (answer == 202).then_some(())
        })
        .await;
        let shown = self.get("").await;
        assert_eq!(shown["regions"][region]["green"], true, "{shown:#}");
    }

    /// Returns the purposes of the sessions that were opened so far, and the roles that opened them.
    pub(crate) async fn sessions(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let receipts = self.get("/receipts").await;
        let items = receipts["items"].as_array().unwrap();
        let field = |name: &str| {
            let values = items.iter().map(|item| item[name].as_str().unwrap().to_owned());
            values.collect()
        };
        (field("purpose"), field("role"))
    }
}

/// Sends an event once, with anybody's credentials.
pub(crate) async fn send_to(url: &Url, auth: &BasicAuth, event: &Value) -> StatusCode {
    let request = Client::builder().no_proxy().build().unwrap().post(url.clone());
    let sent = request
        .basic_auth(&auth.username, Some(auth.password.expose_secret()))
        .header("content-type", "application/json; charset=utf-8")
        .body(event.to_string())
        .send();
    sent.await.unwrap().status()
}

/// Pushes an image of its own to an account's registry, before anybody watches it.
async fn push_before(world: &World, account: &AccountId, region: &str) -> Digest {
    let account = world.cloud.account(account, &region.parse().unwrap());
    push_untold(&account, "shop/web", "1", &plain(&account.registry())).await
}

/// Asserts that an image that was there before is found and reported.
async fn assert_found(world: &World, tenant: &Tenant, digest: &Digest) {
    world.cloud.report(&tenant.id, digest).await.unwrap();
    let location = world.location(tenant, digest, |_| true).await;
    assert_eq!(location.known_by, KnownBy::Backfill);
}

async fn assert_unknown(world: &World, tenant: &Tenant, digest: &Digest) {
    let locations = world.images().locations(&scope(tenant), digest).await;
    assert_eq!(locations.unwrap(), []);
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_connected_by_a_link_and_a_click_in_two_regions_and_another_one_beside_it() {
    let world = World::start("quick").await;
    let [a, b] = [world.tenant(0), world.tenant(1)];
    let caller = Caller::new(&world);
    let [first, other] = ["400000000004", "500000000005"].map(|account| account.parse().unwrap());
    let before = push_before(&world, &first, "us-east-1").await;
    let before_elsewhere = push_before(&world, &first, "eu-west-1").await;
    let before_of_other = push_before(&world, &other, "us-east-1").await;

    // The link has all that is needed, and the stack's own message is the claim.
    let new = json!({"name": "quick", "regions": ["us-east-1"]});
    let connecting = Connecting::start(&caller, &a, new).await;
    assert_eq!(connecting.made["password"], Value::Null, "nobody has to know one");
    let stack = connecting.launch(&first, "us-east-1", None).await;
    let created = stack.status("CREATE_COMPLETE");
    assert_eq!(created["detail"]["external-id"], connecting.made["external_id"]);
    let mut foreign = created.clone();
    foreign["detail"]["external-id"] = json!("pw-00000000000000000000000000");
    foreign["detail"]["role-arn"] = json!(format!("{}-other", stack.role));
    for claim in [&foreign, &created] {
        assert_eq!(stack.send(claim).await.unwrap(), 429, "nothing is proven yet");
    }

    // The role is proven, and nothing is read before the click.
    let proposed = connecting.until("us-east-1", "proposed").await;
    assert_eq!(proposed["account"], Value::Null);
    let region = &proposed["regions"]["us-east-1"];
    assert_eq!(
        (&region["trust"]["role"], &region["usernames"]),
        (&json!(stack.role), &json!([]))
    );
    let role = set(&[stack.role.as_str()]);
    assert_eq!(connecting.sessions().await, (set(&["proof"]), role));
    assert_unknown(&world, &a, &before).await;
    assert_eq!(stack.send(&stack.heartbeat()).await.unwrap(), 429);

    let (status, confirmed) = connecting.post("/confirmation", json!({})).await;
    assert_eq!(
        (status, &confirmed["account"]),
        (StatusCode::OK, &json!(first)),
        "{confirmed}"
    );
    let proven = connecting.until("us-east-1", "proven").await;
    assert_eq!(
        proven["regions"]["us-east-1"]["green"], false,
        "no event has come: {proven:#}"
    );
    connecting.until_green(&stack).await;
    assert_found(&world, &a, &before).await;
    connect_another_region(&connecting, &stack).await;
    assert_found(&world, &a, &before_elsewhere).await;

    // An account that was named beforehand needs no click, and another's stack does not count for it.
    let new = json!({"name": "named", "regions": ["us-east-1"], "account": other});
    let named = Connecting::start(&caller, &b, new).await;
    let beside = named.launch(&other, "us-east-1", None).await;
    let created = beside.status("CREATE_COMPLETE");
    let mut of_stranger = created.clone();
    of_stranger["account"] = json!(first);
    of_stranger["detail"]["role-arn"] = json!(stack.role);
    for claim in [&of_stranger, &created] {
        assert_eq!(beside.send(claim).await.unwrap(), 429);
    }
    named.until("us-east-1", "proven").await;
    named.until_green(&beside).await;
    assert_found(&world, &b, &before_of_other).await;
    let (_, roles) = named.sessions().await;
    assert_eq!(roles, set(&[beside.role.as_str()]));

    // Neither tenant has anything of the other's, and credentials open their own endpoint only.
    assert_ne!(connecting.made["external_id"], named.made["external_id"]);
    for (tenant, digest) in [(&a, &before_of_other), (&b, &before), (&b, &before_elsewhere)] {
        assert_unknown(&world, tenant, digest).await;
    }
    let beat = stack.heartbeat();
    assert_eq!(send_to(&beside.events_url, &stack.auth, &beat).await, 429);
    assert_eq!(send_to(&stack.events_url, &stack.auth, &beat).await, 202);
    let (_, roles) = connecting.sessions().await;
    assert!(!roles.contains(beside.role.as_str()), "{roles:?}");
    world.cloud.shutdown().await;
}

/// In another region nothing but the stack is needed: it is another region of the same integration.
async fn connect_another_region(connecting: &Connecting<'_>, stack: &Launched) {
    let coverage = eventually("the other regions were looked at", async || {
        let coverage = connecting.get("/coverage").await;
        (coverage["elsewhere"] != Value::Null).then_some(coverage)
    })
    .await;
    let unwatched = coverage["unwatched"].as_array().unwrap();
    let [link] = &unwatched[..] else {
        panic!("one region has a repository that nobody watches: {coverage:#}")
    };
    assert_eq!(link["region"], "eu-west-1");
    let account = stack.account.id();
    let cloud = &connecting.caller.world().cloud;
    let further = cloud.launch(link["link"].as_str().unwrap(), account, None).await;
    let further = further.unwrap();
    let created = further.status("CREATE_COMPLETE");
    eventually("the region is added", async || {
        // One claim in a minute is looked at; EventBridge, too, repeats it.
        further.send(&created).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let shown = connecting.get("").await;
        (shown["regions"]["eu-west-1"]["trust"]["state"] == "proven").then_some(())
    })
    .await;
    connecting.until_green(&further).await;
    let shown = connecting.get("").await;
    assert_eq!(shown["regions"].as_object().unwrap().len(), 2, "{shown:#}");
    for (region, stack) in [("us-east-1", stack), ("eu-west-1", &further)] {
        assert_eq!(shown["regions"][region]["trust"]["role"], json!(stack.role));
        assert_eq!(shown["regions"][region]["green"], true, "{shown:#}");
    }
    let purposes = set(&["credentials", "names", "proof", "registry"]);
    assert_eq!(connecting.sessions().await.0, purposes);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_connected_the_classic_way_in_two_regions_and_beside_each_other() {
    let world = World::start("classic").await;
    let [a, b] = [world.tenant(0), world.tenant(1)];
    let caller = Caller::new(&world);
    let accounts: [AccountId; 2] = ["400000000004", "500000000005"].map(|account| account.parse().unwrap());
    let both = ["us-east-1", "eu-west-1"];
    let mut connected = Vec::new();
    for (tenant, account, regions) in [(&a, &accounts[0], &both[..]), (&b, &accounts[1], &both[..1])] {
        // Credentials are chosen.
        let new = json!({"name": "classic", "regions": regions, "classic": {"username": "shop"}});
        let connecting = Connecting::start(&caller, tenant, new).await;
        let password = connecting.made["password"].as_str().unwrap().to_owned();
        let shown = connecting.get("").await.to_string();
        assert!(!shown.contains(&password), "it is shown once");
        let auth = BasicAuth {
            username: "shop".to_owned(),
            password: password.into(),
        };
        let mut stacks = Vec::new();
        for region in regions {
            let before = push_before(&world, account, region).await;
            // Four parameters are given to the stack, of which the link has two and the person the others.
            let stack = connecting.launch(account, region, Some(auth.clone())).await;
            // A further region of the account is believed what it says with the same credentials.
            let is_further = !stacks.is_empty();
            let expected = if is_further { 202 } else { 429 };
            assert_eq!(stack.send(&stack.heartbeat()).await.unwrap(), expected);
            // The role is copied back and saved, which tests it.
            let verification = format!("/regions/{region}/verification");
            let (status, queued) = connecting
                .post(&verification, json!({"role_arn": stack.role}))
                .await;
            assert_eq!(status, StatusCode::ACCEPTED, "{queued}");
            let proven = connecting.until(region, "proven").await;
            assert_eq!(
                proven["account"],
                json!(account),
                "who types a role names its account"
            );
            assert_eq!(proven["regions"][region]["usernames"], json!(["shop"]));
            connecting.until_green(&stack).await;
            assert_found(&world, tenant, &before).await;
            stacks.push((stack, before));
        }
        let (purposes, _) = connecting.sessions().await;
        assert!(
            !purposes.contains("credentials"),
            "no secret is read: {purposes:?}"
        );
        connected.push((connecting, stacks));
    }
    let [(of_a, stacks_of_a), (of_b, stacks_of_b)] = &connected[..] else {
        panic!("there are two")
    };
    // One tenant's role cannot be typed into the other's integration, nor do its credentials open it.
    let (theirs, ours) = (&stacks_of_a[0].0, &stacks_of_b[0].0);
    let beat = ours.heartbeat();
    assert_eq!(send_to(&ours.events_url, &theirs.auth, &beat).await, 429);
    assert_eq!(send_to(&ours.events_url, &ours.auth, &beat).await, 202);
    let (status, _) = of_b
        .post(
            "/regions/us-east-1/verification",
            json!({"role_arn": theirs.role}),
        )
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    eventually("the verdict is there", async || {
        let shown = of_b.get("").await;
        let verdict = shown["regions"]["us-east-1"]["verdict"].to_string();
        verdict.contains("role_of_other_account").then_some(())
    })
    .await;
    for (connecting, role) in [(of_a, &theirs.role), (of_b, &ours.role)] {
        let shown = connecting.until("us-east-1", "proven").await;
        assert_eq!(shown["regions"]["us-east-1"]["trust"]["role"], json!(role));
    }
    for (_, digest) in stacks_of_a {
        assert_unknown(&world, &b, digest).await;
    }
    assert_unknown(&world, &a, &stacks_of_b[0].1).await;
    world.cloud.shutdown().await;
}
