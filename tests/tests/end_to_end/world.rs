//! A local cloud for one test, and what tests do in it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use portwarden_aws::{Aws, Service, SystemClock, VerifyQueue};
use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    arn::RoleArn,
    clock::Clock as _,
    id::{IntegrationId, RequestId},
    image::{Images, Location, ScanSummary},
    integration::{Integrations, RegionConnection},
    random::OsRandomness,
    scope::{OperatorScope, TenantScope},
    trace::TraceId,
    verdict::Verdict,
    work::{QueueVerify as _, VerifyReason, VerifyRequest},
};
use portwarden_local::{
    Account, LocalCloud, LocalOptions, Tenant,
    destination::Delivery,
    push::{ImageChoice, Pushed},
    watch::Action,
};
use portwarden_oci::Digest;
use reqwest::{Client, StatusCode, Url};
use serde_json::{Value, json};

/// How long something may take that takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct World {
    pub(crate) cloud: LocalCloud,
}

/// Settings for a cloud whose files lie apart from those of other tests.
pub(crate) fn options(test: &str) -> LocalOptions {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // The tests lie in `deps` below the directory of the functions' programs.
    let test_program = std::env::current_exe().unwrap();
    let programs = test_program.parent().and_then(Path::parent).unwrap();
    let mut options = LocalOptions::in_checkout(root, programs);
    options.state = root.join("target/end_to_end").join(test);
    options
}

/// Writes a copy of the template in which `from`, in the resource of that name, is replaced.
pub(crate) fn changed_template(options: &LocalOptions, resource: &str, from: &str, to: &str) -> PathBuf {
    let text = fs::read_to_string(&options.template).unwrap();
    let start = text
        .find(&format!("\n  {resource}:\n"))
        .unwrap_or_else(|| panic!("no resource {resource}"));
    let place = text[start..]
        .find(from)
        .unwrap_or_else(|| panic!("{resource} has no {from}"))
        + start;
    let changed = format!("{}{to}{}", &text[..place], &text[place + from.len()..]);
    fs::create_dir_all(&options.state).unwrap();
    let path = options.state.join("template.yaml");
    fs::write(&path, changed).unwrap();
    path
}

impl World {
    pub(crate) async fn start(test: &str) -> Self {
        Self {
            cloud: LocalCloud::start(&options(test)).await.unwrap(),
        }
    }

    pub(crate) fn tenant(&self, index: usize) -> Arc<Tenant> {
        Arc::clone(self.cloud.tenant(index))
    }

    pub(crate) async fn push(&self, tenant: &Tenant, image: &ImageChoice, name: &str, tag: &str) -> Pushed {
        self.cloud
            .push(tenant, image, &name.parse().unwrap(), &tag.parse().unwrap())
            .await
            .unwrap()
    }

    /// Delivers the event of an action, which must be taken at the first attempt.
    pub(crate) async fn tell(&self, tenant: &Tenant, action: Action, image: &Pushed) -> Value {
        let event = self.cloud.event(tenant, action, image);
        self.deliver(tenant, &event).await;
        event
    }

    pub(crate) async fn deliver(&self, tenant: &Tenant, event: &Value) {
        let delivery = self.cloud.deliver(tenant, event).await.unwrap();
        assert_eq!(
            delivery,
            Delivery::Delivered {
                status: StatusCode::ACCEPTED,
                attempts: 1
            }
        );
    }

    pub(crate) fn images(&self) -> Images {
        Images::new(self.cloud.store().unwrap())
    }

    pub(crate) fn integrations(&self) -> Integrations {
        Integrations::new(self.cloud.store().unwrap())
    }

    pub(crate) async fn scan(&self, tenant: &Tenant, digest: &Digest) -> Option<ScanSummary> {
        self.images()
            .scan(&scope(tenant), digest, CATALOG_VERSION)
            .await
            .unwrap()
    }

    /// Waits until an image has exactly one location and that is as demanded.
    pub(crate) async fn location(
        &self,
        tenant: &Tenant,
        digest: &Digest,
        is_right: impl Fn(&Location) -> bool,
    ) -> Location {
        eventually("the location is as it should be", async || {
            let mut locations = self.images().locations(&scope(tenant), digest).await.unwrap();
            assert!(locations.len() < 2, "{locations:#?}");
            locations.pop().filter(&is_right)
        })
        .await
    }

    pub(crate) async fn region(&self, tenant: &Tenant, integration: &IntegrationId) -> RegionConnection {
        let connection = self
            .integrations()
            .find(&scope(tenant), integration)
            .await
            .unwrap()
            .unwrap();
        connection.regions[tenant.account.region()].clone()
    }

