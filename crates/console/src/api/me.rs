//! The caller, to itself, and invitations that make a person more.

use axum::{Json, extract::State};
use portwarden_core::{
    access::{Joined, Role, Token, TokenKind},
    id::{PersonId, TenantId},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{input::Input, members::RoleName};
use crate::{auth::Caller, context::Console, error::Refusal};

/// Who asks, and what they may do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// The person; none for an API key.
    #[schema(value_type = Option<String>)]
    person: Option<PersonId>,
    /// What the person, or the key, is called.
    name: String,
    /// Whether the person may make and list tenants.
    operator: bool,
    /// The tenants that the caller may work in.
    tenants: Vec<Membership>,
}

/// A tenant that somebody may work in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Membership {
    /// The tenant.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// What they may do.
    role: RoleName,
}

impl From<(TenantId, Role)> for Membership {
    fn from((tenant, role): (TenantId, Role)) -> Self {
        Self {
            tenant,
            role: role.into(),
        }
    }
}

/// Says who asks, and what they may do.
#[utoipa::path(
    get,
    path = "/v1/me",
    tag = "me",
    operation_id = "showMe",
    responses((status = 200, description = "Who asks", body = Me))
)]
pub(crate) async fn show(State(console): State<Console>, caller: Caller) -> Result<Json<Me>, Refusal> {
    let me = match &caller {
        Caller::Program(found) => {
            let (key, grant) = &**found;
            Me {
                person: None,
                name: key.name.clone(),
                operator: false,
                tenants: vec![(grant.scope().tenant().clone(), grant.role()).into()],
            }
        }
        Caller::Bearer(person) | Caller::Browser(crate::auth::SignedIn { person, .. }) => {
            let tenants = console.access.tenants_of(person).await?;
            Me {
                person: Some(person.id().clone()),
                name: person.name().to_owned(),
                operator: console.access.of_operator(person).await?.is_some(),
                tenants: tenants.into_iter().map(Membership::from).collect(),
            }
        }
    };
    Ok(Json(me))
}

/// An invitation that somebody was given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redeem {
    /// Its token.
    #[schema(value_type = String, example = "pwi_…")]
    token: super::input::Secret,
}

/// What an invitation has made of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Redeemed {
    /// Where they are a member now; none if they are an operator.
    membership: Option<Membership>,
}

/// Makes the caller what an invitation says, once.
#[utoipa::path(
    post,
    path = "/v1/me/invitations",
    tag = "me",
    operation_id = "redeemInvitation",
    request_body = Redeem,
    responses((status = 200, description = "It is redeemed", body = Redeemed))
)]
pub(crate) async fn redeem(
    State(console): State<Console>,
    caller: Caller,
    Input(Redeem { token }): Input<Redeem>,
) -> Result<Json<Redeemed>, Refusal> {
    let person = caller.person().ok_or(Refusal::Forbidden)?;
    let token = Token::parse(TokenKind::Invitation, token.expose()).ok_or_else(Refusal::no_invitation)?;
    let joined = console
        .invitations
        .redeem(&token, person, console.clock.now())
        .await?;
    let membership = match joined.ok_or_else(Refusal::no_invitation)? {
        Joined::Tenant(tenant, role) => Some((tenant, role).into()),
        Joined::Operators => None,
    };
    Ok(Json(Redeemed { membership }))
}
