//! What of an integration is shown: nothing of its credentials but their user names.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;
use portwarden_core::{
    id::{AccountId, ExternalId, IntegrationId, Region, TenantId},
    integration::{Connection, RegionConnection, Removal, Status, Trust},
    verdict::{Check, Conclusion, Outcome, Probe, Verdict},
};
use serde::Serialize;

use crate::text::{Column, printable, table};

/// An integration as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct IntegrationView {
    integration: IntegrationId,
    tenant: TenantId,
    name: String,
    /// The account, once a role in it is proven.
    account: Option<AccountId>,
    external_id: ExternalId,
    events_url: String,
    created_at: Timestamp,
    removed_at: Option<Timestamp>,
    /// How it is as a whole.
    status: Status,
    regions: BTreeMap<Region, RegionView>,
    /// The receipt of its removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    removal: Option<Removal>,
}

#[derive(Debug, Serialize)]
struct RegionView {
    #[serde(flatten)]
    trust: Trust,
    /// How the region is.
    status: Option<Status>,
    /// The user names that events may come with.
    usernames: Vec<String>,
    last_heartbeat: Option<Timestamp>,
    verdict: Option<Verdict>,
}

impl IntegrationView {
    /// Takes from a connection what is shown of it now; `events_url` is that of all integrations.
    pub(crate) fn new(connection: &Connection, events_url: &str, now: Timestamp) -> Self {
        let integration = &connection.integration;
        let region_view = |region: &RegionConnection| RegionView {
            trust: region.trust.clone(),
            status: connection.status(&region.region, now),
            usernames: region
                .credentials
                .iter()
                .map(|credential| credential.username.as_str().to_owned())
                .collect(),
            last_heartbeat: connection.heartbeats.get(&region.region).copied(),
            verdict: connection.verdict(&region.region),
        };
        Self {
            integration: integration.id.clone(),
            tenant: integration.tenant.clone(),
            name: integration.name.clone(),
            account: integration.account.clone(),
            external_id: integration.external_id.clone(),
            events_url: format!("{events_url}/{}", integration.id),
            created_at: integration.created_at,
            removed_at: integration.removed_at,
            status: connection.overall(now),
            regions: connection
                .regions
                .iter()
                .map(|(name, region)| (name.clone(), region_view(region)))
                .collect(),
            removal: None,
        }
    }

    /// Adds the receipt of a removed integration.
    pub(crate) fn with_removal(self, removal: Option<Removal>) -> Self {
        Self { removal, ..self }
    }

    /// Writes it for people.
    pub(super) fn to_text(&self) -> String {
        let account = self.account.as_ref().map_or("not proven yet", AccountId::as_str);
        let mut text = format!(
            "integration  {}\ntenant       {}\nname         {}\naccount      {account}\nexternal id  {}\nendpoint     {}\n\
             created      {:.0}\n",
            self.integration,
            self.tenant,
            printable(&self.name),
            self.external_id,
            self.events_url,
            self.created_at
        );
        match (&self.removal, self.removed_at) {
            (Some(removal), _) => text.push_str(&removal_text(removal)),
            (None, Some(removed_at)) => add(&mut text, format_args!("removed      {removed_at:.0}\n")),
            (None, None) => {}
        }
        for (name, region) in &self.regions {
            add(&mut text, format_args!("\n{name}: {}\n", state(&region.trust)));
            if let Some(status) = &region.status {
                text.push_str(&status_text(status));
            }
            if let Some(role) = region.trust.role() {
                add(&mut text, format_args!("  role            {role}\n"));
            }
            if let Some(at) = region.last_heartbeat {
                add(&mut text, format_args!("  last event      {at:.0}\n"));
            }
            if let Some(verdict) = &region.verdict {
                text.push_str(&verdict_text(verdict));
            }
        }
        text
    }
}

/// Writes integrations for people, a line each.
pub(crate) fn list(integrations: &[IntegrationView]) -> String {
    let row = |view: &IntegrationView| {
        let regions: Vec<&str> = view.regions.keys().map(Region::as_str).collect();
        [
            view.integration.to_string(),
            view.account
                .as_ref()
                .map_or_else(|| "-".to_owned(), AccountId::to_string),
            view.name.clone(),
            view.status.light.name().to_owned(),
            regions.join(", "),
        ]
    };
    let rows: Vec<_> = integrations.iter().map(row).collect();
    let columns = [
        Column::new("INTEGRATION"),
        Column::new("ACCOUNT"),
        Column::up_to("NAME", 30),
        Column::new("STATUS"),
        Column::new("REGIONS"),
    ];
    table(&columns, &rows)
}

