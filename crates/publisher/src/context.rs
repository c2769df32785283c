//! What the handler works with, built once when the function starts.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use portwarden_aws::{Aws, AwsSettings, PublicTemplates, SystemClock};
use portwarden_core::{clock::Clock, tenant_template::publication::TemplateBuckets};
use reqwest::{Client, Url, redirect::Policy};

use crate::error::AnswerError;

/// The rights of the publisher.
pub struct Context {
    /// Reads, writes and removes published templates.
    pub buckets: Arc<dyn TemplateBuckets>,
    /// Answers CloudFormation.
    pub responder: Arc<dyn Respond>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether an emulator on this machine has the place of AWS.
    pub is_emulated: bool,
}

/// Sends answers to where CloudFormation waits for them.
#[async_trait]
pub trait Respond: Send + Sync {
    /// Sends the answer.
    async fn respond(&self, url: &Url, body: String) -> Result<(), AnswerError>;
}

impl Context {
    /// Connects to AWS.
    pub fn connect(settings: &AwsSettings) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self {
            buckets: Arc::new(PublicTemplates::new(Aws::of_function(settings))),
            responder: Arc::new(Put {
                client,
                clock: clock.clone(),
            }),
            clock,
            is_emulated: settings.emulator.is_some(),
        })
    }
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The pauses between attempts to answer.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Puts answers to the signed URL that the event names.
struct Put {
    client: Client,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Respond for Put {
    async fn respond(&self, url: &Url, body: String) -> Result<(), AnswerError> {
        let mut pauses = PAUSES.iter();
        loop {
            // Without a content type: the URL is signed for none.
            let answer = self.client.put(url.clone()).body(body.clone()).send().await;
            let refused = match answer {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => format!("status {}", answer.status().as_u16()),
                // The URL is a credential.
                Err(error) => error.without_url().to_string(),
            };
            match pauses.next() {
                Some(pause) => self.clock.sleep(*pause).await,
                None => return Err(AnswerError::NotTaken(refused)),
            }
        }
    }
}
