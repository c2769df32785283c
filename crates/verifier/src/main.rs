//! The verifier as a Lambda function.

use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use portwarden_aws::{Metrics, Settings, SystemClock, telemetry};
use portwarden_verifier::{
    batch,
    context::{Context, VerifierSettings},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut settings = Settings::from_vars(std::env::vars());
    telemetry::start(&mut settings);
    let context = Context::connect(VerifierSettings::read(settings)?).await;
    let metrics = Metrics::new(std::sync::Arc::new(SystemClock));
    let handle = service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(batch::verify_all(&context, &metrics, event.payload).await)
    });
    lambda_runtime::run(handle).await
}
