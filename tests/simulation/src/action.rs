//! What tenants and strangers do; each action is one way in which events come about.

use std::{sync::Arc, time::Duration};

use portwarden_core::id::{EventId, Region};
use portwarden_oci::{Digest, Tag};
use portwarden_testkit::events::ImageEvent;
use serde_json::{Value, json};

use crate::{
    bridge::{Accepted, Expected, Post},
    cloud::Manner,
    ecr::Spot,
    image::Kind,
    life::{HEARTBEAT, stranger_of},
    party::{Nature, basic},
    world::{Job, State},
};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Push what was never there before.
    PushNew,
    /// Push an image of the tenant's to another repository, region or account.
    PushAgain,
    /// Push an image that another tenant has, too.
    PushCommon,
    /// Point a tag to another image.
    Retag,
    DeleteTag,
    DeleteImage,
    /// Archive an image, or restore it.
    Archive,
    Heartbeat,
    StackStatus,
    RegistryScan,
    /// Speak of an image that is nowhere.
    Invent,
    /// Send once more what was sent long ago.
    Replay,
    /// Send something else under an id that was used before.
    ReuseId,
    /// Send something under an id of another tenant's event.
    BorrowId,
    WrongPassword,
    /// Post to another tenant's endpoint with one's own credentials.
    ForeignEndpoint,
    /// Speak for another account.
    OtherAccount,
    Garbage,
    /// Speak for a stack without its credentials.
    Claim,
    /// Name another tenant's ExternalId with one's own credentials and role.
    ForeignClaim,
    /// Change how a role trusts.
    ChangeTrust,
}

/// Everything that is done, with how often.
const ACTIONS: [(Action, usize); 21] = [
    (Action::PushNew, 180),
    (Action::PushAgain, 140),
    (Action::PushCommon, 50),
    (Action::Retag, 150),
    (Action::DeleteTag, 120),
    (Action::DeleteImage, 80),
    (Action::Archive, 50),
    (Action::Heartbeat, 50),
    (Action::StackStatus, 15),
    (Action::RegistryScan, 30),
    (Action::Invent, 25),
    (Action::Replay, 35),
    (Action::ReuseId, 10),
    (Action::BorrowId, 20),
    (Action::WrongPassword, 10),
    (Action::ForeignEndpoint, 10),
    (Action::OtherAccount, 10),
    (Action::Garbage, 10),
    (Action::Claim, 10),
    (Action::ForeignClaim, 5),
    (Action::ChangeTrust, 1),
];

const TAGS: [&str; 5] = ["latest", "v1", "v2", "v3", "edge"];

/// Attacks on passwords are made on the first few endpoints only: each guess costs a computation that is dear.
const GUESSED: usize = 4;

impl State {
    /// Does one thing, and notes when the next is done.
    pub(crate) fn act(&mut self) {
        let total: usize = ACTIONS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.chance.below(total);
        let action = ACTIONS.iter().find(|(_, weight)| {
            let is_it = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            is_it
        });
        let party = self.chance.below(self.model.parties.len());
        // Those whom nobody trusts are heard now and then.
        let is_heard = self.model.parties[party].nature == Nature::Honest || self.chance.per_mille(50);
        if let Some((action, _)) = action.filter(|_| is_heard) {
            self.perform(*action, party);
        }
        // The last tenth of the events takes an hour, so that what takes its time is done under load, too.
        let rest = self.wanted.saturating_sub(self.figures.events);
        let longest = if rest * 10 > self.wanted {
            200_000
        } else {
            2 * 3_600_000_000 * 10 / self.wanted.max(10)
        };
        let gap = Duration::from_micros(self.chance.between(0, longest));
        self.agenda.after(gap, Job::Act);
    }

