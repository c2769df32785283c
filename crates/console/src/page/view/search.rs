//! Finding things: images by digest, by package and by flaw, and repositories by name.

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portwarden_core::{
    id::TenantId,
    image::{ImageSummary, RepositoryId},
    inventory::Holder,
};

use jiff::Timestamp;

use super::{
    element::{clipped, shown},
    images::{self, counts, repository_value},
};

/// What was found.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// Whose images are searched.
    pub tenant: &'a TenantId,
    /// What is looked for.
    pub query: &'a str,
    /// The images that have a flaw of that name.
    pub flawed: Found<'a, ImageSummary>,
    /// The packages whose names begin with it, and the images that hold them.
    pub packages: Found<'a, (Holder, ImageSummary)>,
    /// The repositories whose names contain it.
    pub repositories: &'a [RepositoryId],
    /// Whether there are so many repositories that not all were looked at.
    pub is_partial: bool,
    /// Now.
    pub now: Timestamp,
}

/// Some of what was found.
#[derive(Debug, Clone)]
pub struct Found<'a, T> {
    /// The things.
    pub items: &'a [T],
    /// Where there are more.
    pub next: Option<String>,
}

/// Shows the field in which a search is typed.
pub fn field(tenant: &TenantId, query: &str) -> Markup {
    html! {
        form.search role="search" method="get" action={ "/tenants/" (tenant) "/search" } {
            label.unseen for="search" { "Search by package, flaw, repository or digest" }
            input #search type="search" name="q" value=(shown(query)) maxlength="256" required spellcheck="false" autocapitalize="none"
                placeholder="log4j-core, CVE-2021-44228, shop/web, sha256:…";
            button type="submit" { "Search" }
        }
    }
}

/// Writes the address of a search.
pub fn address(tenant: &TenantId, query: &str) -> String {
    format!(
        "/tenants/{tenant}/search?q={}",
        utf8_percent_encode(query, NON_ALPHANUMERIC)
    )
}

/// Shows what was found.
pub fn page(view: &Search<'_>) -> Markup {
    let images = format!("/tenants/{}/images", view.tenant);
    let is_empty =
        view.flawed.items.is_empty() && view.packages.items.is_empty() && view.repositories.is_empty();
    html! {
        h1 { "Search" }
        (field(view.tenant, view.query))
        @if is_empty {
            div.empty.card {
                p { "Nothing is called “" (shown(view.query)) "”." }
                p.dim { "Of a package, the beginning of its name will do, and of a repository any part; flaws and digests are given in full." }
            }
        }
        @if !view.flawed.items.is_empty() {
            h2 { "Images with " (shown(view.query)) }
            (images::rows(view.tenant, view.flawed.items, view.now))
            (more(view.flawed.next.as_ref(), "More images"))
        }
        @if !view.packages.items.is_empty() {
            h2 { "Packages" }
            (packages(view))
            (more(view.packages.next.as_ref(), "More packages"))
        }
        @if !view.repositories.is_empty() {
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

fn packages(view: &Search<'_>) -> Markup {
    html! {
        table.rows {
            thead { tr { th scope="col" { "Package" } th scope="col" { "Version" } th scope="col" { "Image" } th scope="col" { "Findings" } } }
            tbody { @for (holder, image) in view.packages.items {
                tr {
                    th scope="row" { (clipped(&holder.package.name, 120)) div.dim { (clipped(&holder.package.ecosystem, 60)) } }
                    td.number.break data-label="Version" { (clipped(&holder.versions.join(", "), 120)) }
                    td data-label="Image" {
                        a href={ "/tenants/" (view.tenant) "/images/" (image.digest) "?view=packages&q=" (utf8_percent_encode(&holder.package.name, NON_ALPHANUMERIC)) } {
                            @match image.places.first() { Some(place) => (place.repository), None => "no repository any more" }
                        }
                        @if let Some(place) = image.places.first() {
                            span.tags { @for tag in place.tags.iter().take(3) { " " span.tag { (tag) } } }
                        }
                    }
                    td data-label="Findings" { (counts(image)) }
                }
            } }
        }
    }
}

fn more(next: Option<&String>, words: &str) -> Markup {
    html! { @if let Some(next) = next { p { a.button.quiet href=(next) { (words) } } } }
}
