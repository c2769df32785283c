#![doc = include_str!("../README.md")]

pub mod api;
pub mod auth;
mod connecting;
pub mod context;
mod document;
pub mod error;
mod finding;
pub mod handler;
mod notifying;
pub mod page;
