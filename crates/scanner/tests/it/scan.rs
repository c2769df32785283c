//! The half that the command line shares: from a source to a report.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_catalog::{CATALOG_VERSION, LayerCatalog, LayerError, Limits, PartialCode};
use portwarden_core::clock::{Clock as _, ManualClock};
use portwarden_oci::{Descriptor, Digest, MediaType, Platform, Version};
use portwarden_registry::Blob as RegistryBlob;
use portwarden_report::{BaseEvidence, LayerOrigin, Report, SkipReason};
use portwarden_scanner::{
    CatalogLayers, Deadline, Inline, LayerCache as _, MemoryLayers, Progress, Quiet, Refusal, Scan,
    ScanError, Scanned, Watch,
};
use portwarden_testkit::{
    image::{Artifact, Blob, Compression, Image, ImageBuilder, Index, IndexBuilder, Layer, LayerBuilder},
    sample,
};
use serde_json::{Value, json};

use crate::{
    clock::WaitingClock,
    shelf::{Fault, Shelf},
};

struct Bench {
    clock: ManualClock,
    shelf: Shelf,
    cache: MemoryLayers,
    progress: Arc<dyn Progress>,
    deadline: Deadline,
    is_continued: bool,
    cataloguing: Box<dyn CatalogLayers>,
    limits: Limits,
    parallel: usize,
}

impl Bench {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        Self {
            shelf: Shelf::new(&clock),
            clock,
            cache: MemoryLayers::default(),
            progress: Arc::new(Quiet),
            deadline: Deadline::never(),
            is_continued: false,
            cataloguing: Box::new(Inline),
            limits: Limits::default(),
            parallel: 2,
        }
    }

    fn deadline_in(&self, seconds: u64) -> Deadline {
        let end = self.clock.now() + Duration::from_secs(seconds);
        Deadline::at(Arc::new(WaitingClock(self.clock.clone())), end)
    }

    async fn scan(&self, digest: Digest) -> Result<Scanned, ScanError> {
        let scan = Scan {
            source: &self.shelf,
            cache: &self.cache,
            cataloguing: &*self.cataloguing,
            progress: Arc::clone(&self.progress),
            clock: &self.clock,
            deadline: self.deadline.clone(),
            limits: self.limits.clone(),
            parallel: NonZeroUsize::new(self.parallel).unwrap(),
            is_continued: self.is_continued,
        };
        let tags = BTreeSet::from(["1.4".parse().unwrap()]);
        scan.run("registry.example/shop/web", tags, &Version::Digest(digest))
            .await
    }

    async fn report(&self, digest: Digest) -> Report {
        match self.scan(digest).await.unwrap() {
            Scanned::Finished(report) => report,
            Scanned::Unfinished { pulled_layers } => panic!("unfinished after {pulled_layers} layers"),
        }
    }

    async fn refusal(&self, digest: Digest) -> Refusal {
        match self.scan(digest).await {
            Err(ScanError::Refused(refusal)) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

fn apk_layer(package: &str) -> Layer {
    LayerBuilder::new()
        .file(
            "lib/apk/db/installed",
            format!("P:{package}\nV:1-r0\nA:x86_64\n\n"),
        )
        .finish(Compression::Gzip)
}

fn image(architecture: &str, layers: &[Layer]) -> Image {
    let platform = Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        variant: None,
    };
    let builder = ImageBuilder::new().platform(platform);
    let add = |builder: ImageBuilder, layer: &Layer| builder.layer("ADD", layer.clone());
    layers.iter().fold(builder, add).build()
}

fn names(report: &Report) -> Vec<&str> {
    let platforms = report.platforms.iter();
    platforms
        .flat_map(|platform| &platform.packages)
        .map(|package| package.name.as_str())
        .collect()
}

#[tokio::test]
async fn the_sample_gives_exactly_its_packages() {
    let bench = Bench::new();
    let sample = sample::image();
    bench.shelf.put(&sample.image);
    let report = bench.report(sample.image.digest()).await;
    assert_eq!(found(&report), expected(&sample));
    let size: u64 = sample
        .image
        .layers
        .iter()
        .map(|layer| layer.blob.descriptor.size)
        .sum();
    assert_eq!((report.pulled_bytes, report.spared_bytes), (size, 0));
    assert!(!report.partial, "{:?}", report.platforms[0].partial);
    assert_eq!(report.package_count, report.platforms[0].packages.len());
    assert_eq!(
        report.packages_by_kind.values().sum::<usize>(),
        report.package_count
    );
    assert_eq!(
        report.platforms[0].platform.as_ref().unwrap().to_string(),
        "linux/amd64"
    );
    assert_eq!(report.platforms[0].os.as_ref().unwrap().distro(), "debian-12");
}

fn found(report: &Report) -> BTreeSet<(&str, &str, &str)> {
    let packages = report.platforms.iter().flat_map(|platform| &platform.packages);
    packages
        .map(|package| {
            let version = package.version.as_deref().unwrap_or_default();
            (package.kind.as_str(), package.name.as_str(), version)
        })
        .collect()
}

fn expected(sample: &sample::Sample) -> BTreeSet<(&str, &str, &str)> {
    let packages = sample.expected.iter();
    packages
        .map(|package| (package.kind.purl_type(), &*package.name, &*package.version))
        .collect()
}

#[tokio::test]
async fn the_next_release_is_pulled_by_its_new_layer_only() {
    let bench = Bench::new();
    let [first, next] = [sample::image(), sample::next_release()];
    bench.shelf.put(&first.image);
    bench.report(first.image.digest()).await;
    bench.shelf.take_fetched();

    bench.shelf.put(&next.image);
    let report = bench.report(next.image.digest()).await;
    let new_layer = &next.image.layers.last().unwrap().blob;
    let mut fetched = vec![next.image.config.digest(), new_layer.digest()];
    fetched.sort();
    assert_eq!(bench.shelf.take_fetched(), fetched);
    assert_eq!(report.pulled_bytes, new_layer.descriptor.size);
    let origins: Vec<_> = report.platforms[0]
        .layers
        .iter()
        .map(|layer| layer.origin)
        .collect();
    let known = [LayerOrigin::Known; 4];
    assert_eq!(origins, [&known[..], &[LayerOrigin::Pulled]].concat());
    assert_eq!(found(&report), expected(&next));
}

#[tokio::test]
async fn a_report_is_written_the_same_every_time_and_read_back() {
    let bench = Bench::new();
    let index = two_platforms();
    bench.shelf.put(&index);
    let report = bench.report(index.digest()).await;
    let json = report.to_json();
    assert_eq!(json, report.to_json());
    assert_eq!(serde_json::from_slice::<Report>(&json).unwrap(), report);
    let sbom = report.cyclonedx(&report.platforms[0]);
    assert_eq!(sbom, report.cyclonedx(&report.platforms[0]));
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["catalog_version"].take(), CATALOG_VERSION);
    insta::assert_json_snapshot!(json);
}

