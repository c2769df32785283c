//! What a person reads.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    time::Duration,
};

use portwarden_oci::Tag;
use portwarden_report::{LayerOrigin, LayerReport};

use crate::{
    cloud::{LocalCloud, ScannedImage},
    push::{ImageChoice, Pushed},
    tenant::Tenant,
    walk_through::WalkThrough,
};

/// Shows a report: image, layers, packages by type, time.
pub(super) fn report(
    output: &mut dyn Write,
    tenant: &Tenant,
    scanned: &ScannedImage,
    push_to_report: Duration,
    report_file: &Path,
    sbom_file: &Path,
) -> io::Result<()> {
    let report = &scanned.report;
    let tags: Vec<&str> = report.image.tags.iter().map(Tag::as_str).collect();
    writeln!(output)?;
    writeln!(
        output,
        "image     {} ({})",
        report.image.repository,
        tags.join(", ")
    )?;
    writeln!(output, "digest    {}", report.image.digest)?;
    writeln!(
        output,
        "tenant    {} of account {}",
        tenant.id,
        tenant.account.id()
    )?;
    for platform in &report.platforms {
        let name = platform
            .platform
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), ToString::to_string);
        writeln!(output, "platform  {name}")?;
        for layer in &platform.layers {
            writeln!(
                output,
                "  layer {:>2}  {}  {:>9}  {}",
                layer.index,
                short(layer),
                size(layer.size),
                origin(layer)
            )?;
        }
        for missing in &platform.partial {
            writeln!(output, "  partial   {missing:?}")?;
        }
    }
    let kinds: BTreeMap<&str, usize> = report
        .packages_by_kind
        .iter()
        .map(|(kind, count)| (kind.as_str(), *count))
        .collect();
    writeln!(output, "packages  {}", report.package_count)?;
    for (kind, count) in kinds {
        writeln!(output, "  {kind:<8}  {count:>5}")?;
    }
    match &scanned.findings {
        Some(findings) => {
            let count: usize = findings.counts.values().sum();
            writeln!(output, "findings  {count}, {} with a fix", findings.fixable)?;
            for (level, count) in findings.counts.iter().rev() {
                writeln!(output, "  {:<10}{count:>5}", level.as_str())?;
            }
        }
        None => writeln!(output, "findings  not matched yet: there is no advisory database")?,
    }
    writeln!(
        output,
        "pulled    {}, {} known before",
        size(report.pulled_bytes),
        size(report.spared_bytes)
    )?;
    writeln!(
        output,
        "time      {:.2} s from push to report",
        push_to_report.as_secs_f64()
    )?;
    writeln!(output, "report    {}", report_file.display())?;
    writeln!(output, "sbom      {}", sbom_file.display())?;
    writeln!(output)
}

/// Says where things are and how to push another image.
pub(super) fn how_to_go_on(
    output: &mut dyn Write,
    cloud: &LocalCloud,
    (walk_through, stack_file): (&WalkThrough, &Path),
    pushed: &Pushed,
    next: &ImageChoice,
) -> io::Result<()> {
    writeln!(
        output,
        "Portwarden is up. Ctrl-C ends it and leaves nothing behind."
    )?;
    writeln!(
        output,
        "  start at  {} (signs you in; its button pushes another image)",
        walk_through.url()
    )?;
    if let (Ok(console), Ok(sign_in)) = (cloud.console(), cloud.sign_in_link()) {
        writeln!(output, "  console   {console}")?;
        writeln!(output, "  sign in   {sign_in}")?;
    }
    if let Ok(api) = cloud.api() {
        writeln!(output, "  API       {api}")?;
    }
    writeln!(
        output,
        "  AWS APIs  {} (access key: an account's number)",
        cloud.emulator_endpoint()
    )?;
    for tenant in cloud.tenants() {
        let account = &tenant.account;
        writeln!(
            output,
            "  registry  {} of account {} in {}",
            tenant.registry.name(),
            account.id(),
            account.region()
        )?;
    }
    writeln!(output, "  scripts   {}", stack_file.display())?;
    writeln!(output, "  logs      {}", cloud.log().display())?;
    writeln!(
        output,
        "Push another image from a second terminal, and its report appears here:"
    )?;
    let program = std::env::current_exe().unwrap_or_else(|_| "portwarden".into());
    writeln!(output, "  {} local --push {next}", program.display())?;
    if let Some(tenant) = cloud.tenants().first() {
        writeln!(
            output,
            "  skopeo copy --dest-tls-verify=false {next} docker://{}/{}:another",
            tenant.registry.name(),
            pushed.repository
        )?;
    }
    writeln!(output)?;
    output.flush()
}

fn short(layer: &LayerReport) -> String {
    layer.digest.hex().chars().take(12).collect()
}

fn origin(layer: &LayerReport) -> &'static str {
    match layer.origin {
        LayerOrigin::Pulled => "pulled",
        LayerOrigin::Known => "known before",
        LayerOrigin::Unread => "not read",
    }
}

/// Writes a number of bytes in the decimal units that registries use.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
