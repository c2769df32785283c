//! The story of `make run`: from nothing to a report, told step by step.

mod stack_file;
mod tell;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use portwarden_oci::{Digest, RepositoryName, Tag, Version};
use portwarden_registry::LayoutReference;
use portwarden_testkit::{image::write_oci_layout, sample};
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::{
    advisories::AdvisoryChoice,
    cloud::{LocalCloud, LocalOptions, ScannedImage},
    destination::Delivery,
    error::LocalError,
    push::{self, ImageChoice, Pushed},
    tenant::Tenant,
    walk_through::{Links, WalkThrough},
    watch::{Action, Delivered, Watch},
};

pub use stack_file::{StackFile, TenantEntry};

/// What to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The cloud.
    pub cloud: LocalOptions,
    /// The image to push.
    pub image: ImageChoice,
    /// Whether to end after the report.
    pub once: bool,
}

/// The last line of a run that ends after the report.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    /// How many accounts are connected.
    connected: usize,
    account: &'a str,
    region: &'a str,
    repository: &'a str,
    tag: &'a str,
    digest: Digest,
    packages: usize,
    /// How many findings count; null if there is no advisory database.
    findings: Option<usize>,
    push_to_report_ms: u64,
    report: &'a Path,
    sbom: &'a Path,
}

/// Runs the local cloud: until the report with `once`, else until Ctrl-C or SIGTERM.
///
/// Progress goes to `progress`, results to `output`; nothing is left running, however it ends.
pub async fn run(
    options: &RunOptions,
    output: &mut (dyn Write + Send),
    progress: &mut (dyn Write + Send),
) -> Result<(), LocalError> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        told = tell_story(options, output, progress) => told,
        _ = interrupt.recv() => interrupted(options),
        _ = terminate.recv() => interrupted(options),
    }
}