fn two_platforms() -> Index {
    let shared = apk_layer("shared");
    let own = |package| {
        LayerBuilder::new()
            .file("usr/lib/python3/dist-packages/own.dist-info/METADATA", {
                format!("Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            })
            .finish(Compression::Zstd)
    };
    IndexBuilder::new()
        .attested_image(image("arm64", &[shared.clone(), own("arm")]))
        .image(image("amd64", &[shared, own("intel")]))
        .build()
}

#[tokio::test]
async fn an_index_is_scanned_platform_by_platform_without_its_attestations() {
    let bench = Bench::new();
    let index = two_platforms();
    bench.shelf.put(&index);
    let report = bench.report(index.digest()).await;
    assert_eq!(report.image.media_type, MediaType::OciIndex);
    assert_eq!(names(&report), ["shared", "arm", "shared", "intel"]);
    let digests: Vec<_> = report.platforms.iter().map(|platform| platform.digest).collect();
    assert_eq!(digests, [index.images[0].digest(), index.images[1].digest()]);
    let main = report.main_platform().unwrap();
    assert_eq!(main.platform.as_ref().unwrap().to_string(), "linux/amd64");
    let skipped: Vec<_> = report
        .skipped
        .iter()
        .map(|entry| (entry.digest, entry.reason))
        .collect();
    assert_eq!(skipped, [(index.images[2].digest(), SkipReason::Attestation)]);
    // Three distinct layers, two configurations, nothing of the attestation.
    assert_eq!(bench.shelf.take_fetched().len(), 5);
    assert!(!report.partial);
}

#[tokio::test]
async fn the_base_image_ends_where_the_history_says_also_in_an_index() {
    let image = ImageBuilder::new()
        .layer("ADD rootfs", apk_layer("musl"))
        .layer("|1 TOKEN=s3cret /bin/sh -c apk add zlib", apk_layer("zlib"))
        .cmd(&["sh"])
        .layer("COPY app", apk_layer("app"))
        .cmd(&["app"])
        .build();
    let index = IndexBuilder::new().image(image.clone()).build();
    for digest in [image.digest(), index.digest()] {
        let bench = Bench::new();
        bench.shelf.put(&index);
        let report = bench.report(digest).await;
        let platform = &report.platforms[0];
        let base = platform.base.as_ref().unwrap();
        assert_eq!((base.layers, base.known_by), (2, BaseEvidence::History));
        let steps: Vec<_> = platform
            .layers
            .iter()
            .map(|layer| layer.created_by.as_deref())
            .collect();
        assert_eq!(
            steps,
            [Some("ADD rootfs"), Some("RUN apk add zlib"), Some("COPY app")]
        );
    }
}

#[tokio::test]
async fn a_platform_that_is_missing_makes_the_report_partial() {
    let bench = Bench::new();
    let index = two_platforms();
    bench.shelf.put(&index);
    bench.shelf.fail(index.images[0].digest(), Fault::NotFound);
    let report = bench.report(index.digest()).await;
    assert_eq!(names(&report), ["shared", "intel"]);
    assert!(report.partial);
    assert_eq!(report.skipped[0].reason, SkipReason::Missing);

    // Without any image there is nothing to report on; another place may have them.
    bench.shelf.fail(index.images[1].digest(), Fault::NotFound);
    let error = bench.scan(index.digest()).await.unwrap_err();
    assert!(matches!(error, ScanError::Source(_)), "{error:?}");
}

fn index_of(entries: &[(&str, Digest)]) -> Value {
    let entries: Vec<_> = entries
        .iter()
        .map(|(media_type, digest)| json!({"mediaType": media_type, "digest": digest, "size": 1}))
        .collect();
    json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries})
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn indexes_are_bounded() {
    let bench = Bench::new();
    let [a, b] = [Digest::of(b"a"), Digest::of(b"b")];
    bench.shelf.put_manifest(a, &index_of(&[(INDEX, b)]));
    bench.shelf.put_manifest(b, &index_of(&[(INDEX, a)]));
    // Only a source that checks no digest can have such indexes.
    for digest in [a, b] {
        bench.shelf.fail(digest, Fault::Unverified);
    }
    assert!(matches!(bench.refusal(a).await, Refusal::IndexInItself(digest) if digest == a));

    let image = image("amd64", &[apk_layer("musl")]);
    bench.shelf.put(&image);
    let mut digest = image.digest();
    let mut media_type = MANIFEST;
    for depth in 1..=5 {
        let index = index_of(&[(media_type, digest)]);
        digest = Digest::of(index.to_string().as_bytes());
        media_type = INDEX;
        bench.shelf.put_manifest(digest, &index);
        if depth <= 3 {
            assert_eq!(names(&bench.report(digest).await), ["musl"], "depth {depth}");
        } else {
            assert!(matches!(
                bench.refusal(digest).await,
                Refusal::IndexTooDeep { limit: 3 }
            ));
        }
    }

    let mut entries = Vec::new();
    for number in 0..101 {
        let image = ImageBuilder::new().label("number", &number.to_string()).build();
        bench.shelf.put(&image);
        entries.push((MANIFEST, image.digest()));
        // The same image twice is one.
        entries.push((MANIFEST, image.digest()));
    }
    let many = index_of(&entries);
    let digest = Digest::of(many.to_string().as_bytes());
    bench.shelf.put_manifest(digest, &many);
    assert!(matches!(
        bench.refusal(digest).await,
        Refusal::IndexTooLarge { images: 100, .. }
    ));
    let fewer = index_of(&entries[..200]);
    let digest = Digest::of(fewer.to_string().as_bytes());
    bench.shelf.put_manifest(digest, &fewer);
    assert_eq!(bench.report(digest).await.platforms.len(), 100);
}

#[tokio::test]
async fn what_is_no_image_is_refused_by_name() {
    let bench = Bench::new();
    let blob = Blob::new(MediaType::Layer, "x");
    let put = |value: Value| {
        let digest = Digest::of(value.to_string().as_bytes());
        bench.shelf.put_manifest(digest, &value);
        digest
    };
    let config = |media_type: &str| {
        let mut descriptor = serde_json::to_value(&blob.descriptor).unwrap();
        descriptor["mediaType"] = json!(media_type);
        descriptor
    };
    let image_config = config("application/vnd.oci.image.config.v1+json");
    let chart = put(json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest,
        "config": config("application/vnd.cncf.helm.config.v1+json"), "layers": []}));
    let signature = put(json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest,
        "artifactType": "application/vnd.example.signature", "config": image_config, "layers": []}));
    let attestation = two_platforms();
    bench.shelf.put(&attestation);
    let schema1 = put(json!({"schemaVersion": 1, "fsLayers": []}));
    let malformed = put(json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest, "layers": 7}));
    let empty = put(index_of(&[]));
    let charts = put(index_of(&[(MANIFEST, chart), ("text/plain", Digest::of(b"x"))]));
    for (digest, code) in [
        (chart, "not_an_image"),
        (signature, "not_an_image"),
        (attestation.images[2].digest(), "not_an_image"),
        (empty, "not_an_image"),
        (charts, "not_an_image"),
        (schema1, "manifest_schema1"),
        (malformed, "manifest_malformed"),
    ] {
        let problem = bench.refusal(digest).await.problem();
        assert_eq!(problem.code, code, "{problem:?}");
        assert!(!problem.message.is_empty() && !problem.fix.is_empty());
    }
    let problem = bench.refusal(chart).await.problem();
    assert!(problem.message.contains("vnd.cncf.helm.config"), "{problem:?}");
    assert_eq!(
        bench.shelf.take_fetched(),
        [],
        "no blob of what is no image was read"
    );
}

