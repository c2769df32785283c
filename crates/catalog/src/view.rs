use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use portwarden_oci::Digest;

use crate::{
    LayerPartial, LayerRef, OsRelease, Package, PackageKind, Partial, PartialCode,
    cataloguer::{homes, wanted_by},
    dpkg,
    facts::{Declared, Facts},
    link::{Homes, Links},
    overlay::{Overlay, Visible},
    purl::purl,
};

/// An image's files as a program in a container finds them: databases by their names, through links.
pub(crate) struct View<'o, 'a> {
    overlay: &'o Overlay<'a>,
    links: Links<'a>,
    /// What counts: everything but databases that nothing looks for, since they are not in their places.
    files: Vec<(&'a str, &'o Visible<'a>)>,
    /// What exists once in an image, by the name by which it is looked for.
    named: BTreeMap<Cow<'o, str>, &'a Facts>,
}

impl<'o, 'a> View<'o, 'a> {
    pub(crate) fn new(overlay: &'o Overlay<'a>) -> Self {
        let links = Links::new(overlay.files().filter_map(|(path, visible)| match visible.facts {
            Facts::Link(target) => Some((path, target.as_str())),
            _ => None,
        }));
        let moved = Homes::new(&links);
        let mut files = Vec::new();
        let mut named = BTreeMap::new();
        for (path, visible) in overlay.files() {
            let Some(cataloguer) = wanted_by(path).filter(|cataloguer| !cataloguer.homes().is_empty()) else {
                files.push((path, visible));
                continue;
            };
            let is_wanted = |name: &Cow<'_, str>| cataloguer.wants(name);
            let called: Vec<String> = moved
                .names_of(path)
                .filter(is_wanted)
                .map(Cow::into_owned)
                .collect();
            if !called.is_empty() {
                files.push((path, visible));
            }
            named.extend(called.into_iter().map(|name| (Cow::Owned(name), visible.facts)));
        }
        Self {
            overlay,
            links,
            files,
            named,
        }
    }

    /// Lists databases that are links to what was not read, since nothing in its name told what it is.
    pub(crate) fn dead_links(&self, digests: &[Digest]) -> Vec<LayerPartial> {
        // The distribution's name hides no packages.
        let databases = homes().filter(|home| wanted_by(home).is_some() && !OsRelease::PATHS.contains(home));
        let dead = databases.filter_map(|home| {
            let link = self.links.last_on_the_way(home)?;
            let target = self.links.resolve(home);
            let is_dead = self.overlay.facts(&target).is_none() && wanted_by(&target).is_none();
            is_dead.then(|| LayerPartial {
                layer: layer_ref(self.overlay.layer_of(&link).unwrap_or_default(), digests),
                partial: Partial {
                    code: PartialCode::Link,
                    path: home.to_owned(),
                    count: 1,
                },
            })
        });
        dead.collect()
    }

    pub(crate) fn find_os(&self) -> Option<&'a OsRelease> {
        OsRelease::PATHS
            .into_iter()
            .find_map(|path| match self.named.get(path) {
                Some(Facts::Os(os)) => Some(os),
                _ => None,
            })
    }

    pub(crate) fn list_packages(&self, os: Option<&OsRelease>, digests: &[Digest]) -> Vec<Package> {
        let owners = self.owners(os);
        let mut packages = Vec::new();
        for &(file, visible) in &self.files {
            let Facts::Packages(declared) = visible.facts else {
                continue;
            };
            let owned_by = owners.get(file);
            for (package, &index) in declared.iter().zip(&visible.since) {
                packages.extend(purl(package, os).map(|purl| {
                    Package {
                        // A package in a file of its own database is not something that another one brought.
                        owned_by: owned_by.filter(|owner| **owner != purl).cloned(),
                        purl,
                        kind: package.kind,
                        name: package.name.clone(),
                        version: package.version.clone(),
                        architecture: package.architecture.clone(),
                        source: package.source.clone(),
                        licenses: self.licenses(package),
                        file: file.to_owned(),
                        layer: layer_ref(index, digests),
                    }
                }));
            }
        }
        packages.sort_by(|a, b| (&a.purl, &a.file, a.layer.index).cmp(&(&b.purl, &b.file, b.layer.index)));
        packages.dedup();
        packages
    }

    /// Tells which distribution's package owns which file.
    fn owners(&self, os: Option<&OsRelease>) -> HashMap<String, String> {
        let installed: Vec<&'a Declared> = self
            .files
            .iter()
            .filter_map(|(_, visible)| match visible.facts {
                Facts::Packages(packages) => Some(packages),
                _ => None,
            })
            .flatten()
            .collect();
        let mut by_name: HashMap<(PackageKind, &str), Vec<&'a Declared>> = HashMap::new();
        for package in &installed {
            by_name
                .entry((package.kind, &package.name))
                .or_default()
                .push(package);
        }
        let mut owners = HashMap::new();
        let mut own = |package: &'a Declared, paths: &'a [String]| {
            if let Some(purl) = purl(package, os).filter(|_| !paths.is_empty()) {
                // Lists write `lib/…` even where that is a link to `usr/lib`.
                let real = paths.iter().map(|path| self.links.resolve(path).into_owned());
                owners.extend(real.map(|path| (path, purl.clone())));
            }
        };
        for package in &installed {
            own(package, &package.owns);
        }
        for (_, visible) in &self.files {
            let Facts::Files(list) = visible.facts else {
                continue;
            };
            let candidates = by_name.get(&(list.kind, list.package.as_str()));
            let owner = candidates
                .into_iter()
                .flatten()
                .find(|package| list.architecture.is_none() || list.architecture == package.architecture);
            if let Some(owner) = owner {
                own(owner, &list.paths);
            }
        }
        owners
    }

    /// Finds the licences of a package, where they stand in a file of their own.
    fn licenses(&self, package: &Declared) -> Vec<String> {
        let elsewhere = || {
            if !package.licenses.is_empty() || package.kind != PackageKind::Deb {
                return None;
            }
            let file = dpkg::copyright_of(&package.name);
            match self.overlay.facts(&self.links.resolve(&file)) {
                Some(Facts::Licenses(licenses)) => Some(licenses),
                _ => None,
            }
        };
        elsewhere().unwrap_or(&package.licenses).clone()
    }
}

fn layer_ref(index: usize, digests: &[Digest]) -> LayerRef {
    LayerRef {
        index,
        digest: digests[index],
    }
}
