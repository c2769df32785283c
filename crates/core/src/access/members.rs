use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Person, Role};
use crate::{
    id::{PersonId, TenantId},
    scope::{OperatorScope, TenantScope},
    store::{
        Condition, Key, Partition, Revision, Store, StoreError, Stored, Write, WriteError, contended, prefix,
        try_write,
    },
};

/// A person who belongs to a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub person: PersonId,
    /// What their issuer called them when they joined.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Since when.
    pub since: Timestamp,
}

/// A person who runs this Portwarden: may make tenants, and sees nothing that is a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Who.
    pub person: PersonId,
    /// What they are called.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
}

/// What became of a change of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleChange {
    /// It is done.
    Done(Revision),
    /// Somebody else changed the member in between.
    Changed,
    /// There is no such member.
    Missing,
}

/// The members of tenants, and the operators.
#[derive(Clone)]
pub struct Members {
    pub(super) store: Arc<dyn Store>,
}

pub(super) fn members_partition(scope: &TenantScope) -> Partition {
    scope.partition(&["members"])
}

pub(super) fn member_key(scope: &TenantScope, person: &PersonId) -> Key {
    members_partition(scope).key(&[MEMBER, person.as_str()])
}

/// The tenants that a person belongs to; what they may do lies with the tenant.
pub(super) fn person_partition(person: &PersonId) -> Partition {
    Partition::directory(&["person", person.as_str()])
}

pub(super) fn operator_key(person: &PersonId) -> Key {
    Partition::directory(&["operators"]).key(&[person.as_str()])
}

fn belongs_key(person: &PersonId, tenant: &TenantId) -> Key {
    person_partition(person).key(&[tenant.as_str()])
}

const MEMBER: &str = "member";

impl Member {
    /// Makes somebody a member from now on.
    pub(super) fn new(person: &Person, role: Role, now: Timestamp) -> Self {
        Self {
            person: person.id().clone(),
            name: person.name().to_owned(),
            role,
            since: now,
        }
    }

    /// The writes that add the member, in the place of what they were before.
    pub(super) fn writes(&self, scope: &TenantScope) -> [Write; 2] {
        [
            Write::put(member_key(scope, &self.person), self, Condition::None),
            Write::put(
                belongs_key(&self.person, scope.tenant()),
                scope.tenant(),
                Condition::None,
            ),
        ]
    }
}

impl Members {
    /// Opens the members in a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Adds a person whose identity is known, by the operator's own authority.
    pub async fn add(
        &self,
        _: OperatorScope,
        scope: &TenantScope,
        person: &Person,
        role: Role,
        now: Timestamp,
    ) -> Result<Member, StoreError> {
        let member = Member::new(person, role, now);
        if try_write(&*self.store, &member.writes(scope)).await? {
            Ok(member)
        } else {
            Err(contended())
        }
    }

    /// Lists a tenant's members behind one of them, at most `limit`, and tells whether there are more.
    pub async fn list(
        &self,
        scope: &TenantScope,
        after: Option<&PersonId>,
        limit: usize,
    ) -> Result<(Vec<Member>, bool), StoreError> {
        let partition = members_partition(scope);
        let after = after.map(|person| member_key(scope, person));
        let page = self
            .store
            .query(&partition, &prefix(&[MEMBER]), after.as_ref(), limit)
            .await?;
        let members = page.items.iter().map(Stored::parse).collect::<Result<_, _>>()?;
        Ok((members, page.more))
    }

    /// Finds a member, and how often it was written.
    pub async fn find(
        &self,
        scope: &TenantScope,
        person: &PersonId,
    ) -> Result<Option<(Member, Revision)>, StoreError> {
        let stored = self.store.get(&member_key(scope, person)).await?;
        stored
            .map(|stored| Ok((stored.parse()?, stored.revision)))
            .transpose()
    }

    /// Gives a member another role, if nobody has changed them since `seen`.
    pub async fn set_role(
        &self,
        scope: &TenantScope,
        person: &PersonId,
        role: Role,
        seen: Option<Revision>,
    ) -> Result<RoleChange, StoreError> {
        let Some((member, revision)) = self.find(scope, person).await? else {
            return Ok(RoleChange::Missing);
        };
        if seen.is_some_and(|seen| seen != revision) {
            return Ok(RoleChange::Changed);
        }
        let member = Member { role, ..member };
        let condition = Condition::Unchanged(revision);
        let write = Write::put(member_key(scope, person), &member, condition);
        Ok(if try_write(&*self.store, &[write]).await? {
            RoleChange::Done(Revision(revision.0 + 1))
        } else {
            RoleChange::Changed
        })
    }

    /// Ends a membership; tells whether there was one.
    pub async fn remove(&self, scope: &TenantScope, person: &PersonId) -> Result<bool, StoreError> {
        let delete = |key, condition| Write::Delete { key, condition };
        let writes = [
            delete(member_key(scope, person), Condition::Present),
            delete(belongs_key(person, scope.tenant()), Condition::None),
        ];
        match self.store.write(&writes).await {
            Ok(()) => Ok(true),
            Err(WriteError::Conflict(conflict)) if conflict.index.is_some() => Ok(false),
            Err(WriteError::Conflict(_)) => Err(contended()),
            Err(WriteError::Store(error)) => Err(error),
        }
    }

    /// Makes a person an operator.
    pub async fn add_operator(
        &self,
        _: OperatorScope,
        person: &Person,
        now: Timestamp,
    ) -> Result<Operator, StoreError> {
        let operator = Operator {
            person: person.id().clone(),
            name: person.name().to_owned(),
            since: now,
        };
        let write = Write::put(operator_key(person.id()), &operator, Condition::None);
        if try_write(&*self.store, &[write]).await? {
            Ok(operator)
        } else {
            Err(contended())
        }
    }

    /// Makes a person an operator no more; tells whether they were one.
    pub async fn remove_operator(&self, _: OperatorScope, person: &PersonId) -> Result<bool, StoreError> {
        let write = Write::Delete {
            key: operator_key(person),
            condition: Condition::Present,
        };
        try_write(&*self.store, &[write]).await
    }
}
