//! Gems as Debian's packages bring them, without a database of packages that owns them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    output_of,
    root::{self, Root, name_and_version, of_kind},
};

/// Ruby's own gems, gems in Ruby, and one with a part in C.
const PACKAGES: [&str; 9] = [
    "libruby3.1",
    "rake",
    "ruby-bundler",
    "ruby-minitest",
    "ruby-mustermann",
    "ruby-nokogiri",
    "ruby-rack",
    "ruby-sinatra",
    "ruby-tilt",
];

/// Loads specifications by running them, which is how they are meant.
const LIST: &str = r#"
Dir.glob(ARGV[0] + "/**/specifications/**/*.gemspec") do |file|
  gem = Gem::Specification.load(file)
  puts gem.name + " " + gem.version.to_s
end
"#;

pub(crate) struct Ruby {
    content: PathBuf,
}

impl Ruby {
    pub(crate) fn install(folder: &Path) -> Option<Self> {
        let content = folder.join("content");
        fs::create_dir_all(&content).unwrap();
        let mut download = Command::new("apt-get");
        download
            .args(["download", "--quiet=2", "--option", "APT::Sandbox::User=root"])
            .current_dir(folder);
        output_of(download.args(PACKAGES))?;
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                output_of(Command::new("dpkg").arg("-x").arg(file).arg(&content))?;
            }
        }
        Some(Self { content })
    }
}

impl Root for Ruby {
    fn archive(&self) -> Vec<u8> {
        root::archive(&self.content)
    }

    fn compare(&self, found: &[&Value]) {
        let Some(listed) = output_of(Command::new("ruby").args(["-e", LIST]).arg(&self.content)) else {
            return;
        };
        let listed: BTreeSet<_> = listed
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect();
        let gems: BTreeSet<_> = of_kind(found, "gem")
            .map(|(_, package)| name_and_version(package))
            .collect();
        assert!(listed.len() > 70, "{}", listed.len());
        assert_eq!(gems, listed);
    }
}
