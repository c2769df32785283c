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
    endpoint::{CredentialError, Password, Username},
    id::{AccountId, IntegrationId, Region, RequestId, TenantId},
    integration::{Confirmed, Connection, NewRegion, Trust},
    problem::Problem,
    tenant_template::launch::{Launch, LaunchLink},
    trace::TraceId,
    work::{VerifyReason, VerifyRequest},
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
use crate::{context::Console, error::Refusal};

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
    let (regions, account) = match read(&filled) {
        Ok(read) => read,
        Err(problem) => {
            let page = form(&console, &member, filled, Some(&problem));
            return Ok((StatusCode::BAD_REQUEST, page).into_response());
        }
    };
    let (now, scope) = (console.clock.now(), member.scope());
    let name = filled.name.trim();
    let created = console
        .integrations
        .create(scope, name, &regions, now, &*console.randomness)
        .await?;
    let id = &created.integration.id;
    if let Some(account) = &account {
        console.integrations.confirm_account(scope, id, account).await?;
    }
    Ok(see(&format!("/tenants/{}/integrations/{id}", member.tenant.id)))
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
fn read(filled: &Filled) -> Result<(Vec<NewRegion>, Option<AccountId>), Problem> {
    let length = filled.name.trim().chars().count();
    if !(1..=100).contains(&length) || filled.name.chars().any(char::is_control) {
        let message = "The name is not 1 to 100 characters, or has characters that cannot be seen.";
        return Err(Problem::new(
            "name_invalid",
            message,
            "Give the account a name, such as production.",
        ));
    }
    let mut regions: Vec<Region> = Vec::new();
    for region in &filled.regions {
        let region = region.parse().map_err(|_| {
            Problem::new(
                "region_invalid",
                "One of the regions is none.",
                "Choose from the regions of the form.",
            )
        })?;
        if !regions.contains(&region) {
            regions.push(region);
        }
    }
    if !(1..=64).contains(&regions.len()) {
        let fix = "Choose at least one region; others can be added later.";
        return Err(Problem::new("regions_invalid", "No region is chosen.", fix));
    }
    let credentials = filled.classic.as_ref().map(credentials).transpose()?;
    let account = match filled.account.trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            let fix = "Copy it from the AWS console: it stands there at the top right.";
            Problem::new("account_invalid", "An account number has 12 digits.", fix)
        })?),
    };
    let new = |region: Region| match &credentials {
        Some((username, password)) => NewRegion::Classic {
            region,
            username: username.clone(),
            password: password.clone(),
        },
        None => NewRegion::Quick { region },
    };
    Ok((regions.into_iter().map(new).collect(), account))
}

fn credentials(classic: &Classic) -> Result<(Username, Password), Problem> {
    let problem = |error: CredentialError| {
        let fix = "Choose another one; the password that the form suggests is good.";
        Problem::new("credentials_invalid", format!("It is not taken: {error}."), fix)
    };
    let username = Username::parse(&classic.username).map_err(problem)?;
    let password = Password::parse(&classic.password.clone().into()).map_err(problem)?;
    Ok((username, password))
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
    let page = page(&console, &member, &connection, &testing, None);
    Ok(live::answer(&headers, page))
}

async fn find(console: &Console, member: &Member, id: &IntegrationId) -> Result<Connection, Refusal> {
    let connection = console.integrations.find(member.scope(), id).await?;
    connection.ok_or(Refusal::NotFound)
}

/// Finds an integration that was not removed: nothing is done with one that was.
async fn find_present(console: &Console, member: &Member, id: &IntegrationId) -> Result<Connection, Refusal> {
    let connection = find(console, member, id).await?;
    if connection.integration.removed_at.is_some() {
        let fix = "Make a new one for the account.";
        return Err(Refusal::conflict(
            "integration_removed",
            "The integration is removed.",
            fix,
        ));
    }
    Ok(connection)
}

/// How long a page waits for a test.
const TEST_LASTS: SignedDuration = SignedDuration::from_mins(3);

fn page(
    console: &Console,
    member: &Member,
    connection: &Connection,
    testing: &Testing,
    problem: Option<&Problem>,
) -> Markup {
    let integration = &connection.integration;
    let url = format!("{}/{}", console.place.events_url, integration.id);
    let since = testing
        .since
        .and_then(|since| Timestamp::from_millisecond(since).ok());
    let is_recent = |since: &Timestamp| console.clock.now().duration_since(*since) < TEST_LASTS;
    let testing = testing.testing.as_ref().zip(since.filter(is_recent));
    let view = IntegrationPage {
        tenant: &member.tenant.id,
        tenant_name: &member.tenant.name,
        csrf: &member.signed_in.csrf(),
        is_administrator: member.is_administrator(),
        connection,
        url: &url,
        links: &links(console, member, connection, &url),
        testing,
        problem,
    };
    let pace = if view.is_moving() {
        Pace::Busy
    } else {
        Pace::Resting
    };
    member.page(
        &integration.name,
        Section::Integrations,
        pace,
        &integration::page(&view),
    )
}

fn links(console: &Console, member: &Member, connection: &Connection, url: &str) -> Vec<LaunchLink> {
    let mut pad = console.place.launch_pad.clone();
    pad.add_regions(connection.regions.keys().cloned());
    pad.links(&Launch {
        tenant_name: &member.tenant.name,
        url,
        external_id: &connection.integration.external_id,
    })
}

