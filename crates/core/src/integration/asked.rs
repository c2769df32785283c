//! What people ask of an integration: which account is confirmed, what new credentials need, another name.

use super::{Connection, Integration, Integrations, RegionConnection, Trust, records::integration_item};
use crate::{
    id::{AccountId, IntegrationId, Region},
    scope::TenantScope,
    store::{Condition, Revision, StoreError, Write, try_write},
};

/// Why a click is not enough to confirm an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOneAccount {
    /// No stack has claimed the integration with a role that is as it must be.
    Nothing,
    /// Stacks of several accounts have.
    Several(Vec<AccountId>),
}

/// Why a region's stack can make no other credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRotation {
    /// The integration has not this region.
    UnknownRegion,
    /// The stack has not said that it makes its credentials itself.
    Chosen,
}

/// What became of another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renamed {
    /// It is the integration's now.
    Done(Revision),
    /// Somebody else changed the integration in between.
    Changed,
    /// There is no such integration, or it is removed.
    Missing,
}

impl Connection {
    /// Returns the one account whose stacks claim the integration; where there are several, a person has to say which.
    pub fn only_proposed(&self) -> Result<AccountId, NotOneAccount> {
        let mut accounts: Vec<&AccountId> = self
            .regions
            .values()
            .filter_map(|region| match &region.trust {
                Trust::Proposed { role, .. } => Some(role.account()),
                _ => None,
            })
            .collect();
        accounts.sort();
        accounts.dedup();
        match accounts[..] {
            [account] => Ok(account.clone()),
            [] => Err(NotOneAccount::Nothing),
            _ => Err(NotOneAccount::Several(accounts.into_iter().cloned().collect())),
        }
    }

    /// Returns the regions whose stacks name a role in an account.
    pub fn regions_naming(&self, account: &AccountId) -> Vec<Region> {
        let names = |region: &&RegionConnection| {
            let role = region.trust.role();
            role.is_some_and(|role| role.account() == account)
        };
        let regions = self.regions.values().filter(names);
        regions.map(|region| region.region.clone()).collect()
    }

    /// Returns what the parameter `CredentialGeneration` of a region's stack is to be for it to make other credentials.
    pub fn next_generation(&self, region: &Region) -> Result<u32, NoRotation> {
        let region = self.regions.get(region).ok_or(NoRotation::UnknownRegion)?;
        match &region.claim {
            Some(claim) if claim.secret.is_some() => {
                // The claim may be an old message that came late.
                let known = region.credentials.last().map_or(0, |newest| newest.generation);
                Ok(claim.generation.max(known).saturating_add(1))
            }
            _ => Err(NoRotation::Chosen),
        }
    }
}

impl Integrations {
    /// Returns how often what people edit of an integration was written.
    pub async fn revision(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
    ) -> Result<Option<Revision>, StoreError> {
        let stored = self.store.get(&integration_item(scope, id)).await?;
        Ok(stored.map(|stored| stored.revision))
    }

    /// Gives an integration another name, if nobody has changed it since `seen`.
    pub async fn rename(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        name: &str,
        seen: Option<Revision>,
    ) -> Result<Renamed, StoreError> {
        let key = integration_item(scope, id);
        let Some(stored) = self.store.get(&key).await? else {
            return Ok(Renamed::Missing);
        };
        let integration: Integration = stored.parse()?;
        if integration.removed_at.is_some() {
            return Ok(Renamed::Missing);
        }
        if seen.is_some_and(|seen| seen != stored.revision) {
            return Ok(Renamed::Changed);
        }
        let renamed = Integration {
            name: name.to_owned(),
            ..integration
        };
        let write = Write::put(key, &renamed, Condition::Unchanged(stored.revision));
        Ok(if try_write(&*self.store, &[write]).await? {
            Renamed::Done(Revision(stored.revision.0 + 1))
        } else {
            Renamed::Changed
        })
    }
}
