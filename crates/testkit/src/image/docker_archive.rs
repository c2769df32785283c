use std::{fs::File, io, path::Path};

use serde_json::json;

use super::Image;

/// Writes `image` under one name as `docker save` does, layers as they are.
///
/// Source: Docker's image specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
pub fn write_docker_archive(file: &Path, name: &str, image: &Image) -> io::Result<()> {
    let mut archive = tar::Builder::new(File::create(file)?);
    let mut add = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content)
    };
    let config = format!("{}.json", image.config.digest().hex());
    add(&config, &image.config.bytes)?;
    let mut layers = Vec::new();
    for layer in &image.layers {
        let path = format!("{}/layer.tar", layer.diff_id.hex());
        add(&path, &layer.blob.bytes)?;
        layers.push(path);
    }
    let list = json!([{"Config": config, "RepoTags": [name], "Layers": layers}]);
    add("manifest.json", list.to_string().as_bytes())?;
    archive.finish()
}
