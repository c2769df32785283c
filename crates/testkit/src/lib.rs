#![doc = include_str!("../README.md")]

pub mod documents;
pub mod events;
pub mod image;
pub mod issuer;
pub mod log;
pub mod proxy;
pub mod registry;
pub mod sample;
