//! One integration: how far each region has come, what is wrong and how it is mended, and what can be done.

use jiff::Timestamp;
use maud::{Markup, html};
use portwarden_core::{
    arn::RoleArn,
    id::{AccountId, Region, TenantId},
    integration::{Connection, RegionConnection, Trust},
    problem::Problem,
    receipt::AccessReceipt,
    reconcile::Coverage,
    tenant_template::{self, launch::LaunchLink},
    verdict::{Outcome, Verdict},
};

use super::{
    checklist::{Checklist, Step, StepKind, StepState},
    coverage,
    element::{self, Mark, badge, copyable, mark, shown, time},
    integrations::is_outdated,
    probe,
};

/// What the page shows.
#[derive(Debug, Clone)]
pub struct IntegrationPage<'a> {
    /// Whose it is.
    pub tenant: &'a TenantId,
    /// What the tenant is called, as its stacks show it.
    pub tenant_name: &'a str,
    /// What forms must carry.
    pub csrf: &'a str,
    /// Whether the reader may change something.
    pub is_administrator: bool,
    /// The integration with its regions.
    pub connection: &'a Connection,
    /// Its event endpoint.
    pub url: &'a str,
    /// A link for each region that may be connected, and for those that are.
    pub links: &'a [LaunchLink],
    /// What of it is watched.
    pub coverage: &'a Coverage,
    /// The sessions that were opened in the account in the last 24 hours, the oldest first.
    pub receipts: &'a [AccessReceipt],
    /// The region that somebody has asked to test, and when.
    pub testing: Option<(&'a Region, Timestamp)>,
    /// Why what was asked for was not done.
    pub problem: Option<&'a Problem>,
}

impl IntegrationPage<'_> {
    fn root(&self) -> String {
        format!(
            "/tenants/{}/integrations/{}",
            self.tenant, self.connection.integration.id
        )
    }

    fn csrf(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.csrf); }
    }

    /// Tells whether something is expected to change soon.
    pub fn is_moving(&self) -> bool {
        self.connection.integration.removed_at.is_none()
            && self
                .connection
                .regions
                .values()
                .any(|region| self.is_tested(region) || Checklist::of(self.connection, region).is_moving())
    }

    /// Tells whether a test of a region is under way.
    fn is_tested(&self, region: &RegionConnection) -> bool {
        let is_older = |since: Timestamp| region.verdict.as_ref().is_none_or(|verdict| verdict.at < since);
        self.testing
            .is_some_and(|(name, since)| *name == region.region && is_older(since))
    }
}

/// Shows the page.
pub fn page(view: &IntegrationPage<'_>) -> Markup {
    let integration = &view.connection.integration;
    let list = format!("/tenants/{}/integrations", view.tenant);
    html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(list) { "Integrations" } }
        div.title {
            h1 { (shown(&integration.name)) }
            span.dim #account data-live {
                @match &integration.account {
                    Some(account) => { "AWS account " span.number { (account) } },
                    None => "account not confirmed yet",
                }
            }
        }
        @if let Some(problem) = view.problem {
            div role="alert" { (element::problem(problem)) }
        }
        @if let Some(at) = integration.removed_at {
            div.card {
                p { strong { "Removed " (time(at)) "." } " Its events are answered with “gone”, and its role is used no more." }
                p { "Delete its stacks in AWS, if that has not been done: then nothing of it is left in the account." }
            }
        } @else {
            (connected(view))
        }
    }
}

fn connected(view: &IntegrationPage<'_>) -> Markup {
    let connection = view.connection;
    html! {
        p.unseen role="status" #status data-live { (status(connection)) }
        div.regions #regions data-live {
            @for region in connection.regions.values() { (region_card(view, region)) }
        }
        (coverage::section(view.tenant, connection, view.coverage))
        @if view.is_administrator { (more_regions(view)) }
        (coverage::receipts(view.tenant, connection, view.receipts))
        section.card aria-labelledby="values" {
            h2 #values { "What its stacks are given" }
            (parameters(view))
            p.help {
                "The ExternalId is made by Portwarden and is this integration's alone. The stack's role opens only for whoever "
                "presents it, so nobody can have Portwarden read your account for them: "
                a href="/guide#why-the-externalid" { "how that works" } "."
            }
        }
        @if view.is_administrator {
            section.card.danger aria-labelledby="leave" {
                h2 #leave { "Leave" }
                p { "Removing the integration ends everything that Portwarden does in the account." }
                a.button.quiet href={ (view.root()) "/remove" } { "Remove…" }
            }
        }
    }
}

