//! Layers on top of each other.

use std::collections::{BTreeMap, BTreeSet};

use portwarden_catalog::{ImageCatalog, LayerCatalog};
use proptest::prelude::*;
use tar::EntryType;

use crate::blob::{Blob, digest_of, dpkg_status, image};

const STATUS: &str = "var/lib/dpkg/status";

fn status(packages: &[(&str, &str)]) -> LayerCatalog {
    Blob::new().file(STATUS, dpkg_status(packages)).catalog()
}

/// Names, versions and the layers that brought them.
fn found(image: &ImageCatalog) -> Vec<(&str, &str, usize)> {
    image
        .packages
        .iter()
        .map(|package| {
            assert_eq!(package.layer.digest, digest_of(package.layer.index));
            (
                package.name.as_str(),
                package.version.as_deref().unwrap_or("?"),
                package.layer.index,
            )
        })
        .collect()
}

#[test]
fn a_rewritten_database_credits_the_layer_that_brought_each_package() {
    let folded = image(&[
        status(&[("bash", "5.2"), ("curl", "8.0"), ("gone", "1")]),
        Blob::new().file("srv/x", "x").catalog(),
        status(&[("bash", "5.2"), ("curl", "8.1"), ("vim", "9")]),
        status(&[("vim", "9"), ("bash", "5.2"), ("curl", "8.1")]),
    ]);
    assert_eq!(
        found(&folded),
        [("bash", "5.2", 0), ("curl", "8.1", 2), ("vim", "9", 2)]
    );
}

#[test]
fn a_package_that_went_and_came_back_is_credited_to_its_return() {
    let folded = image(&[
        status(&[("bash", "5.2"), ("curl", "8.0")]),
        status(&[("bash", "5.2")]),
        status(&[("bash", "5.2"), ("curl", "8.0")]),
    ]);
    assert_eq!(found(&folded), [("bash", "5.2", 0), ("curl", "8.0", 2)]);
}

fn six() -> LayerCatalog {
    Blob::new()
        .file("app/lib/six-1.dist-info/METADATA", "Name: six\nVersion: 1\n")
        .catalog()
}

#[test]
fn lower_layers_are_hidden_by_each_means() {
    for (what, above) in [
        (
            "whiteout of the file",
            Blob::new().file("app/lib/six-1.dist-info/.wh.METADATA", ""),
        ),
        ("whiteout of a directory", Blob::new().file(".wh.app", "")),
        (
            "whiteout with a content and dots",
            Blob::new().entry(EntryType::Regular, "./app/./.wh.lib", b"x"),
        ),
        ("opaque directory", Blob::new().file("app/.wh..wh..opq", "")),
        ("opaque root", Blob::new().file(".wh..wh..opq", "")),
        (
            "directory in the file's place",
            Blob::new().directory("app/lib/six-1.dist-info/METADATA"),
        ),
        ("file in a directory's place", Blob::new().file("app", "x")),
        (
            "link in a directory's place",
            Blob::new().link(EntryType::Symlink, "app/lib", "/usr/lib"),
        ),
        (
            "link in the file's place",
            Blob::new().link(EntryType::Symlink, "app/lib/six-1.dist-info/METADATA", "x"),
        ),
        (
            "broken file in the file's place",
            Blob::new()
                .file("app/lib/six-1.dist-info/METADATA", "")
                .file("x", ""),
        ),
    ] {
        let folded = image(&[six(), above.catalog()]);
        if what.starts_with("broken") {
            // The folder's name says enough.
            assert_eq!(found(&folded), [("six", "1", 0)], "{what}");
        } else {
            assert_eq!(found(&folded), [], "{what}");
        }
    }
}