    /// Has a role tested for an integration of a tenant, and waits for the verdict.
    pub(crate) async fn verify(
        &self,
        tenant: &Tenant,
        integration: &IntegrationId,
        role: &RoleArn,
    ) -> Verdict {
        let now = SystemClock.now();
        let request = VerifyRequest {
            tenant: tenant.id.clone(),
            integration: integration.clone(),
            region: tenant.account.region().clone(),
            role: Some(role.clone()),
            claim: None,
            said_at: Some(now),
            reason: VerifyReason::Asked,
            request: RequestId::generate(&OsRandomness),
            trace: TraceId::generate(now, &OsRandomness),
            attempt: 0,
        };
        let operator = self.cloud.operator();
        let aws = Aws::over(operator.sdk_config(), None);
        let queue = VerifyQueue::new(
            &aws,
            self.cloud.stack().output("VerifyQueueUrl").unwrap().to_owned(),
        );
        queue.queue_verify(&request).await.unwrap();
        eventually("the verdict is there", async || {
            let verdict = self.region(tenant, integration).await.verdict?;
            (verdict.request == request.request).then_some(verdict)
        })
        .await
    }

    /// Returns what a function has logged, one value for each line that is JSON.
    pub(crate) async fn logs(&self, service: Service) -> Vec<Value> {
        let group = format!("/aws/lambda/{}-{}", self.cloud.stack().name, service.name());
        let request = json!({"logGroupName": group});
        let found = self
            .json_api(
                self.cloud.operator(),
                "logs",
                "Logs_20140328.FilterLogEvents",
                &request,
            )
            .await;
        let events = found["events"].as_array().unwrap().iter();
        events
            .filter_map(|event| serde_json::from_str(event["message"].as_str()?).ok())
            .collect()
    }

    /// Makes a queue that gets what is announced from now on.
    pub(crate) async fn subscribe(&self) -> String {
        let queue = self.sqs().create_queue().queue_name("subscriber").send().await;
        let queue = queue.unwrap().queue_url.unwrap();
        let bus = self.cloud.stack().output("EventBusName").unwrap();
        let operator = self.cloud.operator();
        let arn = format!("arn:aws:sqs:{}:{}:subscriber", operator.region(), operator.id());
        let rule =
            json!({"Name": "all", "EventBusName": bus, "EventPattern": "{\"source\": [\"portwarden\"]}"});
        self.json_api(operator, "events", "AWSEvents.PutRule", &rule)
            .await;
        let target = json!({"Rule": "all", "EventBusName": bus, "Targets": [{"Id": "queue", "Arn": arn}]});
        self.json_api(operator, "events", "AWSEvents.PutTargets", &target)
            .await;
        queue
    }

    /// Takes everything that lies in a queue of the operator's now.
    pub(crate) async fn take_messages(&self, queue: &str) -> Vec<String> {
        let client = self.sqs();
        let mut bodies = Vec::new();
        loop {
            let batch = client
                .receive_message()
                .queue_url(queue)
                .max_number_of_messages(10);
            let batch = batch.send().await.unwrap().messages.unwrap_or_default();
            if batch.is_empty() {
                return bodies;
            }
            for message in batch {
                let receipt = message.receipt_handle.unwrap();
                let delete = client.delete_message().queue_url(queue).receipt_handle(receipt);
                delete.send().await.unwrap();
                bodies.push(message.body.unwrap());
            }
        }
    }

    /// A client of SQS in the operator's account.
    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.cloud.operator().sdk_config())
    }

    /// Calls an API that has the JSON protocol, as an account's root.
    pub(crate) async fn json_api(
        &self,
        account: &Account,
        service: &str,
        target: &str,
        request: &Value,
    ) -> Value {
        let answer = Client::new()
            .post(self.cloud.emulator_endpoint())
            .header("authorization", authorization(account, service))
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.1")
            .body(request.to_string())
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{target}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Calls an API that has the query protocol, as an account's root.
    pub(crate) async fn query_api(
        &self,
        account: &Account,
        service: &str,
        parameters: &[(&str, &str)],
    ) -> String {
        let mut url = Url::parse(&self.cloud.emulator_endpoint()).unwrap();
        url.query_pairs_mut().extend_pairs(parameters);
        let body = url.query().unwrap().to_owned();
        let answer = Client::new()
            .post(self.cloud.emulator_endpoint())
            .header("authorization", authorization(account, service))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{text}");
        text
    }
}

/// The emulator takes any signature for an account's root.
pub(crate) fn authorization(account: &Account, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={}/20260101/{}/{service}/aws4_request, SignedHeaders=host, Signature=0",
        account.id(),
        account.region()
    )
}

pub(crate) fn scope(tenant: &Tenant) -> TenantScope {
    OperatorScope::of_this_process().tenant(tenant.id.clone())
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
