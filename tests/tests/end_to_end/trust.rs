//! Which roles are trusted, judged by the emulator's own STS under enforced trust policies.

use portwarden_core::{
    arn::RoleArn,
    endpoint::{Password, Username},
    id::{ExternalId, IntegrationId},
    integration::{NewRegion, Trust},
    random::OsRandomness,
    verdict::{Check, Conclusion, Outcome, Verdict},
};
use portwarden_local::Tenant;
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

/// Makes a role in the tenant's account that trusts our connector under a condition.
async fn role(world: &World, tenant: &Tenant, name: &str, condition: Option<Value>) -> RoleArn {
    let connector = world.cloud.stack().output("ConnectorRoleArn").unwrap();
    let mut statement =
        json!({"Effect": "Allow", "Principal": {"AWS": connector}, "Action": "sts:AssumeRole"});
    if let Some(condition) = condition {
        statement["Condition"] = condition;
    }
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
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

fn code(verdict: &Verdict, check: Check) -> Option<&str> {
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
        let role = role(&world, &tenant, name, condition).await;
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
    // The right condition is trusted; what the role may not do in ECR is named.
    let right = role(
        &world,
        &tenant,
        "right",
        Some(json!({"StringEquals": {key: external_id}})),
    )
    .await;
    let verdict = world.verify(&tenant, &integration, &right).await;
    assert_eq!(verdict.conclusion(), Conclusion::Trusted, "{verdict:#?}");
    assert_eq!(
        code(&verdict, Check::EcrDescribeImages),
        Some("ecr_describe_images_denied")
    );
    world.cloud.shutdown().await;
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
