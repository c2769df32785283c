//! The regions of an account that no stack watches: the names of their repositories, so that none is overlooked.

use std::collections::BTreeMap;

use portwarden_core::{
    ecr::RegistryId,
    id::Region,
    integration::Connection,
    reconcile::{Elsewhere, Unwatched},
    session::{AssumeRole as _, Purpose},
    work::InventoryReason,
};

use crate::{Failure, run::Work};

impl Work<'_> {
    /// Looks into the regions that no stack watches, unless that was done not long ago.
    ///
    /// Roles of older stacks open one region only, and accounts may close regions: then it cannot be told, and nothing else
    /// follows from it.
    pub(crate) async fn look_elsewhere(&self, connection: &Connection) -> Result<(), Failure> {
        let (context, role) = (self.registry.context, &self.registry.role);
        let (inventories, now) = (&context.inventories, context.outside.clock.now());
        let integration = &self.request.integration;
        let is_proven = |region: &Region| connection.trusted_role(region).is_some();
        let in_partition = |region: &&Region| region.partition() == role.region().partition();
        let regions: Vec<&Region> = context
            .outside
            .launch_regions
            .iter()
            .filter(in_partition)
            .filter(|region| !is_proven(region))
            .collect();
        let before = inventories.elsewhere(&self.scope, integration).await?;
        let holds = before.is_some_and(|before| now < before.at + Elsewhere::HOLDS);
        if regions.is_empty() || (holds && self.request.reason == InventoryReason::Schedule) {
            return Ok(());
        }
        let session = context
            .sessions
            .assume_role(role, Purpose::Names, &self.registry.session)
            .await?;
        let mut found = BTreeMap::new();
        for region in regions {
            if self.registry.is_over() {
                return Ok(());
            }
            let registry = RegistryId {
                account: role.role().account().clone(),
                region: region.clone(),
            };
            let listed = context
                .outside
                .ecr
                .list_repositories(&session, &registry, None)
                .await;
            let unwatched = match listed {
                Ok(page) => Unwatched::seen(page.items, page.next.is_some()),
                Err(error) => Unwatched::Unseen {
                    code: Failure::Ecr(error).code().to_owned(),
                },
            };
            found.insert(region.clone(), unwatched);
        }
        // What cannot be written now is added with the next work's.
        let _ = context.receipts.settle(&session).await;
        let elsewhere = Elsewhere {
            at: now,
            regions: found,
        };
        Ok(inventories
            .note_elsewhere(&self.scope, integration, &elsewhere)
            .await?)
    }
}
