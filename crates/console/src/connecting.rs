//! What administrators do with integrations: the one way in which it is done, for programs and on pages.

use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    arn::RoleArn,
    endpoint::{CredentialError, Password, Username},
    id::{AccountId, IntegrationId, Region, RequestId},
    integration::{Confirmed, Connection, NewRegion, NoRotation, NotOneAccount},
    name::parse_name,
    scope::TenantScope,
    tenant_template::launch::{Launch, LaunchLink},
    trace::TraceId,
    work::{VerifyReason, VerifyRequest},
};
use secrecy::SecretString;

use crate::{context::Context, error::Refusal};

/// What an integration is made of.
pub(crate) struct NewIntegration {
    /// What people call the account.
    pub(crate) name: String,
    /// The regions whose registries are watched.
    pub(crate) regions: Vec<Region>,
    /// The AWS account, if it is known: then nothing is left to be confirmed.
    pub(crate) account: Option<AccountId>,
    /// Credentials for stacks that shall not make them themselves.
    pub(crate) classic: Option<ClassicCredentials>,
}

/// The credentials of stacks that are given them.
pub(crate) struct ClassicCredentials {
    /// The user name.
    pub(crate) username: String,
    /// The password; without it, one is made.
    pub(crate) password: Option<SecretString>,
}

/// An integration that was made.
pub(crate) struct Created {
    /// The integration.
    pub(crate) connection: Connection,
    /// The password, if it was made here: it is shown now or never.
    pub(crate) password: Option<Password>,
}

/// How many regions an integration has at most.
pub(crate) const MAX_REGIONS: usize = 64;

/// Makes an integration.
pub(crate) async fn create(
    console: &Context,
    scope: &TenantScope,
    new: NewIntegration,
) -> Result<Created, Refusal> {
    let name = parse_name(&new.name).map_err(Refusal::name)?;
    if let Some(account) = &new.account {
        refuse_ours(console, account)?;
    }
    let mut regions = new.regions;
    regions.sort();
    regions.dedup();
    if !(1..=MAX_REGIONS).contains(&regions.len()) {
        let message = "An integration has 1 to 64 regions.";
        let fix = "Choose at least one region; others can be added later.";
        return Err(Refusal::invalid("regions_invalid", message, fix));
    }
    let mut made = None;
    let credentials = match new.classic {
        None => None,
        Some(classic) => {
            let username = Username::parse(&classic.username).map_err(not_taken)?;
            let password = match &classic.password {
                Some(chosen) => Password::parse(chosen).map_err(not_taken)?,
                None => made.insert(Password::generate(&*console.randomness)).clone(),
            };
            Some((username, password))
        }
    };
    let new_region = |region: Region| match &credentials {
        Some((username, password)) => NewRegion::Classic {
            region,
            username: username.clone(),
            password: password.clone(),
        },
        None => NewRegion::Quick { region },
    };
    let regions: Vec<NewRegion> = regions.into_iter().map(new_region).collect();
    let (account, now) = (new.account.as_ref(), console.clock.now());
    let connection = console
        .integrations
        .create_in(scope, account, &name, &regions, now, &*console.randomness)
        .await?;
    Ok(Created {
        connection,
        password: made,
    })
}

fn not_taken(error: CredentialError) -> Refusal {
    let message = format!("It is not taken: {error}.");
    Refusal::invalid("credentials_invalid", message, "Choose another one.")
}

/// Our own account belongs to nobody's integration but the operator's.
fn refuse_ours(console: &Context, account: &AccountId) -> Result<(), Refusal> {
    if account == console.place.connector.account() {
        let message = "It is the account that Portwarden itself runs in.";
        let fix = "Name an account of your own.";
        return Err(Refusal::conflict("account_ours", message, fix));
    }
    Ok(())
}

/// Finds an integration that is not removed: nothing is done with one that is.
pub(crate) async fn find(
    console: &Context,
    scope: &TenantScope,
    id: &IntegrationId,
) -> Result<Connection, Refusal> {
    let found = console.integrations.find(scope, id).await?;
    let connection = found.ok_or(Refusal::NotFound)?;
    if connection.integration.removed_at.is_some() {
        let message = "The integration is removed.";
        let fix = "Make a new integration for the account.";
        return Err(Refusal::conflict("integration_removed", message, fix));
    }
    Ok(connection)
}

/// Has another region watched, whose stack makes its credentials itself; one that is there stays as it is.
pub(crate) async fn add_region(
    console: &Context,
    scope: &TenantScope,
    id: &IntegrationId,
    region: &Region,
) -> Result<(), Refusal> {
    let connection = find(console, scope, id).await?;
    if connection.regions.len() >= MAX_REGIONS && !connection.regions.contains_key(region) {
        let message = "An integration has 1 to 64 regions.";
        let fix = "Make another integration for the other regions.";
        return Err(Refusal::conflict("regions_full", message, fix));
    }
    Ok(console.integrations.claim_region(scope, id, region).await?)
}

