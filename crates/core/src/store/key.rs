use std::{fmt, sync::Arc};

use crate::scope::TenantScope;

/// Where an item lies: a partition and a sort key.
///
/// Only [`Partition`]s make keys, and only a [`TenantScope`] or this crate's directory makes partitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    partition: Partition,
    sort: String,
}

/// The items that share a partition key and can be read in order; the keys of all of them share its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Arc<str>);

impl TenantScope {
    /// Returns a partition of this tenant; `parts` may hold any text, and different parts never meet.
    pub fn partition(&self, parts: &[&str]) -> Partition {
        let mut all = vec!["T", self.tenant().as_str()];
        all.extend(parts);
        Partition(join(&all).into())
    }
}

impl Partition {
    /// Returns a partition that belongs to no tenant: what must be unique or found before the tenant is known.
    pub(crate) fn directory(parts: &[&str]) -> Self {
        let mut all = vec!["D"];
        all.extend(parts);
        Self(join(&all).into())
    }

    /// Returns the key of one item of the partition.
    pub fn key(&self, parts: &[&str]) -> Key {
        Key {
            partition: self.clone(),
            sort: join(parts),
        }
    }

    /// Returns the partition key as it is written in the table.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads back a key that this crate wrote; for implementations of [`Store`](super::Store).
    pub fn stored_key(&self, sort: String) -> Key {
        Key {
            partition: self.clone(),
            sort,
        }
    }
}

impl Key {
    /// Returns the partition.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Returns the sort key as it is written in the table.
    pub fn sort(&self) -> &str {
        &self.sort
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.partition.0, self.sort)
    }
}

/// Writes `parts` as the beginning of sort keys: all that have these parts first, and more behind them.
pub(crate) fn prefix(parts: &[&str]) -> String {
    let mut text = join(parts);
    text.push('#');
    text
}

fn join(parts: &[&str]) -> String {
    let mut text = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.push('#');
        }
        push_escaped(&mut text, part);
    }
    text
}

/// `#` separates parts, so it is escaped inside of them, and so is the escape itself.
fn push_escaped(text: &mut String, part: &str) {
    let mut rest = part;
    while let Some(place) = rest.bytes().position(|byte| matches!(byte, b'#' | b'%')) {
        text.push_str(&rest[..place]);
        text.push_str(if rest.as_bytes()[place] == b'#' {
            "%23"
        } else {
            "%25"
        });
        rest = &rest[place + 1..];
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{id::TenantId, random::OsRandomness};

    fn part() -> impl Strategy<Value = String> {
        prop_oneof!["[#%2]{0,4}", ".{0,6}"]
    }

    proptest! {
        #[test]
        fn different_parts_never_meet(
            a in proptest::collection::vec(part(), 1..4),
            b in proptest::collection::vec(part(), 1..4),
        ) {
            let texts = |parts: &[String]| join(&parts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(texts(&a) == texts(&b), a == b);
        }
    }

    #[test]
    fn tenants_never_share_a_partition() {
        let [a, b] = [(), ()].map(|()| TenantScope::of(TenantId::generate(&OsRandomness)));
        assert_ne!(a.partition(&["x"]), b.partition(&["x"]));
        assert!(!a.partition(&[]).as_str().starts_with(b.partition(&[]).as_str()));
        assert_ne!(Partition::directory(&["T"]).as_str(), "T");
    }
}
