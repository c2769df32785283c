//! What tenants are told of changes: of each change once, and each webhook once.

use std::collections::{BTreeMap, BTreeSet};

use portwarden_core::{
    id::{NotificationId, TenantId},
    store::Write,
    webhook::{Signed, WebhookUrl},
};
use portwarden_oci::Digest;
use serde_json::{Value, json};

use super::item::Item;
use crate::{
    breach::{Breach, Invariant, hold},
    image::flaws,
    party::Party,
    world::State,
};

/// What was noted, and what became of it.
#[derive(Default)]
pub(crate) struct Told {
    /// The addresses of each tenant's webhooks.
    pub(crate) webhooks: BTreeMap<TenantId, Vec<WebhookUrl>>,
    /// Which image each tag named last, by the tag's key.
    tags: BTreeMap<String, Digest>,
    /// What is to be told.
    noted: BTreeMap<(TenantId, NotificationId), Value>,
    announced: BTreeSet<(TenantId, NotificationId)>,
    /// What was sent where, by the address and the message's id.
    sent: BTreeMap<Place, Sent>,
    /// What each process sends just now.
    sending: BTreeMap<u64, BTreeSet<Place>>,
}

/// An address, and a message's id.
type Place = (String, String);

struct Sent {
    body: Digest,
    /// The process that sends it just now.
    by: Option<u64>,
    /// Whether the receiver ever took it.
    was_taken: bool,
    /// Whether the receiver took it just now, and whoever sent it knows that.
    is_taken: bool,
    /// Whether whoever sent it has come to the end of its work since.
    is_over: bool,
}

impl Told {
    /// Notes that a receiver took a message, and that whoever sent it knows that.
    pub(crate) fn take(&mut self, url: &WebhookUrl, signed: &Signed) {
        let place = (url.as_str().to_owned(), signed.id.clone());
        if let Some(sent) = self.sent.get_mut(&place) {
            (sent.was_taken, sent.is_taken) = (true, true);
        }
    }

    /// Notes that an invocation ended; one that died may not have noted what was taken.
    pub(crate) fn end(&mut self, process: u64, is_done: bool) {
        for place in self.sending.remove(&process).unwrap_or_default() {
            let Some(sent) = self.sent.get_mut(&place).filter(|sent| sent.by == Some(process)) else {
                continue;
            };
            sent.by = None;
            sent.is_over |= is_done && sent.is_taken;
            sent.is_taken = sent.is_over;
        }
    }
}

impl State {
    /// Checks that a tag that names another image now is news, if the images differ in their flaws, and only then.
    pub(crate) fn check_told(&mut self, writes: &[Write]) -> Result<(), Breach> {
        let mut moves: Vec<(TenantId, Digest, Digest)> = Vec::new();
        let mut news: Vec<Value> = Vec::new();
        for write in writes {
            let Write::Put { key, body, .. } = write else {
                continue;
            };
            match Item::of(key) {
                Some(Item::Tag { tenant }) => {
                    let after: Option<Digest> = body["digest"].as_str().and_then(|text| text.parse().ok());
                    let Some(after) = after else { continue };
                    let before = self.model.told.tags.insert(key.to_string(), after);
                    moves.extend(
                        before
                            .filter(|before| *before != after)
                            .map(|before| (tenant, before, after)),
                    );
                }
                Some(Item::Notification { tenant, id }) => {
                    let data = body["data"].clone();
                    let known = self.model.told.noted.insert((tenant, id.clone()), data.clone());
                    hold(
                        known.is_none_or(|known| known == data),
                        Invariant::ToldOnce,
                        || format!("{id} says something else than before"),
                    )?;
                    news.push(data);
                }
                _ => {}
            }
        }
        self.figures.checks += 1;
        for (tenant, before, after) in moves {
            let [was, is] = [before, after].map(|image| self.flaws_of(&tenant, &image));
            let told = news.iter().find(|data| {
                data["before"]["digest"] == json!(before) && data["after"]["digest"] == json!(after)
            });
            let ids = |list: &str| -> BTreeSet<String> {
                let lines = told.and_then(|data| data[list].as_array());
                let lines = lines.into_iter().flatten();
                lines
                    .filter_map(|line| line["id"].as_str().map(str::to_owned))
                    .collect()
            };
            let expected = [&is - &was, &was - &is];
            hold(
                [ids("new"), ids("fixed")] == expected && told.is_some() == (was != is),
                Invariant::ToldOnce,
                || {
                    format!(
                        "a tag of {tenant} moved from {before} to {after}, which is {expected:?}: {told:?}"
                    )
                },
            )?;
        }
        Ok(())
    }

