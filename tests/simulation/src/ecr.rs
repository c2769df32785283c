//! The tenants' registries: the truth that every event only hints at.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use portwarden_core::ecr::{EcrImage, RegistryId};
use portwarden_oci::{Digest, RepositoryName, Tag};

/// A repository of a registry.
pub(crate) type Spot = (RegistryId, RepositoryName);

/// What lies where, and when it did.
#[derive(Default)]
pub(crate) struct Ecr {
    spots: BTreeMap<Spot, BTreeMap<Digest, EcrImage>>,
    /// When an image came or went.
    history: BTreeMap<Digest, BTreeMap<Spot, Vec<(Timestamp, bool)>>>,
}

impl Ecr {
    /// Pushes an image, under a tag that it takes away from the one that had it.
    pub(crate) fn push(&mut self, spot: &Spot, digest: Digest, tag: Option<&Tag>, now: Timestamp) {
        let images = self.spots.entry(spot.clone()).or_default();
        if let Some(tag) = tag {
            // Of which ECR sends no event.
            for image in images.values_mut() {
                image.tags.remove(tag);
            }
        }
        let is_new = !images.contains_key(&digest);
        let image = images.entry(digest).or_insert_with(|| EcrImage {
            tags: BTreeSet::new(),
            pushed_at: Some(now),
            size: Some(1),
            archived: false,
        });
        image.tags.extend(tag.cloned());
        if is_new {
            self.remember(spot, digest, now, true);
        }
    }

    /// Deletes a tag, and with its last tag the image.
    pub(crate) fn delete_tag(&mut self, spot: &Spot, digest: Digest, tag: &Tag, now: Timestamp) {
        let Some(image) = self.image_mut(spot, digest) else {
            return;
        };
        image.tags.remove(tag);
        if image.tags.is_empty() {
            self.delete(spot, digest, now);
        }
    }

    pub(crate) fn delete(&mut self, spot: &Spot, digest: Digest, now: Timestamp) {
        let removed = self.spots.get_mut(spot).and_then(|images| images.remove(&digest));
        if removed.is_some() {
            self.remember(spot, digest, now, false);
        }
    }

    pub(crate) fn archive(&mut self, spot: &Spot, digest: Digest, archived: bool) {
        if let Some(image) = self.image_mut(spot, digest) {
            image.archived = archived;
        }
    }

    pub(crate) fn image(&self, spot: &Spot, digest: &Digest) -> Option<&EcrImage> {
        self.spots.get(spot)?.get(digest)
    }

    /// Lists what lies in a repository.
    pub(crate) fn images(&self, spot: &Spot) -> impl ExactSizeIterator<Item = (Digest, &EcrImage)> {
        static NOTHING: BTreeMap<Digest, EcrImage> = BTreeMap::new();
        let images = self.spots.get(spot).unwrap_or(&NOTHING).iter();
        images.map(|(digest, image)| (*digest, image))
    }

    /// Lists the repositories of a registry that hold something.
    pub(crate) fn repositories(&self, registry: &RegistryId) -> Vec<RepositoryName> {
        self.spots
            .iter()
            .filter(|((at, _), images)| at == registry && !images.is_empty())
            .map(|((_, name), _)| name.clone())
            .collect()
    }

    /// Tells whether the image was there, or was not, at some time from `since` on.
    pub(crate) fn was(&self, spot: &Spot, digest: Digest, is_present: bool, since: Timestamp) -> bool {
        let places = self.history.get(&digest);
        let Some(history) = places.and_then(|places| places.get(spot)) else {
            return !is_present;
        };
        let started = history.partition_point(|(at, _)| *at <= since);
        // Before its first push it was not there.
        let before = started.checked_sub(1).is_some_and(|last| history[last].1);
        before == is_present
            || history[started..]
                .iter()
                .any(|(_, present)| *present == is_present)
    }

    fn image_mut(&mut self, spot: &Spot, digest: Digest) -> Option<&mut EcrImage> {
        self.spots.get_mut(spot)?.get_mut(&digest)
    }

    fn remember(&mut self, spot: &Spot, digest: Digest, now: Timestamp, is_present: bool) {
        let places = self.history.entry(digest).or_default();
        let history = places.entry(spot.clone()).or_default();
        history.push((now, is_present));
    }
}
