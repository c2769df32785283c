//! Goodbyes: who is removed, what may be done with it afterwards, and what is left of it at last.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use portwarden_core::{
    arn::SecretArn,
    id::{IntegrationId, Region},
    session::Purpose,
    store::Stored,
};
use portwarden_oci::Digest;
use serde_json::Value;

use super::item::Item;
use crate::{
    breach::{Breach, Invariant, hold},
    cloud::Opened,
    party::{Farewell, Party},
    queue::Request,
    world::{State, Work},
};

/// How long a role must have been closed before its tenant counts as gone.
const LEFT_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long what is known of a removed integration is kept.
pub(crate) const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long work goes on that found the integration there when it began: a round's.
const WORK: SignedDuration = SignedDuration::from_mins(6);

impl State {
    /// An integration keeps its ids, and only a week of refusals removes it without its tenant's wish.
    pub(super) fn check_integration(
        &mut self,
        process: u64,
        integration: &IntegrationId,
        body: &Value,
    ) -> Result<(), Breach> {
        let Some(party) = self
            .model
            .party_of(integration)
            .map(|number| &self.model.parties[number])
        else {
            return Ok(());
        };
        hold(
            body["id"].as_str() == Some(integration.as_str())
                && body["external_id"].as_str() == Some(party.external_id.as_str()),
            Invariant::GoneForGood,
            || format!("{integration} has other ids: {body}"),
        )?;
        let before = self.model.removed.get(integration).copied();
        let after: Option<Timestamp> = body["removed_at"].as_str().and_then(|at| at.parse().ok());
        let is_round = matches!(
            self.serving.get(&process).map(|serving| &serving.work),
            Some(Work::Round)
        );
        let may_be = match (before, after) {
            (None, Some(at)) => is_round && party.closed_at.is_some_and(|closed| closed + LEFT_AFTER <= at),
            (before, after) => before == after,
        };
        hold(may_be, Invariant::GoneForGood, || {
            format!("{integration} was removed at {before:?}, and now at {after:?}")
        })?;
        if let (None, Some(at)) = (before, after) {
            self.model.removed.insert(integration.clone(), at);
        }
        Ok(())
    }

    /// Only what is removed and was kept long enough is deleted.
    pub(super) fn check_delete(&self, item: Option<&Item>) -> Result<(), Breach> {
        let mut parties = self.model.parties.iter();
        let party = match item {
            Some(
                Item::Region { integration, .. }
                | Item::Integration { integration }
                | Item::Heartbeat { integration, .. },
            ) => parties.find(|party| party.integration == *integration),
            Some(Item::Location { tenant, account, .. }) => {
                parties.find(|party| party.tenant == *tenant && party.account == *account)
            }
            _ => return Ok(()),
        };
        let removed = party.and_then(|party| self.model.removed.get(&party.integration));
        let is_due = removed.is_some_and(|removed| *removed + KEPT <= self.now());
        hold(
            is_due && !matches!(item, Some(Item::Integration { .. })),
            Invariant::GoneForGood,
            || {
                format!(
                    "something of {:?} is deleted, which was removed at {removed:?}",
                    party.map(|party| &party.integration)
                )
            },
        )
    }

    /// Nothing is begun for an integration that is removed, and nothing is read in an account that nobody named.
    pub(crate) fn check_reads(&self, process: u64, session: &Opened) -> Result<(), Breach> {
        let id = session.external_id.as_deref().unwrap_or_default();
        let Some(party) = self.model.owner_of(id).map(|number| &self.model.parties[number]) else {
            return Err((
                Invariant::SessionsScopedDown,
                format!("a session of nobody's is used: {session:?}"),
            ));
        };
        hold(
            self.model.confirmed.contains(&party.integration),
            Invariant::TrustedOnlyIfItRefuses,
            || {
                format!(
                    "something is read in {}, which {} has not named",
                    session.account, party.tenant
                )
            },
        )?;
        self.check_is_there(process, party)
    }

    /// Work that began after an integration was removed does nothing for it.
    pub(super) fn check_is_there(&self, process: u64, party: &Party) -> Result<(), Breach> {
        let Some(removed) = self.model.removed.get(&party.integration) else {
            return Ok(());
        };
        let serving = self.serving.get(&process);
        let known_until = serving.map_or(*removed, |serving| match serving.work {
            Work::Round => self.now() - WORK,
            _ => serving.started,
        });
        hold(known_until <= *removed, Invariant::GoneForGood, || {
            format!(
                "{} was removed at {removed}, and its role is used",
                party.integration
            )
        })
    }