#[tokio::test]
async fn foreign_layers_are_reported_and_never_fetched() {
    let bench = Bench::new();
    let mut foreign = apk_layer("secret");
    foreign.blob.descriptor.media_type =
        MediaType::ForeignLayer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".to_owned());
    foreign.blob.descriptor.urls = vec!["https://169.254.169.254/layer".to_owned()];
    let image = image("amd64", &[foreign.clone(), apk_layer("musl")]);
    bench.shelf.put(&image);
    let report = bench.report(image.digest()).await;
    assert_eq!(names(&report), ["musl"]);
    assert!(report.partial);
    let partial = &report.platforms[0].partial;
    assert_eq!(
        (partial.len(), partial[0].layer.index, partial[0].partial.code),
        (1, 0, PartialCode::Foreign)
    );
    assert_eq!(report.platforms[0].layers[0].origin, LayerOrigin::Unread);
    assert!(!bench.shelf.take_fetched().contains(&foreign.digest()));
}

#[tokio::test]
async fn content_that_is_not_what_its_digest_names_is_never_used() {
    let sample = image("amd64", &[apk_layer("musl"), apk_layer("zlib")]);
    for (digest, fault) in [
        (sample.digest(), Fault::Lie),
        (sample.config.digest(), Fault::Lie),
        (sample.layers[1].digest(), Fault::Lie),
        (sample.layers[1].digest(), Fault::Truncate),
    ] {
        let bench = Bench::new();
        bench.shelf.put(&sample);
        bench.shelf.fail(digest, fault);
        let error = bench.scan(sample.digest()).await.unwrap_err();
        assert!(matches!(error, ScanError::Corrupt(_)), "{fault:?}: {error:?}");
        assert_eq!(
            bench.cache.get(&digest).await.unwrap(),
            None,
            "nothing of it is kept"
        );
        bench.shelf.mend();
        assert_eq!(names(&bench.report(sample.digest()).await), ["zlib"]);
    }
}

