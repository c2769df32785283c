#![doc = include_str!("../README.md")]

mod version;

pub use version::Scheme;
