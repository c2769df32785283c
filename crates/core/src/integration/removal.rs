//! Goodbye: an integration is removed at once, purged after a while, and a receipt says so for ever.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Connection, Integration, Integrations, Scheduled,
    directory::{Owner, role_key},
    records::{heartbeat_item, integration_item, read_connection, region_item, removal_item, told_item},
};
use crate::{
    arn::RoleArn,
    id::{AccountId, IntegrationId, Region},
    scope::TenantScope,
    store::{Condition, StoreError, Stored, Write, contended, try_write},
};

/// The receipt of a removal: when an integration was removed, why, and what of it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The integration, whose id is never used again.
    pub integration: IntegrationId,
    /// The account that it was, if one was ever named.
    pub account: Option<AccountId>,
    /// The regions that it had.
    pub regions: Vec<Region>,
    /// Why.
    pub reason: RemovalReason,
    /// When it was removed: nothing was done for it since then.
    pub removed_at: Timestamp,
    /// When what is known of it is deleted.
    pub purge_from: Timestamp,
    /// What is deleted so far.
    pub deleted: Deleted,
    /// When the last of it was deleted.
    pub purged_at: Option<Timestamp>,
}

/// Why an integration was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    /// The tenant wished it.
    Asked,
    /// Its roles refused us, test after test.
    RoleClosed,
}

/// What is deleted of an integration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Places where images lay.
    pub locations: u64,
    /// Images that the tenant has nowhere else, with their scans.
    pub images: u64,
    /// Names of reports, SBOMs, findings and layer catalogues, each counted for every image that led to it.
    pub objects: u64,
    /// Regions, with their credentials' hashes, roles, verdicts and heartbeats.
    pub regions: u64,
}

impl Removal {
    /// How long what is known of a removed integration is kept, for a tenant who removed the wrong one.
    pub const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

    fn of(connection: &Connection, reason: RemovalReason, now: Timestamp) -> Self {
        Self {
            integration: connection.integration.id.clone(),
            account: connection.integration.account.clone(),
            regions: connection.regions.keys().cloned().collect(),
            reason,
            removed_at: now,
            purge_from: now.saturating_add(Self::KEPT).unwrap_or(Timestamp::MAX),
            deleted: Deleted::default(),
            purged_at: None,
        }
    }

    /// Tells whether something of it is to be deleted now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.purged_at.is_none() && self.purge_from <= now
    }
}

impl RemovalReason {
    /// Says it to people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Asked => "the tenant wished it",
            Self::RoleClosed => "its role refused us for a week",
        }
    }
}

impl Integrations {
    /// Removes an integration: its events are answered with "gone", its role is used no more, and is free.
    ///
    /// Its ids are kept, so that they are never given out again. Tells whether there was one to remove; the operator's own
    /// is not: deployments make it.
    pub async fn remove(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.remove_because(scope, id, RemovalReason::Asked, now).await
    }

    /// Removes an integration like [`Self::remove`], for the reason that the receipt says.
    pub async fn remove_because(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        reason: RemovalReason,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if *id == IntegrationId::operator() {
            return Ok(false);
        }
        for _ in 0..super::trust::ATTEMPTS {
            let key = integration_item(scope, id);
            let stored = self.store.get(&key).await?;
            let connection = read_connection(&*self.store, scope, id).await?;
            let (Some(stored), Some(connection)) = (stored, connection) else {
                return Ok(false);
            };
            let integration: Integration = stored.parse()?;
            if integration.removed_at.is_some() {
                return Ok(false);
            }
            let removed = Integration {
                removed_at: Some(now),
                ..integration
            };
            let receipt = Removal::of(&connection, reason, now);
            let mut writes = vec![
                Write::put(key, &removed, Condition::Unchanged(stored.revision)),
                Write::put(removal_item(scope, id), &receipt, Condition::Absent),
            ];
            let roles = connection
                .regions
                .values()
                .filter_map(|region| region.trust.role());
            let roles: std::collections::BTreeSet<&RoleArn> = roles.collect();
            for role in roles {
                writes.extend(self.free_role(scope, id, role).await?);
            }
            if try_write(&*self.store, &writes).await? {
                return Ok(true);
            }
        }
        Err(contended())
    }

    /// Returns the receipt of a removed integration.
    pub async fn removal(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
    ) -> Result<Option<Removal>, StoreError> {
        let stored = self.store.get(&removal_item(scope, id)).await?;
        stored.as_ref().map(Stored::parse).transpose()
    }

    /// Makes writes that delete something, together with what the receipt counts; tells whether they were made.
    pub(crate) async fn count_deleted(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        mut writes: Vec<Write>,
        count: impl FnOnce(&mut Deleted),
    ) -> Result<bool, StoreError> {
        let Some(stored) = self.store.get(&removal_item(scope, id)).await? else {
            return Ok(false);
        };
        let mut removal: Removal = stored.parse()?;
        count(&mut removal.deleted);
        writes.push(Write::put(
            stored.key,
            &removal,
            Condition::Unchanged(stored.revision),
        ));
        try_write(&*self.store, &writes).await
    }

    /// Deletes the regions of a removed integration with their credentials, and leaves of itself what its ids need.
    pub(crate) async fn forget_regions(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(connection) = read_connection(&*self.store, scope, id).await? else {
            return Ok(());
        };
        let delete = |key| Write::Delete {
            key,
            condition: Condition::None,
        };
        for region in connection.regions.keys() {
            let writes = vec![
                delete(region_item(scope, id, region)),
                delete(heartbeat_item(scope, id, region)),
                delete(told_item(scope, id, region)),
                Scheduled::new(scope, id, region).no_entry(),
            ];
            self.count_deleted(scope, id, writes, |deleted| deleted.regions += 1)
                .await?;
        }
        let (integration_key, removal_key) = (integration_item(scope, id), removal_item(scope, id));
        let integration = self.store.get(&integration_key).await?;
        let removal = self.store.get(&removal_key).await?;
        let (Some(integration), Some(removal)) = (integration, removal) else {
            return Ok(());
        };
        let left = Integration {
            name: String::new(),
            ..integration.parse()?
        };
        let receipt = Removal {
            purged_at: Some(now),
            ..removal.parse()?
        };
        let writes = [
            Write::put(integration_key, &left, Condition::Unchanged(integration.revision)),
            Write::put(removal_key, &receipt, Condition::Unchanged(removal.revision)),
        ];
        try_write(&*self.store, &writes).await.map(drop)
    }

    /// Frees a role that is this integration's: whoever proves it next has it.
    async fn free_role(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        role: &RoleArn,
    ) -> Result<Option<Write>, StoreError> {
        let Some(stored) = self.store.get(&role_key(role)).await? else {
            return Ok(None);
        };
        let is_ours = stored.parse::<Owner>()? == Owner::new(scope, id);
        let condition = Condition::Unchanged(stored.revision);
        let key = stored.key;
        Ok(is_ours.then_some(Write::Delete { key, condition }))
    }
}
