//! Quick connect: from a claim to a proven role with credentials that nobody typed, and what it costs.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use portwarden_core::{
    clock::Clock as _,
    endpoint::{BasicCredentials, CredentialChecker},
    event::Claim,
    integration::{Confirmed, Directory, Trust},
    random::OsRandomness,
    session::AssumeError,
    verdict::{Check, Conclusion, Outcome, Verdict},
    work::{VerifyReason, VerifyRequest},
};
use portwarden_verifier::handler::Verified;
use serde_json::{Value, json};

use crate::world::{Bench, GOOD, Party, ROLE, World, code, refuse, region};

const STACK_SECRET: &str = "arn:aws:secretsmanager:us-east-1:111122223333:secret:portwarden-Secret-a1b2c3";

fn claim(party: &Party, changes: &Value) -> Claim {
    let mut claim = json!({
        "role-arn": ROLE, "external-id": party.external_id, "template-version": "2",
        "secret-arn": STACK_SECRET, "rate-minutes": 15,
    });
    for (name, value) in changes.as_object().unwrap() {
        claim[name] = value.clone();
    }
    serde_json::from_value(claim).unwrap()
}

impl Party {
    fn claimed(&self, reason: VerifyReason, changes: &Value) -> VerifyRequest {
        VerifyRequest {
            claim: Some(claim(self, changes)),
            ..self.request(reason)
        }
    }
}

impl Bench {
    async fn test(&self, world: &Arc<World>, party: &Party, request: VerifyRequest) -> Verdict {
        world.calls.lock().unwrap().clear();
        match self.run(world, party, request).await {
            Verified::Tested { verdict, .. } => verdict,
            other @ Verified::Dropped { .. } => panic!("{other:?}"),
        }
    }

    async fn confirm(&self, party: &Party) {
        let account = "111122223333".parse().unwrap();
        let confirmed = self
            .integrations()
            .confirm_account(&party.scope, &party.integration, &account)
            .await;
        assert_eq!(confirmed.unwrap(), Confirmed::Now);
    }

    /// Tells whether the endpoint opens with what the stack made.
    async fn opens(&self, party: &Party, password: &str) -> bool {
        let endpoint = Directory::new(self.store.clone())
            .endpoint(&party.integration)
            .await
            .unwrap();
        let header = format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("portwarden:{password}"))
        );
        let checker = CredentialChecker::new(&OsRandomness);
        checker
            .check(
                endpoint.as_ref(),
                BasicCredentials::parse(header.as_bytes()).as_ref(),
                Timestamp::UNIX_EPOCH,
            )
            .is_some()
    }
}

fn calls(world: &World) -> Vec<String> {
    let calls = world.calls.lock().unwrap();
    calls
        .iter()
        .map(|call| call.split(' ').next().unwrap().to_owned())
        .collect()
}

const PASSWORD: &str = "made-by-the-stack-0123456789";

#[tokio::test]
async fn nothing_is_read_before_the_account_is_confirmed_and_all_is_after_it() {
    let bench = Bench::new();
    let party = bench.quick_party().await;
    let world = Arc::new(World::new(GOOD));
    let verdict = bench
        .test(&world, &party, party.claimed(VerifyReason::Claim, &json!({})))
        .await;
    assert_eq!(verdict.conclusion(), Conclusion::Trusted);
    assert_eq!(
        calls(&world),
        ["right", "canary", "without", "wrong", "wrong", "wrong"]
    );
    assert!(matches!(bench.trust(&party).await, Trust::Proposed { .. }));
    assert!(!bench.opens(&party, PASSWORD).await);

    // The click: the same test again, of the role that is proposed.
    bench.confirm(&party).await;
    let verdict = bench
        .test(&world, &party, party.request(VerifyReason::Asked))
        .await;
    assert_eq!(
        verdict.first_problem().map(|problem| &*problem.code),
        Some("event_path_unproven"),
        "{verdict:#?}"
    );
    assert!(bench.trust(&party).await.is_proven());
    assert!(bench.opens(&party, PASSWORD).await, "the secret is read");
    let order = calls(&world);
    let place = |name: &str| order.iter().position(|call| call == name).unwrap();
    assert!(place("wrong") < place("iam:GetRole"), "{order:?}");
    assert!(
        place("iam:GetRole") < place("secretsmanager:GetSecretValue"),
        "{order:?}"
    );
    assert!(
        place("secretsmanager:GetSecretValue") < place("ecr:DescribeImages"),
        "{order:?}"
    );

    // Once they are known, the secret is left alone; a new generation is read.
    for (generation, is_read) in [(1, false), (2, true), (2, false)] {
        let changes = json!({"credential-generation": generation});
        bench
            .test(&world, &party, party.claimed(VerifyReason::Stack, &changes))
            .await;
        let read = calls(&world).contains(&"secretsmanager:GetSecretValue".to_owned());
        assert_eq!(read, is_read, "generation {generation}");
    }
}

