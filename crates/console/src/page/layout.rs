//! What all pages have around them.

use maud::{DOCTYPE, Markup, html};

use super::assets;
use crate::auth::SignedIn;

/// Puts the content of a page into what all pages have; `visitor` is who has signed in.
pub fn page(title: &str, visitor: Option<&SignedIn>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Portwarden" }
                link rel="stylesheet" href=(assets::STYLE.path());
                script src=(assets::SCRIPT.path()) defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    a.brand href="/" { "Portwarden" }
                    @if let Some(signed_in) = visitor {
                        form method="post" action="/sign-out" {
                            input type="hidden" name="csrf" value=(signed_in.csrf());
                            span { (signed_in.person.name()) }
                            button type="submit" { "Sign out" }
                        }
                    }
                }
                main #content { (content) }
            }
        }
    }
}
