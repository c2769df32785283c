#![doc = include_str!("../README.md")]

pub mod answer;
mod claim;
pub mod context;
mod endpoint_cache;
pub mod error;
pub mod handler;
mod operator;
mod report;
pub mod request;
mod sender;
