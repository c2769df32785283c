//! The credentials of a region's stack, and how new ones take the place of old ones.

use jiff::Timestamp;

use super::{
    Integration, Integrations, RegionConnection,
    records::{integration_item, region_item},
};
use crate::{
    endpoint::{Credential, Password, Username},
    event::Claim,
    id::{IntegrationId, Region},
    scope::TenantScope,
    store::{Change, StoreError, Stored, update},
};

impl Integrations {
    /// Takes up credentials that a region's stack made; those that were in use stay valid for a day after the first use
    /// of the new ones.
    ///
    /// Tells whether they are new.
    pub async fn add_credentials(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        (username, password): (&Username, &Password),
        generation: u32,
    ) -> Result<bool, StoreError> {
        let stored = self.store.get(&integration_item(scope, id)).await?;
        let Some(integration) = stored.as_ref().map(Stored::parse::<Integration>).transpose()? else {
            return Ok(false);
        };
        let salt = &integration.salt;
        let hash = match &self.hashes {
            Some(known) => known.hash(salt, password.secret()),
            None => password.hash(salt),
        };
        let new = Credential::new(username.clone(), hash, generation);
        self.change_region(scope, id, region, |region| {
            region.renewal_until = None;
            add(&mut region.credentials, &new)
        })
        .await
    }

    /// Notes the first use of a region's newest credentials, from which on the ones before have a day left.
    pub async fn note_first_use(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.change_region(scope, id, region, |region| {
            if let Some(newest) = region.credentials.last_mut() {
                newest.first_used_at.get_or_insert(now);
            }
        })
        .await
    }

    /// Lets claims with other credentials be looked at until a time, since the stack makes new ones.
    pub async fn expect_credentials(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.change_region(scope, id, region, |region| {
            region.renewal_until = region.renewal_until.max(Some(until));
        })
        .await
    }

    /// Notes what a stack with a region's own credentials said that demands another ExternalId, or that none does.
    pub async fn note_mistaken(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        mistaken: Option<&Claim>,
    ) -> Result<(), StoreError> {
        self.change_region(scope, id, region, |region| region.mistaken = mistaken.cloned())
            .await
    }

    /// Changes a region that is there; a missing one stays missing.
    async fn change_region<R: Default>(
        &self,
        scope: &TenantScope,
        id: &IntegrationId,
        region: &Region,
        mut change: impl FnMut(&mut RegionConnection) -> R + Send,
    ) -> Result<R, StoreError> {
        let key = region_item(scope, id, region);
        update(&*self.store, &key, |stored: Option<RegionConnection>| {
            let Some(before) = stored else {
                return Change::Keep(R::default());
            };
            let mut after = before.clone();
            let result = change(&mut after);
            if after == before {
                Change::Keep(result)
            } else {
                Change::Put(after, result)
            }
        })
        .await
    }
}

/// Keeps the credentials that were in use and the newest ones; tells whether `new` is new.
///
/// What led to them may be an old message that came late: what is new is a later generation, and none goes back.
fn add(credentials: &mut Vec<Credential>, new: &Credential) -> bool {
    let is_known = |known: &Credential| known.username == new.username && known.hash == new.hash;
    if let Some(newest) = credentials.last_mut().filter(|newest| is_known(newest)) {
        newest.generation = newest.generation.max(new.generation);
        return false;
    }
    let next = credentials
        .last()
        .map_or(1, |newest| newest.generation.saturating_add(1));
    // Of two, the newer one is replaced as long as nothing came with it: the older one may still be in use.
    if credentials.len() > 1 {
        let unused = credentials
            .last()
            .is_some_and(|newest| newest.first_used_at.is_none());
        credentials.remove(usize::from(unused));
    }
    credentials.push(Credential {
        generation: new.generation.max(next),
        ..new.clone()
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{endpoint::Salt, random::OsRandomness};

    fn credential(salt: &Salt, generation: u32) -> Credential {
        let hash = Password::generate(&OsRandomness).hash(salt);
        Credential::new(Username::parse("portwarden").unwrap(), hash, generation)
    }

    fn generations(credentials: &[Credential]) -> Vec<u32> {
        credentials
            .iter()
            .map(|credential| credential.generation)
            .collect()
    }

    #[test]
    fn the_credentials_in_use_and_the_newest_ones_are_kept() {
        let salt = Salt::generate(&OsRandomness);
        let [one, two, three, four] = [1, 2, 3, 4].map(|generation| credential(&salt, generation));
        let mut kept = Vec::new();
        assert!(add(&mut kept, &one));
        assert!(!add(&mut kept, &one), "they are known");
        assert!(add(&mut kept, &two));
        assert!(add(&mut kept, &three), "nothing came with the second");
        assert_eq!(generations(&kept), [1, 3]);
        kept[1].first_used_at = Some(Timestamp::UNIX_EPOCH);
        assert!(add(&mut kept, &four));
        assert_eq!(generations(&kept), [3, 4]);
        assert_eq!(kept[1].first_used_at, None);
    }

    #[test]
    fn a_message_that_comes_late_takes_no_generation_back() {
        let salt = Salt::generate(&OsRandomness);
        let [one, two] = [1, 2].map(|generation| credential(&salt, generation));
        let mut kept = Vec::new();
        add(&mut kept, &one);
        // The stack has made the second, and what leads to them is what it said before.
        let late = |credential: &Credential| Credential {
            generation: 1,
            ..credential.clone()
        };
        assert!(add(&mut kept, &late(&two)));
        assert_eq!(generations(&kept), [1, 2]);
        assert!(!add(&mut kept, &two));
        assert!(!add(&mut kept, &late(&two)));
        assert_eq!(generations(&kept), [1, 2]);
    }
}