    fn perform(&mut self, action: Action, party: usize) {
        let site = self.chance.below(self.model.parties[party].sites.len());
        let repository = self.chance.below(3);
        let spot = self.model.parties[party].spot(site, repository);
        match action {
            Action::PushNew => {
                let kind = match self.chance.below(40) {
                    0 => Kind::Chart,
                    1 => Kind::Corrupt,
                    2 => Kind::Index,
                    _ => Kind::Image,
                };
                let base = self.chance.below(4);
                let built = self.warehouse.build(kind, base);
                self.push(party, &spot, &built);
            }
            Action::PushAgain => {
                let own = self.pick_image(party);
                self.push(party, &spot, &own);
            }
            Action::PushCommon => {
                let other = self.chance.below(self.model.parties.len());
                let common = self.pick_image(other);
                self.push(party, &spot, &common);
            }
            Action::Retag => {
                if let Some((digest, _)) = self.pick_here(&spot) {
                    self.push(party, &spot, &[digest]);
                }
            }
            Action::DeleteTag => {
                if let Some((digest, tags)) = self.pick_here(&spot)
                    && let Some(tag) = self.chance.pick(&tags).cloned()
                {
                    let now = self.now();
                    self.ecr.delete_tag(&spot, digest, &tag, now);
                    self.tell(party, &spot, digest, Some(&tag), "DELETE");
                }
            }
            Action::DeleteImage => {
                if let Some((digest, _)) = self.pick_here(&spot) {
                    let now = self.now();
                    self.ecr.delete(&spot, digest, now);
                    self.tell(party, &spot, digest, None, "DELETE");
                }
            }
            Action::Archive => {
                if let Some((digest, _)) = self.pick_here(&spot) {
                    let archived = self.ecr.image(&spot, &digest).is_some_and(|image| image.archived);
                    self.ecr.archive(&spot, digest, !archived);
                    self.tell(party, &spot, digest, None, "UPDATE_STORAGE_CLASS");
                }
            }
            Action::Invent => {
                let digest = Digest::of(&self.chance.number().to_le_bytes());
                self.tell(party, &spot, digest, None, "PUSH");
            }
            Action::Heartbeat => self.beat(party, site),
            Action::StackStatus => self.tell_status(party, site, "UPDATE_COMPLETE"),
            Action::RegistryScan => self.scan_by_ecr(party, site, spot),
            Action::ChangeTrust => self.change_trust(party, site),
            Action::Replay
            | Action::ReuseId
            | Action::BorrowId
            | Action::WrongPassword
            | Action::ForeignEndpoint
            | Action::OtherAccount
            | Action::Garbage
            | Action::Claim
            | Action::ForeignClaim => self.forge(action, party, site, &spot),
        }
    }

    /// Ends a scan of ECR's own, of what lies somewhere, or of nothing.
    fn scan_by_ecr(&mut self, party: usize, site: usize, spot: Spot) {
        let mut detail = json!({"scan-status": "COMPLETE"});
        let scanned = self.pick_here(&spot);
        if let Some((digest, _)) = &scanned {
            detail["repository-name"] = json!(spot.1);
            detail["image-digest"] = json!(digest);
        }
        let event = self.envelope(
            party,
            &spot.0.region.clone(),
            "aws.ecr",
            "ECR Image Scan",
            &detail,
        );
        let id = id_of(&event);
        let accepted = match scanned {
            Some((digest, _)) => Accepted::Image { id, spot, digest },
            None => Accepted::Note { id },
        };
        self.post_event(party, site, &event, accepted);
    }

    /// Pushes images, in their order, the last one under a tag.
    fn push(&mut self, party: usize, spot: &Spot, digests: &[Digest]) {
        let now = self.now();
        for (place, digest) in digests.iter().enumerate() {
            let is_last = place + 1 == digests.len();
            let is_tagged = is_last && self.chance.per_mille(850);
            let tag: Option<Tag> = is_tagged.then(|| self.chance.pick(&TAGS)?.parse().ok()).flatten();
            self.ecr.push(spot, *digest, tag.as_ref(), now);
            self.tell(party, spot, *digest, tag.as_ref(), "PUSH");
        }
    }

    /// Tells of an image, as ECR does.
    fn tell(&mut self, party: usize, spot: &Spot, digest: Digest, tag: Option<&Tag>, action: &str) {
        let id = self.event_id();
        let (time, digest_text) = (self.now().to_string(), digest.to_string());
        let mut event = ImageEvent {
            id: &id,
            time: &time,
            account: spot.0.account.as_str(),
            region: spot.0.region.as_str(),
            repository: spot.1.as_str(),
            digest: &digest_text,
            tag: tag.map(Tag::as_str),
        }
        .push();
        event["detail"]["action-type"] = json!(action);
        // ECR's events are best effort.
        if self.chance.per_mille(self.faults.unsent) {
            self.figures.unsent += 1;
            return;
        }
        let site = self.site_of(party, &spot.0.region);
        let accepted = Accepted::Image {
            id: id_of(&event),
            spot: spot.clone(),
            digest,
        };
        self.post_event(party, site, &event, accepted);
    }

