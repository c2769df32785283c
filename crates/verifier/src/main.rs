//! The verifier as a Lambda function: messages of its queue, and rounds of its schedule.

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use portwarden_aws::{Metrics, Settings, SystemClock, telemetry};
use portwarden_verifier::{
    context::{Context, VerifierSettings},
    invocation,
};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut settings = Settings::from_vars(std::env::vars());
    telemetry::start(&mut settings);
    let context = Context::connect(VerifierSettings::read(settings)?);
    let metrics = Metrics::new(std::sync::Arc::new(SystemClock));
    let handle = service_fn(async |event: LambdaEvent<Value>| {
        let ends = Timestamp::from_millisecond(i64::try_from(event.context.deadline)?)?;
        invocation::handle(&context, &metrics, event.payload, ends)
            .await
            .map_err(Error::from)
    });
    lambda_runtime::run(handle).await
}
