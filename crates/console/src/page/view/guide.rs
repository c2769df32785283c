//! The setup guide: `docs/tenants.md`, with what this deployment alone knows in the places that the text marks.

use maud::{Markup, PreEscaped, html};
use portwarden_core::{
    arn::RoleArn,
    tenant_template::{self, launch::LaunchLink},
};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::element::copyable;

/// What the guide needs to know of this deployment.
#[derive(Debug, Clone)]
pub struct Guide<'a> {
    /// Links that open the template in each region, with nothing filled in.
    pub links: &'a [LaunchLink],
    /// The published template.
    pub template_url: &'a str,
    /// The SHA-256 of the template, in hexadecimal digits.
    pub template_sha256: &'a str,
    /// The role that tenants' roles trust.
    pub connector: &'a RoleArn,
}

/// The one text, for people who read it in the repository, too.
const TEXT: &str = include_str!("../../../../../docs/tenants.md");

/// Shows the guide.
pub fn page(guide: &Guide<'_>) -> Markup {
    let mut parts = Vec::new();
    let mut headings = Vec::new();
    let mut heading: Option<String> = None;
    let events = Parser::new_ext(TEXT, Options::ENABLE_TABLES);
    for event in events {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some(String::new());
                parts.push(Event::Start(Tag::Heading {
                    level,
                    id: None,
                    classes: Vec::new(),
                    attrs: Vec::new(),
                }));
            }
            Event::End(TagEnd::Heading(level)) => {
                let text = heading.take().unwrap_or_default();
                let id = slug(&text);
                if let Some(Event::Start(Tag::Heading { id: place, .. })) = parts
                    .iter_mut()
                    .rev()
                    .find(|part| matches!(part, Event::Start(Tag::Heading { .. })))
                {
                    *place = Some(CowStr::from(id.clone()));
                }
                if level == HeadingLevel::H2 {
                    headings.push((id, text));
                }
                parts.push(Event::End(TagEnd::Heading(level)));
            }
            Event::Text(text) | Event::Code(text) if heading.is_some() => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
                parts.push(Event::Text(text));
            }
            Event::Html(text) if text.trim() == "<!-- launch-buttons -->" => {
                parts.push(Event::Html(launch_buttons(guide).into_string().into()));
            }
            Event::Html(text) if text.trim() == "<!-- template -->" => {
                parts.push(Event::Html(template(guide).into_string().into()));
            }
            // What can be scrolled can be reached without a mouse.
            Event::Start(Tag::CodeBlock(_)) => {
                parts.push(Event::Html(CowStr::Borrowed("<pre tabindex=\"0\"><code>")));
            }
            Event::End(TagEnd::CodeBlock) => parts.push(Event::Html(CowStr::Borrowed("</code></pre>"))),
            Event::Start(Tag::Table(alignments)) => {
                parts.push(Event::Html(CowStr::Borrowed(
                    "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Table\">",
                )));
                parts.push(Event::Start(Tag::Table(alignments)));
            }
            Event::End(TagEnd::Table) => {
                parts.push(Event::End(TagEnd::Table));
                parts.push(Event::Html(CowStr::Borrowed("</div>")));
            }
            other => parts.push(other),
        }
    }
    let mut body = String::with_capacity(TEXT.len() * 2);
    pulldown_cmark::html::push_html(&mut body, parts.into_iter());
    html! {
        div.guide {
            nav.contents aria-label="On this page" {
                ul { @for (id, text) in &headings { li { a href={ "#" (id) } { (text) } } } }
            }
            article.prose { (PreEscaped(body)) }
        }
    }
}

/// Makes the name by which a heading is linked to.
fn slug(heading: &str) -> String {
    let words = heading
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

fn launch_buttons(guide: &Guide<'_>) -> Markup {
    html! {
        div.card {
            ul.launches {
                @for link in guide.links {
                    li {
                        span { (link.region) }
                        a.button.quiet href=(link.link) target="_blank" rel="noopener noreferrer" {
                            "Launch Stack" span.unseen { " in " (link.region) ", in a new window" }
                        }
                    }
                }
            }
        }
    }
}

fn template(guide: &Guide<'_>) -> Markup {
    html! {
        dl.values.card {
            dt { "Version" }
            dd { (tenant_template::VERSION) ", " a href="/guide/ecr-integration.template" { "read it here" } }
            dt { "Address" }
            dd { (copyable("the template's address", guide.template_url)) }
            dt { "SHA-256" }
            dd { (copyable("the SHA-256", guide.template_sha256)) }
            dt { "Connector role" }
            dd { (copyable("the connector role's ARN", guide.connector.as_str())) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_each_resource_of_the_template_is_for() {
        let connector = "arn:aws:iam::999988887777:role/portwarden-connector";
        let template = tenant_template::render(&connector.parse().unwrap());
        let resources = template
            .lines()
            .skip_while(|line| *line != "Resources:")
            .skip(1)
            .take_while(|line| line.is_empty() || line.starts_with(' '))
            .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
            .filter(|name| name.chars().all(char::is_alphanumeric));
        let made: std::collections::BTreeSet<&str> = resources.collect();
        let (_, table) = TEXT.split_once("## What the stack makes").unwrap();
        let (table, _) = table.split_once("\n## ").unwrap();
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        let told = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        assert_eq!(told.collect::<std::collections::BTreeSet<_>>(), made);
        assert!(made.len() > 10, "{made:?}");
    }

    #[test]
    fn the_text_marks_each_place_once_and_links_to_itself_only_where_it_leads() {
        for place in ["<!-- launch-buttons -->", "<!-- template -->"] {
            assert_eq!(TEXT.matches(place).count(), 1, "{place}");
        }
        let connector = "arn:aws:iam::999988887777:role/portwarden-connector"
            .parse()
            .unwrap();
        let guide = Guide {
            links: &[],
            template_url: "https://b/t",
            template_sha256: "00ff",
            connector: &connector,
        };
        let html = page(&guide).into_string();
        assert!(!html.contains("<!--"), "a place was not filled");
        for link in html
            .match_indices("href=\"#")
            .map(|(at, found)| &html[at + found.len()..])
        {
            let id = link.split('"').next().unwrap();
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
        }
        for linked in ["why-the-externalid", "inspect-the-template"] {
            assert!(
                html.contains(&format!("id=\"{linked}\"")),
                "other pages link to {linked}"
            );
        }
    }
}
