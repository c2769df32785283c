//! A9, A10, A12, A14 and A15: roles that attackers name.

use std::collections::BTreeMap;

use portwarden_core::{
    arn::RoleArn,
    verdict::{Check, Conclusion, Verdict},
};
use portwarden_testkit::proxy::Fault;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Opening, Scene, Tried, claims::claim, is_the_one_refusal, witness::Meddling};
use crate::{connect::Connecting, console::ADMINISTRATOR, world::eventually};

pub(super) async fn our_own_account_and_roles_are_nobodys(scene: &Scene<'_>) {
    let Scene { world, witness, .. } = scene;
    let tenant = scene.attacker;
    let region = tenant.account.region().as_str();
    let ours = world.cloud.operator();
    let since = witness.mark();
    let path = format!("/v1/tenants/{}/integrations", tenant.id);
    let new = json!({"name": "n", "regions": [region], "account": ours.id()});
    let (status, told) = scene
        .caller
        .call(ADMINISTRATOR, Method::POST, &path, Some(new))
        .await;
    let account_ours = (StatusCode::CONFLICT, json!("account_ours"));
    assert_eq!((status, told["code"].clone()), account_ours);
    assert_eq!(witness.effects(tenant.id.as_str(), since), [""; 0]);

    let new = json!({"name": "n", "regions": [region]});
    let connecting = Connecting::start(scene.caller, tenant, new).await;
    let since = witness.mark();
    let (status, told) = connecting
        .post("/confirmation", json!({ "account": ours.id() }))
        .await;
    assert_eq!((status, told["code"].clone()), account_ours);
    assert_eq!(witness.effects(&connecting.id, since), [""; 0]);
    for output in ["ConnectorRoleArn", "CanaryRoleArn"] {
        let role = world.cloud.stack().output(output).unwrap();
        let tried = scene.name_role(&connecting, region, role).await;
        assert_eq!(
            tried.found(Check::NotOurs),
            (Conclusion::Refused, Some("role_in_our_account")),
            "{output}"
        );
        assert_eq!(tried.openings, [], "{output}");
    }
    // By a stack's message, too.
    let new = json!({"name": "n", "regions": [region]});
    let connecting = Connecting::start(scene.caller, tenant, new).await;
    let connector = world.cloud.stack().output("ConnectorRoleArn").unwrap();
    let external_id = connecting.made["external_id"].as_str().unwrap();
    let since = witness.mark();
    let answer = scene
        .send(&connecting.id, None, &claim(ours, connector, external_id))
        .await;
    assert!(is_the_one_refusal(&answer), "{answer:?}");
    eventually("what it claims is refused", async || {
        let shown = connecting.get("").await;
        let verdict = shown["regions"][region]["verdict"].to_string();
        verdict.contains("role_in_our_account").then_some(())
    })
    .await;
    assert_eq!(witness.openings(since), []);
    opens_for_its_owner(scene, "not-ours").await;
}

/// Asserts that a role of the attacker's own that is as it must be is trusted.
async fn opens_for_its_owner(scene: &Scene<'_>, name: &str) {
    let own = scene.integration(scene.attacker).await;
    let external_id = own.made["external_id"].as_str().unwrap();
    let role = scene.right_role(scene.attacker, name, external_id).await;
    let region = scene.attacker.account.region().as_str();
    let tried = scene.name_role(&own, region, &role).await;
    assert_eq!(
        tried.verdict.conclusion(),
        Conclusion::Trusted,
        "{:#?}",
        tried.verdict
    );
    assert_eq!(tried.openings[0].external_id.as_deref(), Some(external_id));
}

