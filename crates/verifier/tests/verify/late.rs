//! What comes late: messages that a stack wrote before the last, and tests that began before the last.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    arn::RoleArn,
    integration::{Connection, NamedBy},
    verdict::{Check, Outcome, Verdict},
    work::{VerifyReason, VerifyRequest},
};
use portwarden_verifier::handler::Verified;
use serde_json::json;

use crate::world::{Bench, GOOD, Party, ROLE, World, code, region};

impl Bench {
    async fn connection(&self, party: &Party) -> Connection {
        let found = self.integrations().find(&party.scope, &party.integration).await;
        found.unwrap().unwrap()
    }
}

/// A message of the stack, written at some second, that names a secret in an account.
fn said(party: &Party, second: i64, account: &str) -> VerifyRequest {
    let claim = json!({
        "role-arn": ROLE, "external-id": party.external_id, "template-version": "4", "rate-minutes": 15,
        "secret-arn": format!("arn:aws:secretsmanager:us-east-1:{account}:secret:portwarden-Secret-a1b2c3"),
        "credential-generation": 2,
    });
    VerifyRequest {
        claim: Some(serde_json::from_value(claim).unwrap()),
        said_at: Some(Timestamp::from_second(second).unwrap()),
        ..party.request(VerifyReason::Claim)
    }
}

async fn tested(bench: &Bench, world: &Arc<World>, party: &Party, request: VerifyRequest) -> Verdict {
    match bench.run(world, party, request).await {
        Verified::Tested { verdict, .. } => verdict,
        other @ Verified::Dropped { .. } => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_that_comes_late_leads_to_what_the_stack_has_said_since() {
    let bench = Bench::new();
    let party = bench.quick_party().await;
    let account = "111122223333".parse().unwrap();
    let integrations = bench.integrations();
    let confirmed = integrations.confirm_account(&party.scope, &party.integration, &account);
    confirmed.await.unwrap();
    let world = Arc::new(World::new(GOOD));
    for (second, account, expected) in [
        (20, "111122223333", None),
        (10, "444455556666", None),
        (30, "444455556666", Some("secret_elsewhere")),
        (25, "111122223333", Some("secret_elsewhere")),
        (40, "111122223333", None),
    ] {
        let verdict = tested(&bench, &world, &party, said(&party, second, account)).await;
        assert_eq!(code(&verdict, Check::Credentials), expected, "{second}");
        let stored = bench.connection(&party).await.regions[&region()].clone();
        assert_eq!(stored.verdict, Some(verdict), "{second}");
        // A person's test is about what the stack said last, too.
        let asked = tested(&bench, &world, &party, party.request(VerifyReason::Asked)).await;
        let known = &bench.connection(&party).await.regions[&region()];
        assert_eq!((&known.claim, known.claim_at), (&stored.claim, stored.claim_at));
        assert_eq!(code(&asked, Check::Credentials), None, "{second}: it is no news");
    }
}

#[tokio::test]
async fn a_refusal_that_another_test_has_overtaken_is_looked_at_again() {
    let bench = Bench::new();
    let party = bench.party().await;
    let good = Arc::new(World::new(GOOD));
    let first = bench.verdict(&good, &party).await;
    let later = Verdict {
        at: first.at + SignedDuration::from_mins(1),
        ..first
    };
    let (integrations, role) = (bench.integrations(), ROLE.parse().unwrap());
    integrations
        .record_verdict(
            &party.scope,
            &party.integration,
            &region(),
            (&role, NamedBy::Tenant(None)),
            &later,
        )
        .await
        .unwrap();
    // Both begin a minute before the one that is stored; one finds what that did, the other a role that opens for all.
    for (world, again) in [
        (good, vec![]),
        (Arc::new(World::new(|_, _| true)), vec![Duration::from_mins(1)]),
    ] {
        let verdict = bench.verdict(&world, &party).await;
        let is_refused = matches!(verdict.outcome(Check::RefusesNone), Some(Outcome::Failed(_)));
        assert_eq!(is_refused, !again.is_empty());
        assert!(bench.trust(&party).await.is_proven());
        let known = bench.connection(&party).await.regions[&region()].verdict.clone();
        assert_eq!(known, Some(later.clone()));
        let delays: Vec<Duration> = bench
            .queues
            .take_later()
            .into_iter()
            .map(|(_, delay)| delay)
            .collect();
        assert_eq!(delays, again);
    }
}

#[tokio::test]
async fn of_the_roles_that_a_person_names_only_the_last_is_tested() {
    let bench = Bench::new();
    let party = bench.party().await;
    let world = Arc::new(World::new(GOOD));
    let other: RoleArn = "arn:aws:iam::111122223333:role/another".parse().unwrap();
    let named = |role: &RoleArn, second| VerifyRequest {
        role: Some(role.clone()),
        said_at: Some(Timestamp::from_second(second).unwrap()),
        ..party.request(VerifyReason::Asked)
    };
    tested(&bench, &world, &party, named(&other, 20)).await;
    assert_eq!(bench.trust(&party).await.role(), Some(&other));
    // The queue brings an older wish again.
    let again = bench.run(&world, &party, named(&ROLE.parse().unwrap(), 10)).await;
    let reason = "other_role_named";
    assert_eq!(again, Verified::Dropped { reason });
    assert_eq!(bench.trust(&party).await.role(), Some(&other));
}
