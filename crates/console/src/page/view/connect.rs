//! The form that makes an integration: a name, regions, and the quick or the classic way.

use maud::{Markup, html};
use portwarden_core::{
    id::{Region, TenantId},
    problem::Problem,
};

use super::element::{self, shown};

/// What the form shows.
#[derive(Debug, Clone)]
pub struct Connect<'a> {
    /// Whose account is connected.
    pub tenant: &'a TenantId,
    /// What the form must carry.
    pub csrf: &'a str,
    /// The regions to choose from.
    pub regions: Vec<&'a Region>,
    /// What was filled in before, if it was refused.
    pub filled: Filled,
    /// Why it was refused.
    pub problem: Option<&'a Problem>,
}

/// The fields of the form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filled {
    /// What people call the account.
    pub name: String,
    /// The chosen regions.
    pub regions: Vec<String>,
    /// The account, if its owner names it beforehand.
    pub account: String,
    /// Credentials, on the classic way.
    pub classic: Option<Classic>,
}

/// The credentials that a tenant chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classic {
    /// The user name.
    pub username: String,
    /// The password: a good one, until another is typed.
    pub password: String,
}

/// Shows the form.
pub fn page(form: &Connect<'_>) -> Markup {
    let root = format!("/tenants/{}/integrations", form.tenant);
    let is_classic = form.filled.classic.is_some();
    let way = |classic: bool| (classic == is_classic).then_some("page");
    html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(root) { "Integrations" } }
        h1 { "Connect an AWS account" }
        p.lead { "Portwarden gets a role that may only read the account's registries, and that you can take back at any time." }
        ul.tabs aria-label="Ways to connect" {
            li { a href={ (root) "/new" } aria-current=[way(false)] { strong { "Quick" } span { "The stack makes its password itself" } } }
            li { a href={ (root) "/new?way=classic" } aria-current=[way(true)] { strong { "Classic" } span { "You choose the credentials" } } }
        }
        @if let Some(problem) = form.problem {
            div role="alert" { (element::problem(problem)) }
        }
        form.stack.card method="post" action=(root) autocomplete="off" {
            input type="hidden" name="csrf" value=(form.csrf);
            input type="hidden" name="way" value=(if is_classic { "classic" } else { "quick" });
            div.field {
                label for="name" { "Name" }
                input #name name="name" required maxlength="100" value=(form.filled.name) aria-describedby="name-help";
                p.help #name-help { "What you call the account, such as production." }
            }
            fieldset.field {
                legend { "Regions whose registries are watched" }
                div.pills {
                    @for region in &form.regions {
                        @let is_chosen = form.filled.regions.iter().any(|chosen| chosen == region.as_str());
                        label.pill {
                            input type="checkbox" name="region" value=(region) checked[is_chosen];
                            span { (region) }
                        }
                    }
                }
                p.help { "Each region gets a stack of its own. You can add others later." }
            }
            @match &form.filled.classic {
                Some(classic) => (credentials(classic)),
                None => (account(&form.filled.account)),
            }
            div.actions {
                button type="submit" { "Go on" }
                a href=(root) { "Cancel" }
            }
        }
    }
}

fn account(account: &str) -> Markup {
    html! {
        details open[!account.is_empty()] {
            summary { "Name the AWS account beforehand" }
            div.field {
                label for="account" { "Account number" }
                input #account name="account" inputmode="numeric" pattern="[0-9]{12}" maxlength="12" value=(account)
                    aria-describedby="account-help";
                p.help #account-help { "12 digits. Left empty, you confirm the account with one click once its stack has reported." }
            }
        }
    }
}

fn credentials(classic: &Classic) -> Markup {
    html! {
        div.pair {
            div.field {
                label for="username" { "User name" }
                input #username name="username" required maxlength="128" value=(shown(&classic.username))
                    spellcheck="false" autocapitalize="none";
            }
            div.field {
                label for="password" { "Password" }
                div.with-button {
                    input #password name="password" required minlength="24" maxlength="512" value=(classic.password)
                        spellcheck="false" autocapitalize="none" aria-describedby="password-help";
                    button.copy type="button" hidden data-copy-from="password" aria-label="Copy the password" { "Copy" }
                }
            }
        }
        p.help #password-help {
            "AWS presents these when it tells Portwarden of an image. At least 24 characters; the one above is good. "
            strong { "Copy it now: " } "it is kept as a hash and is not shown again."
        }
    }
}
