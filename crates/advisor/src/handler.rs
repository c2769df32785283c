//! From a schedule to an edition, and what is told of it.

use jiff::Timestamp;
use portwarden_aws::{Fault, FolderFigures, Line, Metric, Service};
use portwarden_core::problem::chain;

use crate::{
    Context, Failure,
    sync::{Ending, FolderOutcome, Synced, sync},
};

/// Follows the feed once, until `ends` at the latest, when the function is killed.
pub async fn handle(context: &Context, ends: Timestamp) -> Result<(), Failure> {
    let clock = &context.outside.clock;
    let started = clock.now();
    // The rest of the time is for building and writing what was read.
    let stop = started + ends.duration_since(started) * 3 / 5;
    let synced = sync(context, stop).await;
    let now = clock.now();
    let line = |outcome| Line {
        duration: Some(now.duration_since(started)),
        ..Line::of(Service::Advisor, outcome)
    };
    match &synced {
        Ok(Synced { ending, folders }) => {
            tell(context, folders, now);
            match ending {
                Ending::Published(edition) => {
                    context.outside.metrics.count(Metric::AdvisoryEditions);
                    Line {
                        edition: Some(*edition),
                        ..line("published")
                    }
                    .info("advisory database published");
                }
                Ending::Unchanged(edition) => Line {
                    edition: *edition,
                    ..line("unchanged")
                }
                .info("advisory database is current"),
            }
        }
        Err(failure) => Line {
            code: Some(failure.code()),
            fault: Some(Fault::Ours),
            error: Some(chain(failure)),
            ..line("failed")
        }
        .error("advisory database not published"),
    }
    synced.map(drop)
}

/// Says how old each folder is, and what is wrong with it.
fn tell(context: &Context, folders: &[FolderOutcome], now: Timestamp) {
    let metrics = &context.outside.metrics;
    for FolderOutcome { name, folder, result } in folders {
        let stored = folder.collection.as_ref();
        let line = |outcome| Line {
            folder: Some(FolderFigures {
                name,
                records: stored.map_or(0, |stored| stored.records),
                age: folder.age(now),
                newest: stored.and_then(|stored| Some(now.duration_since(stored.newest?))),
            }),
            ..Line::of(Service::Advisor, outcome)
        };
        if let Some(age) = folder.age(now) {
            metrics.time(Metric::AdvisoryAge { folder: name }, age);
        }
        match result {
            Ok(true) => line("folder_changed").info("folder of advisories read"),
            Ok(false) => line("folder_unchanged").info("folder of advisories is current"),
            Err(broken) => {
                metrics.count(Metric::AdvisoryFoldersBroken { code: broken.code() });
                Line {
                    code: Some(broken.code()),
                    fault: Some(Fault::Theirs),
                    error: Some(chain(broken)),
                    ..line("folder_broken")
                }
                .warn("folder of advisories not read");
            }
        }
    }
}
