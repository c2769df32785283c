//! What is known of a region's role, and what a test of it changes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Integration, Integrations, RegionConnection,
    directory::{Owner, role_key},
    records::{integration_item, read_connection, region_item},
};
use crate::{
    arn::RoleArn,
    id::{IntegrationId, Region},
    scope::TenantScope,
    store::{Condition, StoreError, Stored, Write, contended, try_write},
    verdict::{Conclusion, Verdict},
};

/// What is known of a region's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Trust {
    /// No role is named yet.
    Unnamed,
    /// A role is named, and nothing is proven.
    Claimed {
        /// The role.
        role: RoleArn,
    },
    /// The role opens for us and refuses others.
    Proven {
        /// The role.
        role: RoleArn,
        /// When that was last found.
        at: Timestamp,
    },
    /// The role does not open for us, or does not refuse others: nothing is done with it.
    Refused {
        /// The role.
        role: RoleArn,
        /// When that was last found.
        at: Timestamp,
    },
}

impl Trust {
    /// Returns the role, in whatever state it is.
    pub fn role(&self) -> Option<&RoleArn> {
        match self {
            Self::Unnamed => None,
            Self::Claimed { role } | Self::Proven { role, .. } | Self::Refused { role, .. } => Some(role),
        }
    }

    /// Tells whether the role may be used.
    pub fn is_proven(&self) -> bool {
        matches!(self, Self::Proven { .. })
    }
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

/// How often a write is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 8;

impl Integrations {
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
            if try_write(&*self.store, &writes).await? {
                return Ok(RecordedVerdict { before, now });
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
        let owner = Owner::new(scope, id);
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
