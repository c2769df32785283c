//! The reconciler as a Lambda function.

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use portwarden_aws::{Settings, telemetry};
use portwarden_reconciler::{Context, Invocation, Outside, ReconcilerSettings, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut settings = Settings::from_vars(std::env::vars());
    telemetry::start(&mut settings);
    let context = Context::new(Outside::connect(ReconcilerSettings::read(settings)?));
    let handle = service_fn(async |event: LambdaEvent<Invocation>| {
        let ends = Timestamp::from_millisecond(i64::try_from(event.context.deadline)?)?;
        Ok::<_, Error>(handle(&context, event.payload, ends).await?)
    });
    lambda_runtime::run(handle).await
}
