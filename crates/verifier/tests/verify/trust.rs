//! Verdicts: every kind of trust, every missing action, every failure on the way.

use std::sync::Arc;

use jiff::Timestamp;
use portwarden_core::{
    clock::Clock as _,
    id::{ExternalId, IntegrationId},
    integration::{Light, Trust},
    random::OsRandomness,
    scope::OperatorScope,
    session::AssumeError,
    verdict::{Check, Conclusion, Outcome, Verdict},
};
use portwarden_verifier::handler::Verified;

use crate::world::{Bench, GOOD, Party, ROLE, Trusts, World, code, refuse, region};

#[tokio::test]
async fn a_role_that_opens_for_us_only_is_trusted_and_told() {
    let bench = Bench::new();
    let party = bench.party().await;
    let world = Arc::new(World::new(GOOD));
    let verdict = bench.verdict(&world, &party).await;
    assert_eq!(verdict.conclusion(), Conclusion::Trusted, "{verdict:#?}");
    // No event has come yet, and nothing else is amiss.
    assert_eq!(
        verdict.first_problem().map(|problem| &*problem.code),
        Some("event_path_unproven")
    );
    assert!(bench.trust(&party).await.is_proven());
    let order: Vec<String> = world.calls.lock().unwrap()[..6].to_vec();
    let expected = ["right", "canary", "without", "wrong", "wrong", "wrong"];
    assert!(
        order
            .iter()
            .zip(expected)
            .all(|(call, kind)| call.starts_with(kind)),
        "{order:?}"
    );
    assert_eq!(
        bench.told(),
        [(1, Light::Pending, Some("event_path_unproven".to_owned()))]
    );

    let at = world.clock.now();
    bench
        .integrations()
        .record_heartbeat(&party.scope, &party.integration, &region(), at, None)
        .await
        .unwrap();
    assert!(bench.verdict(&world, &party).await.is_green());
    assert_eq!(bench.told(), [(2, Light::Green, None)]);
    assert!(bench.verdict(&world, &party).await.is_green());
    assert_eq!(bench.told(), [], "nothing changed");
}

#[tokio::test]
async fn every_kind_of_wide_trust_is_refused_with_its_cause() {
    let policies: [(&str, Trusts, Check, &str); 8] = [
        (
            "no condition",
            |_, _| true,
            Check::RefusesNone,
            "trust_without_external_id",
        ),
        (
            "StringEqualsIfExists",
            |right, given| given.is_none_or(|given| given == right),
            Check::RefusesNone,
            "trust_without_external_id",
        ),
        (
            "StringLike *",
            |_, given| given.is_some(),
            Check::RefusesOthers,
            "trust_with_other_external_id",
        ),
        (
            "a prefix",
            |_, given| given.is_some_and(|given| given.starts_with("pw-")),
            Check::RefusesOthers,
            "trust_with_other_external_id",
        ),
        (
            "StringEqualsIgnoreCase",
            |right, given| given.is_some_and(|given| given.eq_ignore_ascii_case(right)),
            Check::RefusesOthers,
            "trust_with_other_external_id",
        ),
        (
            "all but the last character",
            |right, given| given.is_some_and(|given| given.starts_with(&right[..right.len() - 1])),
            Check::RefusesOthers,
            "trust_with_other_external_id",
        ),
        (
            "StringNotEquals of something else",
            |_, given| given != Some("x"),
            Check::RefusesNone,
            "trust_without_external_id",
        ),
        (
            "another ExternalId",
            |_, given| given == Some("other"),
            Check::OpensWithExternalId,
            "role_not_assumable",
        ),
    ];
    for (name, trusts, check, expected) in policies {
        let bench = Bench::new();
        let party = bench.party().await;
        let verdict = bench.verdict(&Arc::new(World::new(trusts)), &party).await;
        assert_eq!(verdict.conclusion(), Conclusion::Refused, "{name}");
        assert_eq!(code(&verdict, check), Some(expected), "{name}: {verdict:#?}");
        assert!(
            matches!(bench.trust(&party).await, Trust::Refused { .. }),
            "{name}"
        );
        // The registry of a role that is not trusted is left alone.
        let tried = verdict.outcome(Check::EcrDescribeImages);
        assert!(
            matches!(tried, Some(Outcome::Skipped { .. })),
            "{name}: {tried:?}"
        );
        let told = bench.told();
        assert_eq!(told, [(1, Light::Red, Some(expected.to_owned()))], "{name}");
    }
}

