//! What the bus is told of connections: each change of a status, in its order, and none is swallowed.

use portwarden_core::{
    announce::ConnectionChanged,
    id::{IntegrationId, Region},
};
use serde_json::{Value, json};

use crate::{
    breach::{Breach, Invariant, hold},
    world::State,
};

impl State {
    /// Checks a change that the bus is told: it follows the last one, or is one of those before.
    pub(crate) fn check_status_told(
        &mut self,
        process: u64,
        changed: &ConnectionChanged,
    ) -> Result<(), Breach> {
        self.figures.checks += 1;
        let number = self.model.party_of(&changed.integration);
        let owner = number.map(|number| &self.model.parties[number].tenant);
        hold(
            owner == Some(&changed.tenant) && self.serves(process, changed.tenant.as_str()),
            Invariant::NoCrossTenantByte,
            || {
                format!(
                    "a connection of {} is announced in the work for somebody else",
                    changed.tenant
                )
            },
        )?;
        let said = json!({
            "number": changed.number, "light": changed.status, "code": changed.code, "sentence": changed.sentence,
            "at": changed.at,
        });
        let key = (changed.integration.clone(), changed.region.clone());
        let heard = self.model.statuses.entry(key).or_default();
        let place = usize::try_from(changed.number).unwrap_or_default();
        let is_again = place.checked_sub(1).and_then(|place| heard.get(place)) == Some(&said);
        let same = |field: &str| heard.last().is_some_and(|last| last[field] == said[field]);
        let is_next = place == heard.len() + 1 && !(same("light") && same("code"));
        hold(is_again || is_next, Invariant::ToldOnce, || {
            format!("{} says {said}, after {:?}", changed.integration, heard.last())
        })?;
        if is_next {
            self.figures.statuses += 1;
            heard.push(said);
        }
        Ok(())
    }

    /// Checks that a change that is marked as told was heard.
    pub(super) fn check_told_is_heard(
        &self,
        integration: &IntegrationId,
        region: &Region,
        body: &Value,
    ) -> Result<(), Breach> {
        if body["told"] != true {
            return Ok(());
        }
        let key = (integration.clone(), region.clone());
        let heard = self.model.statuses.get(&key).into_iter().flatten();
        let fields = ["number", "light", "code"];
        let is_heard = heard
            .rev()
            .any(|heard| fields.iter().all(|field| heard[*field] == body[*field]));
        hold(is_heard, Invariant::ToldOnce, || {
            format!(
                "a change of {integration} in {region} is marked as told, and the bus never heard of it: {body}"
            )
        })
    }

    /// Returns the word that the bus last heard of a region.
    pub(super) fn last_light(&self, integration: &IntegrationId, region: &Region) -> Option<&str> {
        let heard = self.model.statuses.get(&(integration.clone(), region.clone()))?;
        heard.last()?["light"].as_str()
    }
}
