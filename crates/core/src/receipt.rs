//! Access receipts: a record of each session that was opened in a tenant's account, for the tenant to hold against its
//! own `CloudTrail`.
//!
//! The receipt is written before the session is opened, so that no session is without one; how many calls were made with
//! it is added when the work that made them is done.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    arn::RoleArn,
    clock::Clock,
    id::{IntegrationId, Region},
    scope::TenantScope,
    session::{AssumeError, AssumeRole, Purpose, Session, SessionName, TrustedRole},
    store::{Condition, Key, Partition, Store, StoreError, Write, contended, try_write},
};

/// One session in a tenant's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessReceipt {
    /// The integration.
    pub integration: IntegrationId,
    /// The region whose STS was asked.
    pub region: Region,
    /// The role.
    pub role: RoleArn,
    /// The session's name: in `CloudTrail` it is the end of `userIdentity.arn`, and `roleSessionName` of `AssumeRole`.
    pub session: String,
    /// What it was opened for: `registry`, `names`, `proof` or `credentials`.
    pub purpose: String,
    /// When it was about to be opened.
    pub opened_at: Timestamp,
    /// How many calls were made with it so far; none if the role did not open.
    pub calls: u64,
}

/// The access receipts of tenants.
#[derive(Clone)]
pub struct AccessReceipts {
    store: Arc<dyn Store>,
}

/// Where a receipt lies, to add calls to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptKey {
    key: Key,
    expires_at: Timestamp,
}

/// How often adding calls is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 16;

impl AccessReceipts {
    /// How long a receipt is kept: as long as `CloudTrail` shows events in its console.
    ///
    /// Source: CloudTrail user guide, "Working with CloudTrail event history".
    pub const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

    /// Opens the receipts in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Writes the receipt of a session that is about to be opened.
    pub async fn write(
        &self,
        scope: &TenantScope,
        receipt: &AccessReceipt,
    ) -> Result<ReceiptKey, StoreError> {
        let key = partition(scope, &receipt.integration)
            .key(&[&format!("{:.3}", receipt.opened_at), &receipt.session]);
        let expires_at = receipt
            .opened_at
            .saturating_add(Self::KEPT)
            .unwrap_or(Timestamp::MAX);
        let write = Write::put(key.clone(), receipt, Condition::Absent).expiring(expires_at);
        // If it is there, its first writing was not answered.
        try_write(&*self.store, &[write]).await?;
        Ok(ReceiptKey { key, expires_at })
    }

