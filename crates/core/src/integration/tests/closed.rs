//! Since when a role is closed, which is how a tenant's farewell is told from a failure.

use super::*;
use crate::verdict::NOT_ASSUMABLE;

/// A test that began at a second, and what it found when it opened the role.
fn opened(second: i64, outcome: &Outcome) -> Verdict {
    let probe = |check| Probe {
        check,
        outcome: if check == Check::OpensWithExternalId {
            outcome.clone()
        } else {
            Outcome::Passed
        },
    };
    Verdict {
        at: Timestamp::from_second(second).unwrap(),
        request: RequestId::generate(&OsRandomness),
        probes: Check::OF_TRUST.map(probe).to_vec(),
    }
}

#[tokio::test]
async fn a_role_is_closed_from_the_first_test_that_found_it_so_until_it_opens() {
    let world = World::new();
    let party = world.party().await;
    let closed = Outcome::Failed(Problem::new(NOT_ASSUMABLE, "x", "x"));
    let other = role("arn:aws:iam::111122223333:role/other");
    for (second, of, outcome, expected) in [
        (1, &role(ROLE), &closed, Some((1, 1))),
        (2, &role(ROLE), &unknown(), Some((1, 1))),
        // Such as a region that the account has switched off.
        (3, &role(ROLE), &failed(), Some((1, 1))),
        (4, &role(ROLE), &closed, Some((1, 2))),
        (5, &role(ROLE), &Outcome::Passed, None),
        (6, &role(ROLE), &failed(), None),
        (7, &role(ROLE), &Outcome::Passed, None),
        // What is in use does not close with a role that was to take its place.
        (8, &other, &closed, None),
        (9, &role(ROLE), &closed, Some((9, 1))),
    ] {
        let (integrations, region, verdict) = (&world.integrations, region(), opened(second, outcome));
        let named = (of, NamedBy::Tenant(None));
        let recorded = integrations.record_verdict(&party.scope, &party.id, &region, named, &verdict);
        recorded.await.unwrap();
        let found = world.connection(&party).await.regions[&region].closed;
        let found = found.map(|closed| (closed.since.as_second(), closed.tests));
        assert_eq!(found, expected, "second {second}");
    }
}
