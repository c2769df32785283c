//! What is known of a region's role, and what a test of it changes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Closed, Integration, Integrations, RegionConnection,
    directory::{Owner, role_key},
    records::{integration_item, read_connection, region_item},
};
use crate::{
    arn::RoleArn,
    event::Claim,
    id::{AccountId, IntegrationId, Region},
    scope::TenantScope,
    store::{Condition, StoreError, Stored, Write, contended, try_write},
    verdict::{Check, Conclusion, NOT_ASSUMABLE, Outcome, Verdict},
};

/// What is known of a region's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", try_from = "FlatTrust")]
pub enum Trust {
    /// No role is named yet.
    Unnamed,
    /// A role is named, and nothing is proven.
    Claimed {
        /// The role.
        role: RoleArn,
    },
    /// The role opens for us and refuses others, and the tenant has not confirmed its account: nothing is read.
    Proposed {
        /// The role.
        role: RoleArn,
        /// When that was last found.
        at: Timestamp,
    },
    /// The role opens for us and refuses others, and lies in the account that the tenant named.
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

/// What is known as it is written: read as it lies there, since every message and every scan asks for it.
#[derive(Deserialize)]
struct FlatTrust {
    state: State,
    role: Option<RoleArn>,
    at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Unnamed,
    Claimed,
    Proposed,
    Proven,
    Refused,
}

impl TryFrom<FlatTrust> for Trust {
    type Error = &'static str;

    fn try_from(flat: FlatTrust) -> Result<Self, Self::Error> {
        let role = flat.role.ok_or("expected a role");
        let at = flat.at.ok_or("expected a time");
        Ok(match flat.state {
            State::Unnamed => Self::Unnamed,
            State::Claimed => Self::Claimed { role: role? },
            State::Proposed => Self::Proposed { role: role?, at: at? },
            State::Proven => Self::Proven { role: role?, at: at? },
            State::Refused => Self::Refused { role: role?, at: at? },
        })
    }
}

impl Trust {
    /// Returns the role, in whatever state it is.
    pub fn role(&self) -> Option<&RoleArn> {
        match self {
            Self::Unnamed => None,
            Self::Claimed { role }
            | Self::Proposed { role, .. }
            | Self::Proven { role, .. }
            | Self::Refused { role, .. } => Some(role),
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

/// What became of the account that a tenant named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// It is the integration's account now.
    Now,
    /// It was before.
    Before,
    /// The integration belongs to another account, in which a role is proven.
    OtherAccount(AccountId),
    /// There is no such integration.
    Missing,
}

/// Who had a role tested, which it may not have been before. Times are missing where they are not known.
#[derive(Debug, Clone, Copy)]
pub enum NamedBy<'a> {
    /// The tenant, at that time: the role's account becomes the integration's, if that has none yet.
    Tenant(Option<Timestamp>),
    /// A message of that time, which names no account for the tenant.
    Message(&'a Claim, Option<Timestamp>),
    /// Nobody: it was stored when the test began, and so was what its stack had said at that time.
    Nobody(Option<Timestamp>),
}

impl NamedBy<'_> {
    /// Tells whether more is known by now than a test could know: the tenant has named a role since, or the test is about
    /// something that the role's stack said before the last, or else it began before the one that is stored.
    ///
    /// Patient tests take minutes and queues repeat themselves, so that tests end in another order than they began in.
    fn is_overtaken(self, known: &RegionConnection, role: &RoleArn, verdict: &Verdict) -> bool {
        let is_stored = known.trust.role() == Some(role);
        let is_replaced = match self {
            Self::Tenant(named_at) => named_at < known.named_at,
            Self::Message(_, said_at) => !is_stored && said_at < known.named_at,
            Self::Nobody(_) => !is_stored,
        };
        let said_at = match self {
            Self::Tenant(_) => known.claim_at,
            Self::Message(_, said_at) | Self::Nobody(said_at) => said_at,
        };
        let last = known.verdict.as_ref().map(|last| last.at);
        is_replaced || is_stored && (said_at, Some(verdict.at)) < (known.claim_at, last)
    }

    /// Tells whether the tenant has named the role, now or before.
    fn is_tenants(self, known: &RegionConnection, role: &RoleArn) -> bool {
        match self {
            Self::Tenant(_) => true,
            Self::Message(..) => false,
            Self::Nobody(_) => known.claim.as_ref().is_none_or(|claim| claim.role != *role),
        }
    }
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
pub(super) const ATTEMPTS: usize = 8;

impl Integrations {
    /// Stores what a test of `role` found, and what follows from it, in one transaction.
    ///
    /// A role that is proven is bound to this integration, and the integration to the role's account. As long as the tenant
    /// has named neither the role nor the account, a role is proposed and binds nothing. A test that has been overtaken
    /// changes nothing.
    pub async fn record_verdict(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        (role, named_by): (&RoleArn, NamedBy<'_>),
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
            if named_by.is_overtaken(&connection, role, verdict) {
                return Ok(RecordedVerdict {
                    now: before.clone(),
                    before,
                });
            }
            let unchanged = |stored: &Stored| Condition::Unchanged(stored.revision);
            if verdict.conclusion() == Conclusion::Trusted {
                match &integration.account {
                    Some(account) if account != role.account() => {
                        return Err(RecordVerdictError::OtherAccount);
                    }
                    None if named_by.is_tenants(&connection, role) => {
                        integration.account = Some(role.account().clone());
                    }
                    Some(_) | None => {}
                }
            }
            let now = match (&integration.account, named_by, before.role()) {
                // What lies in another account than the integration can never work, so that no message has it tested in the
                // place of a role, not even of one that is closed: whether its tenant has left is seen in that one.
                (Some(account), NamedBy::Message(..), Some(known))
                    if known != role && account != role.account() =>
                {
                    before.clone()
                }
                (account, ..) => after(&before, role, account.is_some(), verdict),
            };
            let is_of_role = now.role() == Some(role);
            // A message about another role than the one that works must not hide what is known of that one.
            if is_of_role || matches!(named_by, NamedBy::Tenant(_)) {
                connection.verdict = Some(verdict.clone());
            }
            if let NamedBy::Tenant(named_at) = named_by {
                connection.named_at = named_at;
            }
            // A role that a message named stays named by it, also when it is refused: no later test takes it for the tenant's.
            let is_new_role = before.role() != now.role();
            match named_by {
                NamedBy::Message(claim, said_at)
                    if is_new_role || verdict.conclusion() == Conclusion::Trusted =>
                {
                    (connection.claim, connection.claim_at) = (Some(claim.clone()), said_at);
                }
                _ if is_new_role => (connection.claim, connection.claim_at) = (None, None),
                _ => {}
            }
            connection.trust = now.clone();
            if now.is_proven() && verdict.conclusion() == Conclusion::Trusted {
                connection.last_proven = Some(verdict.at);
                connection.mistaken = None;
            }
            if is_of_role {
                connection.closed = closed(connection.closed, verdict);
            }
            let mut writes = vec![Write::put(
                stored_region.key.clone(),
                &connection,
                unchanged(&stored_region),
            )];
            let key = stored_integration.key.clone();
            // Written where a role becomes proven, changed or not: who confirms another account meanwhile has to look again.
            writes.push(if now.is_proven() && !before.is_proven() {
                Write::put(key, &integration, unchanged(&stored_integration))
            } else {
                Write::Check {
                    key,
                    condition: unchanged(&stored_integration),
                }
            });
            if let Trust::Proven { role, .. } = &now {
                writes.push(self.bind_role(scope, id, role).await?);
                if let Some(former) = before.role().filter(|former| *former != role) {
                    writes.extend(self.release_role(scope, id, region, former).await?);
                }
            }
            if try_write(&*self.store, &writes).await? {
                return Ok(RecordedVerdict { before, now });
            }
        }
        Err(contended().into())
    }

    /// Makes an account the integration's: the tenant confirms it, or names it beforehand.
    ///
    /// Roles of other accounts are refused from then on. As long as no role is proven, another one may take its place.
    pub async fn confirm_account(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        account: &AccountId,
    ) -> Result<Confirmed, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.store.get(&integration_item(scope, id)).await? else {
                return Ok(Confirmed::Missing);
            };
            let integration: Integration = stored.parse()?;
            if integration.removed_at.is_some() {
                return Ok(Confirmed::Missing);
            }
            if integration.account.as_ref() == Some(account) {
                return Ok(Confirmed::Before);
            }
            // Read after the integration, whose revision changes when a role is proven.
            if let Some(known) = &integration.account
                && self.has_proven_role(scope, id).await?
            {
                return Ok(Confirmed::OtherAccount(known.clone()));
            }
            let confirmed = Integration {
                account: Some(account.clone()),
                ..integration
            };
            let write = Write::put(stored.key, &confirmed, Condition::Unchanged(stored.revision));
            if try_write(&*self.store, &[write]).await? {
                return Ok(Confirmed::Now);
            }
        }
        Err(contended())
    }

