//! Publishing against buckets in memory that fail on demand, and requests that nobody sends.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_core::{
    clock::{Clock as _, ManualClock},
    tenant_template::{
        self,
        publication::{BucketError, TemplateBucket, TemplateBuckets, TemplateKey},
    },
};
use portwarden_oci::Digest;
use portwarden_publisher::{
    answer::LIMIT,
    context::{Context, Respond},
    error::AnswerError,
    handler::{TIME_LIMIT, handle},
};
use proptest::prelude::*;
use reqwest::Url;
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::111122223333:role/portwarden-connector";
const URL: &str =
    "https://cloudformation-custom-resource-response-euwest1.s3.eu-west-1.amazonaws.com/x?X-Amz-Signature=s";

/// What a bucket does instead of what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Missing,
    Denied,
    /// Denied for the first calls: a role that was made just now.
    DeniedAtFirst(u8),
    Unavailable,
    Hangs,
    Panics,
}

#[derive(Default)]
struct World {
    objects: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    faults: Mutex<BTreeMap<String, Fault>>,
    answers: Mutex<Vec<(Url, String)>>,
    answers_fail: bool,
    is_emulated: bool,
}

struct Memory(Arc<World>);

impl Memory {
    async fn check(&self, bucket: &TemplateBucket) -> Result<(), BucketError> {
        let refusal = || Box::from("refused");
        let fault = self.0.faults.lock().unwrap().get(bucket.name()).copied();
        match fault {
            None | Some(Fault::DeniedAtFirst(0)) => Ok(()),
            Some(Fault::Missing) => Err(BucketError::Missing(bucket.clone())),
            Some(Fault::Denied) => Err(BucketError::Denied(bucket.clone(), refusal())),
            Some(Fault::DeniedAtFirst(left)) => {
                let fault = Fault::DeniedAtFirst(left - 1);
                self.0
                    .faults
                    .lock()
                    .unwrap()
                    .insert(bucket.name().to_owned(), fault);
                Err(BucketError::Denied(bucket.clone(), refusal()))
            }
            Some(Fault::Unavailable) => Err(BucketError::Unavailable(bucket.clone(), refusal())),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Panics) => panic!("on purpose"),
        }
    }

    fn at(bucket: &TemplateBucket, key: &TemplateKey) -> (String, String) {
        (bucket.name().to_owned(), key.to_string())
    }
}

#[async_trait]
impl TemplateBuckets for Memory {
    async fn read(&self, bucket: &TemplateBucket, key: &TemplateKey) -> Result<Option<Vec<u8>>, BucketError> {
        self.check(bucket).await?;
        Ok(self
            .0
            .objects
            .lock()
            .unwrap()
            .get(&Self::at(bucket, key))
            .cloned())
    }

    async fn create(
        &self,
        bucket: &TemplateBucket,
        key: &TemplateKey,
        content: &[u8],
    ) -> Result<bool, BucketError> {
        self.check(bucket).await?;
        let mut objects = self.0.objects.lock().unwrap();
        let is_new = !objects.contains_key(&Self::at(bucket, key));
        if is_new {
            objects.insert(Self::at(bucket, key), content.to_vec());
        }
        Ok(is_new)
    }

    async fn replace(
        &self,
        bucket: &TemplateBucket,
        key: &TemplateKey,
        content: &[u8],
    ) -> Result<(), BucketError> {
        self.check(bucket).await?;
        let mut objects = self.0.objects.lock().unwrap();
        objects.insert(Self::at(bucket, key), content.to_vec());
        Ok(())
    }

    async fn remove(&self, bucket: &TemplateBucket, key: &TemplateKey) -> Result<(), BucketError> {
        self.check(bucket).await?;
        self.0.objects.lock().unwrap().remove(&Self::at(bucket, key));
        Ok(())
    }

    async fn list(&self, bucket: &TemplateBucket) -> Result<Vec<TemplateKey>, BucketError> {
        self.check(bucket).await?;
        let objects = self.0.objects.lock().unwrap();
        let here = objects.keys().filter(|(name, _)| name == bucket.name());
        Ok(here.filter_map(|(_, key)| TemplateKey::found(key)).collect())
    }
}

struct Answers(Arc<World>);

