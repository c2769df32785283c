//! Emits what Amazon ECR would: the emulator's registry tells nobody of pushes and deletions, so it is compared with
//! what it held a moment ago.
//!
//! Source: Amazon ECR user guide, "Sample events from Amazon ECR".

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    problem::chain,
    random::{OsRandomness, Randomness},
};
use portwarden_testkit::events::ImageEvent;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};

use crate::{account::Account, destination::Delivery, error::LocalError, tenant::Tenant};

/// How often registries are compared: seldom enough to be no load, often enough to go unnoticed.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// Watches the registries of tenants, and delivers what happens there, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    deliveries: mpsc::UnboundedReceiver<Delivered>,
    task: JoinHandle<()>,
}

/// An event that was delivered, or was not.
#[derive(Debug)]
pub struct Delivered {
    /// Whose registry it was.
    pub tenant: Arc<Tenant>,
    /// What happened.
    pub action: ImageAction,
    /// When it was seen.
    pub seen_at: Instant,
    /// What became of the event.
    pub delivery: Result<Delivery, LocalError>,
}

impl Watch {
    /// Takes what the registries hold now as known.
    pub async fn start(tenants: &[Arc<Tenant>]) -> Result<Self, LocalError> {
        let mut known = Vec::new();
        for tenant in tenants {
            known.push((Arc::clone(tenant), Contents::read(&tenant.account).await?));
        }
        let (sender, deliveries) = mpsc::unbounded_channel();
        Ok(Self {
            deliveries,
            task: tokio::spawn(follow(known, sender)),
        })
    }

    /// Waits for the next event's fate; `None` if the watch has ended.
    pub async fn next(&mut self) -> Option<Delivered> {
        self.deliveries.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut known: Vec<(Arc<Tenant>, Contents)>, sender: mpsc::UnboundedSender<Delivered>) {
    // Retries of one event hold up no other.
    let mut deliveries = JoinSet::new();
    loop {
        sleep(INTERVAL).await;
        for (tenant, contents) in &mut known {
            let now = match Contents::read(&tenant.account).await {
                Ok(now) => now,
                Err(error) => {
                    tracing::warn!(account.id = %tenant.account.id(), error = chain(&error), "registry cannot be read");
                    continue;
                }
            };
            for action in contents.changes(&now) {
                let seen_at = Instant::now();
                let event = action.event(&tenant.account, SystemClock.now(), &OsRandomness);
                let (tenant, sender) = (Arc::clone(tenant), sender.clone());
                deliveries.spawn(async move {
                    let delivery = tenant.deliver(&event).await;
                    // Nobody listens any more when everything ends.
                    let _ = sender.send(Delivered {
                        tenant,
                        action,
                        seen_at,
                        delivery,
                    });
                });
            }
            *contents = now;
        }
        while deliveries.try_join_next().is_some() {}
    }
}

/// What one registry holds: its images, each with its tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<ImageKey, BTreeSet<String>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ImageKey {
    repository: String,
    digest: String,
}

/// Something that happened to an image, as ECR tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageAction {
    /// What happened.
    pub action: Action,
    /// The repository.
    pub repository: String,
    /// The image's digest.
    pub digest: String,
    /// The tag that was pushed or deleted, if there is one.
    pub tag: Option<String>,
}

/// What can happen to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It, or a tag of it, was pushed.
    Push,
    /// It, or a tag of it, was deleted.
    Delete,
}

impl Contents {
    /// Reads what `account`'s registry holds now.
    pub async fn read(account: &Account) -> Result<Self, LocalError> {
        let client = account.ecr();
        let repositories: Vec<String> = client
            .describe_repositories()
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(|error| LocalError::call("list repositories", error))?
            .into_iter()
            .filter_map(|repository| repository.repository_name)
            .collect();
        let images = stream::iter(repositories).then(|repository| read_repository(&client, repository));
        let images: Vec<_> = images.try_collect().await?;
        Ok(Self(images.into_iter().flatten().collect()))
    }

    /// Tells what ECR would have told if this became `after`.
    ///
    /// A tag that moves to another image is a push of that one, and nothing of the image that it leaves.
    pub fn changes(&self, after: &Self) -> Vec<ImageAction> {
        let mut actions = Vec::new();
        for (key, tags) in &after.0 {
            let known = self.0.get(key);
            let new = tags
                .iter()
                .filter(|tag| known.is_none_or(|known| !known.contains(*tag)));
            actions.extend(new.map(|tag| key.action(Action::Push, Some(tag))));
            if known.is_none() && tags.is_empty() {
                actions.push(key.action(Action::Push, None));
            }
        }
        for (key, tags) in &self.0 {
            let is_used = |tag: &String| {
                let images = after
                    .0
                    .iter()
                    .filter(|(other, _)| other.repository == key.repository);
                images.into_iter().any(|(_, tags)| tags.contains(tag))
            };
            let lost: Vec<&String> = tags.iter().filter(|tag| !is_used(tag)).collect();
            actions.extend(lost.iter().map(|tag| key.action(Action::Delete, Some(tag))));
            if lost.is_empty() && !after.0.contains_key(key) {
                actions.push(key.action(Action::Delete, None));
            }
        }
        actions
    }
}

impl ImageKey {
    fn action(&self, action: Action, tag: Option<&String>) -> ImageAction {
        ImageAction {
            action,
            repository: self.repository.clone(),
            digest: self.digest.clone(),
            tag: tag.cloned(),
        }
    }
}