    /// A stack's secret is read in a session for it alone, through the role beside it.
    pub(crate) fn check_secret(
        &mut self,
        process: u64,
        session: &Opened,
        secret: &SecretArn,
        region: &Region,
    ) -> Result<(), Breach> {
        self.figures.checks += 1;
        self.check_reads(process, session)?;
        let owner = self
            .model
            .owner_of(session.external_id.as_deref().unwrap_or_default());
        let party = owner.map(|number| &self.model.parties[number]);
        let site = party.and_then(|party| party.site_of(region));
        let is_its_own = session.purpose == Purpose::Credentials(secret.clone())
            && session.region == *region
            && site.is_some_and(|site| {
                site.role.as_str() == session.role && site.secret.as_ref() == Some(secret)
            });
        let is_served = party.is_some_and(|party| self.serves(process, party.tenant.as_str()));
        hold(is_its_own && is_served, Invariant::SessionsScopedDown, || {
            format!("{} is read in a session of another: {session:?}", secret.as_str())
        })
    }

    /// Tells whether the receipt of everybody who went says that all is deleted.
    pub(crate) fn is_all_purged(&self) -> bool {
        let mut gone = self.model.parties.iter().filter(|party| party.farewell.is_some());
        gone.all(|party| {
            let items = party.scope.partition(&["integrations"]);
            let receipt = self.stored(&items.key(&[party.integration.as_str(), "removal"]));
            receipt.is_some_and(|receipt| receipt["purged_at"].is_string())
        })
    }

    /// Checks what is left of those who went: their receipts, their ids, and nothing else.
    pub(crate) fn check_goodbyes(&mut self) -> Result<(), Breach> {
        self.figures.checks += 1;
        let waiting: Vec<_> = self.queues.rest().take(3).map(Request::body).collect();
        hold(waiting.is_empty(), Invariant::GoneForGood, || {
            format!("work is left for those who went: {waiting:?}")
        })?;
        let table = self.store.dump();
        let items = by_tenant(
            &table,
            |stored| stored.key.partition().as_str().strip_prefix("T#"),
            '#',
        );
        let objects: Vec<String> = self.objects.keys().iter().map(ToString::to_string).collect();
        let objects = by_tenant(&objects, |name| name.strip_prefix("tenants/"), '/');
        // An image that no index lists is deleted by its own name.
        let unlisted: BTreeSet<String> = self.warehouse.unlisted().map(Digest::hex).collect();
        let gone = self.model.parties.iter().filter(|party| party.farewell.is_some());
        let mut count = 0;
        for party in gone {
            self.check_receipt(party)?;
            let tenant = Some(party.tenant.as_str());
            let (nobodys, own) = (items.get(&None), items.get(&tenant));
            let images = self.check_items(party, nobodys, own)?;
            let consists_of = self.deletable(party);
            let is_deletable = |name: &str| unlisted.contains(name) || consists_of.contains(name);
            check_objects(party, &images, is_deletable, objects.get(&tenant))?;
            count += 1;
        }
        self.figures.purged = count;
        Ok(())
    }

    /// Lists what can be deleted by its name beside images that no index lists: what those that were reported consist of.
    fn deletable(&self, party: &Party) -> BTreeSet<String> {
        let scans = self.model.scans.iter();
        let reported =
            scans.filter(|((tenant, _), scan)| *tenant == party.tenant && scan["result"] == "reported");
        let images = reported.flat_map(|((_, digest), _)| self.warehouse.with_listed(*digest));
        let mut names: BTreeSet<String> = BTreeSet::new();
        for image in images {
            let manifest = self.warehouse.manifest(&image);
            let manifest: Value = manifest
                .and_then(|manifest| serde_json::from_slice(&manifest.bytes).ok())
                .unwrap_or_default();
            let layers = manifest["layers"].as_array().into_iter().flatten();
            let layers = layers.filter_map(|layer| layer["digest"].as_str()?.strip_prefix("sha256:"));
            names.extend(layers.map(str::to_owned));
            names.insert(image.hex());
        }
        names
    }

    /// The receipt says what was done, the ids stay, and everybody heard of it.
    fn check_receipt(&self, party: &Party) -> Result<(), Breach> {
        let id = &party.integration;
        let items = party.scope.partition(&["integrations"]);
        let receipt = self.stored(&items.key(&[id.as_str(), "removal"]));
        let reason = match party.farewell {
            Some(Farewell::Closed) => "role_closed",
            _ => "asked",
        };
        let is_told = receipt
            .as_ref()
            .is_some_and(|receipt| receipt["reason"] == reason && receipt["purged_at"].is_string());
        hold_gone(party, is_told, || {
            format!(
                "its role was closed at {:?}, and its receipt is {receipt:?}",
                party.closed_at
            )
        })?;
        let left = self.stored(&items.key(&[id.as_str(), "integration"]));
        let is_kept = left.as_ref().is_some_and(|left| {
            left["external_id"].as_str() == Some(party.external_id.as_str()) && left["removed_at"].is_string()
        });
        hold_gone(party, is_kept, || format!("its ids are left as {left:?}"))?;
        let mut lights = party
            .sites
            .iter()
            .filter_map(|site| self.last_light(id, &site.region));
        hold_gone(party, lights.all(|light| light == "removed"), || {
            "the bus did not hear of it".to_owned()
        })
    }

