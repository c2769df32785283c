//! From a package to the images that hold it.

use portwarden_oci::Digest;
use serde::{Deserialize, Serialize};

use super::{Inventory, digest_of};
use crate::{
    image::{Cursor, List},
    scope::TenantScope,
    store::{Condition, Key, Partition, StoreError, Stored, Write, prefix},
};

/// A package without its version, as advisories name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackageKey {
    /// The ecosystem, with the release of a distribution: `Debian:12`, `npm`.
    pub ecosystem: String,
    /// The name in it.
    pub name: String,
}

/// A package that an image holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub key: PackageKey,
    /// Its versions there.
    pub versions: Vec<String>,
    /// What matching it takes, as whoever matches writes it.
    pub packages: serde_json::Value,
    /// Stands for what is wrong with it: as long as it is the same, so are the findings.
    pub signature: String,
}

/// An image that holds a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The package.
    #[serde(flatten)]
    pub package: PackageKey,
    /// The image.
    pub digest: Digest,
    /// The package's versions there.
    pub versions: Vec<String>,
    /// What matching it takes.
    #[serde(skip)]
    pub packages: serde_json::Value,
    /// Stands for what is wrong with it.
    #[serde(skip)]
    pub signature: String,
}

#[derive(Serialize, Deserialize)]
struct Record {
    package: PackageKey,
    versions: Vec<String>,
    packages: serde_json::Value,
    signature: String,
}

/// A sort key has at most 1,024 bytes in `DynamoDB`; no real package's has half as many.
const LONGEST_PREFIX: usize = 900;

fn partition(scope: &TenantScope) -> Partition {
    scope.partition(&["packages"])
}

/// The last part of a name comes first, since it is what people look for: `log4j-core`, not its group.
fn short(name: &str) -> String {
    let last = name.rsplit(['/', ':']).find(|part| !part.is_empty());
    last.unwrap_or(name).to_lowercase()
}

fn key_prefix(key: &PackageKey) -> Option<String> {
    let text = prefix(&[&short(&key.name), &key.ecosystem, &key.name]);
    (text.len() <= LONGEST_PREFIX).then_some(text)
}

/// Names the item of a package in an image; nothing for a name that is too long to be one.
pub(super) fn entry_key(scope: &TenantScope, key: &PackageKey, digest: &Digest) -> Option<Key> {
    let text = format!("{}{}", key_prefix(key)?, digest.hex());
    Some(partition(scope).stored_key(text))
}

fn holder(item: &Stored) -> Option<Holder> {
    let record: Record = item.parse().ok()?;
    Some(Holder {
        package: record.package,
        digest: digest_of(item.key.sort())?,
        versions: record.versions,
        packages: record.packages,
        signature: record.signature,
    })
}

impl Inventory {
    /// Notes packages of an image, in the place of what was noted of them before.
    pub async fn enter(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let write = |entry: &Entry| {
            let record = Record {
                package: entry.key.clone(),
                versions: entry.versions.clone(),
                packages: entry.packages.clone(),
                signature: entry.signature.clone(),
            };
            Some(Write::put(
                entry_key(scope, &entry.key, digest)?,
                &record,
                Condition::None,
            ))
        };
        let writes: Vec<Write> = entries.iter().filter_map(write).collect();
        self.write_all(&writes).await
    }

    /// Returns the images that hold a package.
    pub async fn images_with_package(
        &self,
        scope: &TenantScope,
        key: &PackageKey,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<Holder>, StoreError> {
        match key_prefix(key) {
            Some(prefix) => self.list(&partition(scope), &prefix, after, limit, holder).await,
            None => Ok(List::empty()),
        }
    }

    /// Returns the images that hold any package whose name, or its last part, begins with `text`: `log4j` finds
    /// `org.apache.logging.log4j:log4j-core`.
    pub async fn search_packages(
        &self,
        scope: &TenantScope,
        text: &str,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<List<Holder>, StoreError> {
        // As keys are written, without the separator behind it: the name may go on.
        let escaped = prefix(&[&short(text)]);
        let escaped = escaped.strip_suffix('#').unwrap_or(&escaped);
        if escaped.is_empty() || escaped.len() > LONGEST_PREFIX {
            return Ok(List::empty());
        }
        self.list(&partition(scope), escaped, after, limit, holder).await
    }
}
