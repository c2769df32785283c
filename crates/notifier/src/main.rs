//! The notifier as a Lambda function.

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use portwarden_aws::{Settings, telemetry};
use portwarden_notifier::{Context, NotifierSettings, Outside, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut settings = Settings::from_vars(std::env::vars());
    telemetry::start(&mut settings);
    let context = Context::new(Outside::connect(NotifierSettings::read(settings)?)?);
    let handle = service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(handle(&context, event.payload).await)
    });
    lambda_runtime::run(handle).await
}