/// Confirms that an account is the tenant's, and has its roles tested.
///
/// Without an account, it is the one whose stacks claim the integration. Returns it, and the regions that are tested.
pub(crate) async fn confirm(
    console: &Context,
    scope: &TenantScope,
    id: &IntegrationId,
    account: Option<AccountId>,
) -> Result<(AccountId, Vec<Region>), Refusal> {
    let connection = find(console, scope, id).await?;
    let account = match account {
        Some(account) => account,
        None => connection.only_proposed().map_err(not_one)?,
    };
    refuse_ours(console, &account)?;
    match console.integrations.confirm_account(scope, id, &account).await? {
        Confirmed::Now | Confirmed::Before => {}
        Confirmed::OtherAccount(other) => {
            let message = format!("The integration belongs to account {other}.");
            let fix = "Make another integration for the other account.";
            return Err(Refusal::conflict("other_account", message, fix));
        }
        Confirmed::Missing => return Err(Refusal::NotFound),
    }
    let (regions, now) = (connection.regions_naming(&account), console.clock.now());
    for region in &regions {
        queue(console, scope, id, region, None, now).await?;
    }
    Ok((account, regions))
}

fn not_one(error: NotOneAccount) -> Refusal {
    match error {
        NotOneAccount::Nothing => Refusal::conflict(
            "nothing_proposed",
            "No stack has claimed the integration with a role that is as it must be.",
            "Create the stack by its launch link, or name the account.",
        ),
        NotOneAccount::Several(accounts) => {
            let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
            let message = format!("Several accounts claim the integration: {}.", accounts.join(", "));
            Refusal::conflict("several_proposed", message, "Name the account that is yours.")
        }
    }
}

/// Has a region tested, with the role that the tenant names or the one that is known.
pub(crate) async fn verify(
    console: &Context,
    scope: &TenantScope,
    id: &IntegrationId,
    region: &Region,
    role: Option<RoleArn>,
) -> Result<RequestId, Refusal> {
    let connection = find(console, scope, id).await?;
    let known = connection.regions.get(region).ok_or(Refusal::NotFound)?;
    let now = console.clock.now();
    match &role {
        // Until it is tested, it is shown as the one that is.
        Some(role) => {
            let integrations = &console.integrations;
            integrations
                .claim_role(scope, id, region, role, Some(now))
                .await?;
        }
        None if known.trust.role().is_none() => {
            let message = "No role is known for the region.";
            let fix = "Create the region's stack first, or name its role: the stack's output AssumeRoleArn.";
            return Err(Refusal::conflict("role_unnamed", message, fix));
        }
        None => {}
    }
    queue(console, scope, id, region, role, now).await
}

async fn queue(
    console: &Context,
    scope: &TenantScope,
    id: &IntegrationId,
    region: &Region,
    role: Option<RoleArn>,
    now: Timestamp,
) -> Result<RequestId, Refusal> {
    let randomness = &*console.randomness;
    let request = VerifyRequest {
        tenant: scope.tenant().clone(),
        integration: id.clone(),
        region: region.clone(),
        role,
        claim: None,
        said_at: Some(now),
        reason: VerifyReason::Asked,
        request: RequestId::generate(randomness),
        trace: TraceId::generate(now, randomness),
        attempt: 0,
    };
    console.verifications.queue_verify(&request).await?;
    Ok(request.request)
}

/// How long a tenant may take to update the stack.
const RENEWAL_LASTS: SignedDuration = SignedDuration::from_hours(24);

/// Expects other credentials of a region's stack.
///
/// Returns what its parameter `CredentialGeneration` is to be, and until when they are expected.
pub(crate) async fn rotate(
    console: &Context,
    scope: &TenantScope,
    id: &IntegrationId,
    region: &Region,
) -> Result<(u32, Timestamp), Refusal> {
    let connection = find(console, scope, id).await?;
    let generation = connection
        .next_generation(region)
        .map_err(|reason| match reason {
            NoRotation::UnknownRegion => Refusal::NotFound,
            NoRotation::Chosen => Refusal::conflict(
                "credentials_chosen",
                "The region's stack has not said that it makes its password itself.",
                "Update the stack with the current template and an empty Password; then it does.",
            ),
        })?;
    let until = console.clock.now() + RENEWAL_LASTS;
    console
        .integrations
        .expect_credentials(scope, id, region, until)
        .await?;
    Ok((generation, until))
}

/// Removes an integration: its events are refused and its role is used no more.
pub(crate) async fn remove(
    console: &Context,
    scope: &TenantScope,
    id: &IntegrationId,
) -> Result<(), Refusal> {
    let removed = console.integrations.remove(scope, id, console.clock.now());
    removed.await?.then_some(()).ok_or(Refusal::NotFound)
}

/// Returns where an integration's stacks send events.
pub(crate) fn events_url(console: &Context, id: &IntegrationId) -> String {
    format!("{}/{id}", console.place.events_url)
}

/// Returns the links that create the integration's stacks: one for each region that it has or could have.
pub(crate) fn launch_links(console: &Context, tenant_name: &str, connection: &Connection) -> Vec<LaunchLink> {
    let mut pad = console.place.launch_pad.clone();
    pad.add_regions(connection.regions.keys().cloned());
    pad.links(&Launch {
        tenant_name,
        url: &events_url(console, &connection.integration.id),
        external_id: &connection.integration.external_id,
    })
}
