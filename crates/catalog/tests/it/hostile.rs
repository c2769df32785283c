//! Layers that are broken, or made to do harm (the attacks on image content).

use std::{
    cell::Cell,
    io::{self, Read, Write as _},
};

use portwarden_catalog::{
    CATALOG_VERSION, Compression, LayerCatalog, LayerError, Limits, PartialCode, catalog_layer,
};
use proptest::prelude::*;
use tar::{EntryType, Header};

use crate::blob::{Blob, Lying, catalog, codes, dpkg_status, gzip, image};

const STATUS: &str = "var/lib/dpkg/status";

fn one_package() -> Blob {
    Blob::new().file(STATUS, dpkg_status(&[("bash", "5.2")]))
}

fn names(layer: &LayerCatalog) -> Vec<String> {
    let image = image(std::slice::from_ref(layer));
    image.packages.into_iter().map(|package| package.name).collect()
}

fn limited(blob: &[u8], limits: &Limits) -> LayerCatalog {
    catalog_layer(blob, Compression::None, limits, &|| false).unwrap()
}

/// A reader that gives one byte at a time.
struct Dripping<'a>(&'a [u8]);

impl Read for Dripping<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(1);
        self.0.read(&mut into[..count])
    }
}

#[test]
fn every_compression_gives_the_same() {
    let tar = one_package().tar();
    let plain = catalog(&tar, Compression::None);
    assert_eq!(names(&plain), ["bash"]);
    assert_eq!(catalog(&gzip(&tar), Compression::Gzip), plain);
    let members = [gzip(&tar[..700]), gzip(&tar[700..])].concat();
    assert_eq!(catalog(&members, Compression::Gzip), plain);
    let zstd = zstd::encode_all(tar.as_slice(), 3).unwrap();
    assert_eq!(catalog(&zstd, Compression::Zstd), plain);
    let note = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2];
    let skippable = [&note, zstd.as_slice()].concat();
    assert_eq!(catalog(&skippable, Compression::Zstd), plain);
    // What can be fetched in parts: a member or a frame for each piece, and a list of them behind (eStargz, zstd:chunked).
    let index = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0];
    let index = [
        &index[..],
        b"0000000000000400STARGZ",
        &[1, 0, 0, 0xff, 0xff],
        &[0; 8],
    ]
    .concat();
    let members = tar.chunks(512).map(gzip).chain([index]);
    assert_eq!(
        catalog(&members.collect::<Vec<_>>().concat(), Compression::Gzip),
        plain
    );
    let frames = tar.chunks(512).map(|piece| zstd::encode_all(piece, 3).unwrap());
    let frames = frames
        .flat_map(|frame| [note.to_vec(), frame])
        .chain([note.to_vec()]);
    assert_eq!(
        catalog(&frames.collect::<Vec<_>>().concat(), Compression::Zstd),
        plain
    );
    // A type that lies about the compression is corrected, as container runtimes do.
    assert_eq!(catalog(&gzip(&tar), Compression::None), plain);
    assert_eq!(catalog(&tar, Compression::Gzip), plain);
    // How the blob is cut into pieces does not matter, not even for its first bytes.
    for blob in [&tar, &gzip(&tar), &zstd] {
        let layer = catalog_layer(Dripping(blob), Compression::None, &Limits::default(), &|| false).unwrap();
        assert_eq!(layer, plain);
    }
}

#[test]
fn empty_layers_are_complete() {
    for (blob, compression) in [
        (Vec::new(), Compression::None),
        (Vec::new(), Compression::Gzip),
        (Vec::new(), Compression::Zstd),
        (vec![0; 512], Compression::None),
        (vec![0; 1024], Compression::None),
        (gzip(&[]), Compression::Gzip),
        (gzip(&[0; 1024]), Compression::Gzip),
    ] {
        let layer = catalog(&blob, compression);
        assert_eq!((names(&layer), codes(&layer)), (vec![], vec![]), "{blob:?}");
    }
}