#[test]
fn neighbours_are_not_hidden() {
    for above in [
        Blob::new().file("app/.wh.li", ""),
        Blob::new().file("ap", "x"),
        Blob::new().file("app/lib0", "x"),
        Blob::new().directory("app/lib/"),
        Blob::new().file("app/lib/six-1.dist-info/RECORD", "x"),
        Blob::new().file("app/lib/six-1.dist-info/METADATA/.wh..wh..opq", ""),
    ] {
        assert_eq!(found(&image(&[six(), above.catalog()])), [("six", "1", 0)]);
    }
}

#[test]
fn whiteouts_act_on_lower_layers_only_whatever_their_order() {
    let metadata = ("app/lib/a-1.dist-info/METADATA", "Name: a\nVersion: 1\n");
    let before = Blob::new()
        .file("app/.wh..wh..opq", "")
        .file("app/.wh.lib", "")
        .file(metadata.0, metadata.1);
    let after = Blob::new()
        .file(metadata.0, metadata.1)
        .file("app/.wh.lib", "")
        .file("app/.wh..wh..opq", "");
    for above in [before, after] {
        assert_eq!(found(&image(&[six(), above.catalog()])), [("a", "1", 1)]);
    }
}

#[test]
fn a_recreated_directory_still_credits_the_layer_that_brought_its_packages() {
    let above = Blob::new()
        .file("app/.wh..wh..opq", "")
        .file("app/lib/six-1.dist-info/METADATA", "Name: six\nVersion: 1\n");
    assert_eq!(found(&image(&[six(), above.catalog()])), [("six", "1", 0)]);
}

#[test]
fn distroless_parts_count_and_their_checksums_show_what_they_own() {
    let metadata = "usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO";
    let folded = image(&[Blob::new()
        .file("usr/lib/os-release", "ID=debian\nVERSION_ID=12\n")
        .link(EntryType::Symlink, "etc/os-release", "../usr/lib/os-release")
        .file(
            "var/lib/dpkg/status.d/python3-six",
            "Package: python3-six\nSource: six\nVersion: 1.16.0-4\nArchitecture: all\n",
        )
        .file(
            "var/lib/dpkg/status.d/python3-six.md5sums",
            format!("d41d8cd98f00b204e9800998ecf8427e  {metadata}\n"),
        )
        .file(metadata, "Name: six\nVersion: 1.16.0\nLicense: MIT\n")
        .catalog()]);
    let owner = "pkg:deb/debian/python3-six@1.16.0-4?arch=all&distro=debian-12&upstream=six";
    let purls: Vec<_> = folded
        .packages
        .iter()
        .map(|package| (package.purl.as_str(), package.owned_by.as_deref()))
        .collect();
    assert_eq!(purls, [(owner, None), ("pkg:pypi/six@1.16.0", Some(owner))]);
    assert_eq!(folded.packages[1].licenses, ["MIT"]);
}

#[test]
fn an_owner_must_be_installed_and_of_the_right_architecture() {
    let base = |architecture: &str, list: &str| {
        Blob::new()
            // Its own files are listed by the name of a link.
            .link(EntryType::Symlink, "lib", "usr/lib")
            .file(
                STATUS,
                format!(
                    "Package: s\nStatus: install ok installed\nArchitecture: {architecture}\nVersion: 1\n"
                ),
            )
            .file(
                &format!("var/lib/dpkg/info/{list}.list"),
                "/.\n/lib/python3/dist-packages/s-1.egg-info\n",
            )
            .file(
                "usr/lib/python3/dist-packages/s-1.egg-info",
                "Name: s\nVersion: 1\n",
            )
            .catalog()
    };
    let owner = |layers: &[LayerCatalog]| {
        image(layers)
            .packages
            .into_iter()
            .find_map(|package| package.owned_by)
    };
    assert_eq!(
        owner(&[base("amd64", "s")]).as_deref(),
        Some("pkg:deb/s@1?arch=amd64")
    );
    assert_eq!(
        owner(&[base("amd64", "s:amd64")]).as_deref(),
        Some("pkg:deb/s@1?arch=amd64")
    );
    assert_eq!(owner(&[base("amd64", "s:i386")]), None);
    assert_eq!(owner(&[base("amd64", "s"), status(&[])]), None);
    let emptied = Blob::new().file("var/lib/dpkg/info/s.list", "/.\n").catalog();
    assert_eq!(owner(&[base("amd64", "s"), emptied]), None);
}