#[async_trait]
impl Respond for Answers {
    async fn respond(&self, url: &Url, body: String) -> Result<(), AnswerError> {
        if self.0.answers_fail {
            return Err(AnswerError::NotTaken("status 403".to_owned()));
        }
        self.0.answers.lock().unwrap().push((url.clone(), body));
        Ok(())
    }
}

impl World {
    async fn handle(self: &Arc<Self>, event: &Value) -> Result<(), AnswerError> {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let context = Context {
            buckets: Arc::new(Memory(self.clone())),
            responder: Arc::new(Answers(self.clone())),
            clock: Arc::new(clock.clone()),
            is_emulated: self.is_emulated,
        };
        let handled = handle(&context, event).await;
        assert!(clock.now().as_second() <= i64::try_from(TIME_LIMIT.as_secs()).unwrap());
        handled
    }

    /// Handles an event that must be answered, and returns the answer.
    async fn ask(self: &Arc<Self>, event: &Value) -> Value {
        self.handle(event).await.unwrap();
        let (url, body) = self.answers.lock().unwrap().pop().expect("an answer");
        assert_eq!(url.as_str(), URL);
        assert!(body.len() <= LIMIT, "{}", body.len());
        serde_json::from_str(&body).unwrap()
    }

    fn fail(&self, bucket: &str, fault: Fault) {
        self.faults.lock().unwrap().insert(bucket.to_owned(), fault);
    }

    fn put(&self, bucket: &str, key: &str, content: &str) {
        let at = (bucket.to_owned(), key.to_owned());
        self.objects.lock().unwrap().insert(at, content.into());
    }

    fn get(&self, bucket: &str, key: &str) -> Option<String> {
        let objects = self.objects.lock().unwrap();
        let content = objects.get(&(bucket.to_owned(), key.to_owned()))?;
        Some(String::from_utf8(content.clone()).unwrap())
    }

    fn keys(&self) -> BTreeSet<String> {
        let objects = self.objects.lock().unwrap();
        objects
            .keys()
            .map(|(bucket, key)| format!("{bucket}/{key}"))
            .collect()
    }
}

fn event(kind: &str) -> Value {
    let mut event = json!({
        "RequestType": kind,
        "RequestId": "5f0d1c20-c2a1-11f0-9d53-0a1b2c3d4e5f",
        "ResponseURL": URL,
        "ResourceType": "Custom::TenantTemplate",
        "LogicalResourceId": "TenantTemplate",
        "PhysicalResourceId": "tenant-template",
        "StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/portwarden/1f0e5c4a-0000-11ef-8000-0e0000000000",
        "ResourceProperties": {
            "ServiceToken": "arn:aws:lambda:eu-west-1:111122223333:function:f",
            "Version": tenant_template::VERSION,
            "SourceSha256": tenant_template::source_sha256(),
            "ConnectorRoleArn": ROLE,
            "Bucket": "main",
            "BucketRegion": "eu-west-1",
            "RegionalBucketPrefix": "",
            "RegionalBucketRegions": ["us-east-1", "us-west-1"],
            "RemoveVersionsOnDelete": "false",
        },
    });
    if kind == "Create" {
        event.as_object_mut().unwrap().remove("PhysicalResourceId");
    }
    event
}

fn with(kind: &str, changes: &Value) -> Value {
    let mut event = event(kind);
    for (name, value) in changes.as_object().unwrap() {
        event["ResourceProperties"][name] = value.clone();
    }
    event
}

fn template() -> String {
    tenant_template::render(&ROLE.parse().unwrap())
}

const LATEST: &str = "public-templates/latest/ecr-integration.template";
const VERSION: &str = "public-templates/4/ecr-integration.template";

