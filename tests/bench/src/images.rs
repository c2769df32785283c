//! The images that are scanned: made once, and kept as OCI layouts.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::GzEncoder};
use portwarden_oci::{DigestHasher, MediaType};
use portwarden_testkit::{
    image::{Blob, Image, ImageBuilder, Layer, write_oci_layout},
    sample,
};
use tar::{Builder, Header};

use crate::{Bench, Failure};

/// An image to be scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TestImage {
    /// The test kit's sample.
    Sample,
    /// A minimal Debian in one layer, of about 60 MB.
    Debian,
    /// A Debian with many tools and languages, in ten layers.
    TenLayers,
    /// One file of 3 GB.
    OneFile,
    /// A million empty files.
    ManyFiles,
    /// 5,000 layers of one package each.
    ManyLayers,
    /// Eight layers with a package database of 31 MB each.
    LargeFiles,
    /// Eight layers whose decoders need 32 MiB each.
    LargeWindows,
}

/// The tag of every image here.
pub(crate) const TAG: &str = "bench";

/// What minimal means: what every Debian has.
pub(crate) const MINIMAL: &str = "";

/// What brings many files of many kinds along.
const LARGE: &str = "build-essential,clang,cmake,git,golang-go,libboost-dev,maven,nodejs,npm,openjdk-17-jdk-headless,php-cli,postgresql,python3-dev,python3-numpy,python3-pip,ruby-full,vim";

const FILE_BYTES: u64 = 3_000_000_000;
const FILES: u32 = 1_000_000;
const LAYERS: u32 = 5_000;
const LARGE_LAYERS: u32 = 8;
const DATABASE_BYTES: usize = 31_000_000;
const WINDOW_LOG: u32 = 25;

impl TestImage {
    pub(crate) const ALL: [Self; 8] = [
        Self::Sample,
        Self::Debian,
        Self::TenLayers,
        Self::OneFile,
        Self::ManyFiles,
        Self::ManyLayers,
        Self::LargeFiles,
        Self::LargeWindows,
    ];

    /// The name in tables, of the repository, and of the layout's folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Debian => "debian",
            Self::TenLayers => "debian-ten-layers",
            Self::OneFile => "one-file-of-3-gb",
            Self::ManyFiles => "a-million-empty-files",
            Self::ManyLayers => "5000-layers",
            Self::LargeFiles => "large-files",
            Self::LargeWindows => "large-windows",
        }
    }

    /// Whether it is of a kind that nobody builds but to do harm: other scanners take minutes for each.
    pub(crate) fn is_hostile(self) -> bool {
        !matches!(self, Self::Sample | Self::Debian | Self::TenLayers)
    }

    /// Returns the image's layout; nothing if a tool to make it is missing.
    pub(crate) fn layout(self, bench: &Bench) -> Result<Option<PathBuf>, Failure> {
        let folder = bench.state.join("images");
        let layout = folder.join(self.name());
        if !layout.is_dir() {
            eprintln!("bench: making the image {}, once", self.name());
            fs::create_dir_all(&folder)?;
            let Some(image) = self.build(&folder)? else {
                return Ok(None);
            };
            write(&layout, &image)?;
        }
        Ok(Some(layout))
    }

    fn build(self, folder: &Path) -> Result<Option<Image>, Failure> {
        let layers = match self {
            Self::Sample => return Ok(Some(sample::image().image)),
            Self::Debian => match debian(folder, MINIMAL)? {
                Some(archive) => split(&archive, 1)?,
                None => return Ok(None),
            },
            Self::TenLayers => match debian(folder, LARGE)? {
                Some(archive) => split(&archive, 10)?,
                None => return Ok(None),
            },
            Self::OneFile => {
                let mut layer = LayerWriter::new();
                // A program, so that it is looked through.
                let start: &[u8] = b"\x7fELF\x02\x01\x01";
                let content = start.chain(io::repeat(0)).take(FILE_BYTES);
                layer.file("usr/bin/program", FILE_BYTES, content)?;
                vec![layer.finish()?]
            }
            Self::ManyFiles => {
                let mut layer = LayerWriter::new();
                for number in 0..FILES {
                    let path = format!("srv/{}/{}/empty-{number}", number / 10_000, number / 100 % 100);
                    layer.file(&path, 0, io::empty())?;
                }
                vec![layer.finish()?]
            }
            Self::ManyLayers => (0..LAYERS)
                .map(|number| {
                    let package = format!(r#"{{"name":"package-{number}","version":"1.0.{number}"}}"#);
                    let path = format!("app/node_modules/package-{number}/package.json");
                    let mut layer = LayerWriter::new();
                    layer.file(&path, package.len() as u64, package.as_bytes())?;
                    layer.finish()
                })
                .collect::<Result<_, _>>()?,
            Self::LargeFiles => (0..LARGE_LAYERS)
                .map(|number| {
                    let package = format!("Package: package-{number}\nVersion: 1\nDescription: ");
                    let content = package.as_bytes().chain(io::repeat(b'x'));
                    let mut layer = LayerWriter::new();
                    let size = DATABASE_BYTES as u64;
                    layer.file("var/lib/dpkg/status", size, content.take(size))?;
                    layer.finish()
                })
                .collect::<Result<_, _>>()?,
            Self::LargeWindows => (0..LARGE_LAYERS).map(large_window).collect::<Result<_, _>>()?,
        };
        Ok(Some(image(layers)))
    }
}

