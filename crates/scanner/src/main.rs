//! The scanner as a Lambda function.

use aws_lambda_events::event::sqs::SqsEvent;
use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use portwarden_aws::{Settings, telemetry};
use portwarden_scanner::{Context, Outside, ScannerSettings, handle, share_one_arena};
use tokio::runtime::Runtime;

fn main() -> Result<(), Error> {
    share_one_arena();
    Runtime::new()?.block_on(serve())
}

async fn serve() -> Result<(), Error> {
    let mut settings = Settings::from_vars(std::env::vars());
    telemetry::start(&mut settings);
    let context = Context::new(Outside::connect(ScannerSettings::read(settings)?)?);
    let handle = service_fn(async |event: LambdaEvent<SqsEvent>| {
        let ends = Timestamp::from_millisecond(i64::try_from(event.context.deadline)?)?;
        Ok::<_, Error>(handle(&context, event.payload, ends).await)
    });
    lambda_runtime::run(handle).await
}
