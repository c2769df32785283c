//! Style, script and picture, embedded under names that hold their hash, so that browsers may keep them for ever.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::header;
use sha2::{Digest as _, Sha256};

use crate::error::Refusal;

/// A file that pages refer to.
pub struct Asset {
    name: String,
    content_type: &'static str,
    content: &'static str,
}

/// The style of all pages.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "style",
        "css",
        "text/css; charset=utf-8",
        include_str!("assets/style.css"),
    )
});

/// The script of all pages.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "script",
        "js",
        "text/javascript; charset=utf-8",
        include_str!("assets/script.js"),
    )
});

/// The picture that stands for Portwarden.
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, content: &'static str) -> Self {
        use std::fmt::Write as _;
        let mut name = format!("{stem}.");
        for byte in &Sha256::digest(content.as_bytes())[..8] {
            // Writing to a text cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name.push('.');
        name.push_str(extension);
        Self {
            name,
            content_type,
            content,
        }
    }

    /// Returns the path that pages refer to.
    pub fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

/// Answers with the file that has this very name: another hash is another file.
pub(super) async fn serve(Path(name): Path<String>) -> Result<Response, Refusal> {
    let all = [&*STYLE, &*SCRIPT, &*ICON];
    let asset = all
        .into_iter()
        .find(|asset| asset.name == name)
        .ok_or(Refusal::NotFound)?;
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, asset.content).into_response())
}