/// To be ended is how a cloud that stays up ends, but a run that should give a report has not given it.
fn interrupted(options: &RunOptions) -> Result<(), LocalError> {
    if options.once {
        Err(LocalError::Interrupted)
    } else {
        Ok(())
    }
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, LocalError> {
    signal(kind).map_err(|source| LocalError::call("listen for signals", source))
}

async fn tell_story(
    options: &RunOptions,
    output: &mut (dyn Write + Send),
    progress: &mut (dyn Write + Send),
) -> Result<(), LocalError> {
    let state = &options.cloud.state;
    let start = Instant::now();
    let mut step = |text: String| {
        told(writeln!(
            progress,
            "[{:5.1} s] {text}",
            start.elapsed().as_secs_f64()
        ))
    };

    step("starting the AWS emulator".to_owned())?;
    let emulator = options.cloud.start_emulator().await?;
    // Of a run that was ended by force.
    let _ = std::fs::remove_file(StackFile::path(state));
    step(format!(
        "deploying {} to {}",
        options.cloud.template.display(),
        emulator.endpoint()
    ))?;
    if options.cloud.advisories != AdvisoryChoice::None {
        step(format!("with advisories from {}", options.cloud.advisories))?;
    }
    let mut cloud = LocalCloud::deploy(emulator, &options.cloud).await?;
    for plan in &options.cloud.tenants {
        step(format!(
            "connecting account {} in {} ({})",
            plan.account, plan.region, plan.name
        ))?;
    }
    cloud.connect(&options.cloud.tenants).await?;
    let mut watch = Watch::start(cloud.tenants()).await?;
    let _stack_file = StackFile::of(&cloud)?.write(state)?;

    let Some(tenant) = cloud.tenants().first().map(Arc::clone) else {
        return Ok(());
    };
    let (repository, tag) = options.image.destination();
    step(format!(
        "pushing {} to {}/{repository}:{tag}",
        options.image,
        tenant.account.registry()
    ))?;
    let pushed = cloud.push(&tenant, &options.image, &repository, &tag).await?;
    let pushed_at = Instant::now();

    let scanned = {
        let report = cloud.report(&tenant.id, &pushed.digest);
        tokio::pin!(report);
        loop {
            tokio::select! {
                scanned = &mut report => break scanned?,
                Some(delivered) = watch.next() => step(delivered_line(&delivered)?)?,
            }
        }
    };
    let elapsed = pushed_at.elapsed();
    let files = ResultFiles::write(state, &tenant, &scanned)?;
    told(tell::report(
        output,
        &tenant,
        &scanned,
        elapsed,
        &files.report,
        &files.sbom,
    ))?;
    if options.once {
        let outcome = outcome(&cloud, &tenant, &pushed, &scanned, elapsed.as_millis(), &files);
        told(serde_json::to_writer(&mut *output, &outcome).map_err(io::Error::from))?;
        told(writeln!(output))?;
        told(output.flush())?;
        cloud.shutdown().await;
        return Ok(());
    }
    let walk_through = walk_through(&cloud, &tenant, &repository, state).await?;
    told(tell::how_to_go_on(
        output,
        &cloud,
        (&walk_through, &StackFile::path(state)),
        &pushed,
        &next_release(state)?,
    ))?;
    stay_up(&cloud, &mut watch, output, state).await
}

/// Serves the page that people walk through a cloud with.
async fn walk_through(
    cloud: &LocalCloud,
    tenant: &Tenant,
    repository: &RepositoryName,
    state: &Path,
) -> Result<WalkThrough, LocalError> {
    let links = Links {
        sign_in: cloud.sign_in_link()?,
        images: format!("{}/tenants/{}/images", cloud.console()?, tenant.id),
    };
    let (state, repository) = (state.to_owned(), repository.clone());
    let push = move |number| {
        let (state, repository) = (state.clone(), repository.clone());
        let pushed = async move {
            let image = write_release(&state.join(format!("walk-through/{number}")), "latest", number)?;
            let (_, tag) = image.destination();
            push_to(&StackFile::read(&state)?, &state, &image, (repository, tag))
                .await
                .map(drop)
        };
        Box::pin(pushed) as BoxFuture<'static, _>
    };
    WalkThrough::start(links, Box::new(push)).await
}

/// Pushes an image to the first account of the local cloud that runs with the same directory, whose run tells the rest.
pub async fn push_to_running(state: &Path, image: &ImageChoice) -> Result<Pushed, LocalError> {
    push_to(&StackFile::read(state)?, state, image, image.destination()).await
}

async fn push_to(
    running: &StackFile,
    state: &Path,
    image: &ImageChoice,
    (repository, tag): (RepositoryName, Tag),
) -> Result<Pushed, LocalError> {
    let account = running.first_account()?;
    let (source, version) = image.open(state).await?;
    push::create_repository(&account, &repository).await?;
    push::push(&*source, &version, &running.registry, &repository, &tag)
        .await
        .map_err(|source| LocalError::Image {
            image: image.to_string(),
            source,
        })
}

/// Writes the sample's next release, whose last layer alone is new, for people to push.
fn next_release(state: &Path) -> Result<ImageChoice, LocalError> {
    write_release(&state.join("next/shop-web"), "1.5", 0)
}

/// Writes a later release of the sample; the directory's name becomes the repository's.
fn write_release(directory: &Path, tag: &str, number: u32) -> Result<ImageChoice, LocalError> {
    let tag: Tag = tag
        .parse()
        .map_err(|error| LocalError::call("name a release", error))?;
    write_oci_layout(directory, &tag, &sample::later_release(number).image)
        .map_err(|source| LocalError::file(directory, source))?;
    Ok(ImageChoice::Layout(LayoutReference {
        directory: directory.to_owned(),
        version: Some(Version::Tag(tag)),
    }))
}

/// Tells of every image that somebody pushes from now on.
async fn stay_up(
    cloud: &LocalCloud,
    watch: &mut Watch,
    output: &mut (dyn Write + Send),
    state: &Path,
) -> Result<(), LocalError> {
    // One image's fate holds up no other's.
    let mut reports = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(delivered) = watch.next() => {
                match delivered_line(&delivered) {
                    Ok(line) => told(writeln!(output, "{line}"))?,
                    Err(error) => {
                        told(writeln!(output, "{error}. Fix: {}", error.fix()))?;
                        continue;
                    }
                }
                if delivered.action.action == Action::Push {
                    reports.push(report_of(cloud, delivered));
                }
            }
            Some((tenant, scanned, elapsed)) = reports.next() => match scanned {
                Ok(scanned) => {
                    let files = ResultFiles::write(state, &tenant, &scanned)?;
                    told(tell::report(output, &tenant, &scanned, elapsed, &files.report, &files.sbom))?;
                }
                Err(error) => told(writeln!(output, "{error}. Fix: {}", error.fix()))?,
            },
            else => return Ok(()),
        }
    }
}

