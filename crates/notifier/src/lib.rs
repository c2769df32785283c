#![doc = include_str!("../README.md")]

mod context;
mod error;
mod handler;
mod post;
mod work;

pub use context::{Context, NotifierSettings, Outside};
pub use error::Failure;
pub use handler::handle;
pub use post::{HttpsPost, Post};
pub use work::{Done, work};