pub(super) async fn hostile_arns_are_refused_before_anything_is_done(scene: &Scene<'_>) {
    let tenant = scene.attacker;
    let region = tenant.account.region().as_str();
    let connecting = scene.integration(tenant).await;
    let external_id = connecting.made["external_id"].as_str().unwrap();
    let account = tenant.account.id();
    let own = format!("arn:aws:iam::{account}:role/r");
    let hostile = [
        String::new(),
        "*".to_owned(),
        format!("arn:aws-evil:iam::{account}:role/r"),
        format!("arn:aws:sts::{account}:assumed-role/r/s"),
        format!("arn:aws:iam::{account}:user/r"),
        format!("arn:aws:iam::{account}:root"),
        format!("arn:aws:iam::{account}:role/*"),
        format!("arn:aws:iam::{account}:role/"),
        "arn:aws:iam::*:role/r".to_owned(),
        "arn:aws:iam::\u{ff12}00000000002:role/r".to_owned(),
        format!("arn:aws:iam::{account}:role/\u{ff52}"),
        format!(" {own}"),
        format!("{own} "),
        format!("{own}\0"),
        format!("{own}\r\nx-injected: 1"),
        format!("{own}{}", "r".repeat(2048)),
        format!("arn:aws:iam::{account}:role/{}/r", "p".repeat(2048)),
    ];
    let since = scene.witness.mark();
    for arn in &hostile {
        let path = format!("/regions/{region}/verification");
        let (status, told) = connecting.post(&path, json!({ "role_arn": arn })).await;
        assert_eq!(
            (status, &told["code"]),
            (StatusCode::BAD_REQUEST, &json!("body_invalid")),
            "{arn:?}"
        );
        // From whoever is not known as from whoever is.
        let event = claim(&tenant.account, arn, external_id);
        let answer = scene.send(&connecting.id, None, &event).await;
        assert!(is_the_one_refusal(&answer), "{arn:?}: {answer:?}");
        let mut heartbeat = claim(&tenant.account, arn, tenant.external_id.as_str());
        heartbeat["source"] = json!("aws.events");
        heartbeat["detail-type"] = json!("Portwarden Heartbeat");
        let answer = scene
            .send(tenant.integration.as_str(), Some(&tenant.auth), &heartbeat)
            .await;
        assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{arn:?}: {answer:?}");
        assert!(answer.2.contains("event_malformed"), "{answer:?}");
    }
    for id in [connecting.id.as_str(), tenant.integration.as_str()] {
        assert_eq!(scene.witness.effects(id, since), [""; 0]);
    }
    // That a stack changed is kept as an event whatever it says of itself, and leads to nothing.
    for arn in &hostile {
        let event = claim(&tenant.account, arn, tenant.external_id.as_str());
        let answer = scene
            .send(tenant.integration.as_str(), Some(&tenant.auth), &event)
            .await;
        assert_eq!(answer.0, StatusCode::ACCEPTED, "{arn:?}: {answer:?}");
    }
    let queued = scene.queued("VerifyQueueUrl", tenant.integration.as_str(), since);
    assert_eq!(queued, 0);
    assert_eq!(scene.witness.openings(since), []);
    let tried = scene.name_role(&connecting, region, &own).await;
    assert_eq!(
        tried.openings.len(),
        1,
        "a role's ARN is tried: {:#?}",
        tried.verdict
    );
}

/// An integration of the attacker's with a role of its own that would be trusted, but for what STS is made to say.
struct Honest<'a> {
    connecting: Connecting<'a>,
    role: RoleArn,
    external_id: String,
}

impl<'a> Honest<'a> {
    async fn new(scene: &Scene<'a>, name: &str) -> Self {
        let connecting = scene.integration(scene.attacker).await;
        let external_id = connecting.made["external_id"].as_str().unwrap().to_owned();
        let role = scene.right_role(scene.attacker, name, &external_id).await;
        Self {
            connecting,
            role: role.parse().unwrap(),
            external_id,
        }
    }

    /// Names the role, with something between us and STS or nothing.
    async fn try_with(&self, scene: &Scene<'_>, meddling: Option<Meddling>) -> Tried {
        scene.witness.meddle(meddling);
        let region = scene.attacker.account.region().as_str();
        let tried = scene
            .name_role(&self.connecting, region, self.role.as_str())
            .await;
        scene.witness.meddle(None);
        tried
    }
}

pub(super) async fn a_session_of_another_account_is_not_used(scene: &Scene<'_>) {
    let honest = Honest::new(scene, "elsewhere").await;
    let (role, external_id) = (honest.role.to_string(), Some(honest.external_id.clone()));
    let [own, other] =
        [scene.attacker, scene.victim].map(|tenant| format!("arn:aws:sts::{}:", tenant.account.id()));
    let since = scene.witness.mark();
    let answer = move |opening: &Opening, answer: String| {
        if opening.role == role && opening.external_id == external_id {
            assert!(answer.contains(&own));
            answer.replace(&own, &other)
        } else {
            answer
        }
    };
    let tried = honest
        .try_with(scene, Some(Meddling::Answer(Box::new(answer))))
        .await;
    assert_eq!(
        tried.found(Check::SessionAccount),
        (Conclusion::Refused, Some("session_of_other_account"))
    );
    assert_eq!(scene.witness.calls_of(&honest.role, since), []);
    let region = scene.attacker.account.region().as_str();
    assert_eq!(scene.trust(&honest.connecting, region).await, "refused");
    scene.assert_unharmed(since);
    let tried = honest.try_with(scene, None).await;
    assert_eq!(
        tried.verdict.conclusion(),
        Conclusion::Trusted,
        "{:#?}",
        tried.verdict
    );
}

