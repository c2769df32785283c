//! One id for everything that one event leads to.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{id::IdError, random::Randomness};

/// Everything that one event, or one question of a person, leads to: the same id in each function's log, in the report and
/// on the event bus, however often the event and its messages are delivered.
///
/// It has the form of an X-Ray trace id, and is the one of the invocation that first saw the event.
///
/// Source: X-Ray developer guide, "Tracing header": `1-`, the time in seconds as 8 hexadecimal digits, `-`, 24 random ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId {
    seconds: u32,
    random: u128,
}

/// How many bits of a trace id are random.
const RANDOM_BITS: u32 = 96;

impl TraceId {
    /// Makes a new id.
    pub fn generate(now: Timestamp, randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 16];
        randomness.fill(&mut bytes);
        Self {
            seconds: u32::try_from(now.as_second()).unwrap_or_default(),
            random: u128::from_be_bytes(bytes) >> (u128::BITS - RANDOM_BITS),
        }
    }

    /// Reads the id out of a tracing header, such as `Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0`.
    pub fn of_header(header: &str) -> Option<Self> {
        let mut fields = header.split(';').map(str::trim);
        fields.find_map(|field| field.strip_prefix("Root="))?.parse().ok()
    }
}

impl FromStr for TraceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parse = || {
            let (seconds, random) = text.strip_prefix("1-")?.split_once('-')?;
            let is_hex = |digits: &str, length| {
                digits.len() == length
                    && digits
                        .bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            };
            (is_hex(seconds, 8) && is_hex(random, 24)).then_some(Self {
                seconds: u32::from_str_radix(seconds, 16).ok()?,
                random: u128::from_str_radix(random, 16).ok()?,
            })
        };
        parse().ok_or(IdError {
            expected: "a trace id: 1-, 8 hexadecimal digits, - and 24 hexadecimal digits",
        })
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1-{:08x}-{:024x}", self.seconds, self.random)
    }
}

impl TryFrom<String> for TraceId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(trace: TraceId) -> Self {
        trace.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::OsRandomness;

    const TEXT: &str = "1-5759e988-bd862e3fe1be46a994272793";

    #[test]
    fn the_root_of_a_header_counts() {
        let trace: TraceId = TEXT.parse().unwrap();
        for header in [
            format!("Root={TEXT}"),
            format!("Root={TEXT};Parent=53995c3f42cd8ad8;Sampled=1"),
            format!("Self=1-67891234-12456789abcdef012345678a;Root={TEXT};Lineage=a87bd80c:1|68fd508a:5"),
            format!("Sampled=0; Root={TEXT}"),
        ] {
            assert_eq!(TraceId::of_header(&header), Some(trace), "{header}");
        }
        for header in [
            "",
            "Root=",
            "Self=1-67891234-12456789abcdef012345678a",
            "Sampled=1",
        ] {
            assert_eq!(TraceId::of_header(header), None, "{header}");
        }
    }

    #[test]
    fn only_the_one_form_is_an_id() {
        for text in [
            "",
            "1-",
            "2-5759e988-bd862e3fe1be46a994272793",
            "1-5759e988bd862e3fe1be46a994272793",
            "1-5759e98-bd862e3fe1be46a994272793",
            "1-5759e988-bd862e3fe1be46a99427279",
            "1-5759E988-bd862e3fe1be46a994272793",
            "1-+759e988-bd862e3fe1be46a994272793",
            "1-5759e988-bd862e3fe1be46a994272793\n",
        ] {
            assert!(text.parse::<TraceId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn new_ids_begin_with_the_time_and_differ() {
        let now = Timestamp::from_second(0x5759_e988).unwrap();
        let [one, other] = [(); 2].map(|()| TraceId::generate(now, &OsRandomness));
        assert_ne!(one, other);
        assert!(one.to_string().starts_with("1-5759e988-"), "{one}");
    }

    proptest! {
        #[test]
        fn an_id_is_written_as_it_was_read(text in "1-[0-9a-f]{8}-[0-9a-f]{24}") {
            prop_assert_eq!(text.parse::<TraceId>().unwrap().to_string(), text);
        }

        #[test]
        fn any_new_id_can_be_read(second in 0_i64..=0xffff_ffff) {
            let trace = TraceId::generate(Timestamp::from_second(second).unwrap(), &OsRandomness);
            prop_assert_eq!(trace.to_string().parse(), Ok(trace));
        }
    }
}
