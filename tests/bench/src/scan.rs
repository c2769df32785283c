//! `portwarden scan` beside other scanners, in turn, on images of one registry.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, time::Instant};

use portwarden_aws::SystemClock;
use portwarden_catalog::Limits;
use portwarden_oci::Reference;
use portwarden_registry::{AllowedHosts, Credentials, Network, Registry};
use portwarden_report::Report;
use portwarden_scanner::{BlockingThreads, Deadline, MemoryLayers, Quiet, Scan, Scanned};

use crate::{
    Bench, Failure,
    images::{self, LayerWriter, TestImage},
    peers,
    program::{self, Cost, Program},
    registry::LocalRegistry,
    sheet::{Sheet, Table, Unit, megabytes, milliseconds},
};

/// What a scan may take, in megabytes, whatever the image is.
const MEMORY: f64 = 80.0;

pub(crate) async fn measure(bench: &Bench) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::new("scan");
    let registry = LocalRegistry::start(bench).await?;
    if registry.kind() != "Debian's docker-registry" {
        sheet.not_run("docker-registry (the test kit's registry takes its place)");
    }
    let mut table = Table::new(
        "scan",
        &[
            ("wall", Unit::Milliseconds),
            ("processor", Unit::Milliseconds),
            ("memory", Unit::Megabytes),
            ("written", Unit::Megabytes),
            ("of portwarden", Unit::Times),
        ],
    );
    for image in TestImage::ALL {
        let Some(layout) = image.layout(bench)? else {
            sheet.not_run(format!("the image {} (mmdebstrap is missing)", image.name()));
            continue;
        };
        let reference = registry.push(&layout, image.name()).await?;
        let programs = programs(image, &reference, bench, &mut sheet);
        // Once for nothing, so that everybody finds the registry's files in memory.
        program::measure(bench, &programs[..1], 1)?;
        let costs = program::measure(bench, &programs, if image == TestImage::Sample { 9 } else { 3 })?;
        for (program, cost) in programs.iter().zip(&costs) {
            table.row(
                format!("{} {}", image.name(), program.name),
                [
                    Some(cost.wall_ms),
                    Some(cost.processor_ms),
                    Some(cost.memory_mb),
                    Some(cost.written_mb),
                    Some(costs[0].wall_ms / cost.wall_ms),
                ],
            );
        }
        compare(image, &programs, &costs, &mut sheet);
    }
    sheet.add(table);
    measure_rescan(bench, &registry, &mut sheet).await?;
    Ok(sheet)
}

/// Returns what is run on an image, our own program first.
fn programs(image: TestImage, reference: &str, bench: &Bench, sheet: &mut Sheet) -> Vec<Program> {
    let own = |name, program: &str, arguments: &[&str]| Program {
        name,
        command: std::iter::once(bench.programs.join(program).into())
            .chain(arguments.iter().map(Into::into))
            .collect(),
        environment: Vec::new(),
        scratch: bench.state.join("scratch").join(name),
        // 3: a hostile image may be more than is read of any.
        good: &[0, 3],
    };
    let mut programs = vec![own(
        "portwarden",
        "portwarden",
        &["scan", "--insecure-http", reference],
    )];
    // The floor reads gzip only.
    if !matches!(image, TestImage::Sample | TestImage::LargeWindows) {
        programs.push(own("floor", "bench", &["read-floor", reference]));
    }
    if image.is_hostile() {
        return programs;
    }
    for name in peers::NAMES {
        match peers::command(name, reference, bench) {
            Some(program) => programs.push(program),
            None => sheet.not_run(format!("{name} (it is not on the path)")),
        }
    }
    programs
}