#[tokio::test]
async fn an_account_that_was_named_beforehand_needs_no_click() {
    let bench = Bench::new();
    let party = bench.quick_party().await;
    bench.confirm(&party).await;
    let world = Arc::new(World::new(GOOD));
    // Of a stranger's account nothing is asked at all.
    let foreign = json!({"role-arn": "arn:aws:iam::444455556666:role/r"});
    let verdict = bench
        .test(&world, &party, party.claimed(VerifyReason::Claim, &foreign))
        .await;
    assert_eq!(code(&verdict, Check::SameAccount), Some("role_of_other_account"));
    assert_eq!(calls(&world), [""; 0]);
    bench
        .test(&world, &party, party.claimed(VerifyReason::Claim, &json!({})))
        .await;
    assert!(bench.trust(&party).await.is_proven());
    assert!(bench.opens(&party, PASSWORD).await);
}

#[tokio::test]
async fn a_stacks_new_role_is_proven_within_90_seconds_of_its_message() {
    let bench = Bench::new();
    let party = bench.quick_party().await;
    let world = World::new(GOOD);
    // AWS opens a new role after up to a minute.
    *world.failures.lock().unwrap() = (0..4).map(|_| Some(refuse())).collect();
    let world = Arc::new(world);
    bench
        .test(&world, &party, party.claimed(VerifyReason::Claim, &json!({})))
        .await;
    assert!(matches!(bench.trust(&party).await, Trust::Proposed { .. }));
    assert!(world.clock.now() <= Timestamp::from_second(90).unwrap());

    // One that is still closed is called new once, and closed when the stack says it again.
    let closed = Arc::new(World::new(|_, _| false));
    let party = bench.quick_party().await;
    for expected in ["role_not_propagated", "role_not_assumable"] {
        let verdict = bench
            .test(&closed, &party, party.claimed(VerifyReason::Claim, &json!({})))
            .await;
        assert_eq!(code(&verdict, Check::OpensWithExternalId), Some(expected));
    }
}

type Change = fn(&mut World);

#[tokio::test]
async fn a_secret_that_cannot_be_used_is_named_and_the_role_stays_trusted() {
    let elsewhere = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:x-a1b2c3";
    let foreign = "arn:aws:secretsmanager:us-east-1:444455556666:secret:x-a1b2c3";
    let nothing: Change = |_| {};
    let cases: [(Value, Change, &str); 4] = [
        (json!({"secret-arn": elsewhere}), nothing, "secret_elsewhere"),
        (json!({"secret-arn": foreign}), nothing, "secret_elsewhere"),
        (
            json!({}),
            |world| {
                world.denied.insert("secretsmanager:GetSecretValue");
            },
            "secret_denied",
        ),
        (
            json!({}),
            |world| world.secret = r#"{"username":"portwarden","password":"short"}"#,
            "secret_malformed",
        ),
    ];
    for (changes, change, expected) in cases {
        let bench = Bench::new();
        let party = bench.quick_party().await;
        bench.confirm(&party).await;
        let mut world = World::new(GOOD);
        change(&mut world);
        let world = Arc::new(world);
        let verdict = bench
            .test(&world, &party, party.claimed(VerifyReason::Claim, &changes))
            .await;
        assert_eq!(code(&verdict, Check::Credentials), Some(expected));
        assert!(bench.trust(&party).await.is_proven(), "{expected}");
        let read = calls(&world).contains(&"secretsmanager:GetSecretValue".to_owned());
        assert_eq!(read, expected != "secret_elsewhere");
    }
}

