//! One request and its outcome.

use std::time::Duration;

use portwarden_core::{
    clock::Clock as _,
    event::Recorded,
    id::{NotificationId, RequestId},
    image::{Presence, ScanResult},
    notification::NotifyRequest,
    object::Document,
    random::OsRandomness,
    store::{Condition, Store as _, Write},
};
use portwarden_oci::Digest;
use portwarden_scanner::handle;
use portwarden_testkit::{
    image::{Artifact as _, Compression, Image, ImageBuilder, IndexBuilder, LayerBuilder},
    sample,
};
use serde_json::{Value, json};

use crate::{
    shelf::Fault,
    world::{INVOCATION, World, batch, failed, repository, request, tags},
};

const ACCOUNT: &str = "111122223333";
const REPOSITORY: &str = "shop/web";

pub(crate) fn small_image(packages: &[&str]) -> Image {
    let add = |builder: ImageBuilder, package: &&str| {
        let layer = LayerBuilder::new()
            .file(
                &format!("usr/lib/python3/dist-packages/{package}-1.0.dist-info/METADATA"),
                format!("Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"),
            )
            .finish(Compression::Gzip);
        builder.layer("RUN pip install", layer)
    };
    packages.iter().fold(ImageBuilder::new(), add).build()
}

#[tokio::test]
async fn an_image_is_scanned_and_reported_and_everyone_is_told() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let sample = sample::image();
    let digest = sample.image.digest();
    world.push(&party, REPOSITORY, &["1.4", "latest"], &sample.image);
    let request = world.event(&party, REPOSITORY, digest).await;
    world.clock.advance(Duration::from_secs(2));
    assert!(world.is_done(&world.process(), &request).await);

    let report = world.report(&party, digest).await.unwrap();
    assert_eq!(
        report.image.repository,
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop/web"
    );
    assert_eq!(report.image.tags, tags(&["1.4", "latest"]));
    let names: std::collections::BTreeSet<_> = report.platforms[0]
        .packages
        .iter()
        .map(|package| (package.name.clone(), package.version.clone().unwrap()))
        .collect();
    let expected: std::collections::BTreeSet<_> = sample
        .expected
        .into_iter()
        .map(|package| (package.name, package.version))
        .collect();
    assert_eq!(names, expected);
    let sbom = world.document(&party, digest, Document::CycloneDx).await.unwrap();
    let sbom: Value = serde_json::from_slice(&sbom).unwrap();
    assert_eq!(sbom["metadata"]["component"]["version"], json!(digest));

    let summary = world.summary(&party, digest).await.unwrap();
    assert!(summary.announced);
    assert_eq!(
        (&summary.request, summary.trace),
        (&request.request, request.trace)
    );
    assert_eq!(report.trace_id, Some(request.trace));
    let result = ScanResult::Reported {
        packages: report.package_count,
        partial: false,
        pulled_bytes: report.pulled_bytes,
        spared_bytes: 0,
    };
    assert_eq!(summary.result, result);
    let [told] = &world.announced()[..] else {
        panic!("one announcement")
    };
    assert_eq!(told.outcome, result);
    assert_eq!((told.digest, told.trace_id), (digest, request.trace));
    let names: Vec<_> = world.objects.keys().iter().map(ToString::to_string).collect();
    assert!(names.contains(told.report.as_ref().unwrap()));
    assert!(names.contains(told.sbom.as_ref().unwrap()));
    assert_eq!(told.tags.len(), 2);

    assert!(world.is_settled(&party, &request));
    assert_eq!(
        *world.aws.sessions.lock().unwrap(),
        [format!("scan-{}", request.request)],
        "one session, under the request's name"
    );
    let locations = world.locations(&party, digest).await;
    assert_eq!(locations.len(), 1);
    assert_eq!(locations[0].known_at, request.since);
}

