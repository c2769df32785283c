//! What attackers try on connections, in one local cloud whose functions' calls to AWS are all seen: each attack is refused
//! by name and leaves nothing behind, and the rightful party may do the same. `docs/attacks.md` lists them.

use std::sync::Arc;

use portwarden_core::{
    id::AccountId,
    verdict::{Check, Conclusion, Verdict},
};
use portwarden_local::{Identity, LocalCloud, Tenant, TenantPlan, destination::BasicAuth};
use portwarden_testkit::proxy::{FaultyProxy, Plan};
use reqwest::{Client, StatusCode, Url};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{
    connect::Connecting,
    console::Caller,
    faults::depth,
    trust::{allow, code, role},
    world::{World, changed_template, eventually, options},
};

mod claims;
mod ids;
mod roles;
mod sessions;
mod witness;

use witness::{Mark, Opening, Witness};

/// Nothing fails by chance.
const NO_FAULTS: Plan = Plan {
    seed: 0,
    per_mille: 0,
};

/// How many tenants there are beside the attacker and the victim.
const BYSTANDERS: u64 = 4;

/// A cloud with its parties.
struct Scene<'a> {
    world: &'a World,
    caller: &'a Caller<'a>,
    witness: &'a Witness,
    /// Who tries everything.
    attacker: &'a Tenant,
    /// Who has done nothing, and must not notice anything.
    victim: &'a Tenant,
}

/// What came of naming a role.
struct Tried {
    verdict: Verdict,
    /// What STS was asked in the tenants' accounts for it.
    openings: Vec<Opening>,
}

/// What the endpoint answered: the status, the header Retry-After and the body.
type Answer = (StatusCode, Option<String>, String);

/// The answer to whoever is not accepted, whatever the reason.
fn is_the_one_refusal(answer: &Answer) -> bool {
    answer.0 == StatusCode::TOO_MANY_REQUESTS && answer.1.as_deref() == Some("60")
}

