use aws_sdk_s3::types::CreateBucketConfiguration;
use portwarden_aws::{Bucket, EventBus, ScanQueue, VerifyQueue};
use portwarden_core::{
    announce::{Announce as _, Announcement, ConnectionChanged},
    id::{IntegrationId, RequestId, TenantId},
    integration::Light,
    object::{Document, ReadObject as _, WriteObject as _},
    problem::chain,
    random::OsRandomness,
    scope::OperatorScope,
    work::{KnownBy, QueueScan as _, QueueVerify as _, ScanRequest, VerifyReason, VerifyRequest},
};
use portwarden_oci::Digest;

use crate::{Cloud, REGION, TENANT, account, region};

#[tokio::test]
async fn queues_carry_what_they_are_given() {
    let cloud = Cloud::start("queues").await;
    let client = aws_sdk_sqs::Client::new(&cloud.operator.sdk_config());
    let mut urls = Vec::new();
    for name in ["scan", "verify"] {
        let queue = client.create_queue().queue_name(name).send().await.unwrap();
        urls.push(queue.queue_url.unwrap());
    }
    let scan = ScanRequest {
        tenant: TenantId::generate(&OsRandomness),
        integration: IntegrationId::generate(&OsRandomness),
        account: account(TENANT),
        region: region(),
        repository: "shop/web".parse().unwrap(),
        digest: Digest::of(b"image"),
        known_by: KnownBy::Event,
        event: None,
        request: RequestId::generate(&OsRandomness),
        trace: "1-5759e988-bd862e3fe1be46a994272793".parse().unwrap(),
        since: "2026-01-01T00:00:00Z".parse().unwrap(),
        continuation: 0,
    };
    let verify = VerifyRequest {
        tenant: scan.tenant.clone(),
        integration: scan.integration.clone(),
        region: region(),
        role: None,
        claim: None,
        said_at: None,
        reason: VerifyReason::Stack,
        request: RequestId::generate(&OsRandomness),
        trace: scan.trace,
        attempt: 0,
    };
    let scans = ScanQueue::new(&cloud.aws, urls[0].clone());
    scans.queue_scan(&scan).await.unwrap();
    let verifications = VerifyQueue::new(&cloud.aws, urls[1].clone());
    verifications.queue_verify(&verify).await.unwrap();

    let mut bodies = Vec::new();
    for url in &urls {
        let received = client.receive_message().queue_url(url).send().await.unwrap();
        bodies.push(received.messages()[0].body().unwrap().to_owned());
    }
    assert_eq!(serde_json::from_str::<ScanRequest>(&bodies[0]).unwrap(), scan);
    assert_eq!(serde_json::from_str::<VerifyRequest>(&bodies[1]).unwrap(), verify);

    let missing = ScanQueue::new(&cloud.aws, format!("{}-missing", urls[0]));
    let error = missing.queue_scan(&scan).await.unwrap_err();
    assert!(chain(&error).contains("NonExistentQueue"), "{}", chain(&error));
}

#[tokio::test]
async fn objects_are_read_as_they_were_written() {
    let cloud = Cloud::start("bucket").await;
    let config = aws_sdk_s3::config::Builder::from(&cloud.operator.sdk_config())
        .force_path_style(true)
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let place = CreateBucketConfiguration::builder().location_constraint(REGION.into());
    client
        .create_bucket()
        .bucket("reports")
        .create_bucket_configuration(place.build())
        .send()
        .await
        .unwrap();
    let bucket = Bucket::new(&cloud.aws, "reports".into());
    let scope = OperatorScope::of_this_process().own();
    let key = scope.image_object(&Digest::of(b"image"), 1, Document::Report);
    assert_eq!(bucket.read_object(&key).await.unwrap(), None);
    for content in [vec![], b"{}".to_vec(), vec![0xff; 3_000_000]] {
        bucket
            .write_object(&key, "application/json", content.clone())
            .await
            .unwrap();
        assert!(bucket.read_object(&key).await.unwrap() == Some(content));
    }
    let head = client
        .head_object()
        .bucket("reports")
        .key(key.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_type(), Some("application/json"));

    // A missing bucket is no missing object.
    let missing = Bucket::new(&cloud.aws, "missing".into());
    let error = missing.read_object(&key).await.unwrap_err();
    assert!(chain(&error).contains("NoSuchBucket"), "{}", chain(&error));
}

#[tokio::test]
async fn a_bus_that_is_there_takes_events() {
    let cloud = Cloud::start("bus").await;
    let announcement = Announcement::ConnectionChanged(ConnectionChanged {
        tenant: TenantId::generate(&OsRandomness),
        integration: IntegrationId::generate(&OsRandomness),
        region: region(),
        number: 1,
        status: Light::Green,
        code: None,
        sentence: "all is well".to_owned(),
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        trace_id: "1-5759e988-bd862e3fe1be46a994272793".parse().unwrap(),
    });
    let bus = EventBus::new(&cloud.aws, "default".into());
    bus.announce(&announcement).await.unwrap();
}