/// Says in one sentence how the regions stand, for those who listen.
fn status(connection: &Connection) -> String {
    let sentence = |region: &RegionConnection| {
        let checklist = Checklist::of(connection, region);
        let (_, words) = checklist.summary();
        format!(
            "{}: {words}, {} of {} steps done.",
            region.region,
            checklist.done(),
            checklist.steps.len()
        )
    };
    connection
        .regions
        .values()
        .map(sentence)
        .collect::<Vec<_>>()
        .join(" ")
}

fn parameters(view: &IntegrationPage<'_>) -> Markup {
    let rows = [
        ("TenantName", view.tenant_name),
        ("Url", view.url),
        ("ExternalId", view.connection.integration.external_id.as_str()),
    ];
    html! {
        dl.values { @for (name, value) in rows {
            dt { (name) }
            dd { (copyable(name, value)) }
        } }
    }
}

fn region_card(view: &IntegrationPage<'_>, region: &RegionConnection) -> Markup {
    let checklist = Checklist::of(view.connection, region);
    let (state, words) = checklist.summary();
    let id = format!("region-{}", region.region);
    let is_unnamed = region.trust.role().is_none();
    html! {
        section.card.region id=(id) aria-labelledby={ (id) "-title" } {
            div.title {
                h2 id={ (id) "-title" } { (region.region) }
                @if view.is_tested(region) { (badge(Mark::Turn, "being tested")) } @else { (badge(state, words)) }
            }
            @if is_unnamed { (launch(view, region)) }
            ol.steps {
                @for step in &checklist.steps { (step_item(view, region, step)) }
            }
            (facts(region, &checklist))
            @if view.is_administrator && !is_unnamed { (region_actions(view, region, &checklist)) }
            @if let Some(verdict) = &checklist.verdict { (probes(&id, verdict)) }
        }
    }
}

/// Tells whether a tenant has chosen the credentials of a region's stack.
fn is_classic(region: &RegionConnection) -> bool {
    let makes_its_own = region.claim.as_ref().is_some_and(|claim| claim.secret.is_some());
    !region.credentials.is_empty() && !makes_its_own
}

fn launch(view: &IntegrationPage<'_>, region: &RegionConnection) -> Markup {
    let link = view.links.iter().find(|link| link.region == region.region);
    let is_classic = is_classic(region);
    html! {
        @if let Some(link) = link {
            div.launch {
                a.button.big href=(link.link) target="_blank" rel="noopener noreferrer" {
                    "Launch Stack" span.unseen { " in " (region.region) ", in a new window" }
                }
                p {
                    "Opens CloudFormation in " (region.region) ". Be signed in to the account that is to be connected, see that "
                    strong { "TenantName" } " is “" (shown(view.tenant_name)) "”, "
                    @if is_classic { "type the user name and the password that you chose, " }
                    "and press " strong { "Create stack" } "."
                }
            }
        }
        @if is_classic {
            (parameters(view))
            dl.values {
                @for credential in &region.credentials {
                    dt { "Username" }
                    dd { (copyable("the user name", credential.username.as_str())) }
                }
                dt { "Password" }
                dd.dim { "the one that you chose" }
            }
        }
        @if view.is_administrator { (role_form(view, region, is_classic)) }
    }
}

/// The field in which a tenant names the stack's role.
fn role_form(view: &IntegrationPage<'_>, region: &RegionConnection, is_open: bool) -> Markup {
    let id = format!("role-{}", region.region);
    let known = region.trust.role().map(RoleArn::as_str).unwrap_or_default();
    html! {
        details id={ (id) "-form" } open[is_open] {
            summary { "Name the role yourself" }
            form.stack method="post" action={ (view.root()) "/verify" } {
                (view.csrf())
                input type="hidden" name="region" value=(region.region);
                div.field {
                    label for=(id) { "Trusted Role ARN" }
                    input id=(id) name="role" required maxlength="2048" value=(known) spellcheck="false" autocapitalize="none"
                        placeholder="arn:aws:iam::111122223333:role/…" aria-describedby={ (id) "-help" };
                    p.help id={ (id) "-help" } { "The stack's output " code { "AssumeRoleArn" } ", on its tab “Outputs” once it is created." }
                }
                div.actions { button type="submit" { "Save" } }
            }
        }
    }
}