#[tokio::test]
async fn the_next_release_costs_its_new_layer_only() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let process = world.process();
    let [first, next] = [sample::image().image, sample::next_release().image];
    let shelf = world.shelf(&party, &repository(REPOSITORY));
    for image in [&first, &next] {
        shelf.take_fetched();
        world.push(&party, REPOSITORY, &["latest"], image);
        let request = world.event(&party, REPOSITORY, image.digest()).await;
        assert!(world.is_done(&process, &request).await);
    }
    let mut expected = vec![next.config.digest(), next.layers[4].digest()];
    expected.sort();
    assert_eq!(shelf.take_fetched(), expected);
    let report = world.report(&party, next.digest()).await.unwrap();
    let spared: u64 = next.layers[..4]
        .iter()
        .map(|layer| layer.blob.descriptor.size)
        .sum();
    assert_eq!(report.spared_bytes, spared);
}

#[tokio::test]
async fn duplicates_at_once_lead_to_one_scan() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a", "b", "c"]);
    world.push(&party, REPOSITORY, &["1"], &image);
    let since = world.clock.now();
    let requests = [(); 4].map(|()| request(&party, REPOSITORY, image.digest(), None, since));
    let processes = [(); 4].map(|()| world.process());
    let mut deliveries = Vec::new();
    for (process, request) in processes.iter().zip(&requests) {
        deliveries.push(world.is_done(process, request));
    }
    let done = futures_util::future::join_all(deliveries).await;
    // Those that found somebody at it come again, and find it done.
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
    for request in &requests {
        assert!(world.is_done(&world.process(), request).await);
    }
    assert_eq!(world.announced().len(), 1);
    let fetched = world.shelf(&party, &repository(REPOSITORY)).take_fetched();
    assert_eq!(fetched.len(), 4, "three layers and the configuration, each once");
}

#[tokio::test]
async fn one_message_delivered_twice_at_once_leads_to_one_report() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a", "b"]);
    world.push(&party, REPOSITORY, &["1"], &image);
    let request = world.event(&party, REPOSITORY, image.digest()).await;
    let processes = [world.process(), world.process()];
    let (first, second) = futures_util::future::join(
        world.is_done(&processes[0], &request),
        world.is_done(&processes[1], &request),
    )
    .await;
    // The one that lost its lease comes again and finds the work done.
    assert!(first || second);
    assert!(world.is_done(&world.process(), &request).await);
    // Ended at one moment by two, the scan may be told twice, in the same words.
    let announced = world.announced();
    assert!(!announced.is_empty() && announced.iter().all(|told| *told == announced[0]));
    assert!(world.summary(&party, image.digest()).await.unwrap().announced);
}

#[tokio::test]
async fn only_ecr_says_what_is_deleted() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let process = world.process();
    // An invented digest ends with one look.
    let invented = Digest::of(b"invented");
    let request = world.event(&party, REPOSITORY, invented).await;
    assert!(world.is_done(&process, &request).await);
    assert!(world.is_settled(&party, &request));
    assert_eq!(
        world.locations(&party, invented).await[0].presence,
        Presence::Deleted
    );
    assert_eq!(world.summary(&party, invented).await, None);

    // One of two tags deleted: the image is there, and was scanned before or not, the tags are known.
    let image = small_image(&["a"]);
    let digest = image.digest();
    world.push(&party, REPOSITORY, &["1", "2"], &image);
    let request = self::request(&party, REPOSITORY, digest, None, world.clock.now());
    assert!(world.is_done(&process, &request).await);
    world.clock.advance(Duration::from_secs(1));
    world.tag(&party, REPOSITORY, digest, &["2"]);
    let request = self::request(&party, REPOSITORY, digest, None, world.clock.now());
    assert!(world.is_done(&process, &request).await);
    let presence = world.locations(&party, digest).await.remove(0).presence;
    assert!(matches!(presence, Presence::Present { tags: found, .. } if found == tags(&["2"])));

    // All of it deleted: known as deleted, and the report stays.
    world.clock.advance(Duration::from_secs(1));
    world.delete(&party, REPOSITORY, digest);
    assert!(world.is_done(&process, &request).await);
    assert_eq!(
        world.locations(&party, digest).await[0].presence,
        Presence::Deleted
    );
    assert!(world.report(&party, digest).await.is_some());
    assert_eq!(world.announced().len(), 1);
}