#[tokio::test]
async fn what_the_cache_cannot_read_any_more_is_made_again() {
    let bench = Bench::new();
    let image = image("amd64", &[apk_layer("musl")]);
    bench.shelf.put(&image);
    let layer = image.layers[0].digest();
    bench
        .cache
        .put(&layer, b"{\"version\":0}".to_vec())
        .await
        .unwrap();
    let report = bench.report(image.digest()).await;
    assert_eq!(names(&report), ["musl"]);
    assert_eq!(report.platforms[0].layers[0].origin, LayerOrigin::Pulled);
    assert_eq!(
        bench.report(image.digest()).await.platforms[0].layers[0].origin,
        LayerOrigin::Known
    );
}

#[tokio::test]
async fn a_layer_that_is_listed_twice_is_pulled_once() {
    let bench = Bench::new();
    let layer = apk_layer("musl");
    let image = image("amd64", &[layer.clone(), layer.clone()]);
    bench.shelf.put(&image);
    let report = bench.report(image.digest()).await;
    assert_eq!(names(&report), ["musl"]);
    assert_eq!(report.platforms[0].layers.len(), 2);
    assert_eq!(report.pulled_bytes, layer.blob.descriptor.size);
    let fetched = bench.shelf.take_fetched();
    assert_eq!(
        fetched.iter().filter(|digest| **digest == layer.digest()).count(),
        1
    );
}

