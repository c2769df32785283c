//! A report for people: lines of at most 80 characters, as long as names and versions permit it.

use std::{collections::BTreeMap, fmt::Write as _};

use portwarden_catalog::{OsRelease, Package, PackageKind};
use portwarden_oci::Platform;
use portwarden_report::{PlatformReport, Report, SkipReason};

use crate::text::{Column, bytes, printable, table};

/// Writes a report.
pub(super) fn write(report: &Report) -> String {
    let image = &report.image;
    let tags = image.tags.iter().map(|tag| format!(":{tag}"));
    let mut text = line(
        "image",
        &format!("{}{}", image.repository, tags.collect::<String>()),
    );
    let skipped = skipped(report);
    // The one image that there is has the digest and the platform of the whole.
    let several = report.platforms.len() > 1 || !skipped.is_empty();
    if several {
        text.push_str(&line("index", &image.digest.to_string()));
    }
    if !skipped.is_empty() {
        text.push_str(&line("skipped", &skipped));
    }
    for platform in &report.platforms {
        if several {
            text.push('\n');
        }
        text.push_str(&section(platform));
    }
    text
}

fn section(platform: &PlatformReport) -> String {
    let size = platform.layers.iter().map(|layer| layer.size).sum();
    let mut text = line("digest", &platform.digest.to_string());
    text.push_str(&line(
        "platform",
        &name_or_unknown(platform.platform.as_ref().map(Platform::to_string)),
    ));
    text.push_str(&line("os", &name_or_unknown(platform.os.as_ref().map(os_name))));
    text.push_str(&line(
        "layers",
        &format!("{}, {}", platform.layers.len(), bytes(size)),
    ));
    text.push_str(&line("packages", &counts(platform)));
    for missing in &platform.partial {
        text.push_str(&line(
            "partial",
            &format!("layer {}: {}", missing.layer.index, missing.partial),
        ));
    }
    if !platform.packages.is_empty() {
        text.push('\n');
        text.push_str(&packages(&platform.packages));
    }
    text
}

/// A label of eight characters and one space leave 71 for a digest.
fn line(label: &str, text: &str) -> String {
    format!("{label:8} {}\n", printable(text))
}

fn name_or_unknown(name: Option<String>) -> String {
    name.unwrap_or_else(|| "unknown".to_owned())
}

fn os_name(os: &OsRelease) -> String {
    os.pretty_name.clone().unwrap_or_else(|| os.distro())
}

fn counts(platform: &PlatformReport) -> String {
    let mut text = platform.packages.len().to_string();
    for (index, (kind, count)) in platform.packages_by_kind.iter().enumerate() {
        let separator = if index == 0 { ": " } else { ", " };
        // Writing to a text cannot fail.
        let _ = write!(text, "{separator}{count} {}", kind.as_str());
    }
    text
}