#[tokio::test]
async fn an_archived_image_is_scanned_once_it_is_restored() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a"]);
    let digest = image.digest();
    world.push(&party, REPOSITORY, &[], &image);
    world.archive(&party, REPOSITORY, digest, true);
    let request = request(&party, REPOSITORY, digest, None, world.clock.now());
    let process = world.process();
    assert!(world.is_done(&process, &request).await);
    assert_eq!(world.summary(&party, digest).await, None);
    world.archive(&party, REPOSITORY, digest, false);
    world.clock.advance(Duration::from_secs(1));
    assert!(world.is_done(&process, &request).await);
    assert!(world.summary(&party, digest).await.is_some());
}

/// A process noted what changed and died before it told anybody; until somebody comes again, the image is gone.
#[tokio::test]
async fn what_was_noted_of_an_image_is_told_even_when_it_is_gone_or_archived() {
    for is_archived in [false, true] {
        let world = World::new();
        let party = world.tenant(ACCOUNT).await;
        let image = small_image(&["a"]);
        let digest = image.digest();
        world.push(&party, REPOSITORY, &["1"], &image);
        let request = request(&party, REPOSITORY, digest, None, world.clock.now());
        let process = world.process();
        assert!(world.is_done(&process, &request).await);

        let noted = NotificationId::of(world.clock.now(), &["noted"]);
        let image = party.scope.partition(&["image", &digest.to_string()]);
        let mark = image.key(&["untold", noted.as_str()]);
        let mark = Write::put(mark, &serde_json::Map::new(), Condition::None);
        world.store.write(&[mark]).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
        if is_archived {
            world.archive(&party, REPOSITORY, digest, true);
        } else {
            world.delete(&party, REPOSITORY, digest);
        }

        assert!(world.is_done(&process, &request).await);
        let told = NotifyRequest::Tell {
            tenant: party.scope.tenant().clone(),
            notification: noted,
        };
        assert_eq!(world.notifies.take(), [(told, Duration::ZERO)]);
        assert!(world.is_done(&process, &request).await);
        assert_eq!(world.notifies.take(), []);
    }
}

#[tokio::test]
async fn an_index_leaves_an_sbom_for_each_platform() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let arm = portwarden_oci::Platform {
        os: "linux".into(),
        architecture: "arm64".into(),
        variant: None,
    };
    let arm = ImageBuilder::new().platform(arm).build();
    let intel = small_image(&["a"]);
    let index = IndexBuilder::new()
        .image(arm.clone())
        .image(intel.clone())
        .build();
    world.push(&party, REPOSITORY, &["1"], &index);
    let request = world.event(&party, REPOSITORY, index.digest()).await;
    assert!(world.is_done(&world.process(), &request).await);
    assert_eq!(
        world
            .report(&party, index.digest())
            .await
            .unwrap()
            .platforms
            .len(),
        2
    );
    for (at, described) in [
        (arm.digest(), arm.digest()),
        (intel.digest(), intel.digest()),
        (index.digest(), intel.digest()),
    ] {
        let sbom = world.document(&party, at, Document::CycloneDx).await.unwrap();
        let sbom: Value = serde_json::from_slice(&sbom).unwrap();
        assert_eq!(sbom["metadata"]["component"]["version"], json!(described));
    }
}

