//! The pages: HTML from the function itself, with its own style and script and nothing from elsewhere.
//!
//! A tenant's page is a handler that takes [`member::Member`] (who has signed in and belongs to the tenant; everybody else
//! is sent to sign in, or finds nothing), asks what is to be shown, and has [`view`] write it: pure functions, from what is
//! known to HTML. A form carries [`crate::auth::SignedIn::csrf`] as its field `csrf`, and its handler takes
//! [`member::Decision`], which has checked it and that an administrator sent it. Style and script are files below
//! `assets`, embedded under names that hold their hash ([`assets`]), since the policy that every answer carries lets
//! nothing run that is written into a page.
//!
//! The script reads a page again while something happens on it, and takes over the parts that are marked as live; a page
//! that has not changed is not sent again ([`live`]). Without a script, loading it again does the same.

pub mod assets;
pub mod form;
mod guide;
mod images;
mod integrations;
mod join;
mod live;
mod member;
mod notifications;
mod operations;
mod search;
mod sign_in;
pub mod view;

use axum::{
    Router,
    extract::{FromRequestParts, OriginalUri, State},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{StatusCode, request::Parts};
use maud::html;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use self::view::{
    element::shown,
    layout::{self, Frame},
};
use crate::{auth::SignedIn, context::Console, error::Refusal};

/// Adds the pages.
pub(crate) fn router() -> Router<Console> {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in::page))
        .route("/assets/{name}", get(assets::serve))
        .route("/join", get(join::page).post(join::redeem))
        .route("/guide", get(guide::page))
        .route("/guide/ecr-integration.template", get(guide::template))
        .route("/operations", get(operations::page))
        .route("/operations/redrive", post(operations::redrive))
        .route("/tenants/{tenant}", get(images::overview))
        .route("/tenants/{tenant}/images", get(images::list))
        .route("/tenants/{tenant}/search", get(search::page))
        .route("/tenants/{tenant}/images/{digest}", get(images::show))
        .nest("/tenants/{tenant}/integrations", integrations())
        .nest("/tenants/{tenant}/notifications", notifications())
}

fn integrations() -> Router<Console> {
    Router::new()
        .route("/", get(integrations::list).post(integrations::create))
        .route("/new", get(integrations::new))
        .route("/{integration}", get(integrations::show))
        .route("/{integration}/regions", post(integrations::add_region))
        .route("/{integration}/verify", post(integrations::verify))
        .route("/{integration}/confirm", post(integrations::confirm))
        .route("/{integration}/rotate", post(integrations::rotate))
        .route(
            "/{integration}/remove",
            get(integrations::before_removal).post(integrations::remove),
        )
}

fn notifications() -> Router<Console> {
    Router::new()
        .route("/", get(notifications::list).post(notifications::create))
        .route("/{webhook}", get(notifications::show).post(notifications::edit))
        .route("/{webhook}/switch", post(notifications::switch))
        .route("/{webhook}/secret", post(notifications::renew_secret))
        .route("/{webhook}/test", post(notifications::test))
        .route("/{webhook}/redeliver", post(notifications::redeliver))
        .route(
            "/{webhook}/remove",
            get(notifications::before_removal).post(notifications::remove),
        )
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
            div.empty.card {
                h1 { (shown(&problem.message)) }
                p { (shown(&problem.fix)) }
                p { a.button.quiet href="/" { "Go to the start" } }
            }
        };
        let page = layout::page(&Frame::open("Something is not right"), &body);
        // What the log needs to know comes with the answer that a program would get.
        let mut response = self.0.into_response();
        let extensions = std::mem::take(response.extensions_mut());
        let mut shown = (response.status(), page).into_response();
        *shown.extensions_mut() = extensions;
        shown
    }
}

/// Leads to the tenant of whoever has one, and lets the others choose.
async fn home(State(console): State<Console>, Visitor(signed_in): Visitor) -> Result<Response, Shown> {
    let person = &signed_in.person;
    let (tenants, operator) = tokio::try_join!(
        console.access.tenants_of(person),
        console.access.of_operator(person)
    )?;
    if let ([(only, _)], None) = (&*tenants, operator) {
        return Ok(see(&format!("/tenants/{only}")));
    }
    let mut named = Vec::with_capacity(tenants.len());
    for (id, _) in tenants {
        if let Some(grant) = console.access.of_person(person, &id).await? {
            named.extend(console.tenants.own(grant.scope()).await?);
        }
    }
    let csrf = signed_in.csrf();
    let frame = Frame {
        visitor: Some(layout::Visitor {
            name: person.name(),
            csrf: &csrf,
            is_operator: operator.is_some(),
        }),
        ..Frame::open("Start")
    };
    Ok(layout::page(&frame, &view::home::page(&named, person.name())).into_response())
}

/// Answers a form that is done: the browser goes on to a page, and loading it again sends nothing again.
pub fn see(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(http::header::LOCATION, path.to_owned())]).into_response()
}
