//! Images as they come, the newest first.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use portwarden_advisories::Level;
use portwarden_core::{
    id::TenantId,
    image::{ImageSummary, RepositoryId, ScanResult},
    work::KnownBy,
};
use portwarden_oci::Digest;

use super::{
    element::{self, Mark, badge, shown, time},
    search,
};

/// What the page shows.
#[derive(Debug, Clone)]
pub struct ImagesPage<'a> {
    /// Whose they are.
    pub tenant: &'a TenantId,
    /// The images of this page.
    pub images: &'a [ImageSummary],
    /// The one repository that is shown, if not all are.
    pub repository: Option<&'a RepositoryId>,
    /// What is in a tag of each image that is shown; empty if all are.
    pub tag: &'a str,
    /// The repositories to choose from.
    pub repositories: &'a [RepositoryId],
    /// Where the next page is.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later: bool,
    /// Whether any account is connected.
    pub is_connected: bool,
    /// Now.
    pub now: Timestamp,
}

/// How long a scan may take until a page stops waiting for it.
const SOON: SignedDuration = SignedDuration::from_mins(15);

impl ImagesPage<'_> {
    /// Tells whether a report is on its way.
    pub fn is_moving(&self) -> bool {
        self.images.iter().any(|image| is_awaited(image, self.now))
    }
}

/// Tells whether an image's report is on its way.
pub fn is_awaited(image: &ImageSummary, now: Timestamp) -> bool {
    image.scan.is_none() && now.duration_since(image.known_at) < SOON
}

/// Shows the page.
pub fn page(view: &ImagesPage<'_>) -> Markup {
    let root = format!("/tenants/{}/images", view.tenant);
    html! {
        h1 { "Images" }
        (search::field(view.tenant, ""))
        @if !view.repositories.is_empty() { (choice(view, &root)) }
        div #images data-live {
            @if view.images.is_empty() { (nothing(view)) } @else { (rows(view.tenant, view.images, view.now)) }
            nav.pager aria-label="Pages" {
                @if view.is_later { a.button.quiet href=(root) { "Newest" } }
                @if let Some(next) = &view.next {
                    a.button.quiet href=(next) rel="next" { @if view.images.is_empty() { "Look further back" } @else { "Older" } }
                }
            }
        }
    }
}

fn choice(view: &ImagesPage<'_>, root: &str) -> Markup {
    html! {
        form.filter method="get" action=(root) {
            div.field.wide {
                label for="repository" { "Repository" }
                select #repository name="repository" data-submit {
                    option value="" selected[view.repository.is_none()] { "All repositories" }
                    @for repository in view.repositories {
                        option value=(repository_value(repository)) selected[view.repository == Some(repository)] {
                            (repository.repository) " · " (repository.region) " · " (repository.account)
                        }
                    }
                }
            }
            div.field {
                label for="tag" { "Tag" }
                input #tag type="text" name="tag" value=(view.tag) maxlength="128" placeholder="part of it" spellcheck="false" autocapitalize="none";
            }
            button.quiet type="submit" { "Show" }
        }
    }
}

/// Writes a repository as the form's value.
pub fn repository_value(repository: &RepositoryId) -> String {
    format!(
        "{}/{}/{}",
        repository.account, repository.region, repository.repository
    )
}

/// Reads a repository as the form writes it.
pub fn parse_repository(value: &str) -> Option<RepositoryId> {
    let mut parts = value.splitn(3, '/');
    Some(RepositoryId {
        account: parts.next()?.parse().ok()?,
        region: parts.next()?.parse().ok()?,
        repository: parts.next()?.parse().ok()?,
    })
}

fn nothing(view: &ImagesPage<'_>) -> Markup {
    html! {
        div.empty.card {
            @if !view.tag.is_empty() && view.next.is_some() {
                p { "None of the images that were looked through has a tag with “" (shown(view.tag)) "” in it." }
            } @else if !view.tag.is_empty() {
                p { "There is no image here with “" (shown(view.tag)) "” in a tag." }
            } @else if view.is_later || view.repository.is_some() {
                p { "There is no image here." }
            } @else if view.is_connected {
                h2 { "No image is known yet" }
                p { "What is pushed to a watched registry appears here within seconds; what is there already, once the account is connected." }
            } @else {
                h2 { "No account is connected yet" }
                p { "Images appear here once an account is connected." }
                p { a.button href={ "/tenants/" (view.tenant) "/integrations/new" } { "Connect an account" } }
            }
        }
    }
}

/// Shows images in rows.
pub fn rows(tenant: &TenantId, images: &[ImageSummary], now: Timestamp) -> Markup {
    html! {
        table.rows {
            thead { tr {
                th scope="col" { "Image" }
                th scope="col" { "Pushed" }
                th scope="col" { "Known by" }
                th scope="col" { "Findings" }
                th scope="col" { "Report" }
            } }
            tbody { @for image in images { (row(tenant, image, now)) } }
        }
    }
}

