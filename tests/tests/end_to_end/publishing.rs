//! The tenants' template is published by deploying, and no request of CloudFormation's goes unanswered.

use std::time::Duration;

use aws_sdk_cloudformation::{Client, types::StackStatus};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use portwarden_core::tenant_template;
use portwarden_local::LocalCloud;
use portwarden_oci::Digest;
use serde_json::{Value, json};

use crate::world::{World, options};

const STACK: &str = "publishing";

const LATEST: &str = "latest/ecr-integration.template";

/// A cloud, and a stack of one resource that its publisher serves as well.
struct Publishing {
    world: World,
    client: Client,
}

impl Publishing {
    async fn start() -> Self {
        let mut options = options("publishing");
        options.tenants.clear();
        let cloud = LocalCloud::start(&options).await.unwrap();
        let client = Client::new(&cloud.operator().sdk_config());
        let world = World { cloud };
        Self { world, client }
    }

    fn bucket(&self) -> String {
        let operator = self.world.cloud.operator();
        format!("portwarden-templates-{}-{}", operator.id(), operator.region())
    }

    fn template(&self, changes: &Value) -> String {
        let operator = self.world.cloud.operator();
        let function = self.world.cloud.stack().output("PublisherFunctionName").unwrap();
        let mut properties = json!({
            "ServiceToken": format!("arn:aws:lambda:{}:{}:function:{function}", operator.region(), operator.id()),
            "ServiceTimeout": 120,
            "Version": tenant_template::VERSION,
            "SourceSha256": tenant_template::source_sha256(),
            "ConnectorRoleArn": self.world.cloud.stack().output("ConnectorRoleArn").unwrap(),
            "Bucket": self.bucket(),
            "BucketRegion": operator.region(),
            "RemoveVersionsOnDelete": false,
        });
        for (name, value) in changes.as_object().unwrap() {
            properties[name] = value.clone();
        }
        properties
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        json!({"Resources": {"Template": {"Type": "Custom::TenantTemplate", "Properties": properties}}})
            .to_string()
    }

    async fn create(&self, changes: &Value) -> (StackStatus, String) {
        let request = self
            .client
            .create_stack()
            .stack_name(STACK)
            .template_body(self.template(changes));
        request.send().await.unwrap();
        self.outcome().await
    }

    async fn update(&self, changes: &Value) -> (StackStatus, String) {
        let request = self
            .client
            .update_stack()
            .stack_name(STACK)
            .template_body(self.template(changes));
        request.send().await.unwrap();
        self.outcome().await
    }

