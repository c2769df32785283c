//! Who may send events: Basic credentials of an integration's event endpoint.
//!
//! A password is stored as Argon2id. All hashes of one integration share a salt, so that an attempt costs exactly one
//! computation, however many regions and generations there are and whether or not the integration exists; what a
//! process has computed it remembers under a keyed HMAC, so that the price is paid once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use argon2::{Algorithm, Argon2, Params};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::{
    event::Claim,
    id::{AccountId, ExternalId, IntegrationId, Region, TenantId},
    random::{Randomness, random_secret},
    scope::TenantScope,
};

/// What is known of an event endpoint before its caller is: no tenant's content.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Whose endpoint it is.
    pub tenant: TenantId,
    /// Which integration's.
    pub integration: IntegrationId,
    /// The account that events must come from, once it is proven.
    pub account: Option<AccountId>,
    /// The ExternalId that claims must carry.
    pub external_id: ExternalId,
    /// Whether the integration is removed, with its credentials kept to tell so.
    pub removed: bool,
    /// The salt of its hashes.
    pub salt: Salt,
    /// The regions, with the credentials of each.
    pub regions: BTreeMap<Region, EndpointRegion>,
}

/// One region of an [`Endpoint`].
#[derive(Debug, Clone)]
pub struct EndpointRegion {
    /// Whether the region's role is proven, so that its events are accepted.
    pub proven: bool,
    /// Whether the region's role is as it must be, and waits for the tenant's word.
    pub proposed: bool,
    /// The credentials that it may send with, at most two generations, the newest last.
    pub credentials: Vec<Credential>,
    /// What its stack said when its role was last found to be trusted.
    pub claim: Option<Claim>,
    /// Until when other credentials are expected, since the stack makes new ones.
    pub renewal_until: Option<Timestamp>,
    /// From when on it counts as silent, if its stack says how often it sends something.
    pub silent_from: Option<Timestamp>,
}

impl Endpoint {
    /// Tells whether a claim without proof is to be looked at: only while something of its region is to be connected.
    ///
    /// Once the tenant has named the account, a stack in another region of it is all that this region needs.
    pub fn awaits(&self, region: &Region, claim: &Claim, now: Timestamp) -> bool {
        let named = self.account.as_ref();
        let is_ours = claim.external_id == self.external_id
            && named.is_none_or(|account| account == claim.role.account());
        let is_wanted = match self.regions.get(region) {
            // Only a click is missing; what is known already must not take the place of another region's claim.
            Some(region) if named.is_none() && region.proposed && region.claim.as_ref() == Some(claim) => {
                false
            }
            Some(region) => region.awaits(now),
            None => named.is_some(),
        };
        is_ours && is_wanted && !self.removed
    }

    /// Tells whether a claim of a region whose role is to be proven demands another ExternalId than this endpoint's.
    pub fn is_mistaken(&self, region: &Region, claim: &Claim) -> bool {
        let is_unproven = self.regions.get(region).is_some_and(|region| !region.proven);
        is_unproven && claim.external_id != self.external_id && !self.removed
    }
}

impl EndpointRegion {
    fn awaits(&self, now: Timestamp) -> bool {
        !self.proven
            || self.credentials.is_empty()
            || self.renewal_until.is_some_and(|until| now < until)
            || self.silent_from.is_some_and(|from| from <= now)
    }

    /// Returns the credentials that are valid, and whether each is the first use of new ones.
    fn valid(&self, now: Timestamp) -> impl Iterator<Item = (&Credential, bool)> {
        let newest = self.credentials.last();
        let first_used = newest.and_then(|newest| newest.first_used_at);
        let old_are_valid = first_used.is_none_or(|first| now < first + Credential::OLD_LAST);
        self.credentials.iter().filter_map(move |credential| {
            let is_newest = newest == Some(credential);
            let is_first_use = is_newest && self.credentials.len() > 1 && first_used.is_none();
            (is_newest || old_are_valid).then_some((credential, is_first_use))
        })
    }
}

