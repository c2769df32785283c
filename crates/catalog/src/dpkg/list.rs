use crate::{
    cataloguer::{Reading, may_show_packages, text},
    facts::{Facts, FileList, PackageKind, word},
    path::normalise,
};

/// Reads the list of a package's files, one absolute path a line.
pub(super) fn read_list(package: &str, content: &[u8]) -> Reading {
    owned(package, content, |line| Some(line))
}

/// Reads the checksums of a package's files, `<md5>  <path>` a line.
pub(super) fn read_checksums(package: &str, content: &[u8]) -> Reading {
    owned(package, content, |line| {
        Some(line.split_once(' ')?.1.trim_start())
    })
}

/// Keeps those paths that can show packages: only of these it matters who owns them.
fn owned<'a>(package: &str, content: &'a [u8], path_of: fn(&str) -> Option<&str>) -> Reading {
    let (package, architecture) = match package.split_once(':') {
        Some((package, architecture)) => (package, word(architecture)),
        None => (package, None),
    };
    let (text, _) = text(content);
    let paths: Vec<String> = text
        .lines()
        .filter_map(path_of)
        .filter_map(|path| normalise(path.as_bytes()))
        .filter(|path| !path.starts_with("var/lib/dpkg/") && !path.starts_with("usr/share/doc/"))
        .filter(|path| may_show_packages(path))
        .map(std::borrow::Cow::into_owned)
        .collect();
    match word(package) {
        Some(package) if !paths.is_empty() => Reading::of(Facts::Files(FileList {
            kind: PackageKind::Deb,
            package: package.to_owned(),
            architecture: architecture.map(str::to_owned),
            paths,
        })),
        _ => Reading::default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METADATA: &str = "usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO";

    fn six(architecture: Option<&str>) -> Reading {
        Reading::of(Facts::Files(FileList {
            kind: PackageKind::Deb,
            package: "python3-six".into(),
            architecture: architecture.map(str::to_owned),
            paths: vec!["usr/bin/six".into(), METADATA.into()],
        }))
    }

    #[test]
    fn only_wanted_files_are_kept() {
        let list = format!("/.\r\n/usr/bin/six\r\n/usr/share/doc/python3-six/copyright\r\n/{METADATA}\r\n");
        assert_eq!(read_list("python3-six", list.as_bytes()), six(None));
        assert_eq!(
            read_list("python3-six:amd64", list.as_bytes()),
            six(Some("amd64"))
        );
        assert_eq!(read_list("bash", b"/.\n/etc/bash.bashrc\n"), Reading::default());
    }

    #[test]
    fn checksums_name_the_same_files() {
        let sums = format!(
            "d41d8cd98f00b204e9800998ecf8427e  usr/bin/six\nd41d8cd98f00b204e9800998ecf8427e  {METADATA}\nnonsense\n"
        );
        assert_eq!(read_checksums("python3-six", sums.as_bytes()), six(None));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(package: String, content: Vec<u8>) {
            read_list(&package, &content);
            read_checksums(&package, &content);
        }
    }
}