    async fn has_proven_role(&self, scope: &TenantScope, id: &IntegrationId) -> Result<bool, StoreError> {
        let connection = read_connection(&*self.store, scope, id).await?;
        Ok(connection
            .is_some_and(|connection| connection.regions.values().any(|region| region.trust.is_proven())))
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

/// Since when a role does not open, after one more test of it.
fn closed(before: Option<Closed>, verdict: &Verdict) -> Option<Closed> {
    match verdict.outcome(Check::OpensWithExternalId) {
        Some(Outcome::Passed) => None,
        Some(Outcome::Failed(problem)) if problem.code == NOT_ASSUMABLE => {
            let before = before.unwrap_or(Closed {
                since: verdict.at,
                tests: 0,
            });
            Some(Closed {
                tests: before.tests.saturating_add(1),
                ..before
            })
        }
        // A region that is switched off, or a test that found nothing out, is neither.
        _ => before,
    }
}

/// What is known of a region's role after a test of `role`.
fn after(before: &Trust, role: &RoleArn, is_confirmed: bool, verdict: &Verdict) -> Trust {
    let is_same = before.role() == Some(role);
    let (role, at) = (role.clone(), verdict.at);
    match (verdict.conclusion(), before) {
        (Conclusion::Trusted, _) if is_confirmed => Trust::Proven { role, at },
        (Conclusion::Trusted, _) => Trust::Proposed { role, at },
        // Another role that works is not given up for one that fails.
        (Conclusion::Refused | Conclusion::Unknown, Trust::Proven { .. } | Trust::Proposed { .. })
            if !is_same =>
        {
            before.clone()
        }
        (Conclusion::Refused, _) => Trust::Refused { role, at },
        // What could not be found out changes nothing.
        (Conclusion::Unknown, _) if is_same => before.clone(),
        (Conclusion::Unknown, _) => Trust::Claimed { role },
    }
}
