//! What must be so when everything has come to rest.

use std::collections::BTreeSet;

use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    ecr::{EcrImage, RegistryId},
    id::IntegrationId,
};
use portwarden_oci::Digest;
use serde_json::{Value, json};

use super::item::Item;
use crate::{
    breach::{Breach, Invariant, hold},
    ecr::Spot,
    party::{Nature, Party},
    queue::Request,
    world::State,
};

impl State {
    /// Checks everything: nothing waits, every accepted event was taken up, and the table says what ECR says.
    pub(crate) fn check_end(&mut self) -> Result<(), Breach> {
        let waiting: Vec<_> = self.unfinished().take(3).map(Request::body).collect();
        hold(waiting.is_empty(), Invariant::AcceptedMeansKept, || {
            format!("work is left in the queues: {waiting:?}")
        })?;
        // A stack that is still there when its integration is removed beats on, until the bridge gives each up after a day.
        let is_delivered = {
            let mut receivers = self.bridge.receivers().map(|party| &self.model.parties[party]);
            receivers.all(|party| self.model.removed.contains_key(&party.integration))
        };
        hold(is_delivered, Invariant::AcceptedMeansKept, || {
            "deliveries are left".to_owned()
        })?;
        self.check_trust()?;
        self.check_known()?;
        let parties = &self.model.parties;
        for party in parties.iter().filter(|party| party.stays()) {
            for site in &party.sites {
                let is_proven = self.is_proven_since(&party.integration, &site.region, self.now());
                hold(is_proven, Invariant::TrustedOnlyIfItRefuses, || {
                    format!("{} is in order and not trusted", site.role)
                })?;
                let light = self.last_light(&party.integration, &site.region);
                hold(light != Some("red"), Invariant::ToldOnce, || {
                    format!("{} is trusted, and the bus last heard that it is not", site.role)
                })?;
            }
            for spot in party.spots() {
                for (digest, _) in self.ecr.images(&spot) {
                    self.check_image(party, &spot, digest)?;
                }
            }
        }
        for ((party, event), (spot, digest)) in &self.model.hints {
            let party = &self.model.parties[*party];
            if !party.stays() {
                continue;
            }
            let key = party
                .scope
                .partition(&["event", party.integration.as_str(), event.as_str()])
                .key(&["event"]);
            let is_settled = self.stored(&key).is_some_and(|record| record["settled"] == true);
            hold(is_settled, Invariant::AcceptedMeansKept, || {
                format!(
                    "the event {event} of {} was accepted and never taken up",
                    party.tenant
                )
            })?;
            self.check_noted(party, spot, *digest)?;
        }
        self.check_all_noted()?;
        self.check_all_told()
    }

    /// Lists the work that is not done, but for that whose registry opens no more.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &Request> {
        let closed = self.closed();
        self.queues.rest().filter(move |request| {
            let integration = request.integration();
            integration.is_none_or(|integration| !closed.contains(integration))
        })
    }

    /// Returns the integrations whose roles are closed for good.
    pub(crate) fn closed(&self) -> BTreeSet<IntegrationId> {
        let closed = self
            .model
            .parties
            .iter()
            .filter(|party| party.closed_at.is_some());
        closed.map(|party| party.integration.clone()).collect()
    }

    /// What was noted of any place is what ECR says, whether an event told of it or not.
    fn check_all_noted(&self) -> Result<(), Breach> {
        for stored in self.store.dump() {
            let Some(Item::Location {
                tenant,
                digest,
                account,
            }) = Item::of(&stored.key)
            else {
                continue;
            };
            let holder = self.model.holder_of(&account);
            let Some(party) = holder.filter(|party| party.tenant == tenant && party.stays()) else {
                continue;
            };
            let mut place = stored.key.sort().split('#').skip(2);
            let region = place.next().and_then(|region| region.parse().ok());
            let repository = place.next().and_then(|repository| repository.parse().ok());
            if let Some((region, repository)) = region.zip(repository) {
                self.check_noted(party, &(RegistryId { account, region }, repository), digest)?;
            }
        }
        Ok(())
    }

    /// Nobody is trusted whose role opens for others, whatever happened.
    pub(crate) fn check_trust(&mut self) -> Result<(), Breach> {
        self.figures.checks += 1;
        (0..self.model.parties.len()).try_for_each(|party| self.check_trust_of(party))
    }

    /// An integration whose role opens for others is not trusted.
    pub(super) fn check_trust_of(&self, party: usize) -> Result<(), Breach> {
        let party = &self.model.parties[party];
        let is_honest = party.nature == Nature::Honest;
        let mut sites = party.sites.iter();
        let is_trusted =
            !is_honest && sites.any(|site| self.was_proven(&party.integration, &site.region, self.now()));
        hold(!is_trusted, Invariant::TrustedOnlyIfItRefuses, || {
            format!("{} is {:?}, and trusted", party.tenant, party.nature)
        })
    }

    /// An image that is there is known, and scanned and announced once.
    fn check_image(&self, party: &Party, spot: &Spot, digest: Digest) -> Result<(), Breach> {
        self.check_noted(party, spot, digest)?;
        if self.ecr.image(spot, &digest).is_some_and(|image| image.archived) {
            return Ok(());
        }
        let image = ["image", &digest.to_string()];
        let key = party
            .scope
            .partition(&image)
            .key(&["scan", &CATALOG_VERSION.to_string()]);
        let scan = self.stored(&key);
        let is_told = scan
            .as_ref()
            .is_some_and(|scan| scan["state"] == "done" && scan["announced"] == true);
        let announced = self.model.announced.get(&(party.tenant.clone(), digest));
        hold(is_told && announced.is_some(), Invariant::OneEffect, || {
            format!(
                "{digest} lies in {}/{} of {} and was not scanned and announced: {scan:?}",
                spot.0, spot.1, party.tenant
            )
        })
    }

    /// What is noted of a place is what ECR says.
    fn check_noted(&self, party: &Party, spot: &Spot, digest: Digest) -> Result<(), Breach> {
        let (registry, repository) = spot;
        let key = party.scope.partition(&["image", &digest.to_string()]).key(&[
            "location",
            registry.account.as_str(),
            registry.region.as_str(),
            repository.as_str(),
        ]);
        // ECR sends no event when an image loses its tag to another one, but the sweep sees it.
        let noted = self
            .stored(&key)
            .map(|location| location["presence"].clone())
            .unwrap_or_default();
        let truth = self.ecr.image(spot, &digest).map_or_else(
            || json!({"state": "deleted"}),
            |image: &EcrImage| -> Value {
                json!({
                    "state": "present", "tags": image.tags, "pushed_at": image.pushed_at,
                    "archived": image.archived,
                })
            },
        );
        hold(noted == truth, Invariant::OneEffect, || {
            format!(
                "{digest} in {registry}/{repository} of {} is noted as {noted}, and ECR says {truth}",
                party.tenant
            )
        })
    }
}
