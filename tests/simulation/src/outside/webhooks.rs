//! Where webhooks lead: receivers of tenants, which take what they are sent, or not.

use std::time::Duration;

use async_trait::async_trait;
use portwarden_core::{
    notification::{NotifyRequest, QueueNotify},
    webhook::{Outcome, Signed, WebhookUrl},
    work::QueueError,
};
use portwarden_notifier::Post;

use crate::world::{Outage, Process};

/// What whoever sends sees when something goes wrong on the way.
struct Unsent(Outcome);

impl Outage for Unsent {
    fn throttled() -> Self {
        Self(Outcome::Refused {
            status: 503,
            retry_after: Some(Duration::from_secs(30)),
        })
    }

    fn lost() -> Self {
        Self(Outcome::Failed { code: "timed_out" })
    }
}

#[async_trait]
impl Post for Process {
    async fn post(&self, url: &WebhookUrl, signed: &Signed, body: Vec<u8>) -> Outcome {
        let sent = self
            .call("post", &signed.id, |state| {
                let checked = state.check_post(self.id, url, signed, &body);
                state.judge(checked);
                let refused = state.faults.refused;
                if state.chance.per_mille(refused) {
                    let refusal = Outcome::Refused {
                        status: 500,
                        retry_after: None,
                    };
                    return Err(Unsent(refusal));
                }
                Ok(Outcome::Taken { status: 204 })
            })
            .await;
        match sent {
            Ok(outcome) => {
                self.world.state().model.told.take(url, signed);
                outcome
            }
            Err(Unsent(outcome)) => outcome,
        }
    }
}

/// Where deliveries wait that were given up; nothing here fails for as long as that takes.
pub(crate) struct GivenUp(pub(crate) Process);

#[async_trait]
impl QueueNotify for GivenUp {
    async fn queue_notify(&self, request: &NotifyRequest, _: Option<Duration>) -> Result<(), QueueError> {
        let given_up = format!("{request:?}");
        self.0
            .call("give up", given_up.clone(), |state| {
                state.judge(Err((
                    crate::breach::Invariant::ToldOnce,
                    format!("given up: {given_up}"),
                )));
                Ok(())
            })
            .await
    }
}
