mod asked;
mod claims;
mod closed;
mod late;

use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::{
    arn::RoleArn,
    endpoint::{CredentialChecker, Password, Username},
    id::RequestId,
    problem::Problem,
    random::OsRandomness,
    scope::{OperatorScope, TenantScope},
    store::{Interleaved, MemoryStore, Store, StoreError},
    tenant::Tenants,
    verdict::Probe,
};

struct World {
    integrations: Integrations,
    directory: Directory,
}

struct Party {
    scope: TenantScope,
    id: IntegrationId,
}

const ROLE: &str = "arn:aws:iam::111122223333:role/a";

fn region() -> Region {
    "us-east-1".parse().unwrap()
}

fn role(text: &str) -> RoleArn {
    text.parse().unwrap()
}

impl World {
    fn new() -> Self {
        Self::over(Arc::new(MemoryStore::default()))
    }

    fn over(store: Arc<dyn Store>) -> Self {
        Self {
            integrations: Integrations::new(store.clone()),
            directory: Directory::new(store),
        }
    }

    async fn party(&self) -> Party {
        let scope = TenantScope::of(TenantId::generate(&OsRandomness));
        let regions = ["us-east-1", "eu-west-1"].map(|region| NewRegion::Classic {
            region: region.parse().unwrap(),
            username: Username::parse("events").unwrap(),
            password: Password::generate(&OsRandomness),
        });
        let now = Timestamp::UNIX_EPOCH;
        let made = self
            .integrations
            .create(&scope, "n", &regions, now, &OsRandomness)
            .await
            .unwrap();
        Party {
            id: made.integration.id.clone(),
            scope,
        }
    }

    async fn record(
        &self,
        party: &Party,
        region: &Region,
        role: &RoleArn,
        outcome: &Outcome,
    ) -> Result<Trust, RecordVerdictError> {
        let probes = Check::OF_TRUST
            .map(|check| Probe {
                check,
                outcome: outcome.clone(),
            })
            .to_vec();
        let at = Timestamp::UNIX_EPOCH;
        let verdict = Verdict {
            at,
            request: RequestId::generate(&OsRandomness),
            probes,
        };
        let recorded = self
            .integrations
            .record_verdict(
                &party.scope,
                &party.id,
                region,
                (role, NamedBy::Tenant(None)),
                &verdict,
            )
            .await?;
        Ok(recorded.now)
    }

    /// Reads an integration, and checks that who reads its roles only is told the same of them.
    async fn connection(&self, party: &Party) -> Connection {
        let connection = self.integrations.find(&party.scope, &party.id).await;
        let connection = connection.unwrap().unwrap();
        let roles = self.integrations.roles(&party.scope, &party.id).await;
        let roles = roles.unwrap().unwrap();
        assert_eq!(roles.integration, connection.integration);
        for name in ["us-east-1", "eu-west-1", "eu-north-1"] {
            let name: Region = name.parse().unwrap();
            assert_eq!(roles.has(&name), connection.regions.contains_key(&name));
            assert_eq!(roles.trusted_role(&name), connection.trusted_role(&name));
        }
        connection
    }
}

fn failed() -> Outcome {
    Outcome::Failed(Problem::new("x", "x", "x"))
}

fn unknown() -> Outcome {
    Outcome::Unknown(Problem::new("x", "x", "x"))
}

