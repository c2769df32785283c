//! What a message claims, and what a test of it changes.

use super::*;

fn claim(connection: &Connection, role: &str) -> Claim {
    serde_json::from_value(serde_json::json!({
        "role-arn": role, "external-id": connection.integration.external_id, "template-version": "2",
        "rate-minutes": 15,
    }))
    .unwrap()
}

fn all(outcome: &Outcome) -> Verdict {
    let probe = |check| Probe {
        check,
        outcome: outcome.clone(),
    };
    Verdict {
        at: Timestamp::UNIX_EPOCH,
        request: RequestId::generate(&OsRandomness),
        probes: Check::OF_TRUST.map(probe).to_vec(),
    }
}

impl World {
    async fn record_claimed(&self, party: &Party, role: &str, outcome: &Outcome) -> Trust {
        let claim = claim(&self.connection(party).await, role);
        let (integrations, region, verdict) = (&self.integrations, region(), all(outcome));
        let named = (&claim.role, NamedBy::Message(&claim, None));
        let recorded = integrations.record_verdict(&party.scope, &party.id, &region, named, &verdict);
        recorded.await.unwrap().now
    }
}

#[tokio::test]
async fn a_claimed_role_is_only_proposed_until_its_account_is_confirmed() {
    const STRANGER: &str = "arn:aws:iam::444455556666:role/mine";
    let world = World::new();
    let [party, other] = [world.party().await, world.party().await];
    let confirm = async |account: &str| {
        let account = account.parse().unwrap();
        let confirmed = world
            .integrations
            .confirm_account(&party.scope, &party.id, &account);
        confirmed.await.unwrap()
    };
    // Whoever knows the ExternalId can propose a role, which binds and opens nothing.
    let proposed = world.record_claimed(&party, STRANGER, &Outcome::Passed).await;
    assert!(matches!(proposed, Trust::Proposed { .. }), "{proposed:?}");
    let connection = world.connection(&party).await;
    assert_eq!(
        (connection.trusted_role(&region()), connection.integration.account),
        (None, None)
    );
    let owner = world
        .directory
        .role_owner(&role(STRANGER), &other.id)
        .await
        .unwrap();
    assert_eq!(owner, RoleOwner::Nobody);
    // Another claim takes its place only if it passes.
    for outcome in [failed(), unknown()] {
        let kept = world.record_claimed(&party, ROLE, &outcome).await;
        assert_eq!(kept.role(), Some(&role(STRANGER)));
    }
    assert_eq!(confirm("111122223333").await, Confirmed::Now);
    assert_eq!(confirm("111122223333").await, Confirmed::Before);
    // The proposed role lies elsewhere, and does not become proven by that.
    assert_eq!(world.connection(&party).await.trusted_role(&region()), None);
    let proven = world.record_claimed(&party, ROLE, &Outcome::Passed).await;
    assert!(proven.is_proven());
    let connection = world.connection(&party).await;
    assert_eq!(connection.trusted_role(&region()).unwrap().role(), &role(ROLE));
    assert_eq!(
        connection.regions[&region()].claim,
        Some(claim(&connection, ROLE)),
        "what the stack said is kept"
    );
    assert_eq!(
        confirm("444455556666").await,
        Confirmed::OtherAccount("111122223333".parse().unwrap())
    );
    let (foreign, nowhere) = (world.party().await, IntegrationId::generate(&OsRandomness));
    for (scope, id) in [(&foreign.scope, &party.id), (&party.scope, &nowhere)] {
        let account = "111122223333".parse().unwrap();
        let confirmed = world.integrations.confirm_account(scope, id, &account).await;
        assert_eq!(confirmed.unwrap(), Confirmed::Missing);
    }
}

#[tokio::test]
async fn a_proof_is_as_old_as_it_is_and_a_claim_goes_with_its_role() {
    let world = World::new();
    let party = world.party().await;
    let shown = async || world.connection(&party).await.regions[&region()].clone();
    world.record_claimed(&party, ROLE, &Outcome::Passed).await;
    let proposed = shown().await;
    assert!(proposed.verdict.is_some() && proposed.claim.is_some());
    let named = role("arn:aws:iam::111122223333:role/b");
    world
        .record(&party, &region(), &named, &Outcome::Passed)
        .await
        .unwrap();
    let proven = shown().await;
    assert!(proven.trust.is_proven() && proven.claim.is_none());
    assert_eq!(proven.last_proven, Some(Timestamp::UNIX_EPOCH));
    let later = Verdict {
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1),
        ..all(&unknown())
    };
    world
        .integrations
        .record_verdict(
            &party.scope,
            &party.id,
            &region(),
            (&named, NamedBy::Tenant(None)),
            &later,
        )
        .await
        .unwrap();
    let unclear = shown().await;
    assert!(unclear.trust.is_proven());
    assert_eq!(unclear.verdict, Some(later));
    assert_eq!(unclear.last_proven, Some(Timestamp::UNIX_EPOCH));
}

#[tokio::test]
async fn a_role_that_a_message_named_stays_named_by_it() {
    for outcome in [failed(), unknown()] {
        let world = World::new();
        let party = world.party().await;
        let known = async || world.connection(&party).await.regions[&region()].clone();
        world.record_claimed(&party, ROLE, &outcome).await;
        let claimed = claim(&world.connection(&party).await, ROLE);
        assert_eq!(known().await.claim, Some(claimed.clone()));
        // What it says later counts once the role passes.
        world.record_claimed(&party, ROLE, &outcome).await;
        assert_eq!(known().await.claim, Some(claimed));
        // A person names another one.
        let named = role("arn:aws:iam::111122223333:role/b");
        world.record(&party, &region(), &named, &outcome).await.unwrap();
        assert_eq!((known().await.claim, known().await.claim_at), (None, None));
    }
}

