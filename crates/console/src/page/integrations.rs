//! Integrations: the list, the form that makes one, and the page of one with what can be done there.

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use maud::Markup;
use portwarden_core::{
    arn::RoleArn,
    endpoint::Password,
    id::{AccountId, IntegrationId, Region, TenantId},
    integration::Connection,
    problem::Problem,
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::{
    Shown, live,
    member::{Decision, Member},
    see,
    view::{
        connect::{self, Classic, Connect, Filled},
        integration::{self, IntegrationPage},
        integrations::{self, Integrations},
        layout::{Pace, Section},
        remove,
    },
};
use crate::{
    connecting::{self, ClassicCredentials, NewIntegration},
    context::Console,
    error::Refusal,
};

type At = Path<(TenantId, IntegrationId)>;

/// Shows the list.
pub(super) async fn list(
    State(console): State<Console>,
    member: Member,
    headers: HeaderMap,
) -> Result<Response, Shown> {
    let connections = console.integrations.list(member.scope()).await?;
    let content = integrations::page(&Integrations {
        tenant: &member.tenant.id,
        is_administrator: member.is_administrator(),
        connections: &connections,
    });
    let page = member.page("Integrations", Section::Integrations, Pace::Resting, &content);
    Ok(live::answer(&headers, page))
}

#[derive(Deserialize)]
pub(super) struct Way {
    #[serde(default)]
    way: String,
}

/// Shows the form that makes an integration; on the classic way it holds a good password already.
pub(super) async fn new(
    State(console): State<Console>,
    member: Member,
    Query(way): Query<Way>,
) -> Result<Markup, Shown> {
    if !member.is_administrator() {
        return Err(Refusal::Forbidden.into());
    }
    let classic = (way.way == "classic").then(|| Classic {
        username: "portwarden".to_owned(),
        password: Password::generate(&*console.randomness)
            .secret()
            .expose_secret()
            .to_owned(),
    });
    let filled = Filled {
        classic,
        ..Filled::default()
    };
    Ok(form(&console, &member, filled, None))
}

fn form(console: &Console, member: &Member, filled: Filled, problem: Option<&Problem>) -> Markup {
    let links = console.place.launch_pad.blank_links();
    let content = connect::page(&Connect {
        tenant: &member.tenant.id,
        csrf: &member.signed_in.csrf(),
        regions: links.iter().map(|link| &link.region).collect(),
        filled,
        problem,
    });
    member.page("Connect an account", Section::Integrations, Pace::Still, &content)
}

/// Makes an integration of the form's fields.
pub(super) async fn create(
    State(console): State<Console>,
    decision: Decision<Vec<(String, String)>>,
) -> Result<Response, Shown> {
    let Decision { member, fields } = decision;
    let filled = filled(fields);
    let created = match read(&filled) {
        Ok(new) => connecting::create(&console, member.scope(), new).await,
        Err(problem) => Err(Refusal::Invalid(problem)),
    };
    match created {
        Ok(created) => Ok(see(&root(&member, &created.connection.integration.id))),
        Err(refusal @ (Refusal::Invalid(_) | Refusal::Conflict(_))) => {
            let page = form(&console, &member, filled, Some(&refusal.problem()));
            Ok((refusal.status(), page).into_response())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Returns the path of an integration's page.
fn root(member: &Member, id: &IntegrationId) -> String {
    format!("/tenants/{}/integrations/{id}", member.tenant.id)
}

/// Puts the form's fields together; a region comes once for each that is chosen.
fn filled(fields: Vec<(String, String)>) -> Filled {
    let mut filled = Filled::default();
    for (name, value) in fields {
        match name.as_str() {
            "name" => filled.name = value,
            "region" => filled.regions.push(value),
            "account" => filled.account = value,
            "way" if value == "classic" => {
                filled.classic.get_or_insert_default();
            }
            "username" => filled.classic.get_or_insert_default().username = value,
            "password" => filled.classic.get_or_insert_default().password = value,
            _ => {}
        }
    }
    filled
}

/// Reads what was filled in.
fn read(filled: &Filled) -> Result<NewIntegration, Problem> {
    let regions: Result<_, _> = filled.regions.iter().map(|region| region.parse()).collect();
    let regions = regions.map_err(|_| {
        let fix = "Choose from the regions of the form.";
        Problem::new("region_invalid", "One of the regions is none.", fix)
    })?;
    let account = match filled.account.trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            let fix = "Copy it from the AWS console: it stands there at the top right.";
            Problem::new("account_invalid", "An account number has 12 digits.", fix)
        })?),
    };
    let classic = filled.classic.as_ref().map(|classic| ClassicCredentials {
        username: classic.username.clone(),
        password: Some(classic.password.clone().into()),
    });
    Ok(NewIntegration {
        name: filled.name.clone(),
        regions,
        account,
        classic,
    })
}

/// Which test the page waits for: of which region, and since when.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Testing {
    testing: Option<Region>,
    since: Option<i64>,
}

/// Shows one integration.
pub(super) async fn show(
    State(console): State<Console>,
    member: Member,
    Path((_, id)): At,
    Query(testing): Query<Testing>,
    headers: HeaderMap,
) -> Result<Response, Shown> {
    let connection = find(&console, &member, &id).await?;
    let page = page(&console, &member, &connection, &testing, None).await?;
    Ok(live::answer(&headers, page))
}

async fn find(console: &Console, member: &Member, id: &IntegrationId) -> Result<Connection, Refusal> {
    let connection = console.integrations.find(member.scope(), id).await?;
    connection.ok_or(Refusal::NotFound)
}

/// How long a page waits for a test.
const TEST_LASTS: SignedDuration = SignedDuration::from_mins(3);