fn step_item(view: &IntegrationPage<'_>, region: &RegionConnection, step: &Step) -> Markup {
    html! {
        li.step.(step.state.mark().class()) {
            div.line {
                (mark(step.state.mark()))
                span { (title(region, step)) }
            }
            @match &step.state {
                StepState::Failed(problem) | StepState::Unknown(problem) => {
                    (element::problem(problem))
                    @if view.is_administrator { (test_again(view, region)) }
                }
                StepState::Turn => @if let Some(role) = region.trust.role() { (confirm(view, role.account())) },
                StepState::Waiting => @if let Some(why) = why_it_waits(region, step.kind) { p.dim { (why) } },
                StepState::Done => {}
            }
        }
    }
}

fn title(region: &RegionConnection, step: &Step) -> String {
    match (step.kind, &step.state, region.trust.role()) {
        (StepKind::Confirmed, StepState::Turn, Some(role)) => {
            format!("Is AWS account {} yours?", role.account())
        }
        (StepKind::Confirmed, StepState::Done, Some(role)) => {
            format!("Account {} is confirmed", role.account())
        }
        (StepKind::Confirmed, StepState::Failed(_), Some(role)) => {
            format!("Account {} is the integration's", role.account())
        }
        (StepKind::Named, StepState::Waiting, _) => "The stack names its role".to_owned(),
        (kind, ..) => kind.title().to_owned(),
    }
}

fn why_it_waits(region: &RegionConnection, kind: StepKind) -> Option<&'static str> {
    match (kind, &region.trust) {
        (StepKind::Named, _) => Some("A stack says that it is there about a minute after it is created."),
        (StepKind::Opens, Trust::Claimed { .. }) => {
            Some("The role is being tested. A new role takes up to a minute to work.")
        }
        (StepKind::Reads, Trust::Proposed { .. }) => Some("Nothing is read before you confirm the account."),
        (StepKind::Events, Trust::Proven { .. }) => {
            Some("Proven by the stack's next heartbeat; images that are there already are read meanwhile.")
        }
        _ => None,
    }
}

fn confirm(view: &IntegrationPage<'_>, account: &AccountId) -> Markup {
    html! {
        div.turn-card {
            p {
                "A stack in account " strong.number { (account) } " says that it belongs to this integration, and its role is proven. "
                "Confirm it only if you know the account: nothing of it is read until then."
            }
            @if view.is_administrator {
                form method="post" action={ (view.root()) "/confirm" } {
                    (view.csrf())
                    input type="hidden" name="account" value=(account);
                    button type="submit" { "Confirm account " (account) }
                }
            } @else {
                p.dim { "An administrator of this tenant can confirm it." }
            }
        }
    }
}

fn test_again(view: &IntegrationPage<'_>, region: &RegionConnection) -> Markup {
    html! {
        form.again method="post" action={ (view.root()) "/verify" } {
            (view.csrf())
            input type="hidden" name="region" value=(region.region);
            button.quiet type="submit" { "Test again" span.unseen { " in " (region.region) } }
        }
    }
}

fn facts(region: &RegionConnection, checklist: &Checklist) -> Markup {
    let version = region.claim.as_ref().map(|claim| claim.template_version.as_str());
    html! {
        dl.facts {
            @if let Some(role) = region.trust.role() {
                dt { "Role" }
                dd { (copyable("the role's ARN", role.as_str())) }
            }
            @if let Some(at) = checklist.heartbeat {
                dt { "Last sign of life" }
                dd { (time(at)) }
            }
            @if let Some(version) = version {
                dt { "Template" }
                dd {
                    "version " (shown(version))
                    @if is_outdated(version) {
                        " " (badge(Mark::Unsure, "outdated"))
                        " Version " (tenant_template::VERSION) " is there: update the stack with it, and keep its parameters. "
                        a href="/guide#inspect-the-template" { "What the template holds" }
                    }
                }
            }
            @if let Some(claim) = region.claim.as_ref().filter(|claim| !claim.repositories.is_empty()) {
                dt { "Limited to" }
                dd { @for (index, name) in claim.repositories.iter().enumerate() { @if index > 0 { ", " } (name) } }
            }
        }
    }
}

