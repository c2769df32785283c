//! Whose data may be touched.
//!
//! A [`TenantScope`] is the only way to build a tenant's key in the table, its key in the bucket, or a session in its
//! account. It has no public constructor: it comes out of a check of credentials ([`crate::endpoint`]), of what the table
//! grants to a member or a key ([`crate::access`]), of a message of our own queues ([`crate::work`]), or of the operator's
//! own authority ([`OperatorScope`]).

use crate::id::TenantId;

/// The proof that what follows is done for this one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TenantScope {
    tenant: TenantId,
}

impl TenantScope {
    pub(crate) fn of(tenant: TenantId) -> Self {
        Self { tenant }
    }

    /// Returns the tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

/// The authority of the operator, who holds the AWS credentials of the account that Portwarden runs in.
///
/// Making one is a statement of the caller: the process runs with the operator's own credentials (the command line, a
/// deployment), and no request of a tenant leads here.
#[derive(Debug, Clone, Copy)]
pub struct OperatorScope(());

impl OperatorScope {
    /// States that this process acts for the operator.
    pub fn of_this_process() -> Self {
        Self(())
    }

    /// Returns the scope of a tenant.
    pub fn tenant(self, tenant: TenantId) -> TenantScope {
        TenantScope::of(tenant)
    }

    /// Returns the scope of the operator's own registries.
    pub fn own(self) -> TenantScope {
        self.tenant(TenantId::operator())
    }
}

/// The authority over the list of tenants, and over nothing that a tenant owns.
#[derive(Debug, Clone, Copy)]
pub struct TenantsScope(());

impl TenantsScope {
    pub(crate) fn granted() -> Self {
        Self(())
    }
}

impl From<OperatorScope> for TenantsScope {
    fn from(_: OperatorScope) -> Self {
        Self(())
    }
}