    /// Nothing of it is in the table but what must stay; returns the images that its tenant has elsewhere.
    fn check_items(
        &self,
        party: &Party,
        nobodys: Option<&Vec<&Stored>>,
        own: Option<&Vec<&Stored>>,
    ) -> Result<BTreeSet<String>, Breach> {
        let id = party.integration.as_str();
        let mut images = BTreeSet::new();
        let mut taken = BTreeSet::new();
        let ids = [
            format!("D#integration#{id}"),
            format!("D#external-id#{}", party.external_id),
        ];
        for stored in nobodys.into_iter().flatten() {
            let partition = stored.key.partition().as_str();
            if ids.iter().any(|known| known == partition) && stored.key.sort() == "owner" {
                taken.insert(partition);
            }
            let is_scheduled = partition.starts_with("D#rounds#") && stored.key.sort().starts_with(id);
            hold_gone(party, !is_scheduled, || "rounds look at it".to_owned())?;
        }
        let prefix = format!("T#{}#", party.tenant);
        for stored in own.into_iter().flatten() {
            let partition = stored.key.partition().as_str();
            let kind = partition.strip_prefix(&prefix).unwrap_or_default();
            if let Some(Item::Location { digest, account, .. }) = Item::of(&stored.key) {
                hold_gone(party, account != party.account, || {
                    format!("{} is left", stored.key)
                })?;
                let whole = self.warehouse.with_listed(digest);
                images.extend(whole.iter().map(Digest::hex));
            }
            // Receipts of sessions, events and news have a time of their own to vanish.
            let stays = ["access#", "event#", "notifications", "deliveries#"];
            let stays = stays.iter().any(|known| kind.starts_with(known))
                || ["integration", "removal"]
                    .iter()
                    .any(|word| stored.key.sort() == format!("{id}#{word}"));
            let sort = stored.key.sort();
            let is_its = [id, party.account.as_str()]
                .iter()
                .any(|name| kind.contains(name) || sort.contains(name));
            hold_gone(party, stays || !is_its, || format!("{} is left", stored.key))?;
        }
        for stored in own.into_iter().flatten() {
            if let Some(Item::Scan { digest, .. }) = Item::of(&stored.key) {
                hold_gone(party, images.contains(&digest.hex()), || {
                    format!("{} is left", stored.key)
                })?;
            }
        }
        hold_gone(party, taken.len() == 2, || {
            format!("of its ids only {taken:?} are taken for ever")
        })?;
        Ok(images)
    }
}

/// Sorts things by the tenant whose name follows in what `rest_of` returns; what it returns nothing of is nobody's.
fn by_tenant<T>(
    things: &[T],
    rest_of: impl Fn(&T) -> Option<&str>,
    separator: char,
) -> BTreeMap<Option<&str>, Vec<&T>> {
    let mut sorted: BTreeMap<Option<&str>, Vec<&T>> = BTreeMap::new();
    for thing in things {
        let tenant = rest_of(thing).and_then(|rest| Some(rest.split_once(separator)?.0));
        sorted.entry(tenant).or_default().push(thing);
    }
    sorted
}

/// Nothing is in the bucket of images that the tenant has nowhere any more.
///
/// Reports lead to what is to be deleted: what was written of a layer, or of an image that an index lists, stays if no image
/// with it ever came to a report.
fn check_objects(
    party: &Party,
    images: &BTreeSet<String>,
    is_deletable: impl Fn(&str) -> bool,
    objects: Option<&Vec<&String>>,
) -> Result<(), Breach> {
    let own = format!("tenants/{}/", party.tenant);
    for name in objects.into_iter().flatten() {
        let rest = name.strip_prefix(&own).unwrap_or_default();
        let path: Vec<&str> = rest.split('/').collect();
        let is_kept = match path[..] {
            ["images", image, _, "sbom.cdx.json"] => images.contains(image) || !is_deletable(image),
            ["images", image, ..] => images.contains(image),
            // Another image of the tenant's may have it, too.
            ["layers", _, layer] => {
                let layer = layer.trim_end_matches(".json");
                !images.is_empty() || !is_deletable(layer)
            }
            _ => false,
        };
        hold_gone(party, is_kept, || format!("{name} is left"))?;
    }
    Ok(())
}

fn hold_gone(party: &Party, holds: bool, what: impl FnOnce() -> String) -> Result<(), Breach> {
    hold(holds, Invariant::GoneForGood, || {
        format!("{} went, and {}", party.integration, what())
    })
}
