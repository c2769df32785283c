use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use crate::{
    LayerCatalog, PackageKind,
    facts::{Declared, Facts},
};

/// The wanted files of several layers as a container would see them, the upper ones before the lower ones.
///
/// Source: OCI image specification, `layer.md`, "Applying changesets": whiteouts and opaque directories act on lower
/// layers only; a file replaces whatever was in its place, with everything below it; a directory replaces a file, and is
/// merged with a directory.
#[derive(Default)]
pub(crate) struct Overlay<'a> {
    files: BTreeMap<&'a str, Visible<'a>>,
}

/// A file that can be seen.
pub(crate) struct Visible<'a> {
    pub(crate) facts: &'a Facts,
    /// The layer that the file is in.
    pub(crate) layer: usize,
    /// For each package of the file, the layer from which on it has been there in this very version.
    pub(crate) since: Vec<usize>,
}

impl<'a> Overlay<'a> {
    /// Puts a layer on top.
    pub(crate) fn apply(&mut self, index: usize, layer: &'a LayerCatalog) {
        let mut hidden = BTreeMap::new();
        for path in &layer.whiteouts {
            hidden.extend(self.files.remove_entry(path.as_str()));
            self.remove_below(path, &mut hidden);
        }
        for folder in &layer.opaque {
            self.remove_below(folder, &mut hidden);
        }
        hidden.extend(
            self.files
                .extract_if(.., |path, _| layer.covered.contains_or_covers(path)),
        );
        hidden.extend(
            self.files
                .extract_if(.., |path, _| layer.directories.contains(path)),
        );
        for (path, facts) in &layer.files {
            let since = Visible::since(facts, index, hidden.get(path.as_str()));
            self.files.insert(
                path,
                Visible {
                    facts,
                    layer: index,
                    since,
                },
            );
        }
    }

    /// Lists the files that can be seen, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'a str, &Visible<'a>)> {
        self.files.iter().map(|(&path, visible)| (path, visible))
    }

    /// Returns what a file says, if it can be seen.
    pub(crate) fn facts(&self, path: &str) -> Option<&'a Facts> {
        self.files.get(path).map(|visible| visible.facts)
    }

    /// Returns the layer that a file is in, if it can be seen.
    pub(crate) fn layer_of(&self, path: &str) -> Option<usize> {
        self.files.get(path).map(|visible| visible.layer)
    }

    fn remove_below(&mut self, folder: &str, hidden: &mut BTreeMap<&'a str, Visible<'a>>) {
        if folder.is_empty() {
            hidden.append(&mut self.files);
            return;
        }
        // In the order of bytes, '0' comes right behind '/'.
        let (start, end) = (format!("{folder}/"), format!("{folder}0"));
        let range = (Bound::Included(start.as_str()), Bound::Excluded(end.as_str()));
        let below: Vec<&'a str> = self.files.range::<str, _>(range).map(|(&path, _)| path).collect();
        hidden.extend(below.into_iter().filter_map(|path| self.files.remove_entry(path)));
    }
}

impl<'a> Visible<'a> {
    /// A database is rewritten as a whole with each change, but a package in it came with the layer that first had it.
    fn since(facts: &Facts, index: usize, before: Option<&Visible<'a>>) -> Vec<usize> {
        let Facts::Packages(packages) = facts else {
            return Vec::new();
        };
        let known: HashMap<_, usize> = match before {
            Some(Visible {
                facts: Facts::Packages(packages),
                since,
                ..
            }) => packages.iter().map(identity).zip(since.iter().copied()).collect(),
            _ => HashMap::new(),
        };
        packages
            .iter()
            .map(|package| known.get(&identity(package)).copied().unwrap_or(index))
            .collect()
    }
}

fn identity(package: &Declared) -> (PackageKind, &str, Option<&str>, Option<&str>) {
    (
        package.kind,
        &package.name,
        package.version.as_deref(),
        package.architecture.as_deref(),
    )
}