    async fn delete(&self) {
        self.client.delete_stack().stack_name(STACK).send().await.unwrap();
        for _ in 0..600 {
            // A stack that is gone is not found by its name.
            let Ok(found) = self.client.describe_stacks().stack_name(STACK).send().await else {
                return;
            };
            let status = found.stacks()[0].stack_status().unwrap();
            assert_ne!(*status, StackStatus::DeleteFailed);
            if *status == StackStatus::DeleteComplete {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the stack is not deleted");
    }

    /// Waits until the stack rests, and returns the newest reason of a failure.
    async fn outcome(&self) -> (StackStatus, String) {
        for _ in 0..900 {
            let found = self
                .client
                .describe_stacks()
                .stack_name(STACK)
                .send()
                .await
                .unwrap();
            let status = found.stacks()[0].stack_status().unwrap().clone();
            if !status.as_str().ends_with("IN_PROGRESS") {
                let events = self
                    .client
                    .describe_stack_events()
                    .stack_name(STACK)
                    .send()
                    .await
                    .unwrap();
                let failed = events.stack_events().iter().find(|event| {
                    event.logical_resource_id() == Some("Template")
                        && event
                            .resource_status()
                            .is_some_and(|status| status.as_str().ends_with("_FAILED"))
                });
                let reason = failed.and_then(|event| event.resource_status_reason());
                return (status, reason.unwrap_or_default().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the stack does not come to rest");
    }

    /// Reads an object as anybody on the internet does.
    async fn public(&self, key: &str) -> Option<String> {
        let url = format!(
            "{}/{}/public-templates/{key}",
            self.world.cloud.emulator_endpoint(),
            self.bucket()
        );
        let answer = reqwest::get(url).await.unwrap();
        let is_there = answer.status().is_success();
        let text = answer.text().await.unwrap();
        is_there.then_some(text)
    }

    fn s3(&self, region: &'static str) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.world.cloud.operator().sdk_config())
            .region(aws_sdk_s3::config::Region::new(region))
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Makes a bucket for copies, and lets the publisher write there.
    ///
    /// The emulator knows no `aws:ResourceAccount`, which the template's own statement demands; the simulator judges that.
    async fn add_bucket(&self, name: &str, region: &'static str) {
        let request = self.s3(region).create_bucket().bucket(name);
        let elsewhere = CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(region))
            .build();
        let elsewhere = (region != "us-east-1").then_some(elsewhere);
        request
            .set_create_bucket_configuration(elsewhere)
            .send()
            .await
            .unwrap();
        let operator = self.world.cloud.operator();
        let listed = [("Action", "ListRoles"), ("Version", "2010-05-08")];
        let listed = self.world.query_api(operator, "iam", &listed).await;
        let mut roles = listed.split("<RoleName>").skip(1);
        let role = roles.find(|role| role.contains("PublisherRole")).unwrap();
        let (role, _) = role.split_once("</RoleName>").unwrap();
        let arn = format!("arn:aws:s3:::{name}");
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "s3:*", "Resource": [arn, format!("{arn}/*")],
        }]});
        let parameters = [
            ("Action", "PutRolePolicy"),
            ("Version", "2010-05-08"),
            ("RoleName", role),
            ("PolicyName", name),
            ("PolicyDocument", &policy.to_string()),
        ];
        self.world.query_api(operator, "iam", &parameters).await;
    }

    /// Reads an object as its owner.
    async fn read(&self, bucket: &str, region: &'static str, key: &str) -> Option<String> {
        let key = format!("public-templates/{key}");
        let object = self
            .s3(region)
            .get_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .ok()?;
        let content = object.body.collect().await.unwrap().to_vec();
        Some(String::from_utf8(content).unwrap())
    }

    async fn put(&self, key: &str, content: &'static [u8]) {
        let request = self.s3("us-east-1").put_object().bucket(self.bucket());
        let request = request.key(format!("public-templates/{key}"));
        request
            .body(aws_sdk_s3::primitives::ByteStream::from_static(content))
            .send()
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deploying_publishes_and_every_request_is_answered() {
    let publishing = Publishing::start().await;
    let connector = publishing.world.cloud.stack().output("ConnectorRoleArn").unwrap();
    let expected = tenant_template::render(&connector.parse().unwrap());
    let version = format!("{}/ecr-integration.template", tenant_template::VERSION);
    for key in [&version, LATEST] {
        assert_eq!(publishing.public(key).await.as_ref(), Some(&expected), "{key}");
        let checksum = format!(
            "{}  ecr-integration.template\n",
            Digest::of(expected.as_bytes()).hex()
        );
        assert_eq!(
            publishing.public(&format!("{key}.sha256")).await,
            Some(checksum),
            "{key}"
        );
    }
    assert_eq!(
        publishing.world.cloud.published_template().await.unwrap(),
        expected
    );

    // What cannot be created says why, and leaves nothing that cannot be removed.
    for (changes, reason) in [
        (json!({"Version": null}), "Version is missing"),
        (
            json!({"Bucket": "Not A Bucket"}),
            "Bucket is not valid: a bucket has a name",
        ),
        (json!({"SourceSha256": "0"}), "build it again (sam build)"),
        (json!({"Version": "9"}), "version 9 is not published"),
        (
            json!({"ConnectorRoleArn": "arn:aws:iam::100000000001:role/another"}),
            "already published in bucket",
        ),
        (json!({"Bucket": "somebody-elses"}), "template_bucket_"),
    ] {
        let (status, found) = publishing.create(&changes).await;
        assert_eq!(status, StackStatus::RollbackComplete, "{changes}");
        assert!(found.contains(reason), "{changes}: {found}");
        publishing.delete().await;
        for key in [&version, LATEST] {
            let left = publishing.public(key).await;
            assert_eq!(left.as_ref(), Some(&expected), "{changes}: {key}");
        }
    }

    // An update to what was published before is a rollback; a failed one leaves the links where they were.
    assert_eq!(publishing.create(&json!({})).await.0, StackStatus::CreateComplete);
    assert_eq!(publishing.public(LATEST).await.as_ref(), Some(&expected));
    publishing.put("1/ecr-integration.template", b"the first").await;
    let first = json!({"Version": "1", "SourceSha256": "0"});
    assert_eq!(publishing.update(&first).await.0, StackStatus::UpdateComplete);
    assert_eq!(publishing.public(LATEST).await.as_deref(), Some("the first"));
    let (status, found) = publishing.update(&json!({"Version": "9"})).await;
    assert_eq!(status, StackStatus::UpdateRollbackComplete);
    assert!(found.contains("version 9 is not published"), "{found}");
    assert_eq!(publishing.public(LATEST).await.as_deref(), Some("the first"));

    // Copies go to buckets of other regions, which are there already.
    for region in ["us-east-1", "eu-west-1"] {
        publishing.add_bucket(&format!("copies-{region}"), region).await;
    }
    let copies =
        json!({"RegionalBucketPrefix": "copies", "RegionalBucketRegions": ["us-east-1", "eu-west-1"]});
    let (status, found) = publishing.update(&copies).await;
    assert_eq!(status, StackStatus::UpdateComplete, "{found}");
    for region in ["us-east-1", "eu-west-1"] {
        for key in [&version, LATEST] {
            let copy = publishing.read(&format!("copies-{region}"), region, key).await;
            assert_eq!(copy.as_ref(), Some(&expected), "{region}: {key}");
        }
    }

    // Deleting takes the links away and leaves the versions.
    publishing.delete().await;
    assert_eq!(
        publishing.read("copies-eu-west-1", "eu-west-1", LATEST).await,
        None
    );
    let copy = publishing.read("copies-eu-west-1", "eu-west-1", &version).await;
    assert_eq!(copy.as_ref(), Some(&expected));
    assert_eq!(publishing.public(LATEST).await, None);
    assert_eq!(publishing.public(&version).await.as_ref(), Some(&expected));
    publishing.world.cloud.shutdown().await;
}
