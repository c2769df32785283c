//! The console as a Lambda function.

use std::sync::Arc;

use lambda_http::Error;
use portwarden_console::{context::Context, handler};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let context = Context::from_environment(std::env::vars()).map_err(|error| error.to_string())?;
    lambda_http::run(handler::router(Arc::new(context))).await
}
