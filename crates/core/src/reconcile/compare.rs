use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;
use portwarden_oci::{Digest, RepositoryName};

use super::{HowKnown, MissedPushes, TELLING};
use crate::{
    ecr::EcrImage,
    image::{Located, Presence},
    work::KnownBy,
};

/// A comparison of one repository that is under way: first ECR's whole listing, then what is known, piece by piece.
///
/// What is known must be read after the listing ended, so that what came in between is not taken for missing.
#[derive(Debug)]
pub struct Comparing {
    look: Look,
    /// What ECR lists and has not been met among what is known.
    listed: BTreeMap<Digest, EcrImage>,
    comparison: Comparison,
}

/// When and why a repository is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How the images that are found become known.
    pub kind: KnownBy,
    /// When the run began.
    pub started_at: Timestamp,
    /// When ECR's listing of the repository began.
    pub listed_at: Timestamp,
}

/// How what ECR lists in a repository differs from what is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many images ECR lists.
    pub listed: u64,
    /// What is not known, in the order in which it is scanned: tagged images first, and the newest of them first.
    pub new: Vec<(Digest, EcrImage)>,
    /// What has other tags now, or was archived or restored, in no order.
    pub changed: Vec<Changed>,
    /// What ECR does not list any more. Only its answer about the one image makes it deleted.
    pub gone: Vec<Digest>,
    /// How the known images became known, the new ones among them.
    pub known: HowKnown,
    /// When the newest image that an event told of became known.
    pub told_at: Option<Timestamp>,
    /// How many images the run found here, those of an earlier attempt among them.
    pub found: u64,
    /// The pushes that no event told of, though they are old enough.
    pub missed: Option<MissedPushes>,
}

/// An image of which ECR says something else than what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The image.
    pub digest: Digest,
    /// What ECR says.
    pub image: EcrImage,
    /// Whether it can be read again, and could not before.
    pub is_restored: bool,
}

impl Comparing {
    /// Begins with all that ECR lists. Pages may overlap when images come or go between them.
    pub fn new(look: Look, listed: impl IntoIterator<Item = (Digest, EcrImage)>) -> Self {
        let listed: BTreeMap<Digest, EcrImage> = listed.into_iter().collect();
        Self {
            look,
            comparison: Comparison {
                listed: listed.len() as u64,
                ..Comparison::default()
            },
            listed,
        }
    }

    /// Meets an image that is known to lie in the repository.
    pub fn meet(&mut self, Located { digest, location }: &Located, repository: &RepositoryName) {
        let comparison = &mut self.comparison;
        comparison.known.count(location.known_by);
        if location.known_by == KnownBy::Event {
            comparison.told_at = comparison.told_at.max(Some(location.known_at));
        }
        let listed = self.listed.remove(digest);
        // The same run found it, and did not come to the repository's end.
        if location.known_by == self.look.kind && location.known_at >= self.look.started_at {
            comparison.found += 1;
            if let Presence::Present { pushed_at, .. } = location.presence {
                comparison.note_missed(self.look, repository, *digest, pushed_at);
            }
        }
        match listed {
            // What was asked since the listing began is newer than the listing.
            _ if location.observed_at >= self.look.listed_at => {}
            Some(image) if image.presence() == location.presence => {}
            Some(image) => {
                let was_archived = matches!(location.presence, Presence::Present { archived: true, .. });
                comparison.changed.push(Changed {
                    digest: *digest,
                    is_restored: was_archived && !image.archived,
                    image,
                });
            }
            None => comparison.gone.push(*digest),
        }
    }

    /// Ends the comparison: what was not met is new.
    pub fn end(self, repository: &RepositoryName) -> Comparison {
        let mut comparison = self.comparison;
        for (digest, image) in self.listed {
            comparison.known.count(self.look.kind);
            comparison.found += 1;
            comparison.note_missed(self.look, repository, digest, image.pushed_at);
            comparison.new.push((digest, image));
        }
        comparison
            .new
            .sort_by_key(|(_, image)| (image.tags.is_empty(), Reverse(image.pushed_at)));
        comparison
    }
}

impl Comparison {
    fn note_missed(
        &mut self,
        look: Look,
        repository: &RepositoryName,
        digest: Digest,
        pushed_at: Option<Timestamp>,
    ) {
        let is_old = |pushed_at: &Timestamp| *pushed_at < look.started_at - TELLING;
        // What was there before events could tell of it was not missed.
        if look.kind == KnownBy::Reconcile
            && let Some(pushed_at) = pushed_at.filter(is_old)
        {
            let one = MissedPushes::one(repository, digest, pushed_at);
            self.missed = MissedPushes::sum(self.missed.take(), Some(one));
        }
    }
}

impl EcrImage {
    /// Returns what is noted of the image.
    pub fn presence(&self) -> Presence {
        Presence::Present {
            tags: self.tags.clone(),
            pushed_at: self.pushed_at,
            archived: self.archived,
        }
    }
}
