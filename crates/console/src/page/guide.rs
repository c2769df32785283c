//! The setup guide and the template, for anybody.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use maud::Markup;
use portwarden_core::tenant_template;
use portwarden_oci::Digest;

use super::{
    Shown,
    view::{
        guide::{self, Guide},
        layout::{self, Frame, Pace, Section},
    },
};
use crate::{auth::SignedIn, context::Console};

/// Shows the guide; whoever has signed in finds their way back.
pub(super) async fn page(State(console): State<Console>, headers: HeaderMap) -> Result<Markup, Shown> {
    let signed_in = SignedIn::of(&console, &headers).await?;
    let place = &console.place;
    let template = tenant_template::render(&place.connector);
    let content = guide::page(&Guide {
        links: &place.launch_pad.blank_links(),
        template_url: place.launch_pad.template_url(),
        template_sha256: &Digest::of(template.as_bytes()).hex(),
        connector: &place.connector,
    });
    let csrf = signed_in.as_ref().map(SignedIn::csrf).unwrap_or_default();
    let is_operator = match &signed_in {
        Some(signed_in) => console.access.of_operator(&signed_in.person).await?.is_some(),
        None => false,
    };
    let frame = Frame {
        title: "Setup guide",
        visitor: signed_in.as_ref().map(|signed_in| layout::Visitor {
            name: signed_in.person.name(),
            csrf: &csrf,
            is_operator,
        }),
        tenant: None,
        section: Some(Section::Guide),
        pace: Pace::Still,
    };
    Ok(layout::page(&frame, &content))
}

/// Shows the template as it is published, as text.
pub(super) async fn template(State(console): State<Console>) -> Response {
    let template = tenant_template::render(&console.place.connector);
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], template).into_response()
}