/// Holds an image's figures to the aims.
fn compare(image: TestImage, programs: &[Program], costs: &[Cost], sheet: &mut Sheet) {
    let [own, ..] = costs else { return };
    let name = image.name();
    let of = |peer: &str| {
        let place = programs.iter().position(|program| program.name == peer);
        place.map(|place| own.wall_ms / costs[place].wall_ms)
    };
    if let Some(ratio) = of("trivy") {
        sheet.aim(format!("{name} beside trivy"), ratio, 0.3, Unit::Times);
    }
    if let (TestImage::Debian | TestImage::TenLayers, Some(ratio)) = (image, of("syft")) {
        sheet.aim(format!("{name} beside syft"), ratio, 0.12, Unit::Times);
    }
    if let (TestImage::TenLayers, Some(ratio)) = (image, of("floor")) {
        sheet.aim(format!("{name} beside the floor"), ratio, 2.0, Unit::Times);
    }
    if image == TestImage::Debian {
        sheet.aim(
            format!("{name}, wall time"),
            own.wall_ms,
            600.0,
            Unit::Milliseconds,
        );
        sheet.aim(format!("{name}, memory"), own.memory_mb, 60.0, Unit::Megabytes);
    } else {
        sheet.aim(format!("{name}, memory"), own.memory_mb, MEMORY, Unit::Megabytes);
    }
    sheet.aim(
        format!("{name}, files written"),
        own.written_mb,
        0.0,
        Unit::Megabytes,
    );
}

/// Scans two images with the same base one after the other, as the scanner function does, which keeps layers.
async fn measure_rescan(bench: &Bench, registry: &LocalRegistry, sheet: &mut Sheet) -> Result<(), Failure> {
    let folder = bench.state.join("images");
    let Some(debian) = images::debian(&folder, images::MINIMAL)? else {
        return Ok(());
    };
    let mut table = Table::new(
        "rescan",
        &[
            ("wall", Unit::Milliseconds),
            ("pulled", Unit::Megabytes),
            ("spared", Unit::Megabytes),
        ],
    );
    let known = MemoryLayers::default();
    let mut pulled = Vec::new();
    for release in ["first", "second"] {
        let layout = folder.join(format!("release-{release}"));
        if !layout.is_dir() {
            let mut layers = images::split(&debian, 1)?;
            let mut own = LayerWriter::new();
            let package = format!(r#"{{"name":"app","version":"1.0.0-{release}"}}"#);
            own.file("app/package.json", package.len() as u64, package.as_bytes())?;
            layers.push(own.finish()?);
            images::write(&layout, &images::image(layers))?;
        }
        let reference = registry.push(&layout, &format!("release-{release}")).await?;
        let start = Instant::now();
        let report = scan(&reference.parse()?, &known).await?;
        table.row(
            format!("{release} release"),
            [
                Some(milliseconds(start.elapsed())),
                Some(megabytes(report.pulled_bytes)),
                Some(megabytes(report.spared_bytes)),
            ],
        );
        pulled.push(megabytes(report.pulled_bytes));
    }
    sheet.add(table);
    // The new layer has one small file.
    sheet.aim("pulled again of a known base", pulled[1], 0.001, Unit::Megabytes);
    Ok(())
}

async fn scan(reference: &Reference, known: &MemoryLayers) -> Result<Report, Failure> {
    let network = Network::builder().plain_http(reference.registry()).build()?;
    let registry = Registry::new(
        &network,
        reference.registry(),
        Credentials::Anonymous,
        AllowedHosts::None,
    )?;
    let scan = Scan {
        source: &registry.repository(reference.repository().clone()),
        cache: known,
        cataloguing: &BlockingThreads,
        progress: Arc::new(Quiet),
        clock: &SystemClock,
        deadline: Deadline::never(),
        limits: Limits::default(),
        parallel: NonZeroUsize::MIN,
        is_continued: false,
    };
    let scanned = scan.run(
        reference.repository().as_str(),
        BTreeSet::new(),
        reference.version(),
    );
    match scanned.await? {
        Scanned::Finished(report) => Ok(report),
        Scanned::Unfinished { .. } => Err("a scan without a deadline ended before its end".into()),
    }
}