#[test]
fn apk_says_in_its_database_what_it_owns() {
    let folded = image(&[Blob::new()
        .file("etc/os-release", "ID=alpine\nVERSION_ID=3.18.4\n")
        .file(
            "lib/apk/db/installed",
            "P:npm\nV:9.6.6-r0\nA:x86_64\nL:Artistic-2.0\nF:usr/lib/node_modules/npm\nR:package.json\n\n",
        )
        .file(
            "usr/lib/node_modules/npm/package.json",
            r#"{"name":"npm","version":"9.6.6"}"#,
        )
        .catalog()]);
    let owner = "pkg:apk/alpine/npm@9.6.6-r0?arch=x86_64&distro=alpine-3.18.4";
    assert_eq!(folded.packages[0].purl, owner);
    assert_eq!(folded.packages[1].owned_by.as_deref(), Some(owner));
    assert_eq!(folded.os.unwrap().distro(), "alpine-3.18.4");
}

#[test]
fn a_database_is_found_through_links() {
    let bash = dpkg_status(&[("bash", "5.2")]);
    let link = |path: &str, target: &str| Blob::new().link(EntryType::Symlink, path, target);
    for (what, layers, expected) in [
        (
            "link of the folder",
            vec![link("var/lib/dpkg", "/srv/dpkg").file("srv/dpkg/status", &bash)],
            1,
        ),
        (
            "relative link",
            vec![link("var/lib/dpkg", "../../srv/dpkg").file("srv/dpkg/status", &bash)],
            1,
        ),
        (
            "link above the folder",
            vec![link("var", "data/var").file("data/var/lib/dpkg/status", &bash)],
            1,
        ),
        (
            "link of the file",
            vec![link(STATUS, "/srv/dpkg/status").file("srv/dpkg/status", &bash)],
            1,
        ),
        (
            "link to a link",
            vec![
                link("var/lib", "/a")
                    .link(EntryType::Symlink, "a", "b")
                    .file("b/dpkg/status", &bash),
            ],
            1,
        ),
        (
            "link before the database",
            vec![
                link("var/lib/dpkg", "/srv/dpkg"),
                Blob::new().file("srv/dpkg/status", &bash),
            ],
            1,
        ),
        (
            "database before the link",
            vec![
                Blob::new().file("srv/dpkg/status", &bash),
                link("var/lib/dpkg", "/srv/dpkg"),
            ],
            1,
        ),
        (
            "no link at all",
            vec![Blob::new().file("srv/dpkg/status", &bash)],
            0,
        ),
        (
            "link that is gone",
            vec![
                link("var/lib/dpkg", "/srv/dpkg").file("srv/dpkg/status", &bash),
                Blob::new().file("var/lib/.wh.dpkg", ""),
            ],
            0,
        ),
        (
            "circle",
            vec![link("var/lib/dpkg", "dpkg").file("srv/dpkg/status", &bash)],
            0,
        ),
        (
            "hard link",
            vec![
                Blob::new()
                    .file("srv/dpkg/status", &bash)
                    .link(EntryType::Link, STATUS, "srv/dpkg/status"),
            ],
            1,
        ),
    ] {
        let layers: Vec<LayerCatalog> = layers.into_iter().map(Blob::catalog).collect();
        let folded = image(&layers);
        assert_eq!(folded.packages.len(), expected, "{what}");
        assert_eq!(folded.partial, [], "{what}");
    }
}

