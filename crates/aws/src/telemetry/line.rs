use jiff::SignedDuration;
use portwarden_core::{
    id::{AccountId, EventId, IntegrationId, NotificationId, Region, RequestId, TenantId, WebhookId},
    tenant_template::publication::TemplateVersion,
    trace::TraceId,
    work::{InventoryRequest, ScanRequest, VerifyRequest},
};
use portwarden_oci::{Digest, RepositoryName};
use tracing::field;

/// The one line in the log that each piece of work leaves, in the words that all functions share.
///
/// Everything in it was parsed or is a word of ours: no text of a sender gets into a line. What is not known is left out.
/// `docs/operations.md` says what each field means.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// `service`: the function.
    pub service: Service,
    /// `outcome.name`: what became of the work, one of a few words.
    pub outcome: &'static str,
    /// `outcome.code`: the stable code of what went wrong.
    pub code: Option<&'a str>,
    /// `outcome.fault`: whose it is.
    pub fault: Option<Fault>,
    /// `outcome.reason`: what the code alone does not tell, one of a few words.
    pub reason: Option<&'static str>,
    /// `outcome.error`: the chain of errors.
    pub error: Option<String>,
    /// `duration_ms`: how long the work took.
    pub duration: Option<SignedDuration>,
    /// `trace.id`: what the work belongs to.
    pub trace: Option<TraceId>,
    /// `tenant.id`
    pub tenant: Option<&'a TenantId>,
    /// `integration.id`
    pub integration: Option<&'a IntegrationId>,
    /// `aws.account`: the tenant's account.
    pub account: Option<&'a AccountId>,
    /// `aws.region`: the region in the tenant's account.
    pub region: Option<&'a Region>,
    /// `event.id`
    pub event: Option<&'a EventId>,
    /// `event.kind`
    pub kind: Option<&'static str>,
    /// `message.id`: the queue's id of a message.
    pub message: Option<&'a str>,
    /// `request.id`: the work itself; also part of session names.
    pub request: Option<&'a RequestId>,
    /// `request.reason`: why the work was asked for.
    pub asked: Option<&'static str>,
    /// `request.continuation`: how many invocations worked on it before.
    pub continuation: Option<u32>,
    /// `image.repository`
    pub repository: Option<&'a RepositoryName>,
    /// `image.digest`
    pub digest: Option<&'a Digest>,
    /// `connection.proven`: whether the role may be used now.
    pub proven: Option<bool>,
    /// `template.version`: the version of the tenants' template that links lead to now.
    pub template: Option<&'a TemplateVersion>,
    /// `http.method`: the method of a request.
    pub method: Option<&'a http::Method>,
    /// `http.route`: the path of a request, with the names of its parameters in their place.
    pub route: Option<&'a str>,
    /// `http.status`: the status of the answer.
    pub status: Option<u16>,
    /// What a scan found.
    pub scan: Option<ScanFigures>,
    /// `advisory.edition`: the edition of the advisory database.
    pub edition: Option<u64>,
    /// What is known of a folder of the advisories' feed.
    pub folder: Option<FolderFigures>,
    /// What a message for the rematcher came to.
    pub rematch: Option<RematchFigures>,
    /// `notification.id`: what is told.
    pub notification: Option<&'a NotificationId>,
    /// `webhook.id`: whom.
    pub webhook: Option<&'a WebhookId>,
    /// `webhook.attempt`: which attempt it was.
    pub attempt: Option<u32>,
    /// What a comparison with ECR found.
    pub inventory: Option<InventoryFigures>,
}

/// A function, as logs and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Authenticates, stores and queues events.
    Receiver,
    /// Tests connections.
    Verifier,
    /// Scans images.
    Scanner,
    /// Publishes the tenants' template.
    Publisher,
    /// Serves the API and the pages.
    Console,
    /// Builds the advisory database.
    Advisor,
    /// Matches stored images again.
    Rematcher,
    /// Tells tenants and listeners what changed.
    Notifier,
    /// Compares what is known with what ECR lists.
    Reconciler,
}

