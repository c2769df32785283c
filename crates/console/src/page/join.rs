//! Where somebody redeems an invitation.
//!
//! The link that they were given holds the token behind its `#`: browsers send that to nobody, and the page's own script
//! fills it in. Whoever had to sign in first, or has no script, pastes it.

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use portwarden_core::access::{Joined, Token, TokenKind};
use serde::Deserialize;

use super::{
    Shown, Visitor,
    form::SafeForm,
    see,
    view::layout::{self, Frame},
};
use crate::{context::Console, error::Refusal};

/// Shows one field, and a button.
pub(super) async fn page(Visitor(signed_in): Visitor) -> Markup {
    let csrf = signed_in.csrf();
    let frame = Frame {
        visitor: Some(layout::Visitor {
            name: signed_in.person.name(),
            csrf: &csrf,
            is_operator: false,
        }),
        ..Frame::open("Join")
    };
    let body = html! {
        div.empty.card {
            h1 { "Join" }
            p { "Somebody has invited you. You are signed in as " (signed_in.person.name()) "." }
            form method="post" action="/join" {
                input type="hidden" name="csrf" value=(csrf);
                p {
                    label for="token" { "Invitation, as it stands behind the # of the link" }
                    input #token name="token" required autocomplete="off" spellcheck="false" data-fragment;
                }
                button.big type="submit" { "Join" }
            }
        }
    };
    layout::page(&frame, &body)
}

#[derive(Deserialize)]
pub(super) struct Redeemed {
    token: String,
}

/// Makes the visitor what the invitation says.
pub(super) async fn redeem(
    State(console): State<Console>,
    form: SafeForm<Redeemed>,
) -> Result<Response, Shown> {
    let text = form.fields.token.trim();
    let text = text.rsplit('#').next().unwrap_or_default();
    let token = Token::parse(TokenKind::Invitation, text).ok_or_else(Refusal::no_invitation)?;
    let now = console.clock.now();
    let joined = console
        .invitations
        .redeem(&token, &form.signed_in.person, now)
        .await?;
    match joined.ok_or_else(Refusal::no_invitation)? {
        Joined::Tenant(tenant, _) => Ok(see(&format!("/tenants/{tenant}"))),
        Joined::Operators => Ok(see("/")),
    }
}
