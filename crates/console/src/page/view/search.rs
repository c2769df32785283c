//! Finding images: by digest, and by the name of their repository.

use maud::{Markup, html};
use portwarden_core::{id::TenantId, image::RepositoryId};

use super::{element::shown, images::repository_value};

/// What was found.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// Whose images are searched.
    pub tenant: &'a TenantId,
    /// What is looked for.
    pub query: &'a str,
    /// The repositories whose names contain it.
    pub repositories: &'a [RepositoryId],
    /// Whether there are so many repositories that not all were looked at.
    pub is_partial: bool,
}

/// Shows the field in which a search is typed.
pub fn field(tenant: &TenantId, query: &str) -> Markup {
    html! {
        form.search role="search" method="get" action={ "/tenants/" (tenant) "/search" } {
            label.unseen for="search" { "Search by repository or digest" }
            input #search type="search" name="q" value=(shown(query)) maxlength="256" required spellcheck="false" autocapitalize="none"
                placeholder="shop/web, sha256:…";
            button type="submit" { "Search" }
        }
    }
}

/// Shows what was found.
pub fn page(view: &Search<'_>) -> Markup {
    let images = format!("/tenants/{}/images", view.tenant);
    html! {
        h1 { "Search" }
        (field(view.tenant, view.query))
        @if view.repositories.is_empty() {
            div.empty.card {
                p { "Nothing is called “" (shown(view.query)) "”." }
                p.dim { "A digest is given in full, as sha256: and 64 digits; of a repository’s name, a part will do." }
            }
        } @else {
            h2 { "Repositories" }
            ul.card.todo {
                @for repository in view.repositories {
                    li {
                        a href={ (images) "?repository=" (repository_value(repository)) } { (repository.repository) }
                        span.dim { " · " (repository.region) " · " (repository.account) }
                    }
                }
            }
        }
        @if view.is_partial { p.dim { "Only the first repositories were looked at, in the order of their names." } }
    }
}