#[tokio::test]
async fn a_claim_that_fails_hides_nothing_of_the_role_that_works() {
    let world = World::new();
    let party = world.party().await;
    world
        .record(&party, &region(), &role(ROLE), &Outcome::Passed)
        .await
        .unwrap();
    let before = world.connection(&party).await.regions[&region()].clone();
    let kept = world
        .record_claimed(&party, "arn:aws:iam::111122223333:role/other", &failed())
        .await;
    assert!(kept.is_proven());
    assert_eq!(world.connection(&party).await.regions[&region()], before);
}

#[tokio::test]
async fn a_claim_from_another_account_takes_no_roles_place_not_even_a_closed_ones() {
    let world = World::new();
    let party = world.party().await;
    for outcome in [Outcome::Passed, failed()] {
        world
            .record(&party, &region(), &role(ROLE), &outcome)
            .await
            .unwrap();
    }
    let before = world.connection(&party).await.regions[&region()].clone();
    assert!(
        matches!(before.trust, Trust::Refused { .. }),
        "{:?}",
        before.trust
    );
    for outcome in [failed(), unknown()] {
        let kept = world
            .record_claimed(&party, "arn:aws:iam::444455556666:role/mine", &outcome)
            .await;
        assert_eq!(kept, before.trust);
        assert_eq!(world.connection(&party).await.regions[&region()], before);
    }
    // A stack that was made anew in the account has a role of another name, and what is wrong with it is to be seen.
    let anew = "arn:aws:iam::111122223333:role/anew";
    let taken = world.record_claimed(&party, anew, &failed()).await;
    assert_eq!(taken.role(), Some(&role(anew)));
}

#[tokio::test]
async fn one_claim_of_an_integration_counts_in_a_minute() {
    let world = World::new();
    let [a, b] = [world.party().await, world.party().await];
    let of_a = claim(&world.connection(&a).await, ROLE);
    let note = async |party: &Party, second: i64| {
        let now = Timestamp::from_second(second).unwrap();
        world
            .directory
            .note_claim(&party.id, &region(), &of_a, now)
            .await
            .unwrap()
    };
    for (second, is_first) in [
        (0, true),
        (1, false),
        (59, false),
        (60, true),
        (60, false),
        (30, false),
        (600, true),
    ] {
        assert_eq!(note(&a, second).await, is_first, "{second}");
    }
    assert!(note(&b, 600).await, "each integration has its own");
}

#[tokio::test]
async fn new_credentials_end_the_wait_for_them() {
    let world = World::new();
    let party = world.party().await;
    let (scope, id, region) = (&party.scope, &party.id, region());
    let until = Timestamp::from_second(60).unwrap();
    let integrations = &world.integrations;
    integrations
        .expect_credentials(scope, id, &region, until)
        .await
        .unwrap();
    assert_eq!(
        world.connection(&party).await.regions[&region].renewal_until,
        Some(until)
    );
    let new = (
        Username::parse("portwarden").unwrap(),
        Password::generate(&OsRandomness),
    );
    for is_new in [true, false] {
        let added = integrations
            .add_credentials(scope, id, &region, (&new.0, &new.1), 2)
            .await;
        assert_eq!(added.unwrap(), is_new);
    }
    integrations
        .note_first_use(scope, id, &region, until)
        .await
        .unwrap();
    integrations
        .note_first_use(scope, id, &region, Timestamp::MAX)
        .await
        .unwrap();
    let stored = world.connection(&party).await.regions[&region].clone();
    let generations: Vec<_> = stored
        .credentials
        .iter()
        .map(|c| (c.generation, c.first_used_at))
        .collect();
    assert_eq!(generations, [(1, None), (2, Some(until))]);
    assert_eq!(stored.renewal_until, None);
    // A foreign tenant changes nothing.
    let foreign = world.party().await;
    integrations
        .expect_credentials(&foreign.scope, id, &region, Timestamp::MAX)
        .await
        .unwrap();
    assert_eq!(
        world.connection(&party).await.regions[&region].renewal_until,
        None
    );
}

#[tokio::test]
async fn what_a_mistaken_stack_says_is_known_until_it_is_mended() {
    let world = World::new();
    let party = world.party().await;
    let mistaken = Claim {
        external_id: ExternalId::generate(&OsRandomness),
        ..claim(&world.connection(&party).await, ROLE)
    };
    let note = async |mistaken: Option<&Claim>| {
        let (integrations, region) = (&world.integrations, region());
        let noted = integrations.note_mistaken(&party.scope, &party.id, &region, mistaken);
        noted.await.unwrap();
        world.connection(&party).await.regions[&region].mistaken.clone()
    };
    assert_eq!(note(Some(&mistaken)).await, Some(mistaken.clone()));
    assert_eq!(note(None).await, None);
    note(Some(&mistaken)).await;
    // A role that is proven has no other ExternalId.
    world
        .record(&party, &region(), &role(ROLE), &Outcome::Passed)
        .await
        .unwrap();
    assert_eq!(world.connection(&party).await.regions[&region()].mistaken, None);
}

#[tokio::test]
async fn silence_begins_when_two_heartbeats_are_missing() {
    let world = World::new();
    let party = world.party().await;
    let region = region();
    world.record_claimed(&party, ROLE, &Outcome::Passed).await;
    assert_eq!(
        world.connection(&party).await.silent_from(&region),
        None,
        "none has come"
    );
    let at = Timestamp::UNIX_EPOCH;
    let beat = world
        .integrations
        .record_heartbeat(&party.scope, &party.id, &region, at, None);
    beat.await.unwrap();
    let expected = Timestamp::from_second(31 * 60).unwrap();
    assert_eq!(
        world.connection(&party).await.silent_from(&region),
        Some(expected)
    );
}