fn skipped(report: &Report) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for skipped in &report.skipped {
        let what = match skipped.reason {
            SkipReason::Attestation => "attestation",
            SkipReason::NotAnImage => "not an image",
            SkipReason::Missing => "missing in the repository",
        };
        *counts.entry(what).or_default() += 1;
    }
    let counts = counts.iter().map(|(what, count)| format!("{count} {what}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// Lists each package of a layer once, with the number of places where it is installed.
fn packages(packages: &[Package]) -> String {
    type Row<'a> = (PackageKind, &'a str, &'a str, usize);
    let mut places: BTreeMap<Row<'_>, usize> = BTreeMap::new();
    for package in packages {
        let version = package.version.as_deref().unwrap_or("unknown");
        *places
            .entry((package.kind, &package.name, version, package.layer.index))
            .or_default() += 1;
    }
    let rows: Vec<[String; 4]> = places
        .into_iter()
        .map(|((kind, name, version, layer), places)| {
            let layer = match places {
                1 => layer.to_string(),
                places => format!("{layer}, in {places} places"),
            };
            [
                name.to_owned(),
                version.to_owned(),
                kind.as_str().to_owned(),
                layer,
            ]
        })
        .collect();
    let columns = [
        Column::up_to("NAME", 38),
        Column::up_to("VERSION", 26),
        Column::new("TYPE"),
        Column::new("LAYER"),
    ];
    table(&columns, &rows)
}

#[cfg(test)]
mod tests {
    use portwarden_core::clock::ManualClock;
    use portwarden_oci::{Tag, Version};
    use portwarden_registry::LayoutReference;
    use portwarden_scanner::{Deadline, Inline, MemoryLayers, Quiet, Scan, Scanned};
    use portwarden_testkit::{
        image::{Artifact, Compression, ImageBuilder, IndexBuilder, LayerBuilder, write_oci_layout},
        sample,
    };

    use super::*;

    async fn report(artifact: &impl Artifact) -> Report {
        let directory = tempfile::tempdir().unwrap();
        let tag: Tag = "1.4".parse().unwrap();
        write_oci_layout(directory.path(), &tag, artifact).unwrap();
        let layout = LayoutReference {
            directory: directory.path().to_owned(),
            version: Some(Version::Tag(tag.clone())),
        };
        let (layout, version) = layout.open().await.unwrap();
        let scan = Scan {
            source: &layout,
            cache: &MemoryLayers::default(),
            cataloguing: &Inline,
            progress: std::sync::Arc::new(Quiet),
            clock: &ManualClock::at(jiff::Timestamp::UNIX_EPOCH),
            deadline: Deadline::never(),
            limits: portwarden_catalog::Limits::default(),
            parallel: 1.try_into().unwrap(),
            is_continued: false,
        };
        match scan
            .run("r.example/shop/web", [tag].into(), &version)
            .await
            .unwrap()
        {
            Scanned::Finished(report) => report,
            Scanned::Unfinished { .. } => panic!("there is no deadline"),
        }
    }

    #[tokio::test]
    async fn the_sample_fits_into_80_columns() {
        let sample = sample::image();
        let report = report(&sample.image).await;
        let text = write(&report);
        let of_kind = |kind| {
            sample
                .expected
                .iter()
                .filter(|package| package.kind == kind)
                .count()
        };
        let [deb, npm, pypi] = [
            sample::PackageKind::Deb,
            sample::PackageKind::Npm,
            sample::PackageKind::Pypi,
        ];
        let size: u64 = sample
            .image
            .layers
            .iter()
            .map(|layer| layer.blob.descriptor.size)
            .sum();
        let head = format!(
            "image    r.example/shop/web:1.4\n\
             digest   {}\n\
             platform linux/amd64\n\
             os       Debian GNU/Linux 12 (bookworm)\n\
             layers   5, {}\n\
             packages {}: {} deb, {} npm, {} pypi\n\n\
             NAME ",
            sample.image.digest(),
            bytes(size),
            sample.expected.len(),
            of_kind(deb),
            of_kind(npm),
            of_kind(pypi),
        );
        assert!(text.starts_with(&head), "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?}:\n{text}");
        for package in &sample.expected {
            let is_package = |line: &str| {
                let mut words = line.split_whitespace();
                words.next() == Some(&package.name)
                    && words.next() == Some(&package.version)
                    && words.next() == Some(package.kind.purl_type())
            };
            assert!(text.lines().any(is_package), "{package:?} is missing in:\n{text}");
        }
    }

    #[tokio::test]
    async fn an_image_without_anything_is_told_as_such() {
        let layer = LayerBuilder::new()
            .file("app", "static")
            .finish(Compression::Gzip);
        let image = ImageBuilder::new().layer("COPY app /", layer).build();
        let text = write(&report(&image).await);
        assert!(text.contains("\nos       unknown\n"), "{text}");
        assert!(text.ends_with("\npackages 0\n"), "{text}");
    }

    #[tokio::test]
    async fn an_index_has_a_section_for_each_platform_and_says_what_was_skipped() {
        let image = |architecture: &str| {
            let layer = LayerBuilder::new()
                .file("app", architecture)
                .finish(Compression::Gzip);
            let platform = Platform {
                os: "linux".to_owned(),
                architecture: architecture.to_owned(),
                variant: None,
            };
            ImageBuilder::new()
                .platform(platform)
                .layer("COPY app /", layer)
                .build()
        };
        let index = IndexBuilder::new()
            .image(image("arm64"))
            .attested_image(image("amd64"))
            .build();
        let text = write(&report(&index).await);
        for platform in ["linux/arm64", "linux/amd64"] {
            assert_eq!(
                text.matches(&format!("\nplatform {platform}\n")).count(),
                1,
                "{text}"
            );
        }
        assert!(text.contains("\nskipped  1 attestation\n"), "{text}");
        assert!(
            text.contains(&format!("\nindex    {}\n", index.digest())),
            "{text}"
        );
    }

    #[tokio::test]
    async fn what_is_missing_and_what_is_hostile_is_shown_safely() {
        let layer = LayerBuilder::new()
            .file("etc/os-release", "ID=debian\nPRETTY_NAME=\"evil\u{1b}[2J\"\n")
            .file("var/lib/dpkg/status", "Package: a\n\nnot a paragraph\n")
            .finish(Compression::Gzip);
        let report = report(&ImageBuilder::new().layer("ADD", layer).build()).await;
        let text = write(&report);
        assert!(text.contains("\nos       evil\u{fffd}[2J\n"), "{text}");
        assert!(
            text.contains("\npartial  layer 0: a package file is malformed"),
            "{text}"
        );
    }
}
