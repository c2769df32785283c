//! Lists come in pages, and a cursor says where the next one begins.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use crate::error::Refusal;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// The cursor of the page before; none for the first page.
    pub(crate) cursor: Option<String>,
    /// How many things a page has at most, from 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    pub(crate) limit: Option<usize>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The things.
    pub(crate) items: Vec<T>,
    /// What to send as `cursor` for the next page; none when this is the last one.
    pub(crate) next_cursor: Option<String>,
}

/// How many things a page has that does not say.
const USUAL: usize = 50;

impl PageQuery {
    /// Returns how many things the page has at most.
    pub(crate) fn limit(&self) -> Result<usize, Refusal> {
        match self.limit {
            None => Ok(USUAL),
            Some(limit @ 1..=100) => Ok(limit),
            Some(_) => Err(Refusal::invalid(
                "limit_invalid",
                "A page has 1 to 100 things.",
                "Send a limit from 1 to 100, or none.",
            )),
        }
    }

    /// Returns where the page before ended.
    pub(crate) fn after<T: DeserializeOwned>(&self) -> Result<Option<T>, Refusal> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
        let after = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        after.map(Some).ok_or_else(cursor_invalid)
    }
}

/// Refuses a cursor that did not come from the list.
pub(crate) fn cursor_invalid() -> Refusal {
    let fix = "Send next_cursor of the page before as it is, to the same list.";
    Refusal::invalid("cursor_invalid", "The cursor is not one of this list.", fix)
}

impl<T> Page<T> {
    /// Makes a page that ends with the last of `items`, whose place in the list `place` names.
    pub(crate) fn new<P: Serialize>(items: Vec<T>, more: bool, place: impl Fn(&T) -> P) -> Self {
        let last = items.last().filter(|_| more).map(place);
        Self::going_on(items, last)
    }

    /// Makes a page behind which the list goes on at a place, if it does.
    pub(crate) fn going_on<P: Serialize>(items: Vec<T>, place: Option<P>) -> Self {
        let next_cursor = place
            .and_then(|place| serde_json::to_vec(&place).ok())
            .map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes));
        Self { items, next_cursor }
    }
}
