//! The events of the folder `events/` at the top of the repository, and envelopes for image events that tests choose.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

/// The account of the recorded events: the operator's own, where they come bare, as its rule sends them.
pub const OPERATOR_ACCOUNT: &str = "111122223333";

/// The tenant's account in the `http_api_…` and `sqs_…` events.
pub const TENANT_ACCOUNT: &str = "777788889999";

/// The region of both.
pub const REGION: &str = "eu-west-1";

/// The repository that most of the events are about.
pub const REPOSITORY: &str = "shop/web";

/// The integration whose endpoint the `http_api_…` events were posted to.
pub const INTEGRATION: &str = "i-0123456789abcdefghjkmnpqrs";

/// The user name in both `http_api_…` events.
pub const USERNAME: &str = "portwarden";

/// The password in `http_api_push_right_credentials`.
pub const PASSWORD: &str = "an-example-password-of-33-letters";

/// Reads the event of `events/<name>.json`.
///
/// # Panics
///
/// Panics, and names the file, when it is not there or not JSON.
pub fn load(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{} is not JSON: {error}", path.display()))
}

/// Lists the names of all events, sorted.
///
/// # Panics
///
/// Panics when the folder cannot be read.
pub fn names() -> Vec<String> {
    let folder = folder();
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()))
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../events")
}

/// An image and the circumstances of an event about it.
#[derive(Debug, Clone, Copy)]
pub struct ImageEvent<'a> {
    /// The event's own id, which its redeliveries keep.
    pub id: &'a str,
    /// When it happened, such as `2026-11-16T01:54:34Z`.
    pub time: &'a str,
    /// The account of the registry.
    pub account: &'a str,
    /// The region of the registry.
    pub region: &'a str,
    /// The repository.
    pub repository: &'a str,
    /// The digest of the image's manifest.
    pub digest: &'a str,
    /// The tag, if there is one.
    pub tag: Option<&'a str>,
}

