use std::path::PathBuf;

use portwarden_testkit::image::{ImageBuilder, Layer, write_oci_layout};

use crate::{
    debian::Debian,
    node::{Manager, Node},
    php::Php,
    python::Python,
    root::Root,
    ruby::Ruby,
};

/// A minimal Debian, and in a layer each what every ecosystem's tools install.
pub(crate) struct RealImage {
    folder: tempfile::TempDir,
    /// In the order of the layers.
    pub(crate) roots: Vec<Box<dyn Root>>,
}

impl RealImage {
    /// Makes the image; nothing if a tool for that is missing.
    pub(crate) fn make() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let node = |name, manager| Node::install(&of(name), manager);
        let roots: Vec<Box<dyn Root>> = vec![
            Box::new(Debian::install(&of("debian"))?),
            Box::new(Python::install(&of("python"))?),
            Box::new(node("npm", Manager::Npm)?),
            Box::new(node("pnpm", Manager::Pnpm)?),
            Box::new(node("yarn", Manager::Yarn)?),
            Box::new(node("yarn-pnp", Manager::YarnPnp)?),
            Box::new(Ruby::install(&of("ruby"))?),
            Box::new(Php::install(&of("php"))?),
        ];
        let image = Self { folder, roots };
        let built = image.roots.iter().fold(ImageBuilder::new(), |built, root| {
            let layer = Layer::from_archive(root.archive(), root.compression());
            built.layer("COPY . /", layer)
        });
        write_oci_layout(&image.layout(), &"real".parse().unwrap(), &built.build()).unwrap();
        Some(image)
    }

    /// Returns the image's layout.
    pub(crate) fn layout(&self) -> PathBuf {
        self.path("layout")
    }

    /// Returns a folder beside the image, for whoever needs one.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path("scratch")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