#[tokio::test]
async fn only_a_proven_role_of_this_integration_can_be_assumed() {
    let world = World::new();
    let party = world.party().await;
    assert_eq!(world.connection(&party).await.trusted_role(&region()), None);
    assert!(
        world
            .integrations
            .claim_role(&party.scope, &party.id, &region(), &role(ROLE), None)
            .await
            .unwrap()
    );
    assert_eq!(world.connection(&party).await.trusted_role(&region()), None);
    world
        .record(&party, &region(), &role(ROLE), &unknown())
        .await
        .unwrap();
    assert_eq!(world.connection(&party).await.trusted_role(&region()), None);
    world
        .record(&party, &region(), &role(ROLE), &Outcome::Passed)
        .await
        .unwrap();
    let connection = world.connection(&party).await;
    let trusted = connection.trusted_role(&region()).unwrap();
    assert_eq!(trusted.external_id(), &connection.integration.external_id);
    assert_eq!((trusted.role(), trusted.scope()), (&role(ROLE), &party.scope));
    assert_eq!(
        connection.integration.account.as_ref(),
        Some(role(ROLE).account())
    );
    assert_eq!(connection.trusted_role(&"eu-west-1".parse().unwrap()), None);

    // What could not be found out keeps it; what failed suspends it at once.
    world
        .record(&party, &region(), &role(ROLE), &unknown())
        .await
        .unwrap();
    let kept = world.connection(&party).await.trusted_role(&region());
    assert_eq!(kept, Some(trusted));
    world
        .record(&party, &region(), &role(ROLE), &failed())
        .await
        .unwrap();
    assert_eq!(world.connection(&party).await.trusted_role(&region()), None);

    world
        .record(&party, &region(), &role(ROLE), &Outcome::Passed)
        .await
        .unwrap();
    assert!(
        world
            .integrations
            .remove(&party.scope, &party.id, Timestamp::UNIX_EPOCH)
            .await
            .unwrap()
    );
    assert_eq!(world.connection(&party).await.trusted_role(&region()), None);
    let late = world
        .record(&party, &region(), &role(ROLE), &Outcome::Passed)
        .await;
    assert!(matches!(late, Err(RecordVerdictError::Missing)), "{late:?}");
}

#[tokio::test]
async fn a_role_in_another_account_than_the_integration_opens_nothing() {
    let world = World::new();
    let party = world.party().await;
    let mut integration = world.connection(&party).await.integration;
    let proven = Trust::Proven {
        role: role(ROLE),
        at: Timestamp::UNIX_EPOCH,
    };
    for (account, opens) in [
        (Some("111122223333"), true),
        (Some("444455556666"), false),
        (None, false),
    ] {
        integration.account = account.map(|account| account.parse().unwrap());
        let trusted = roles::trusted(&integration, &region(), &proven);
        assert_eq!(trusted.is_some(), opens, "{account:?}");
    }
}

#[tokio::test]
async fn the_integration_is_written_when_a_role_becomes_proven_and_not_when_it_stays_so() {
    let world = World::new();
    let party = world.party().await;
    let revision = async || {
        let key = records::integration_item(&party.scope, &party.id);
        let stored = world.integrations.store.get(&key).await;
        stored.unwrap().unwrap().revision
    };
    let mut revisions = vec![revision().await];
    for _ in 0..2 {
        let proven = world
            .record(&party, &region(), &role(ROLE), &Outcome::Passed)
            .await;
        assert!(proven.unwrap().is_proven());
        revisions.push(revision().await);
    }
    // Whoever confirms another account meanwhile looks again after the first, and needs not after the second.
    assert_ne!(revisions[0], revisions[1]);
    assert_eq!(revisions[1], revisions[2]);
}

#[test]
fn what_is_known_of_a_role_is_read_as_it_is_written() {
    let (role, at) = (role(ROLE), Timestamp::UNIX_EPOCH);
    for trust in [
        Trust::Unnamed,
        Trust::Claimed { role: role.clone() },
        Trust::Proposed {
            role: role.clone(),
            at,
        },
        Trust::Proven {
            role: role.clone(),
            at,
        },
        Trust::Refused { role, at },
    ] {
        let written = serde_json::to_value(&trust).unwrap();
        assert_eq!(serde_json::from_value::<Trust>(written.clone()).unwrap(), trust);
        for part in ["state", "role", "at"] {
            let mut cut = written.clone();
            let was_there = cut.as_object_mut().unwrap().remove(part).is_some();
            let read = serde_json::from_value::<Trust>(cut);
            assert_eq!(read.is_err(), was_there, "{written} without its {part}: {read:?}");
        }
    }
}

#[tokio::test]
async fn hashes_that_are_remembered_are_those_that_are_computed() {
    let world = World::new();
    let party = world.party().await;
    let username = Username::parse("events").unwrap();
    let passwords = [(), ()].map(|()| Password::generate(&OsRandomness));
    let checker = Arc::new(CredentialChecker::new(&OsRandomness));
    let remembering = world.integrations.clone().remembering(checker);
    for password in &passwords {
        let mut are_new = Vec::new();
        for integrations in [&world.integrations, &remembering, &remembering] {
            let (region, stack) = (region(), (&username, password));
            let added = integrations.add_credentials(&party.scope, &party.id, &region, stack, 1);
            are_new.push(added.await.unwrap());
        }
        assert_eq!(are_new, [true, false, false]);
    }
}

