//! Webhooks of tenants: addresses of their own that are told what changed, by Standard Webhooks.
//!
//! Source: Standard Webhooks 1.0.0.

mod delivery;
mod secret;
mod url;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    delivery::{Attempt, Begun, Delivery, DeliveryState, Followed, Outcome, Redelivered},
    secret::{ReadWebhookKey, Signed, WebhookKey, WebhookKeyError, WebhookSecret},
    url::{MAX_URL, WebhookUrl, WebhookUrlError},
};
use crate::{
    id::WebhookId,
    name::{NameError, parse_name},
    random::Randomness,
    scope::TenantScope,
    store::{
        Change, Condition, Key, Partition, Revision, Store, StoreError, Stored, Write, try_write, update,
    },
};

/// An address that a tenant wants to be told at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// What people call it.
    pub name: String,
    /// Where it is.
    pub url: WebhookUrl,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts its secrets, from 1.
    pub generation: u32,
    /// When its secret was replaced last; the one before still signs for [`OLD_SECRET_SIGNS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed_at: Option<Timestamp>,
    /// Why nothing is sent to it, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Disabled>,
    /// When something was taken last, to the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// Counts what people have changed of it: what deliveries note of it meanwhile is in nobody's way.
    #[serde(default)]
    pub edits: u64,
}

/// What people change of a webhook; what is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookChange {
    /// What people call it from now on, as [`parse_name`] takes it.
    pub name: Option<String>,
    /// Where it is from now on; its secret stays.
    pub url: Option<WebhookUrl>,
    /// Whether it is sent anything from now on.
    pub enabled: Option<bool>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited {
    /// It is made, or it is as it was.
    Done(Webhook),
    /// Somebody else has changed the webhook meanwhile.
    Changed,
    /// There is no such webhook.
    Missing,
}

/// Since when and why nothing is sent to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: DisabledReason,
}

/// Why nothing is sent to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// Somebody wanted it so.
    Asked,
    /// It answered 410: it wants nothing any more.
    Gone,
    /// A delivery was given up, and nothing was taken since that one was begun.
    Unreachable,
}

impl DisabledReason {
    /// Returns a short name for logs and pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Gone => "gone",
            Self::Unreachable => "unreachable",
        }
    }
}

/// How many webhooks a tenant may have.
pub const MAX_WEBHOOKS: usize = 10;

/// How long the secret before the newest one signs, too.
pub const OLD_SECRET_SIGNS: SignedDuration = SignedDuration::from_hours(24);

/// The webhooks of tenants, and their deliveries.
#[derive(Clone)]
pub struct Webhooks {
    store: Arc<dyn Store>,
}

/// Why there is no new webhook.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The tenant has as many as there may be.
    #[error("a tenant has at most {MAX_WEBHOOKS} webhooks")]
    TooMany,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn partition(scope: &TenantScope) -> Partition {
    scope.partition(&["webhooks"])
}

fn key_of(scope: &TenantScope, id: &WebhookId) -> Key {
    partition(scope).key(&[id.as_str()])
}

impl Webhook {
    /// Tells whether it is sent anything.
    pub fn is_enabled(&self) -> bool {
        self.disabled.is_none()
    }

    /// Names what people have made of it, to be compared when somebody changes it.
    pub fn revision(&self) -> Revision {
        Revision(self.edits)
    }

    /// Returns its secrets that sign at a time, the newest first.
    pub fn secrets(&self, scope: &TenantScope, key: &WebhookKey, now: Timestamp) -> Vec<WebhookSecret> {
        let mut secrets = vec![key.secret(scope, &self.id, self.generation)];
        if self
            .renewed_at
            .is_some_and(|renewed| now.duration_since(renewed) < OLD_SECRET_SIGNS)
        {
            secrets.push(key.secret(scope, &self.id, self.generation - 1));
        }
        secrets
    }
}

