//! From a push to a report, and what follows when events come twice, late or for nothing.

use std::collections::BTreeSet;

use portwarden_catalog::PackageKind;
use portwarden_core::{
    id::TenantId,
    image::{Presence, ScanResult},
    scope::OperatorScope,
    verdict::{Check, Conclusion, Outcome},
};
use portwarden_local::{
    Tenant,
    push::{ImageChoice, Pushed},
    watch::Action,
};
use portwarden_oci::{Digest, Tag};
use portwarden_report::{LayerOrigin, Report};
use portwarden_testkit::{events, image::write_oci_layout, sample};

use crate::world::{World, authorization, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_push_becomes_a_report_and_the_next_release_costs_one_layer() {
    let world = World::start("report").await;
    let tenant = world.tenant(0);
    let first = world.push(&tenant, &ImageChoice::Sample, "shop/web", "1.0").await;
    let event = world.tell(&tenant, Action::Push, &first).await;
    let scanned = world.cloud.report(&tenant.id, &first.digest).await.unwrap();
    assert_eq!(packages(&scanned.report), expected(&sample::image()));
    assert!(!scanned.report.partial, "{:#?}", scanned.report.platforms);
    let sbom: serde_json::Value = serde_json::from_slice(&scanned.sbom_json).unwrap();
    let components = sbom["components"].as_array().unwrap();
    let listed = components
        .iter()
        .filter(|component| component["type"] == "library")
        .count();
    assert_eq!(
        (sbom["specVersion"].as_str(), listed),
        (Some("1.6"), scanned.report.package_count)
    );

    // The same event again, as EventBridge may deliver it at any time: nothing happens twice.
    let summary = world.scan(&tenant, &first.digest).await.unwrap();
    for _ in 0..3 {
        world.deliver(&tenant, &event).await;
    }
    world.tell(&tenant, Action::Push, &first).await;
    // What is queued behind the repetitions is seen when this one has its report.
    let next = next_release(&world, &tenant, "1.1").await;
    world.tell(&tenant, Action::Push, &next).await;
    let rescanned = world.cloud.report(&tenant.id, &next.digest).await.unwrap().report;
    let mut after = world.scan(&tenant, &first.digest).await.unwrap();
    after.announced = summary.announced;
    assert_eq!(after, summary, "the first image was scanned once");

    assert_eq!(packages(&rescanned), expected(&sample::next_release()));
    let origins: Vec<_> = rescanned.platforms[0]
        .layers
        .iter()
        .map(|layer| layer.origin)
        .collect();
    let pulled = origins
        .iter()
        .filter(|origin| **origin == LayerOrigin::Pulled)
        .count();
    assert_eq!(pulled, 1, "{origins:?}");
    assert!(rescanned.spared_bytes > rescanned.pulled_bytes, "{origins:?}");

    // The first event has proven the event path: the next test is green.
    let verdict = world.verify(&tenant, &tenant.integration, &tenant.role).await;
    assert!(verdict.is_green(), "{verdict:#?}");
    // The other tenant's registry and reports know nothing of it.
    assert_eq!(world.scan(&world.tenant(1), &first.digest).await, None);
    world.cloud.shutdown().await;
}

pub(crate) async fn next_release(world: &World, tenant: &Tenant, to: &str) -> Pushed {
    let directory = world.cloud.log().with_file_name("next");
    let tag: Tag = "next".parse().unwrap();
    write_oci_layout(&directory, &tag, &sample::next_release().image).unwrap();
    let image = format!("oci:{}", directory.display()).parse().unwrap();
    world.push(tenant, &image, "shop/web", to).await
}

fn packages(report: &Report) -> BTreeSet<(String, String, String)> {
    let [platform] = &report.platforms[..] else {
        panic!("{:?}", report.platforms)
    };
    let of_kind = |kind: PackageKind| kind.as_str().to_owned();
    let listed = platform.packages.iter();
    listed
        .map(|p| {
            (
                of_kind(p.kind),
                p.name.clone(),
                p.version.clone().unwrap_or_default(),
            )
        })
        .collect()
}

fn expected(sample: &sample::Sample) -> BTreeSet<(String, String, String)> {
    let kind = |package: &sample::Package| package.kind.purl_type().to_owned();
    sample
        .expected
        .iter()
        .map(|p| (kind(p), p.name.clone(), p.version.clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ecr_itself_makes_an_image_deleted() {
    let world = World::start("deleted").await;
    let tenant = world.tenant(0);
    let ecr = aws_sdk_ecr::Client::new(&tenant.account.sdk_config());
    // By digest: the emulator takes the whole image away with any one of its tags.
    let delete = async |digest: &Digest| {
        let image = aws_sdk_ecr::types::ImageIdentifier::builder()
            .image_digest(digest.to_string())
            .build();
        ecr.batch_delete_image()
            .repository_name("shop/web")
            .image_ids(image)
            .send()
            .await
            .unwrap();
    };
    let [stable, latest] = [
        world
            .push(&tenant, &ImageChoice::Sample, "shop/web", "stable")
            .await,
        world
            .push(&tenant, &ImageChoice::Sample, "shop/web", "latest")
            .await,
    ];
    let digest = stable.digest;
    world.tell(&tenant, Action::Push, &stable).await;
    world
        .location(&tenant, &digest, |location| {
            tags(&location.presence) == ["latest", "stable"]
        })
        .await;

    // An event says that it is deleted, and ECR says that it is not.
    world.tell(&tenant, Action::Delete, &latest).await;
    world.cloud.report(&tenant.id, &digest).await.unwrap();
    // A tag moves to another image: this one is still there.
    let next = next_release(&world, &tenant, "latest").await;
    world.tell(&tenant, Action::Push, &next).await;
    world.tell(&tenant, Action::Delete, &latest).await;
    world
        .location(&tenant, &digest, |location| {
            tags(&location.presence) == ["stable"]
        })
        .await;
    world.cloud.report(&tenant.id, &next.digest).await.unwrap();
    delete(&digest).await;
    world.tell(&tenant, Action::Delete, &stable).await;
    world
        .location(&tenant, &digest, |location| {
            location.presence == Presence::Deleted
        })
        .await;
    // The push comes once more, late: ECR says what is true.
    world.tell(&tenant, Action::Push, &stable).await;

    // An image that is gone before it is looked at, and one that never was: one look ends both.
    let other = world.tenant(1);
    let gone = next_release(&world, &other, "1").await;
    let client = aws_sdk_ecr::Client::new(&other.account.sdk_config());
    let repository = client.delete_repository().repository_name("shop/web").force(true);
    repository.send().await.unwrap();
    world.tell(&other, Action::Push, &gone).await;
    let invented = Pushed {
        digest: Digest::of(b"invented"),
        ..stable.clone()
    };
    world.tell(&tenant, Action::Push, &invented).await;
    for (tenant, image) in [
        (&other, &gone.digest),
        (&tenant, &invented.digest),
        (&tenant, &digest),
    ] {
        world
            .location(tenant, image, |location| location.presence == Presence::Deleted)
            .await;
    }
    assert_eq!(world.scan(&other, &gone.digest).await, None);
    assert_eq!(world.scan(&tenant, &invented.digest).await, None);
    let kept = world.scan(&tenant, &digest).await.unwrap();
    assert!(
        matches!(kept.result, ScanResult::Reported { .. }),
        "a report outlives its image"
    );
    world.cloud.shutdown().await;
}

fn tags(presence: &Presence) -> Vec<&str> {
    match presence {
        Presence::Present { tags, .. } => tags.iter().map(Tag::as_str).collect(),
        Presence::Deleted => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_own_registry_is_watched_without_being_connected() {
    let world = World::start("operator").await;
    let tenant = world.tenant(0);
    // Its registry is that of the operator's account; the rest of a tenant is not used.
    let operator = world.cloud.operator();
    let image = sample::image().image;
    let ecr = aws_sdk_ecr::Client::new(&operator.sdk_config());
    ecr.create_repository()
        .repository_name("own/web")
        .send()
        .await
        .unwrap();
    let registry = format!("{}.dkr.ecr.{}.amazonaws.com", operator.id(), operator.region());
    let target = portwarden_testkit::image::PushTarget::new(&world.cloud.emulator_endpoint())
        .unwrap()
        .with_namespace(&registry);
    let (repository, tag) = ("own/web".parse().unwrap(), "1".parse().unwrap());
    portwarden_testkit::image::push(&target, &repository, Some(&tag), &image)
        .await
        .unwrap();
    let event = events::ImageEvent {
        id: "own-1",
        time: "2026-01-01T00:00:00Z",
        account: operator.id().as_str(),
        region: operator.region().as_str(),
        repository: "own/web",
        digest: &portwarden_testkit::image::Artifact::digest(&image).to_string(),
        tag: Some("1"),
    };
    // As the rule of the operator's own event bus invokes the receiver; the emulator refuses events of `aws.ecr`.
    let function = world.cloud.stack().output("ReceiverFunctionName").unwrap();
    let url = format!(
        "{}/2015-03-31/functions/{function}/invocations",
        world.cloud.emulator_endpoint()
    );
    let answer = reqwest::Client::new()
        .post(url)
        .header("authorization", authorization(operator, "lambda"))
        .body(event.push().to_string())
        .send()
        .await
        .unwrap();
    assert!(
        answer.headers().get("x-amz-function-error").is_none(),
        "{}",
        answer.text().await.unwrap()
    );
    let digest = portwarden_testkit::image::Artifact::digest(&image);
    let scanned = world.cloud.report(&TenantId::operator(), &digest).await.unwrap();
    assert_eq!(packages(&scanned.report), expected(&sample::image()));
    assert_eq!(world.scan(&tenant, &digest).await, None);
    eventually("the own role is tested, too", async || {
        let scope = OperatorScope::of_this_process().own();
        let own = world.integrations().list(&scope).await.unwrap().pop()?;
        let verdict = own.regions[operator.region()].verdict.clone()?;
        assert_eq!(verdict.conclusion(), Conclusion::Trusted, "{verdict:#?}");
        assert_eq!(
            verdict.outcome(Check::TrustPolicy),
            Some(&Outcome::Passed),
            "{verdict:#?}"
        );
        Some(())
    })
    .await;
    world.cloud.shutdown().await;
}