    /// Returns what is wrong with an image, by its report.
    fn flaws_of(&self, tenant: &TenantId, image: &Digest) -> BTreeSet<String> {
        let report = self.report(tenant, image).unwrap_or_default();
        let platforms = report["platforms"].as_array().into_iter().flatten();
        let packages = platforms.filter_map(|platform| platform["packages"].as_array());
        let names = packages.flatten().filter_map(|package| package["name"].as_str());
        names.filter_map(flaws).collect()
    }

    /// Checks what the bus is told.
    pub(crate) fn check_told_on_the_bus(&mut self, process: u64, data: &Value) -> Result<(), Breach> {
        self.figures.checks += 1;
        let tenant = self.tenant_of(process).cloned();
        hold(
            tenant
                .as_ref()
                .is_some_and(|tenant| data["tenant"] == json!(tenant)),
            Invariant::NoCrossTenantByte,
            || format!("{data} is announced in the work for {tenant:?}"),
        )?;
        let id = data["id"].as_str().and_then(|id| id.parse().ok());
        let place = tenant.zip(id);
        let noted = place.as_ref().and_then(|place| self.model.told.noted.get(place));
        hold(noted == Some(data), Invariant::ToldOnce, || {
            format!("{data} is announced, and noted is {noted:?}")
        })?;
        self.model.told.announced.extend(place);
        Ok(())
    }

    /// Checks what a webhook is sent: its tenant's, as it was noted, by one at a time, and never again after it was taken.
    pub(crate) fn check_post(
        &mut self,
        process: u64,
        url: &WebhookUrl,
        signed: &Signed,
        body: &[u8],
    ) -> Result<(), Breach> {
        self.figures.checks += 1;
        self.figures.posts += 1;
        let tenant = self.tenant_of(process).cloned();
        let own = tenant
            .as_ref()
            .and_then(|tenant| self.model.told.webhooks.get(tenant));
        hold(
            own.is_some_and(|urls| urls.contains(url)),
            Invariant::NoCrossTenantByte,
            || format!("{} is sent to {url:?} in the work for {tenant:?}", signed.id),
        )?;
        let told = &mut self.model.told;
        let place = tenant.zip(signed.id.parse().ok());
        let noted = place.and_then(|place| told.noted.get(&place));
        let content: Value = serde_json::from_slice(body).unwrap_or_default();
        hold(noted == Some(&content["data"]), Invariant::ToldOnce, || {
            format!("{} is sent as {content}, and noted is {noted:?}", signed.id)
        })?;
        let place = (url.as_str().to_owned(), signed.id.clone());
        told.sending.entry(process).or_default().insert(place.clone());
        let sent = told.sent.entry(place).or_insert(Sent {
            body: Digest::of(body),
            by: None,
            was_taken: false,
            is_taken: false,
            is_over: false,
        });
        let what = if sent.is_over {
            Some("is sent again after it was taken")
        } else if sent.by.is_some_and(|by| by != process) {
            Some("is sent twice at the same time")
        } else if sent.body != Digest::of(body) {
            Some("is not sent as before")
        } else {
            None
        };
        sent.by = Some(process);
        hold(what.is_none(), Invariant::ToldOnce, || {
            format!("{} {} to {url:?}", signed.id, what.unwrap_or_default())
        })
    }

    /// Checks that everybody was told everything.
    pub(super) fn check_all_told(&self) -> Result<(), Breach> {
        let told = &self.model.told;
        let stays = |place: &Value| {
            let mut parties = self.model.parties.iter();
            let party =
                parties.find(|party| place["integration"].as_str() == Some(party.integration.as_str()));
            party.is_some_and(Party::stays)
        };
        for ((tenant, id), data) in &told.noted {
            // Whoever went is not looked at again, so that what was noted last may stay untold.
            let places = data["places"].as_array().map_or(&[][..], Vec::as_slice);
            if !places.is_empty() && !places.iter().any(stays) {
                continue;
            }
            hold(
                told.announced.contains(&(tenant.clone(), id.clone())),
                Invariant::ToldOnce,
                || format!("{id} of {tenant} was never announced: {data}"),
            )?;
            for url in told.webhooks.get(tenant).into_iter().flatten() {
                let sent = told.sent.get(&(url.as_str().to_owned(), id.to_string()));
                hold(
                    sent.is_some_and(|sent| sent.was_taken),
                    Invariant::ToldOnce,
                    || format!("{id} of {tenant} was never told to {url:?}: {data}"),
                )?;
            }
        }
        Ok(())
    }
}