impl ImageAction {
    /// Writes the event that EventBridge would deliver, with a new id.
    pub fn event(&self, account: &Account, now: Timestamp, randomness: &dyn Randomness) -> Value {
        let event = ImageEvent {
            id: &uuid(randomness),
            time: &now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            account: account.id().as_str(),
            region: account.region().as_str(),
            repository: &self.repository,
            digest: &self.digest,
            tag: self.tag.as_deref(),
        };
        match self.action {
            Action::Push => event.push(),
            Action::Delete => event.delete(),
        }
    }
}

async fn read_repository(
    client: &aws_sdk_ecr::Client,
    repository: String,
) -> Result<Vec<(ImageKey, BTreeSet<String>)>, LocalError> {
    let images = client
        .describe_images()
        .repository_name(&repository)
        .into_paginator()
        .items()
        .send();
    let images: Vec<_> = images
        .try_collect()
        .await
        .map_err(|error| LocalError::call("list images", error))?;
    Ok(images
        .into_iter()
        .filter_map(|image| {
            let key = ImageKey {
                repository: repository.clone(),
                digest: image.image_digest?,
            };
            Some((key, image.image_tags.unwrap_or_default().into_iter().collect()))
        })
        .collect())
}

/// Makes a random UUID, as EventBridge's event ids are.
fn uuid(randomness: &dyn Randomness) -> String {
    let mut bytes = [0; 16];
    randomness.fill(&mut bytes);
    // Version 4, variant 1: RFC 9562, section 5.4.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = |range: Range<usize>| hex::encode(&bytes[range]);
    format!(
        "{}-{}-{}-{}-{}",
        hex(0..4),
        hex(4..6),
        hex(6..8),
        hex(8..10),
        hex(10..16)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `repository digest tag,tag`, one image a line.
    fn contents(text: &str) -> Contents {
        let images = text.lines().filter(|line| !line.trim().is_empty()).map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let key = ImageKey {
                repository: words.next().unwrap(),
                digest: words.next().unwrap(),
            };
            let tags = words.next().unwrap_or_default();
            let tags = tags
                .split(',')
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect();
            (key, tags)
        });
        Contents(images.collect())
    }

    fn changes(before: &str, after: &str) -> Vec<String> {
        let actions = contents(before).changes(&contents(after));
        actions
            .iter()
            .map(|action| {
                let tag = action.tag.as_deref().unwrap_or("-");
                format!(
                    "{:?} {} {} {tag}",
                    action.action, action.repository, action.digest
                )
            })
            .collect()
    }

    #[test]
    fn one_event_for_each_tag_and_one_for_an_untagged_image() {
        assert_eq!(
            changes("", "app d1 v1,latest\napp d2"),
            ["Push app d1 latest", "Push app d1 v1", "Push app d2 -"]
        );
        assert_eq!(
            changes("app d1 v1,latest\napp d2", ""),
            ["Delete app d1 latest", "Delete app d1 v1", "Delete app d2 -"]
        );
    }

    #[test]
    fn nothing_happens_when_nothing_changed() {
        assert_eq!(
            changes("app d1 v1\napp d2", "app d1 v1\napp d2"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_tag_is_added_deleted_and_moved() {
        assert_eq!(changes("app d1 v1", "app d1 v1,v2"), ["Push app d1 v2"]);
        assert_eq!(changes("app d1 v1,v2", "app d1 v1"), ["Delete app d1 v2"]);
        assert_eq!(
            changes("app d1 latest", "app d1\napp d2 latest"),
            ["Push app d2 latest"]
        );
        assert_eq!(changes("app d1 v1", "app d1"), ["Delete app d1 v1"]);
        assert_eq!(
            changes("app d1 latest", "app d2 latest"),
            ["Push app d2 latest", "Delete app d1 -"]
        );
    }

    #[test]
    fn the_same_tag_in_another_repository_is_another_tag() {
        assert_eq!(changes("app d1 v1\nweb d1 v1", "web d1 v1"), ["Delete app d1 v1"]);
    }

    #[test]
    fn events_tell_the_action_and_each_has_an_id_of_its_own() {
        let account = Account::new(
            String::new(),
            "111122223333".parse().unwrap(),
            "eu-west-1".parse().unwrap(),
        );
        let now = "2026-11-23T10:11:12.5Z".parse().unwrap();
        let before = Contents::default();
        let after = contents("team/app sha256:aa v1");
        let push = &before.changes(&after)[0];
        let delete = &after.changes(&before)[0];
        let push = [(); 2].map(|()| push.event(&account, now, &OsRandomness));
        let delete = delete.event(&account, now, &OsRandomness);
        for (event, action) in [(&push[0], "PUSH"), (&push[1], "PUSH"), (&delete, "DELETE")] {
            assert_eq!(event["time"], "2026-11-23T10:11:12Z");
            assert_eq!(
                (&event["account"], &event["region"]),
                (&"111122223333".into(), &"eu-west-1".into())
            );
            assert_eq!(event["detail"]["action-type"], action);
            assert_eq!(event["detail"]["repository-name"], "team/app");
            assert_eq!(event["detail"]["image-tag"], "v1");
        }
        assert_ne!(push[0]["id"], push[1]["id"]);
        let id = push[0]["id"].as_str().unwrap();
        assert_eq!((id.len(), &id[14..15], id.matches('-').count()), (36, "4", 4));
    }
}