#[test]
fn a_database_that_is_a_link_to_something_else_is_missed_with_notice() {
    let above = Blob::new().link(EntryType::Symlink, STATUS, "/srv/packages");
    let folded = image(&[
        status(&[]),
        above
            .file("srv/packages", dpkg_status(&[("bash", "5.2")]))
            .catalog(),
    ]);
    assert_eq!(found(&folded), []);
    let [partial] = &folded.partial[..] else {
        panic!("{:?}", folded.partial)
    };
    assert_eq!(
        (
            partial.layer.index,
            partial.partial.code.as_str(),
            partial.partial.path.as_str()
        ),
        (1, "file.link", STATUS)
    );
}

#[test]
fn licences_of_a_debian_package_stand_in_its_documents_or_in_anothers() {
    let folded = image(&[
        status(&[("libgcc-s1", "12"), ("gcc-12-base", "12"), ("bare", "1")]),
        Blob::new()
            .file(
                "usr/share/doc/gcc-12-base/copyright",
                "see /usr/share/common-licenses/GPL-3\n",
            )
            .link(EntryType::Symlink, "usr/share/doc/libgcc-s1", "gcc-12-base")
            .catalog(),
    ]);
    let licenses: Vec<_> = folded
        .packages
        .iter()
        .map(|package| (package.name.as_str(), package.licenses.join(", ")))
        .collect();
    assert_eq!(
        licenses,
        [
            ("bare", String::new()),
            ("gcc-12-base", "GPL-3".into()),
            ("libgcc-s1", "GPL-3".into())
        ]
    );
}

/// What one path of a layer is.
#[derive(Debug, Clone, Copy)]
enum Node {
    File,
    Directory,
    Symlink,
    Whiteout,
    Opaque,
}

/// The paths of the model: folders that are or lead to packages, and files that are not.
const PATHS: [&str; 12] = [
    "a",
    "a/p.egg-info",
    "a/p.egg-info/PKG-INFO",
    "a/p.egg-info/x.egg-info",
    "a/node_modules",
    "a/node_modules/m",
    "a/node_modules/m/package.json",
    "a/node_modules/m/node_modules",
    "a/node_modules/m/node_modules/n/package.json",
    "ab",
    "ab/q.egg-info",
    "ab/q.egg-info/PKG-INFO",
];

type Layer = BTreeMap<&'static str, Node>;

/// A layer as builders write one: every entry once, and nothing below what is not a directory.
fn layer() -> impl Strategy<Value = Layer> {
    let node = prop_oneof![
        4 => Just(Node::File),
        3 => Just(Node::Directory),
        1 => Just(Node::Symlink),
        2 => Just(Node::Whiteout),
        1 => Just(Node::Opaque),
    ];
    prop::collection::btree_map(prop::sample::select(&PATHS[..]), node, 0..7).prop_map(|mut layer| {
        let leaves: Vec<&str> = layer
            .iter()
            .filter(|(_, node)| matches!(node, Node::File | Node::Symlink))
            .map(|(&path, _)| path)
            .collect();
        layer.retain(|path, _| !leaves.iter().any(|leaf| is_below(path, leaf)));
        layer
    })
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(slash, _)| &path[..slash])
}

