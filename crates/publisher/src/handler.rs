//! From an event to its answer.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use portwarden_aws::{Fault, Line, Service};
use portwarden_core::{clock, problem::chain, tenant_template::publication::BucketError};
use serde_json::Value;

use crate::{
    answer::answer,
    context::Context,
    error::{AnswerError, PublishError},
    publish::{Published, publish, withdraw},
    request::{Request, Work},
};

/// How long the work may take: the function has 60 s, and the answer is tried for up to 20 s.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Does what CloudFormation asks and tells it the outcome, whatever that is.
pub async fn handle(context: &Context, event: &Value) -> Result<(), AnswerError> {
    let answered = handle_answerable(context, event).await;
    if let Err(error) = &answered {
        Line {
            code: Some(error.code()),
            fault: Some(Fault::Ours),
            error: Some(chain(error)),
            ..Line::of(Service::Publisher, "failed")
        }
        .error("CloudFormation not answered");
    }
    answered
}

async fn handle_answerable(context: &Context, event: &Value) -> Result<(), AnswerError> {
    let request = Request::read(event, context.is_emulated)?;
    let started = context.clock.now();
    // Nothing of the work is looked at again after a panic.
    let work = AssertUnwindSafe(work(context, request.work)).catch_unwind();
    let outcome = match clock::within(&*context.clock, TIME_LIMIT, work).await {
        Ok(worked) => worked.unwrap_or(Err(PublishError::Panicked)),
        Err(_) => Err(PublishError::TimedOut {
            seconds: TIME_LIMIT.as_secs(),
        }),
    };
    let took = context.clock.now().duration_since(started);
    write_line(&outcome, took);
    let body = answer(&request.reply, &outcome);
    context.responder.respond(&request.reply.url, body).await
}

fn write_line(outcome: &Result<Option<Published>, PublishError>, took: SignedDuration) {
    let line = |outcome| Line {
        duration: Some(took),
        ..Line::of(Service::Publisher, outcome)
    };
    match outcome {
        Ok(Some(published)) => Line {
            template: Some(&published.version),
            ..line("published")
        }
        .info("template published"),
        Ok(None) => line("withdrawn").info("template withdrawn"),
        Err(error) => Line {
            code: Some(error.code()),
            fault: Some(Fault::Ours),
            error: Some(chain(error)),
            ..line("failed")
        }
        .error("template not published"),
    }
}

/// The pauses before another attempt: what a role that was made just now may do is known everywhere only after seconds.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

async fn work(
    context: &Context,
    work: Result<Work, PublishError>,
) -> Result<Option<Published>, PublishError> {
    let work = work?;
    let mut pauses = PAUSES.iter();
    loop {
        match (attempt(context, &work).await, pauses.next()) {
            (Err(PublishError::Bucket(BucketError::Denied(..))), Some(pause)) => {
                context.clock.sleep(*pause).await;
            }
            (outcome, _) => return outcome,
        }
    }
}

async fn attempt(context: &Context, work: &Work) -> Result<Option<Published>, PublishError> {
    match work {
        Work::Publish(publication) => publish(&*context.buckets, publication).await.map(Some),
        Work::Withdraw(publication) => withdraw(&*context.buckets, publication).await.map(|()| None),
        Work::Nothing => Ok(None),
    }
}
