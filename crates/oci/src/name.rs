use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of a repository: path components of lower-case letters, digits and single separators, up to 256 characters.
///
/// Source: the distribution specification's `<name>` grammar, with Amazon ECR's limit of 256 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

/// A tag: up to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`.
///
/// Source: the distribution specification's `<reference>` grammar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is not a repository's name.
    #[error("a repository's name has lower-case letters, digits and single separators, up to 256 characters")]
    Repository,
    /// The text is not a tag.
    #[error("a tag has up to 128 letters, digits, underscores, periods and hyphens")]
    Tag,
}

impl RepositoryName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if (1..=256).contains(&text.len()) && text.split('/').all(is_path_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Repository)
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_alphanumeric(first)
        && is_alphanumeric(last)
        && bytes
            .split(|&byte| is_alphanumeric(byte))
            .all(|separator| match separator {
                b"" | b"." | b"_" | b"__" => true,
                hyphens => hyphens.iter().all(|&byte| byte == b'-'),
            })
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = text.as_bytes();
        let starts_well = bytes.first().is_some_and(|&byte| is_word(byte));
        let continues_well = bytes
            .iter()
            .all(|&byte| is_word(byte) || byte == b'.' || byte == b'-');
        if starts_well && continues_well && bytes.len() <= 128 {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Tag)
        }
    }
}

macro_rules! text_conversions {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

text_conversions!(RepositoryName);
text_conversions!(Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_names_follow_the_grammar() {
        let longest = "a".repeat(256);
        for good in ["a", "shop/web", "a__b", "a--b.c_d/e0", longest.as_str()] {
            assert_eq!(good.parse::<RepositoryName>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(257);
        for bad in [
            "",
            "A",
            "a/",
            "/a",
            "a//b",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a b",
            "a\n",
            "é",
            "a#b",
            "../a",
            too_long.as_str(),
        ] {
            assert_eq!(
                bad.parse::<RepositoryName>(),
                Err(NameError::Repository),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        let longest = "v".repeat(128);
        for good in ["latest", "1.4", "_x", "A-B_c.d", longest.as_str()] {
            assert_eq!(good.parse::<Tag>().unwrap().as_str(), good);
        }
        let too_long = "v".repeat(129);
        for bad in [
            "",
            ".a",
            "-a",
            "a b",
            "a/b",
            "a:b",
            "<b>",
            "a\r\n",
            "\u{202e}a",
            too_long.as_str(),
        ] {
            assert_eq!(bad.parse::<Tag>(), Err(NameError::Tag), "{bad:?}");
        }
    }
}
