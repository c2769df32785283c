//! What removing an integration means, before it is done.

use maud::{Markup, html};
use portwarden_core::{id::TenantId, integration::Connection};

use super::element::{self, shown};

/// Shows what will happen, and the button that does it.
pub fn page(tenant: &TenantId, connection: &Connection, csrf: &str) -> Markup {
    let integration = &connection.integration;
    let list = format!("/tenants/{tenant}/integrations");
    let root = format!("{list}/{}", integration.id);
    let regions = connection.regions.len();
    html! {
        nav.crumbs aria-label="Breadcrumb" {
            a href=(list) { "Integrations" } " / " a href=(root) { (shown(&integration.name)) }
        }
        h1 { "Remove " (shown(&integration.name)) "?" }
        div.card.danger {
            p { "This cannot be taken back. From now on:" }
            ul {
                li {
                    "Portwarden assumes no role of "
                    @match &integration.account {
                        Some(account) => { "AWS account " span.number { (account) } },
                        None => "the account",
                    }
                    " any more, and reads nothing there."
                }
                li { "Events of its " (element::count(regions, "region", "regions")) " are answered with “gone”." }
                li { "Its ExternalId and its address are never used again; to connect the account again, make a new integration." }
            }
            p { "Left in your account are the stacks: delete them in CloudFormation, and nothing of the connection remains there." }
            form.actions method="post" action={ (root) "/remove" } {
                input type="hidden" name="csrf" value=(csrf);
                button.danger type="submit" { "Remove it" }
                a.button.quiet href=(root) { "Keep it" }
            }
        }
    }
}
