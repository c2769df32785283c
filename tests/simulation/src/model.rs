//! The reference model: what the table must say, kept as plainly as possible, and compared with every write.

mod answer;
mod end;
mod goodbye;
mod item;
mod standing;
mod status;
mod told;
mod trust;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    id::{AccountId, EventId, IntegrationId, Region, TenantId},
    object::Document,
    scope::OperatorScope,
    store::{Key, Partition, Write},
};
use portwarden_oci::Digest;
use serde_json::Value;

use crate::{
    breach::{Breach, Invariant, hold},
    ecr::Spot,
    image::Expected,
    outside::at_once,
    party::Party,
    world::{State, Work},
};

use item::Item;
pub(crate) use standing::{OLD_LAST, Standing};
use told::Told;

/// What must be so.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) parties: Vec<Party>,
    by_integration: BTreeMap<IntegrationId, usize>,
    by_account: BTreeMap<AccountId, usize>,
    tenants: BTreeSet<TenantId>,
    external_ids: BTreeMap<String, usize>,
    /// What is known of a region, since when.
    standing: BTreeMap<IntegrationId, BTreeMap<Region, Vec<(Timestamp, Standing)>>>,
    /// The last verdict on each region.
    verdicts: BTreeMap<(IntegrationId, Region), Value>,
    /// When a heartbeat of each region was noted, and when it was sent.
    heartbeats: BTreeMap<(IntegrationId, Region), Vec<(Timestamp, Timestamp)>>,
    /// The integrations whose accounts their tenants have named.
    pub(crate) confirmed: BTreeSet<IntegrationId>,
    /// The minutes in which claims led to tests.
    claimed: BTreeMap<IntegrationId, BTreeSet<i64>>,
    /// When integrations were removed.
    pub(crate) removed: BTreeMap<IntegrationId, Timestamp>,
    /// Each change of a region's status that the bus heard of.
    statuses: BTreeMap<(IntegrationId, Region), Vec<Value>>,
    /// Every body that was sent under an id of an integration's events.
    bodies: BTreeMap<(usize, EventId), BTreeSet<Digest>>,
    /// The places that accepted events speak of.
    hints: BTreeMap<(usize, EventId), (Spot, Digest)>,
    /// How scans ended.
    scans: BTreeMap<(TenantId, Digest), Arc<Value>>,
    /// How scans were announced to have ended.
    announced: BTreeMap<(TenantId, Digest), Value>,
    /// What is told of changes.
    pub(crate) told: Told,
}

impl Model {
    pub(crate) fn add(&mut self, party: Party) {
        let number = self.parties.len();
        self.by_integration.insert(party.integration.clone(), number);
        self.by_account.insert(party.account.clone(), number);
        self.tenants.insert(party.tenant.clone());
        self.external_ids.insert(party.external_id.to_string(), number);
        self.parties.push(party);
    }

    pub(crate) fn party_of(&self, integration: &IntegrationId) -> Option<usize> {
        self.by_integration.get(integration).copied()
    }

    /// Returns whose account this is.
    pub(crate) fn holder_of(&self, account: &AccountId) -> Option<&Party> {
        Some(&self.parties[*self.by_account.get(account)?])
    }

    /// Returns whose ExternalId this is.
    pub(crate) fn owner_of(&self, external_id: &str) -> Option<usize> {
        self.external_ids.get(external_id).copied()
    }

    /// Tells whether an event about an image was accepted.
    pub(crate) fn is_accepted(&self, party: usize, event: &EventId) -> bool {
        self.hints.contains_key(&(party, event.clone()))
    }

    pub(crate) fn expect_body(&mut self, party: usize, event: EventId, body: Digest) {
        self.bodies.entry((party, event)).or_default().insert(body);
    }
}

