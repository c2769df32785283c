//! What all pages have around them.

use maud::{DOCTYPE, Markup, html};
use portwarden_core::id::TenantId;

use super::element::shown;
use crate::page::assets;

/// What is around a page's content.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// What the page is about, for the window's title.
    pub title: &'a str,
    /// Who has signed in.
    pub visitor: Option<Visitor<'a>>,
    /// The tenant that the page is about.
    pub tenant: Option<TenantFrame<'a>>,
    /// Where in the navigation the page is.
    pub section: Option<Section>,
    /// How soon the page looks for something new.
    pub pace: Pace,
}

/// Somebody who has signed in.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// What they are called.
    pub name: &'a str,
    /// What their forms must carry.
    pub csrf: &'a str,
    /// Whether they run this Portwarden.
    pub is_operator: bool,
}

/// The tenant that a page is about.
#[derive(Debug, Clone, Copy)]
pub struct TenantFrame<'a> {
    /// Its id.
    pub id: &'a TenantId,
    /// What it is called.
    pub name: &'a str,
}

/// A part of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What is to be known at a glance.
    Overview,
    /// The connected accounts.
    Integrations,
    /// Images and their reports.
    Images,
    /// Who is told what changes.
    Notifications,
    /// How to connect.
    Guide,
    /// The operator's view.
    Operations,
}

/// How soon a page looks for something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Never: nothing on it changes by itself.
    Still,
    /// Now and then, and seldom once nothing happens.
    Resting,
    /// Within seconds: something is happening.
    Busy,
}

impl<'a> Frame<'a> {
    /// Frames a page that is for anybody.
    pub fn open(title: &'a str) -> Self {
        Self {
            title,
            visitor: None,
            tenant: None,
            section: None,
            pace: Pace::Still,
        }
    }
}

/// Puts a page's content into its frame.
pub fn page(frame: &Frame<'_>, content: &Markup) -> Markup {
    let pace = match frame.pace {
        Pace::Still => None,
        Pace::Resting => Some("resting"),
        Pace::Busy => Some("busy"),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (shown(frame.title)) " · Portwarden" }
                link rel="icon" href=(assets::ICON.path()) type="image/svg+xml";
                link rel="stylesheet" href=(assets::STYLE.path());
                script src=(assets::SCRIPT.path()) defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                (header(frame))
                main #content tabindex="-1" data-pace=[pace] { (content) }
                footer {
                    p {
                        a href="/guide" { "Setup guide" }
                        " · "
                        a href="/v1/openapi.json" { "REST API" }
                    }
                }
            }
        }
    }
}

fn header(frame: &Frame<'_>) -> Markup {
    html! {
        header.top {
            a.brand href="/" {
                img src=(assets::ICON.path()) alt="" width="24" height="24";
                "Portwarden"
            }
            @if let Some(visitor) = frame.visitor {
                (navigation(frame, visitor))
                form.out method="post" action="/sign-out" {
                    input type="hidden" name="csrf" value=(visitor.csrf);
                    span.who title=(shown(visitor.name)) { (shown(visitor.name)) }
                    button.quiet type="submit" { "Sign out" }
                }
            }
        }
    }
}

fn navigation(frame: &Frame<'_>, visitor: Visitor<'_>) -> Markup {
    let current = |section: Section| (frame.section == Some(section)).then_some("page");
    html! {
        @if frame.tenant.is_some() || visitor.is_operator {
            nav aria-label="Console" {
                ul {
                    @if let Some(tenant) = frame.tenant {
                        @let root = format!("/tenants/{}", tenant.id);
                        li { a href=(root) aria-current=[current(Section::Overview)] { "Overview" } }
                        li { a href={ (root) "/integrations" } aria-current=[current(Section::Integrations)] { "Integrations" } }
                        li { a href={ (root) "/images" } aria-current=[current(Section::Images)] { "Images" } }
                        li { a href={ (root) "/notifications" } aria-current=[current(Section::Notifications)] { "Notifications" } }
                    }
                    @if visitor.is_operator {
                        li { a href="/operations" aria-current=[current(Section::Operations)] { "Operations" } }
                    }
                    li { a href="/guide" aria-current=[current(Section::Guide)] { "Guide" } }
                }
            }
            @if let Some(tenant) = frame.tenant {
                span.tenant title=(shown(tenant.name)) { span.unseen { "Tenant: " } (shown(tenant.name)) }
            }
        }
    }
}
