//! A19 and A20: what stacks say, and who makes them say it.

use std::collections::BTreeSet;

use aws_sdk_cloudformation::types::{Stack, StackStatus};
use futures_util::future::join_all;
use portwarden_aws::SystemClock;
use portwarden_core::{
    arn::RoleArn, clock::Clock as _, id::RequestId, random::OsRandomness, tenant_template,
};
use portwarden_local::Account;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Scene, is_the_one_refusal};
use crate::{
    connect::Connecting,
    reconcile::{plain, push_untold},
    world::eventually,
};

/// Writes what the stack of a role would say when it is created.
pub(super) fn claim(account: &Account, role: &str, external_id: &str) -> Value {
    let (id, region, now) = (account.id(), account.region(), SystemClock.now());
    json!({
        "version": "0",
        "id": RequestId::generate(&OsRandomness),
        "detail-type": "CloudFormation Stack Status Change",
        "source": "aws.cloudformation",
        "account": id,
        "time": format!("{now:.0}"),
        "region": region,
        "resources": [],
        "detail": {
            "status-details": {"status": "CREATE_COMPLETE"},
            "stack-id": format!("arn:aws:cloudformation:{region}:{id}:stack/portwarden-ecr/0"),
            "role-arn": role,
            "external-id": external_id,
            "template-version": tenant_template::VERSION,
        },
    })
}

pub(super) async fn a_launch_link_tells_whose_it_is_and_its_stack_ends_it(scene: &Scene<'_>) {
    let region = "us-east-1";
    let deceived = "600000000006".parse().unwrap();
    let account = scene.world.cloud.account(&deceived, &region.parse().unwrap());
    push_untold(&account, "secret/plans", "1", &plain("plans")).await;
    let new = json!({"name": "yours", "regions": [region]});
    let connecting = Connecting::start(scene.caller, scene.attacker, new).await;
    let since = scene.witness.mark();
    let stack = connecting.launch(&deceived, region, None).await;

    // Whoever looks at the stack sees the attacker's name, first of all parameters and beside what it is for.
    let cloudformation = aws_sdk_cloudformation::Client::new(&account.sdk_config());
    let stacks = cloudformation.describe_stacks().send().await.unwrap();
    let [described] = stacks.stacks() else {
        panic!("there is one stack: {stacks:#?}")
    };
    let parameter = described
        .parameters()
        .iter()
        .find(|parameter| parameter.parameter_key() == Some("TenantName"));
    assert_eq!(parameter.unwrap().parameter_value(), Some("Harbour Goods"));

    // The role opens, and as long as nobody confirms, nothing is read.
    let answer = stack.send(&stack.status("CREATE_COMPLETE")).await.unwrap();
    assert_eq!(answer, StatusCode::TOO_MANY_REQUESTS);
    connecting.until(region, "proposed").await;
    assert_eq!(scene.witness.calls_of(&stack.role, since), []);

    // The stack is deleted, and the attacker confirms too late.
    let name = described.stack_name().unwrap();
    let deleted = cloudformation.delete_stack().stack_name(name).send().await;
    deleted.unwrap();
    eventually("the stack is gone", async || {
        let left = cloudformation.describe_stacks().send().await.unwrap();
        let is_gone = |stack: &Stack| stack.stack_status() == Some(&StackStatus::DeleteComplete);
        left.stacks().iter().all(is_gone).then_some(())
    })
    .await;
    let (status, told) = connecting
        .post("/confirmation", json!({ "account": deceived }))
        .await;
    assert_eq!(status, StatusCode::OK, "{told}");
    let refused = connecting.until(region, "refused").await;
    let verdict = refused["regions"][region]["verdict"].to_string();
    assert!(verdict.contains("role_not_assumable"), "{verdict}");
    assert_eq!(
        scene.witness.calls_of(&stack.role, since),
        [],
        "nothing was ever read"
    );
    scene.assert_unharmed(since);
}

/// How many claims come at once.
const FLOOD: usize = 40;

pub(super) async fn a_flood_of_claims_is_one_test_a_minute(scene: &Scene<'_>) {
    let tenant = scene.attacker;
    let region = tenant.account.region().as_str();
    let new = json!({"name": "flooded", "regions": [region]});
    let connecting = Connecting::start(scene.caller, tenant, new).await;
    let external_id = connecting.made["external_id"].as_str().unwrap();
    let since = scene.witness.mark();
    let name = |number: usize| format!("arn:aws:iam::{}:role/flood-{number}", tenant.account.id());
    // With another tenant's ExternalId, and with none that is ours.
    let others = ["pw-00000000000000000000000000", scene.victim.external_id.as_str()];
    for id in others {
        let answer = scene
            .send(&connecting.id, None, &claim(&tenant.account, &name(0), id))
            .await;
        assert!(is_the_one_refusal(&answer), "{answer:?}");
    }
    assert_eq!(scene.witness.effects(&connecting.id, since), [""; 0]);
    assert_eq!(scene.witness.openings(since), []);

    let claims: Vec<Value> = (0..FLOOD)
        .map(|number| claim(&tenant.account, &name(number), external_id))
        .collect();
    let answers = join_all(claims.iter().map(|claim| scene.send(&connecting.id, None, claim))).await;
    let answers: BTreeSet<_> = answers
        .into_iter()
        .map(|answer| {
            assert!(is_the_one_refusal(&answer), "{answer:?}");
            answer.2
        })
        .collect();
    assert_eq!(answers.len(), 1, "nobody is told whose claim is looked at");
    let queued = scene.queued("VerifyQueueUrl", &connecting.id, since);
    // A minute may end meanwhile.
    assert!((1..=2).contains(&queued), "{queued}");
    eventually("one of them is tested", async || {
        let tested = scene.witness.openings(since);
        let tested = tested.iter().any(|opening| {
            let role: RoleArn = opening.role.parse().unwrap();
            role.name().starts_with("flood-")
        });
        tested.then_some(())
    })
    .await;
    let tested: BTreeSet<_> = scene
        .witness
        .openings(since)
        .into_iter()
        .filter(|opening| opening.role.contains("/flood-"))
        .map(|opening| opening.role)
        .collect();
    assert!(tested.len() <= queued, "{tested:?}");
    scene.assert_unharmed(since);
}