#[test]
fn what_follows_the_end_of_the_archive_is_ignored() {
    let mut tar = one_package().tar();
    tar.extend(b"garbage that no runtime unpacks");
    let layer = catalog(&tar, Compression::None);
    assert_eq!((names(&layer), codes(&layer)), (vec!["bash".into()], vec![]));
    let mut blob = gzip(&one_package().tar());
    blob.extend(b"garbage");
    let layer = catalog(&blob, Compression::Gzip);
    assert_eq!((names(&layer), codes(&layer)), (vec!["bash".into()], vec![]));
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_is_refused() {
    let tar = one_package().tar();
    let gzipped = gzip(&tar);
    let broken = [b"\x1f\x8b\x08\x00", [0xff; 100].as_slice()].concat();
    for kind in [
        io::ErrorKind::InvalidData,
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::TimedOut,
    ] {
        for blob in [&tar[..], &gzipped, &tar[..600], &gzipped[..20], &broken, &[]] {
            let lying = Lying(blob, kind);
            let refused = catalog_layer(lying, Compression::Gzip, &Limits::default(), &|| false);
            assert!(matches!(refused, Err(LayerError::Read(error)) if error.kind() == kind));
        }
    }
}

#[test]
fn every_blob_is_read_to_its_end() {
    struct Counted<'a>(&'a [u8], &'a Cell<bool>);
    impl Read for Counted<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(into)?;
            self.1.set(count == 0 && !into.is_empty());
            Ok(count)
        }
    }
    let mut blob = gzip(&one_package().tar());
    blob.extend(vec![7; 300_000]);
    let tight = Limits {
        entries: 0,
        ..Limits::default()
    };
    for (limits, is_time_up) in [
        (Limits::default(), false),
        (Limits::default(), true),
        (tight, false),
    ] {
        let was_at_end = Cell::new(false);
        catalog_layer(Counted(&blob, &was_at_end), Compression::Gzip, &limits, &|| {
            is_time_up
        })
        .unwrap();
        assert!(was_at_end.get());
    }
}

#[test]
fn broken_layers_are_partial_and_keep_what_was_read() {
    let tar = one_package().file("x", [1; 5000]).tar();
    let content = 512 + 512;
    for (blob, expected, code) in [
        (
            tar[..content + 512 + 700].to_vec(),
            vec!["bash"],
            "layer.truncated",
        ),
        (tar[..content + 100].to_vec(), vec!["bash"], "layer.truncated"),
        (tar[..550].to_vec(), vec![], "layer.truncated"),
        (
            [&tar[..content], &[b'x'; 512]].concat(),
            vec!["bash"],
            "layer.archive",
        ),
        (
            [&tar[..content], &[0; 512], &[b'x'; 512]].concat(),
            vec!["bash"],
            "layer.archive",
        ),
        (vec![b'x'; 5000], vec![], "layer.archive"),
    ] {
        let layer = catalog(&blob, Compression::None);
        assert_eq!(names(&layer), expected, "{code}");
        assert_eq!(codes(&layer), [code]);
        assert!(image(&[layer]).is_partial());
    }
    let incompressible: Vec<u8> = (0..400_000u32)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .collect();
    let gzipped = gzip(&one_package().file("x", incompressible).tar());
    let truncated = catalog(&gzipped[..gzipped.len() / 2], Compression::Gzip);
    assert_eq!(
        (names(&truncated), codes(&truncated)),
        (vec!["bash".into()], vec!["layer.truncated"])
    );
    assert_eq!(
        codes(&catalog(
            b"\x1f\x8b\x08\x00\0\0\0\0\0\xff\xff\xff\xff\xff",
            Compression::Gzip
        )),
        ["layer.compression"]
    );
    assert_eq!(
        codes(&catalog(b"nothing like gzip", Compression::Gzip)),
        ["layer.compression"]
    );
    assert_eq!(
        codes(&catalog(b"nothing like zstd", Compression::Zstd)),
        ["layer.compression"]
    );
}