/// Shows a page again on which something was asked for that cannot be done.
fn refused(console: &Console, member: &Member, connection: &Connection, problem: &Problem) -> Response {
    let page = page(console, member, connection, &Testing::default(), Some(problem));
    (StatusCode::CONFLICT, page).into_response()
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
    find_present(&console, &member, &id).await?;
    console
        .integrations
        .claim_region(member.scope(), &id, &fields.region)
        .await?;
    let root = format!("/tenants/{}/integrations/{id}", member.tenant.id);
    Ok(see(&format!("{root}#region-{}", fields.region)))
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
    let connection = find_present(&console, &member, &id).await?;
    let Some(region) = connection.regions.get(&fields.region) else {
        return Err(Refusal::NotFound.into());
    };
    let role = match fields.role.trim() {
        "" => None,
        text => match text.parse::<RoleArn>() {
            Ok(role) => Some(role),
            Err(error) => {
                let fix = "Copy the stack's output AssumeRoleArn, which looks like arn:aws:iam::111122223333:role/….";
                let problem = Problem::new(
                    "role_arn_invalid",
                    format!("This is no role's ARN: {error}."),
                    fix,
                );
                return Ok(refused(&console, &member, &connection, &problem));
            }
        },
    };
    if role.is_none() && region.trust.role().is_none() {
        let fix = "Create the stack first, or name its role.";
        let problem = Problem::new("role_unnamed", "No role is known yet that could be tested.", fix);
        return Ok(refused(&console, &member, &connection, &problem));
    }
    let scope = member.scope();
    if let Some(role) = &role {
        // Until it is tested, the page shows it as the one that is.
        console
            .integrations
            .claim_role(scope, &id, &fields.region, role)
            .await?;
    }
    let now = console.clock.now();
    queue_test(&console, &member, &id, &fields.region, role).await?;
    let (root, region) = (
        format!("/tenants/{}/integrations/{id}", member.tenant.id),
        &fields.region,
    );
    Ok(see(&format!(
        "{root}?testing={region}&since={}#region-{region}",
        now.as_millisecond()
    )))
}

async fn queue_test(
    console: &Console,
    member: &Member,
    id: &IntegrationId,
    region: &Region,
    role: Option<RoleArn>,
) -> Result<(), Refusal> {
    let request = VerifyRequest {
        tenant: member.tenant.id.clone(),
        integration: id.clone(),
        region: region.clone(),
        role,
        claim: None,
        reason: VerifyReason::Asked,
        request: RequestId::generate(&*console.randomness),
        trace: TraceId::generate(console.clock.now(), &*console.randomness),
        attempt: 0,
    };
    Ok(console.verifications.queue_verify(&request).await?)
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
    let connection = find_present(&console, &member, &id).await?;
    let account = &fields.account;
    if account == console.place.connector.account() {
        let fix = "Create the stack in the account that is to be connected.";
        let problem = Problem::new(
            "own_account",
            format!("Portwarden itself runs in account {account}."),
            fix,
        );
        return Ok(refused(&console, &member, &connection, &problem));
    }
    match console
        .integrations
        .confirm_account(member.scope(), &id, account)
        .await?
    {
        Confirmed::Now | Confirmed::Before => {}
        Confirmed::OtherAccount(other) => {
            let message = format!("The integration belongs to account {other}.");
            let problem = Problem::new(
                "other_account",
                message,
                "Make another integration for the other account.",
            );
            return Ok(refused(&console, &member, &connection, &problem));
        }
        Confirmed::Missing => return Err(Refusal::NotFound.into()),
    }
    for region in connection.regions.values() {
        if matches!(&region.trust, Trust::Proposed { role, .. } if role.account() == account) {
            queue_test(&console, &member, &id, &region.region, None).await?;
        }
    }
    Ok(see(&format!("/tenants/{}/integrations/{id}", member.tenant.id)))
}

/// How long a tenant may take to update the stack.
const RENEWAL_LASTS: SignedDuration = SignedDuration::from_hours(24);

/// Lets the stack of a region come with another password.
pub(super) async fn rotate(
    State(console): State<Console>,
    Path((_, id)): At,
    Decision { member, fields }: Decision<OneRegion>,
) -> Result<Response, Shown> {
    let connection = find_present(&console, &member, &id).await?;
    let region = connection.regions.get(&fields.region).ok_or(Refusal::NotFound)?;
    if region.claim.as_ref().is_none_or(|claim| claim.secret.is_none()) {
        let message = "The region's stack has not said that it makes its password itself.";
        let fix = "Update the stack with the current template and an empty Password; then it does.";
        let problem = Problem::new("credentials_chosen", message, fix);
        return Ok(refused(&console, &member, &connection, &problem));
    }
    let until = console.clock.now() + RENEWAL_LASTS;
    console
        .integrations
        .expect_credentials(member.scope(), &id, &fields.region, until)
        .await?;
    let root = format!("/tenants/{}/integrations/{id}", member.tenant.id);
    Ok(see(&format!("{root}#region-{}", fields.region)))
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
    let connection = find_present(&console, &member, &id).await?;
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
    find_present(&console, &member, &id).await?;
    console
        .integrations
        .remove(member.scope(), &id, console.clock.now())
        .await?;
    Ok(see(&format!("/tenants/{}/integrations/{id}", member.tenant.id)))
}