/// Makes a layer of Zstandard that fills a large window with what cannot be compressed.
fn large_window(seed: u32) -> io::Result<Layer> {
    let mut state = u64::from(seed) + 1;
    let noise = (0..DATABASE_BYTES / 8 * 2).flat_map(|_| {
        // Xorshift, by George Marsaglia.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = noise.collect();
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(noise.len() as u64);
    let mut tar = Builder::new(Vec::new());
    tar.append_data(&mut header, "noise", noise.as_slice())?;
    let tar = tar.into_inner()?;
    let mut hasher = DigestHasher::default();
    hasher.update(&tar);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.write_all(&tar)?;
    Ok(Layer {
        blob: Blob::new(MediaType::LayerZstd, encoder.finish()?),
        diff_id: hasher.finish(),
    })
}

/// Makes an image of layers.
pub(crate) fn image(layers: Vec<Layer>) -> Image {
    layers
        .into_iter()
        .fold(ImageBuilder::new(), |image, layer| image.layer("COPY . /", layer))
        .build()
}

/// Writes an image as a layout, whole or not at all.
pub(crate) fn write(layout: &Path, image: &Image) -> Result<(), Failure> {
    let unfinished = layout.with_extension("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    write_oci_layout(&unfinished, &TAG.parse()?, image)?;
    Ok(fs::rename(unfinished, layout)?)
}

/// Makes the archive of a Debian's root file system; nothing without mmdebstrap.
pub(crate) fn debian(folder: &Path, packages: &str) -> Result<Option<PathBuf>, Failure> {
    let name = if packages.is_empty() { "minimal" } else { "large" };
    let archive = folder.join(format!("{name}.tar"));
    if archive.is_file() {
        return Ok(Some(archive));
    }
    let made = folder.join("made.tar");
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase"]);
    // A mirror that lags behind serves the purpose, too.
    command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    if !packages.is_empty() {
        command.arg(format!("--include={packages}"));
    }
    match command.arg("bookworm").arg(&made).status() {
        Ok(status) if status.success() => {
            fs::rename(made, &archive)?;
            Ok(Some(archive))
        }
        Ok(status) => Err(format!("mmdebstrap failed: {status}").into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Puts the entries of an archive into layers of about the same size, in order.
pub(crate) fn split(archive: &Path, layers: u64) -> io::Result<Vec<Layer>> {
    let each = fs::metadata(archive)?.len() / layers;
    let mut archive = tar::Archive::new(BufReader::new(File::open(archive)?));
    let mut done = Vec::new();
    let mut layer = LayerWriter::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.raw_header_position() >= each * (done.len() as u64 + 1) {
            done.push(std::mem::replace(&mut layer, LayerWriter::new()).finish()?);
        }
        let mut header = entry.header().clone();
        let path = entry.path()?.into_owned();
        match entry.link_name()?.map(Cow::into_owned) {
            Some(target) => layer.tar.append_link(&mut header, path, target)?,
            None => layer.tar.append_data(&mut header, path, &mut entry)?,
        }
    }
    done.push(layer.finish()?);
    Ok(done)
}

/// Writes a layer as container builders do: gzip, at its usual level.
pub(crate) struct LayerWriter {
    tar: Builder<Hashed>,
}

/// Compresses what is written, and hashes it before.
struct Hashed {
    gzip: GzEncoder<Vec<u8>>,
    hasher: DigestHasher,
}

impl LayerWriter {
    pub(crate) fn new() -> Self {
        Self {
            tar: Builder::new(Hashed {
                gzip: GzEncoder::new(Vec::new(), Compression::default()),
                hasher: DigestHasher::default(),
            }),
        }
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(size);
        self.tar.append_data(&mut header, path, content)
    }

    pub(crate) fn finish(self) -> io::Result<Layer> {
        let Hashed { gzip, hasher } = self.tar.into_inner()?;
        Ok(Layer {
            blob: Blob::new(MediaType::LayerGzip, gzip.finish()?),
            diff_id: hasher.finish(),
        })
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.gzip.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}