/// As distroless images have them: a file for each package, so that layers hide nothing of each other.
fn dpkg_layer(package: &str) -> Layer {
    let status = format!("Package: {package}\nVersion: 1\nArchitecture: all\n");
    LayerBuilder::new()
        .file(&format!("var/lib/dpkg/status.d/{package}"), status)
        .finish(Compression::Gzip)
}

#[tokio::test]
async fn layers_over_the_limit_of_the_image_are_left_out_from_the_first_one_on() {
    let packages = ["first", "second", "third", "fourth"];
    let image = image("amd64", &packages.map(dpkg_layer));
    let one = {
        let bench = Bench::new();
        bench.shelf.put(&image);
        bench.report(image.digest()).await;
        let kept = bench.cache.get(&image.layers[0].digest()).await.unwrap();
        kept.unwrap().len() as u64
    };
    let mut reports = Vec::new();
    for parallel in [1, 2, 4] {
        let mut bench = Bench::new();
        bench.parallel = parallel;
        // Two layers and a half.
        bench.limits.image_bytes = one * 5 / 2;
        bench.shelf.put(&image);
        let report = bench.report(image.digest()).await;
        assert_eq!(names(&report), ["first", "second"], "{parallel}");
        assert!(report.partial);
        let missing = &report.platforms[0].partial;
        let missing: Vec<_> = missing
            .iter()
            .map(|part| (part.layer.index, part.partial.code))
            .collect();
        assert_eq!(
            missing,
            [(2, PartialCode::KeptBytes), (3, PartialCode::KeptBytes)]
        );
        // Its layers are known: what is left out of this image is not pulled again for another.
        bench.limits = Limits::default();
        let whole = bench.report(image.digest()).await;
        assert_eq!((names(&whole).len(), whole.pulled_bytes), (packages.len(), 0));
        reports.push(serde_json::to_string(&report).unwrap());
    }
    reports.dedup();
    assert_eq!(reports.len(), 1);
}

#[tokio::test]
async fn a_scan_that_runs_out_of_time_goes_on_or_says_what_took_too_long() {
    let mut bench = Bench::new();
    let layers = [apk_layer("a"), apk_layer("b"), apk_layer("c")];
    let image = image("amd64", &layers);
    bench.shelf.put(&image);
    let slow = Fault::Slow(Duration::from_mins(1));
    bench.shelf.fail(layers[2].digest(), slow);
    bench.deadline = bench.deadline_in(50);
    let first = bench.scan(image.digest()).await.unwrap();
    assert_eq!(first, Scanned::Unfinished { pulled_layers: 2 });

    // The second part knows two layers, and the third takes too long once more.
    bench.deadline = bench.deadline_in(50);
    bench.is_continued = true;
    let report = bench.report(image.digest()).await;
    let origins: Vec<_> = report.platforms[0]
        .layers
        .iter()
        .map(|layer| layer.origin)
        .collect();
    assert_eq!(
        origins,
        [LayerOrigin::Known, LayerOrigin::Known, LayerOrigin::Unread]
    );
    assert!(report.partial);
    let partial = &report.platforms[0].partial;
    assert_eq!(
        (partial.len(), partial[0].layer.index, partial[0].partial.code),
        (1, 2, PartialCode::Time)
    );
    assert_eq!(names(&report), ["b"], "what was read counts");

    // What was cut off was not kept as if it were the layer.
    bench.deadline = Deadline::never();
    assert_eq!(names(&bench.report(image.digest()).await), ["c"]);
}

