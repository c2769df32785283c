use crate::{
    SourcePackage,
    cataloguer::may_show_packages,
    facts::{Declared, PackageKind, word},
    number::{Endian, slice},
    path::normalise,
};

/// Reads a package from its header, as databases hold it: without the magic and the padding that stand in files.
///
/// Source: RPM, "RPM V4 package format" and "Header tags" of its reference manual.
pub(super) fn read(blob: &[u8]) -> Option<Declared> {
    let header = Header::new(blob)?;
    let name = header.text(NAME)?;
    let version = header.word(VERSION).map(|version| {
        let release = header.word(RELEASE);
        let epoch = header.number(EPOCH).filter(|epoch| *epoch != 0);
        let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        match release {
            Some(release) => format!("{epoch}{version}-{release}"),
            None => format!("{epoch}{version}"),
        }
    });
    let mut package = Declared::new(PackageKind::Rpm, &name, version.as_deref())?;
    package.architecture = header.word(ARCHITECTURE);
    package.source = header.text(SOURCE).and_then(|file| source_package(&file));
    package.qualify("rpmmod", header.word(MODULE).as_deref());
    if let Some(license) = header.text(LICENSE) {
        package.add_license(&license);
    }
    package.owns = header.files().filter(|path| may_show_packages(path)).collect();
    Some(package)
}

/// Splits `name-version-release`.
fn split_nvr(text: &str) -> Option<(&str, &str)> {
    let release = text.rfind('-')?;
    let version = text[..release].rfind('-')?;
    (version > 0).then(|| (&text[..version], &text[version + 1..]))
}

/// Reads the name of the file that a package was built from.
pub(super) fn source_package(file: &str) -> Option<SourcePackage> {
    let (name, version) = split_nvr(file.strip_suffix(".rpm")?.rsplit_once('.')?.0)?;
    Some(SourcePackage {
        name: word(name)?.to_owned(),
        version: Some(word(version)?.to_owned()),
    })
}

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const LICENSE: u32 = 1014;
const ARCHITECTURE: u32 = 1022;
const OLD_FILE_NAMES: u32 = 1027;
const SOURCE: u32 = 1044;
const FOLDER_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const FOLDER_NAMES: u32 = 1118;
const MODULE: u32 = 5096;

const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const TRANSLATED_STRING: u32 = 9;

/// A header's index and its data.
struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

/// How many bytes of paths are looked at: many names can share one long folder. The largest packages have 10 MB of them.
const MAX_PATHS: usize = 64 << 20;

/// How long an entry of the index is: tag, type, place in the data, count.
const ENTRY: usize = 16;

impl<'a> Header<'a> {
    fn new(blob: &'a [u8]) -> Option<Self> {
        let entries = Endian::Big.size(blob, 0)?;
        let bytes = Endian::Big.size(blob, 4)?;
        let index = slice(blob, 8, entries.checked_mul(ENTRY)?)?;
        Some(Self {
            index,
            data: slice(blob, 8 + index.len(), bytes)?,
        })
    }

    /// Finds type, count and data of a tag; the data reaches to the end of all.
    fn find(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self
            .index
            .chunks_exact(ENTRY)
            .find(|entry| Endian::Big.u32(entry, 0) == Some(tag))?;
        let data = self.data.get(Endian::Big.size(entry, 8)?..)?;
        Some((Endian::Big.u32(entry, 4)?, Endian::Big.size(entry, 12)?, data))
    }

    fn text(&self, tag: u32) -> Option<String> {
        match self.find(tag)? {
            (STRING | TRANSLATED_STRING | STRING_ARRAY, 1.., data) => texts(data).next(),
            _ => None,
        }
    }

    fn word(&self, tag: u32) -> Option<String> {
        word(&self.text(tag)?).map(str::to_owned)
    }

    fn texts(&self, tag: u32) -> impl Iterator<Item = String> {
        let (count, data) = match self.find(tag) {
            Some((STRING_ARRAY, count, data)) => (count, data),
            _ => (0, &[][..]),
        };
        texts(data).take(count)
    }

    fn numbers(&self, tag: u32) -> impl Iterator<Item = u32> {
        let (count, data) = match self.find(tag) {
            Some((INT32, count, data)) => (count, data),
            _ => (0, &[][..]),
        };
        data.as_chunks()
            .0
            .iter()
            .take(count)
            .map(|&number| u32::from_be_bytes(number))
    }

    fn number(&self, tag: u32) -> Option<u32> {
        self.numbers(tag).next()
    }