#[tokio::test]
async fn two_ids_or_a_wide_principal_are_seen_in_the_roles_own_trust_policy() {
    let cases = [
        (json!({"AWS": "*"}), json!(null), "trust_principal_wide"),
        (
            json!({"AWS": [crate::world::CONNECTOR, "arn:aws:iam::111122223333:user/u"]}),
            json!(null),
            "trust_names_others",
        ),
        (
            json!({"AWS": crate::world::CONNECTOR}),
            json!("pw-00000000000000000000000000"),
            "trust_names_other_external_ids",
        ),
    ];
    for (principal, second, expected) in cases {
        let bench = Bench::new();
        let party = bench.quick_party().await;
        bench.confirm(&party).await;
        let mut world = World::new(GOOD);
        let mut ids = vec![json!(party.external_id)];
        ids.extend((!second.is_null()).then_some(second));
        let policy = json!({"Statement": [{
            "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": ids}},
        }]});
        world.policy = Some(policy.to_string());
        let world = Arc::new(world);
        // No probe finds it: the role refuses every id that a probe tries.
        let verdict = bench
            .test(&world, &party, party.claimed(VerifyReason::Claim, &json!({})))
            .await;
        assert_eq!(verdict.outcome(Check::RefusesOthers), Some(&Outcome::Passed));
        assert_eq!(code(&verdict, Check::TrustPolicy), Some(expected));
        assert_eq!(verdict.conclusion(), Conclusion::Refused);
        assert!(matches!(bench.trust(&party).await, Trust::Refused { .. }));
        assert!(!bench.opens(&party, PASSWORD).await);
        assert!(
            !calls(&world).iter().any(|call| call.starts_with("ecr:")),
            "nothing is read"
        );
    }
}

#[tokio::test]
async fn a_role_that_may_not_read_its_policy_is_trusted_and_not_green() {
    let bench = Bench::new();
    let party = bench.party().await;
    let mut world = World::new(GOOD);
    world.denied.insert("iam:GetRole");
    let verdict = bench.verdict(&Arc::new(world), &party).await;
    assert_eq!(code(&verdict, Check::TrustPolicy), Some("trust_policy_denied"));
    assert_eq!(
        (verdict.conclusion(), verdict.is_green()),
        (Conclusion::Trusted, false)
    );
}

/// The connector's own session is a call, too.
const CONNECTORS_OWN: usize = 1;

