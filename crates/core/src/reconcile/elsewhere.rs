//! What lies in regions without a stack, where no event tells of anything: only names of repositories are asked for.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use portwarden_oci::RepositoryName;
use serde::{Deserialize, Serialize};

use super::Inventories;
use crate::{
    id::{IntegrationId, Region},
    scope::TenantScope,
    store::{Condition, Key, StoreError, Write, try_write},
};

/// What was found in the regions of an account that no stack watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// When it was looked for.
    pub at: Timestamp,
    /// The regions.
    pub regions: BTreeMap<Region, Unwatched>,
}

/// What lies in a region that no stack watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Unwatched {
    /// Repositories, or none.
    Seen {
        /// How many.
        count: u64,
        /// Whether there are more than so many.
        more: bool,
        /// The first of them, by name.
        first: Vec<RepositoryName>,
    },
    /// It cannot be told.
    Unseen {
        /// The code of why.
        code: String,
    },
}

/// How many names are kept of a region.
const KEPT: usize = 20;

impl Elsewhere {
    /// How long it holds, so that an account with stacks in ten regions is not asked ten times a day.
    pub const HOLDS: SignedDuration = SignedDuration::from_hours(20);
}

impl Unwatched {
    /// Makes it of a list of names, which may go on.
    pub fn seen(mut names: Vec<RepositoryName>, more: bool) -> Self {
        names.sort();
        let count = names.len() as u64;
        names.truncate(KEPT);
        Self::Seen {
            count,
            more,
            first: names,
        }
    }

    /// Tells whether there is something to watch.
    pub fn has_repositories(&self) -> bool {
        matches!(self, Self::Seen { count: 1.., .. })
    }
}

pub(super) fn elsewhere_key(scope: &TenantScope, integration: &IntegrationId) -> Key {
    scope
        .partition(&["inventory", integration.as_str()])
        .key(&["elsewhere"])
}

impl Inventories {
    /// Returns what was found in the regions that no stack watches, if it was looked for.
    pub async fn elsewhere(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
    ) -> Result<Option<Elsewhere>, StoreError> {
        let stored = self.store.get(&elsewhere_key(scope, integration)).await?;
        stored.map(|stored| stored.parse()).transpose()
    }

    /// Stores what was found in the regions that no stack watches.
    pub async fn note_elsewhere(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        elsewhere: &Elsewhere,
    ) -> Result<(), StoreError> {
        let key = elsewhere_key(scope, integration);
        try_write(&*self.store, &[Write::put(key, elsewhere, Condition::None)])
            .await
            .map(drop)
    }
}
