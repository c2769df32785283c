//! The one scan that an image gets for a version of the catalog.

use jiff::Timestamp;
use portwarden_oci::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Images,
    record::{ImageRecord, scan_key},
};
use crate::{
    id::RequestId,
    problem::Problem,
    scope::TenantScope,
    store::{ATTEMPTS, Change, StoreError, Write, contended, try_write, update},
    trace::TraceId,
};

/// What became of an attempt to take up a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The scan is ours until the lease ends.
    Ours(ScanLease),
    /// Somebody else is at it, who may die or give up: whoever needs the scan comes again.
    Held {
        /// When the other's lease ends.
        until: Timestamp,
    },
    /// The scan is done.
    Done(ScanSummary),
}

/// The right to finish a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanLease {
    digest: Digest,
    catalog_version: u32,
    holder: RequestId,
    until: Timestamp,
}

/// How a scan ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSummary {
    /// When it ended.
    pub at: Timestamp,
    /// The work that did it.
    pub request: RequestId,
    /// What that work belonged to.
    pub trace: TraceId,
    /// What it found, or why it could not.
    #[serde(flatten)]
    pub result: ScanResult,
    /// Whether the event on the bus was sent.
    pub announced: bool,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ScanResult {
    /// The report is there.
    Reported {
        /// How many packages were found.
        packages: usize,
        /// Whether some part could not be read; the report says which.
        partial: bool,
        /// How many bytes of layers were pulled.
        pulled_bytes: u64,
        /// How many bytes of layers were known already.
        spared_bytes: u64,
    },
    /// The content cannot be scanned, wherever it lies.
    Refused {
        /// Why.
        problem: Problem,
    },
}

/// What is stored of a scan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum ScanRecord {
    /// Somebody is at it.
    Running { holder: RequestId, until: Timestamp },
    /// Nobody is at it: no location could be read.
    Open,
    /// It is done.
    Done(ScanSummary),
}

/// What became of a scan that was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// The scan is open again.
    Open,
    /// The lease had ended and somebody else has the scan.
    Lost,
}

/// The lease had ended, and somebody else has the scan, or did it.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Somebody else has the scan, or did it.
    #[error("the lease on the scan was lost")]
    Lost,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ScanLease {
    fn running(&self) -> ScanRecord {
        ScanRecord::Running {
            holder: self.holder.clone(),
            until: self.until,
        }
    }

    /// Tells whether the scan is still held under this lease.
    fn holds(&self, record: Option<&ScanRecord>) -> bool {
        matches!(
            record,
            Some(ScanRecord::Running { holder, until }) if *holder == self.holder && *until == self.until
        )
    }
}

impl Images {
    /// Returns how the scan of an image ended, if it did.
    pub async fn scan(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<Option<ScanSummary>, StoreError> {
        let stored = self.store.get(&scan_key(scope, digest, catalog_version)).await?;
        Ok(match stored.map(|stored| stored.parse()).transpose()? {
            Some(ScanRecord::Done(summary)) => Some(summary),
            Some(ScanRecord::Running { .. } | ScanRecord::Open) | None => None,
        })
    }

    /// Tells whether an image has a scan of its own, done or under way, which leads to its documents.
    pub(crate) async fn has_scan(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<bool, StoreError> {
        let stored = self.store.get(&scan_key(scope, digest, catalog_version)).await?;
        Ok(stored.is_some())
    }

    /// Takes up the scan of an image until `until`, unless it is done or somebody else is at it.
    pub async fn claim_scan(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
        holder: &RequestId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claimed, StoreError> {
        let key = scan_key(scope, digest, catalog_version);
        update(&*self.store, &key, |record| match record {
            Some(ScanRecord::Done(summary)) => Change::Keep(Claimed::Done(summary)),
            // The holder itself comes again when its message was delivered again after a crash.
            Some(ScanRecord::Running { holder: other, until }) if other != *holder && until > now => {
                Change::Keep(Claimed::Held { until })
            }
            Some(ScanRecord::Running { .. } | ScanRecord::Open) | None => {
                let lease = ScanLease {
                    digest: *digest,
                    catalog_version,
                    holder: holder.clone(),
                    until,
                };
                Change::Put(lease.running(), Claimed::Ours(lease))
            }
        })
        .await
    }

    /// Ends a scan; those who came while it ran are served by the same result.
    ///
    /// An end whose answer was lost on the way is found again, and counts.
    pub async fn finish_scan(
        &self,
        scope: &TenantScope,
        lease: &ScanLease,
        trace: TraceId,
        at: Timestamp,
        result: ScanResult,
    ) -> Result<ScanSummary, FinishError> {
        let key = scan_key(scope, &lease.digest, lease.catalog_version);
        for _ in 0..ATTEMPTS {
            let image = ImageRecord::read(&*self.store, scope, &lease.digest).await?;
            let (record, condition) = image.scan(&key).ok_or(FinishError::Lost)?;
            if let ScanRecord::Done(summary) = record
                && (&summary.request, summary.at, &summary.result) == (&lease.holder, at, &result)
            {
                return Ok(summary.clone());
            }
            if !lease.holds(Some(record)) {
                return Err(FinishError::Lost);
            }
            let summary = ScanSummary {
                at,
                request: lease.holder.clone(),
                trace,
                result: result.clone(),
                announced: false,
            };
            let done = ScanRecord::Done(summary.clone());
            let mut writes = vec![Write::put(key.clone(), &done, condition)];
            writes.extend(image.scanned(scope, &key, done));
            if try_write(&*self.store, &writes).await? {
                return Ok(summary);
            }
        }
        Err(contended().into())
    }

    /// Gives a scan back because no location could be read.
    pub async fn release_scan(&self, scope: &TenantScope, lease: &ScanLease) -> Result<Released, StoreError> {
        let key = scan_key(scope, &lease.digest, lease.catalog_version);
        update(&*self.store, &key, |record| {
            if lease.holds(record.as_ref()) {
                Change::Put(ScanRecord::Open, Released::Open)
            } else {
                Change::Keep(Released::Lost)
            }
        })
        .await
    }

    /// Marks that the event about a scan was sent.
    pub async fn mark_announced(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<(), StoreError> {
        let key = scan_key(scope, digest, catalog_version);
        update(&*self.store, &key, |record| match record {
            Some(ScanRecord::Done(summary)) if !summary.announced => {
                let announced = true;
                Change::Put(ScanRecord::Done(ScanSummary { announced, ..summary }), ())
            }
            Some(ScanRecord::Done(_) | ScanRecord::Running { .. } | ScanRecord::Open) | None => {
                Change::Keep(())
            }
        })
        .await
    }
}
