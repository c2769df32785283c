//! Tests that end in another order than they began in, and messages that come in another order than they were written in.

use super::*;

/// When a test begins.
fn began(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// What a stack of the role says that has made its credentials so many times.
fn said(connection: &Connection, generation: u32) -> Claim {
    serde_json::from_value(serde_json::json!({
        "role-arn": ROLE, "external-id": connection.integration.external_id, "template-version": "2",
        "credential-generation": generation,
    }))
    .unwrap()
}

/// A test of trust with this outcome, which also found something wrong with the credentials, or not.
fn found(at: Timestamp, trust: &Outcome, credentials: &Outcome) -> Verdict {
    let probe = |check, outcome: &Outcome| Probe {
        check,
        outcome: outcome.clone(),
    };
    let mut probes = Check::OF_TRUST.map(|check| probe(check, trust)).to_vec();
    probes.push(probe(Check::Credentials, credentials));
    Verdict {
        at,
        request: RequestId::generate(&OsRandomness),
        probes,
    }
}

impl World {
    async fn end(
        &self,
        party: &Party,
        claim: Option<(&Claim, Option<Timestamp>)>,
        verdict: &Verdict,
    ) -> Trust {
        let named_by = match claim {
            Some((claim, said_at)) => NamedBy::Message(claim, said_at),
            None => NamedBy::Tenant(None),
        };
        self.record_named(party, ROLE, named_by, verdict).await
    }

    async fn record_named(&self, party: &Party, arn: &str, by: NamedBy<'_>, verdict: &Verdict) -> Trust {
        let (integrations, region, role) = (&self.integrations, region(), role(arn));
        let recorded = integrations.record_verdict(&party.scope, &party.id, &region, (&role, by), verdict);
        recorded.await.unwrap().now
    }

    async fn region(&self, party: &Party) -> RegionConnection {
        self.connection(party).await.regions[&region()].clone()
    }
}

/// An integration over a table whose callers take turns, whose role is proven.
async fn proven() -> (World, Party) {
    let world = World::over(Arc::new(Interleaved::default()));
    let party = world.party().await;
    let passed = Outcome::Passed;
    world.end(&party, None, &found(began(0), &passed, &passed)).await;
    (world, party)
}

/// Lets two things happen at once, one of them so many turns after the other.
async fn at_once(first: impl Future, second: impl Future, turns: (usize, usize)) {
    let wait = async |turns| {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(
        async {
            wait(turns.0).await;
            first.await;
        },
        async {
            wait(turns.1).await;
            second.await;
        },
    );
}

/// Who waits for how long: each comes first, and both at every moment of the other.
fn turns() -> impl Iterator<Item = (usize, usize)> {
    (0..6).flat_map(|turns| [(turns, 0), (0, turns)])
}

#[tokio::test]
async fn of_two_tests_that_end_together_the_one_that_began_later_counts() {
    for trust in [Outcome::Passed, failed()] {
        for waits in turns() {
            let (world, party) = proven().await;
            let earlier = found(began(1), &Outcome::Passed, &failed());
            let later = found(began(2), &trust, &Outcome::Passed);
            at_once(
                world.end(&party, None, &earlier),
                world.end(&party, None, &later),
                waits,
            )
            .await;
            let region = world.region(&party).await;
            assert_eq!(region.verdict, Some(later), "{waits:?}");
            assert_eq!(region.trust.is_proven(), trust == Outcome::Passed, "{waits:?}");
        }
    }
}

#[tokio::test]
async fn of_what_a_stack_says_the_latest_counts_whichever_is_tested_last() {
    for waits in turns() {
        let (world, party) = proven().await;
        let connection = world.connection(&party).await;
        let [old, new] = [1, 2].map(|generation| said(&connection, generation));
        // The queue has brought the older message late, or again: its test begins last.
        let of_old = found(began(6), &Outcome::Passed, &failed());
        let of_new = found(began(5), &Outcome::Passed, &Outcome::Passed);
        at_once(
            world.end(&party, Some((&new, Some(began(4)))), &of_new),
            world.end(&party, Some((&old, Some(began(3)))), &of_old),
            waits,
        )
        .await;
        let region = world.region(&party).await;
        assert_eq!(
            (region.claim, region.verdict),
            (Some(new), Some(of_new)),
            "{waits:?}"
        );
    }
}

#[tokio::test]
async fn a_test_that_was_overtaken_changes_nothing() {
    let (world, party) = proven().await;
    let claim = said(&world.connection(&party).await, 2);
    let said_at = Some(began(4));
    let last = found(began(5), &Outcome::Passed, &Outcome::Passed);
    world.end(&party, Some((&claim, said_at)), &last).await;
    let before = world.region(&party).await;
    let older = said(&world.connection(&party).await, 1);
    for (claim, began_at) in [
        (Some((&claim, said_at)), 4),
        (Some((&older, Some(began(3)))), 4),
        (Some((&older, Some(began(3)))), 6),
        (Some((&older, None)), 6),
        (None, 4),
    ] {
        for trust in [Outcome::Passed, failed(), unknown()] {
            let now = world
                .end(&party, claim, &found(began(began_at), &trust, &failed()))
                .await;
            assert!(now.is_proven(), "who asks is told what is known");
            assert_eq!(world.region(&party).await, before, "{claim:?}");
        }
    }
    // One test writes twice, and what began later or was said later counts.
    let same = found(last.at, &Outcome::Passed, &failed());
    world.end(&party, Some((&claim, said_at)), &same).await;
    assert_eq!(world.region(&party).await.verdict, Some(same));
    let refused = found(began(7), &failed(), &failed());
    assert!(!world.end(&party, None, &refused).await.is_proven());
}

const OTHER: &str = "arn:aws:iam::111122223333:role/b";

#[tokio::test]
async fn a_role_that_a_person_names_counts_whatever_was_tested_meanwhile() {
    let (world, party) = proven().await;
    let last = found(began(5), &Outcome::Passed, &Outcome::Passed);
    world.end(&party, None, &last).await;
    let verdict = found(began(4), &Outcome::Passed, &Outcome::Passed);
    let now = world
        .record_named(&party, OTHER, NamedBy::Tenant(Some(began(3))), &verdict)
        .await;
    assert_eq!(now.role(), Some(&role(OTHER)));
}

#[tokio::test]
async fn a_test_of_a_role_that_another_has_replaced_changes_nothing() {
    for trust in [Outcome::Passed, failed(), unknown()] {
        for waits in turns() {
            let (world, party) = proven().await;
            let passed = Outcome::Passed;
            let [of_stored, of_named] = [
                found(began(2), &trust, &failed()),
                found(began(1), &passed, &passed),
            ];
            at_once(
                world.record_named(&party, ROLE, NamedBy::Nobody(None), &of_stored),
                world.record_named(&party, OTHER, NamedBy::Tenant(Some(began(1))), &of_named),
                waits,
            )
            .await;
            let region = world.region(&party).await;
            assert!(region.trust.is_proven(), "{waits:?}");
            assert_eq!(
                (region.trust.role(), region.verdict),
                (Some(&role(OTHER)), Some(of_named)),
                "{waits:?}"
            );
        }
    }
}

#[tokio::test]
async fn of_the_roles_that_a_person_names_the_last_counts_whichever_is_tested_last() {
    for waits in turns() {
        let (world, party) = proven().await;
        let verdict = found(began(1), &Outcome::Passed, &Outcome::Passed);
        at_once(
            world.record_named(&party, OTHER, NamedBy::Tenant(Some(began(2))), &verdict),
            world.record_named(&party, ROLE, NamedBy::Tenant(Some(began(1))), &verdict),
            waits,
        )
        .await;
        let region = world.region(&party).await;
        assert_eq!(region.trust.role(), Some(&role(OTHER)), "{waits:?}");
    }
}

#[tokio::test]
async fn what_a_stack_said_before_a_person_named_another_role_replaces_it_no_more() {
    let (world, party) = proven().await;
    let verdict = found(began(3), &Outcome::Passed, &Outcome::Passed);
    world
        .record_named(&party, OTHER, NamedBy::Tenant(Some(began(3))), &verdict)
        .await;
    let claim = said(&world.connection(&party).await, 1);
    let late = found(began(4), &Outcome::Passed, &Outcome::Passed);
    for (said_at, expected) in [(None, OTHER), (Some(2), OTHER), (Some(3), ROLE), (Some(4), ROLE)] {
        let (world, party) = (&world, &party);
        let now = world.end(party, Some((&claim, said_at.map(began))), &late).await;
        assert_eq!(now.role(), Some(&role(expected)), "{said_at:?}");
    }
}

#[tokio::test]
async fn a_role_is_named_in_the_order_of_the_wishes() {
    let world = World::new();
    let party = world.party().await;
    let name = async |arn: &str, at: Option<i64>| {
        let (integrations, region, role) = (&world.integrations, region(), role(arn));
        let named = integrations.claim_role(&party.scope, &party.id, &region, &role, at.map(began));
        (
            named.await.unwrap(),
            world.region(&party).await.trust.role().cloned(),
        )
    };
    assert_eq!(name(ROLE, Some(2)).await, (true, Some(role(ROLE))));
    assert_eq!(name(OTHER, Some(1)).await, (false, Some(role(ROLE))));
    assert_eq!(name(OTHER, None).await, (false, Some(role(ROLE))));
    assert_eq!(name(OTHER, Some(3)).await, (true, Some(role(OTHER))));
    assert_eq!(name(ROLE, Some(2)).await, (false, Some(role(OTHER))));

    // What is proven is kept until the test, and the wish is known.
    let verdict = found(began(3), &Outcome::Passed, &Outcome::Passed);
    world
        .record_named(&party, OTHER, NamedBy::Tenant(Some(began(3))), &verdict)
        .await;
    assert_eq!(name(ROLE, Some(5)).await, (true, Some(role(OTHER))));
    assert_eq!(name(ROLE, Some(4)).await, (false, Some(role(OTHER))));
}

#[tokio::test]
async fn a_test_of_the_role_that_is_stored_counts_and_binds_what_its_namer_could() {
    for (is_tenants, account) in [(true, Some("111122223333")), (false, None)] {
        let world = World::new();
        let party = world.party().await;
        let claim = said(&world.connection(&party).await, 1);
        let namer = if is_tenants {
            NamedBy::Tenant(None)
        } else {
            NamedBy::Message(&claim, None)
        };
        let unclear = found(began(1), &unknown(), &unknown());
        world.record_named(&party, ROLE, namer, &unclear).await;
        let passed = found(began(2), &Outcome::Passed, &Outcome::Passed);
        let now = world
            .record_named(&party, ROLE, NamedBy::Nobody(None), &passed)
            .await;
        assert_eq!(now.is_proven(), is_tenants);
        assert_eq!(now.role(), Some(&role(ROLE)));
        assert_eq!(world.region(&party).await.verdict, Some(passed));
        let bound = world.connection(&party).await.integration.account;
        assert_eq!(bound, account.map(|account| account.parse().unwrap()));
    }
}
