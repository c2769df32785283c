//! The first page of whoever belongs to several tenants, or to none.

use maud::{Markup, html};
use portwarden_core::tenant::Tenant;

use super::element::shown;

/// Shows the tenants to choose from.
pub fn page(tenants: &[Tenant], name: &str) -> Markup {
    html! {
        @if tenants.is_empty() {
            div.empty.card {
                h1 { "You belong to no tenant yet" }
                p { "You are signed in as " strong { (shown(name)) } ". An administrator of a tenant can invite you." }
            }
        } @else {
            h1 { "Your tenants" }
            ul.cards {
                @for tenant in tenants {
                    li.card { h2 { a href={ "/tenants/" (tenant.id) } { (shown(&tenant.name)) } } }
                }
            }
        }
    }
}
