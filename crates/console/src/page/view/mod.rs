//! What pages look like: from what is known to HTML, without asking anybody, so that every state of a page can be tested and
//! looked at.
//!
//! A text that comes from outside is written with [`element::shown`]: markup is escaped by maud, and characters that steer
//! or hide a text are made visible.

mod changes;
mod chart;
pub mod checklist;
pub mod connect;
mod coverage;
pub mod element;
pub mod guide;
pub mod home;
pub mod image;
pub mod images;
pub mod integration;
pub mod integrations;
pub mod layout;
pub mod notifications;
pub mod operations;
pub mod overview;
pub mod probe;
pub mod remove;
pub mod search;
pub mod webhook;