fn region_actions(view: &IntegrationPage<'_>, region: &RegionConnection, checklist: &Checklist) -> Markup {
    // A step that failed has the button itself.
    let has_no_problem = checklist.steps.iter().all(|step| step.state.problem().is_none());
    let generation = region
        .claim
        .as_ref()
        .filter(|claim| claim.secret.is_some())
        .map(|claim| claim.generation);
    html! {
        div.actions {
            @if has_no_problem { (test_again(view, region)) }
            @if generation.is_some() && region.trust.is_proven() && region.renewal_until.is_none() {
                form method="post" action={ (view.root()) "/rotate" } {
                    (view.csrf())
                    input type="hidden" name="region" value=(region.region);
                    button.quiet type="submit" { "Replace the password" span.unseen { " of " (region.region) } }
                }
            }
        }
        @if let (Some(generation), Some(until)) = (generation, region.renewal_until) {
            (renewal(region, generation.saturating_add(1), until))
        }
        // What a stack says of its role later counts more than what was typed.
        @let is_refused = matches!(region.trust, Trust::Refused { .. });
        @if region.claim.is_none() || is_classic(region) || is_refused { (role_form(view, region, false)) }
    }
}

fn renewal(region: &RegionConnection, generation: u32, until: Timestamp) -> Markup {
    let command = tenant_template::update_command(&region.region, generation);
    html! {
        div.turn-card {
            p {
                strong { "A new password is expected; the wait for it ends " (time(until)) "." }
                " Update the stack with the template that it has, set " code { "CredentialGeneration" } " to "
                strong { (generation) } ", and keep the other parameters. The old password works for 24 hours after the first use of "
                "the new one, so that no event is lost."
            }
            p { "The same with the AWS command line:" }
            div.command { pre tabindex="0" { code { (command) } } (element::copy_button("the command", &command)) }
        }
    }
}

fn probes(id: &str, verdict: &Verdict) -> Markup {
    html! {
        details id={ (id) "-probes" } {
            summary { "Every probe of the last test, " (time(verdict.at)) }
            ol.probes {
                @for probe in &verdict.probes {
                    @let state = match &probe.outcome {
                        Outcome::Passed => Mark::Good,
                        Outcome::Failed(_) => Mark::Bad,
                        Outcome::Unknown(_) => Mark::Unsure,
                        Outcome::Skipped { .. } => Mark::Waiting,
                    };
                    li {
                        (mark(state))
                        (probe::sentence(probe.check))
                        @if let Outcome::Skipped { reason } = &probe.outcome {
                            span.dim { " – not tried: " (shown(reason)) }
                        }
                        @if let Outcome::Failed(problem) | Outcome::Unknown(problem) = &probe.outcome {
                            span.dim { " – " (shown(&problem.message)) }
                        }
                    }
                }
            }
            p.help { "In CloudTrail, this test's sessions end with " code { (verdict.request) } "." }
        }
    }
}

fn more_regions(view: &IntegrationPage<'_>) -> Markup {
    let is_new = |region: &&Region| !view.connection.regions.contains_key(*region);
    let regions: Vec<&Region> = view
        .links
        .iter()
        .map(|link| &link.region)
        .filter(is_new)
        .collect();
    html! {
        @if !regions.is_empty() {
            section.card aria-labelledby="more" {
                h2 #more { "Watch another region" }
                p.help { "Each region gets a stack of its own, with the same values." }
                form.pills method="post" action={ (view.root()) "/regions" } {
                    (view.csrf())
                    @for region in regions {
                        button.pill-button type="submit" name="region" value=(region) { "+ " (region) }
                    }
                }
            }
        }
    }
}
