use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use super::{
    Connection, Integration, RegionConnection, Scheduled, Trust,
    directory::{Owner, external_id_key, integration_key},
    records::{
        HeartbeatRecord, heartbeat_item, integration_item, read_connection, read_connections, region_item,
    },
};
use crate::{
    arn::RoleArn,
    endpoint::{Credential, CredentialChecker, Password, PasswordHash, Salt, Username},
    event::Claim,
    id::{AccountId, ExternalId, IntegrationId, Region},
    random::Randomness,
    scope::TenantScope,
    store::{Change, Condition, Store, StoreError, Write, try_write, update},
};

/// The integrations of tenants, read and written in the scope of one tenant at a time.
#[derive(Clone)]
pub struct Integrations {
    pub(super) store: Arc<dyn Store>,
    /// What remembers the hashes of passwords.
    pub(super) hashes: Option<Arc<CredentialChecker>>,
}

/// A region that is to be connected.
pub enum NewRegion {
    /// Its stack makes its credentials itself and says so; they are read once its role is proven.
    Quick {
        /// The region.
        region: Region,
    },
    /// Its stack is given credentials that are known beforehand.
    Classic {
        /// The region.
        region: Region,
        /// The user name of its stack.
        username: Username,
        /// The password of its stack.
        password: Password,
    },
}

/// Makes the regions of a new integration; passwords that several of them share are hashed once.
fn connections(new: &[NewRegion], salt: &Salt) -> BTreeMap<Region, RegionConnection> {
    let mut hashed: Vec<(&str, PasswordHash)> = Vec::new();
    let mut connections = BTreeMap::new();
    for new in new {
        let connection = match new {
            NewRegion::Quick { region } => RegionConnection::new(region.clone()),
            NewRegion::Classic {
                region,
                username,
                password,
            } => {
                let secret = password.secret().expose_secret();
                let known = hashed.iter().find(|(known, _)| *known == secret);
                let hash = known.map_or_else(|| password.hash(salt), |(_, hash)| hash.clone());
                hashed.push((secret, hash.clone()));
                RegionConnection {
                    credentials: vec![Credential::new(username.clone(), hash, 1)],
                    ..RegionConnection::new(region.clone())
                }
            }
        };
        connections.insert(connection.region.clone(), connection);
    }
    connections
}

impl Integrations {
    /// Opens the integrations in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, hashes: None }
    }

    /// Lets a process remember the hashes of the passwords that stacks made, so that each test of a connection does not compute
    /// them again.
    #[must_use]
    pub fn remembering(mut self, hashes: Arc<CredentialChecker>) -> Self {
        self.hashes = Some(hashes);
        self
    }

    /// Makes an integration with its ids, and the regions that are to be connected, of whatever account confirms it.
    pub async fn create(
        &self,
        scope: &TenantScope,
        name: &str,
        regions: &[NewRegion],
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<Connection, StoreError> {
        self.create_in(scope, None, name, regions, now, randomness).await
    }

    /// Makes an integration of an account that the tenant names beforehand, in one transaction.
    pub async fn create_in(
        &self,
        scope: &TenantScope,
        account: Option<&AccountId>,
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
            account: account.cloned(),
            salt: Salt::generate(randomness),
            created_at: now,
            removed_at: None,
        };
        let regions = connections(regions, &integration.salt);
        let connection = Connection {
            integration,
            regions,
            heartbeats: BTreeMap::new(),
        };
        if try_write(&*self.store, &creation(scope, &connection)).await? {
            Ok(connection)
        } else {
            // 130 random bits are not met twice; whatever this is, it is not to be overwritten.
            Err(StoreError::Unavailable("an id was made twice".into()))
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
        read_connections(&*self.store, scope).await
    }

    /// Names the role that a region is to be tested with; a proven role stays proven until a verdict says otherwise.
    ///
    /// Tells whether it is to be tested: there is such a region, and the tenant has named no role of it since.
    pub async fn claim_role(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        role: &RoleArn,
        named_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let key = region_item(scope, id, region);
        update(&*self.store, &key, |connection: Option<RegionConnection>| {
            let Some(mut connection) = connection else {
                return Change::Keep(false);
            };
            if named_at < connection.named_at {
                return Change::Keep(false);
            }
            let is_kept = connection.trust.is_proven() || connection.trust.role() == Some(role);
            if is_kept && named_at == connection.named_at {
                return Change::Keep(true);
            }
            connection.named_at = named_at;
            if !is_kept {
                connection.trust = Trust::Claimed { role: role.clone() };
                connection.verdict = None;
            }
            Change::Put(connection, true)
        })
        .await
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
        try_write(&*self.store, &[write]).await?;
        Ok(())
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
        let write = Write::put(
            region_item(scope, id, region),
            &RegionConnection::new(region.clone()),
            Condition::Absent,
        );
        try_write(&*self.store, &[write, Scheduled::new(scope, id, region).entry()]).await?;
        Ok(())
    }
}

/// The writes that make an integration, if none of its ids was ever given out.
pub(super) fn creation(scope: &TenantScope, connection: &Connection) -> Vec<Write> {
    let integration = &connection.integration;
    let owner = Owner::new(scope, &integration.id);
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
    for region in connection.regions.values() {
        let key = region_item(scope, &integration.id, &region.region);
        writes.push(Write::put(key, region, Condition::Absent));
        writes.push(Scheduled::new(scope, &integration.id, &region.region).entry());
    }
    writes
}
