//! The receiver as a Lambda function.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn};
use portwarden_receiver::{context::Context, handler::handle};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let context = Context::from_environment(std::env::vars()).map_err(|error| error.to_string())?;
    let context = &context;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        // What lies behind a refusal is in the log already, and may quote a sender: Lambda is told the sentence only.
        let tracing_header = event.context.xray_trace_id.as_deref();
        handle(context, &event.payload, tracing_header)
            .await
            .map_err(|refusal| Diagnostic {
                error_type: refusal.code().to_owned(),
                error_message: refusal.to_string(),
            })
    }))
    .await
}
