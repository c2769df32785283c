#![doc = include_str!("../README.md")]

pub mod events;
pub mod image;
pub mod proxy;
pub mod registry;
pub mod sample;
