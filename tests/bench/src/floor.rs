//! The floor: what every scanner must do at least with an image of a registry, and nothing more. Layers are downloaded,
//! hashed, inflated and walked, entry by entry, as many at once as there are processors.

use std::{io, io::Write, sync::Arc, thread};

use flate2::write::MultiGzDecoder;
use portwarden_oci::{Descriptor, ImageManifest, Manifest, Reference};
use sha2::{Digest as _, Sha256};
use tar::Header;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::Failure;

/// Reads all layers of an image of a registry on loopback.
pub(crate) async fn read(reference: &Reference) -> Result<(), Failure> {
    let base = format!("http://{}/v2/{}", reference.registry(), reference.repository());
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{base}/manifests/{}", reference.version());
    let accept = "application/vnd.oci.image.manifest.v1+json";
    let answer = client.get(url).header("accept", accept).send().await?;
    let manifest = answer.error_for_status()?.bytes().await?;
    let Manifest::Image(ImageManifest { layers, .. }) = Manifest::parse(&manifest, None)? else {
        return Err("an image was pushed, not an index".into());
    };
    let room = Arc::new(Semaphore::new(thread::available_parallelism()?.get()));
    let mut work = JoinSet::new();
    for layer in layers {
        let (client, base, room) = (client.clone(), base.clone(), Arc::clone(&room));
        work.spawn(async move {
            let _room = room.acquire().await?;
            read_layer(&client, &base, &layer).await
        });
    }
    let mut entries = 0;
    while let Some(layer) = work.join_next().await {
        entries += layer??;
    }
    println!("{entries}");
    Ok(())
}

/// Reads one layer and returns how many entries it has.
async fn read_layer(client: &reqwest::Client, base: &str, layer: &Descriptor) -> Result<u64, Failure> {
    let answer = client
        .get(format!("{base}/blobs/{}", layer.digest))
        .send()
        .await?;
    let mut answer = answer.error_for_status()?;
    let mut hasher = Sha256::new();
    let mut walk = MultiGzDecoder::new(Walk::default());
    while let Some(piece) = answer.chunk().await? {
        hasher.update(&piece);
        walk.write_all(&piece)?;
    }
    let digest: Vec<String> = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if digest.concat() != layer.digest.hex() {
        return Err(format!("the layer {} is another", layer.digest).into());
    }
    Ok(walk.finish()?.entries)
}

/// Walks an archive from header to header.
#[derive(Default)]
struct Walk {
    entries: u64,
    /// What is left of the current entry.
    content: u64,
    /// As much as has come of a header.
    header: Vec<u8>,
}

const BLOCK: usize = 512;

impl Write for Walk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let skipped = rest
                .len()
                .min(usize::try_from(self.content).unwrap_or(usize::MAX));
            self.content -= skipped as u64;
            rest = &rest[skipped..];
            let missing = (BLOCK - self.header.len()).min(rest.len());
            self.header.extend_from_slice(&rest[..missing]);
            rest = &rest[missing..];
            if self.header.len() == BLOCK {
                self.enter()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Walk {
    fn enter(&mut self) -> io::Result<()> {
        let header = Header::from_byte_slice(&self.header);
        if self.header[0] != 0 {
            self.entries += 1;
            self.content = header.entry_size()?.next_multiple_of(BLOCK as u64);
        }
        self.header.clear();
        Ok(())
    }
}
