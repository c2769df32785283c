//! What must hold of many parsers.

use std::{error::Error, fmt, str::FromStr};

use portwarden_core::problem::{MAX_CHAIN, chain};
use serde::{Serialize, de::DeserializeOwned};

/// How long a message of ours may be, in bytes, however long the input was.
const MAX_MESSAGE: usize = 1024;

/// An error says what is wrong in a few words, and its chain fits into a line of a log.
pub(crate) fn error_is_short(error: &(dyn Error + 'static)) {
    let message = error.to_string();
    // A parser of JSON quotes what it was given; such errors are shown by `chain` alone, which cuts them.
    assert!(
        message.len() <= MAX_MESSAGE || error.is::<serde_json::Error>(),
        "an error of {} bytes: {message:.200}",
        message.len()
    );
    assert!(chain(error).len() <= MAX_CHAIN + '…'.len_utf8());
}

/// Text that is parsed is written as it came, and as JSON it is read by the same rules.
pub(crate) fn text_comes_back<T>(input: &str, longest: usize) -> Option<T>
where
    T: FromStr<Err: Error + 'static> + fmt::Display + PartialEq + fmt::Debug + Serialize + DeserializeOwned,
{
    let json = serde_json::to_string(input).unwrap();
    let read: Result<T, _> = serde_json::from_str(&json);
    match input.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string(), input);
            assert!((1..=longest).contains(&input.len()), "{} bytes", input.len());
            assert!(is_one_plain_word(input), "{input:?}");
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(read.unwrap(), value);
            Some(value)
        }
        Err(error) => {
            error_is_short(&error);
            error_is_short(&read.unwrap_err());
            None
        }
    }
}

/// What is parsed is written as JSON and read again to the same.
pub(crate) fn json_comes_back<T>(value: &T)
where
    T: PartialEq + fmt::Debug + Serialize + DeserializeOwned,
{
    let json = serde_json::to_vec(value).unwrap();
    assert_eq!(&serde_json::from_slice::<T>(&json).unwrap(), value);
}

/// Tells whether a text can stand in a key, a URL's path, a header or a line of a log as it is.
pub(crate) fn is_one_plain_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
