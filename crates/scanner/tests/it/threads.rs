//! The edge that the function uses: the real client, a registry on loopback, layers on blocking threads.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc};

use jiff::Timestamp;
use portwarden_catalog::Limits;
use portwarden_core::clock::ManualClock;
use portwarden_oci::Version;
use portwarden_registry::{AllowedHosts, Credentials, Network, Registry};
use portwarden_scanner::{BlockingThreads, Deadline, MemoryLayers, Quiet, Scan, ScanError, Scanned};
use portwarden_testkit::{
    image::Artifact as _,
    registry::{RegistryServer, Settings},
    sample,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_are_streamed_from_a_registry_to_threads() {
    let server = RegistryServer::start(Settings::default()).await.unwrap();
    let repository = "shop/web".parse().unwrap();
    let sample = sample::image();
    server.publish(&repository, None, &sample.image);
    let network = Network::builder().plain_http(server.name()).build().unwrap();
    let registry = Registry::new(
        &network,
        &server.name(),
        Credentials::Anonymous,
        AllowedHosts::None,
    )
    .unwrap();
    let source = registry.repository(repository.clone());
    let cache = MemoryLayers::default();
    let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
    let scan = Scan {
        source: &source,
        cache: &cache,
        cataloguing: &BlockingThreads,
        progress: Arc::new(Quiet),
        clock: &clock,
        deadline: Deadline::never(),
        limits: Limits::default(),
        parallel: NonZeroUsize::new(4).unwrap(),
        is_continued: false,
    };
    let version = Version::Digest(sample.image.digest());
    let run = || scan.run("registry.example/shop/web", BTreeSet::new(), &version);
    // The last layer's content is replaced: all that was read before is of no use to the report.
    let last = &sample.image.layers[4].blob;
    let mut lie = last.bytes.to_vec();
    lie[20] ^= 1;
    server.publish_blob(&repository, last.digest(), lie);
    let error = run().await.unwrap_err();
    assert!(matches!(error, ScanError::Corrupt(_)), "{error:?}");

    server.publish(&repository, None, &sample.image);
    let Scanned::Finished(report) = run().await.unwrap() else {
        panic!("there was no deadline");
    };
    let found: BTreeSet<_> = report.platforms[0]
        .packages
        .iter()
        .map(|package| {
            let version = package.version.clone().unwrap_or_default();
            (package.kind.as_str(), package.name.clone(), version)
        })
        .collect();
    let expected: BTreeSet<_> = sample
        .expected
        .into_iter()
        .map(|package| (package.kind.purl_type(), package.name, package.version))
        .collect();
    assert_eq!(found, expected);
}
