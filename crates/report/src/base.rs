//! Which layers come from the base image, and which are yours.

use std::collections::BTreeMap;

use portwarden_catalog::{Package, PackageKind};
use portwarden_oci::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The image that another one was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaseImage {
    /// How many of the lowest layers are the base image's.
    pub layers: usize,
    /// How that number is known.
    pub known_by: BaseEvidence,
    /// What the image itself calls its base, in the annotation `org.opencontainers.image.base.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The base's digest, in the annotation `org.opencontainers.image.base.digest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// How it is known which layers are the base image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BaseEvidence {
    /// The history names a command to start below further layers: there the base image ends.
    History,
    /// The lowest layer that has packages of the distribution is its root file system.
    RootFileSystem,
}

/// Whose a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The base image's: a newer base image mends it.
    Base,
    /// Yours: a change of your own build mends it.
    Yours,
}

/// One step of an image's history.
///
/// Source: OCI image specification, `config.md`, `history`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct HistoryStep {
    /// The instruction.
    #[serde(default)]
    pub created_by: Option<String>,
    /// Whether the step made no layer.
    #[serde(default)]
    pub empty_layer: bool,
}

/// How many characters of an instruction are kept.
const MAX_INSTRUCTION: usize = 300;

impl BaseImage {
    /// Finds out which layers are the base image's: by the history if it tells, or else those up to the distribution's root
    /// file system; nothing if neither is there.
    ///
    /// The image's own annotations name the base, but say nothing of its layers.
    pub fn find(
        history: &[HistoryStep],
        annotations: &BTreeMap<String, String>,
        layers: usize,
        packages: &[Package],
    ) -> Option<Self> {
        let by_history = end_by_history(history, layers).map(|end| (end, BaseEvidence::History));
        let (layers, known_by) = by_history
            .or_else(|| root_file_system(packages).map(|root| (root + 1, BaseEvidence::RootFileSystem)))?;
        let annotation = |name: &str| annotations.get(&format!("org.opencontainers.image.base.{name}"));
        Some(Self {
            layers,
            known_by,
            name: annotation("name").map(|name| name.chars().take(MAX_INSTRUCTION).collect()),
            digest: annotation("digest").and_then(|digest| digest.parse().ok()),
        })
    }

    /// Tells whose a layer is.
    pub fn side(&self, layer: usize) -> Side {
        if layer < self.layers {
            Side::Base
        } else {
            Side::Yours
        }
    }
}

/// Says which instruction made each layer; nothing if the history is of other layers.
pub fn instructions(history: &[HistoryStep], layers: usize) -> Vec<Option<String>> {
    let steps: Vec<&HistoryStep> = history.iter().filter(|step| !step.empty_layer).collect();
    if steps.len() != layers {
        return vec![None; layers];
    }
    steps
        .into_iter()
        .map(|step| {
            let instruction = instruction(step.created_by.as_deref()?);
            Some(instruction.chars().take(MAX_INSTRUCTION).collect())
        })
        .collect()
}

/// Writes an instruction as it stands in the build file, whichever builder wrote it down.
///
/// Values of build arguments are left out: people put passwords there.
fn instruction(created_by: &str) -> String {
    let text = created_by.trim();
    let text = text.strip_suffix("# buildkit").unwrap_or(text).trim();
    if let Some(rest) = text.strip_prefix("/bin/sh -c #(nop)") {
        return rest.trim().to_owned();
    }
    let command = text.strip_prefix("RUN ").unwrap_or(text);
    if command.starts_with('|') {
        // `|2 NAME=value OTHER=value /bin/sh -c …`; values may hold anything.
        return match command.split_once("/bin/sh -c ") {
            Some((_, command)) => format!("RUN {command}"),
            None => "RUN, with build arguments".to_owned(),
        };
    }
    match command.strip_prefix("/bin/sh -c ") {
        Some(command) => format!("RUN {command}"),
        None => text.to_owned(),
    }
}