/// A user name and the hash of its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The user name.
    pub username: Username,
    /// The hash of the password under the integration's salt.
    pub hash: PasswordHash,
    /// Counts the credentials that a region's stack has had, from 1.
    pub generation: u32,
    /// When an event first came with them, if they took the place of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_used_at: Option<Timestamp>,
}

impl Credential {
    /// How long old credentials stay valid after the first use of new ones: as long as EventBridge repeats a delivery.
    pub const OLD_LAST: SignedDuration = SignedDuration::from_hours(24);

    /// Makes credentials that nothing came with yet.
    pub fn new(username: Username, hash: PasswordHash, generation: u32) -> Self {
        Self {
            username,
            hash,
            generation,
            first_used_at: None,
        }
    }
}

/// The name that a caller gives: 1 to 128 printable ASCII characters without a colon, which ends it in a header, and
/// without double quotes and backslashes, which would end it in the secret of the tenant's stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

/// A salt of 16 random bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Salt(#[serde(with = "hex::serde")] [u8; 16]);

/// An Argon2id hash of 32 bytes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(#[serde(with = "hex::serde")] [u8; 32]);

/// A password that is good enough to be stored: generated, or at least 24 characters long.
#[derive(Clone)]
pub struct Password(SecretString);

/// What a caller presents.
#[derive(Clone)]
pub struct BasicCredentials {
    username: String,
    password: SecretString,
}

/// A caller whose credentials are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// What follows is done for this tenant.
    pub scope: TenantScope,
    /// The integration.
    pub integration: IntegrationId,
    /// The region whose credentials these are, and their generation.
    pub region: Region,
    /// The generation of the credentials.
    pub generation: u32,
    /// Whether nothing came with them before, and they take the place of others.
    pub is_first_use: bool,
}

/// Why a chosen name or password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The user name has characters or a length that Basic authentication cannot carry safely.
    #[error("a user name has 1 to 128 printable ASCII characters and no colon, double quote or backslash")]
    Username,
    /// The password is too short, or has characters that cannot be sent.
    #[error("a password has 24 to 512 characters and no control characters")]
    Password,
}

impl Username {
    /// Takes a chosen name.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let is_valid = |b: u8| b.is_ascii_graphic() && !br#":"\"#.contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(is_valid) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CredentialError::Username)
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Username {
    type Error = CredentialError;

    fn try_from(text: String) -> Result<Self, CredentialError> {
        Self::parse(&text)
    }
}

impl From<Username> for String {
    fn from(name: Username) -> Self {
        name.0
    }
}

impl Salt {
    /// Makes a new salt.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 16];
        randomness.fill(&mut bytes);
        Self(bytes)
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt")
    }
}

impl PartialEq for PasswordHash {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other).into()
    }
}

impl Eq for PasswordHash {}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    fn matches(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }

    /// Computes the hash with OWASP's least parameters for Argon2id: 19 MiB, two passes, one lane.
    fn compute(salt: &Salt, password: &SecretString) -> Self {
        let params = Params::new(19 * 1024, 2, 1, Some(32)).expect("constant parameters are valid");
        let mut hash = [0; 32];
        Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password_into(password.expose_secret().as_bytes(), &salt.0, &mut hash)
            .expect("the salt and the output have lengths that Argon2 takes");
        Self(hash)
    }
}

impl Password {
    /// The least length of a chosen password in characters.
    pub const MIN_LENGTH: usize = 24;

    /// The greatest length of a password in bytes: EventBridge's limit for a connection's password.
    pub const MAX_LENGTH: usize = 512;

    /// Takes a chosen password.
    pub fn parse(text: &SecretString) -> Result<Self, CredentialError> {
        let text = text.expose_secret();
        let long_enough = text.chars().count() >= Self::MIN_LENGTH && text.len() <= Self::MAX_LENGTH;
        if long_enough && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned().into()))
        } else {
            Err(CredentialError::Password)
        }
    }

    /// Makes a password of 200 random bits.
    pub fn generate(randomness: &dyn Randomness) -> Self {
        Self(random_secret(randomness, 40))
    }

    /// Hashes the password for one integration.
    pub fn hash(&self, salt: &Salt) -> PasswordHash {
        PasswordHash::compute(salt, &self.0)
    }

    /// Returns the password, to be shown once.
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}