/// Whose fault a failure is: an operator wakes up for their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operator's: our code, our account, AWS in it.
    Ours,
    /// The other side's: the tenant's account, role, registry or image, or whoever sends to the endpoint.
    Theirs,
}

/// What a scan found, and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanFigures {
    /// `scan.packages`: how many packages were found.
    pub packages: usize,
    /// `scan.pulled_bytes`: how many bytes of layers were pulled.
    pub pulled_bytes: u64,
    /// `scan.spared_bytes`: how many bytes of layers were known already.
    pub spared_bytes: u64,
    /// `scan.time_to_report_ms`: the time since the image was known.
    pub time_to_report: SignedDuration,
}

/// What a message for the rematcher came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RematchFigures {
    /// `rematch.images`: how many images were queued, or looked at.
    pub images: usize,
    /// `rematch.changed`: how many of them have other findings now.
    pub changed: usize,
}

/// What is known of a folder of the advisories' feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderFigures {
    /// `advisory.folder`: its name.
    pub name: &'static str,
    /// `advisory.records`: how many records it has.
    pub records: u64,
    /// `advisory.age_ms`: the time since it was last compared with its source.
    pub age: Option<SignedDuration>,
    /// `advisory.newest_ms`: the time since the newest of its records was changed.
    pub newest: Option<SignedDuration>,
}

/// What a comparison with ECR found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryFigures {
    /// `inventory.repositories`: how many repositories were compared.
    pub repositories: u64,
    /// `inventory.unread`: how many repositories could not be read.
    pub unread: u64,
    /// `inventory.images`: how many images ECR lists.
    pub images: u64,
    /// `inventory.new`: how many of them were not known.
    pub new: u64,
    /// `inventory.changed`: how many had other tags, or were archived or restored.
    pub changed: u64,
    /// `inventory.gone`: how many known ones ECR lists no more.
    pub gone: u64,
    /// `inventory.missed`: how many pushes no event told of.
    pub missed: u64,
    /// `inventory.waited`: how many images had waited for their scan for too long.
    pub waited: u64,
}

impl Service {
    /// Returns the word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Verifier => "verifier",
            Self::Scanner => "scanner",
            Self::Publisher => "publisher",
            Self::Console => "console",
            Self::Advisor => "advisor",
            Self::Rematcher => "rematcher",
            Self::Notifier => "notifier",
            Self::Reconciler => "reconciler",
        }
    }
}

impl Fault {
    /// Returns the word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
        }
    }
}

impl<'a> Line<'a> {
    /// Begins a line of a function that knows nothing else yet.
    pub fn of(service: Service, outcome: &'static str) -> Self {
        Self {
            service,
            outcome,
            code: None,
            fault: None,
            reason: None,
            error: None,
            duration: None,
            trace: None,
            tenant: None,
            integration: None,
            account: None,
            region: None,
            event: None,
            kind: None,
            message: None,
            request: None,
            asked: None,
            continuation: None,
            repository: None,
            digest: None,
            proven: None,
            template: None,
            method: None,
            route: None,
            status: None,
            scan: None,
            edition: None,
            folder: None,
            rematch: None,
            notification: None,
            webhook: None,
            attempt: None,
            inventory: None,
        }
    }

    /// Begins a line about a request for a scan.
    pub fn of_scan(outcome: &'static str, request: &'a ScanRequest) -> Self {
        Self {
            trace: Some(request.trace),
            tenant: Some(&request.tenant),
            integration: Some(&request.integration),
            account: Some(&request.account),
            region: Some(&request.region),
            event: request.event.as_ref(),
            request: Some(&request.request),
            asked: Some(request.known_by.name()),
            continuation: Some(request.continuation),
            repository: Some(&request.repository),
            digest: Some(&request.digest),
            ..Self::of(Service::Scanner, outcome)
        }
    }