impl<'a> Scene<'a> {
    /// Makes an integration, as its administrator does.
    async fn integration(&self, tenant: &'a Tenant) -> Connecting<'a> {
        let new = json!({"name": "n", "regions": [tenant.account.region()], "classic": {"username": "shop"}});
        Connecting::start(self.caller, tenant, new).await
    }

    /// Names a role for an integration and waits for what the test of it finds.
    async fn name_role(&self, of: &Connecting<'_>, region: &str, role: &str) -> Tried {
        let since = self.witness.mark();
        let path = format!("/regions/{region}/verification");
        let (status, queued) = of.post(&path, json!({ "role_arn": role })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{queued}");
        let verdict = eventually("the verdict is there", async || {
            let shown = of.get("").await;
            let verdict = &shown["regions"][region]["verdict"];
            (verdict["request"] == queued["request"]).then(|| verdict.clone())
        })
        .await;
        let name = format!("verify-{}", queued["request"].as_str().unwrap());
        let mut openings = self.witness.openings(since);
        openings.retain(|opening| opening.name == name);
        Tried {
            verdict: serde_json::from_value(verdict).unwrap(),
            openings,
        }
    }

    /// Tells what is known of the role of a region: `proven`, `refused` and so on.
    async fn trust(&self, of: &Connecting<'_>, region: &str) -> Value {
        of.get("").await["regions"][region]["trust"]["state"].clone()
    }

    /// Sends an event to an integration's endpoint.
    async fn send(&self, to: &str, auth: Option<&BasicAuth>, event: &Value) -> Answer {
        let url: Url = format!("{}/v1/events/{to}", self.caller.api).parse().unwrap();
        let mut request = Client::new()
            .post(url)
            .header("content-type", "application/json; charset=utf-8")
            .body(event.to_string());
        if let Some(auth) = auth {
            request = request.basic_auth(&auth.username, Some(auth.password.expose_secret()));
        }
        let answer = request.send().await.unwrap();
        let retry_after = answer.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        (answer.status(), retry_after, answer.text().await.unwrap())
    }

    /// Makes a role in an account that is as the template's: it trusts us with one id, and may do what is needed.
    async fn right_role(&self, tenant: &Tenant, name: &str, external_id: &str) -> String {
        let made = role(self.world, tenant, name, Some(demands(external_id)), &[]).await;
        allow(self.world, tenant, &made, &["ecr:*", "iam:GetRole"]).await;
        made.to_string()
    }

    /// Waits until everything that is queued is done.
    async fn settle(&self) {
        for queue in ["VerifyQueueUrl", "InventoryQueueUrl"] {
            eventually("what is queued is done", async || {
                (depth(self.world, queue).await == 0).then_some(())
            })
            .await;
        }
    }

    /// Counts what was queued in a queue of the operator's stack for something, by its id.
    fn queued(&self, queue: &'static str, of: &str, since: Mark) -> usize {
        let queue = self.world.cloud.stack().output(queue).unwrap();
        self.witness.queued(queue, of, since)
    }

    /// Asserts that nothing was done for the victim, in its account or with what is stored of it.
    fn assert_unharmed(&self, since: Mark) {
        let victim = self.victim;
        assert_eq!(self.witness.effects(victim.integration.as_str(), since), [""; 0]);
        let calls = self.witness.calls_of(&victim.role, since);
        assert!(calls.is_empty(), "{calls:?}");
    }
}

impl Tried {
    /// Tells what was found: the conclusion, and the code of one check.
    fn found(&self, check: Check) -> (Conclusion, Option<&str>) {
        (self.verdict.conclusion(), code(&self.verdict, check))
    }
}

/// The condition of a role that opens with one id only.
fn demands(external_id: &str) -> Value {
    json!({"StringEquals": {"sts:ExternalId": external_id}})
}

#[tokio::test(flavor = "multi_thread")]
async fn attackers_get_nothing_and_leave_nothing_behind() {
    let mut options = options("attacks");
    let region = options.tenants[0].region.clone();
    options.tenants.extend((0..BYSTANDERS).map(|number| {
        TenantPlan {
            name: format!("Bystander {number}"),
            account: (700_000_000_000 + number)
                .to_string()
                .parse::<AccountId>()
                .unwrap(),
            region: region.clone(),
            identity: Identity::New,
        }
    }));
    // Few processes, so that tenants meet in one.
    let (from, to) = ("MaximumConcurrency: 20", "MaximumConcurrency: 2");
    options.template = changed_template(&options, "ScannerFunction", from, to);
    let emulator = options.start_emulator().await.unwrap();
    let witness = Arc::new(Witness::default());
    let proxy = FaultyProxy::start_tapped(&emulator.endpoint(), NO_FAULTS, witness.clone())
        .await
        .unwrap();
    options.functions_endpoint = Some(proxy.url());
    let mut cloud = LocalCloud::deploy(emulator, &options).await.unwrap();
    cloud.connect(&options.tenants).await.unwrap();
    let world = World { cloud };
    let caller = Caller::new(&world);
    let [attacker, victim] = [world.tenant(0), world.tenant(1)];
    let scene = Scene {
        world: &world,
        caller: &caller,
        witness: &witness,
        attacker: &attacker,
        victim: &victim,
    };
    let started = tokio::time::Instant::now();
    let told = async |attack: &str| {
        // What the rightful party's test leads to is no effect of the next attack.
        scene.settle().await;
        println!("attacks: {attack} by {:.1?}", started.elapsed());
    };
    scene.settle().await;
    ids::an_id_is_ours_and_never_given_twice(&scene).await;
    told("A5 and A6").await;
    ids::a_removed_integration_opens_nothing_again(&scene).await;
    told("A7").await;
    roles::our_own_account_and_roles_are_nobodys(&scene).await;
    told("A9").await;
    roles::hostile_arns_are_refused_before_anything_is_done(&scene).await;
    told("A10").await;
    roles::a_session_of_another_account_is_not_used(&scene).await;
    told("A12").await;
    roles::a_refusal_that_was_not_heard_proves_nothing(&scene).await;
    told("A14").await;
    roles::a_test_tells_nothing_of_roles_of_others(&scene).await;
    told("A15").await;
    claims::a_launch_link_tells_whose_it_is_and_its_stack_ends_it(&scene).await;
    told("A19").await;
    claims::a_flood_of_claims_is_one_test_a_minute(&scene).await;
    told("A20").await;
    sessions::a_role_that_changes_after_its_test_opens_nothing(&scene).await;
    told("A8").await;
    sessions::tenants_in_one_process_each_use_their_own_session(&scene).await;
    told("A13").await;
    sessions::an_administrators_role_is_only_read_with(&scene).await;
    told("A16").await;
    world.cloud.shutdown().await;
}