#[tokio::test]
async fn what_cannot_be_scanned_is_refused_once_and_for_all() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let process = world.process();
    let chart = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": Digest::of(b""), "size": 0}});
    let schema1 = json!({"schemaVersion": 1, "fsLayers": []});
    let shelf = world.shelf(&party, &repository(REPOSITORY));
    for (manifest, code) in [(chart, "not_an_image"), (schema1, "manifest_schema1")] {
        let digest = Digest::of(manifest.to_string().as_bytes());
        shelf.put_manifest(digest, &manifest);
        world.tag(&party, REPOSITORY, digest, &[]);
        let request = world.event(&party, REPOSITORY, digest).await;
        assert!(world.is_done(&process, &request).await);
        let summary = world.summary(&party, digest).await.unwrap();
        assert!(matches!(&summary.result, ScanResult::Refused { problem } if problem.code == code));
        assert!(world.is_settled(&party, &request));
        let told = world.announced().remove(0);
        assert_eq!(
            (told.outcome, told.report, told.sbom),
            (summary.result, None, None)
        );
        assert!(world.is_done(&process, &request).await);
        assert_eq!(world.announced(), [], "told once");
    }
}

#[tokio::test]
async fn corrupt_content_is_refused_by_name_and_nothing_of_it_is_kept() {
    for fault in [Fault::Lie, Fault::Truncate] {
        let world = World::new();
        let party = world.tenant(ACCOUNT).await;
        let image = small_image(&["a"]);
        world.push(&party, REPOSITORY, &[], &image);
        let shelf = world.shelf(&party, &repository(REPOSITORY));
        shelf.fail(image.layers[0].digest(), fault);
        let request = world.event(&party, REPOSITORY, image.digest()).await;
        assert!(world.is_done(&world.process(), &request).await);
        let summary = world.summary(&party, image.digest()).await.unwrap();
        let ScanResult::Refused { problem } = summary.result else {
            panic!("{summary:?}")
        };
        assert_eq!(problem.code, "content_corrupt");
        assert!(
            problem.message.contains(&image.layers[0].digest().to_string()),
            "{problem:?}"
        );
        assert_eq!(world.objects.keys(), []);
    }
}

#[tokio::test]
async fn poison_fails_alone() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a"]);
    world.push(&party, REPOSITORY, &[], &image);
    let good = request(&party, REPOSITORY, image.digest(), None, world.clock.now());
    let good = serde_json::to_string(&good).unwrap();
    let mut foreign: Value = serde_json::from_str(&good).unwrap();
    foreign["digest"] = json!("sha512:00");
    let bodies = [
        "not json".to_owned(),
        "{}".to_owned(),
        foreign.to_string(),
        good,
        String::new(),
    ];
    let ends = world.clock.now() + INVOCATION;
    let response = handle(&world.process(), batch(&bodies), ends).await;
    assert_eq!(failed(&response), ["m-0", "m-1", "m-2", "m-4"]);
    assert!(world.summary(&party, image.digest()).await.is_some());
}

#[tokio::test]
async fn tenants_share_no_layer() {
    let world = World::new();
    let parties = [world.tenant(ACCOUNT).await, world.tenant("444455556666").await];
    let process = world.process();
    let image = small_image(&["a", "b"]);
    for party in &parties {
        world.push(party, REPOSITORY, &[], &image);
        let request = world.event(party, REPOSITORY, image.digest()).await;
        assert!(world.is_done(&process, &request).await);
        let fetched = world.shelf(party, &repository(REPOSITORY)).take_fetched();
        assert_eq!(
            fetched.len(),
            3,
            "each tenant's layers are pulled from its own registry"
        );
        assert_eq!(world.report(party, image.digest()).await.unwrap().spared_bytes, 0);
    }
    for key in world.objects.keys() {
        let key = key.to_string();
        let owners = parties
            .iter()
            .filter(|party| key.starts_with(&format!("tenants/{}/", party.scope.tenant())));
        assert_eq!(owners.count(), 1, "{key}");
    }
}