/// Writes the receipt of a removal.
pub(super) fn removal_text(removal: &Removal) -> String {
    let reason = removal.reason.sentence();
    let mut text = format!("removed      {:.0}: {reason}\n", removal.removed_at);
    let deleted = &removal.deleted;
    match removal.purged_at {
        None => add(
            &mut text,
            format_args!("deleted      from {:.0} on\n", removal.purge_from),
        ),
        Some(at) => add(
            &mut text,
            format_args!(
                "deleted      {at:.0}: {} regions, {} places of images, {} images, {} reports, SBOMs and layer catalogues\n",
                deleted.regions, deleted.locations, deleted.images, deleted.objects
            ),
        ),
    }
    text
}

/// Writes how a region is: the word, the sentence, and what to do.
fn status_text(status: &Status) -> String {
    let mut text = format!(
        "  status          {}: {}\n",
        status.light.name(),
        printable(&status.sentence)
    );
    if let Some(at) = status.last_proof {
        add(&mut text, format_args!("  last proof      {at:.0}\n"));
    }
    text
}

fn state(trust: &Trust) -> &'static str {
    match trust {
        Trust::Unnamed => "no role named",
        Trust::Claimed { .. } => "not proven yet",
        Trust::Proposed { .. } => "waits for your confirmation",
        Trust::Proven { .. } => "proven",
        Trust::Refused { .. } => "refused",
    }
}

/// Writes what a test found: every probe, what is wrong and how to mend it, and what follows.
pub(super) fn verdict_text(verdict: &Verdict) -> String {
    let mut text = String::new();
    for probe in &verdict.probes {
        let Probe { check, outcome } = probe;
        let mark = match outcome {
            Outcome::Passed => "✓",
            Outcome::Failed(_) => "✗",
            Outcome::Unknown(_) => "?",
            Outcome::Skipped { .. } => "-",
        };
        add(&mut text, format_args!("  {mark} {}", sentence(*check)));
        match outcome {
            Outcome::Passed => text.push('\n'),
            Outcome::Skipped { reason } => {
                add(&mut text, format_args!(" (not tried: {})\n", printable(reason)));
            }
            Outcome::Failed(problem) | Outcome::Unknown(problem) => add(
                &mut text,
                format_args!(
                    "\n      cause: {} ({})\n      fix: {}\n",
                    printable(&problem.message),
                    printable(&problem.code),
                    printable(&problem.fix)
                ),
            ),
        }
    }
    add(&mut text, format_args!("{}\n", conclusion(verdict)));
    text
}

fn conclusion(verdict: &Verdict) -> &'static str {
    match verdict.conclusion() {
        Conclusion::Trusted if verdict.is_green() => "green: the role is trusted, and everything works",
        Conclusion::Trusted => {
            "trusted, but not green: the role is used, and something is still to be mended"
        }
        Conclusion::Refused => "refused: the role is not used until it passes",
        Conclusion::Unknown => {
            "unknown: it could not be found out whether the role can be trusted; test it again"
        }
    }
}

fn sentence(check: Check) -> &'static str {
    match check {
        Check::RoleArn => "the role's ARN is well-formed",
        Check::NotOurs => "the role is not in the account that Portwarden runs in",
        Check::SameAccount => "the role is in the integration's account",
        Check::RoleFree => "no other integration has the role",
        Check::OpensWithExternalId => "the role opens with the integration's ExternalId",
        Check::SessionAccount => "the session belongs to the role's account",
        Check::Canary => "our own policies let the next two probes through",
        Check::RefusesNone => "the role does not open without an ExternalId",
        Check::RefusesOthers => "the role does not open with another ExternalId",
        Check::TrustPolicy => "the role's trust policy names us alone",
        Check::Credentials => "the credentials that the stack made are known",
        Check::EcrGetAuthorizationToken => "the role may sign in to the registry",
        Check::EcrDescribeRepositories => "the role may list repositories",
        Check::EcrDescribeImages => "the role may describe images",
        Check::EcrListImages => "the role may list images",
        Check::EcrBatchGetImage => "the role may read manifests",
        Check::EcrGetDownloadUrlForLayer => "the role may read layers",
        Check::EcrBatchCheckLayerAvailability => "the role may ask for layers",
        Check::EventPath => "events come over the path that pushes take",
        Check::TemplateVersion => "the stack's template is recent enough",
    }
}

