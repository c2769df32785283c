use crate::{
    cataloguer::{Reading, text},
    facts::{Facts, add_license},
    fields::{Line, lines},
};

/// Reads the licences of a package: the short names of a machine-readable file; of any other file, which of the common
/// licences it refers to.
///
/// Source: Debian, "Machine-readable debian/copyright file", version 1.0; Debian policy, 12.5.
pub(super) fn read(content: &[u8]) -> Reading {
    let (text, _) = text(content);
    let mut licenses = Vec::new();
    if is_machine_readable(&text) {
        for line in lines(&text) {
            if let Line::Field(key, value) = line
                && key.eq_ignore_ascii_case("License")
            {
                add_license(&mut licenses, value);
            }
        }
    } else {
        for reference in text.split("/usr/share/common-licenses/").skip(1) {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '+');
            let end = reference.find(|c| !is_part(c)).unwrap_or(reference.len());
            add_license(&mut licenses, reference[..end].trim_end_matches('.'));
        }
    }
    if licenses.is_empty() {
        return Reading::default();
    }
    Reading::of(Facts::Licenses(licenses))
}

fn is_machine_readable(text: &str) -> bool {
    lines(text)
        .find(|line| *line != Line::Blank)
        .is_some_and(|line| matches!(line, Line::Field(key, value) if key.eq_ignore_ascii_case("Format") && value.contains("copyright-format")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn licenses(content: &str) -> Vec<String> {
        match read(content.as_bytes()).facts {
            Some(Facts::Licenses(licenses)) => licenses,
            _ => Vec::new(),
        }
    }

    #[test]
    fn short_names_are_taken_from_a_machine_readable_file() {
        let content = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: x

Files: *
Copyright: somebody
License: GPL-2+ or Artistic

Files: debian/*
License: GPL-2+

License: GPL-2+
 License: not this one
 /usr/share/common-licenses/GPL-2
";
        assert_eq!(licenses(content), ["GPL-2+ or Artistic", "GPL-2+"]);
    }

    #[test]
    fn other_files_refer_to_common_licences() {
        let content =
            "See `/usr/share/common-licenses/GPL-2', and\n/usr/share/common-licenses/LGPL-2.1.\nThe end.";
        assert_eq!(licenses(content), ["GPL-2", "LGPL-2.1"]);
        assert_eq!(licenses("License: MIT"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(content: Vec<u8>, end: String) {
            read(&content);
            read(format!("Format: copyright-format\nLicense: {end}").as_bytes());
            read(format!("/usr/share/common-licenses/{end}").as_bytes());
        }
    }
}