/// Finds where the base image ends: at the last step that names a command to start and has layers above it.
///
/// A build names its own command last, above its layers; what stands below them came with the base image.
fn end_by_history(history: &[HistoryStep], layers: usize) -> Option<usize> {
    if history.iter().filter(|step| !step.empty_layer).count() != layers {
        return None;
    }
    let names_command = |step: &HistoryStep| {
        let text = step.created_by.as_deref().map(instruction).unwrap_or_default();
        step.empty_layer && ["CMD", "ENTRYPOINT"].iter().any(|word| text.starts_with(word))
    };
    let mut below = 0;
    let mut end = None;
    for step in history {
        if !step.empty_layer {
            below += 1;
        } else if names_command(step) && (1..layers).contains(&below) {
            end = Some(below);
        }
    }
    end
}

/// Finds the lowest layer that has packages of the distribution.
fn root_file_system(packages: &[Package]) -> Option<usize> {
    let is_distributions =
        |kind: PackageKind| matches!(kind, PackageKind::Apk | PackageKind::Deb | PackageKind::Rpm);
    packages
        .iter()
        .filter(|package| is_distributions(package.kind))
        .map(|package| package.layer.index)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(steps: &[&str]) -> Vec<HistoryStep> {
        steps
            .iter()
            .map(|step| HistoryStep {
                created_by: Some((*step).to_owned()),
                empty_layer: ["CMD", "ENV", "ENTRYPOINT"]
                    .iter()
                    .any(|word| step.contains(word)),
            })
            .collect()
    }

    #[test]
    fn the_base_image_ends_where_a_command_stands_below_further_layers() {
        let docker = [
            "/bin/sh -c #(nop) ADD file:1 in /",
            "/bin/sh -c #(nop)  CMD [\"bash\"]",
            "/bin/sh -c apt-get update",
            "/bin/sh -c #(nop)  ENTRYPOINT [\"app\"]",
        ];
        let twice = [
            "ADD rootfs",
            "CMD [\"sh\"]",
            "RUN x",
            "ENTRYPOINT [\"y\"]",
            "COPY a",
            "ENV B=c",
            "COPY d",
            "CMD [\"d\"]",
        ];
        for (history, layers, end) in [
            (&docker[..], 2, Some(1)),
            (&twice[..], 4, Some(2)),
            (&["ADD rootfs", "RUN x", "CMD [\"x\"]"][..], 2, None),
            (&["CMD [\"x\"]", "COPY a"][..], 1, None),
            // A history of other layers says nothing.
            (&docker[..], 3, None),
            (&[][..], 2, None),
        ] {
            assert_eq!(end_by_history(&steps(history), layers), end, "{history:?}");
        }
    }

    #[test]
    fn instructions_are_as_in_the_build_file_and_tell_no_build_argument() {
        for (created_by, expected) in [
            ("/bin/sh -c #(nop) ADD file:1 in / ", "ADD file:1 in /"),
            ("/bin/sh -c apt-get update", "RUN apt-get update"),
            ("RUN /bin/sh -c apt-get update # buildkit", "RUN apt-get update"),
            ("COPY a /b # buildkit", "COPY a /b"),
            ("|1 TOKEN=s3cret word /bin/sh -c make", "RUN make"),
            ("RUN |2 A=1 TOKEN=s3cret /bin/sh -c make # buildkit", "RUN make"),
            (
                "RUN |1 TOKEN=s3cret /bin/bash -c make # buildkit",
                "RUN, with build arguments",
            ),
        ] {
            assert_eq!(
                instructions(&steps(&[created_by]), 1),
                [Some(expected.to_owned())],
                "{created_by}"
            );
        }
        assert_eq!(instructions(&steps(&["a"]), 2), [None, None]);
        let long = "x".repeat(5000);
        assert_eq!(
            instructions(&steps(&[&long]), 1)[0].as_ref().unwrap().len(),
            MAX_INSTRUCTION
        );
    }
}