#[tokio::test]
async fn a_role_has_one_owner() {
    let world = World::new();
    let [a, b] = [world.party().await, world.party().await];
    assert_eq!(
        world.directory.role_owner(&role(ROLE), &a.id).await.unwrap(),
        RoleOwner::Nobody
    );
    world
        .record(&b, &region(), &role(ROLE), &Outcome::Passed)
        .await
        .unwrap();
    assert_eq!(
        world.directory.role_owner(&role(ROLE), &a.id).await.unwrap(),
        RoleOwner::Other
    );
    assert_eq!(
        world.directory.role_owner(&role(ROLE), &b.id).await.unwrap(),
        RoleOwner::Asker
    );
    let stolen = world.record(&a, &region(), &role(ROLE), &Outcome::Passed).await;
    assert!(matches!(stolen, Err(RecordVerdictError::RoleTaken)), "{stolen:?}");
    assert_eq!(
        world.connection(&a).await.regions[&region()].trust,
        Trust::Unnamed
    );
    // A role that fails its test binds nobody, so that naming another's role blocks nothing.
    let free = role("arn:aws:iam::111122223333:role/free");
    world.record(&a, &region(), &free, &failed()).await.unwrap();
    assert_eq!(
        world.directory.role_owner(&free, &b.id).await.unwrap(),
        RoleOwner::Nobody
    );
}

#[tokio::test]
async fn a_replaced_role_is_free_again_when_no_region_uses_it() {
    let world = World::new();
    let party = world.party().await;
    let other_region: Region = "eu-west-1".parse().unwrap();
    let [first, second] = [role(ROLE), role("arn:aws:iam::111122223333:role/b")];
    world
        .record(&party, &region(), &first, &Outcome::Passed)
        .await
        .unwrap();
    world
        .record(&party, &other_region, &first, &Outcome::Passed)
        .await
        .unwrap();
    // A failing candidate does not displace what works.
    let kept = world.record(&party, &region(), &second, &failed()).await.unwrap();
    assert_eq!(kept.role(), Some(&first));
    let stranger = world.party().await;
    for (replaced, owner) in [(&region(), RoleOwner::Other), (&other_region, RoleOwner::Nobody)] {
        world
            .record(&party, replaced, &second, &Outcome::Passed)
            .await
            .unwrap();
        assert_eq!(
            world.directory.role_owner(&first, &stranger.id).await.unwrap(),
            owner
        );
    }
}

#[tokio::test]
async fn an_integration_is_bound_to_one_account() {
    let world = World::new();
    let party = world.party().await;
    world
        .record(&party, &region(), &role(ROLE), &Outcome::Passed)
        .await
        .unwrap();
    let elsewhere = role("arn:aws:iam::444455556666:role/a");
    let moved = world
        .record(
            &party,
            &"eu-west-1".parse().unwrap(),
            &elsewhere,
            &Outcome::Passed,
        )
        .await;
    assert!(
        matches!(moved, Err(RecordVerdictError::OtherAccount)),
        "{moved:?}"
    );
}

#[tokio::test]
async fn a_role_is_proven_in_no_account_but_the_one_that_is_confirmed() {
    // The tenant names another account while a role in the first one is being proven, at every moment of it.
    let elsewhere: AccountId = "444455556666".parse().unwrap();
    let mut ends = Vec::new();
    for (confirm_after, record_after) in (0..8).flat_map(|n| [(n, 0), (0, n)]) {
        let world = World::over(Arc::new(Interleaved::default()));
        let party = world.party().await;
        let account = role(ROLE).account().clone();
        world
            .integrations
            .confirm_account(&party.scope, &party.id, &account)
            .await
            .unwrap();
        let wait = async |turns| {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        };
        let (confirmed, _) = tokio::join!(
            async {
                wait(confirm_after).await;
                world
                    .integrations
                    .confirm_account(&party.scope, &party.id, &elsewhere)
                    .await
                    .unwrap()
            },
            async {
                wait(record_after).await;
                world
                    .record(&party, &region(), &role(ROLE), &Outcome::Passed)
                    .await
            },
        );
        let connection = world.connection(&party).await;
        if connection.regions[&region()].trust.is_proven() {
            assert_eq!(connection.integration.account, Some(account.clone()));
            assert_eq!(confirmed, Confirmed::OtherAccount(account));
        } else {
            assert_eq!(confirmed, Confirmed::Now);
        }
        ends.push(confirmed == Confirmed::Now);
    }
    assert!(
        ends.contains(&true) && ends.contains(&false),
        "both come first somewhere"
    );
}

