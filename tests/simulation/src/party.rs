//! Tenants' integrations: who sends events, and what opens their registries.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use portwarden_core::{
    arn::{RoleArn, SecretArn},
    ecr::RegistryId,
    id::{AccountId, ExternalId, IntegrationId, Region, TenantId},
    scope::TenantScope,
};
use portwarden_oci::RepositoryName;

use crate::{cloud::Manner, ecr::Spot};

/// One integration of a tenant.
pub(crate) struct Party {
    pub(crate) tenant: TenantId,
    pub(crate) scope: TenantScope,
    pub(crate) integration: IntegrationId,
    pub(crate) external_id: ExternalId,
    pub(crate) account: AccountId,
    pub(crate) nature: Nature,
    /// Whether its stacks connect it by what they say, and a click.
    pub(crate) is_quick: bool,
    /// How it goes, if it does.
    pub(crate) farewell: Option<Farewell>,
    /// Since when its roles are closed for good.
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) sites: Vec<Site>,
}

/// One region of an integration.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) region: Region,
    pub(crate) role: RoleArn,
    /// What its stack sends in `Authorization`, one generation after the other.
    pub(crate) credentials: Vec<String>,
    /// Where its stack keeps them, if it makes them itself.
    pub(crate) secret: Option<SecretArn>,
}

/// How an integration ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Its tenant wishes it.
    Asked,
    /// Its roles open for nobody any more, and nobody says a word.
    Closed,
}

impl Site {
    /// Returns what its stack sends in `Authorization` now.
    pub(crate) fn authorization(&self) -> &str {
        self.credentials.last().map_or("", String::as_str)
    }

    /// Returns which generation of its credentials something is.
    pub(crate) fn generation_of(&self, authorization: &str) -> Option<u32> {
        let place = self.credentials.iter().position(|known| known == authorization)?;
        u32::try_from(place + 1).ok()
    }
}

/// What an owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// To be connected; mistakes are mended after a while.
    Honest,
    /// To be connected with a role that others could open, too.
    Careless(Manner),
    /// To be connected with another tenant's role.
    Thief,
}

/// The repositories of every registry.
const REPOSITORIES: [&str; 3] = ["shop/web", "shop/api", "team/job"];

impl Party {
    /// Tells whether it is to be connected, and to stay so.
    pub(crate) fn stays(&self) -> bool {
        self.nature == Nature::Honest && self.farewell.is_none()
    }

    pub(crate) fn registry(&self, site: usize) -> RegistryId {
        RegistryId {
            account: self.account.clone(),
            region: self.sites[site].region.clone(),
        }
    }

    pub(crate) fn spot(&self, site: usize, repository: usize) -> Spot {
        (self.registry(site), repository_name(repository))
    }

    pub(crate) fn spots(&self) -> impl Iterator<Item = Spot> {
        (0..self.sites.len())
            .flat_map(move |site| (0..REPOSITORIES.len()).map(move |repository| self.spot(site, repository)))
    }

    pub(crate) fn site_of(&self, region: &Region) -> Option<&Site> {
        self.sites.iter().find(|site| site.region == *region)
    }
}

pub(crate) fn repository_name(number: usize) -> RepositoryName {
    REPOSITORIES[number % REPOSITORIES.len()]
        .parse()
        .expect("a constant name is valid")
}

/// Writes what goes into `Authorization`.
pub(crate) fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{username}:{password}"))
    )
}
