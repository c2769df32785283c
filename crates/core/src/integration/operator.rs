//! The operator's own integration, made by deployment only.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Connection, Integration, Integrations, RegionConnection, Trust,
    directory::{Owner, external_id_key},
    integrations::creation,
    records::{integration_item, region_item},
};
use crate::{
    arn::RoleArn,
    endpoint::Salt,
    id::{ExternalId, IntegrationId, Region},
    random::Randomness,
    scope::{OperatorScope, TenantScope},
    store::{Condition, StoreError, Stored, Write, contended, try_write},
};

impl Integrations {
    /// Makes the operator's own integration what the deployment says; tells whether anything was written.
    ///
    /// Its role is trusted because the same deployment made both, and no message can lead here. A new deployment over
    /// the table of an old one brings another role and another `ExternalId`.
    pub async fn ensure_operator(
        &self,
        operator: OperatorScope,
        role: &RoleArn,
        external_id: &ExternalId,
        region: &Region,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<bool, StoreError> {
        let scope = operator.own();
        let integration = Integration {
            id: IntegrationId::operator(),
            tenant: scope.tenant().clone(),
            name: "The operator's own registries".to_owned(),
            external_id: external_id.clone(),
            account: Some(role.account().clone()),
            salt: Salt::generate(randomness),
            created_at: now,
            removed_at: None,
        };
        let trust = Trust::Proven {
            role: role.clone(),
            at: now,
        };
        let region = RegionConnection {
            trust,
            ..RegionConnection::new(region.clone())
        };
        let regions = BTreeMap::from([(region.region.clone(), region)]);
        let connection = Connection {
            integration,
            regions,
            heartbeats: BTreeMap::new(),
        };
        if try_write(&*self.store, &creation(&scope, &connection)).await? {
            return Ok(true);
        }
        self.redeploy_operator(&scope, connection).await
    }

    /// Puts what a deployment says in the place of what the one before it said, where they differ.
    async fn redeploy_operator(&self, scope: &TenantScope, wanted: Connection) -> Result<bool, StoreError> {
        let id = &wanted.integration.id;
        let key = integration_item(scope, id);
        let Some(stored) = self.store.get(&key).await? else {
            return Err(contended());
        };
        let mut integration: Integration = stored.parse()?;
        let mut writes = Vec::new();
        for (name, region) in &wanted.regions {
            let key = region_item(scope, id, name);
            let stored = self.store.get(&key).await?;
            let known = stored
                .as_ref()
                .map(Stored::parse::<RegionConnection>)
                .transpose()?;
            if known.is_none_or(|known| known.trust.role() != region.trust.role()) {
                let condition =
                    stored.map_or(Condition::Absent, |stored| Condition::Unchanged(stored.revision));
                writes.push(Write::put(key, region, condition));
            }
        }
        if integration.external_id != wanted.integration.external_id {
            integration.external_id = wanted.integration.external_id;
            let owner = Owner::new(scope, id);
            let claim = external_id_key(&integration.external_id);
            writes.push(Write::put(claim, &owner, Condition::Absent));
            writes.push(Write::put(
                key,
                &integration,
                Condition::Unchanged(stored.revision),
            ));
        }
        if writes.is_empty() {
            return Ok(false);
        }
        // If not written, another process of the same deployment was faster.
        try_write(&*self.store, &writes).await
    }
}