#[test]
fn each_limit_has_its_name() {
    let blob = one_package().file("usr/bin/bash", vec![1; 300_000]).tar();
    let default = Limits::default();
    for (limits, code, expected) in [
        (
            Limits {
                unpacked_bytes: 200_000,
                ..default.clone()
            },
            "limit.unpacked",
            vec!["bash"],
        ),
        (
            Limits {
                entries: 1,
                ..default.clone()
            },
            "limit.entries",
            vec!["bash"],
        ),
        (
            Limits {
                kept_bytes: 10,
                ..default.clone()
            },
            "limit.kept",
            vec![],
        ),
        (
            Limits {
                path_bytes: 15,
                ..default.clone()
            },
            "limit.path",
            vec![],
        ),
        (
            Limits {
                path_depth: 3,
                ..default.clone()
            },
            "limit.path",
            vec![],
        ),
        (
            Limits {
                file_bytes: 10,
                ..default.clone()
            },
            "limit.file",
            vec![],
        ),
    ] {
        let layer = limited(&blob, &limits);
        assert_eq!(
            (codes(&layer), names(&layer)),
            (vec![code], expected.into_iter().map(String::from).collect())
        );
    }
    let asked = Cell::new(0);
    let is_time_up = || asked.replace(asked.get() + 1) == 2;
    let layer = catalog_layer(blob.as_slice(), Compression::None, &default, &is_time_up).unwrap();
    assert_eq!(
        (codes(&layer), names(&layer)),
        (vec!["limit.time"], vec!["bash".into()])
    );
}

#[test]
fn a_file_over_its_limit_still_hides_the_one_below() {
    let above = limited(
        &Blob::new().file(STATUS, dpkg_status(&[("bash", "5.3")])).tar(),
        &Limits {
            file_bytes: 10,
            ..Limits::default()
        },
    );
    let folded = image(&[one_package().catalog(), above]);
    assert_eq!(folded.packages, []);
    assert_eq!(folded.partial[0].partial.code, PartialCode::FileBytes);
    assert_eq!(
        (
            folded.partial[0].layer.index,
            folded.partial[0].partial.path.as_str()
        ),
        (1, STATUS)
    );
}

fn header(kind: u8, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::new(kind));
    header.set_size(size);
    header.set_cksum();
    header
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let length = (1..=rest.len() + 4).find(|length| *length == rest.len() + length.to_string().len());
        content.extend(format!("{}{rest}", length.unwrap_or_default()).into_bytes());
    }
    content
}

#[test]
fn extended_headers_name_files() {
    let status = dpkg_status(&[("bash", "5.2")]);
    let long = format!("{}/six-1.dist-info/METADATA", "d/".repeat(60));
    let records = pax(&[("mtime", "1.5"), ("path", &long)]);
    let with_pax = Blob::new()
        .raw(&header(b'x', records.len() as u64), &records)
        .file("made/up", "Name: six\nVersion: 1\n");
    assert_eq!(names(&with_pax.catalog()), ["six"]);
    let with_gnu = Blob::new()
        .raw(
            &header(b'L', long.len() as u64 + 1),
            format!("{long}\0").as_bytes(),
        )
        .file("made/up", "Name: six\nVersion: 1\n");
    assert_eq!(names(&with_gnu.catalog()), ["six"]);
    // A name holds for one entry, and a global header for none.
    let global = pax(&[("path", "x")]);
    let then_plain = Blob::new()
        .raw(&header(b'x', records.len() as u64), &records)
        .file("made/up", "Name: six\nVersion: 1\n")
        .raw(&header(b'g', global.len() as u64), &global)
        .file(STATUS, status);
    assert_eq!(names(&then_plain.catalog()), ["bash", "six"]);
}