    /// Adds calls that were made with a session.
    pub async fn add_calls(&self, receipt: &ReceiptKey, calls: u64) -> Result<(), StoreError> {
        if calls == 0 {
            return Ok(());
        }
        // Receipts expire, which `update` knows nothing of.
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.store.get(&receipt.key).await? else {
                return Ok(());
            };
            let mut written: AccessReceipt = stored.parse()?;
            written.calls = written.calls.saturating_add(calls);
            let write = Write::put(stored.key, &written, Condition::Unchanged(stored.revision));
            if try_write(&*self.store, &[write.expiring(receipt.expires_at)]).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Lists the sessions of an integration that were opened from `since` on, the oldest first, at most `limit`.
    pub async fn list(
        &self,
        scope: &TenantScope,
        integration: &IntegrationId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<AccessReceipt>, StoreError> {
        let partition = partition(scope, integration);
        let mut after = Some(partition.key(&[&format!("{since:.3}")]));
        let mut receipts = Vec::new();
        loop {
            let page = self.store.query(&partition, "", after.as_ref(), 100).await?;
            for item in &page.items {
                receipts.push(item.parse()?);
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more || receipts.len() >= limit {
                receipts.truncate(limit);
                return Ok(receipts);
            }
        }
    }
}

fn partition(scope: &TenantScope, integration: &IntegrationId) -> Partition {
    scope.partition(&["access", integration.as_str()])
}

/// Counts the calls that are made with sessions, in the one place where a session is put into a call.
#[derive(Debug, Default)]
pub struct CallCounter(Mutex<HashMap<String, u64>>);

impl CallCounter {
    /// How many sessions are counted at a time; beyond, calls are lost from the count and nothing else.
    const MOST: usize = 4096;

    /// Counts one call.
    pub fn count(&self, session: &Session) {
        self.add(session, 1);
    }

    fn add(&self, session: &Session, calls: u64) {
        let mut counts = self.counts();
        if counts.len() < Self::MOST || counts.contains_key(&session.access_key_id) {
            *counts.entry(session.access_key_id.clone()).or_default() += calls;
        }
    }

    /// Returns how many calls were made with a session since it was last asked about.
    pub fn take(&self, session: &Session) -> u64 {
        self.counts().remove(&session.access_key_id).unwrap_or_default()
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens sessions and writes a receipt of each.
pub struct ReceiptedSessions<A> {
    inner: A,
    receipts: AccessReceipts,
    calls: Arc<CallCounter>,
    clock: Arc<dyn Clock>,
    open: Mutex<HashMap<String, Open>>,
}

/// A session that was opened, and may still be used.
struct Open {
    receipt: ReceiptKey,
    ends: Timestamp,
}

impl<A: AssumeRole> ReceiptedSessions<A> {
    /// Writes receipts of what `inner` opens; `calls` counts what is done with it.
    pub fn new(inner: A, receipts: AccessReceipts, calls: Arc<CallCounter>, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            receipts,
            calls,
            clock,
            open: Mutex::default(),
        }
    }

    /// Adds the calls of a piece of work to the receipt of its session; those that could not be written are added with
    /// the next ones.
    pub async fn settle(&self, session: &Session) -> Result<(), StoreError> {
        let receipt = self
            .open()
            .get(&session.access_key_id)
            .map(|open| open.receipt.clone());
        let Some(receipt) = receipt else { return Ok(()) };
        let calls = self.calls.take(session);
        let added = self.receipts.add_calls(&receipt, calls).await;
        if added.is_err() {
            self.calls.add(session, calls);
        }
        added
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<A: AssumeRole> AssumeRole for ReceiptedSessions<A> {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        purpose: Purpose,
        name: &SessionName,
    ) -> Result<Session, AssumeError> {
        let now = self.clock.now();
        let receipt = AccessReceipt {
            integration: role.integration().clone(),
            region: role.region().clone(),
            role: role.role().clone(),
            session: name.as_str().to_owned(),
            purpose: purpose.name().to_owned(),
            opened_at: now,
            calls: 0,
        };
        let written = self.receipts.write(role.scope(), &receipt).await;
        let receipt = written.map_err(|error| AssumeError::Unreachable(error.into()))?;
        let session = self.inner.assume_role(role, purpose, name).await?;
        let mut open = self.open();
        open.retain(|_, open| open.ends > now);
        open.insert(
            session.access_key_id.clone(),
            Open {
                receipt,
                ends: session.expires_at,
            },
        );
        Ok(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::ManualClock,
        id::{ExternalId, RequestId, TenantId},
        random::OsRandomness,
        store::MemoryStore,
    };

    /// Opens any role, or none, each time with another access key.
    struct Sts(Mutex<u32>, bool);

    #[async_trait]
    impl AssumeRole for Sts {
        async fn assume_role(
            &self,
            role: &TrustedRole,
            _: Purpose,
            _: &SessionName,
        ) -> Result<Session, AssumeError> {
            if !self.1 {
                return Err(AssumeError::NotAllowed("AccessDenied".into()));
            }
            let mut number = self.0.lock().unwrap();
            *number += 1;
            Ok(Session {
                access_key_id: format!("ASIA{number}"),
                secret_access_key: "secret".to_owned().into(),
                session_token: "token".to_owned().into(),
                expires_at: Timestamp::MAX,
                account: role.role().account().clone(),
            })
        }
    }

    struct World {
        store: Arc<MemoryStore>,
        clock: ManualClock,
        calls: Arc<CallCounter>,
        scope: TenantScope,
        integration: IntegrationId,
    }

    impl World {
        fn new() -> Self {
            Self {
                store: Arc::default(),
                clock: ManualClock::at("2026-11-23T12:00:00Z".parse().unwrap()),
                calls: Arc::default(),
                scope: TenantScope::of(TenantId::generate(&OsRandomness)),
                integration: IntegrationId::generate(&OsRandomness),
            }
        }

        fn receipts(&self) -> AccessReceipts {
            AccessReceipts::new(self.store.clone())
        }

        fn sessions(&self, opens: bool) -> ReceiptedSessions<Sts> {
            let sts = Sts(Mutex::default(), opens);
            ReceiptedSessions::new(
                sts,
                self.receipts(),
                self.calls.clone(),
                Arc::new(self.clock.clone()),
            )
        }

        fn role(&self) -> TrustedRole {
            TrustedRole::new(
                self.scope.clone(),
                self.integration.clone(),
                "arn:aws:iam::111122223333:role/r".parse().unwrap(),
                ExternalId::generate(&OsRandomness),
                "eu-west-1".parse().unwrap(),
            )
        }

        async fn list(&self, since: Timestamp) -> Vec<(String, u64)> {
            let receipts = self
                .receipts()
                .list(&self.scope, &self.integration, since, 250)
                .await;
            let shown = receipts.unwrap().into_iter();
            shown.map(|receipt| (receipt.session, receipt.calls)).collect()
        }
    }

    #[tokio::test]
    async fn each_session_has_a_receipt_with_the_calls_of_all_its_work() {
        let world = World::new();
        let sessions = world.sessions(true);
        let start = world.clock.now();
        let mut names = Vec::new();
        let mut opened = Vec::new();
        for _ in 0..2 {
            let name = SessionName::scan(&RequestId::generate(&OsRandomness));
            let session = sessions
                .assume_role(&world.role(), Purpose::Registry, &name)
                .await
                .unwrap();
            names.push(name.as_str().to_owned());
            opened.push(session);
            world.clock.advance(std::time::Duration::from_secs(1));
        }
        assert_eq!(
            world.list(start).await,
            [(names[0].clone(), 0), (names[1].clone(), 0)]
        );
        for calls in [3, 2] {
            (0..calls).for_each(|_| world.calls.count(&opened[1]));
            sessions.settle(&opened[1]).await.unwrap();
        }
        sessions.settle(&opened[0]).await.unwrap();
        assert_eq!(
            world.list(start).await,
            [(names[0].clone(), 0), (names[1].clone(), 5)]
        );
        let later = start + SignedDuration::from_secs(1);
        assert_eq!(world.list(later).await, [(names[1].clone(), 5)]);
    }

    #[tokio::test]
    async fn the_receipt_is_there_before_the_session_and_for_nobody_else() {
        let world = World::new();
        let name = SessionName::scan(&RequestId::generate(&OsRandomness));
        let refused = world
            .sessions(false)
            .assume_role(&world.role(), Purpose::Registry, &name)
            .await;
        assert!(matches!(refused, Err(AssumeError::NotAllowed(_))));
        assert_eq!(world.list(Timestamp::UNIX_EPOCH).await.len(), 1);
        let other = TenantScope::of(TenantId::generate(&OsRandomness));
        let receipts = world.receipts();
        let listed = receipts
            .list(&other, &world.integration, Timestamp::UNIX_EPOCH, 250)
            .await;
        assert_eq!(listed.unwrap(), []);
    }

    #[tokio::test]
    async fn no_more_are_listed_than_asked_for() {
        let world = World::new();
        let sessions = world.sessions(true);
        for _ in 0..120 {
            let name = SessionName::scan(&RequestId::generate(&OsRandomness));
            sessions
                .assume_role(&world.role(), Purpose::Registry, &name)
                .await
                .unwrap();
        }
        let (scope, id) = (&world.scope, &world.integration);
        for limit in [7, 110, 1000] {
            let listed = world
                .receipts()
                .list(scope, id, Timestamp::UNIX_EPOCH, limit)
                .await
                .unwrap();
            assert_eq!(listed.len(), limit.min(120));
        }
    }
}