#[tokio::test]
async fn a_test_costs_no_more_calls_than_it_may() {
    let bench = Bench::new();
    let party = bench.quick_party().await;
    bench.confirm(&party).await;
    let world = World::new(GOOD);
    // As slow a start as there is: each attempt to open it counts, and so does the connector's own session.
    *world.failures.lock().unwrap() = (0..4).map(|_| Some(refuse())).collect();
    let world = Arc::new(world);
    bench
        .test(&world, &party, party.claimed(VerifyReason::Claim, &json!({})))
        .await;
    let first = calls(&world).len() + CONNECTORS_OWN;
    assert!(first <= 24, "{first} calls for a first verdict");

    bench
        .test(&world, &party, party.request(VerifyReason::Schedule))
        .await;
    let daily = calls(&world).len() + CONNECTORS_OWN;
    assert!(
        daily <= 8,
        "{daily} calls for a daily verdict: {:?}",
        calls(&world)
    );
    let sts = ["right", "canary", "without", "wrong"];
    let of_sts = calls(&world)
        .iter()
        .filter(|call| sts.contains(&call.as_str()))
        .count();
    assert_eq!(of_sts, 4);

    // A further region of the same account.
    let further: portwarden_core::id::Region = "eu-west-1".parse().unwrap();
    let integrations = bench.integrations();
    integrations
        .claim_region(&party.scope, &party.integration, &further)
        .await
        .unwrap();
    let secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:s-a1b2c3";
    let request = VerifyRequest {
        region: further.clone(),
        ..party.claimed(
            VerifyReason::Claim,
            &json!({"secret-arn": secret, "role-arn": format!("{ROLE}-2")}),
        )
    };
    *world.failures.lock().unwrap() = vec![Some(refuse())];
    bench.test(&world, &party, request).await;
    let calls = calls(&world).len() + CONNECTORS_OWN;
    assert!(calls <= 12, "{calls} calls for a further region");
    let connection = integrations
        .find(&party.scope, &party.integration)
        .await
        .unwrap()
        .unwrap();
    let role_of = |region| {
        connection
            .trusted_role(region)
            .map(|trusted| trusted.role().to_string())
    };
    assert_eq!(role_of(&further), Some(format!("{ROLE}-2")));
    assert_eq!(role_of(&region()), Some(ROLE.to_owned()));
}

#[tokio::test]
async fn a_stack_in_another_region_of_the_confirmed_account_adds_the_region_once_its_role_is_proven() {
    let bench = Bench::new();
    let party = bench.quick_party().await;
    let further: portwarden_core::id::Region = "eu-west-1".parse().unwrap();
    let role = format!("{ROLE}-2");
    let secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:s-a1b2c3";
    let claimed = |party: &Party| VerifyRequest {
        region: further.clone(),
        ..party.claimed(
            VerifyReason::Claim,
            &json!({"secret-arn": secret, "role-arn": role}),
        )
    };
    let integrations = bench.integrations();
    let connection = async || {
        let found = integrations.find(&party.scope, &party.integration).await;
        found.unwrap().unwrap()
    };
    let regions = async || connection().await.regions.into_keys().collect::<Vec<_>>();
    // Before the tenant has named an account, nobody's message adds anything.
    let dropped = bench
        .run(&Arc::new(World::new(GOOD)), &party, claimed(&party))
        .await;
    assert_eq!(
        dropped,
        Verified::Dropped {
            reason: "other_region"
        }
    );
    bench.confirm(&party).await;
    let foreign = VerifyRequest {
        claim: Some(claim(
            &party,
            &json!({"role-arn": "arn:aws:iam::444455556666:role/r"}),
        )),
        ..claimed(&party)
    };
    let dropped = bench.run(&Arc::new(World::new(GOOD)), &party, foreign).await;
    assert_eq!(
        dropped,
        Verified::Dropped {
            reason: "other_region"
        }
    );
    // Nor does a role that is not there, or that opens for others.
    let ways: [crate::world::Trusts; 2] = [|_, _| false, |_, _| true];
    for trusts in ways {
        bench
            .test(&Arc::new(World::new(trusts)), &party, claimed(&party))
            .await;
        assert_eq!(regions().await, [region()]);
    }
    bench.queues.take_inventories();
    let world = Arc::new(World::new(GOOD));
    bench.test(&world, &party, claimed(&party)).await;
    assert_eq!(regions().await, [further.clone(), region()]);
    let connection = connection().await;
    let added = &connection.regions[&further];
    assert_eq!(
        connection.trusted_role(&further).unwrap().role().to_string(),
        role
    );
    assert_eq!(added.credentials.len(), 1, "the secret is read");
    let listed = bench.queues.take_inventories();
    assert!(
        listed.iter().any(|(request, _)| request.region == further),
        "{listed:?}"
    );
    // Rounds come to it from now on.
    let slot = portwarden_core::integration::Slot::of(&party.integration, &further);
    let scheduled = Directory::new(bench.store.clone()).scheduled(slot, None).await;
    assert!(scheduled.unwrap().iter().any(|entry| entry.region == further));
}

