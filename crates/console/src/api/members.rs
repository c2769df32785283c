//! Members of a tenant, and invitations that make them.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use jiff::Timestamp;
use portwarden_core::{
    access::{Invitation, Member, Role, RoleChange, Token},
    id::{PersonId, TenantId},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    etag::{IfMatch, etag},
    idempotency::ShownOnce,
    input::{Input, Path, Query},
    paging::{Page, PageQuery},
};
use crate::{
    auth::{Administrator, Caller, Reader},
    context::Console,
    error::Refusal,
};

/// What a member, or a key, may do in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleName {
    /// Sees everything that is the tenant's.
    Reader,
    /// Changes it, too.
    Administrator,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Reader => Self::Reader,
            Role::Administrator => Self::Administrator,
        }
    }
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Reader => Self::Reader,
            RoleName::Administrator => Self::Administrator,
        }
    }
}

/// A member of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberView {
    /// Who.
    #[schema(value_type = String)]
    person: PersonId,
    /// What their issuer called them when they joined.
    name: String,
    /// What they may do.
    role: RoleName,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            person: member.person,
            name: member.name,
            role: member.role.into(),
            since: member.since,
        }
    }
}

/// Lists the tenant's members.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/members",
    tag = "members",
    operation_id = "listMembers",
    params(("tenant" = String, Path, description = "The tenant"), PageQuery),
    responses((status = 200, description = "A page of members", body = Page<MemberView>))
)]
pub(crate) async fn list(
    State(console): State<Console>,
    reader: Reader,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<MemberView>>, Refusal> {
    let after = query.after::<PersonId>()?;
    let listed = console
        .members
        .list(reader.scope(), after.as_ref(), query.limit()?);
    let (members, more) = listed.await?;
    let items = members.into_iter().map(MemberView::from).collect();
    Ok(Json(Page::new(items, more, |view: &MemberView| {
        view.person.clone()
    })))
}

/// Shows a member.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/members/{person}",
    tag = "members",
    operation_id = "showMember",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("person" = String, Path, description = "The member"),
    ),
    responses((status = 200, description = "The member; its ETag is for If-Match", body = MemberView))
)]
pub(crate) async fn show(
    State(console): State<Console>,
    reader: Reader,
    Path((_, person)): Path<(TenantId, PersonId)>,
) -> Result<Response, Refusal> {
    let found = console.members.find(reader.scope(), &person).await?;
    let (member, revision) = found.ok_or(Refusal::NotFound)?;
    Ok(([(header::ETAG, etag(revision))], Json(MemberView::from(member))).into_response())
}

/// What of a member can be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberChange {
    /// What they may do from now on.
    role: RoleName,
}

/// Gives a member another role.
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/members/{person}",
    tag = "members",
    operation_id = "changeMember",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("person" = String, Path, description = "The member"),
        ("If-Match" = Option<String>, Header, description = "The ETag of what was read"),
    ),
    request_body = MemberChange,
    responses((status = 200, description = "The member as it is now", body = MemberView))
)]
pub(crate) async fn change(
    State(console): State<Console>,
    administrator: Administrator,
    caller: Caller,
    Path((_, person)): Path<(TenantId, PersonId)>,
    IfMatch(seen): IfMatch,
    Input(change): Input<MemberChange>,
) -> Result<Response, Refusal> {
    refuse_oneself(&caller, &person)?;
    let scope = administrator.scope();
    match console
        .members
        .set_role(scope, &person, change.role.into(), seen)
        .await?
    {
        RoleChange::Done(_) => {}
        RoleChange::Changed => return Err(Refusal::Changed),
        RoleChange::Missing => return Err(Refusal::NotFound),
    }
    let (member, revision) = console
        .members
        .find(scope, &person)
        .await?
        .ok_or(Refusal::NotFound)?;
    Ok(([(header::ETAG, etag(revision))], Json(MemberView::from(member))).into_response())
}

/// Ends a membership.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/members/{person}",
    tag = "members",
    operation_id = "removeMember",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("person" = String, Path, description = "The member"),
    ),
    responses((status = 204, description = "They may do nothing here any more"))
)]
pub(crate) async fn remove(
    State(console): State<Console>,
    administrator: Administrator,
    caller: Caller,
    Path((_, person)): Path<(TenantId, PersonId)>,
) -> Result<StatusCode, Refusal> {
    refuse_oneself(&caller, &person)?;
    if console.members.remove(administrator.scope(), &person).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::NotFound)
    }
}

/// Whoever takes their own role away may leave a tenant without an administrator.
fn refuse_oneself(caller: &Caller, person: &PersonId) -> Result<(), Refusal> {
    if caller.person().is_some_and(|own| own.id() == person) {
        let fix = "Have another administrator do it.";
        return Err(Refusal::conflict(
            "own_membership",
            "It is your own membership.",
            fix,
        ));
    }
    Ok(())
}

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewInvitation {
    /// What they may do.
    role: RoleName,
}

/// An invitation; whoever signs in and redeems it first is a member.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InvitationView {
    /// What they may do.
    role: RoleName,
    /// Until when it can be redeemed.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Its token, shown only now.
    token: Option<String>,
    /// Where it is redeemed in a browser; holds the token behind the `#`, which no server sees.
    url: Option<String>,
}

impl InvitationView {
    pub(crate) fn new(console: &Console, (token, invitation): (Token, Invitation), role: Role) -> Self {
        Self {
            role: role.into(),
            expires_at: invitation.expires_at,
            token: Some(token.expose().to_owned()),
            url: Some(format!("{}/join#{}", console.place.console_url, token.expose())),
        }
    }
}

/// Invites somebody into the tenant.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/invitations",
    tag = "members",
    operation_id = "inviteMember",
    params(("tenant" = String, Path, description = "The tenant")),
    request_body = NewInvitation,
    responses((status = 201, description = "The invitation, whose token is shown only now", body = InvitationView))
)]
pub(crate) async fn invite(
    State(console): State<Console>,
    administrator: Administrator,
    Input(new): Input<NewInvitation>,
) -> Result<Response, Refusal> {
    let (role, now) = (new.role.into(), console.clock.now());
    let invited = console
        .invitations
        .invite(administrator.scope(), role, now, &*console.randomness);
    let view = InvitationView::new(&console, invited.await?, role);
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    response.extensions_mut().insert(ShownOnce(&["token", "url"]));
    Ok(response)
}
