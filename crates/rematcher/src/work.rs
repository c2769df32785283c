//! The rules of a rematch: who is asked, which images are affected, and how the work goes on when the time is over.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use portwarden_core::{
    advisory::Edition, id::TenantId, inventory::PackageKey, rematch::RematchRequest, scope::TenantScope,
};
use portwarden_matching::{Loaded, MatchError, Rematched};
use portwarden_oci::Digest;

use crate::{Context, Failure};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// How many images were queued, or matched.
    pub images: usize,
    /// How many of the matched ones have other findings now.
    pub changed: usize,
    /// Whether another message goes on where this one ended.
    pub is_continued: bool,
    name: &'static str,
}

impl Done {
    fn new(name: &'static str) -> Self {
        Self {
            images: 0,
            changed: 0,
            is_continued: false,
            name,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        if self.is_continued { "continued" } else { self.name }
    }
}

/// So many tenants are listed at a time.
const TENANTS: usize = 100;
/// So many packages are looked up, and so many images matched, at the same time.
const PARALLEL: usize = 16;

/// Does what a message asks, as far as it gets until `stop`.
pub async fn work(context: &Context, request: &RematchRequest, stop: Timestamp) -> Result<Done, Failure> {
    match (request, request.scope()) {
        (
            RematchRequest::Tenant {
                tenant,
                edition,
                done,
            },
            Some(scope),
        ) => ask_tenant(context, &scope, tenant, edition, *done, stop).await,
        (RematchRequest::Images { images, .. }, Some(scope)) => rematch_images(context, &scope, images).await,
        (RematchRequest::Everyone { edition, after }, _) => {
            ask_everyone(context, edition, after.as_ref(), stop).await
        }
        // A request about a tenant has its scope.
        (RematchRequest::Tenant { .. } | RematchRequest::Images { .. }, None) => Ok(Done::new("nothing")),
    }
}

async fn ask_everyone(
    context: &Context,
    edition: &Edition,
    after: Option<&TenantId>,
    stop: Timestamp,
) -> Result<Done, Failure> {
    let rematches = &context.outside.rematches;
    let ask = async |tenant: TenantId| {
        let request = RematchRequest::Tenant {
            tenant,
            edition: edition.clone(),
            done: 0,
        };
        rematches.queue_rematch(&request).await
    };
    let mut after = after.cloned();
    if after.is_none() {
        // The operator's own images; it is in no list of tenants.
        ask(TenantId::operator()).await?;
    }
    loop {
        let tenants = context.directory.tenants(after.as_ref(), TENANTS).await?;
        let Some(last) = tenants.last().cloned() else {
            return Ok(Done::new("everyone"));
        };
        for tenant in tenants {
            ask(tenant).await?;
        }
        if context.outside.clock.now() >= stop {
            let rest = RematchRequest::Everyone {
                edition: edition.clone(),
                after: Some(last),
            };
            rematches.queue_rematch(&rest).await?;
            return Ok(Done {
                is_continued: true,
                ..Done::new("everyone")
            });
        }
        after = Some(last);
    }
}

/// Images on their way into messages; none twice.
struct Batches<'a> {
    context: &'a Context,
    tenant: &'a TenantId,
    known: BTreeSet<Digest>,
    waiting: Vec<Digest>,
}

impl Batches<'_> {
    async fn add(&mut self, images: impl IntoIterator<Item = Digest>) -> Result<(), Failure> {
        for image in images {
            if self.known.insert(image) {
                self.waiting.push(image);
            }
            if self.waiting.len() == RematchRequest::MAX_IMAGES {
                self.send().await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Failure> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let request = RematchRequest::Images {
            tenant: self.tenant.clone(),
            images: std::mem::take(&mut self.waiting),
        };
        self.context.outside.rematches.queue_rematch(&request).await?;
        Ok(())
    }
}

async fn ask_tenant(
    context: &Context,
    scope: &TenantScope,
    tenant: &TenantId,
    edition: &Edition,
    done: usize,
    stop: Timestamp,
) -> Result<Done, Failure> {
    let mut batches = Batches {
        context,
        tenant,
        known: BTreeSet::new(),
        waiting: Vec::new(),
    };
    if done == 0 {
        let inventory = context.matcher.inventory();
        let mut after = None;
        loop {
            let part = inventory.unmatched(scope, after.as_ref(), 1000).await?;
            batches.add(part.items).await?;
            after = part.next;
            if after.is_none() {
                break;
            }
        }
    }
    let changes = changes(context, edition).await?;
    let mut place = done.min(changes.len());
    let loaded = context.matcher.database().await?;
    while let (Some(loaded), Some(rest)) = (&loaded, changes.get(place..).filter(|rest| !rest.is_empty())) {
        if context.outside.clock.now() >= stop {
            break;
        }
        let some = &rest[..rest.len().min(PARALLEL)];
        batches.add(affected(context, scope, some, loaded).await?).await?;
        place += some.len();
    }
    batches.send().await?;
    let is_continued = loaded.is_some() && place < changes.len();
    if is_continued {
        let rest = RematchRequest::Tenant {
            tenant: tenant.clone(),
            edition: edition.clone(),
            done: place,
        };
        context.outside.rematches.queue_rematch(&rest).await?;
    }
    Ok(Done {
        images: batches.known.len(),
        is_continued,
        ..Done::new("tenant")
    })
}

async fn affected(
    context: &Context,
    scope: &TenantScope,
    packages: &[PackageKey],
    loaded: &Loaded,
) -> Result<Vec<Digest>, MatchError> {
    let found = stream::iter(packages).map(|package| context.matcher.affected(scope, package, loaded));
    let found: Vec<Vec<Digest>> = found.buffer_unordered(PARALLEL).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Reads about which packages an edition says something else than the one before; none for the first one.
async fn changes(context: &Context, edition: &Edition) -> Result<Vec<PackageKey>, Failure> {
    let Some(file) = edition.changes_file() else {
        return Ok(Vec::new());
    };
    let read = context.outside.objects.read_object(&file.key()).await?;
    read.filter(|content| file.is(content))
        .and_then(|content| serde_json::from_slice(&content).ok())
        .ok_or(Failure::Changes(edition.number))
}

async fn rematch_images(context: &Context, scope: &TenantScope, images: &[Digest]) -> Result<Done, Failure> {
    let matched = stream::iter(images).map(|image| context.matcher.rematch(scope, image));
    let matched: Vec<Result<Rematched, MatchError>> = matched.buffer_unordered(PARALLEL).collect().await;
    let mut done = Done {
        images: images.len(),
        ..Done::new("images")
    };
    let (mut failed, mut first) = (0, None);
    for result in matched {
        match result {
            Ok(Rematched::Changed) => done.changed += 1,
            Ok(_) => {}
            Err(error) => {
                failed += 1;
                first.get_or_insert(error);
            }
        }
    }
    match first {
        None => Ok(done),
        // Those that were matched are known when the message comes again.
        Some(first) => Err(Failure::Images {
            failed,
            all: images.len(),
            first,
        }),
    }
}
