use std::{collections::BTreeMap, fs, io, path::Path};

use portwarden_oci::{ImageIndex, Tag};
use serde_json::json;

use super::{Artifact, Blob};

/// Writes `artifact` as an OCI image layout of one tag into `directory`, which is made if it is missing.
///
/// Source: OCI image specification, `image-layout.md`.
pub fn write_oci_layout(directory: &Path, tag: &Tag, artifact: &impl Artifact) -> io::Result<()> {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let own = artifact.manifest();
    let manifests = artifact.children().into_iter().chain([own]);
    for Blob { descriptor, bytes } in artifact.blobs().into_iter().chain(manifests) {
        fs::write(blobs.join(descriptor.digest.hex()), bytes)?;
    }
    let mut tagged = own.descriptor.clone();
    let name = "org.opencontainers.image.ref.name".to_owned();
    tagged.annotations.insert(name, tag.to_string());
    let index = ImageIndex {
        manifests: vec![tagged],
        annotations: BTreeMap::new(),
    };
    let mut index = serde_json::to_value(index)?;
    index["schemaVersion"] = json!(2);
    fs::write(directory.join("index.json"), index.to_string())?;
    fs::write(
        directory.join("oci-layout"),
        json!({"imageLayoutVersion": "1.0.0"}).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use portwarden_oci::{Descriptor, Manifest};

    use super::*;
    use crate::image::{Compression, ImageBuilder, LayerBuilder};

    #[test]
    fn every_descriptor_leads_to_its_blob() {
        let directory = tempfile::tempdir().unwrap();
        let layer = LayerBuilder::new().file("a", "1").finish(Compression::Gzip);
        let image = ImageBuilder::new().layer("ADD a", layer).build();
        let tag: Tag = "1.4".parse().unwrap();
        write_oci_layout(directory.path(), &tag, &image).unwrap();

        let read = |name: &str| fs::read(directory.path().join(name)).unwrap();
        let follow = |descriptor: &Descriptor| {
            let content = read(&format!("blobs/sha256/{}", descriptor.digest.hex()));
            assert_eq!(portwarden_oci::Digest::of(&content), descriptor.digest);
            assert_eq!(content.len() as u64, descriptor.size);
            content
        };
        assert_eq!(read("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
        let Manifest::Index(index) = Manifest::parse(&read("index.json"), None).unwrap() else {
            panic!("a layout starts with an index");
        };
        assert_eq!(index.manifests.len(), 1);
        assert_eq!(
            index.manifests[0].annotations["org.opencontainers.image.ref.name"],
            "1.4"
        );
        let manifest = Manifest::parse(&follow(&index.manifests[0]), None).unwrap();
        let Manifest::Image(manifest) = manifest else {
            panic!("an image was written: {manifest:?}");
        };
        follow(&manifest.config);
        assert_eq!(manifest.layers.len(), 1);
        assert_eq!(follow(&manifest.layers[0]), image.layers[0].blob.bytes);
    }
}
