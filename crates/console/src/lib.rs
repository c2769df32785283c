#![doc = include_str!("../README.md")]

pub mod api;
pub mod auth;
mod connecting;
pub mod context;
pub mod error;
pub mod handler;
pub mod page;
