//! The pages: HTML from the function itself, with its own style and script and nothing from elsewhere.
//!
//! A page is a handler that takes [`Visitor`] (who has signed in; everybody else is sent to sign in) and returns
//! [`layout::page`] or a [`Shown`] refusal. A form carries [`crate::auth::SignedIn::csrf`] as its field `csrf`, and its
//! handler takes [`form::SafeForm`], which has checked it. Style and script are files below `assets`, embedded under
//! names that hold their hash ([`assets`]), since the policy that every answer carries lets nothing run that is written
//! into a page.

pub mod assets;
pub mod form;
pub mod layout;
mod sign_in;

use axum::{
    Router,
    extract::{FromRequestParts, OriginalUri},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{StatusCode, request::Parts};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{auth::SignedIn, context::Console, error::Refusal};

/// Adds the pages.
pub(crate) fn router() -> Router<Console> {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in::page))
        .route("/assets/{name}", get(assets::serve))
}

/// Somebody who has signed in and looks at a page.
#[derive(Debug, Clone)]
pub struct Visitor(pub SignedIn);

impl FromRequestParts<Console> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        match SignedIn::of(console, &parts.headers).await {
            Ok(Some(signed_in)) => Ok(Self(signed_in)),
            Ok(None) => {
                let uri = parts.extensions.get::<OriginalUri>();
                let path = uri
                    .and_then(|uri| uri.path_and_query())
                    .map_or("/", http::uri::PathAndQuery::as_str);
                let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
                Err(Redirect::to(&format!("/sign-in?return_to={path}")).into_response())
            }
            Err(refusal) => Err(Shown(refusal).into_response()),
        }
    }
}

/// A refusal as a page.
#[derive(Debug)]
pub struct Shown(pub Refusal);

impl From<Refusal> for Shown {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<portwarden_core::store::StoreError> for Shown {
    fn from(error: portwarden_core::store::StoreError) -> Self {
        Self(error.into())
    }
}

impl From<crate::auth::FetchError> for Shown {
    fn from(error: crate::auth::FetchError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        let problem = self.0.problem();
        let body = html! {
            h1 { (problem.message) }
            p { (problem.fix) }
            p { a href="/" { "Go to the start" } }
        };
        let page = layout::page("Something is not right", None, &body);
        // What the log needs to know comes with the answer that a program would get.
        let mut response = self.0.into_response();
        let extensions = std::mem::take(response.extensions_mut());
        let mut shown = (response.status(), page).into_response();
        *shown.extensions_mut() = extensions;
        shown
    }
}

async fn home(Visitor(signed_in): Visitor) -> Result<Markup, Shown> {
    let body = html! {
        h1 { "Portwarden" }
        p { "You are signed in as " (signed_in.person.name()) "." }
    };
    Ok(layout::page("Start", Some(&signed_in), &body))
}

/// Answers a form that is done: the browser goes on to a page, and loading it again sends nothing again.
pub fn see(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(http::header::LOCATION, path.to_owned())]).into_response()
}