#[tokio::test]
async fn a_stack_that_says_another_external_id_is_named_until_it_says_ours() {
    let bench = Bench::new();
    let party = bench.party().await;
    let closed = Arc::new(World::new(|_, _| false));
    let not_opened = |verdict: &Verdict| code(verdict, Check::OpensWithExternalId).map(str::to_owned);
    let ours = || party.claimed(VerifyReason::Claim, &json!({}));
    let mistaken = |role: &str| {
        let said = json!({"role-arn": role, "external-id": "pw-00000000000000000000000000"});
        party.claimed(VerifyReason::Claim, &said)
    };
    // It names no role for the tenant, and explains nothing of another role.
    for _ in 0..2 {
        let dropped = Verified::Dropped {
            reason: "other_external_id",
        };
        let other = mistaken("arn:aws:iam::111122223333:role/other");
        assert_eq!(bench.run(&closed, &party, other).await, dropped);
        assert_eq!(closed.calls.lock().unwrap().len(), 0);
        let verdict = bench.verdict(&closed, &party).await;
        assert_eq!(not_opened(&verdict).as_deref(), Some("role_not_assumable"));
        closed.calls.lock().unwrap().clear();
    }
    let verdict = bench.test(&closed, &party, mistaken(ROLE)).await;
    assert_eq!(not_opened(&verdict).as_deref(), Some("role_other_external_id"));
    let problem = verdict.first_problem().unwrap();
    assert!(
        problem.message.contains("pw-00000000000000000000000000"),
        "{problem:?}"
    );
    assert!(problem.fix.contains(party.external_id.as_str()), "{problem:?}");
    // Whoever tests again is told the same.
    let verdict = bench.verdict(&closed, &party).await;
    assert_eq!(not_opened(&verdict).as_deref(), Some("role_other_external_id"));
    // The stack is mended, and its role is not there yet.
    let verdict = bench.test(&closed, &party, ours()).await;
    assert_eq!(not_opened(&verdict).as_deref(), Some("role_not_assumable"));
    let verdict = bench.verdict(&Arc::new(World::new(GOOD)), &party).await;
    assert_eq!(verdict.conclusion(), Conclusion::Trusted);
}

#[tokio::test]
async fn a_daily_test_keeps_what_the_whole_one_found() {
    let bench = Bench::new();
    let party = bench.party().await;
    let mut world = World::new(GOOD);
    world.denied.insert("ecr:ListImages");
    let world = Arc::new(world);
    bench.verdict(&world, &party).await;
    let verdict = bench
        .test(&world, &party, party.request(VerifyReason::Schedule))
        .await;
    assert_eq!(
        code(&verdict, Check::EcrListImages),
        Some("ecr_list_images_denied")
    );
    assert_eq!(
        verdict.outcome(Check::EcrDescribeRepositories),
        Some(&Outcome::Passed)
    );
}

#[tokio::test]
async fn what_could_not_be_found_out_is_tried_again_by_itself_and_not_for_ever() {
    let bench = Bench::new();
    let party = bench.party().await;
    let mut request = VerifyRequest {
        role: Some(ROLE.parse().unwrap()),
        ..party.request(VerifyReason::Asked)
    };
    let mut delays = Vec::new();
    for _ in 0..10 {
        let world = World::new(GOOD);
        // The canary's answer is lost each time.
        *world.failures.lock().unwrap() = vec![None, Some(AssumeError::Throttled)];
        let verdict = bench.test(&Arc::new(world), &party, request.clone()).await;
        assert_eq!(code(&verdict, Check::Canary), Some("throttled"));
        let Some((again, delay)) = bench.queues.take_later().pop() else {
            break;
        };
        delays.push(delay);
        request = again;
    }
    assert_eq!(delays, [1, 2, 5, 15].map(Duration::from_mins));
    // Not after a claim, which its sender repeats, and not for what only the tenant can mend.
    let world = World::new(GOOD);
    *world.failures.lock().unwrap() = vec![None, Some(AssumeError::Throttled)];
    bench
        .test(
            &Arc::new(world),
            &party,
            party.claimed(VerifyReason::Claim, &json!({})),
        )
        .await;
    bench
        .test(
            &Arc::new(World::new(|_, _| true)),
            &party,
            party.request(VerifyReason::Schedule),
        )
        .await;
    assert_eq!(bench.queues.take_later(), []);
}