    /// Begins a line about a request to test a connection.
    pub fn of_verification(outcome: &'static str, request: &'a VerifyRequest) -> Self {
        Self {
            trace: Some(request.trace),
            tenant: Some(&request.tenant),
            integration: Some(&request.integration),
            region: Some(&request.region),
            request: Some(&request.request),
            asked: Some(request.reason.name()),
            ..Self::of(Service::Verifier, outcome)
        }
    }

    /// Begins a line about a request to compare a registry with what is known of it.
    pub fn of_inventory(outcome: &'static str, request: &'a InventoryRequest) -> Self {
        Self {
            trace: Some(request.trace),
            tenant: Some(&request.tenant),
            integration: Some(&request.integration),
            region: Some(&request.region),
            event: request.event.as_ref(),
            request: Some(&request.request),
            asked: Some(request.reason.name()),
            continuation: Some(request.continuation),
            repository: request.repository.as_ref(),
            ..Self::of(Service::Reconciler, outcome)
        }
    }

    /// Writes the line: nothing went wrong.
    pub fn info(&self, text: &'static str) {
        self.write(tracing::Level::INFO, text);
    }

    /// Writes the line: something is not as it should be, and it is not our fault.
    pub fn warn(&self, text: &'static str) {
        self.write(tracing::Level::WARN, text);
    }

    /// Writes the line: the work failed, and will be tried again.
    pub fn error(&self, text: &'static str) {
        self.write(tracing::Level::ERROR, text);
    }

    fn write(&self, level: tracing::Level, text: &'static str) {
        // A line's level is part of the place that writes it, so there is a place for each.
        macro_rules! at {
            ($level:ident) => {
                tracing::event!(
                    tracing::Level::$level,
                    service = self.service.name(),
                    outcome.name = self.outcome,
                    outcome.code = self.code,
                    outcome.fault = self.fault.map(Fault::name),
                    outcome.reason = self.reason,
                    outcome.error = self.error,
                    duration_ms = self.duration.map(milliseconds),
                    trace.id = self.trace.map(field::display),
                    tenant.id = self.tenant.map(field::display),
                    integration.id = self.integration.map(field::display),
                    aws.account = self.account.map(field::display),
                    aws.region = self.region.map(field::display),
                    event.id = self.event.map(field::display),
                    event.kind = self.kind,
                    message.id = self.message,
                    request.id = self.request.map(field::display),
                    request.reason = self.asked,
                    request.continuation = self.continuation,
                    image.repository = self.repository.map(field::display),
                    image.digest = self.digest.map(field::display),
                    connection.proven = self.proven,
                    template.version = self.template.map(field::display),
                    http.method = self.method.map(field::display),
                    http.route = self.route,
                    http.status = self.status,
                    scan.packages = self.scan.map(|scan| scan.packages),
                    scan.pulled_bytes = self.scan.map(|scan| scan.pulled_bytes),
                    scan.spared_bytes = self.scan.map(|scan| scan.spared_bytes),
                    scan.time_to_report_ms = self.scan.map(|scan| milliseconds(scan.time_to_report)),
                    advisory.edition = self.edition,
                    advisory.folder = self.folder.map(|folder| folder.name),
                    advisory.records = self.folder.map(|folder| folder.records),
                    advisory.age_ms = self.folder.and_then(|folder| folder.age).map(milliseconds),
                    advisory.newest_ms = self
                        .folder
                        .and_then(|folder| folder.newest)
                        .map(milliseconds),
                    rematch.images = self.rematch.map(|rematch| rematch.images),
                    rematch.changed = self.rematch.map(|rematch| rematch.changed),
                    notification.id = self.notification.map(field::display),
                    webhook.id = self.webhook.map(field::display),
                    webhook.attempt = self.attempt,
                    inventory.repositories = self.inventory.map(|inventory| inventory.repositories),
                    inventory.unread = self.inventory.map(|inventory| inventory.unread),
                    inventory.images = self.inventory.map(|inventory| inventory.images),
                    inventory.new = self.inventory.map(|inventory| inventory.new),
                    inventory.changed = self.inventory.map(|inventory| inventory.changed),
                    inventory.gone = self.inventory.map(|inventory| inventory.gone),
                    inventory.missed = self.inventory.map(|inventory| inventory.missed),
                    inventory.waited = self.inventory.map(|inventory| inventory.waited),
                    "{text}"
                )
            };
        }
        match level {
            tracing::Level::ERROR => at!(ERROR),
            tracing::Level::WARN => at!(WARN),
            _ => at!(INFO),
        }
    }
}

