//! Who asks, and what they may do.
//!
//! A caller is known by a session's cookie, a signed token or an API key; what they may do in a tenant is in the table.
//! A handler names what it needs as an argument: [`Reader`], [`Administrator`] or [`Operator`]. Only these give it a
//! scope, and an address of a tenant that the caller does not belong to is as one that leads nowhere.

mod cookie;
mod fetch;
mod issuer;
pub mod sign_in;

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    RequestPartsExt as _,
    extract::{FromRequestParts, RawPathParams},
};
use http::{HeaderMap, HeaderName, header, request::Parts};
use portwarden_core::{
    access::{ApiKey, Grant, Person, Role, Token, TokenKind},
    id::TenantId,
    scope::{TenantScope, TenantsScope},
};
use subtle::ConstantTimeEq as _;

use crate::{context::Console, error::Refusal};

pub use fetch::{Fetch, FetchError, Fetched, HttpFetch};
pub use issuer::{Issuer, IssuerSettings, IssuerUrl, IssuerUrlError, TokenRefused};

/// Somebody whose identity is proven.
#[derive(Debug, Clone)]
pub enum Caller {
    /// A person with a signed token.
    Bearer(Person),
    /// A person with a browser.
    Browser(SignedIn),
    /// A program.
    Program(Box<(ApiKey, Grant)>),
}

/// A person who has signed in with a browser.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub person: Person,
    token: Token,
}

/// A caller who may see what is the tenant's.
#[derive(Debug, Clone)]
pub struct Reader(Grant);

/// A caller who may change what is the tenant's.
#[derive(Debug, Clone)]
pub struct Administrator(Grant);

/// A caller who may make and list tenants.
#[derive(Debug, Clone, Copy)]
pub struct Operator(pub TenantsScope);

/// What the log gets to know of a request while it is served.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Option<TenantId>>>);

/// The header in which a page's script repeats the session's token for forms.
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

impl Reader {
    /// Returns the tenant's scope.
    pub fn scope(&self) -> &TenantScope {
        self.0.scope()
    }

    /// Tells whether the caller may change things, too.
    pub fn is_administrator(&self) -> bool {
        self.0.role() == Role::Administrator
    }
}

impl Administrator {
    /// Returns the tenant's scope.
    pub fn scope(&self) -> &TenantScope {
        self.0.scope()
    }
}

impl SignedIn {
    /// Returns what every form of this session must carry, as its field `csrf` or in the header `x-csrf-token`.
    ///
    /// Another site can make a browser send its cookie, and cannot read this.
    pub fn csrf(&self) -> String {
        self.token.derive("csrf")
    }

    /// Compares in constant time.
    pub fn accepts_csrf(&self, presented: &str) -> bool {
        self.csrf().as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// Finds out whose session a request's cookie is.
    pub(crate) async fn of(console: &Console, headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let Some(token) =
            cookie::read(headers, cookie::SESSION).and_then(|text| Token::parse(TokenKind::Session, text))
        else {
            return Ok(None);
        };
        let session = console.sessions.find(&token, console.clock.now()).await?;
        Ok(session.map(|session| Self {
            person: session.person,
            token,
        }))
    }
}

impl Caller {
    /// Finds out who asks.
    ///
    /// A request with an `Authorization` is judged by that alone, so that a cookie never helps a bad token.
    async fn of(console: &Console, parts: &Parts) -> Result<Self, Refusal> {
        if let Some(presented) = parts.headers.get(header::AUTHORIZATION) {
            return Self::of_authorization(console, presented.as_bytes()).await;
        }
        let signed_in = SignedIn::of(console, &parts.headers)
            .await?
            .ok_or(Refusal::Unauthenticated)?;
        if !parts.method.is_safe() {
            let presented = parts.headers.get(CSRF_HEADER);
            let presented = presented
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            if !signed_in.accepts_csrf(presented) {
                return Err(csrf_missing());
            }
        }
        Ok(Self::Browser(signed_in))
    }

    async fn of_authorization(console: &Console, presented: &[u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(presented).map_err(|_| Refusal::Unauthenticated)?;
        let (scheme, credentials) = text.split_once(' ').ok_or(Refusal::Unauthenticated)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::Unauthenticated);
        }
        if credentials.starts_with("pwk_") {
            let token = Token::parse(TokenKind::ApiKey, credentials).ok_or(Refusal::Unauthenticated)?;
            let found = console.access.of_api_key(&token, console.clock.now()).await?;
            return found
                .map(|found| Self::Program(Box::new(found)))
                .ok_or(Refusal::Unauthenticated);
        }
        match console.issuer.verify_bearer(credentials).await {
            Ok(person) => Ok(Self::Bearer(person)),
            Err(TokenRefused::Unreachable(error)) => Err(error.into()),
            Err(TokenRefused::Invalid(_)) => Err(Refusal::Unauthenticated),
        }
    }

    /// Returns the person, if it is one.
    pub fn person(&self) -> Option<&Person> {
        match self {
            Self::Bearer(person) | Self::Browser(SignedIn { person, .. }) => Some(person),
            Self::Program(_) => None,
        }
    }

    /// Returns who it is, among all callers.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Bearer(person) | Self::Browser(SignedIn { person, .. }) => person.id().to_string(),
            Self::Program(found) => found.0.id.to_string(),
        }
    }

    /// Returns what the caller may do in a tenant; a stranger finds nothing there.
    pub(crate) async fn grant(&self, console: &Console, tenant: &TenantId) -> Result<Grant, Refusal> {
        let grant = match self {
            Self::Bearer(person) | Self::Browser(SignedIn { person, .. }) => {
                console.access.of_person(person, tenant).await?
            }
            Self::Program(found) => Some(found.1.clone()).filter(|grant| grant.scope().tenant() == tenant),
        };
        grant.ok_or(Refusal::NotFound)
    }
}

pub(crate) fn csrf_missing() -> Refusal {
    Refusal::invalid(
        "csrf_token_missing",
        "The request comes with a cookie, and not from a page of this session.",
        "Load the page again; programs send Authorization and no cookie.",
    )
}

impl Seen {
    pub(crate) fn note(&self, tenant: &TenantId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tenant.clone());
    }

    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl FromRequestParts<Console> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refusal> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let caller = Self::of(console, parts).await?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

impl FromRequestParts<Console> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, console).await?;
        let params: RawPathParams = parts.extract().await.map_err(|_| Refusal::NotFound)?;
        let tenant = params.iter().find(|(name, _)| *name == "tenant");
        let tenant: TenantId = tenant
            .and_then(|(_, text)| text.parse().ok())
            .ok_or(Refusal::NotFound)?;
        let grant = caller.grant(console, &tenant).await?;
        let taken = console.budgets.take(&tenant, console.clock.now());
        taken.map_err(|retry_after| Refusal::OverBudget { retry_after })?;
        if let Some(seen) = parts.extensions.get::<Seen>() {
            seen.note(&tenant);
        }
        Ok(Self(grant))
    }
}

impl FromRequestParts<Console> for Administrator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refusal> {
        let reader = Reader::from_request_parts(parts, console).await?;
        if reader.is_administrator() {
            Ok(Self(reader.0))
        } else {
            Err(Refusal::Forbidden)
        }
    }
}

impl FromRequestParts<Console> for Operator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, console).await?;
        let person = caller.person().ok_or(Refusal::Forbidden)?;
        let scope = console.access.of_operator(person).await?;
        scope.map(Self).ok_or(Refusal::Forbidden)
    }
}