/// A file's content, which says which layer wrote it.
fn content(path: &str, index: usize) -> String {
    if path.ends_with("package.json") {
        format!(r#"{{"name":"m","version":"{index}"}}"#)
    } else {
        format!("Name: p\nVersion: {index}\n")
    }
}

fn blob(layer: &Layer, index: usize, reversed: bool) -> LayerCatalog {
    let mut folders = BTreeSet::new();
    let mut entries: Vec<(EntryType, String, String)> = Vec::new();
    for (&path, node) in layer {
        folders.extend(parents(path).map(str::to_owned));
        let (folder, name) = path
            .rsplit_once('/')
            .map_or((String::new(), path), |(folder, name)| {
                (format!("{folder}/"), name)
            });
        match node {
            Node::File => entries.push((EntryType::Regular, path.to_owned(), content(path, index))),
            Node::Symlink => entries.push((EntryType::Symlink, path.to_owned(), String::new())),
            Node::Directory => drop(folders.insert(path.to_owned())),
            Node::Whiteout => {
                entries.push((EntryType::Regular, format!("{folder}.wh.{name}"), String::new()));
            }
            Node::Opaque => {
                folders.insert(path.to_owned());
                entries.push((EntryType::Regular, format!("{path}/.wh..wh..opq"), String::new()));
            }
        }
    }
    if reversed {
        entries.reverse();
    }
    let blob = folders
        .iter()
        .fold(Blob::new(), |blob, folder| blob.directory(&format!("{folder}/")));
    let blob = entries.iter().fold(blob, |blob, (kind, path, content)| {
        blob.entry(*kind, path, content.as_bytes())
    });
    blob.catalog()
}

/// The whole tree after each layer has been unpacked over the ones below: the reference that folding must agree with.
fn unpack(layers: &[Layer]) -> BTreeMap<String, Option<usize>> {
    let mut tree: BTreeMap<String, Option<usize>> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        for (&hidden, node) in layer {
            match node {
                Node::Whiteout => tree.retain(|path, _| path != hidden && !is_below(path, hidden)),
                Node::Opaque => tree.retain(|path, _| !is_below(path, hidden)),
                Node::File | Node::Directory | Node::Symlink => {}
            }
        }
        for (&path, node) in layer {
            for parent in parents(path) {
                tree.insert(parent.to_owned(), None);
            }
            match node {
                Node::Directory | Node::Opaque => drop(tree.insert(path.to_owned(), None)),
                Node::File | Node::Symlink => {
                    tree.retain(|other, _| !is_below(other, path));
                    let written = matches!(node, Node::File).then_some(index);
                    tree.insert(path.to_owned(), written);
                }
                Node::Whiteout => {}
            }
        }
    }
    tree
}

fn is_package_file(path: &str) -> bool {
    ["package.json", "PKG-INFO", ".egg-info"]
        .iter()
        .any(|end| path.ends_with(end))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn folding_agrees_with_unpacking(layers in prop::collection::vec(layer(), 1..5), reversed: bool) {
        let catalogues: Vec<_> = layers.iter().enumerate().map(|(index, layer)| blob(layer, index, reversed)).collect();
        let folded: BTreeMap<String, String> = image(&catalogues)
            .packages
            .into_iter()
            .map(|package| (package.file, package.version.unwrap()))
            .collect();
        let unpacked: BTreeMap<String, String> = unpack(&layers)
            .into_iter()
            .filter(|(path, _)| is_package_file(path))
            .filter_map(|(path, written)| Some((path, written?.to_string())))
            .collect();
        prop_assert_eq!(folded, unpacked);
    }
}

/// What one path of a layer with links is.
#[derive(Debug, Clone, Copy)]
enum Place {
    File,
    Directory,
    Link(&'static str),
    Whiteout,
}

const PLACES: [&str; 9] = [
    "var",
    "var/lib",
    "var/lib/dpkg",
    "var/lib/dpkg/status",
    "srv",
    "srv/lib/dpkg/status",
    "srv/dpkg",
    "srv/dpkg/status",
    "srv/status",
];

fn layer_with_links() -> impl Strategy<Value = BTreeMap<&'static str, Place>> {
    const TARGETS: [&str; 8] = [
        "/srv",
        "srv",
        "../srv",
        "../../srv/dpkg",
        "/srv/dpkg/status",
        "/srv/status",
        "/var/lib/dpkg",
        ".",
    ];
    let place = prop_oneof![
        4 => Just(Place::File),
        2 => Just(Place::Directory),
        4 => prop::sample::select(&TARGETS[..]).prop_map(Place::Link),
        1 => Just(Place::Whiteout),
    ];
    prop::collection::btree_map(prop::sample::select(&PLACES[..]), place, 0..5).prop_map(|mut layer| {
        let leaves: Vec<&str> = layer
            .iter()
            .filter(|(_, place)| matches!(place, Place::File | Place::Link(_)))
            .map(|(&path, _)| path)
            .collect();
        layer.retain(|path, _| !leaves.iter().any(|leaf| is_below(path, leaf)));
        layer
    })
}