/// Clocks differ: what lies in the future counts as now.
pub(super) fn milliseconds(duration: SignedDuration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::telemetry::tests::log;

    fn request() -> ScanRequest {
        serde_json::from_value(json!({
            "tenant": "t-0123456789abcdefghjkmnpqrs", "integration": "i-0123456789abcdefghjkmnpqrs",
            "account": "111122223333", "region": "eu-west-1", "repository": "shop/web",
            "digest": Digest::of(b"x"), "known_by": "event", "event": "e-1", "since": "2026-01-02T03:04:05Z",
            "request": "0123456789abcdefghjkmnpqrs", "trace": "1-5759e988-bd862e3fe1be46a994272793",
        }))
        .unwrap()
    }

    #[test]
    fn a_line_holds_what_is_known_and_nothing_else() {
        let request = request();
        let lines = log("INFO", || {
            Line {
                duration: Some(SignedDuration::from_millis(7)),
                scan: Some(ScanFigures {
                    packages: 3,
                    pulled_bytes: 1000,
                    spared_bytes: 0,
                    time_to_report: SignedDuration::from_millis(-5),
                }),
                ..Line::of_scan("reported", &request)
            }
            .info("image reported");
        });
        let mut line = lines[0].as_object().unwrap().clone();
        assert!(line.remove("timestamp").is_some());
        assert_eq!(
            serde_json::Value::Object(line),
            json!({
                "level": "INFO", "message": "image reported", "target": "portwarden_aws::telemetry::line",
                "service": "scanner", "outcome.name": "reported", "duration_ms": 7,
                "trace.id": request.trace, "tenant.id": request.tenant, "integration.id": request.integration,
                "aws.account": "111122223333", "aws.region": "eu-west-1", "event.id": "e-1",
                "request.id": request.request, "request.reason": "event", "request.continuation": 0,
                "image.repository": "shop/web", "image.digest": request.digest,
                "scan.packages": 3, "scan.pulled_bytes": 1000, "scan.spared_bytes": 0, "scan.time_to_report_ms": 0,
            })
        );
    }

    #[test]
    fn failures_are_told_with_their_level_code_and_fault() {
        let lines = log("WARN", || {
            let failed = |fault| Line {
                code: Some("store_unavailable"),
                fault: Some(fault),
                error: Some("the table is unavailable: it is gone".to_owned()),
                ..Line::of(Service::Verifier, "failed")
            };
            failed(Fault::Ours).error("connection not tested");
            failed(Fault::Theirs).warn("connection not tested");
            failed(Fault::Ours).info("not shown");
        });
        let told: Vec<_> = lines
            .iter()
            .map(|line| (&line["level"], &line["outcome.fault"], &line["outcome.code"]))
            .collect();
        let code = json!("store_unavailable");
        assert_eq!(
            told,
            [
                (&json!("ERROR"), &json!("ours"), &code),
                (&json!("WARN"), &json!("theirs"), &code)
            ]
        );
        assert_eq!(lines[0].get("tenant.id"), None);
    }

    #[test]
    fn every_field_is_described_for_the_operator() {
        let source = include_str!("line.rs");
        let (_, place) = source.split_once("tracing::event!(").unwrap();
        let (place, _) = place.split_once("\"{text}\"").unwrap();
        let written: Vec<_> = place
            .lines()
            .filter_map(|line| Some(line.trim().split_once(" = ")?.0))
            .collect();
        assert!(written.len() > 20, "{written:?}");
        let document = include_str!("../../../../docs/operations.md");
        let described: Vec<_> = crate::telemetry::tests::first_column(document, "## Logs").collect();
        assert_eq!(described, written);
    }
}
