//! Which roles are trusted, judged by the emulator's own STS under enforced trust policies.

use portwarden_core::{
    arn::RoleArn,
    endpoint::{Password, Username},
    id::{ExternalId, IntegrationId},
    integration::{NewRegion, Trust},
    random::OsRandomness,
    verdict::{Check, Conclusion, Outcome, Verdict},
};
use portwarden_local::{Account, Tenant};
use serde_json::{Value, json};

use crate::world::{World, scope};

async fn integration(world: &World, tenant: &Tenant) -> (IntegrationId, ExternalId) {
    let region = NewRegion::Classic {
        region: tenant.account.region().clone(),
        username: Username::parse("events").unwrap(),
        password: Password::generate(&OsRandomness),
    };
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let made = world
        .integrations()
        .create(&scope(tenant), "n", &[region], now, &OsRandomness)
        .await
        .unwrap();
    (made.integration.id, made.integration.external_id)
}

fn trust_policy(world: &World, condition: Option<Value>, others: &[String]) -> String {
    let connector = world.cloud.stack().output("ConnectorRoleArn").unwrap().to_owned();
    let principals: Vec<_> = std::iter::once(&connector).chain(others).collect();
    let mut statement =
        json!({"Effect": "Allow", "Principal": {"AWS": principals}, "Action": "sts:AssumeRole"});
    if let Some(condition) = condition {
        statement["Condition"] = condition;
    }
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

/// Lets a role that is there trust our connector role, under a condition.
pub(crate) async fn trusts(world: &World, account: &Account, role: &RoleArn, condition: Option<Value>) {
    let policy = trust_policy(world, condition, &[]);
    let parameters = [
        ("Action", "UpdateAssumeRolePolicy"),
        ("Version", "2010-05-08"),
        ("RoleName", role.name()),
        ("PolicyDocument", &policy),
    ];
    world.query_api(account, "iam", &parameters).await;
}

/// Makes a role in the tenant's account that trusts others, too, if there are any, under a condition.
pub(crate) async fn role(
    world: &World,
    tenant: &Tenant,
    name: &str,
    condition: Option<Value>,
    others: &[String],
) -> RoleArn {
    let policy = trust_policy(world, condition, others);
    let parameters = [
        ("Action", "CreateRole"),
        ("Version", "2010-05-08"),
        ("RoleName", name),
        ("AssumeRolePolicyDocument", &policy),
    ];
    world.query_api(&tenant.account, "iam", &parameters).await;
    format!("arn:aws:iam::{}:role/{name}", tenant.account.id())
        .parse()
        .unwrap()
}

/// Lets a role do these actions and no others.
pub(crate) async fn allow(world: &World, tenant: &Tenant, role: &RoleArn, actions: &[&str]) {
    let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let parameters = [
        ("Action", "PutRolePolicy"),
        ("Version", "2010-05-08"),
        ("RoleName", role.name()),
        ("PolicyName", "read"),
        ("PolicyDocument", &policy),
    ];
    world.query_api(&tenant.account, "iam", &parameters).await;
}

pub(crate) fn code(verdict: &Verdict, check: Check) -> Option<&str> {
    match verdict.outcome(check)? {
        Outcome::Failed(problem) | Outcome::Unknown(problem) => Some(&problem.code),
        Outcome::Passed | Outcome::Skipped { .. } => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_trusted_only_when_it_refuses_others() {
    let world = World::start("trust").await;
    let tenant = world.tenant(0);
    let (integration, external_id) = integration(&world, &tenant).await;
    let key = "sts:ExternalId";
    for (name, condition, check, expected) in [
        ("open", None, Check::RefusesNone, "trust_without_external_id"),
        (
            "if-exists",
            Some(json!({"StringEqualsIfExists": {key: external_id}})),
            Check::RefusesNone,
            "trust_without_external_id",
        ),
        (
            "for-all-values",
            Some(json!({"ForAllValues:StringEquals": {key: external_id}})),
            Check::RefusesNone,
            "trust_without_external_id",
        ),
        (
            "not-equals",
            Some(json!({"StringNotEquals": {key: "pw-00000000000000000000000000"}})),
            Check::RefusesNone,
            "trust_without_external_id",
        ),
        (
            "any",
            Some(json!({"StringLike": {key: "*"}})),
            Check::RefusesOthers,
            "trust_with_other_external_id",
        ),
        (
            "prefix",
            Some(json!({"StringLike": {key: "pw-*"}})),
            Check::RefusesOthers,
            "trust_with_other_external_id",
        ),
        (
            "any-case",
            Some(json!({"StringEqualsIgnoreCase": {key: external_id}})),
            Check::RefusesOthers,
            "trust_with_other_external_id",
        ),
        (
            "other",
            Some(json!({"StringEquals": {key: "pw-00000000000000000000000000"}})),
            Check::OpensWithExternalId,
            "role_not_assumable",
        ),
    ] {
        let role = role(&world, &tenant, name, condition, &[]).await;
        let verdict = world.verify(&tenant, &integration, &role).await;
        assert_eq!(verdict.conclusion(), Conclusion::Refused, "{name}: {verdict:#?}");
        assert_eq!(code(&verdict, check), Some(expected), "{name}: {verdict:#?}");
        assert!(
            matches!(
                world.region(&tenant, &integration).await.trust,
                Trust::Refused { .. }
            ),
            "{name}"
        );
    }
    // What no probe can guess stands in the trust policy.
    let right = json!({"StringEquals": {key: external_id}});
    let two = json!({"StringEquals": {key: [external_id.as_str(), "pw-00000000000000000000000000"]}});
    let whole_account = format!("arn:aws:iam::{}:root", tenant.account.id());
    for (name, condition, others, expected) in [
        ("two-ids", &two, vec![], "trust_names_other_external_ids"),
        ("wide", &right, vec![whole_account], "trust_principal_wide"),
    ] {
        let role = role(&world, &tenant, name, Some(condition.clone()), &others).await;
        allow(&world, &tenant, &role, &["iam:GetRole"]).await;
        let verdict = world.verify(&tenant, &integration, &role).await;
        assert_eq!(verdict.conclusion(), Conclusion::Refused, "{name}: {verdict:#?}");
        assert_eq!(
            code(&verdict, Check::TrustPolicy),
            Some(expected),
            "{name}: {verdict:#?}"
        );
    }
    let right = role(&world, &tenant, "right", Some(right), &[]).await;
    each_missing_action_is_named(&world, &tenant, &integration, &right).await;
    a_closed_canary_tells(&world, &tenant, &integration, &right).await;
    world.cloud.shutdown().await;
}

/// What a role must be allowed to do, and what is said if it is not.
const NEEDED: [(&str, Check, &str); 8] = [
    ("iam:GetRole", Check::TrustPolicy, "trust_policy_denied"),
    (
        "ecr:GetAuthorizationToken",
        Check::EcrGetAuthorizationToken,
        "ecr_get_authorization_token_denied",
    ),
    (
        "ecr:DescribeRepositories",
        Check::EcrDescribeRepositories,
        "ecr_describe_repositories_denied",
    ),
    (
        "ecr:DescribeImages",
        Check::EcrDescribeImages,
        "ecr_describe_images_denied",
    ),
    ("ecr:ListImages", Check::EcrListImages, "ecr_list_images_denied"),
    (
        "ecr:BatchGetImage",
        Check::EcrBatchGetImage,
        "ecr_batch_get_image_denied",
    ),
    (
        "ecr:GetDownloadUrlForLayer",
        Check::EcrGetDownloadUrlForLayer,
        "ecr_get_download_url_for_layer_denied",
    ),
    (
        "ecr:BatchCheckLayerAvailability",
        Check::EcrBatchCheckLayerAvailability,
        "ecr_batch_check_layer_availability_denied",
    ),
];

async fn each_missing_action_is_named(
    world: &World,
    tenant: &Tenant,
    integration: &IntegrationId,
    role: &RoleArn,
) {
    for missing in std::iter::once(None).chain(NEEDED.map(Some)) {
        let actions = NEEDED.map(|(action, ..)| action);
        let actions: Vec<&str> = actions
            .into_iter()
            .filter(|action| missing.is_none_or(|(missing, ..)| missing != *action))
            .collect();
        allow(world, tenant, role, &actions).await;
        let verdict = world.verify(tenant, integration, role).await;
        assert_eq!(
            verdict.conclusion(),
            Conclusion::Trusted,
            "{missing:?}: {verdict:#?}"
        );
        let of_role = verdict.probes.iter().map(|probe| probe.check);
        let problems: Vec<_> = of_role
            .filter(|check| *check != Check::EventPath)
            .filter_map(|check| Some((check, code(&verdict, check)?)))
            .collect();
        let expected: Vec<_> = missing.iter().map(|(_, check, code)| (*check, *code)).collect();
        assert_eq!(problems, expected, "{missing:?}");
    }
}

async fn a_closed_canary_tells(world: &World, tenant: &Tenant, integration: &IntegrationId, role: &RoleArn) {
    let canary: RoleArn = world
        .cloud
        .stack()
        .output("CanaryRoleArn")
        .unwrap()
        .parse()
        .unwrap();
    let nobody = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole",
    }]});
    let parameters = [
        ("Action", "UpdateAssumeRolePolicy"),
        ("Version", "2010-05-08"),
        ("RoleName", canary.name()),
        ("PolicyDocument", &nobody.to_string()),
    ];
    world.query_api(world.cloud.operator(), "iam", &parameters).await;
    let verdict = world.verify(tenant, integration, role).await;
    assert_eq!(verdict.conclusion(), Conclusion::Unknown, "{verdict:#?}");
    assert_eq!(code(&verdict, Check::Canary), Some("canary_refused"));
    assert!(world.region(tenant, integration).await.trust.is_proven());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_role_cannot_be_had() {
    let world = World::start("foreign_role").await;
    let [a, b] = [world.tenant(0), world.tenant(1)];
    let (integration, _) = integration(&world, &a).await;
    let verdict = world.verify(&a, &integration, &b.role).await;
    assert_eq!(
        code(&verdict, Check::OpensWithExternalId),
        Some("role_not_assumable")
    );
    // A role that does not exist gets the same words.
    let nowhere: RoleArn = format!("{}x", b.role).parse().unwrap();
    let of_nowhere = world.verify(&a, &integration, &nowhere).await;
    let words = |verdict: &Verdict, role: &RoleArn| {
        serde_json::to_string(&verdict.probes)
            .unwrap()
            .replace(role.name(), "ROLE")
    };
    assert_eq!(words(&verdict, &b.role), words(&of_nowhere, &nowhere));
    assert!(world.region(&b, &b.integration).await.trust.is_proven());

    // One that opens for everybody is not A's either, and not used.
    let open = role(&world, &b, "open", None, &[]).await;
    let verdict = world.verify(&a, &integration, &open).await;
    assert_eq!(
        code(&verdict, Check::RefusesNone),
        Some("trust_without_external_id"),
        "{verdict:#?}"
    );
    assert!(!world.region(&a, &integration).await.trust.is_proven());

    // The tenants' own template gives every right that is needed; only the event path is not proven before an event.
    let own = world.verify(&b, &b.integration, &b.role).await;
    assert_eq!(own.conclusion(), Conclusion::Trusted);
    assert_eq!(
        own.first_problem().map(|problem| &*problem.code),
        Some("event_path_unproven"),
        "{own:#?}"
    );
    // Our own connector role, and any role of our account, is refused before any call.
    let connector = world
        .cloud
        .stack()
        .output("ConnectorRoleArn")
        .unwrap()
        .parse()
        .unwrap();
    let ours = world.verify(&a, &integration, &connector).await;
    assert_eq!(code(&ours, Check::NotOurs), Some("role_in_our_account"));
    world.cloud.shutdown().await;
}