#[tokio::test]
async fn a_proven_role_that_becomes_too_wide_is_suspended_at_once() {
    let bench = Bench::new();
    let party = bench.party().await;
    bench.verdict(&Arc::new(World::new(GOOD)), &party).await;
    bench.bus.take();
    bench.verdict(&Arc::new(World::new(|_, _| true)), &party).await;
    let connection = bench
        .integrations()
        .find(&party.scope, &party.integration)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(connection.trusted_role(&region()), None);
    assert_eq!(
        bench.told(),
        [(2, Light::Red, Some("trust_without_external_id".to_owned()))]
    );
    let status = connection.status(&region(), Timestamp::UNIX_EPOCH).unwrap();
    assert!(
        status
            .sentence
            .starts_with("suspended: the role opens for us without"),
        "{status:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_found_out_is_never_passed() {
    // One answer of STS for each call in turn: the right id, the canary, none, three wrong ones.
    type Failure = fn() -> AssumeError;
    let failures: [Failure; 3] = [
        || AssumeError::Throttled,
        || AssumeError::Unreachable("timed out".into()),
        || AssumeError::Connector("denied".into()),
    ];
    for failure in failures {
        for call in 1..6 {
            let bench = Bench::new();
            let party = bench.party().await;
            let world = World::new(GOOD);
            *world.failures.lock().unwrap() = (0..6)
                .map(|index| (index == call).then(failure))
                .collect::<Vec<_>>();
            let verdict = bench.verdict(&Arc::new(world), &party).await;
            assert_eq!(
                verdict.conclusion(),
                Conclusion::Unknown,
                "call {call}: {verdict:#?}"
            );
            assert!(!bench.trust(&party).await.is_proven());
        }
    }
}

#[tokio::test]
async fn a_closed_canary_makes_the_refusal_worthless() {
    let bench = Bench::new();
    let party = bench.party().await;
    let mut world = World::new(GOOD);
    world.canary_opens = false;
    let verdict = bench.verdict(&Arc::new(world), &party).await;
    assert_eq!(verdict.conclusion(), Conclusion::Unknown);
    assert_eq!(code(&verdict, Check::RefusesNone), Some("canary_refused"));
}

#[tokio::test]
async fn a_new_role_is_given_time_and_a_proven_one_is_not() {
    let bench = Bench::new();
    let party = bench.party().await;
    let world = World::new(GOOD);
    *world.failures.lock().unwrap() = vec![Some(refuse()), Some(AssumeError::Throttled), Some(refuse())];
    let world = Arc::new(world);
    assert_eq!(
        bench.verdict(&world, &party).await.conclusion(),
        Conclusion::Trusted
    );
    assert_eq!(world.clock.now(), Timestamp::from_second(35).unwrap());

    let closed = Arc::new(World::new(|_, _| false));
    assert_eq!(
        bench.verdict(&closed, &party).await.conclusion(),
        Conclusion::Refused
    );
    assert_eq!(closed.clock.now(), Timestamp::UNIX_EPOCH);
    assert_eq!(
        closed.calls.lock().unwrap().len(),
        1,
        "a role that does not open is not asked again"
    );
}

#[tokio::test]
async fn another_integrations_role_tells_nothing() {
    let bench = Bench::new();
    let [a, b] = [bench.party().await, bench.party().await];
    let owned = Arc::new(World::new(GOOD));
    bench.verdict(&owned, &b).await;

    // To A, B's role and a role that does not exist are the same, call for call and word for word.
    let closed = |_: &str, _: Option<&str>| false;
    let of_b = Arc::new(World::new(closed));
    let of_nobody = Arc::new(World::new(closed));
    let nowhere = "arn:aws:iam::111122223333:role/nowhere-to-be-fnd-x";
    let Verified::Tested { verdict: first, .. } = bench.verify(&of_b, &a, ROLE).await else {
        panic!()
    };
    let c = bench.party().await;
    let Verified::Tested { verdict: second, .. } = bench.verify(&of_nobody, &c, nowhere).await else {
        panic!()
    };
    let words = |verdict: &Verdict, party: &Party, role: &str| {
        let text = serde_json::to_string(&verdict.probes).unwrap();
        let name = role.rsplit('/').next().unwrap();
        text.replace(party.external_id.as_str(), "ID")
            .replace(name, "ROLE")
    };
    assert_eq!(words(&first, &a, ROLE), words(&second, &c, nowhere));
    let calls = |world: &World| {
        world
            .calls
            .lock()
            .unwrap()
            .iter()
            .map(String::len)
            .collect::<Vec<_>>()
    };
    assert_eq!(calls(&of_b).len(), calls(&of_nobody).len());

    // Who can open it with an ExternalId of their own holds the role, and is told.
    let verdict = bench.verdict(&Arc::new(World::new(GOOD)), &a).await;
    assert_eq!(code(&verdict, Check::RoleFree), Some("role_taken"));
    assert!(!bench.trust(&a).await.is_proven());
    assert!(bench.trust(&b).await.is_proven());
}

#[tokio::test]
async fn our_own_account_another_partition_and_another_account_are_refused_before_any_call() {
    let bench = Bench::new();
    let party = bench.party().await;
    bench.verdict(&Arc::new(World::new(GOOD)), &party).await;
    for (role, check, expected) in [
        (
            "arn:aws:iam::999988887777:role/portwarden-connector",
            Check::NotOurs,
            "role_in_our_account",
        ),
        (
            "arn:aws-cn:iam::111122223333:role/r",
            Check::RoleArn,
            "role_partition",
        ),
        (
            "arn:aws:iam::444455556666:role/r",
            Check::SameAccount,
            "role_of_other_account",
        ),
    ] {
        let world = Arc::new(World::new(GOOD));
        let Verified::Tested { verdict, .. } = bench.verify(&world, &party, role).await else {
            panic!()
        };
        assert_eq!(code(&verdict, check), Some(expected));
        assert_eq!(*world.calls.lock().unwrap(), [""; 0]);
        assert!(bench.trust(&party).await.is_proven(), "the proven role is kept");
    }
}

#[tokio::test]
async fn a_session_of_another_account_is_refused() {
    let bench = Bench::new();
    let party = bench.party().await;
    let mut world = World::new(GOOD);
    world.session_account = "444455556666";
    let verdict = bench.verdict(&Arc::new(world), &party).await;
    assert_eq!(verdict.conclusion(), Conclusion::Refused);
    assert_eq!(
        code(&verdict, Check::SessionAccount),
        Some("session_of_other_account")
    );
}

#[tokio::test]
async fn each_missing_action_is_named() {
    for (action, check, expected) in [
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
    ] {
        let bench = Bench::new();
        let party = bench.party().await;
        let mut world = World::new(GOOD);
        world.denied.insert(action);
        let verdict = bench.verdict(&Arc::new(world), &party).await;
        assert_eq!(code(&verdict, check), Some(expected));
        let failed = verdict
            .probes
            .iter()
            .filter(|probe| matches!(probe.outcome, Outcome::Failed(_)))
            .count();
        assert_eq!(
            (verdict.conclusion(), failed),
            (Conclusion::Trusted, 1),
            "{action}"
        );
        let problem = verdict.first_problem().unwrap();
        assert!(
            problem.message.contains(action) && problem.fix.contains(action),
            "{problem:?}"
        );
    }
}

#[tokio::test]
async fn a_removed_integration_is_not_tested() {
    let bench = Bench::new();
    let party = bench.party().await;
    bench
        .integrations()
        .remove(&party.scope, &party.integration, Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    let world = Arc::new(World::new(GOOD));
    let verified = bench.verify(&world, &party, ROLE).await;
    assert_eq!(verified, Verified::Dropped { reason: "removed" });
    assert_eq!(*world.calls.lock().unwrap(), [""; 0]);
}

#[tokio::test]
async fn the_operators_own_role_is_tested_in_our_account_and_nowhere_else() {
    const OWN: &str = "arn:aws:iam::999988887777:role/portwarden-operator";
    let bench = Bench::new();
    let operator = OperatorScope::of_this_process();
    let external_id: ExternalId = "pw-1f0e5c4a-0000-11ef-8000-0e0000000000".parse().unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let role = OWN.parse().unwrap();
    let (integrations, region) = (bench.integrations(), region());
    let made = integrations
        .ensure_operator(operator, &role, &external_id, &region, now, &OsRandomness)
        .await;
    assert!(made.unwrap());
    let party = Party {
        scope: operator.own(),
        integration: IntegrationId::operator(),
        external_id,
    };
    let mut world = World::new(GOOD);
    world.session_account = "999988887777";
    let Verified::Tested { verdict, .. } = bench.verify(&Arc::new(world), &party, OWN).await else {
        panic!()
    };
    assert_eq!(verdict.conclusion(), Conclusion::Trusted, "{verdict:#?}");
    let Verified::Tested { verdict, .. } = bench.verify(&Arc::new(World::new(GOOD)), &party, ROLE).await
    else {
        panic!()
    };
    assert_eq!(code(&verdict, Check::NotOurs), Some("role_in_our_account"));
}
