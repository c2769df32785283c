//! The publisher as a Lambda function.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use portwarden_aws::{AwsSettings, Settings, telemetry};
use portwarden_publisher::{context::Context, handler::handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut settings = Settings::from_vars(std::env::vars());
    telemetry::start(&mut settings);
    let aws = AwsSettings::read(&mut settings);
    let context = Context::connect(&settings.finish(|| aws)?)?;
    let answer = service_fn(async |event: LambdaEvent<serde_json::Value>| {
        handle(&context, &event.payload).await.map_err(Error::from)
    });
    lambda_runtime::run(answer).await
}
