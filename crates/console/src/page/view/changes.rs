//! What came and went since the image before, as a part of an image's page.

use maud::{Markup, html};
use portwarden_core::{id::TenantId, image::ImageSummary};
use portwarden_oci::Tag;
use portwarden_report::{Cause, Change, Changes};

use super::{
    element::{Mark, badge, clipped, count, time},
    image::level,
    images::short,
};

/// How many changes of a kind are shown.
const MOST: usize = 100;

/// Shows the part.
pub(super) fn section(tenant: &TenantId, since: Option<(&Tag, &ImageSummary, &Changes)>) -> Markup {
    let Some((tag, before, changes)) = since else {
        return html! { p.dim { "No tag of this image is known to have named another one before, with a report to compare with." } };
    };
    html! {
        p {
            "Compared with what " span.tag { (tag) } " named before, "
            a href={ "/tenants/" (tenant) "/images/" (before.digest) } {
                @match before.places.first() {
                    Some(place) => (place.repository),
                    None => "an image that is gone",
                }
                " " code { (short(&before.digest)) }
            }
            ", pushed " (time(before.since)) ": "
            (count(changes.new.len(), "finding came", "findings came")) ", "
            (count(changes.fixed.len(), "went", "went")) ", "
            (count(changes.still_there.len(), "is", "are")) " still there."
        }
        @if changes.is_empty() { p { (badge(Mark::Good, "nothing new")) } }
        (table("New", Mark::Bad, &changes.new))
        (table("Gone", Mark::Good, &changes.fixed))
        (table("Suppressed", Mark::Unsure, &changes.suppressed))
    }
}

fn table(title: &str, mark: Mark, changes: &[Change]) -> Markup {
    html! {
        @if !changes.is_empty() {
            h2 { (title) " " (badge(mark, &changes.len().to_string())) }
            table.rows {
                thead { tr { th scope="col" { "Flaw" } th scope="col" { "Severity" } th scope="col" { "Package" } th scope="col" { "Why" } } }
                tbody { @for change in changes.iter().take(MOST) {
                    @let finding = &change.found.finding;
                    tr {
                        th scope="row" { span { (clipped(&finding.id, 60)) } @if !finding.summary.is_empty() { div.dim { (clipped(&finding.summary, 200)) } } }
                        td data-label="Severity" { span.level.(level(finding.severity.level)) { (level(finding.severity.level)) } }
                        td data-label="Package" { span.break { (clipped(&change.found.name, 120)) } " " span.number { (clipped(change.found.version.as_deref().unwrap_or_default(), 60)) } }
                        td data-label="Why" { (why(&change.cause)) }
                    }
                } }
            }
            @if changes.len() > MOST { p.dim { "and " (changes.len() - MOST) " more" } }
        }
    }
}

fn why(cause: &Cause) -> Markup {
    html! {
        @match cause {
            Cause::PackageAdded => "the package came",
            Cause::PackageRemoved => "the package went",
            Cause::PackageUpdated { from, to } => {
                "updated from " span.number { (clipped(&from.join(", "), 60)) } " to " span.number { (clipped(&to.join(", "), 60)) }
            }
            Cause::AdvisoryPublished => "the advisory is new",
            Cause::AdvisoryChanged => "the advisory was changed",
            Cause::AdvisoryWithdrawn => "the advisory was taken back",
            Cause::RegistryScanned => "by ECR's own scanning",
            Cause::Suppressed => "somebody said that it does not count",
            Cause::SuppressionEnded => "what was said of it holds no more",
        }
    }
}