impl State {
    /// Checks that a process touches only what belongs to the tenant that it works for, or to no tenant.
    pub(crate) fn check_partition(&mut self, process: u64, partition: &Partition) -> Result<(), Breach> {
        self.figures.checks += 1;
        let partition = partition.as_str();
        let tenant = partition.strip_prefix("T#").and_then(|rest| rest.split_once('#'));
        let is_own = tenant.is_some_and(|(tenant, _)| self.serves(process, tenant));
        hold(
            is_own || partition.starts_with("D#"),
            Invariant::NoCrossTenantByte,
            || {
                format!(
                    "{partition} is used in the work for {:?}",
                    self.tenant_of(process)
                )
            },
        )
    }

    /// Tells whether a process works for a tenant; a round is for all.
    pub(crate) fn serves(&self, process: u64, tenant: &str) -> bool {
        let Some(serving) = self.serving.get(&process) else {
            return false;
        };
        match serving.work {
            Work::Round => tenant
                .parse()
                .is_ok_and(|tenant| self.model.tenants.contains::<TenantId>(&tenant)),
            _ => serving
                .tenant
                .as_ref()
                .is_some_and(|served| served.as_str() == tenant),
        }
    }

    pub(crate) fn tenant_of(&self, process: u64) -> Option<&TenantId> {
        self.serving.get(&process)?.tenant.as_ref()
    }

    /// Checks what was written.
    pub(crate) fn check_write(&mut self, process: u64, write: &Write) -> Result<(), Breach> {
        self.figures.checks += 1;
        let item = Item::of(write.key());
        let body = match write {
            Write::Put { body, .. } => body,
            Write::Delete { .. } => return self.check_delete(item.as_ref()),
            Write::Check { .. } => return Ok(()),
        };
        match item {
            Some(Item::Scan { tenant, digest }) => self.check_scan(tenant, digest, body),
            Some(Item::Location { digest, .. }) => self.check_location(digest, body),
            Some(Item::Integration { integration }) => self.check_integration(process, &integration, body),
            Some(Item::Told { integration, region }) => self.check_told_is_heard(&integration, &region, body),
            Some(Item::Heartbeat { integration, region }) => {
                let at = body["at"].as_str().and_then(|at| at.parse().ok());
                let noted = at.map(|at| (self.now(), at));
                let key = (integration, region);
                self.model.heartbeats.entry(key).or_default().extend(noted);
                Ok(())
            }
            Some(Item::Region { integration, region }) => {
                self.check_region(process, &integration, &region, body)
            }
            Some(Item::Tag { .. } | Item::Notification { .. }) | None => Ok(()),
        }
    }

    /// A scan ends once, and stays as it ended.
    fn check_scan(&mut self, tenant: TenantId, digest: Digest, body: &Arc<Value>) -> Result<(), Breach> {
        let before = self.model.scans.get(&(tenant.clone(), digest));
        let is_done = body["state"] == "done";
        if let Some(before) = before {
            let same = ["state", "at", "request", "result", "packages"];
            return hold(
                same.iter().all(|field| before[field] == body[field]),
                Invariant::OneEffect,
                || format!("the scan of {digest} for {tenant} ended again: {before} became {body}"),
            );
        }
        if !is_done {
            return Ok(());
        }
        let mine = self.model.parties.iter().filter(|party| party.tenant == tenant);
        let mut spots = mine.flat_map(Party::spots);
        hold(
            spots.any(|spot| self.ecr.was(&spot, digest, true, Timestamp::UNIX_EPOCH)),
            Invariant::NoCrossTenantByte,
            || format!("{tenant} has a scan of {digest}, which it never had"),
        )?;
        let expected = self
            .warehouse
            .manifest(&digest)
            .map(|manifest| &manifest.expected);
        let is_right = match expected {
            Some(Expected::Packages(packages)) => {
                body["result"] == "reported" && (body["packages"] == *packages || body["partial"] == true)
            }
            Some(Expected::Refused(code)) => body["result"] == "refused" && body["problem"]["code"] == *code,
            None => false,
        };
        hold(is_right, Invariant::OneEffect, || {
            format!("the scan of {digest} for {tenant} ended as {body}, not as {expected:?}")
        })?;
        if body["result"] == "reported" {
            self.figures.reported += 1;
            let report = self.report(&tenant, &digest);
            hold(
                report
                    .as_ref()
                    .is_some_and(|report| report["package_count"] == body["packages"]),
                Invariant::OneEffect,
                || {
                    format!(
                        "the scan of {digest} for {tenant} is done, and its report is not there: {report:?}"
                    )
                },
            )?;
        } else {
            self.figures.refused += 1;
        }
        self.model.scans.insert((tenant, digest), Arc::clone(body));
        Ok(())
    }

