//! How Portwarden itself is: tenants in numbers, queues, and the advisory database. For operators only.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use jiff::Timestamp;
use portwarden_core::{
    advisory::Folder,
    id::TenantId,
    operations::{QueueHealth, TenantHealth},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    input::{Path, Query},
    paging::{Page, PageQuery},
};
use crate::{auth::Operator, context::Console, error::Refusal};

/// How the queues and the advisory database are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationsView {
    /// The queues.
    queues: Vec<QueueView>,
    /// The advisory database in use; none if there never was one.
    advisories: Option<AdvisoriesView>,
    /// What it is made from.
    folders: Vec<FolderView>,
}

/// How a queue is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueView {
    /// What its messages are about.
    #[schema(example = "scan")]
    name: String,
    /// How many messages wait.
    waiting: u64,
    /// How many messages are being worked on.
    in_flight: u64,
    /// How many messages are to be delivered later.
    delayed: u64,
    /// How many messages were given up; none if those lie with another queue's.
    dead: Option<u64>,
}

/// The advisory database in use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AdvisoriesView {
    /// The number of the edition.
    edition: u64,
    /// When it was built.
    #[schema(value_type = String, format = DateTime)]
    built_at: Timestamp,
    /// How many advisories it holds.
    advisories: u64,
}

/// A folder of the feed of advisories.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FolderView {
    /// Its name.
    #[schema(example = "Debian")]
    name: String,
    /// How many advisories it holds.
    advisories: u64,
    /// When it was last compared with its source.
    #[schema(value_type = Option<String>, format = DateTime)]
    checked_at: Option<Timestamp>,
    /// How many seconds ago that was.
    age_seconds: Option<i64>,
    /// The code of why it could not be read the last time.
    problem: Option<String>,
}

impl From<QueueHealth> for QueueView {
    fn from(queue: QueueHealth) -> Self {
        Self {
            name: queue.name,
            waiting: queue.waiting,
            in_flight: queue.in_flight,
            delayed: queue.delayed,
            dead: queue.dead,
        }
    }
}

impl FolderView {
    fn new(name: String, folder: &Folder, now: Timestamp) -> Self {
        Self {
            name,
            advisories: folder
                .collection
                .as_ref()
                .map_or(0, |collection| collection.records),
            checked_at: folder.checked_at,
            age_seconds: folder.age(now).map(|age| age.as_secs()),
            problem: folder.problem.as_ref().map(|problem| problem.code.clone()),
        }
    }
}

/// Tells how the queues and the advisory database are.
#[utoipa::path(
    get,
    path = "/v1/operations",
    tag = "operations",
    operation_id = "showOperations",
    responses((status = 200, description = "How they are", body = OperationsView))
)]
pub(crate) async fn show(
    State(console): State<Console>,
    _: Operator,
) -> Result<Json<OperationsView>, Refusal> {
    let (queues, shelf) = (console.queues.queues().await?, console.editions.shelf().await?);
    let now = console.clock.now();
    let folders = shelf.folders.into_iter();
    Ok(Json(OperationsView {
        queues: queues.into_iter().map(QueueView::from).collect(),
        advisories: shelf.edition.map(|edition| AdvisoriesView {
            edition: edition.number,
            built_at: edition.built_at,
            advisories: edition.advisories,
        }),
        folders: folders
            .map(|(name, folder)| FolderView::new(name, &folder, now))
            .collect(),
    }))
}

/// How a tenant is, in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantHealthView {
    /// The tenant.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// What people call it.
    name: String,
    /// How many regions of its accounts are `green`, `pending`, `amber` or `red`.
    #[schema(example = json!({"green": 3, "red": 1}))]
    regions: BTreeMap<&'static str, usize>,
    /// When something last came from any of its stacks.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_heartbeat: Option<Timestamp>,
    /// How many of its 50 newest images wait for a report.
    waiting: usize,
    /// How many of its 50 newest images cannot be scanned.
    refused: usize,
    /// The time from push to report in seconds that half of its newest images do not exceed.
    median_seconds_to_report: Option<u64>,
    /// The longest time from push to report in seconds among its newest images.
    longest_seconds_to_report: Option<u64>,
}

impl From<TenantHealth> for TenantHealthView {
    fn from(health: TenantHealth) -> Self {
        Self {
            median_seconds_to_report: health.median_seconds(),
            longest_seconds_to_report: health.seconds_to_report.iter().max().copied(),
            regions: health
                .regions
                .into_iter()
                .map(|(light, number)| (light.name(), number))
                .collect(),
            tenant: health.tenant,
            name: health.name,
            last_heartbeat: health.last_heartbeat,
            waiting: health.waiting,
            refused: health.refused,
        }
    }
}

/// Tells how tenants are, in numbers: nothing that they have is named.
#[utoipa::path(
    get,
    path = "/v1/operations/tenants",
    tag = "operations",
    operation_id = "listTenantHealth",
    params(PageQuery),
    responses((status = 200, description = "A page of tenants", body = Page<TenantHealthView>))
)]
pub(crate) async fn tenants(
    State(console): State<Console>,
    Operator(scope): Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TenantHealthView>>, Refusal> {
    let (after, limit) = (query.after::<TenantId>()?, query.limit()?);
    let now = console.clock.now();
    let (healths, more) = console
        .operations
        .tenants(scope, after.as_ref(), limit, now)
        .await?;
    let items = healths.into_iter().map(TenantHealthView::from).collect();
    Ok(Json(Page::new(items, more, |view: &TenantHealthView| {
        view.tenant.clone()
    })))
}

/// Messages that were put back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// How many.
    moved: u64,
}

/// Puts messages of a queue that were given up back into it, at most a hundred at a time.
#[utoipa::path(
    post,
    path = "/v1/operations/queues/{queue}/redrive",
    tag = "operations",
    operation_id = "redriveQueue",
    params(("queue" = String, Path, description = "The queue's name, such as scan")),
    responses((status = 200, description = "They are put back", body = Redriven))
)]
pub(crate) async fn redrive(
    State(console): State<Console>,
    _: Operator,
    Path(queue): Path<String>,
) -> Result<Json<Redriven>, Refusal> {
    let moved = console.queues.redrive(&queue).await?.ok_or(Refusal::NotFound)?;
    Ok(Json(Redriven { moved }))
}
