use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Member, Operator, Person, Role, Token, TokenKind, members::operator_key, token_key};
use crate::{
    id::TenantId,
    random::Randomness,
    scope::{OperatorScope, TenantScope, TenantsScope},
    store::{Condition, Store, StoreError, Write, contended, try_write},
};

/// What an invitation makes of whoever redeems it.
///
/// Nothing that an issuer says of people has to be believed for it, such as an address of theirs: whoever has the
/// token, and has signed in, is the one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Where to: a tenant and a role, or the operators.
    pub to: Option<(TenantId, Role)>,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
}

/// What became of somebody who redeemed an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// They are a member of this tenant.
    Tenant(TenantId, Role),
    /// They are an operator.
    Operators,
}

/// Invitations that were given out and not redeemed.
#[derive(Clone)]
pub struct Invitations {
    store: Arc<dyn Store>,
}

impl Invitations {
    /// How long an invitation can be redeemed.
    pub const LAST: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// Opens the invitations in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Invites somebody into a tenant; the token is known to its receiver only.
    pub async fn invite(
        &self,
        scope: &TenantScope,
        role: Role,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<(Token, Invitation), StoreError> {
        self.give_out(Some((scope.tenant().clone(), role)), now, randomness)
            .await
    }

    /// Invites somebody into a tenant that is not one's own: how an operator gives a tenant its first administrator.
    pub async fn invite_into(
        &self,
        _: TenantsScope,
        tenant: &TenantId,
        role: Role,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<(Token, Invitation), StoreError> {
        self.give_out(Some((tenant.clone(), role)), now, randomness).await
    }

    /// Invites somebody to be an operator.
    pub async fn invite_operator(
        &self,
        _: OperatorScope,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<(Token, Invitation), StoreError> {
        self.give_out(None, now, randomness).await
    }

    async fn give_out(
        &self,
        to: Option<(TenantId, Role)>,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<(Token, Invitation), StoreError> {
        let token = Token::generate(TokenKind::Invitation, randomness);
        let expires_at = now.saturating_add(Self::LAST).unwrap_or(Timestamp::MAX);
        let invitation = Invitation { to, expires_at };
        let write = Write::put(token_key(&token.hash()), &invitation, Condition::Absent).expiring(expires_at);
        if try_write(&*self.store, &[write]).await? {
            Ok((token, invitation))
        } else {
            Err(contended())
        }
    }

    /// Makes a person what the invitation says, once; `None` if there is no such invitation, or no more.
    pub async fn redeem(
        &self,
        token: &Token,
        person: &Person,
        now: Timestamp,
    ) -> Result<Option<Joined>, StoreError> {
        let key = token_key(&token.hash());
        let Some(stored) = self.store.get(&key).await? else {
            return Ok(None);
        };
        let invitation: Invitation = stored.parse()?;
        if invitation.expires_at <= now {
            return Ok(None);
        }
        // Whoever redeems it at the same time finds it gone.
        let mut writes = vec![Write::Delete {
            key,
            condition: Condition::Unchanged(stored.revision),
        }];
        let joined = if let Some((tenant, role)) = invitation.to {
            let scope = TenantScope::of(tenant.clone());
            writes.extend(Member::new(person, role, now).writes(&scope));
            Joined::Tenant(tenant, role)
        } else {
            let operator = Operator {
                person: person.id().clone(),
                name: person.name().to_owned(),
                since: now,
            };
            writes.push(Write::put(operator_key(person.id()), &operator, Condition::None));
            Joined::Operators
        };
        Ok(try_write(&*self.store, &writes).await?.then_some(joined))
    }
}
