//! The findings one by one.

use portwarden_advisories::{Level, UnmatchedReason};
use portwarden_oci::Platform;

use super::markup::Markup;
use crate::{ImageFindings, PlacedFinding, Side, SuppressionKind};

/// Lists the findings that count, the worst first.
pub(super) fn open(page: &mut Markup, findings: &ImageFindings) {
    page.raw("<section class=\"card\" aria-labelledby=\"what\"><h2 id=\"what\">What is wrong</h2>\n");
    if findings.open().next().is_none() {
        page.raw("<p class=\"empty\">No advisory that counts speaks of these packages.</p></section>\n");
        return;
    }
    controls(page);
    page.raw("<table class=\"list\" id=\"findings\"><thead><tr><th scope=\"col\">Severity</th><th scope=\"col\">Flaw</th>");
    page.raw("<th scope=\"col\">Package</th><th scope=\"col\">Version</th><th scope=\"col\">Fixed in</th>");
    page.raw("<th scope=\"col\">Layer</th><th scope=\"col\">About</th></tr></thead>\n<tbody>\n");
    let several = findings.platforms.len() > 1;
    for platform in &findings.platforms {
        let of_platform = platform.platform.as_ref().filter(|_| several);
        for found in platform
            .findings
            .iter()
            .filter(|found| found.suppressed.is_none())
        {
            row(page, found, of_platform);
        }
    }
    page.raw("</tbody></table></section>\n");
}

/// What the script needs to filter; it shows them.
fn controls(page: &mut Markup) {
    page.raw("<form class=\"controls\" hidden role=\"search\" aria-label=\"Filter findings\">");
    page.raw("<label>Search <input type=\"search\" id=\"search\" autocomplete=\"off\" placeholder=\"package, CVE, file (press /)\"></label>");
    page.raw("<label>At least <select id=\"level\"><option value=\"0\">any severity</option>");
    for level in Level::ALL.iter().skip(1) {
        page.raw("<option value=\"")
            .number(rank(*level))
            .raw("\">")
            .text(level.as_str())
            .raw("</option>");
    }
    page.raw("</select></label><label>Layers <select id=\"side\"><option value=\"\">all</option>");
    page.raw(
        "<option value=\"base\">base image</option><option value=\"yours\">yours</option></select></label>",
    );
    page.raw("<label class=\"tick\"><input type=\"checkbox\" id=\"fix\"> with a fix</label>");
    page.raw("<output id=\"shown\" aria-live=\"polite\"></output></form>\n");
}

fn row(page: &mut Markup, found: &PlacedFinding, platform: Option<&Platform>) {
    let finding = &found.finding;
    let level = finding.severity.level;
    page.raw("<tr data-level=\"")
        .number(rank(level))
        .raw("\" data-side=\"")
        .raw(match found.side() {
            Some(Side::Base) => "base",
            Some(Side::Yours) => "yours",
            None => "",
        });
    page.raw("\" data-fix=\"")
        .number(usize::from(finding.fixed.is_some()))
        .raw("\"><td class=\"nowrap\" data-key=\"");
    let tenths = finding.severity.score_tenths.unwrap_or_default();
    page.number(rank(level) * 1000 + usize::from(tenths)).raw("\">");
    badge(page, level);
    if let Some(tenths) = finding.severity.score_tenths {
        page.wrap(
            "<span class=\"score\">",
            &format!("{}.{}", tenths / 10, tenths % 10),
            "</span>",
        );
    }
    page.raw("</td><td class=\"nowrap\">");
    page.link(finding.links.first().map_or("", String::as_str), &finding.id);
    page.raw("</td><td data-label=\"package\">").text(&found.name);
    page.raw("</td><td class=\"mono\" data-label=\"version\">")
        .text(found.version.as_deref().unwrap_or("unknown"));
    page.raw("</td><td class=\"mono\" data-label=\"fixed in\">");
    match &finding.fixed {
        Some(fixed) => page.wrap("<span class=\"fix\">", fixed, "</span>"),
        None => page.raw("<span class=\"none\">no fix yet</span>"),
    };
    page.raw("</td><td data-label=\"layer\">");
    layers(page, found, platform);
    page.raw("</td><td>");
    about(page, found);
    page.raw("</td></tr>\n");
}

fn badge(page: &mut Markup, level: Level) {
    page.raw("<span class=\"badge ")
        .text(level.as_str())
        .raw("\"><b>")
        .text(level.as_str())
        .raw("</b></span>");
}

fn layers(page: &mut Markup, found: &PlacedFinding, platform: Option<&Platform>) {
    let mut indexes: Vec<usize> = found.places.iter().map(|place| place.layer.index).collect();
    indexes.sort_unstable();
    indexes.dedup();
    let words: Vec<String> = indexes.iter().map(ToString::to_string).collect();
    page.text(&words.join(", "));
    match found.side() {
        Some(Side::Base) => page.raw(" base image"),
        Some(Side::Yours) => page.raw(" yours"),
        None => page,
    };
    if let Some(platform) = platform {
        page.wrap(" <span class=\"none\">", &platform.to_string(), "</span>");
    }
}