#[test]
fn hostile_extended_headers_are_refused() {
    let huge = vec![b'x'; (1 << 20) + 1];
    for kind in [b'x', b'L', b'K'] {
        let blob = one_package()
            .raw(&header(kind, huge.len() as u64), &huge)
            .file("a", "");
        let layer = blob.catalog();
        assert_eq!(
            (codes(&layer), names(&layer)),
            (vec!["limit.header"], vec!["bash".into()])
        );
    }
    for records in [
        "",
        "9",
        "x",
        "99 path=a\n",
        "0 a=b\n",
        "4 a=\n\n",
        "8 size=-1\n",
        "12 size=1e9\n\n",
    ] {
        let blob = one_package()
            .raw(&header(b'x', records.len() as u64), records.as_bytes())
            .file("a", "");
        let codes = codes(&blob.catalog());
        assert_eq!(codes.is_empty(), records.is_empty(), "{records:?}");
        assert!(codes.iter().all(|code| *code == "layer.archive"), "{records:?}");
    }
    // A claim of 8 EiB of content is believed only as far as there is content.
    let records = pax(&[("size", "9223372036854775807")]);
    let blob = Blob::new()
        .raw(&header(b'x', records.len() as u64), &records)
        .file("a", "");
    assert_eq!(codes(&blob.catalog()), ["layer.truncated"]);
}

#[test]
fn sparse_package_files_are_noted_and_the_next_entry_is_found() {
    let mut sparse = Header::new_gnu();
    sparse.as_old_mut().name[..STATUS.len()].copy_from_slice(STATUS.as_bytes());
    sparse.set_entry_type(EntryType::GNUSparse);
    sparse.set_size(512);
    sparse.as_gnu_mut().unwrap().set_is_extended(true);
    sparse.set_cksum();
    let mut tar = sparse.as_bytes().to_vec();
    tar.extend([0; 512]); // one more block of the map, the last
    tar.extend([b'x'; 512]);
    tar.extend(
        Blob::new()
            .file("a/six-1.dist-info/METADATA", "Name: six\nVersion: 1\n")
            .tar(),
    );
    let layer = catalog(&tar, Compression::None);
    assert_eq!(
        (codes(&layer), names(&layer)),
        (vec!["file.sparse"], vec!["six".into()])
    );

    let records = pax(&[
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.name", STATUS),
        ("path", "GNUSparseFile.0/status"),
    ]);
    let blob = Blob::new()
        .raw(&header(b'x', records.len() as u64), &records)
        .file("GNUSparseFile.0/status", "4\n");
    assert_eq!(codes(&blob.catalog()), ["file.sparse"]);
}

#[test]
fn hard_links_are_followed_to_what_was_kept() {
    let cached = "root/.cache/uv/archive-v0/x/six-1.dist-info/METADATA";
    let installed = "opt/venv/lib/python3.12/site-packages/six-1.dist-info/METADATA";
    let blob = Blob::new()
        .file(cached, "Name: six\nVersion: 1\n")
        .link(EntryType::Link, installed, cached);
    let folded = image(&[blob.catalog()]);
    let files: Vec<_> = folded
        .packages
        .iter()
        .map(|package| package.file.as_str())
        .collect();
    assert_eq!(files, [installed, cached]);

    let blob =
        Blob::new()
            .file("store/ab", "{}")
            .link(EntryType::Link, "node_modules/a/package.json", "store/ab");
    assert_eq!(codes(&blob.catalog()), ["file.link"]);
    let blob = Blob::new().link(EntryType::Symlink, STATUS, "../../../../etc/shadow");
    let layer = blob.catalog();
    assert_eq!((codes(&layer), names(&layer)), (vec![], vec![]));
}