impl ImageEvent<'_> {
    /// Returns the event of the image's push.
    pub fn push(&self) -> Value {
        self.envelope("PUSH")
    }

    /// Returns the event of the deletion of the image, or of the one tag.
    pub fn delete(&self) -> Value {
        self.envelope("DELETE")
    }

    fn envelope(&self, action: &str) -> Value {
        let mut detail = json!({
            "result": "SUCCESS",
            "repository-name": self.repository,
            "image-digest": self.digest,
            "action-type": action,
        });
        if let Some(tag) = self.tag {
            detail["image-tag"] = json!(tag);
        }
        json!({
            "version": "0",
            "id": self.id,
            "detail-type": "ECR Image Action",
            "source": "aws.ecr",
            "account": self.account,
            "time": self.time,
            "region": self.region,
            "resources": [],
            "detail": detail,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use portwarden_oci::{Digest, RepositoryName};

    use super::*;
    use crate::{image::Artifact as _, sample};

    /// The events that EventBridge sends, without those that Lambda wraps.
    fn envelopes() -> impl Iterator<Item = (String, Value)> {
        names()
            .into_iter()
            .filter(|name| !name.starts_with("http_api_") && !name.starts_with("sqs_"))
            .map(|name| (name.clone(), load(&name)))
    }

    #[test]
    fn every_envelope_has_the_fields_of_eventbridge_and_an_id_of_its_own() {
        let mut ids = BTreeSet::new();
        for (name, event) in envelopes() {
            let fields: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
            let expected = BTreeSet::from([
                "version",
                "id",
                "detail-type",
                "source",
                "account",
                "time",
                "region",
                "resources",
                "detail",
            ]);
            assert_eq!(fields, expected, "{name}");
            assert_eq!(event["account"], OPERATOR_ACCOUNT, "{name}");
            assert_eq!(event["region"], REGION, "{name}");
            assert!(ids.insert(event["id"].to_string()), "{name}");
        }
        assert_eq!(ids.len(), 20);
    }

    #[test]
    fn every_digest_and_repository_is_well_formed() {
        let mut digests = 0;
        for (name, event) in envelopes() {
            let detail = &event["detail"];
            if let Some(digest) = detail["image-digest"].as_str() {
                digest
                    .parse::<Digest>()
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                digests += 1;
            }
            if let Some(repository) = detail["repository-name"].as_str() {
                let is_arn = repository.starts_with("arn:aws:ecr:");
                assert_eq!(is_arn, name == "inspector2_scan", "{name}");
                assert_eq!(repository.parse::<RepositoryName>().is_ok(), !is_arn, "{name}");
            }
        }
        assert_eq!(digests, 14);
    }

    #[test]
    fn the_built_envelope_is_the_documented_one() {
        let recorded = load("ecr_delete_tagged");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (id, time) = (text(&recorded["id"]), text(&recorded["time"]));
        let digest = text(&recorded["detail"]["image-digest"]);
        let mut event = ImageEvent {
            id: &id,
            time: &time,
            account: "111122223333",
            region: "eu-west-1",
            repository: "shop/web",
            digest: &digest,
            tag: Some("1.4"),
        };
        assert_eq!(event.delete(), recorded);
        assert_eq!(event.push()["detail"]["action-type"], "PUSH");
        event.tag = None;
        assert_eq!(event.push()["detail"].get("image-tag"), None);
    }

    #[test]
    fn the_wrapped_events_carry_what_the_constants_say() {
        let credentials = |name: &str| {
            let event = load(name);
            assert_eq!(event["pathParameters"]["integration"], INTEGRATION);
            let body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
            let of_the_tenant = |name: &str| -> Value {
                let event = load(name).to_string().replace(OPERATOR_ACCOUNT, TENANT_ACCOUNT);
                serde_json::from_str(&event).unwrap()
            };
            let recorded = if name == "http_api_heartbeat" {
                "heartbeat"
            } else {
                "ecr_push_tagged"
            };
            assert_eq!(body, of_the_tenant(recorded));
            let header = event["headers"]["authorization"].as_str().unwrap().to_owned();
            let encoded = header.strip_prefix("Basic ").unwrap();
            String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
        };
        let right = format!("{USERNAME}:{PASSWORD}");
        assert_eq!(credentials("http_api_push_right_credentials"), right);
        assert_eq!(credentials("http_api_heartbeat"), right);
        let wrong = credentials("http_api_push_wrong_credentials");
        assert!(wrong.starts_with(&format!("{USERNAME}:")) && wrong != right);
    }

    #[test]
    fn the_images_of_the_events_are_the_samples() {
        let digest = |name: &str| load(name)["detail"]["image-digest"].as_str().unwrap().to_owned();
        let sample = sample::image().image.digest().to_string();
        let next = sample::next_release().image.digest().to_string();
        assert_eq!(digest("ecr_push_tagged"), sample);
        assert_eq!(digest("ecr_push_untagged"), next);
        let batch = load("sqs_batch");
        let scanned = |record: usize| {
            let body = batch["Records"][record]["body"].as_str().unwrap();
            serde_json::from_str::<Value>(body).unwrap()["digest"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!((scanned(0), scanned(2)), (sample, next));
    }

    #[test]
    fn the_batch_has_one_message_that_cannot_be_read() {
        for name in ["sqs_batch", "sqs_verify_batch"] {
            let batch = load(name);
            let readable: Vec<bool> = batch["Records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|record| serde_json::from_str::<Value>(record["body"].as_str().unwrap()).is_ok())
                .collect();
            let expected: &[bool] = if name == "sqs_batch" {
                &[true, false, true]
            } else {
                &[true, false]
            };
            assert_eq!(readable, expected, "{name}");
        }
    }

    #[test]
    fn the_readme_lists_every_event() {
        let readme = fs::read_to_string(folder().join("README.md")).unwrap();
        let listed: Vec<String> = readme
            .lines()
            .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
            .collect();
        let sorted: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!(sorted, names().into_iter().collect());
        assert_eq!(listed.len(), sorted.len());
    }
}