/// Fills each call's bytes with one byte: the first with the first one, and from the last on always with that.
struct Repeating(std::sync::Mutex<Vec<u8>>);

impl crate::random::Randomness for Repeating {
    fn fill(&self, bytes: &mut [u8]) {
        let mut left = self.0.lock().unwrap();
        let next = if left.len() > 1 { left.remove(0) } else { left[0] };
        bytes.fill(next);
    }
}

#[tokio::test]
async fn a_removed_integrations_ids_are_never_given_out_again() {
    let world = World::new();
    let [first, second] = [world.party().await, world.party().await];
    let now = Timestamp::UNIX_EPOCH;
    // The first call makes the integration's id, the second its ExternalId.
    let create = async |party: &Party, bytes: &[u8]| {
        let randomness = Repeating(bytes.to_vec().into());
        let made = world
            .integrations
            .create(&party.scope, "n", &[], now, &randomness);
        made.await.map(|made| made.integration)
    };
    let gone = create(&first, &[1, 2]).await.unwrap();
    assert!(
        world
            .integrations
            .remove(&first.scope, &gone.id, now)
            .await
            .unwrap()
    );
    let kept = world.integrations.find(&first.scope, &gone.id).await.unwrap();

    // Not to its own tenant, and not to another one; neither of both ids.
    for party in [&first, &second] {
        for bytes in [[1, 2], [1, 3], [3, 2]] {
            let refused = create(party, &bytes).await;
            assert!(
                matches!(refused, Err(StoreError::Unavailable(_))),
                "{bytes:?}: {refused:?}"
            );
        }
    }
    assert_eq!(
        world.integrations.find(&first.scope, &gone.id).await.unwrap(),
        kept
    );
    let endpoint = world.directory.endpoint(&gone.id).await.unwrap().unwrap();
    assert!(endpoint.removed && endpoint.tenant == *first.scope.tenant());

    let again = create(&first, &[3, 4]).await.unwrap();
    assert!(again.id != gone.id && again.external_id != gone.external_id);
}

#[tokio::test]
async fn a_foreign_integration_is_as_a_missing_one() {
    let world = World::new();
    let [a, b] = [world.party().await, world.party().await];
    assert_eq!(world.integrations.find(&a.scope, &b.id).await.unwrap(), None);
    assert!(
        !world
            .integrations
            .claim_role(&a.scope, &b.id, &region(), &role(ROLE), None)
            .await
            .unwrap()
    );
    assert!(
        !world
            .integrations
            .remove(&a.scope, &b.id, Timestamp::UNIX_EPOCH)
            .await
            .unwrap()
    );
    let own: Vec<_> = world.integrations.list(&a.scope).await.unwrap();
    assert_eq!(own.iter().map(|c| &c.integration.id).collect::<Vec<_>>(), [&a.id]);
}

#[tokio::test]
async fn the_endpoint_knows_what_it_needs_and_the_latest_heartbeat_counts() {
    let world = World::new();
    let party = world.party().await;
    world
        .record(&party, &region(), &role(ROLE), &Outcome::Passed)
        .await
        .unwrap();
    let endpoint = world.directory.endpoint(&party.id).await.unwrap().unwrap();
    assert_eq!(
        (&endpoint.tenant, endpoint.removed),
        (party.scope.tenant(), false)
    );
    assert_eq!(endpoint.account.as_ref(), Some(role(ROLE).account()));
    let proven: Vec<_> = endpoint
        .regions
        .values()
        .map(|r| (r.proven, r.credentials.len()))
        .collect();
    assert_eq!(proven, [(false, 1), (true, 1)]);
    let missing = IntegrationId::generate(&OsRandomness);
    assert!(world.directory.endpoint(&missing).await.unwrap().is_none());

    for second in [5, 9, 7] {
        let at = Timestamp::from_second(second).unwrap();
        world
            .integrations
            .record_heartbeat(&party.scope, &party.id, &region(), at, None)
            .await
            .unwrap();
    }
    let heartbeats = world.connection(&party).await.heartbeats;
    assert_eq!(
        heartbeats.get(&region()),
        Some(&Timestamp::from_second(9).unwrap())
    );
}

