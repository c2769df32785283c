//! The advisor as a Lambda function.

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use portwarden_advisor::{Context, Outside, handle, settings::AdvisorSettings};
use portwarden_aws::{Settings, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut settings = Settings::from_vars(std::env::vars());
    telemetry::start(&mut settings);
    let context = Context::new(Outside::connect(AdvisorSettings::read(settings)?)?);
    // Whatever invokes it, there is one thing to do.
    let handle = service_fn(async |event: LambdaEvent<serde_json::Value>| {
        let ends = Timestamp::from_millisecond(i64::try_from(event.context.deadline)?)?;
        handle(&context, ends).await.map_err(Error::from)
    });
    lambda_runtime::run(handle).await
}
