//! Search: one field for packages, flaws, repositories and digests.

use axum::{
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use portwarden_core::{
    image::{Cursor, List, RepositoryId},
    scope::TenantScope,
    store::StoreError,
};
use portwarden_oci::Digest;
use serde::Deserialize;

use super::{
    Shown,
    member::Member,
    see,
    view::{
        layout::{Pace, Section},
        search::{self, Found, Search},
    },
};
use crate::{
    context::{Console, Context},
    error::Refusal,
    finding,
};

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct SearchQuery {
    q: String,
    /// Where the packages go on, if nothing else is to be shown.
    packages: String,
    /// Where the images with a flaw go on, if nothing else is to be shown.
    flawed: String,
}

/// How many packages, and how many images with a flaw, a page shows.
const SHOWN: usize = 25;

/// How many pages of repositories a search looks through, of a hundred each.
const SEARCHED_PAGES: usize = 10;

/// Leads to the image of a digest, or shows what is called so.
pub(super) async fn page(
    State(console): State<Console>,
    member: Member,
    Query(query): Query<SearchQuery>,
) -> Result<Response, Shown> {
    let (text, scope) = (query.q.trim(), member.scope());
    let tenant = &member.tenant.id;
    if let Ok(digest) = text.parse::<Digest>()
        && console.images.summary(scope, &digest).await?.is_some()
    {
        return Ok(see(&format!("/tenants/{tenant}/images/{digest}")));
    }
    let cursor = |text: &str| match text {
        "" => Ok(None),
        text => text.parse::<Cursor>().map(Some).map_err(|_| Refusal::NotFound),
    };
    let (packages_after, flawed_after) = (cursor(&query.packages)?, cursor(&query.flawed)?);
    let goes_on = packages_after.is_some() || flawed_after.is_some();
    let packages = async {
        match &flawed_after {
            Some(_) => Ok(nothing()),
            None => finding::holders(&console, scope, text, packages_after.as_ref(), SHOWN).await,
        }
    };
    let flawed = async {
        match &packages_after {
            Some(_) => Ok(nothing()),
            None => finding::with_flaw(&console, scope, text, flawed_after.as_ref(), SHOWN).await,
        }
    };
    let repositories = async {
        if goes_on {
            Ok((Vec::new(), false))
        } else {
            repositories(&console, scope, text).await
        }
    };
    let (packages, flawed, (repositories, is_partial)) = tokio::try_join!(packages, flawed, repositories)?;
    let address = search::address(tenant, text);
    let next = |name: &str, next: Option<&Cursor>| next.map(|next| format!("{address}&{name}={next}"));
    let view = Search {
        tenant,
        query: text,
        flawed: Found {
            items: &flawed.items,
            next: next("flawed", flawed.next.as_ref()),
        },
        packages: Found {
            items: &packages.items,
            next: next("packages", packages.next.as_ref()),
        },
        repositories: &repositories,
        is_partial,
        now: console.clock.now(),
    };
    let content = search::page(&view);
    Ok(member
        .page("Search", Section::Images, Pace::Still, &content)
        .into_response())
}

fn nothing<T>() -> List<T> {
    List {
        items: Vec::new(),
        next: None,
    }
}

/// Returns the repositories whose names contain a text, and whether there are so many that not all were looked at.
async fn repositories(
    console: &Context,
    scope: &TenantScope,
    text: &str,
) -> Result<(Vec<RepositoryId>, bool), StoreError> {
    let needle = text.to_lowercase();
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..SEARCHED_PAGES {
        let page = console
            .images
            .repositories(scope, None, after.as_ref(), 100)
            .await?;
        let is_meant = |repository: &RepositoryId| repository.repository.as_str().contains(&needle);
        found.extend(page.items.into_iter().filter(is_meant));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    found.truncate(100);
    Ok((found, after.is_some()))
}