#[tokio::test]
async fn an_event_proves_the_event_path_after_the_test() {
    let world = World::new();
    let party = world.party().await;
    let region = region();
    let probe = |check, outcome| Probe { check, outcome };
    let mut probes = Check::OF_TRUST
        .map(|check| probe(check, Outcome::Passed))
        .to_vec();
    probes.push(probe(Check::EventPath, unknown()));
    let (at, request) = (Timestamp::UNIX_EPOCH, RequestId::generate(&OsRandomness));
    let verdict = Verdict { at, request, probes };
    let (integrations, role) = (&world.integrations, role(ROLE));
    let named = (&role, NamedBy::Tenant(None));
    let recorded = integrations.record_verdict(&party.scope, &party.id, &region, named, &verdict);
    recorded.await.unwrap();
    let stored = world.connection(&party).await.verdict(&region);
    assert_eq!(stored, Some(verdict));
    let heartbeat = integrations.record_heartbeat(&party.scope, &party.id, &region, at, None);
    heartbeat.await.unwrap();
    assert!(
        world
            .connection(&party)
            .await
            .verdict(&region)
            .unwrap()
            .is_green()
    );
}

#[tokio::test]
async fn tenants_are_listed_in_order_and_without_the_operator() {
    let world = World::new();
    let (operator, now) = (OperatorScope::of_this_process(), Timestamp::UNIX_EPOCH);
    let tenants = Tenants::new(world.integrations.store.clone());
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(
            tenants
                .create(operator, "A tenant", now, &OsRandomness)
                .await
                .unwrap()
                .id,
        );
    }
    made.sort();
    let role_of_ours = role(ROLE);
    let external_id = ExternalId::generate(&OsRandomness);
    let integrations = &world.integrations;
    integrations
        .ensure_operator(
            operator,
            &role_of_ours,
            &external_id,
            &region(),
            now,
            &OsRandomness,
        )
        .await
        .unwrap();
    let listed = async |after, limit| world.directory.tenants(after, limit).await.unwrap();
    assert_eq!(listed(None, 10).await, made);
    assert_eq!(listed(None, 2).await, made[..2]);
    assert_eq!(listed(Some(&made[1]), 2).await, made[2..]);
}

#[tokio::test]
async fn the_operators_own_integration_follows_the_deployment() {
    let world = World::new();
    let operator = OperatorScope::of_this_process();
    let own = Party {
        scope: operator.own(),
        id: IntegrationId::operator(),
    };
    let deployments = [
        (ROLE, "pw-1f0e5c4a-0000-11ef-8000-0e0000000000", true),
        (ROLE, "pw-1f0e5c4a-0000-11ef-8000-0e0000000000", false),
        (
            "arn:aws:iam::111122223333:role/b",
            "pw-2f0e5c4a-0000-11ef-8000-0e0000000000",
            true,
        ),
        (
            "arn:aws:iam::111122223333:role/b",
            "pw-2f0e5c4a-0000-11ef-8000-0e0000000000",
            false,
        ),
    ];
    for (role, external_id, expected) in deployments {
        let (role, external_id) = (self::role(role), external_id.parse::<ExternalId>().unwrap());
        let (now, region) = (Timestamp::UNIX_EPOCH, region());
        let integrations = &world.integrations;
        let written = integrations
            .ensure_operator(operator, &role, &external_id, &region, now, &OsRandomness)
            .await;
        assert_eq!(written.unwrap(), expected);
        let trusted = world.connection(&own).await.trusted_role(&region).unwrap();
        assert_eq!((trusted.role(), trusted.external_id()), (&role, &external_id));
    }
}
