//! Who looks at a tenant's pages, and what forms of theirs may do.

use axum::{
    RequestPartsExt as _,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    response::{IntoResponse as _, Response},
};
use http::request::Parts;
use maud::Markup;
use portwarden_core::{
    access::{Grant, Role},
    id::TenantId,
    scope::TenantScope,
    tenant::Tenant,
};
use serde::de::DeserializeOwned;

use super::{
    Shown, Visitor,
    form::SafeForm,
    view::layout::{self, Frame, Pace, Section, TenantFrame},
};
use crate::{
    auth::{Seen, SignedIn},
    context::Console,
    error::Refusal,
};

/// A member of the tenant whose page it is; a stranger finds nothing there.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) signed_in: SignedIn,
    pub(super) tenant: Tenant,
    grant: Grant,
    is_operator: bool,
}

/// What an administrator of the tenant has decided: a form of theirs, sent from a page of this very session.
pub(super) struct Decision<T> {
    pub(super) member: Member,
    pub(super) fields: T,
}

impl Member {
    pub(super) fn scope(&self) -> &TenantScope {
        self.grant.scope()
    }

    pub(super) fn is_administrator(&self) -> bool {
        self.grant.role() == Role::Administrator
    }

    /// Puts a page of the tenant into its frame.
    pub(super) fn page(&self, title: &str, section: Section, pace: Pace, content: &Markup) -> Markup {
        let csrf = self.signed_in.csrf();
        let frame = Frame {
            title,
            visitor: Some(layout::Visitor {
                name: self.signed_in.person.name(),
                csrf: &csrf,
                is_operator: self.is_operator,
            }),
            tenant: Some(TenantFrame {
                id: &self.tenant.id,
                name: &self.tenant.name,
            }),
            section: Some(section),
            pace,
        };
        layout::page(&frame, content)
    }

    async fn of(console: &Console, signed_in: SignedIn, id: &TenantId) -> Result<Self, Refusal> {
        let person = &signed_in.person;
        let grant = console.access.of_person(person, id).await?;
        let grant = grant.ok_or(Refusal::NotFound)?;
        let (tenant, operator) = tokio::try_join!(
            console.tenants.own(grant.scope()),
            console.access.of_operator(person)
        )?;
        Ok(Self {
            tenant: tenant.ok_or(Refusal::NotFound)?,
            grant,
            is_operator: operator.is_some(),
            signed_in,
        })
    }
}

impl FromRequestParts<Console> for Member {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let Visitor(signed_in) = Visitor::from_request_parts(parts, console).await?;
        let not_found = || Shown(Refusal::NotFound).into_response();
        let params: RawPathParams = parts.extract().await.map_err(|_| not_found())?;
        let tenant = params.iter().find(|(name, _)| *name == "tenant");
        let tenant = tenant
            .and_then(|(_, text)| text.parse().ok())
            .ok_or_else(not_found)?;
        let member = Self::of(console, signed_in, &tenant).await;
        let member = member.map_err(|refusal| Shown(refusal).into_response())?;
        if let Some(seen) = parts.extensions.get::<Seen>() {
            seen.note(&tenant);
        }
        Ok(member)
    }
}

impl<T: DeserializeOwned> FromRequest<Console> for Decision<T> {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let member = Member::from_request_parts(&mut parts, console).await?;
        let request = Request::from_parts(parts, body);
        let SafeForm { fields, .. } = SafeForm::from_request(request, console).await?;
        if member.is_administrator() {
            Ok(Self { member, fields })
        } else {
            Err(Shown(Refusal::Forbidden).into_response())
        }
    }
}