#[tokio::test]
async fn a_silent_path_wrong_credentials_and_an_old_template_are_told_apart() {
    let bench = Bench::new();
    let party = bench.quick_party().await;
    bench.confirm(&party).await;
    let world = Arc::new(World::new(GOOD));
    let first = bench
        .test(&world, &party, party.claimed(VerifyReason::Claim, &json!({})))
        .await;
    assert_eq!(code(&first, Check::EventPath), Some("event_path_unproven"));
    let (integrations, at) = (bench.integrations(), world.clock.now());
    integrations
        .record_heartbeat(&party.scope, &party.integration, &region(), at, None)
        .await
        .unwrap();
    assert!(
        bench
            .test(&world, &party, party.request(VerifyReason::Schedule))
            .await
            .is_green()
    );
    world.clock.advance(Duration::from_mins(31));
    let silent = bench
        .test(&world, &party, party.request(VerifyReason::Schedule))
        .await;
    assert_eq!(code(&silent, Check::EventPath), Some("event_path_silent"));
    let problem = silent.first_problem().unwrap();
    assert!(
        problem.message.contains("1970-01-01T00:00:00Z"),
        "{}",
        problem.message
    );
    // A stack with a password of its tenant's, which is not the one that we know.
    let typed = json!({"secret-arn": "", "template-version": "0"});
    let wrong = bench
        .test(&world, &party, party.claimed(VerifyReason::Claim, &typed))
        .await;
    assert_eq!(code(&wrong, Check::EventPath), Some("credentials_wrong"));
    assert_eq!(code(&wrong, Check::TemplateVersion), Some("template_outdated"));
    assert_eq!(wrong.conclusion(), Conclusion::Trusted);
}

#[tokio::test]
async fn a_role_that_only_passes_later_is_still_named_by_whoever_named_it() {
    let bench = Bench::new();
    let (wide, good) = (Arc::new(World::new(|_, _| true)), Arc::new(World::new(GOOD)));
    // A message named it, and whoever knows the ExternalId can send one: it waits for the tenant's word.
    let party = bench.quick_party().await;
    bench
        .test(&wide, &party, party.claimed(VerifyReason::Claim, &json!({})))
        .await;
    assert!(matches!(bench.trust(&party).await, Trust::Refused { .. }));
    for reason in [VerifyReason::Schedule, VerifyReason::Asked] {
        bench.test(&good, &party, party.request(reason)).await;
        assert!(matches!(bench.trust(&party).await, Trust::Proposed { .. }));
        let found = bench.integrations().find(&party.scope, &party.integration).await;
        assert_eq!(found.unwrap().unwrap().integration.account, None);
        assert!(!calls(&good).iter().any(|call| call.starts_with("ecr:")));
    }
    // The tenant named it: once it passes, one test is enough for everything.
    let party = bench.party().await;
    bench.verify(&wide, &party, ROLE).await;
    assert!(matches!(bench.trust(&party).await, Trust::Refused { .. }));
    let verdict = bench
        .test(&good, &party, party.request(VerifyReason::Asked))
        .await;
    assert!(bench.trust(&party).await.is_proven());
    assert_eq!(verdict.outcome(Check::EcrListImages), Some(&Outcome::Passed));
}
