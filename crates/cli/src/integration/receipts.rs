use clap::Args;
use jiff::{SignedDuration, Timestamp};
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    receipt::{AccessReceipt, AccessReceipts},
};

use super::{Named, write};
use crate::{
    failure::{Ending, Failure},
    stack::StackChoice,
    text::{Column, table},
};

/// Which sessions are listed.
#[derive(Debug, Args)]
pub(super) struct ReceiptsArgs {
    #[command(flatten)]
    named: Named,
    /// From when on, such as 2026-11-23T12:00:00Z; without it, those of the last seven days
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// How many at most, the oldest first
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

const SINCE: SignedDuration = SignedDuration::from_hours(7 * 24);

impl ReceiptsArgs {
    /// Lists the sessions.
    pub(super) async fn run(self, choice: &StackChoice, json: bool) -> Result<Ending, Failure> {
        let stack = choice.open().await?;
        let (_, scope) = self.named.find(&stack).await?;
        let since = self.since.unwrap_or_else(|| SystemClock.now() - SINCE);
        let receipts = AccessReceipts::new(stack.store.clone());
        let receipts = receipts.list(&scope, &self.named.id, since, self.limit).await?;
        write(json, &receipts, || list(&receipts))
    }
}

fn list(receipts: &[AccessReceipt]) -> String {
    let row = |receipt: &AccessReceipt| {
        [
            format!("{:.0}", receipt.opened_at),
            receipt.region.to_string(),
            receipt.purpose.clone(),
            receipt.calls.to_string(),
            receipt.session.clone(),
        ]
    };
    let rows: Vec<_> = receipts.iter().map(row).collect();
    let columns = ["OPENED", "REGION", "PURPOSE", "CALLS", "SESSION"].map(Column::new);
    table(&columns, &rows)
}

#[cfg(test)]
mod tests {
    use portwarden_core::{id::IntegrationId, random::OsRandomness};

    use super::*;

    #[test]
    fn a_line_says_what_cloudtrail_shows() {
        let receipt = AccessReceipt {
            integration: IntegrationId::generate(&OsRandomness),
            region: "eu-central-1".parse().unwrap(),
            role: "arn:aws:iam::111122223333:role/r".parse().unwrap(),
            session: "scan-00000000000000000000000000".to_owned(),
            purpose: "registry".to_owned(),
            opened_at: "2026-11-23T12:00:00.123Z".parse().unwrap(),
            calls: 12,
        };
        assert_eq!(
            list(&[receipt]).lines().nth(1),
            Some("2026-11-23T12:00:00Z  eu-central-1  registry  12     scan-00000000000000000000000000")
        );
    }
}
