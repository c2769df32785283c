use portwarden_oci::{Descriptor, MediaType, Platform};
use serde_json::{Value, json};

use super::{Artifact, Blob, Layer};

/// One image: its manifest, its configuration and its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest.
    pub manifest: Blob,
    /// The configuration.
    pub config: Blob,
    /// The layers, base first.
    pub layers: Vec<Layer>,
    /// What the image runs on.
    pub platform: Platform,
}

impl Artifact for Image {
    fn blobs(&self) -> Vec<&Blob> {
        let layers = self.layers.iter().map(|layer| &layer.blob);
        std::iter::once(&self.config).chain(layers).collect()
    }

    fn manifest(&self) -> &Blob {
        &self.manifest
    }
}

/// Whose names the media types of a manifest have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The OCI image specification's.
    #[default]
    Oci,
    /// Docker's, as of image manifest version 2, schema 2. Docker has no name for Zstandard; the OCI one is used.
    Docker,
}

/// Collects the parts of an image.
#[derive(Debug, Clone)]
#[must_use]
pub struct ImageBuilder {
    platform: Platform,
    format: Format,
    layers: Vec<Layer>,
    history: Vec<Value>,
    settings: Value,
}

/// When every image was made: the same instant as the entries' modification time.
const CREATED: &str = "2026-01-01T00:00:00Z";

impl ImageBuilder {
    /// Starts an image for `linux/amd64` without layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the platform.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Chooses the media types' names.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Adds a layer on top, with the instruction that made it.
    pub fn layer(mut self, created_by: &str, layer: Layer) -> Self {
        self.history
            .push(json!({"created": CREATED, "created_by": created_by}));
        self.layers.push(layer);
        self
    }

    /// Sets environment variables, given as `NAME=value`.
    pub fn env(self, variables: &[&str]) -> Self {
        self.setting("Env", json!(variables))
    }

    /// Sets the command that a container runs.
    pub fn cmd(self, arguments: &[&str]) -> Self {
        self.setting("Cmd", json!(arguments))
    }

    /// Sets a label of the configuration.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.settings["Labels"][name] = json!(value);
        self
    }

    /// Writes the configuration and the manifest.
    pub fn build(self) -> Image {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| layer.diff_id).collect();
        let mut config = json!({
            "created": CREATED,
            "os": self.platform.os,
            "architecture": self.platform.architecture,
            "config": self.settings,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": self.history,
        });
        if let Some(variant) = &self.platform.variant {
            config["variant"] = json!(variant);
        }
        let (manifest_type, config_type) = match self.format {
            Format::Oci => (MediaType::OciManifest, MediaType::OciConfig),
            Format::Docker => (MediaType::DockerManifest, MediaType::DockerConfig),
        };
        let config = Blob::json(config_type, &config);
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| self.format.describe(&layer.blob.descriptor))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config.descriptor,
            "layers": layers,
        });
        Image {
            manifest: Blob::json(manifest_type, &manifest),
            config,
            layers: self.layers,
            platform: self.platform,
        }
    }

    fn setting(mut self, name: &str, value: Value) -> Self {
        self.settings[name] = value;
        if name == "Cmd" {
            let created_by = format!("CMD {}", self.settings[name]);
            self.history
                .push(json!({"created": CREATED, "created_by": created_by, "empty_layer": true}));
        }
        self
    }
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self {
            platform: Platform {
                os: "linux".to_owned(),
                architecture: "amd64".to_owned(),
                variant: None,
            },
            format: Format::default(),
            layers: Vec::new(),
            history: Vec::new(),
            settings: json!({}),
        }
    }
}

impl Format {
    /// Describes a layer with this format's name for its media type.
    fn describe(self, layer: &Descriptor) -> Descriptor {
        let docker_name = match &layer.media_type {
            MediaType::Layer => "application/vnd.docker.image.rootfs.diff.tar",
            MediaType::LayerGzip => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            _ => return layer.clone(),
        };
        let mut layer = layer.clone();
        if self == Self::Docker {
            // The type that would be read from this name is written with the OCI name.
            layer.media_type = MediaType::Other(docker_name.to_owned());
        }
        layer
    }
}

#[cfg(test)]
mod tests {
    use portwarden_oci::Manifest;

    use super::*;
    use crate::image::{Compression, LayerBuilder};

    fn two_layers(format: Format) -> Image {
        let base = LayerBuilder::new().file("a", "1").finish(Compression::Gzip);
        let top = LayerBuilder::new().whiteout("a").finish(Compression::Zstd);
        ImageBuilder::new()
            .format(format)
            .layer("ADD rootfs", base)
            .layer("RUN rm /a", top)
            .env(&["PATH=/usr/bin"])
            .cmd(&["sh"])
            .label("team", "shop")
            .build()
    }

    #[test]
    fn the_manifest_points_to_what_is_there() {
        let image = two_layers(Format::Oci);
        let manifest = Manifest::parse(&image.manifest.bytes, None).unwrap();
        let Manifest::Image(manifest) = manifest else {
            panic!("an image was built: {manifest:?}");
        };
        assert!(manifest.is_container_image());
        assert_eq!(manifest.config, image.config.descriptor);
        let descriptors: Vec<_> = image
            .layers
            .iter()
            .map(|layer| layer.blob.descriptor.clone())
            .collect();
        assert_eq!(manifest.layers, descriptors);
        assert_eq!(image, two_layers(Format::Oci));
    }

    #[test]
    fn the_configuration_lists_layers_and_settings() {
        let image = two_layers(Format::Oci);
        let config: Value = serde_json::from_slice(&image.config.bytes).unwrap();
        assert_eq!(config["architecture"], "amd64");
        assert_eq!(config["rootfs"]["diff_ids"][0], json!(image.layers[0].diff_id));
        assert_eq!(config["rootfs"]["diff_ids"][1], json!(image.layers[1].diff_id));
        assert_eq!(
            config["config"],
            json!({"Env": ["PATH=/usr/bin"], "Cmd": ["sh"], "Labels": {"team": "shop"}})
        );
        let steps: Vec<_> = config["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["created_by"].as_str().unwrap())
            .collect();
        assert_eq!(steps, ["ADD rootfs", "RUN rm /a", "CMD [\"sh\"]"]);
        assert_eq!(config["history"][2]["empty_layer"], true);
    }

    #[test]
    fn docker_images_have_dockers_names() {
        let image = two_layers(Format::Docker);
        let manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
        assert_eq!(
            [
                &manifest["mediaType"],
                &manifest["config"]["mediaType"],
                &manifest["layers"][0]["mediaType"],
                &manifest["layers"][1]["mediaType"],
            ],
            [
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "application/vnd.oci.image.layer.v1.tar+zstd",
            ]
        );
        assert_ne!(image.digest(), two_layers(Format::Oci).digest());
    }
}