#[tokio::test]
async fn a_long_scan_goes_on_in_the_next_invocation() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a", "b", "c", "d"]);
    let digest = image.digest();
    world.push(&party, REPOSITORY, &[], &image);
    let shelf = world.shelf(&party, &repository(REPOSITORY));
    // Two of them fit into four fifths of an invocation.
    for layer in &image.layers {
        shelf.fail(layer.digest(), Fault::Slow(Duration::from_mins(5)));
    }
    let process = world.process();
    let mut next = world.event(&party, REPOSITORY, digest).await;
    let first = next.clone();
    let mut invocations = 0;
    let report = loop {
        invocations += 1;
        assert!(world.is_done(&process, &next).await);
        if let Some(report) = world.report(&party, digest).await {
            break report;
        }
        assert_eq!(world.announced(), []);
        let [rest] = &world.queues.take_scans()[..] else {
            panic!("the rest is queued once")
        };
        assert_eq!(
            (rest.continuation, rest.trace),
            (next.continuation + 1, next.trace)
        );
        assert_eq!((&rest.request, &rest.event), (&first.request, &first.event));
        next = rest.clone();
    };
    assert_eq!(invocations, 2);
    assert!(!report.partial);
    assert_eq!(report.package_count, 4);
    assert_eq!(world.queues.take_scans(), []);
    assert_eq!(world.announced().len(), 1);
    let fetched = shelf.take_fetched();
    for layer in &image.layers[..2] {
        let times = fetched.iter().filter(|digest| **digest == layer.digest()).count();
        assert_eq!(times, 1, "what was finished is not pulled again");
    }
}

#[tokio::test]
async fn a_layer_that_exceeds_the_time_makes_the_report_partial() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a", "b"]);
    let digest = image.digest();
    world.push(&party, REPOSITORY, &[], &image);
    let shelf = world.shelf(&party, &repository(REPOSITORY));
    shelf.fail(image.layers[1].digest(), Fault::Slow(Duration::from_secs(800)));
    let process = world.process();
    let mut waiting = vec![world.event(&party, REPOSITORY, digest).await];
    let mut invocations = 0;
    while let Some(request) = waiting.pop() {
        invocations += 1;
        assert!(invocations <= 3, "the same would happen again and again");
        assert!(world.is_done(&process, &request).await);
        waiting = world.queues.take_scans();
    }
    let report = world.report(&party, digest).await.unwrap();
    assert!(report.partial);
    assert_eq!(report.package_count, 1);
    assert_eq!(report.platforms[0].partial[0].partial.code.as_str(), "limit.time");
    assert!(matches!(
        world.summary(&party, digest).await.unwrap().result,
        ScanResult::Reported { partial: true, .. }
    ));
}

#[tokio::test]
async fn nothing_is_begun_when_the_time_is_over() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a"]);
    world.push(&party, REPOSITORY, &[], &image);
    let request = request(&party, REPOSITORY, image.digest(), None, world.clock.now());
    let body = serde_json::to_string(&request).unwrap();
    let response = handle(&world.process(), batch(&[body]), world.clock.now()).await;
    assert_eq!(failed(&response), ["m-0"]);
    assert_eq!(world.summary(&party, image.digest()).await, None);
    assert!(world.is_done(&world.process(), &request).await);
}

#[tokio::test]
async fn a_repeated_event_has_its_work_queued_until_it_is_done() {
    let world = World::new();
    let party = world.tenant(ACCOUNT).await;
    let image = small_image(&["a"]);
    world.push(&party, REPOSITORY, &[], &image);
    let event = world.event_of(&party, REPOSITORY, image.digest());
    assert_eq!(world.record(&party, &event).await, Recorded::New);
    assert_eq!(world.record(&party, &event).await, Recorded::Repeated);
    let since = world.clock.now();
    let request = request(&party, REPOSITORY, image.digest(), Some(event.id.clone()), since);
    assert!(world.is_done(&world.process(), &request).await);
    assert_eq!(world.record(&party, &event).await, Recorded::Settled);
    // The repetition's own request, queued before that, does nothing more.
    let mut late = request;
    late.request = RequestId::generate(&OsRandomness);
    assert!(world.is_done(&world.process(), &late).await);
    assert_eq!(world.announced().len(), 1);
}
