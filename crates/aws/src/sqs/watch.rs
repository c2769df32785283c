//! Queues from outside: how many messages they hold, and back with those that were given up.

use std::str::FromStr;

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    types::{DeleteMessageBatchRequestEntry, Message, QueueAttributeName, SendMessageBatchRequestEntry},
};
use futures_util::future::try_join_all;
use portwarden_core::{
    operations::{QueueHealth, REDRIVEN, WatchQueues},
    work::QueueError,
};

use crate::{Aws, failure::Failure};

/// The queues that the operator watches, each with the one of its dead letters.
#[derive(Debug, Clone)]
pub struct WatchedQueues {
    client: Client,
    queues: Vec<Watched>,
}

/// The names and addresses of queues, as the template gives them: `scan=URL=URL backfill=URL=`.
#[derive(Debug, Clone)]
pub struct QueueNames(Vec<Watched>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    name: String,
    url: String,
    /// None for a queue whose dead letters lie with those of another one.
    dead: Option<String>,
}

/// The text names no queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected names of queues with their addresses and those of their dead letters: scan=URL=URL backfill=URL="
)]
pub struct QueuesError;

impl FromStr for QueueNames {
    type Err = QueuesError;

    fn from_str(text: &str) -> Result<Self, QueuesError> {
        let watched = |part: &str| {
            let mut parts = part.split('=').map(str::to_owned);
            let watched = Watched {
                name: parts.next()?,
                url: parts.next()?,
                dead: Some(parts.next()?).filter(|url| !url.is_empty()),
            };
            let is_whole = !watched.name.is_empty() && !watched.url.is_empty();
            (is_whole && parts.next().is_none()).then_some(watched)
        };
        let queues: Option<Vec<Watched>> = text.split_ascii_whitespace().map(watched).collect();
        queues.map(Self).ok_or(QueuesError)
    }
}

/// What SQS takes and gives at a time.
///
/// Source: SQS developer guide, "Amazon SQS batch actions".
const BATCH: i32 = 10;

/// For how long a message that is put back is hidden from others: longer than putting ten back takes.
const HIDDEN_SECONDS: i32 = 30;

impl WatchedQueues {
    /// Names the queues.
    pub fn new(aws: &Aws, names: QueueNames) -> Self {
        Self {
            client: aws.sqs(),
            queues: names.0,
        }
    }

    async fn depth(&self, url: &str) -> Result<[u64; 3], QueueError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let asked = self
            .client
            .get_queue_attributes()
            .queue_url(url)
            .set_attribute_names(Some(names.to_vec()));
        let answer = asked.send().await;
        let answer =
            answer.map_err(|error| QueueError(Failure::of("sqs:GetQueueAttributes", &error).into()))?;
        let attributes = answer.attributes.unwrap_or_default();
        Ok(names.map(|name| {
            attributes
                .get(&name)
                .and_then(|text| text.parse().ok())
                .unwrap_or_default()
        }))
    }

    async fn health(&self, queue: &Watched) -> Result<QueueHealth, QueueError> {
        let [waiting, in_flight, delayed] = self.depth(&queue.url).await?;
        let dead = match &queue.dead {
            Some(dead) => Some(self.depth(dead).await?[0]),
            None => None,
        };
        Ok(QueueHealth {
            name: queue.name.clone(),
            waiting,
            in_flight,
            delayed,
            dead,
        })
    }

    async fn take(&self, dead: &str) -> Result<Vec<Message>, QueueError> {
        let received = self
            .client
            .receive_message()
            .queue_url(dead)
            .max_number_of_messages(BATCH)
            .visibility_timeout(HIDDEN_SECONDS)
            .send()
            .await;
        let received =
            received.map_err(|error| QueueError(Failure::of("sqs:ReceiveMessage", &error).into()))?;
        Ok(received.messages.unwrap_or_default())
    }

    /// Puts messages back, and deletes those that are: a crash in between leaves a message in both, which harms nobody.
    async fn put_back(&self, url: &str, dead: &str, messages: &[Message]) -> Result<u64, QueueError> {
        let entry = |(index, message): (usize, &Message)| {
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(message.body.clone().unwrap_or_default())
                .build()
        };
        let entries: Result<Vec<_>, _> = messages.iter().enumerate().map(entry).collect();
        let entries = entries.map_err(|error| QueueError(error.into()))?;
        let sent = self
            .client
            .send_message_batch()
            .queue_url(url)
            .set_entries(Some(entries))
            .send()
            .await;
        let sent = sent.map_err(|error| QueueError(Failure::of("sqs:SendMessage", &error).into()))?;
        let done = sent.successful.iter().filter_map(|sent| {
            let message = messages.get(sent.id.parse::<usize>().ok()?)?;
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(sent.id.clone())
                .receipt_handle(message.receipt_handle.clone()?);
            entry.build().ok()
        });
        let done: Vec<_> = done.collect();
        let number = done.len() as u64;
        if number > 0 {
            let deleted = self
                .client
                .delete_message_batch()
                .queue_url(dead)
                .set_entries(Some(done))
                .send()
                .await;
            deleted.map_err(|error| QueueError(Failure::of("sqs:DeleteMessage", &error).into()))?;
        }
        Ok(number)
    }
}

#[async_trait]
impl WatchQueues for WatchedQueues {
    async fn queues(&self) -> Result<Vec<QueueHealth>, QueueError> {
        try_join_all(self.queues.iter().map(|queue| self.health(queue))).await
    }

    async fn redrive(&self, name: &str) -> Result<Option<u64>, QueueError> {
        let queue = self.queues.iter().find(|queue| queue.name == name);
        let Some((url, dead)) = queue.and_then(|queue| Some((&queue.url, queue.dead.as_ref()?))) else {
            return Ok(None);
        };
        let mut moved = 0;
        while moved < REDRIVEN {
            let messages = self.take(dead).await?;
            let put_back = match &*messages {
                [] => 0,
                messages => self.put_back(url, dead, messages).await?,
            };
            if put_back == 0 {
                break;
            }
            moved += put_back;
        }
        Ok(Some(moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_named_with_both_addresses() {
        let names: QueueNames = " scan=https://a/1=https://a/2\n backfill=https://b/1="
            .parse()
            .unwrap();
        let watched = |name: &str, url: &str, dead: Option<&str>| Watched {
            name: name.to_owned(),
            url: url.to_owned(),
            dead: dead.map(str::to_owned),
        };
        let scan = watched("scan", "https://a/1", Some("https://a/2"));
        assert_eq!(names.0, [scan, watched("backfill", "https://b/1", None)]);
        for wrong in ["scan", "scan=https://a", "scan==https://a", "=a=b", "scan=a=b=c"] {
            assert_eq!(wrong.parse::<QueueNames>().err(), Some(QueuesError), "{wrong}");
        }
    }
}