fn about(page: &mut Markup, found: &PlacedFinding) {
    let finding = &found.finding;
    let summary = match finding.summary.as_str() {
        "" => "Details",
        summary => summary,
    };
    page.wrap("<details><summary>", summary, "</summary><dl>");
    if finding.ids.len() > 1 {
        page.wrap("<dt>Known as</dt><dd>", &finding.ids.join(", "), "</dd>");
    }
    page.wrap("<dt>Package</dt><dd><code>", &finding.purl, "</code></dd>");
    if !found.places.is_empty() {
        page.raw("<dt>Shown by</dt><dd><ul>");
        for place in &found.places {
            page.wrap("<li><code>/", &place.file, "</code> in layer ")
                .number(place.layer.index);
            page.wrap(" <code>", &place.layer.digest.to_string(), "</code></li>");
        }
        page.raw("</ul></dd>");
    }
    if let Some(vector) = &finding.severity.vector {
        page.wrap("<dt>CVSS</dt><dd><code>", vector, "</code></dd>");
    }
    if let Some(published) = finding.published {
        page.wrap(
            "<dt>Published</dt><dd>",
            &published.strftime("%F").to_string(),
            "</dd>",
        );
    }
    page.wrap(
        "<dt>Changed</dt><dd>",
        &finding.modified.strftime("%F").to_string(),
        "</dd>",
    );
    if !finding.links.is_empty() {
        page.raw("<dt>Links</dt><dd><ul>");
        for link in &finding.links {
            page.raw("<li>").link(link, link).raw("</li>");
        }
        page.raw("</ul></dd>");
    }
    page.raw("</dl></details>");
}

/// Lists the findings that somebody has said do not count, and why.
pub(super) fn suppressed(page: &mut Markup, findings: &ImageFindings) {
    if findings.suppressed == 0 {
        return;
    }
    page.raw("<section class=\"card\"><details><summary>")
        .number(findings.suppressed);
    page.raw(" suppressed</summary><p class=\"none\">They are there, but somebody has said that they do not count.</p>");
    page.raw("<table class=\"list\"><thead><tr><th scope=\"col\">Severity</th><th scope=\"col\">Flaw</th><th scope=\"col\">Package</th>");
    page.raw("<th scope=\"col\">Who says so</th><th scope=\"col\">Why</th></tr></thead><tbody>\n");
    for found in findings.platforms.iter().flat_map(|platform| &platform.findings) {
        let Some(suppressed) = &found.suppressed else {
            continue;
        };
        page.raw("<tr><td class=\"nowrap\">");
        badge(page, found.finding.severity.level);
        page.raw("</td><td class=\"nowrap\">");
        page.link(
            found.finding.links.first().map_or("", String::as_str),
            &found.finding.id,
        );
        page.wrap("</td><td>", &found.name, " ");
        page.wrap(
            "<span class=\"mono\">",
            found.version.as_deref().unwrap_or("unknown"),
            "</span></td><td>",
        );
        page.raw(match suppressed.kind {
            SuppressionKind::IgnoreRule => "an ignore rule of ",
            SuppressionKind::VexNotAffected => "not affected, by the VEX document ",
            SuppressionKind::VexFixed => "fixed, by the VEX document ",
        });
        page.text(&suppressed.source);
        if let Some(expires) = suppressed.expires {
            page.wrap(", until ", &expires.to_string(), "");
        }
        page.wrap("</td><td>", &suppressed.reason, "</td></tr>\n");
    }
    page.raw("</tbody></table></details></section>\n");
}

/// Lists the packages of which nothing can be said.
pub(super) fn unmatched(page: &mut Markup, findings: &ImageFindings) {
    let all = || findings.platforms.iter().flat_map(|platform| &platform.unmatched);
    let count = all().count();
    if count == 0 {
        return;
    }
    page.raw("<section class=\"card\"><details><summary>")
        .number(count);
    page.raw(" packages of which nothing can be said</summary>");
    page.raw("<table class=\"list\"><thead><tr><th scope=\"col\">Package</th><th scope=\"col\">Why</th></tr></thead><tbody>\n");
    for unmatched in all() {
        page.wrap("<tr><td><code>", &unmatched.purl, "</code></td><td>")
            .raw(match unmatched.reason {
                UnmatchedReason::NoAdvisories => {
                    "nobody publishes advisories for such packages, or the release is not known"
                }
                UnmatchedReason::NoVersion => "it has no version",
                UnmatchedReason::OddVersion => {
                    "its version cannot be compared; only advisories that name it were found"
                }
            });
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table></details></section>\n");
}

fn rank(level: Level) -> usize {
    Level::ALL
        .iter()
        .position(|known| *known == level)
        .unwrap_or_default()
}