    /// Reads a report as it lies in the bucket.
    fn report(&self, tenant: &TenantId, digest: &Digest) -> Option<Value> {
        let scope = OperatorScope::of_this_process().tenant(tenant.clone());
        let key = scope.image_object(digest, CATALOG_VERSION, Document::Report);
        let report = at_once(portwarden_core::object::ReadObject::read_object(
            &self.objects,
            &key,
        ));
        serde_json::from_slice(&report.ok()??).ok()
    }

    /// Only ECR itself makes an image present or deleted.
    fn check_location(&mut self, digest: Digest, body: &Value) -> Result<(), Breach> {
        let read = || {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let registry = portwarden_core::ecr::RegistryId {
                account: text(&body["account"])?.parse().ok()?,
                region: text(&body["region"])?.parse().ok()?,
            };
            let repository = text(&body["repository"])?.parse().ok()?;
            let at: Timestamp = text(&body["observed_at"])?.parse().ok()?;
            Some(((registry, repository), at))
        };
        let Some((spot, observed_at)) = read() else {
            return Err((Invariant::OneEffect, format!("a location cannot be read: {body}")));
        };
        let is_present = body["presence"]["state"] == "present";
        hold(
            self.ecr.was(&spot, digest, is_present, observed_at),
            Invariant::OneEffect,
            || {
                format!(
                    "{digest} in {}/{} is noted as {}, and ECR never said so since {observed_at}",
                    spot.0, spot.1, body["presence"]["state"],
                )
            },
        )
    }

    /// Checks an announcement against what is stored.
    pub(crate) fn check_announcement(
        &mut self,
        process: u64,
        tenant: &TenantId,
        digest: Digest,
        outcome: Value,
    ) -> Result<(), Breach> {
        self.figures.checks += 1;
        hold(
            self.serves(process, tenant.as_str()),
            Invariant::NoCrossTenantByte,
            || format!("an image of {tenant} is announced in the work for somebody else"),
        )?;
        let key = (tenant.clone(), digest);
        let scan = self.model.scans.get(&key);
        let is_so = scan.is_some_and(|scan| {
            ["result", "packages", "problem"]
                .iter()
                .all(|field| scan[field] == outcome[field])
        });
        hold(is_so, Invariant::OneEffect, || {
            format!("{digest} of {tenant} is announced as {outcome}, and the table says {scan:?}")
        })?;
        self.model.announced.insert(key, outcome);
        Ok(())
    }

    /// Reads an item as it lies in the table.
    pub(crate) fn stored(&self, key: &Key) -> Option<Arc<Value>> {
        let stored = at_once(portwarden_core::store::Store::get(&*self.store, key));
        Some(stored.ok()??.body)
    }

    /// Returns the party that a process works for.
    pub(crate) fn party_served(&self, process: u64) -> Option<&Party> {
        let integration = match &self.serving.get(&process)?.work {
            Work::Delivery(delivery) => return self.bridge.receiver_of(*delivery, &self.model),
            Work::Scan { request, .. } => &request.integration,
            Work::Verify { request, .. } => &request.integration,
            Work::Inventory { request, .. } => &request.integration,
            Work::Notify { .. } | Work::Round => return None,
        };
        let number = self.model.party_of(integration)?;
        Some(&self.model.parties[number])
    }
}