#[tokio::test]
async fn a_version_and_the_latest_are_published_with_their_checksums() {
    let world = Arc::new(World::default());
    let copies = json!({"RegionalBucketPrefix": "acme"});
    for kind in ["Create", "Update"] {
        let answer = world.ask(&with(kind, &copies)).await;
        assert_eq!(answer["Status"], "SUCCESS", "{answer}");
        assert_eq!(answer["PhysicalResourceId"], "tenant-template");
        assert_eq!(answer["RequestId"], event(kind)["RequestId"]);
        assert_eq!(
            answer["Data"]["Url"],
            format!("https://main.s3.eu-west-1.amazonaws.com/{LATEST}")
        );
        assert_eq!(
            answer["Data"]["VersionUrl"],
            format!("https://main.s3.eu-west-1.amazonaws.com/{VERSION}")
        );
        let sha256 = Digest::of(template().as_bytes()).hex();
        assert_eq!(answer["Data"]["Sha256"], sha256);
        for bucket in ["main", "acme-us-east-1", "acme-us-west-1"] {
            for key in [LATEST, VERSION] {
                assert_eq!(world.get(bucket, key), Some(template()), "{bucket}/{key}");
                let checksum = world.get(bucket, &format!("{key}.sha256"));
                assert_eq!(checksum, Some(format!("{sha256}  ecr-integration.template\n")));
            }
        }
        assert_eq!(world.keys().len(), 12);
    }
}

#[tokio::test]
async fn a_version_is_never_changed() {
    let world = Arc::new(World::default());
    world.put("acme-us-west-1", VERSION, "somebody's");
    world.put("main", LATEST, "old");
    let answer = world
        .ask(&with("Update", &json!({"RegionalBucketPrefix": "acme"})))
        .await;
    assert_eq!(answer["Status"], "FAILED");
    let reason = answer["Reason"].as_str().unwrap();
    assert!(
        reason.starts_with(
            "version 4 is already published in bucket acme-us-west-1 in us-west-1 with other content"
        ),
        "{reason}"
    );
    assert!(reason.ends_with("(template_version_taken)"), "{reason}");
    assert_eq!(world.get("acme-us-west-1", VERSION).unwrap(), "somebody's");
    assert_eq!(world.get("main", LATEST).unwrap(), "old");
    assert_eq!(world.get("acme-us-east-1", LATEST), None);
}

#[tokio::test]
async fn a_rollback_points_latest_back_to_what_was_published() {
    let world = Arc::new(World::default());
    let older = json!({"Version": "1", "SourceSha256": "0"});
    let answer = world.ask(&with("Update", &older)).await;
    assert_eq!(
        answer["Reason"],
        "version 1 is not published in bucket main in eu-west-1, and the function holds version 4 (template_version_missing)"
    );
    assert!(world.keys().is_empty());

    world.put("main", "public-templates/1/ecr-integration.template", "the first");
    assert_eq!(world.ask(&event("Update")).await["Status"], "SUCCESS");
    assert_eq!(world.get("main", LATEST), Some(template()));
    let answer = world.ask(&with("Update", &older)).await;
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert_eq!(answer["Data"]["Version"], "1");
    assert_eq!(world.get("main", LATEST).unwrap(), "the first");
    let checksum = world.get("main", &format!("{LATEST}.sha256")).unwrap();
    assert!(
        checksum.starts_with(&Digest::of(b"the first").hex()),
        "{checksum}"
    );
    assert_eq!(world.get("main", VERSION), Some(template()), "versions stay");
}

#[tokio::test]
async fn a_function_of_another_build_publishes_nothing() {
    let world = Arc::new(World::default());
    let answer = world.ask(&with("Create", &json!({"SourceSha256": "0"}))).await;
    let reason = answer["Reason"].as_str().unwrap();
    assert!(
        reason.contains("sam build") && reason.ends_with("(template_build_differs)"),
        "{reason}"
    );
    assert!(world.keys().is_empty());
}

#[tokio::test]
async fn deleting_leaves_versions_unless_asked() {
    let world = Arc::new(World::default());
    let copies = json!({"RegionalBucketPrefix": "acme"});
    world.ask(&with("Create", &copies)).await;
    world.put("main", "public-templates/1/ecr-integration.template", "the first");
    world.put("main", "other", "not ours");
    // A bucket that is gone has nothing left to remove.
    world.fail("acme-us-west-1", Fault::Missing);
    let answer = world.ask(&with("Delete", &copies)).await;
    assert_eq!(
        (&answer["Status"], &answer["Data"]),
        (&json!("SUCCESS"), &json!({}))
    );
    let left: Vec<String> = world
        .keys()
        .into_iter()
        .filter(|key| !key.starts_with("acme-us-west-1"))
        .collect();
    let checksum = format!("{VERSION}.sha256");
    assert_eq!(
        left,
        [
            &format!("acme-us-east-1/{VERSION}"),
            &format!("acme-us-east-1/{checksum}"),
            "main/other",
            "main/public-templates/1/ecr-integration.template",
            &format!("main/{VERSION}"),
            &format!("main/{checksum}"),
        ]
    );
    let everything = json!({"RemoveVersionsOnDelete": "true"});
    assert_eq!(world.ask(&with("Delete", &everything)).await["Status"], "SUCCESS");
    assert_eq!(world.get("main", VERSION), None);
    assert_eq!(world.get("main", "other").unwrap(), "not ours");
}