/// How far back a page shows the sessions in an account, and how many at most.
const SESSIONS_SINCE: SignedDuration = SignedDuration::from_hours(24);
const SESSIONS: usize = 1000;

async fn page(
    console: &Console,
    member: &Member,
    connection: &Connection,
    testing: &Testing,
    problem: Option<&Problem>,
) -> Result<Markup, Refusal> {
    let (integration, scope) = (&connection.integration, member.scope());
    let now = console.clock.now();
    let (coverage, receipts) = tokio::try_join!(
        console.coverage.coverage(scope, connection, now),
        console
            .receipts
            .list(scope, &integration.id, now - SESSIONS_SINCE, SESSIONS)
    )?;
    let url = connecting::events_url(console, &integration.id);
    let since = testing
        .since
        .and_then(|since| Timestamp::from_millisecond(since).ok());
    let is_recent = |since: &Timestamp| now.duration_since(*since) < TEST_LASTS;
    let testing = testing.testing.as_ref().zip(since.filter(is_recent));
    let view = IntegrationPage {
        tenant: &member.tenant.id,
        tenant_name: &member.tenant.name,
        csrf: &member.signed_in.csrf(),
        is_administrator: member.is_administrator(),
        connection,
        url: &url,
        links: &connecting::launch_links(console, &member.tenant.name, connection),
        coverage: &coverage,
        receipts: &receipts,
        testing,
        problem,
    };
    let pace = if view.is_moving() {
        Pace::Busy
    } else {
        Pace::Resting
    };
    let content = integration::page(&view);
    Ok(member.page(&integration.name, Section::Integrations, pace, &content))
}

/// Shows the page again on which something was asked for that cannot be done.
async fn refused(
    console: &Console,
    member: &Member,
    id: &IntegrationId,
    refusal: Refusal,
) -> Result<Response, Shown> {
    let (Refusal::Invalid(problem) | Refusal::Conflict(problem)) = &refusal else {
        return Err(refusal.into());
    };
    let connection = find(console, member, id).await?;
    let page = page(console, member, &connection, &Testing::default(), Some(problem)).await?;
    Ok((StatusCode::CONFLICT, page).into_response())
}

#[derive(Deserialize)]
pub(super) struct OneRegion {
    region: Region,
}

/// Adds a region, whose stack makes its credentials itself.
pub(super) async fn add_region(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, fields }: Decision<OneRegion>,
) -> Result<Response, Shown> {
    let region = &fields.region;
    match connecting::add_region(&console, member.scope(), &id, region).await {
        Ok(()) => Ok(see(&format!("{}#region-{region}", root(&member, &id)))),
        Err(refusal) => refused(&console, &member, &id, refusal).await,
    }
}

#[derive(Deserialize)]
pub(super) struct Test {
    region: Region,
    #[serde(default)]
    role: String,
}

/// Has a region tested, with the role that the tenant names or the one that is known.
pub(super) async fn verify(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, fields }: Decision<Test>,
) -> Result<Response, Shown> {
    let role = match fields.role.trim() {
        "" => Ok(None),
        text => text.parse::<RoleArn>().map(Some),
    };
    let (now, region) = (console.clock.now(), &fields.region);
    let queued = match role {
        Ok(role) => connecting::verify(&console, member.scope(), &id, region, role).await,
        Err(error) => {
            let message = format!("This is no role's ARN: {error}.");
            let fix =
                "Copy the stack's output AssumeRoleArn, which looks like arn:aws:iam::111122223333:role/….";
            Err(Refusal::invalid("role_arn_invalid", message, fix))
        }
    };
    match queued {
        Ok(_) => Ok(see(&format!(
            "{}?testing={region}&since={}#region-{region}",
            root(&member, &id),
            now.as_millisecond()
        ))),
        Err(refusal) => refused(&console, &member, &id, refusal).await,
    }
}

#[derive(Deserialize)]
pub(super) struct Account {
    account: AccountId,
}

/// Confirms that an account is the tenant's, and has its roles tested.
pub(super) async fn confirm(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, fields }: Decision<Account>,
) -> Result<Response, Shown> {
    match connecting::confirm(&console, member.scope(), &id, Some(fields.account)).await {
        Ok(_) => Ok(see(&root(&member, &id))),
        Err(refusal) => refused(&console, &member, &id, refusal).await,
    }
}

/// Lets the stack of a region come with another password.
pub(super) async fn rotate(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, fields }: Decision<OneRegion>,
) -> Result<Response, Shown> {
    let region = &fields.region;
    match connecting::rotate(&console, member.scope(), &id, region).await {
        Ok(_) => Ok(see(&format!("{}#region-{region}", root(&member, &id)))),
        Err(refusal) => refused(&console, &member, &id, refusal).await,
    }
}

/// Shows what removing an integration means.
pub(super) async fn before_removal(
    State(console): State<Console>,
    member: Member,
    Path((_, id)): At,
) -> Result<Markup, Shown> {
    if !member.is_administrator() {
        return Err(Refusal::Forbidden.into());
    }
    let connection = connecting::find(&console, member.scope(), &id).await?;
    let content = remove::page(&member.tenant.id, &connection, &member.signed_in.csrf());
    Ok(member.page("Remove", Section::Integrations, Pace::Still, &content))
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Removes an integration.
pub(super) async fn remove(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, .. }: Decision<Nothing>,
) -> Result<Response, Shown> {
    match connecting::remove(&console, member.scope(), &id).await {
        Ok(()) => Ok(see(&root(&member, &id))),
        Err(refusal) => refused(&console, &member, &id, refusal).await,
    }
}