/// Waits for the report of an image whose event was delivered, and measures from when it was seen.
async fn report_of(
    cloud: &LocalCloud,
    delivered: Delivered,
) -> (Arc<Tenant>, Result<ScannedImage, LocalError>, Duration) {
    let scanned = match delivered.action.digest.parse() {
        Ok(digest) => cloud.report(&delivered.tenant.id, &digest).await,
        Err(error) => Err(LocalError::call("read a digest", error)),
    };
    (delivered.tenant, scanned, delivered.seen_at.elapsed())
}

/// Says what became of an event; a dead letter of the first image is the end of the story.
fn delivered_line(delivered: &Delivered) -> Result<String, LocalError> {
    let image = &delivered.action;
    let name = format!(
        "{}{}",
        image.repository,
        image
            .tag
            .as_deref()
            .map(|tag| format!(":{tag}"))
            .unwrap_or_default()
    );
    let account = delivered.tenant.account.id();
    match &delivered.delivery {
        Ok(Delivery::Delivered { status, attempts }) => {
            let again = if *attempts > 1 {
                format!(" at attempt {attempts}")
            } else {
                String::new()
            };
            Ok(format!(
                "event of account {account}: {:?} {name}, answered {}{again}",
                image.action,
                status.as_u16()
            ))
        }
        Ok(Delivery::DeadLetter { cause, .. }) => Err(LocalError::NotDelivered {
            account: account.to_string(),
            reason: cause.to_string(),
        }),
        Err(error) => Err(LocalError::NotDelivered {
            account: account.to_string(),
            reason: error.to_string(),
        }),
    }
}

fn outcome<'a>(
    cloud: &LocalCloud,
    tenant: &'a Tenant,
    pushed: &'a Pushed,
    scanned: &ScannedImage,
    elapsed_ms: u128,
    files: &'a ResultFiles,
) -> Outcome<'a> {
    Outcome {
        connected: cloud.tenants().len(),
        account: tenant.account.id().as_str(),
        region: tenant.account.region().as_str(),
        repository: pushed.repository.as_str(),
        tag: pushed.tag.as_str(),
        digest: pushed.digest,
        packages: scanned.report.package_count,
        findings: scanned
            .findings
            .as_ref()
            .map(|findings| findings.counts.values().sum()),
        push_to_report_ms: u64::try_from(elapsed_ms).unwrap_or(u64::MAX),
        report: &files.report,
        sbom: &files.sbom,
    }
}

/// Where a report lies for people and scripts.
struct ResultFiles {
    report: PathBuf,
    sbom: PathBuf,
}

impl ResultFiles {
    fn write(state: &Path, tenant: &Tenant, scanned: &ScannedImage) -> Result<Self, LocalError> {
        let state = std::path::absolute(state).map_err(|source| LocalError::file(state, source))?;
        // Each tenant has a report of its own, also of the same image.
        let directory = state
            .join("reports")
            .join(tenant.account.id().as_str())
            .join(scanned.report.image.digest.hex());
        std::fs::create_dir_all(&directory).map_err(|source| LocalError::file(&directory, source))?;
        let write = |name: &str, content: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, content).map_err(|source| LocalError::file(&path, source))?;
            Ok(path)
        };
        Ok(Self {
            report: write("report.json", &scanned.report_json)?,
            sbom: write("sbom.cdx.json", &scanned.sbom_json)?,
        })
    }
}

fn told(written: io::Result<()>) -> Result<(), LocalError> {
    written.map_err(|source| LocalError::call("write to the terminal", source))
}
