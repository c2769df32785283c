//! The operator's page: tenants in numbers, queues with what was given up, and how old the advisories are.

use axum::{
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;
use portwarden_core::{id::TenantId, scope::TenantsScope};
use serde::Deserialize;

use super::{
    Shown, Visitor,
    form::SafeForm,
    live, see,
    view::{
        layout::{self, Frame, Pace, Section},
        operations::{self, OperationsPage},
    },
};
use crate::{auth::SignedIn, context::Console, error::Refusal};

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    after: String,
    moved: Option<u64>,
}

/// How many tenants a page shows.
const TENANTS: usize = 25;

/// Whoever is no operator finds nothing there.
async fn scope(console: &Console, signed_in: &SignedIn) -> Result<TenantsScope, Refusal> {
    let scope = console.access.of_operator(&signed_in.person).await?;
    scope.ok_or(Refusal::NotFound)
}

/// Shows the page.
pub(super) async fn page(
    State(console): State<Console>,
    Visitor(signed_in): Visitor,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Shown> {
    let scope = scope(&console, &signed_in).await?;
    let after = match wanted.after.as_str() {
        "" => None,
        text => Some(text.parse::<TenantId>().map_err(|_| Refusal::NotFound)?),
    };
    let now = console.clock.now();
    let tenants = console.operations.tenants(scope, after.as_ref(), TENANTS, now);
    let ((tenants, more), shelf) = tokio::try_join!(tenants, console.editions.shelf())?;
    let queues = console.queues.queues().await.map_err(Refusal::from)?;
    let csrf = signed_in.csrf();
    let content = operations::page(&OperationsPage {
        csrf: &csrf,
        queues: &queues,
        moved: wanted.moved,
        shelf: &shelf,
        next: tenants.last().filter(|_| more).map(|last| &last.tenant),
        tenants: &tenants,
        is_later: after.is_some(),
        now,
    });
    let frame = Frame {
        title: "Operations",
        visitor: Some(layout::Visitor {
            name: signed_in.person.name(),
            csrf: &csrf,
            is_operator: true,
        }),
        section: Some(Section::Operations),
        pace: Pace::Resting,
        ..Frame::open("Operations")
    };
    Ok(live::answer(&headers, layout::page(&frame, &content)))
}

#[derive(Deserialize)]
pub(super) struct Queue {
    queue: String,
}

/// Puts messages of a queue that were given up back into it.
pub(super) async fn redrive(
    State(console): State<Console>,
    SafeForm { signed_in, fields }: SafeForm<Queue>,
) -> Result<Response, Shown> {
    scope(&console, &signed_in).await?;
    let moved = console
        .queues
        .redrive(&fields.queue)
        .await
        .map_err(Refusal::from)?;
    let moved = moved.ok_or(Refusal::NotFound)?;
    Ok(see(&format!("/operations?moved={moved}")).into_response())
}