    /// Lists the package's files, normalised.
    fn files(&self) -> impl Iterator<Item = String> {
        let folders: Vec<String> = self.texts(FOLDER_NAMES).collect();
        let names = self.texts(BASE_NAMES).zip(self.numbers(FOLDER_INDEXES));
        let split = names.filter_map(move |(name, folder)| {
            let folder = folders.get(usize::try_from(folder).ok()?)?;
            Some(format!("{folder}{name}"))
        });
        let mut budget = MAX_PATHS;
        split
            .chain(self.texts(OLD_FILE_NAMES))
            .map_while(move |path| {
                budget = budget.checked_sub(path.len())?;
                Some(path)
            })
            .filter_map(|path| normalise(path.as_bytes()).map(std::borrow::Cow::into_owned))
    }
}

/// Lists texts that each end with a NUL.
fn texts(data: &[u8]) -> impl Iterator<Item = String> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let end = memchr::memchr(0, rest)?;
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        Some(text)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One entry of a header: its tag, its type, how many values there are, and these.
    type Field<'a> = (u32, u32, u32, &'a [u8]);

    pub(in crate::rpm) fn blob(fields: &[Field<'_>]) -> Vec<u8> {
        let mut index = Vec::new();
        let mut data: Vec<u8> = Vec::new();
        for (tag, kind, count, bytes) in fields {
            if *kind == INT32 {
                data.resize(data.len().next_multiple_of(4), 0);
            }
            for number in [*tag, *kind, u32::try_from(data.len()).unwrap(), *count] {
                index.extend(number.to_be_bytes());
            }
            data.extend(*bytes);
        }
        let sizes = [fields.len(), data.len()].map(|size| u32::try_from(size).unwrap().to_be_bytes());
        [&sizes.concat(), &index, &data].map(Vec::as_slice).concat()
    }

    fn nodejs() -> Vec<u8> {
        blob(&[
            (NAME, STRING, 1, b"nodejs\0"),
            (VERSION, STRING, 1, b"18.17.1\0"),
            (RELEASE, STRING, 1, b"1.module+el8~1^git2\0"),
            (EPOCH, INT32, 1, &[0, 0, 0, 1]),
            (LICENSE, STRING, 1, b"MIT and ASL 2.0\0"),
            (ARCHITECTURE, STRING, 1, b"x86_64\0"),
            (SOURCE, STRING, 1, b"nodejs-18.17.1-1.module+el8.src.rpm\0"),
            (FOLDER_INDEXES, INT32, 3, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]),
            (BASE_NAMES, STRING_ARRAY, 3, b"node\0README.md\0lost\0"),
            (FOLDER_NAMES, STRING_ARRAY, 2, b"/usr/share/doc/\0/usr/bin/\0"),
            (MODULE, STRING, 1, b"nodejs:18:8080:63b34585\0"),
        ])
    }

    #[test]
    fn a_header_says_all_of_its_package() {
        let mut package =
            Declared::new(PackageKind::Rpm, "nodejs", Some("1:18.17.1-1.module+el8~1^git2")).unwrap();
        package.architecture = Some("x86_64".into());
        package.qualify("rpmmod", Some("nodejs:18:8080:63b34585"));
        package.add_license("MIT and ASL 2.0");
        package.owns = vec!["usr/bin/node".into()];
        package.source = Some(SourcePackage {
            name: "nodejs".into(),
            version: Some("18.17.1-1.module+el8".into()),
        });
        assert_eq!(read(&nodejs()), Some(package));
    }

    #[test]
    fn a_key_has_neither_architecture_nor_source_and_a_nameless_header_is_none() {
        let key = blob(&[
            (NAME, STRING, 1, b"gpg-pubkey\0"),
            (VERSION, STRING, 1, b"fd431d51\0"),
            (RELEASE, STRING, 1, b"4ae0493b\0"),
            (SOURCE, STRING, 1, b"(none)\0"),
            (EPOCH, INT32, 1, &[0, 0, 0, 0]),
        ]);
        assert_eq!(
            read(&key),
            Declared::new(PackageKind::Rpm, "gpg-pubkey", Some("fd431d51-4ae0493b"))
        );
        assert_eq!(read(&blob(&[(VERSION, STRING, 1, b"1\0")])), None);
        assert_eq!(
            read(&blob(&[(NAME, STRING, 1, b"a\0")])),
            Declared::new(PackageKind::Rpm, "a", None)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>) {
            read(&content);
        }

        #[test]
        fn mutated_headers_can_be_read(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut content = nodejs();
            let at = at.index(content.len());
            content[at] = byte;
            read(&content);
            content.truncate(cut.index(content.len()));
            read(&content);
        }
    }
}
