use async_trait::async_trait;
use aws_sdk_eventbridge::{Client, types::PutEventsRequestEntry};
use portwarden_core::announce::{Announce, AnnounceError, Announcement, SOURCE};

use crate::{Aws, failure::Failure};

/// The event bus that carries results.
#[derive(Debug, Clone)]
pub struct EventBus {
    client: Client,
    name: String,
}

impl EventBus {
    /// Names the bus.
    pub fn new(aws: &Aws, name: String) -> Self {
        Self {
            client: Client::new(&aws.sdk),
            name,
        }
    }
}

#[async_trait]
impl Announce for EventBus {
    async fn announce(&self, announcement: &Announcement) -> Result<(), AnnounceError> {
        const CALL: &str = "events:PutEvents";
        let detail = serde_json::to_string(announcement).map_err(|error| AnnounceError(error.into()))?;
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(announcement.detail_type())
            .detail(detail)
            .build();
        let answer = self.client.put_events().entries(entry).send().await;
        let answer = answer.map_err(|error| AnnounceError(Failure::of(CALL, &error).into()))?;
        // The call succeeds although an entry is not taken.
        if answer.failed_entry_count() == 0 {
            return Ok(());
        }
        let failed = answer.entries().iter().find(|entry| entry.error_code().is_some());
        let reason = failed.map_or_else(
            || "the bus took the call but not the event".to_owned(),
            |entry| {
                format!(
                    "{}: {}",
                    entry.error_code().unwrap_or_default(),
                    entry.error_message().unwrap_or("no message")
                )
            },
        );
        Err(AnnounceError(Failure::unreachable(CALL, &reason).into()))
    }
}
