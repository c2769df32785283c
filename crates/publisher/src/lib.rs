#![doc = include_str!("../README.md")]

pub mod answer;
pub mod context;
pub mod error;
pub mod handler;
pub mod publish;
pub mod request;
