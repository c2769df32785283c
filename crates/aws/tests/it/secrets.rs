use portwarden_aws::telemetry;
use portwarden_core::problem::chain;
use portwarden_testkit::log::{Log, listen};

use crate::{
    answers::{Answers, session_of},
    sessions::{probe, prober, verify},
};

#[tokio::test]
async fn no_secret_is_logged_at_the_finest_level() {
    let answers = Answers::start(&[
        session_of("111111111111", "CANARY"),
        session_of("222222222222", "CANARY"),
    ])
    .await;
    let prober = prober(&answers.aws());

    // What would be logged without our filter, so that this test is known to look at something.
    let unfiltered = Log::default();
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(unfiltered.clone())
        .finish();
    let guard = listen(everything);
    probe(&prober, &verify()).await.unwrap();
    drop(guard);
    assert!(
        unfiltered.text().contains("CANARY"),
        "the SDK logs bodies at TRACE"
    );

    let lines = Log::default();
    let ours = telemetry::subscriber("TRACE".parse().unwrap(), lines.clone());
    let guard = listen(ours);
    tracing::trace!(target: "portwarden_aws", "this is logged");
    probe(&prober, &verify()).await.unwrap();
    drop(guard);
    assert!(lines.text().contains("this is logged"));
    assert!(!lines.text().contains("CANARY"), "{}", lines.text());
}

#[tokio::test]
async fn no_secret_is_in_an_error() {
    // An answer that STS gave and that cannot be read still holds the secrets.
    let (status, body) = session_of("222222222222", "CANARY");
    for garbled in [
        body.replace("2100-01-01", "no day"),
        body.replace("222222222222", "nobody"),
        body.replace("AssumedRoleUser", "Other"),
    ] {
        let answers = Answers::start(&[session_of("111111111111", "FIRST"), (status, garbled.clone())]).await;
        let error = probe(&prober(&answers.aws()), &verify()).await;
        let error = error.map(drop).expect_err(&garbled);
        let shown = format!("{error:?} {}", chain(&error));
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}