    pub(crate) fn post_event(&mut self, party: usize, site: usize, event: &Value, accepted: Accepted) {
        if self.model.parties[party].closed_at.is_some() {
            // Its stacks are deleted.
            return;
        }
        let site = &self.model.parties[party].sites[site];
        let authorization = site.authorization().to_owned();
        self.post(Post {
            party,
            authorization,
            body: Arc::from(event.to_string()),
            expected: Expected::Accepted(accepted),
        });
    }

    /// Posts what nobody should.
    fn forge(&mut self, action: Action, party: usize, site: usize, spot: &Spot) {
        let Some(past) = self.bridge.past(&mut self.chance) else {
            return;
        };
        let needs_another = matches!(action, Action::ForeignEndpoint | Action::ForeignClaim);
        if needs_another && self.model.parties.len() < 2 {
            return;
        }
        let authorization = self.model.parties[party].sites[site].authorization().to_owned();
        match action {
            Action::Replay => {
                let past = self.with_newest_credentials(past);
                self.post(past);
            }
            Action::ReuseId | Action::BorrowId => {
                let Expected::Accepted(event) = &past.expected else {
                    return;
                };
                let Some(id) = event.id().cloned() else {
                    return;
                };
                // The id is one's own in the one case, and another's in the other. Of two events under one id the first
                // counts, so that one's own is used only when the first has come.
                let (party, site, may_be) = if action == Action::ReuseId {
                    (past.party, 0, self.model.is_accepted(past.party, &id))
                } else {
                    (party, site, past.party != party)
                };
                if !may_be {
                    return;
                }
                let region = self.model.parties[party].sites[site].region.clone();
                let detail = json!({"scan-status": "COMPLETE"});
                let mut forged = self.envelope(party, &region, "aws.ecr", "ECR Image Scan", &detail);
                forged["id"] = json!(id);
                self.post_event(party, site, &forged, Accepted::Note { id });
            }
            Action::WrongPassword | Action::ForeignEndpoint => {
                let victim = party % GUESSED.min(self.model.parties.len());
                let authorization = if action == Action::WrongPassword {
                    basic("events", "a-wrong-password-of-letters")
                } else {
                    let other = (victim + 1) % self.model.parties.len();
                    self.model.parties[other].sites[0].authorization().to_owned()
                };
                self.post(Post {
                    party: victim,
                    authorization,
                    body: past.body,
                    expected: Expected::NotAccepted,
                });
            }
            Action::Claim => self.claim_for_another(party, site),
            // A mistaken stack of a role that closes for good would be taken for the cause.
            Action::ForeignClaim if self.model.parties[party].farewell.is_some() => {}
            Action::ForeignClaim => {
                let other = (party + 1) % self.model.parties.len();
                let mut detail = self.claim(party, site);
                detail["external-id"] = json!(self.model.parties[other].external_id);
                let region = spot.0.region.clone();
                let event = self.envelope(party, &region, "aws.events", "Portwarden Heartbeat", &detail);
                self.post(Post {
                    party,
                    authorization,
                    body: Arc::from(event.to_string()),
                    expected: Expected::Refused(422),
                });
            }
            _ => {
                let (body, status) = if action == Action::Garbage {
                    ("{\"id\": ".to_owned(), 400)
                } else {
                    let detail = json!({"scan-status": "COMPLETE"});
                    let region = spot.0.region.clone();
                    let mut event = self.envelope(party, &region, "aws.ecr", "ECR Image Scan", &detail);
                    event["account"] = json!("000000000000");
                    (event.to_string(), 422)
                };
                self.post(Post {
                    party,
                    authorization,
                    body: Arc::from(body),
                    expected: Expected::Refused(status),
                });
            }
        }
    }

    /// A stack sends with the credentials that it has now, whatever it sends.
    fn with_newest_credentials(&self, past: Post) -> Post {
        let mut sites = self.model.parties[past.party].sites.iter();
        let site = sites.find(|site| site.generation_of(&past.authorization).is_some());
        let newest = site.map(|site| site.authorization().to_owned());
        Post {
            authorization: newest.unwrap_or(past.authorization),
            ..past
        }
    }

