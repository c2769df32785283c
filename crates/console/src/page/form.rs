//! Forms of pages.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Shown, Visitor};
use crate::{
    auth::{SignedIn, csrf_missing},
    context::Console,
    error::Refusal,
};

/// The fields of a form, as they came.
pub struct Form<T>(pub T);

/// The fields of a form of somebody who has signed in, sent from a page of this very session.
pub struct SafeForm<T> {
    /// Who.
    pub signed_in: SignedIn,
    /// The fields.
    pub fields: T,
}

#[derive(Deserialize)]
struct Csrf {
    #[serde(default)]
    csrf: String,
}

impl<T: DeserializeOwned> FromRequest<Console> for Form<T> {
    type Rejection = Shown;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Shown> {
        let bytes = Bytes::from_request(request, console)
            .await
            .map_err(|_| Refusal::TooLarge)?;
        read(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Console> for SafeForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Visitor(signed_in) =
            <Visitor as axum::extract::FromRequestParts<Console>>::from_request_parts(&mut parts, console)
                .await?;
        let request = Request::from_parts(parts, body);
        let shown = |refusal: Refusal| Shown(refusal).into_response();
        let bytes = Bytes::from_request(request, console)
            .await
            .map_err(|_| shown(Refusal::TooLarge))?;
        let Csrf { csrf } = read(&bytes).map_err(IntoResponse::into_response)?;
        if !signed_in.accepts_csrf(&csrf) {
            return Err(shown(csrf_missing()));
        }
        let fields = read(&bytes).map_err(IntoResponse::into_response)?;
        Ok(Self { signed_in, fields })
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Shown> {
    serde_urlencoded::from_bytes(bytes).map_err(|_| {
        let fix = "Load the page again, and fill the form in again.";
        Shown(Refusal::invalid(
            "form_unreadable",
            "The form cannot be read.",
            fix,
        ))
    })
}