impl Webhooks {
    /// Opens the webhooks in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Makes a webhook; its secret is shown once.
    pub async fn create(
        &self,
        scope: &TenantScope,
        (name, url): (&str, &WebhookUrl),
        key: &WebhookKey,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<(Webhook, WebhookSecret), CreateError> {
        let name = parse_name(name)?;
        // Two at once may make one more than there may be, which harms nobody.
        if self.list(scope).await?.len() >= MAX_WEBHOOKS {
            return Err(CreateError::TooMany);
        }
        let webhook = Webhook {
            id: WebhookId::generate(randomness),
            name,
            url: url.clone(),
            created_at: now,
            generation: 1,
            renewed_at: None,
            disabled: None,
            delivered_at: None,
            edits: 0,
        };
        let write = Write::put(key_of(scope, &webhook.id), &webhook, Condition::Absent);
        try_write(&*self.store, &[write]).await?;
        let secret = key.secret(scope, &webhook.id, webhook.generation);
        Ok((webhook, secret))
    }

    /// Lists a tenant's webhooks; there are few.
    pub async fn list(&self, scope: &TenantScope) -> Result<Vec<Webhook>, StoreError> {
        let page = self.store.query(&partition(scope), "", None, 100).await?;
        page.items.iter().map(Stored::parse).collect()
    }

    /// Finds a webhook.
    pub async fn find(&self, scope: &TenantScope, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
        let stored = self.store.get(&key_of(scope, id)).await?;
        stored.map(|stored| stored.parse()).transpose()
    }

    /// Removes a webhook for good; tells whether there was one. What is known of its deliveries goes with time.
    pub async fn remove(&self, scope: &TenantScope, id: &WebhookId) -> Result<bool, StoreError> {
        let delete = Write::Delete {
            key: key_of(scope, id),
            condition: Condition::Present,
        };
        try_write(&*self.store, &[delete]).await
    }

    /// Changes a webhook, if nobody has since `seen`; without it, whatever is there is changed.
    pub async fn edit(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        wanted: &WebhookChange,
        seen: Option<Revision>,
        now: Timestamp,
    ) -> Result<Edited, StoreError> {
        update(&*self.store, &key_of(scope, id), |stored: Option<Webhook>| {
            let Some(before) = stored else {
                return Change::Keep(Edited::Missing);
            };
            if seen.is_some_and(|seen| seen != before.revision()) {
                return Change::Keep(Edited::Changed);
            }
            let mut after = before.clone();
            if let Some(name) = &wanted.name {
                after.name.clone_from(name);
            }
            if let Some(url) = &wanted.url {
                after.url.clone_from(url);
            }
            let asked = Disabled {
                at: now,
                reason: DisabledReason::Asked,
            };
            match wanted.enabled {
                Some(true) => after.disabled = None,
                Some(false) => drop(after.disabled.get_or_insert(asked)),
                None => {}
            }
            if after == before {
                return Change::Keep(Edited::Done(before));
            }
            after.edits += 1;
            Change::Put(after.clone(), Edited::Done(after))
        })
        .await
    }

    /// Switches a webhook on again, or off; returns it, if there is one.
    pub async fn enable(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        enabled: bool,
        now: Timestamp,
    ) -> Result<Option<Webhook>, StoreError> {
        let wanted = WebhookChange {
            enabled: Some(enabled),
            ..WebhookChange::default()
        };
        Ok(match self.edit(scope, id, &wanted, None, now).await? {
            Edited::Done(webhook) => Some(webhook),
            Edited::Changed | Edited::Missing => None,
        })
    }

    /// Gives a webhook a new secret, which is shown once; the old one signs, too, for [`OLD_SECRET_SIGNS`].
    pub async fn renew_secret(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        key: &WebhookKey,
        now: Timestamp,
    ) -> Result<Option<WebhookSecret>, StoreError> {
        let renewed = self
            .change(scope, id, |webhook| {
                webhook.generation += 1;
                webhook.renewed_at = Some(now);
                webhook.edits += 1;
            })
            .await?;
        Ok(renewed.map(|webhook| key.secret(scope, &webhook.id, webhook.generation)))
    }

    /// Changes a webhook that is there; a missing one stays missing.
    async fn change(
        &self,
        scope: &TenantScope,
        id: &WebhookId,
        mut change: impl FnMut(&mut Webhook) + Send,
    ) -> Result<Option<Webhook>, StoreError> {
        update(&*self.store, &key_of(scope, id), |stored: Option<Webhook>| {
            let Some(before) = stored else {
                return Change::Keep(None);
            };
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                Change::Keep(Some(after))
            } else {
                Change::Put(after.clone(), Some(after))
            }
        })
        .await
    }
}