fn row(tenant: &TenantId, image: &ImageSummary, now: Timestamp) -> Markup {
    let place = image.places.first();
    html! {
        tr {
            th scope="row" {
                a href={ "/tenants/" (tenant) "/images/" (image.digest) } {
                    @match place { Some(place) => (place.repository), None => "no repository any more" }
                }
                @if let Some(place) = place {
                    span.tags {
                        @for tag in &place.tags { " " span.tag { (tag) } }
                        @let more = place.tag_count.saturating_sub(place.tags.len());
                        @if more > 0 { " " span.dim { "and " (more) " more" } }
                    }
                }
                div.dim {
                    code { (short(&image.digest)) }
                    @if let Some(place) = place { " · " (place.region) " · " (place.account) }
                    @if image.place_count > 1 { " · in " (image.place_count) " places" }
                }
            }
            td data-label="Pushed" { (time(image.since)) }
            td data-label="Known by" { (known_by(image.known_by)) }
            td data-label="Findings" { (counts(image)) (changes(tenant, image)) }
            td data-label="Report" { (report(image, now)) }
        }
    }
}

/// Shows how many findings of each severity count, the worst first, and how many of them have a fix.
pub fn counts(image: &ImageSummary) -> Markup {
    let number = |level: Level| {
        let findings = image.findings.as_ref()?;
        let number = findings.by_severity.get(level.as_str()).copied()?;
        (number > 0).then_some(number)
    };
    html! {
        @match &image.findings {
            None => span.dim { "–" span.unseen { "not known yet" } },
            Some(findings) if findings.by_severity.values().sum::<usize>() == 0 => (badge(Mark::Good, "none")),
            Some(findings) => {
                span.counts {
                    @for level in Level::ALL.into_iter().rev() {
                        @if let Some(number) = number(level) {
                            span.count.(level.as_str()) title=(level.as_str()) { (number) span.unseen { " " (level.as_str()) } } " "
                        }
                    }
                }
                @if findings.fixable > 0 { div.dim { (findings.fixable) " with a fix" } }
            }
        }
    }
}

/// Says how an image differed from the one before it when it came, and leads to what it was.
fn changes(tenant: &TenantId, image: &ImageSummary) -> Markup {
    html! {
        @if let Some(changes) = image.changes {
            div {
                a.since href={ "/tenants/" (tenant) "/images/" (image.digest) "?view=changes" } title="since the image before it" {
                    @if changes.new + changes.fixed == 0 { "as before" } @else {
                        (changes.new) " new, " (changes.fixed) " gone"
                    }
                    span.unseen { " since the image before it" }
                }
            }
        }
    }
}

/// Says how an image became known.
pub fn known_by(how: KnownBy) -> Markup {
    let (word, why) = match how {
        KnownBy::Event => ("event", "ECR told of it"),
        KnownBy::Backfill => ("backfill", "it was there when the account was connected"),
        KnownBy::Reconcile => (
            "comparison",
            "a comparison with ECR found it: its event did not come",
        ),
    };
    html! { span.how title=(why) { (word) } }
}

fn report(image: &ImageSummary, now: Timestamp) -> Markup {
    html! {
        @match &image.scan {
            Some(scan) => {
                @match &scan.result {
                    ScanResult::Reported { packages, partial, .. } => {
                        (badge(Mark::Good, "reported"))
                        " " span.whole { (element::count(*packages, "package", "packages")) }
                        @if *partial { " " (badge(Mark::Unsure, "partial")) }
                    }
                    ScanResult::Refused { problem } => {
                        (badge(Mark::Bad, "not scanned")) " " span.dim { (shown(&problem.message)) }
                    }
                }
                @if image.known_by == KnownBy::Event {
                    div.dim { (took(image.since, scan.at)) " after the push" }
                }
            }
            None if is_awaited(image, now) => (badge(Mark::Turn, "being scanned")),
            None => span.dim { "none yet" },
        }
    }
}

/// Says how long something took.
pub fn took(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Writes the beginning of a digest, which tells images apart for people.
pub fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_read_as_it_is_written() {
        let repository = RepositoryId {
            account: "111122223333".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            repository: "shop/web/front".parse().unwrap(),
        };
        assert_eq!(parse_repository(&repository_value(&repository)), Some(repository));
        for wrong in [
            "",
            "1/2",
            "111122223333/eu-central-1/",
            "111122223333/eu-central-1/A",
            "x/eu-central-1/a",
        ] {
            assert_eq!(parse_repository(wrong), None, "{wrong}");
        }
    }
}