#[test]
fn no_path_escapes_and_every_spelling_is_the_same_file() {
    let status = dpkg_status(&[("bash", "5.2")]);
    for path in [
        "./var/lib/dpkg/status",
        "/var/lib/dpkg/status",
        "//var//lib/./dpkg/status",
        "../../var/lib/dpkg/status",
        "usr/../var/lib/dpkg/status",
    ] {
        let folded = image(&[Blob::new()
            .entry(EntryType::Regular, path, status.as_bytes())
            .catalog()]);
        assert_eq!(folded.packages[0].file, STATUS, "{path}");
    }
    let hidden = [".wh.", ".wh...", ".wh....", "a/.wh..wh.plnk", ".wh..wh.aufs"];
    for path in hidden {
        let above = Blob::new().entry(EntryType::Regular, path, &[]).catalog();
        assert_eq!(
            image(&[one_package().catalog(), above]).packages.len(),
            1,
            "{path}"
        );
    }
}

#[test]
fn devices_and_directories_have_no_content_whatever_they_say() {
    for kind in [
        EntryType::Directory,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::Symlink,
    ] {
        let mut lying = Header::new_gnu();
        lying.as_old_mut().name[0] = b'a';
        lying.set_entry_type(kind);
        lying.set_size(1 << 40);
        lying.set_cksum();
        let layer = Blob::new()
            .raw(&lying, &[])
            .file(STATUS, dpkg_status(&[("bash", "5.2")]))
            .catalog();
        assert_eq!(
            (codes(&layer), names(&layer)),
            (vec![], vec!["bash".into()]),
            "{kind:?}"
        );
    }
}

#[test]
fn a_bomb_stops_at_its_limit() {
    let bomb = gzip(&Blob::new().file("zeroes", vec![0; 64 << 20]).tar());
    assert!(bomb.len() < 1 << 20);
    let limits = Limits {
        unpacked_bytes: 1 << 20,
        ..Limits::default()
    };
    let layer = catalog_layer(bomb.as_slice(), Compression::Gzip, &limits, &|| false).unwrap();
    assert_eq!(codes(&layer), ["limit.unpacked"]);
}

/// Compresses with a window of this size.
fn frame(content: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_file_must_fit_beside_the_window_of_its_layer() {
    let mut status = dpkg_status(&[("bash", "5.2")]);
    status.push_str(&"\n".repeat(25 << 20));
    let tar = Blob::new().file(STATUS, status).tar();
    for (window_log, expected) in [(23, (vec!["bash"], vec![])), (24, (vec![], vec!["limit.file"]))] {
        let layer = catalog(&frame(&tar, window_log), Compression::Zstd);
        let names = names(&layer);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!((names, codes(&layer)), expected, "{window_log}");
    }
}

#[test]
fn windows_have_a_limit_that_further_frames_keep_to() {
    let tar = one_package().tar();
    let read = |blob: &[u8]| {
        let layer = catalog(blob, Compression::Zstd);
        (names(&layer), codes(&layer))
    };
    let whole = (names(&one_package().catalog()), vec![]);
    let refused = (vec![], vec!["layer.compression"]);
    for window_log in [10, 23, 24, 25] {
        assert_eq!(read(&frame(&tar, window_log)), whole, "{window_log}");
    }
    assert_eq!(read(&frame(&tar, 26)), refused);
    // A frame that looks small must not be a way around taking turns.
    let (start, end) = tar.split_at(700);
    for (first, second, codes) in [(23, 23, &whole.1), (24, 25, &whole.1), (23, 24, &refused.1)] {
        let blob = [frame(start, first), frame(end, second)].concat();
        assert_eq!(&read(&blob).1, codes, "{first} and {second}");
    }
}

#[test]
fn layers_with_large_content_take_turns_and_none_is_lost() {
    let large = |name: &str| {
        let padding = "x".repeat(20 << 20);
        let status =
            format!("Package: {name}\nStatus: install ok installed\nVersion: 1\nDescription: {padding}\n");
        Blob::new().file("var/lib/dpkg/status", status).tar()
    };
    // One of the files fits at a time.
    let limits = Limits {
        large_bytes: 30 << 20,
        ..Limits::default()
    };
    let read: Vec<_> = std::thread::scope(|scope| {
        let layers = ["a", "b", "c", "d"].map(|name| {
            let limits = limits.clone();
            scope.spawn(move || {
                let tar = large(name);
                catalog_layer(tar.as_slice(), Compression::None, &limits, &|| false).unwrap()
            })
        });
        layers.map(|layer| layer.join().unwrap()).into_iter().collect()
    });
    for (name, layer) in ["a", "b", "c", "d"].into_iter().zip(&read) {
        assert_eq!((names(layer), codes(layer)), (vec![name.to_owned()], vec![]));
    }
}

/// Reads as if there were so many bytes; what they are does not matter, so none is written.
struct Unwritten(u64);

impl Read for Unwritten {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = u64::try_from(into.len()).unwrap().min(self.0);
        self.0 -= count;
        Ok(usize::try_from(count).unwrap())
    }
}

