//! Other scanners, and how they are asked for an SBOM of an image of a local registry.

use crate::{Bench, program, program::Program};

/// The scanners that are looked for.
pub(crate) const NAMES: [&str; 2] = ["trivy", "syft"];

/// Returns how a scanner is run; nothing if it is not installed.
pub(crate) fn command(name: &'static str, reference: &str, bench: &Bench) -> Option<Program> {
    let program = program::find(name, &bench.root.join(".venv/strict/bin"))?;
    let scratch = bench.state.join("scratch").join(name);
    let (arguments, environment): (Vec<&str>, &[(&str, &str)]) = match name {
        "trivy" => (
            vec![
                "image",
                "--quiet",
                // Packages only: no vulnerabilities and no secrets are looked for.
                "--scanners",
                "",
                "--format",
                "cyclonedx",
                "--image-src",
                "remote",
                "--insecure",
                // Trivy reads no jar before it has downloaded a database of jars, which is no part of reading an image;
                // so it is spared them here, and we and Syft are not.
                "--skip-files",
                "**/*.jar",
                "--timeout",
                "30m",
                reference,
            ],
            &[("TRIVY_NON_SSL", "true"), ("TRIVY_OFFLINE_SCAN", "true")],
        ),
        _ => (
            vec![
                "scan",
                "--quiet",
                "--output",
                "cyclonedx-json",
                "--from",
                "registry",
                reference,
            ],
            &[
                ("SYFT_REGISTRY_INSECURE_USE_HTTP", "true"),
                ("SYFT_CHECK_FOR_APP_UPDATE", "false"),
            ],
        ),
    };
    let mut environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, value.into()))
        .collect();
    // Deleted before each run, so that nothing is known of the image.
    environment.push(("TRIVY_CACHE_DIR", scratch.join("cache").into()));
    environment.push(("SYFT_CACHE_DIR", scratch.join("cache").into()));
    Some(Program {
        name,
        command: std::iter::once(program.into())
            .chain(arguments.into_iter().map(Into::into))
            .collect(),
        environment,
        scratch,
        good: &[0],
    })
}