pub(super) async fn a_refusal_that_was_not_heard_proves_nothing(scene: &Scene<'_>) {
    let region = scene.attacker.account.region().as_str();
    let canary = scene
        .world
        .cloud
        .stack()
        .output("CanaryRoleArn")
        .unwrap()
        .to_owned();
    let honest = Honest::new(scene, "not-heard").await;
    let since = scene.witness.mark();
    for check in [Check::Canary, Check::RefusesNone, Check::RefusesOthers] {
        for (fault, cause) in [(Fault::Throttled, "throttled"), (Fault::Lost, "unreachable")] {
            let (canary, role) = (canary.clone(), honest.role.to_string());
            let right = Some(honest.external_id.clone());
            let meet = move |opening: &Opening| {
                let is_of_role = opening.role == role;
                let is_met = match check {
                    Check::Canary => opening.role == canary,
                    Check::RefusesNone => is_of_role && opening.external_id.is_none(),
                    _ => is_of_role && opening.external_id.is_some() && opening.external_id != right,
                };
                is_met.then_some(fault)
            };
            let meddling = Meddling::Fault(Box::new(meet));
            let tried = honest.try_with(scene, Some(meddling)).await;
            assert_eq!(
                tried.found(check),
                (Conclusion::Unknown, Some(cause)),
                "{:#?}",
                tried.verdict
            );
            assert_ne!(scene.trust(&honest.connecting, region).await, "proven");
        }
    }
    let listed = || scene.queued("InventoryQueueUrl", &honest.connecting.id, since);
    assert_eq!(listed(), 0, "what is not proven is not read");
    scene.assert_unharmed(since);
    let tried = honest.try_with(scene, None).await;
    assert_eq!(
        tried.verdict.conclusion(),
        Conclusion::Trusted,
        "{:#?}",
        tried.verdict
    );
    assert_eq!(scene.trust(&honest.connecting, region).await, "proven");
    eventually("its registry is read", async || (listed() > 0).then_some(())).await;
}

pub(super) async fn a_test_tells_nothing_of_roles_of_others(scene: &Scene<'_>) {
    let region = scene.attacker.account.region().as_str();
    let connecting = scene.integration(scene.attacker).await;
    let external_id = connecting.made["external_id"].as_str().unwrap();
    let victims = scene.victim.role.as_str();
    let nowhere = victims.replace(scene.victim.account.id().as_str(), "999999999999");
    let since = scene.witness.mark();
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for role in [victims.to_owned(), format!("{victims}-missing"), nowhere] {
        let tried = scene.name_role(&connecting, region, &role).await;
        let asked: Vec<_> = tried
            .openings
            .iter()
            .map(|opening| (opening.role.as_str(), opening.external_id.as_deref()))
            .collect();
        assert_eq!(asked, [(role.as_str(), Some(external_id))]);
        assert_eq!(scene.trust(&connecting, region).await, "refused");
        told.entry(words(&tried.verdict, &role)).or_default().push(role);
    }
    assert_eq!(told.len(), 1, "one answer: {told:#?}");
    assert!(
        told.keys().all(|words| words.contains("role_not_assumable")),
        "{told:#?}"
    );
    scene.assert_unharmed(since);
    let path = format!(
        "/v1/tenants/{}/integrations/{}",
        scene.victim.id, scene.victim.integration
    );
    let (_, shown) = scene.caller.call(ADMINISTRATOR, Method::GET, &path, None).await;
    let trust = &shown["regions"][scene.victim.account.region().as_str()]["trust"];
    assert_eq!(trust["state"], "proven", "{shown:#}");
    opens_for_its_owner(scene, "of-its-own").await;
}

/// Returns what a person is told, with the role's names left out.
fn words(verdict: &Verdict, role: &str) -> String {
    let role: RoleArn = role.parse().unwrap();
    let words = serde_json::to_string(&verdict.probes).unwrap();
    words
        .replace(role.as_str(), "ARN")
        .replace(role.name(), "NAME")
        .replace(role.account().as_str(), "ACCOUNT")
}
