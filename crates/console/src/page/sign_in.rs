//! The page of whoever has not signed in.

use axum::extract::Query;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::view::layout::{self, Frame};

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    return_to: String,
}

/// Shows one button, which leads to the issuer.
pub(super) async fn page(Query(wanted): Query<Wanted>) -> Markup {
    let start = format!(
        "/sign-in/start?return_to={}",
        utf8_percent_encode(&wanted.return_to, NON_ALPHANUMERIC)
    );
    let body = html! {
        div.empty.card {
            h1 { "Sign in" }
            p { "Portwarden shows what is in the container images of your AWS accounts." }
            p { a.button.big href=(start) { "Sign in" } }
            p { a href="/guide" { "What it means to connect an account" } }
        }
    };
    layout::page(&Frame::open("Sign in"), &body)
}