/// Unpacks layers into one tree and opens the database as a program would: the index of the layer that wrote it.
fn open_through_links(layers: &[BTreeMap<&'static str, Place>]) -> Option<(String, usize)> {
    let mut tree: BTreeMap<String, (Place, usize)> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        for (&path, place) in layer {
            if matches!(place, Place::Whiteout) {
                tree.retain(|other, _| other != path && !is_below(other, path));
            }
        }
        for (&path, &place) in layer {
            for parent in parents(path) {
                if !matches!(tree.get(parent), Some((Place::Directory, _))) {
                    tree.insert(parent.to_owned(), (Place::Directory, index));
                }
            }
            match place {
                Place::Whiteout => {}
                Place::Directory => drop(tree.insert(path.to_owned(), (place, index))),
                Place::File | Place::Link(_) => {
                    tree.retain(|other, _| !is_below(other, path));
                    tree.insert(path.to_owned(), (place, index));
                }
            }
        }
    }
    let mut wanted: Vec<String> = STATUS.rsplit('/').map(str::to_owned).collect();
    let mut here: Vec<String> = Vec::new();
    let mut hops = 0;
    while let Some(name) = wanted.pop() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                here.pop();
                continue;
            }
            _ => here.push(name),
        }
        match tree.get(&here.join("/"))? {
            (Place::Directory, _) => {}
            (Place::File, index) if wanted.is_empty() => return Some((here.join("/"), *index)),
            (Place::Link(target), _) => {
                hops += 1;
                if hops > 20 {
                    return None;
                }
                here.pop();
                if target.starts_with('/') {
                    here.clear();
                }
                wanted.extend(target.rsplit('/').map(str::to_owned));
            }
            _ => return None,
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn a_database_is_found_where_a_program_would_open_it(layers in prop::collection::vec(layer_with_links(), 1..5)) {
        let catalogues: Vec<_> = layers
            .iter()
            .enumerate()
            .map(|(index, layer)| {
                let folders: BTreeSet<&str> = layer
                    .iter()
                    .flat_map(|(path, place)| parents(path).chain(matches!(place, Place::Directory).then_some(*path)))
                    .collect();
                let blob = folders.iter().fold(Blob::new(), |blob, folder| blob.directory(folder));
                let blob = layer.iter().fold(blob, |blob, (path, place)| match place {
                    Place::File => blob.file(path, dpkg_status(&[("bash", &index.to_string())])),
                    Place::Link(target) => blob.link(EntryType::Symlink, path, target),
                    Place::Whiteout => {
                        let (folder, name) = path.rsplit_once('/').map_or(("", *path), |(folder, name)| (folder, name));
                        blob.file(format!("{folder}/.wh.{name}").trim_start_matches('/'), "")
                    }
                    Place::Directory => blob,
                });
                blob.catalog()
            })
            .collect();
        let folded = image(&catalogues);
        let found: Vec<_> = folded
            .packages
            .iter()
            .map(|package| (package.file.clone(), package.version.clone().unwrap()))
            .collect();
        match open_through_links(&layers) {
            // A file of another name is not read as it passes by, and that is said.
            Some((path, _)) if !path.ends_with("dpkg/status") => {
                prop_assert_eq!(found, []);
                prop_assert!(folded.is_partial());
            }
            opened => {
                let opened: Vec<_> = opened.into_iter().map(|(path, index)| (path, index.to_string())).collect();
                prop_assert_eq!(found, opened);
            }
        }
    }
}
