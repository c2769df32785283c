//! Ruby's installed gems: a specification for each in a folder `specifications`, and in `specifications/default` for
//! those that come with Ruby itself.
//!
//! A specification is a program, which is not run: RubyGems writes name and version into a comment, and each attribute
//! as a literal on a line of its own. Source: RubyGems, `Gem::Specification#to_ruby` and `Gem::StubSpecification`.
#![allow(clippy::doc_markdown, reason = "names of products")]

use crate::{
    PartialCode,
    cataloguer::{Cataloguer, Reading, text},
    facts::{Declared, PackageKind},
    path::split,
};

pub(crate) struct Ruby;

impl Cataloguer for Ruby {
    fn wants(&self, path: &str) -> bool {
        let (folder, name) = split(path);
        let folder = folder.strip_suffix("/default").unwrap_or(folder);
        name.len() > ".gemspec".len() && name.ends_with(".gemspec") && split(folder).1 == "specifications"
    }

    fn read(&self, path: &str, content: &[u8]) -> Reading {
        let (text, is_replaced) = text(content);
        let label = split(path).1.trim_end_matches(".gemspec");
        let package = stub(&text).or_else(|| attributes(&text)).map(|mut package| {
            licenses(&text).for_each(|license| package.add_license(license));
            package
        });
        let is_malformed = package.is_none();
        let package = package.or_else(|| from_label(label));
        Reading::of_packages(package.into_iter().collect())
            .with_flaw(PartialCode::Malformed, is_malformed)
            .with_flaw(PartialCode::Encoding, is_replaced)
    }
}

/// Reads the comment `# stub: rake 13.0.6 ruby lib`.
fn stub(text: &str) -> Option<Declared> {
    let mut words = text
        .lines()
        .take(5)
        .find_map(|line| line.strip_prefix("# stub: "))?
        .split(' ');
    Declared::new(PackageKind::Gem, words.next()?, Some(words.next()?))
}

fn attributes(text: &str) -> Option<Declared> {
    let literal = |name: &str| quoted(value(text, name)?).next();
    Declared::new(PackageKind::Gem, literal("name")?, literal("version"))
}

fn licenses(text: &str) -> impl Iterator<Item = &str> {
    ["licenses", "license"]
        .into_iter()
        .filter_map(|name| value(text, name))
        .flat_map(quoted)
}

/// Finds what is assigned to an attribute, whatever the specification is called.
fn value<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (left, right) = line.split_once('=')?;
        let (_, attribute) = left.trim().split_once('.')?;
        (attribute == name).then_some(right)
    })
}

/// Lists the texts between quotes.
fn quoted(value: &str) -> impl Iterator<Item = &str> {
    value.split(['"', '\'']).skip(1).step_by(2)
}

/// Splits `name-1.2.3` or `name-1.2.3-x86_64-linux`.
fn from_label(label: &str) -> Option<Declared> {
    let is_version = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let (at, _) = label
        .match_indices('-')
        .find(|(at, _)| is_version(&label[at + 1..]))?;
    Declared::new(PackageKind::Gem, &label[..at], label[at + 1..].split('-').next())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::Facts;

    const RAKE: &str = "\
# -*- encoding: utf-8 -*-
# stub: rake 13.0.6 ruby lib

Gem::Specification.new do |s|
  s.name = \"rake\".freeze
  s.version = \"13.0.6\"
  s.licenses = [\"MIT\".freeze, \"Ruby\".freeze]
end
";

    fn read(content: &str) -> (Vec<String>, Vec<PartialCode>) {
        let reading = Ruby.read(
            "gems/specifications/rake-13.0.6-x86_64-linux.gemspec",
            content.as_bytes(),
        );
        let text = |package: &Declared| {
            let version = package.version.as_deref().unwrap_or("?");
            format!("{} {version} {}", package.name, package.licenses.join("+"))
        };
        match reading.facts {
            Some(Facts::Packages(packages)) => (packages.iter().map(text).collect(), reading.flaws),
            _ => (Vec::new(), reading.flaws),
        }
    }

    #[test]
    fn wants_installed_gems_only() {
        for path in [
            "var/lib/gems/3.1.0/specifications/rake-13.0.6.gemspec",
            "usr/lib/ruby/gems/3.1.0/specifications/default/json-2.6.1.gemspec",
        ] {
            assert!(Ruby.wants(path), "{path}");
        }
        for path in [
            "var/lib/gems/3.1.0/gems/rake-13.0.6/rake.gemspec",
            "app/app.gemspec",
            "specifications/.gemspec",
        ] {
            assert!(!Ruby.wants(path), "{path}");
        }
    }

    #[test]
    fn the_comment_the_attributes_and_the_name_say_the_same() {
        assert_eq!(read(RAKE), (vec!["rake 13.0.6 MIT+Ruby".into()], vec![]));
        let old = RAKE.replace("# stub: ", "# ").replace('"', "'");
        assert_eq!(read(&old), (vec!["rake 13.0.6 MIT+Ruby".into()], vec![]));
        assert_eq!(
            read("Gem::Specification.new(&x)"),
            (vec!["rake 13.0.6 ".into()], vec![PartialCode::Malformed])
        );
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>, label: String) {
            Ruby.read(&format!("specifications/{label}.gemspec"), &content);
        }

        #[test]
        fn mutated_files_can_be_read(at in 0..RAKE.len(), byte in 0u8..0x80) {
            let mut content = RAKE.as_bytes().to_vec();
            content[at] = byte;
            prop_assert_eq!(read(std::str::from_utf8(&content).unwrap()).0.len(), 1);
        }
    }
}