impl BasicCredentials {
    /// Reads the value of an `Authorization` header.
    ///
    /// Source: RFC 7617. Anything else than Basic, and anything garbled, is no credentials.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?;
        let (scheme, encoded) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = BASE64_STANDARD.decode(encoded.trim_matches(' ')).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (username, password) = decoded.split_once(':')?;
        let fits = username.len() <= 128 && password.len() <= Password::MAX_LENGTH;
        fits.then(|| Self {
            username: username.to_owned(),
            password: password.to_owned().into(),
        })
    }
}

/// Checks what callers present, and remembers what it has computed.
pub struct CredentialChecker {
    key: [u8; 32],
    no_salt: Salt,
    computed: Mutex<Computed>,
}

#[derive(Default)]
struct Computed {
    hashes: BTreeMap<[u8; 32], PasswordHash>,
    order: VecDeque<[u8; 32]>,
}

impl CredentialChecker {
    /// How many computations a process remembers: some 100 KiB.
    const REMEMBERED: usize = 1024;

    /// Makes a checker with a key of its own.
    pub fn new(randomness: &dyn Randomness) -> Self {
        let mut key = [0; 32];
        randomness.fill(&mut key);
        Self {
            key,
            no_salt: Salt::generate(randomness),
            computed: Mutex::default(),
        }
    }

    /// Tells whose credentials these are, if they are the endpoint's.
    ///
    /// The work is the same for a missing endpoint, an unknown name and a wrong password.
    pub fn check(
        &self,
        endpoint: Option<&Endpoint>,
        presented: Option<&BasicCredentials>,
        now: Timestamp,
    ) -> Option<Authenticated> {
        let nobody = BasicCredentials {
            username: String::new(),
            password: String::new().into(),
        };
        let presented_or_nobody = presented.unwrap_or(&nobody);
        let salt = endpoint.map_or(&self.no_salt, |endpoint| &endpoint.salt);
        let hash = self.hash(salt, &presented_or_nobody.password);
        let username = presented_or_nobody.username.as_bytes();
        let mut found = None;
        for (region, settings) in endpoint.iter().flat_map(|endpoint| &endpoint.regions) {
            for (credential, is_first_use) in settings.valid(now) {
                let right = credential.username.0.as_bytes().ct_eq(username) & credential.hash.matches(&hash);
                // Regions may share credentials; one that is still to be proven does not stand before one that is.
                if right.into() && (found.is_none() || settings.proven) {
                    found = Some((region, credential.generation, is_first_use));
                }
            }
        }
        presented?;
        let ((region, generation, is_first_use), endpoint) = found.zip(endpoint)?;
        Some(Authenticated {
            scope: TenantScope::of(endpoint.tenant.clone()),
            integration: endpoint.integration.clone(),
            region: region.clone(),
            generation,
            is_first_use,
        })
    }

    /// Returns the hash of a password under an integration's salt, computed if it was not before.
    pub(crate) fn hash(&self, salt: &Salt, password: &SecretString) -> PasswordHash {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(&salt.0);
        mac.update(password.expose_secret().as_bytes());
        let name: [u8; 32] = mac.finalize().into_bytes().into();
        let known = self.computed().hashes.get(&name).cloned();
        known.unwrap_or_else(|| {
            let hash = PasswordHash::compute(salt, password);
            let mut computed = self.computed();
            if computed.hashes.insert(name, hash.clone()).is_none() {
                computed.order.push_back(name);
            }
            if computed.order.len() > Self::REMEMBERED
                && let Some(oldest) = computed.order.pop_front()
            {
                computed.hashes.remove(&oldest);
            }
            hash
        })
    }

    fn computed(&self) -> std::sync::MutexGuard<'_, Computed> {
        self.computed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
