//! A Lambda function that does nothing: what the runtime itself costs.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use tokio::runtime::Builder;

fn main() -> Result<(), Error> {
    // The same program shows what a runtime with several threads costs.
    let is_threaded = std::env::vars().any(|(name, _)| name == "BARE_THREADS");
    let mut builder = if is_threaded {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    builder.enable_all().build()?.block_on(run(service_fn(answer)))
}

async fn answer(_: LambdaEvent<Value>) -> Result<Value, Error> {
    Ok(json!({"statusCode": 202}))
}