#[tokio::test]
async fn every_failure_of_a_bucket_is_answered_and_leaves_the_links_alone() {
    for (fault, code) in [
        (Fault::Missing, "template_bucket_missing"),
        (Fault::Denied, "template_bucket_denied"),
        (Fault::Unavailable, "template_bucket_unavailable"),
        (Fault::Hangs, "publishing_timed_out"),
        (Fault::Panics, "publisher_panicked"),
    ] {
        let world = Arc::new(World::default());
        world.put("main", LATEST, "old");
        world.fail("acme-us-east-1", fault);
        let answer = world
            .ask(&with("Update", &json!({"RegionalBucketPrefix": "acme"})))
            .await;
        assert_eq!(answer["Status"], "FAILED", "{fault:?}");
        let reason = answer["Reason"].as_str().unwrap();
        assert!(reason.ends_with(&format!("({code})")), "{fault:?}: {reason}");
        assert_eq!(world.get("main", LATEST).unwrap(), "old", "{fault:?}");
        // Deleting fails where something may be left.
        let answer = world
            .ask(&with("Delete", &json!({"RegionalBucketPrefix": "acme"})))
            .await;
        let expected = if fault == Fault::Missing {
            "SUCCESS"
        } else {
            "FAILED"
        };
        assert_eq!(answer["Status"], expected, "{fault:?}");
    }
}

#[tokio::test]
async fn a_role_that_was_made_just_now_gets_its_time() {
    let world = Arc::new(World::default());
    world.fail("main", Fault::DeniedAtFirst(3));
    assert_eq!(world.ask(&event("Create")).await["Status"], "SUCCESS");
    assert_eq!(world.get("main", LATEST), Some(template()));
}

#[tokio::test]
async fn bad_properties_are_named() {
    for (name, value) in [
        ("Version", json!("latest")),
        ("Version", json!(2)),
        ("SourceSha256", json!(null)),
        ("ConnectorRoleArn", json!("arn:aws:iam::111122223333:user/u")),
        ("Bucket", json!("")),
        ("Bucket", json!("a/../b")),
        ("BucketRegion", json!("mars")),
        ("RegionalBucketRegions", json!("us-east-1")),
        ("RegionalBucketRegions", json!(["us-east-1", 7])),
        ("RegionalBucketPrefix", json!("UPPER")),
        ("RemoveVersionsOnDelete", json!("maybe")),
    ] {
        let world = Arc::new(World::default());
        let mut changes = json!({"RegionalBucketPrefix": "acme"});
        changes[name] = value.clone();
        let answer = world.ask(&with("Create", &changes)).await;
        assert_eq!(answer["Status"], "FAILED", "{name} {value}");
        let reason = answer["Reason"].as_str().unwrap();
        assert!(
            reason.starts_with(&format!("{name} ")) && reason.ends_with("(request_malformed)"),
            "{name} {value}: {reason}"
        );
        // What was never published is deleted at once, so that the stack can be removed.
        assert_eq!(
            world.ask(&with("Delete", &changes)).await["Status"],
            "SUCCESS",
            "{name} {value}"
        );
        assert!(world.keys().is_empty());
    }
}