/// Takes a minute for each layer, before or after reading it.
struct Slow {
    clock: ManualClock,
    before: bool,
}

#[async_trait]
impl CatalogLayers for Slow {
    async fn catalog(
        &self,
        blob: RegistryBlob,
        compression: portwarden_catalog::Compression,
        limits: &Limits,
        watch: Watch,
    ) -> Result<LayerCatalog, LayerError> {
        let minute = Duration::from_mins(1);
        if self.before {
            self.clock.advance(minute);
        }
        let catalog = Inline.catalog(blob, compression, limits, watch).await;
        if !self.before {
            self.clock.advance(minute);
        }
        catalog
    }
}

#[tokio::test]
async fn what_comes_after_the_deadline_is_not_kept() {
    for before in [true, false] {
        let mut bench = Bench::new();
        bench.cataloguing = Box::new(Slow {
            clock: bench.clock.clone(),
            before,
        });
        let image = image("amd64", &[apk_layer("musl")]);
        bench.shelf.put(&image);
        bench.deadline = bench.deadline_in(50);
        let part = bench.scan(image.digest()).await.unwrap();
        assert_eq!(part, Scanned::Unfinished { pulled_layers: 0 });
        assert_eq!(bench.cache.get(&image.layers[0].digest()).await.unwrap(), None);

        bench.is_continued = true;
        bench.deadline = bench.deadline_in(50);
        let report = bench.report(image.digest()).await;
        assert_eq!(report.platforms[0].partial[0].partial.code, PartialCode::Time);
    }
}

#[tokio::test]
async fn layers_that_are_too_slow_together_are_read_one_by_one() {
    let mut bench = Bench::new();
    let layers = [apk_layer("a"), apk_layer("b")];
    let image = image("amd64", &layers);
    bench.shelf.put(&image);
    for layer in &layers {
        bench
            .shelf
            .fail(layer.digest(), Fault::Slow(Duration::from_mins(1)));
    }
    for pulled_layers in [0, 1] {
        bench.deadline = bench.deadline_in(100);
        let part = bench.scan(image.digest()).await.unwrap();
        assert_eq!(part, Scanned::Unfinished { pulled_layers });
        bench.is_continued = true;
    }
    bench.deadline = bench.deadline_in(100);
    let report = bench.report(image.digest()).await;
    assert_eq!((names(&report), report.partial), (vec!["b"], false));
}

#[tokio::test]
async fn progress_tells_of_each_layer() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);
    impl Progress for Heard {
        fn layer_started(&self, layer: &Descriptor) {
            self.0.lock().unwrap().push(format!("start {}", layer.digest));
        }
        fn layer_read(&self, layer: &Digest, bytes: u64) {
            let mut heard = self.0.lock().unwrap();
            if bytes > 0 {
                heard.push(format!("read {layer} {bytes}"));
            }
        }
        fn layer_finished(&self, layer: &Digest, origin: LayerOrigin) {
            self.0.lock().unwrap().push(format!("end {layer} {origin:?}"));
        }
    }
    let mut bench = Bench::new();
    let heard = Arc::new(Heard::default());
    bench.progress = heard.clone();
    let image = image("amd64", &[apk_layer("musl")]);
    bench.shelf.put(&image);
    let layer = &image.layers[0].blob.descriptor;
    bench.report(image.digest()).await;
    bench.report(image.digest()).await;
    let Descriptor { digest, size, .. } = layer;
    assert_eq!(
        *heard.0.lock().unwrap(),
        [
            format!("start {digest}"),
            format!("read {digest} {size}"),
            format!("end {digest} Pulled"),
            format!("end {digest} Known"),
        ]
    );
}