    /// Claims, again and again and without its credentials, to be a stack of an integration: with an ExternalId that nobody
    /// has, or with the right one and a role that trusts it, in an account that is not the tenant's.
    fn claim_for_another(&mut self, party: usize, site: usize) {
        let victim = &self.model.parties[party];
        let (region, id) = (victim.sites[site].region.clone(), victim.external_id.to_string());
        let stranger = stranger_of(party);
        let is_right = self.chance.per_mille(700);
        let named = if is_right {
            id
        } else {
            "pw-0123456789abcdefghjkmnpqrs".to_owned()
        };
        let detail = json!({
            "role-arn": stranger, "external-id": named, "template-version": "1",
            "stack-id": "arn:aws:cloudformation:stack/portwarden/1", "status-details": {"status": "CREATE_COMPLETE"},
        });
        let (source, kind) = ("aws.cloudformation", "CloudFormation Stack Status Change");
        for _ in 0..3 {
            let mut event = self.envelope(party, &region, source, kind, &detail);
            event["account"] = json!(stranger.account());
            self.post(Post {
                party,
                authorization: basic("portwarden", "a-password-that-the-stranger-made-up"),
                body: Arc::from(event.to_string()),
                expected: Expected::NotAccepted,
            });
        }
    }

    pub(crate) fn envelope(
        &mut self,
        party: usize,
        region: &Region,
        source: &str,
        detail_type: &str,
        detail: &Value,
    ) -> Value {
        let id = self.event_id();
        json!({
            "version": "0", "id": id, "detail-type": detail_type, "source": source,
            "account": self.model.parties[party].account, "time": self.now().to_string(), "region": region,
            "resources": [], "detail": detail,
        })
    }

    pub(crate) fn claim(&self, party: usize, site: usize) -> Value {
        let party = &self.model.parties[party];
        // A stack can only speak of a role of its own account.
        let role = if party.nature == Nature::Thief {
            format!("arn:aws:iam::{}:role/stack", party.account)
        } else {
            party.sites[site].role.to_string()
        };
        let mut claim = json!({"role-arn": role, "external-id": party.external_id, "template-version": "1"});
        if let Some(secret) = &party.sites[site].secret {
            claim["secret-arn"] = json!(secret);
            claim["credential-generation"] = json!(party.sites[site].credentials.len());
            claim["rate-minutes"] = json!(HEARTBEAT.as_secs() / 60);
        }
        claim
    }

    /// Makes a role trust otherwise: by mistake, or as well as before.
    fn change_trust(&mut self, party: usize, site: usize) {
        let owner = &self.model.parties[party];
        if owner.nature != Nature::Honest || owner.closed_at.is_some() {
            return;
        }
        let role = self.model.parties[party].sites[site].role.to_string();
        let manners: &[Manner] = if self.chance.per_mille(500) {
            &Manner::BAD
        } else {
            &Manner::GOOD
        };
        let now = self.now();
        if let Some(manner) = self.chance.pick(manners).copied() {
            self.cloud.change_trust(&role, manner, now);
        }
    }

    fn event_id(&mut self) -> String {
        format!("{:016x}", self.chance.number())
    }

    fn site_of(&self, party: usize, region: &Region) -> usize {
        let sites = &self.model.parties[party].sites;
        sites.iter().position(|site| site.region == *region).unwrap_or(0)
    }

    /// Picks what lies somewhere in a party's registries, with what an index lists, in the order in which it is pushed.
    fn pick_image(&mut self, party: usize) -> Vec<Digest> {
        let parties = &self.model.parties[party];
        let spots: Vec<Spot> = parties.spots().collect();
        let Some(spot) = self.chance.pick(&spots).cloned() else {
            return Vec::new();
        };
        self.pick_here(&spot)
            .map(|(digest, _)| self.warehouse.with_listed(digest))
            .unwrap_or_default()
    }

    /// Picks an image of a repository that no index lists.
    fn pick_here(&mut self, spot: &Spot) -> Option<(Digest, Vec<Tag>)> {
        let images = self.ecr.images(spot);
        let free: Vec<_> = images
            .filter(|(digest, _)| !self.warehouse.is_listed(digest))
            .collect();
        let (digest, image) = self.chance.pick(&free)?;
        Some((*digest, image.tags.iter().cloned().collect()))
    }
}

pub(crate) fn id_of(event: &Value) -> EventId {
    event["id"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("ids of events are made here")
}