#[tokio::test]
async fn a_missing_field_is_answered_where_there_is_somebody_to_answer() {
    for name in [
        "StackId",
        "RequestId",
        "LogicalResourceId",
        "RequestType",
        "ResourceProperties",
    ] {
        for value in [json!(null), json!(7), json!("x".repeat(600)), json!({"a": []})] {
            let world = Arc::new(World::default());
            let mut event = event("Create");
            event[name] = value;
            let answer = world.ask(&event).await;
            assert_eq!(answer["Status"], "FAILED", "{name}");
            assert!(
                answer["Reason"]
                    .as_str()
                    .unwrap()
                    .ends_with("(request_malformed)"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_creation_that_failed_takes_nothing_away() {
    let world = Arc::new(World::default());
    world.ask(&event("Create")).await;
    let failed = world.ask(&with("Create", &json!({"SourceSha256": "0"}))).await;
    assert_eq!(failed["Status"], "FAILED");
    let mut removal = event("Delete");
    removal["PhysicalResourceId"] = failed["PhysicalResourceId"].clone();
    assert_eq!(world.ask(&removal).await["Status"], "SUCCESS");
    assert_eq!(world.get("main", LATEST), Some(template()));
    // An update that fails keeps the resource.
    let failed = world.ask(&with("Update", &json!({"SourceSha256": "0"}))).await;
    assert_eq!(failed["PhysicalResourceId"], "tenant-template");
    // What is published after all is deleted as usual.
    let mut repaired = event("Update");
    repaired["PhysicalResourceId"] = removal["PhysicalResourceId"].clone();
    assert_eq!(
        world.ask(&repaired).await["PhysicalResourceId"],
        "tenant-template"
    );
}

#[tokio::test]
async fn answers_go_to_aws_only() {
    for url in [
        json!(null),
        json!(""),
        json!("http://bucket.s3.eu-west-1.amazonaws.com/x"),
        json!("https://169.254.169.254/latest"),
        json!("https://amazonaws.com.evil.example/x"),
        json!("https://evilamazonaws.com/x"),
        json!("https://s3.amazonaws.com:8443/x"),
        json!("https://s3.amazonaws.com@evil.example/x"),
        json!("http://localhost:4566/x"),
        json!("file:///etc/passwd"),
    ] {
        let world = Arc::new(World::default());
        let mut event = event("Create");
        event["ResponseURL"] = url.clone();
        let error = world.handle(&event).await.unwrap_err();
        assert!(matches!(error, AnswerError::NowhereToAnswer(_)), "{url}: {error}");
        assert!(world.keys().is_empty(), "{url}");
    }
}

#[tokio::test]
async fn an_emulators_answers_stay_on_this_machine() {
    let world = Arc::new(World {
        is_emulated: true,
        ..World::default()
    });
    let mut event = event("Create");
    for url in [
        URL,
        "http://10.0.0.1:4566/x",
        "http://localhost.evil.example/x",
        "https://localhost:4566/x",
    ] {
        event["ResponseURL"] = json!(url);
        let error = world.handle(&event).await.unwrap_err();
        assert!(matches!(error, AnswerError::NowhereToAnswer(_)), "{url}: {error}");
    }
    event["ResponseURL"] = json!("http://127.0.0.1:4567/x");
    world.handle(&event).await.unwrap();
    assert_eq!(world.answers.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_an_error_so_that_lambda_tries_again() {
    let world = Arc::new(World {
        answers_fail: true,
        ..World::default()
    });
    let error = world.handle(&event("Create")).await.unwrap_err();
    assert!(matches!(error, AnswerError::NotTaken(_)), "{error}");
    assert_eq!(
        world.get("main", LATEST),
        Some(template()),
        "and the work is done again with the same effect"
    );
}

proptest! {
    #[test]
    fn whatever_comes_is_answered_in_time_and_size(
        fields in proptest::collection::btree_map("[A-Za-z]{1,20}|RequestType|StackId|PhysicalResourceId", "\\PC{0,2000}|[\u{0}-\u{1f}]{0,900}", 0..6),
        properties in proptest::collection::btree_map("Version|Bucket|BucketRegion|ConnectorRoleArn|[a-z]{1,9}", "\\PC{0,3000}", 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = Arc::new(World::default());
            let mut event = event("Create");
            for (name, value) in fields {
                event[name] = json!(value);
            }
            event["ResourceProperties"] = json!(properties);
            event["ResponseURL"] = json!(URL);
            let answer = world.ask(&event).await;
            assert!(answer["Status"] == "FAILED" || answer["Status"] == "SUCCESS", "{answer}");
        });
    }
}