/// The largest layer that Amazon ECR takes.
#[test]
fn a_layer_of_52_000_mib_is_streamed() {
    const SIZE: u64 = 52_000 << 20;
    let mut huge = Header::new_gnu();
    huge.set_path("huge").unwrap();
    huge.set_size(SIZE);
    huge.set_cksum();
    let behind = one_package().tar();
    let blob = || huge.as_bytes().chain(Unwritten(SIZE)).chain(behind.as_slice());
    let layer = catalog_layer(blob(), Compression::None, &Limits::default(), &|| false).unwrap();
    assert_eq!(
        (names(&layer), codes(&layer)),
        (names(&one_package().catalog()), vec![])
    );
    let limits = Limits {
        unpacked_bytes: 40 << 30,
        ..Limits::default()
    };
    let layer = catalog_layer(blob(), Compression::None, &limits, &|| false).unwrap();
    assert_eq!(codes(&layer), ["limit.unpacked"]);
}

#[test]
fn a_million_notes_take_one_line() {
    let mut blob = Blob::new();
    for index in 0..2_000 {
        blob = blob.file(&format!("node_modules/p{index}/package.json"), "{");
    }
    let layer = blob.catalog();
    assert_eq!(layer.partial().len(), 1);
    assert_eq!(
        (layer.partial()[0].count, layer.partial()[0].path.as_str()),
        (2_000, "node_modules/p0/package.json")
    );
}

#[test]
fn stored_catalogues_come_back_and_old_ones_do_not() {
    let layer = one_package()
        .file("a/.wh.b", "")
        .file("a/.wh..wh..opq", "")
        .file("x", "")
        .catalog();
    let mut json = serde_json::to_value(&layer).unwrap();
    assert_eq!(
        serde_json::from_value::<LayerCatalog>(json.clone()).unwrap(),
        layer
    );
    json["version"] = 0.into();
    let error = serde_json::from_value::<LayerCatalog>(json)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("the layer's catalogue has version 0, not {CATALOG_VERSION}")
    );
}

proptest! {
    #[test]
    fn any_blob_is_catalogued(blob: Vec<u8>, zstd: bool) {
        let compression = if zstd { Compression::Zstd } else { Compression::Gzip };
        catalog(&blob, compression);
        catalog(&blob, Compression::None);
    }

    #[test]
    fn any_mutated_blob_is_catalogued(at in 0usize..4096, byte: u8, fix_checksum: bool, compress in 0..3) {
        let mut tar = one_package().directory("a").link(EntryType::Link, "b", "c").tar();
        let at = at % tar.len();
        tar[at] = byte;
        if fix_checksum && at < 512 {
            let mut header = Header::from_byte_slice(&tar[..512]).clone();
            header.set_cksum();
            tar[..512].copy_from_slice(header.as_bytes());
        }
        match compress {
            0 => catalog(&tar, Compression::None),
            1 => {
                let mut blob = gzip(&tar);
                let at = at % blob.len();
                blob[at] = byte;
                catalog(&blob, Compression::Gzip)
            }
            _ => {
                let mut blob = zstd::encode_all(tar.as_slice(), 1).unwrap();
                let at = at % blob.len();
                blob[at] = byte;
                catalog(&blob, Compression::Zstd)
            }
        };
    }
}
