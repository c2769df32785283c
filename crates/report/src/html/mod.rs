//! A report as one HTML file that needs nothing else.

mod chart;
mod findings;
mod markup;
mod overview;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use self::markup::Markup;
use crate::{ImageFindings, Report};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Writes a page; the same input gives the same bytes. `name` is what was looked at: an image's or an SBOM's name.
///
/// Everything can be read without the script, which only filters and sorts. A policy in the page lets nothing but its own
/// style and script count, so that no text of an image or of an advisory could do anything even if it were not escaped.
pub fn write(name: &str, report: Option<&Report>, findings: Option<&ImageFindings>) -> String {
    let mut page = Markup::default();
    page.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-");
    page.text(&hash(STYLE))
        .raw("'; script-src 'sha256-")
        .text(&hash(SCRIPT))
        .raw("'\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.raw("<meta name=\"referrer\" content=\"no-referrer\">\n");
    page.wrap("<title>", name, " · Portwarden</title>\n<style>")
        .raw(STYLE)
        .raw("</style>\n</head>\n<body>\n");
    overview::header(&mut page, name, report, findings);
    page.raw("<main>\n");
    overview::warnings(&mut page, report, findings);
    if let Some(findings) = findings {
        overview::numbers(&mut page, report, findings);
        overview::charts(&mut page, report, findings);
        findings::open(&mut page, findings);
        findings::suppressed(&mut page, findings);
        findings::unmatched(&mut page, findings);
    }
    if let Some(report) = report {
        overview::packages(&mut page, report);
    }
    if let Some(findings) = findings {
        overview::database(&mut page, findings);
    }
    page.raw("</main>\n<footer>Written by Portwarden ")
        .text(env!("CARGO_PKG_VERSION"));
    page.raw(". Advisories say what is known, not what is there to be found.</footer>\n<script>")
        .raw(SCRIPT);
    page.raw("</script>\n</body>\n</html>\n");
    page.into_string()
}

fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}
