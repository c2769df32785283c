//! What was last told of a region's status, so that each change is told, in its order, whatever fails in between.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Integrations, Light, Status, records::told_item};
use crate::{
    id::{IntegrationId, Region},
    scope::TenantScope,
    store::{Change, StoreError, update},
};

/// A change of a region's status that is told on the bus, or was.
///
/// It is stored before it is told and marked afterwards. If the mark is lost it is told again, under the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// Counts the region's changes, from 1.
    pub number: u64,
    /// What the status became.
    pub light: Light,
    /// The code of what is to be mended first.
    pub code: Option<String>,
    /// The status in a sentence.
    pub sentence: String,
    /// When it was seen.
    pub at: Timestamp,
    /// Whether the bus has it.
    told: bool,
}

impl StatusChange {
    fn next(before: Option<&Self>, status: &Status, at: Timestamp) -> Option<Self> {
        let (light, code) = (status.light, status.code().map(str::to_owned));
        let (known, number) = match before {
            Some(before) => ((before.light, &before.code), before.number + 1),
            // Everybody begins so, and nobody need be told.
            None => ((Light::Pending, &None), 1),
        };
        (known != (light, &code)).then(|| Self {
            number,
            light,
            code,
            sentence: status.sentence.clone(),
            at,
            told: false,
        })
    }
}

impl Integrations {
    /// Compares a region's status with what was last told; returns what is to be told next, which is stored by then.
    pub async fn change_to_tell(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        status: &Status,
        now: Timestamp,
    ) -> Result<Option<StatusChange>, StoreError> {
        let key = told_item(scope, id, region);
        update(&*self.store, &key, |before: Option<StatusChange>| {
            match before {
                // Each change is told in its turn, the newest last.
                Some(before) if !before.told => Change::Keep(Some(before)),
                before => match StatusChange::next(before.as_ref(), status, now) {
                    Some(change) => Change::Put(change.clone(), Some(change)),
                    None => Change::Keep(None),
                },
            }
        })
        .await
    }

    /// Marks a change that the bus has.
    pub async fn mark_told(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        change: &StatusChange,
    ) -> Result<(), StoreError> {
        let key = told_item(scope, id, region);
        update(&*self.store, &key, |stored: Option<StatusChange>| match stored {
            Some(stored) if stored.number == change.number && !stored.told => {
                Change::Put(StatusChange { told: true, ..stored }, ())
            }
            _ => Change::Keep(()),
        })
        .await
    }
}
