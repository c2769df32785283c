//! A report as one HTML file that needs nothing else.

mod chart;
mod findings;
mod overview;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use portwarden_core::shown::shown;
use sha2::{Digest as _, Sha256};

use crate::{ImageFindings, Report};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Writes a page; the same input gives the same bytes. `name` is what was looked at: an image's or an SBOM's name.
///
/// Everything can be read without the script, which only filters and sorts. A policy in the page lets nothing but its own
/// style and script count, so that no text of an image or of an advisory could do anything even if it were not escaped.
pub fn write(name: &str, report: Option<&Report>, findings: Option<&ImageFindings>) -> String {
    let policy = format!(
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (shown(name)) " · Portwarden" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (overview::header(name, report, findings))
                main {
                    (overview::warnings(report, findings))
                    @if let Some(findings) = findings {
                        (overview::numbers(report, findings))
                        (overview::charts(report, findings))
                        (findings::open(findings))
                        (findings::suppressed(findings))
                        (findings::unmatched(findings))
                    }
                    @if let Some(report) = report { (overview::packages(report)) }
                    @if let Some(findings) = findings { (overview::database(findings)) }
                }
                footer {
                    "Written by Portwarden " (env!("CARGO_PKG_VERSION"))
                    ". Advisories say what is known, not what is there to be found."
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

/// Makes a link; text alone if it leads to anything else than the web.
fn link(url: &str, text: &str) -> Markup {
    html! {
        @if url.starts_with("https://") || url.starts_with("http://") {
            a rel="noreferrer" href=(shown(url)) { (shown(text)) }
        } @else { (shown(text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_become_links() {
        assert_eq!(
            link("https://a.example/?b=\"c", "<text>").into_string(),
            "<a rel=\"noreferrer\" href=\"https://a.example/?b=&quot;c\">&lt;text&gt;</a>"
        );
        for url in [
            "javascript:alert(1)",
            "data:text/html,x",
            "//a.example",
            "JAVASCRIPT:x",
            "",
        ] {
            assert_eq!(link(url, "text").into_string(), "text", "{url}");
        }
    }
}
