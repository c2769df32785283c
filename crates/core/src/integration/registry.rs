use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Connection, Integration, RegionConnection, Trust,
    directory::{Owner, external_id_key, integration_key, role_key},
};
use crate::{
    arn::RoleArn,
    endpoint::{Credential, Password, Salt, Username},
    event::Claim,
    id::{ExternalId, IntegrationId, Region},
    random::Randomness,
    scope::{OperatorScope, TenantScope},
    store::{
        Change, Condition, Key, Partition, Store, StoreError, Stored, Write, WriteError, contended, update,
    },
    verdict::{Conclusion, Verdict},
};

/// The integrations of tenants, read and written in the scope of one tenant at a time.
#[derive(Clone)]
pub struct Integrations {
    store: Arc<dyn Store>,
}

/// The credentials of a region that is to be connected.
pub struct NewRegion {
    /// The region.
    pub region: Region,
    /// The user name of its stack.
    pub username: Username,
    /// The password of its stack.
    pub password: Password,
}

/// What became of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedVerdict {
    /// What was known of the role before.
    pub before: Trust,
    /// What is known of it now.
    pub now: Trust,
}

/// Why a verdict was not stored.
#[derive(Debug, thiserror::Error)]
pub enum RecordVerdictError {
    /// There is no such region of such an integration.
    #[error("there is no such integration, or it has not this region")]
    Missing,
    /// Another integration has proven the role in the meantime.
    #[error("the role belongs to another integration")]
    RoleTaken,
    /// The integration belongs to another account by now.
    #[error("the integration belongs to another account")]
    OtherAccount,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
struct HeartbeatRecord {
    at: Timestamp,
    claim: Option<Claim>,
}

/// How often a write is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 8;

const INTEGRATION: &str = "integration";
const REGION: &str = "region";
const HEARTBEAT: &str = "heartbeat";

fn partition(scope: &TenantScope) -> Partition {
    scope.partition(&["integrations"])
}

fn integration_item(scope: &TenantScope, id: &IntegrationId) -> Key {
    partition(scope).key(&[id.as_str(), INTEGRATION])
}

fn region_item(scope: &TenantScope, id: &IntegrationId, region: &Region) -> Key {
    partition(scope).key(&[id.as_str(), REGION, region.as_str()])
}

fn heartbeat_item(scope: &TenantScope, id: &IntegrationId, region: &Region) -> Key {
    partition(scope).key(&[id.as_str(), HEARTBEAT, region.as_str()])
}

pub(super) async fn read_connection(
    store: &dyn Store,
    scope: &TenantScope,
    id: &IntegrationId,
) -> Result<Option<Connection>, StoreError> {
    let items = read_all(store, &partition(scope), &crate::store::prefix(&[id.as_str()])).await?;
    Ok(connections(items)?.pop())
}

async fn read_all(store: &dyn Store, partition: &Partition, prefix: &str) -> Result<Vec<Stored>, StoreError> {
    let mut items: Vec<Stored> = Vec::new();
    loop {
        let page = store
            .query(partition, prefix, items.last().map(|item| &item.key), 100)
            .await?;
        items.extend(page.items);
        if !page.more {
            return Ok(items);
        }
    }
}

/// Puts items of one partition, in their order, together again.
fn connections(items: Vec<Stored>) -> Result<Vec<Connection>, StoreError> {
    let mut found: Vec<Connection> = Vec::new();
    let mut heartbeats: BTreeMap<Region, Timestamp> = BTreeMap::new();
    for item in items {
        // Sorted: an integration's heartbeats, then itself, then its regions.
        match item.key.sort().split('#').nth(1) {
            Some(HEARTBEAT) => {
                let region = item.key.sort().rsplit('#').next().unwrap_or_default().parse();
                if let Ok(region) = region {
                    heartbeats.insert(region, item.parse::<HeartbeatRecord>()?.at);
                }
            }
            Some(INTEGRATION) => found.push(Connection {
                integration: item.parse()?,
                regions: BTreeMap::new(),
                heartbeats: std::mem::take(&mut heartbeats),
            }),
            _ => {
                let region: RegionConnection = item.parse()?;
                if let Some(connection) = found.last_mut() {
                    connection.regions.insert(region.region.clone(), region);
                }
            }
        }
    }
    Ok(found)
}

impl Integrations {
    /// Opens the integrations in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Makes an integration with its ids, and the regions that are to be connected.
    pub async fn create(
        &self,
        scope: &TenantScope,
        name: &str,
        regions: &[NewRegion],
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<Connection, StoreError> {
        let integration = Integration {
            id: IntegrationId::generate(randomness),
            tenant: scope.tenant().clone(),
            name: name.to_owned(),
            external_id: ExternalId::generate(randomness),
            account: None,
            salt: Salt::generate(randomness),
            created_at: now,
            removed_at: None,
        };
        let regions = regions.iter().map(|new| {
            let hash = new.password.hash(&integration.salt);
            let credential = Credential {
                username: new.username.clone(),
                hash,
                generation: 1,
            };
            let region = new.region.clone();
            RegionConnection {
                region,
                credentials: vec![credential],
                trust: Trust::Unnamed,
                verdict: None,
            }
        });
        let regions = regions.map(|region| (region.region.clone(), region)).collect();
        let connection = Connection {
            integration,
            regions,
            heartbeats: BTreeMap::new(),
        };
        match self.store.write(&Self::creation(scope, &connection)).await {
            Ok(()) => Ok(connection),
            // 130 random bits are not met twice; whatever this is, it is not to be overwritten.
            Err(WriteError::Conflict(_)) => Err(StoreError::Unavailable("an id was made twice".into())),
            Err(WriteError::Store(error)) => Err(error),
        }
    }

    fn creation(scope: &TenantScope, connection: &Connection) -> Vec<Write> {
        let integration = &connection.integration;
        let owner = Owner {
            tenant: scope.tenant().clone(),
            integration: integration.id.clone(),
        };
        let mut writes = vec![
            Write::put(
                integration_item(scope, &integration.id),
                integration,
                Condition::Absent,
            ),
            Write::put(integration_key(&integration.id), &owner, Condition::Absent),
            Write::put(
                external_id_key(&integration.external_id),
                &owner,
                Condition::Absent,
            ),
        ];
        writes.extend(connection.regions.values().map(|region| {
            Write::put(
                region_item(scope, &integration.id, &region.region),
                region,
                Condition::Absent,
            )
        }));
        writes
    }

    /// Makes the operator's own integration what the deployment says; tells whether anything was written.
    ///
    /// Its role is trusted because the same deployment made both, and no message can lead here. A new deployment over
    /// the table of an old one brings another role and another `ExternalId`.
    pub async fn ensure_operator(
        &self,
        operator: OperatorScope,
        role: &RoleArn,
        external_id: &ExternalId,
        region: &Region,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<bool, StoreError> {
        let scope = operator.own();
        let integration = Integration {
            id: IntegrationId::operator(),
            tenant: scope.tenant().clone(),
            name: "The operator's own registries".to_owned(),
            external_id: external_id.clone(),
            account: Some(role.account().clone()),
            salt: Salt::generate(randomness),
            created_at: now,
            removed_at: None,
        };
        let trust = Trust::Proven {
            role: role.clone(),
            at: now,
        };
        let region = RegionConnection {
            region: region.clone(),
            credentials: Vec::new(),
            trust,
            verdict: None,
        };
        let regions = BTreeMap::from([(region.region.clone(), region)]);
        let connection = Connection {
            integration,
            regions,
            heartbeats: BTreeMap::new(),
        };
        match self.store.write(&Self::creation(&scope, &connection)).await {
            Ok(()) => Ok(true),
            Err(WriteError::Conflict(_)) => self.redeploy_operator(&scope, connection).await,
            Err(WriteError::Store(error)) => Err(error),
        }
    }

    /// Puts what a deployment says in the place of what the one before it said, where they differ.
    async fn redeploy_operator(&self, scope: &TenantScope, wanted: Connection) -> Result<bool, StoreError> {
        let id = &wanted.integration.id;
        let key = integration_item(scope, id);
        let Some(stored) = self.store.get(&key).await? else {
            return Err(contended());
        };
        let mut integration: Integration = stored.parse()?;
        let mut writes = Vec::new();
        for (name, region) in &wanted.regions {
            let key = region_item(scope, id, name);
            let stored = self.store.get(&key).await?;
            let known = stored
                .as_ref()
                .map(Stored::parse::<RegionConnection>)
                .transpose()?;
            if known.is_none_or(|known| known.trust.role() != region.trust.role()) {
                let condition =
                    stored.map_or(Condition::Absent, |stored| Condition::Unchanged(stored.revision));
                writes.push(Write::put(key, region, condition));
            }
        }
        if integration.external_id != wanted.integration.external_id {
            integration.external_id = wanted.integration.external_id;
            let owner = Owner {
                tenant: scope.tenant().clone(),
                integration: id.clone(),
            };
            let claim = external_id_key(&integration.external_id);
            writes.push(Write::put(claim, &owner, Condition::Absent));
            writes.push(Write::put(
                key,
                &integration,
                Condition::Unchanged(stored.revision),
            ));
        }
        if writes.is_empty() {
            return Ok(false);
        }
        match self.store.write(&writes).await {
            Ok(()) => Ok(true),
            // Another process of the same deployment was faster.
            Err(WriteError::Conflict(_)) => Ok(false),
            Err(WriteError::Store(error)) => Err(error),
        }
    }

    /// Reads an integration with its regions; another tenant's is as one that is not there.
    pub async fn find(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
    ) -> Result<Option<Connection>, StoreError> {
        read_connection(&*self.store, scope, id).await
    }

    /// Reads all integrations of a tenant.
    pub async fn list(&self, scope: &TenantScope) -> Result<Vec<Connection>, StoreError> {
        connections(read_all(&*self.store, &partition(scope), "").await?)
    }

    /// Names the role that a region is to be tested with; a proven role stays proven until a verdict says otherwise.
    ///
    /// Tells whether there is such a region.
    pub async fn claim_role(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        role: &RoleArn,
    ) -> Result<bool, StoreError> {
        let key = region_item(scope, id, region);
        update(&*self.store, &key, |connection: Option<RegionConnection>| {
            let Some(mut connection) = connection else {
                return Change::Keep(false);
            };
            if connection.trust.is_proven() || connection.trust.role() == Some(role) {
                return Change::Keep(true);
            }
            connection.trust = Trust::Claimed { role: role.clone() };
            connection.verdict = None;
            Change::Put(connection, true)
        })
        .await
    }

    /// Stores what a test of `role` found, and what follows from it, in one transaction.
    ///
    /// A role that is proven is bound to this integration, and the integration to the role's account.
    pub async fn record_verdict(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        role: &RoleArn,
        verdict: &Verdict,
    ) -> Result<RecordedVerdict, RecordVerdictError> {
        for _ in 0..ATTEMPTS {
            let stored_region = self.store.get(&region_item(scope, id, region)).await?;
            let stored_integration = self.store.get(&integration_item(scope, id)).await?;
            let (Some(stored_region), Some(stored_integration)) = (stored_region, stored_integration) else {
                return Err(RecordVerdictError::Missing);
            };
            let mut connection: RegionConnection = stored_region.parse()?;
            let mut integration: Integration = stored_integration.parse()?;
            if integration.removed_at.is_some() {
                return Err(RecordVerdictError::Missing);
            }
            let before = connection.trust.clone();
            let now = after(&before, role, verdict);
            connection.trust = now.clone();
            connection.verdict = Some(verdict.clone());
            let unchanged = |stored: &Stored| Condition::Unchanged(stored.revision);
            let mut writes = vec![Write::put(
                stored_region.key.clone(),
                &connection,
                unchanged(&stored_region),
            )];
            let mut check_integration = Write::Check {
                key: stored_integration.key.clone(),
                condition: unchanged(&stored_integration),
            };
            if let Trust::Proven { role, .. } = &now {
                match &integration.account {
                    Some(account) if account != role.account() => {
                        return Err(RecordVerdictError::OtherAccount);
                    }
                    Some(_) => {}
                    None => {
                        integration.account = Some(role.account().clone());
                        let key = stored_integration.key.clone();
                        check_integration = Write::put(key, &integration, unchanged(&stored_integration));
                    }
                }
                writes.push(self.bind_role(scope, id, role).await?);
                if let Some(former) = before.role().filter(|former| *former != role) {
                    writes.extend(self.release_role(scope, id, region, former).await?);
                }
            }
            writes.push(check_integration);
            match self.store.write(&writes).await {
                Ok(()) => return Ok(RecordedVerdict { before, now }),
                Err(WriteError::Conflict(_)) => {}
                Err(WriteError::Store(error)) => return Err(error.into()),
            }
        }
        Err(contended().into())
    }

    async fn bind_role(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        role: &RoleArn,
    ) -> Result<Write, RecordVerdictError> {
        let owner = Owner {
            tenant: scope.tenant().clone(),
            integration: id.clone(),
        };
        let key = role_key(role);
        match self.store.get(&key).await? {
            None => Ok(Write::put(key, &owner, Condition::Absent)),
            Some(stored) if stored.parse::<Owner>()? == owner => Ok(Write::Check {
                key,
                condition: Condition::Unchanged(stored.revision),
            }),
            Some(_) => Err(RecordVerdictError::RoleTaken),
        }
    }

    /// Frees a role that the integration used before, unless another of its regions still does.
    async fn release_role(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        role: &RoleArn,
    ) -> Result<Option<Write>, StoreError> {
        let Some(stored) = self.store.get(&role_key(role)).await? else {
            return Ok(None);
        };
        let is_ours = stored.parse::<Owner>()?.integration == *id;
        let connection = read_connection(&*self.store, scope, id).await?;
        let is_used = connection.is_some_and(|connection| {
            connection
                .regions
                .values()
                .any(|other| other.region != *region && other.trust.role() == Some(role))
        });
        let condition = Condition::Unchanged(stored.revision);
        Ok((is_ours && !is_used).then(|| Write::Delete {
            key: role_key(role),
            condition,
        }))
    }

    /// Notes a heartbeat in one conditional write; an older one changes nothing.
    pub async fn record_heartbeat(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        at: Timestamp,
        claim: Option<&Claim>,
    ) -> Result<(), StoreError> {
        let record = HeartbeatRecord {
            at,
            claim: claim.cloned(),
        };
        let key = heartbeat_item(scope, id, region);
        let write = Write::put(key, &record, Condition::Newer).ordered(at.as_millisecond());
        match self.store.write(&[write]).await {
            Ok(()) | Err(WriteError::Conflict(_)) => Ok(()),
            Err(WriteError::Store(error)) => Err(error),
        }
    }

    /// Adds a region that announced itself with valid credentials of another region of the proven account.
    ///
    /// It is not watched before its own role is named and proven.
    pub async fn claim_region(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
    ) -> Result<(), StoreError> {
        let connection = RegionConnection {
            region: region.clone(),
            credentials: Vec::new(),
            trust: Trust::Unnamed,
            verdict: None,
        };
        let write = Write::put(region_item(scope, id, region), &connection, Condition::Absent);
        match self.store.write(&[write]).await {
            Ok(()) | Err(WriteError::Conflict(_)) => Ok(()),
            Err(WriteError::Store(error)) => Err(error),
        }
    }

    /// Removes an integration: its events are answered with "gone" and its role is used no more.
    ///
    /// Its ids are kept, so that they are never given out again. Tells whether there was one to remove.
    pub async fn remove(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let key = integration_item(scope, id);
        update(
            &*self.store,
            &key,
            |integration: Option<Integration>| match integration {
                Some(integration) if integration.removed_at.is_none() => {
                    let removed_at = Some(now);
                    Change::Put(
                        Integration {
                            removed_at,
                            ..integration
                        },
                        true,
                    )
                }
                Some(_) | None => Change::Keep(false),
            },
        )
        .await
    }
}

/// What is known of a region's role after a test of `role`.
fn after(before: &Trust, role: &RoleArn, verdict: &Verdict) -> Trust {
    let is_same = before.role() == Some(role);
    match (verdict.conclusion(), before) {
        (Conclusion::Trusted, _) => Trust::Proven {
            role: role.clone(),
            at: verdict.at,
        },
        // Another role that was proven is not given up for one that fails.
        (Conclusion::Refused | Conclusion::Unknown, Trust::Proven { .. }) if !is_same => before.clone(),
        (Conclusion::Refused, _) => Trust::Refused {
            role: role.clone(),
            at: verdict.at,
        },
        // What could not be found out changes nothing.
        (Conclusion::Unknown, _) if is_same => before.clone(),
        (Conclusion::Unknown, _) => Trust::Claimed { role: role.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{RequestId, TenantId},
        integration::{Directory, RoleOwner},
        problem::Problem,
        random::OsRandomness,
        store::MemoryStore,
        verdict::{Check, Outcome, Probe},
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
            let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
            Self {
                integrations: Integrations::new(store.clone()),
                directory: Directory::new(store),
            }
        }

        async fn party(&self) -> Party {
            let scope = TenantScope::of(TenantId::generate(&OsRandomness));
            let regions = ["us-east-1", "eu-west-1"].map(|region| NewRegion {
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
                .record_verdict(&party.scope, &party.id, region, role, &verdict)
                .await?;
            Ok(recorded.now)
        }

        async fn connection(&self, party: &Party) -> Connection {
            self.integrations
                .find(&party.scope, &party.id)
                .await
                .unwrap()
                .unwrap()
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
                .claim_role(&party.scope, &party.id, &region(), &role(ROLE))
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
        assert!(world.connection(&party).await.trusted_role(&region()).is_some());
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
    async fn a_foreign_integration_is_as_a_missing_one() {
        let world = World::new();
        let [a, b] = [world.party().await, world.party().await];
        assert_eq!(world.integrations.find(&a.scope, &b.id).await.unwrap(), None);
        assert!(
            !world
                .integrations
                .claim_role(&a.scope, &b.id, &region(), &role(ROLE))
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
        let recorded = integrations.record_verdict(&party.scope, &party.id, &region, &role, &verdict);
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
}