fn add(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use portwarden_core::{
        endpoint::{Password, Username},
        id::RequestId,
        integration::{Integrations, NewRegion},
        problem::Problem,
        random::OsRandomness,
        scope::OperatorScope,
        store::MemoryStore,
    };

    use super::*;

    fn verdict(event_path: Outcome) -> Verdict {
        let passed = Check::OF_TRUST.map(|check| Probe {
            check,
            outcome: Outcome::Passed,
        });
        let mut probes = passed.to_vec();
        probes.push(Probe {
            check: Check::EventPath,
            outcome: event_path,
        });
        Verdict {
            at: Timestamp::UNIX_EPOCH,
            request: RequestId::generate(&OsRandomness),
            probes,
        }
    }

    async fn connection() -> Connection {
        let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
        let region = NewRegion::Classic {
            region: "eu-central-1".parse().unwrap(),
            username: Username::parse("events").unwrap(),
            password: Password::generate(&OsRandomness),
        };
        Integrations::new(std::sync::Arc::new(MemoryStore::default()))
            .create(
                &scope,
                "production",
                &[region],
                Timestamp::UNIX_EPOCH,
                &OsRandomness,
            )
            .await
            .unwrap()
    }

    #[test]
    fn trusted_is_not_yet_green() {
        let problem = || Problem::new("event_path_silent", "no heartbeat has come", "update the stack");
        let green = verdict_text(&verdict(Outcome::Passed));
        assert!(
            green.ends_with("green: the role is trusted, and everything works\n"),
            "{green}"
        );
        let trusted = verdict_text(&verdict(Outcome::Unknown(problem())));
        assert!(
            trusted.ends_with(
                "  ? events come over the path that pushes take\n      cause: no heartbeat has come (event_path_silent)\n      \
                 fix: update the stack\n\
                 trusted, but not green: the role is used, and something is still to be mended\n"
            ),
            "{trusted}"
        );
        let skipped = Outcome::Skipped {
            reason: "there is no image".to_owned(),
        };
        let skipped = verdict_text(&verdict(skipped));
        assert!(
            skipped
                .contains("  - events come over the path that pushes take (not tried: there is no image)\n"),
            "{skipped}"
        );
        let mut refused = verdict(Outcome::Passed);
        refused.probes[8].outcome = Outcome::Failed(problem());
        let refused = verdict_text(&refused);
        assert!(
            refused.contains("  ✗ the role does not open with another ExternalId\n"),
            "{refused}"
        );
        assert!(
            refused.ends_with("refused: the role is not used until it passes\n"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn no_hash_and_no_salt_is_shown() {
        let connection = connection().await;
        let now = Timestamp::UNIX_EPOCH;
        let view = IntegrationView::new(&connection, "https://api.example/v1/events", now);
        let json = serde_json::to_string(&view).unwrap();
        let stored = serde_json::to_value(&connection.integration).unwrap();
        let salt = stored["salt"].as_str().unwrap();
        let credential = &connection.regions.values().next().unwrap().credentials[0];
        let stored = serde_json::to_value(credential).unwrap();
        let hash = stored["hash"].as_str().unwrap();
        for shown in [&json, &view.to_text()] {
            assert!(!shown.contains(salt) && !shown.contains(hash), "{shown}");
        }
        assert!(
            json.contains(r#""usernames":["events"]"#) && json.contains(r#""state":"unnamed""#),
            "{json}"
        );
    }

    #[tokio::test]
    async fn an_integration_is_listed_and_shown() {
        let mut connection = connection().await;
        let view = |connection: &Connection| {
            IntegrationView::new(connection, "https://api.example/v1/events", Timestamp::UNIX_EPOCH)
        };
        let id = connection.integration.id.clone();
        let text = view(&connection).to_text();
        assert!(
            text.contains(&format!("\nendpoint     https://api.example/v1/events/{id}\n")),
            "{text}"
        );
        assert!(
            text.ends_with(
                "\neu-central-1: no role named\n  status          pending: waits for the stack to say that it is there\n"
            ),
            "{text}"
        );
        let listed = list(&[view(&connection)]);
        assert_eq!(
            listed.lines().nth(1).unwrap(),
            format!("{id}  -        production  pending  eu-central-1")
        );
        connection.integration.removed_at = Some(Timestamp::UNIX_EPOCH);
        assert!(list(&[view(&connection)]).ends_with("  removed  eu-central-1\n"));
    }
}
