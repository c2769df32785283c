//! The tenants at the start: as an operator makes them, not yet proven.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use portwarden_advisories::{Bulk, build, parse};
use portwarden_core::{
    advisory::{Edition, Editions},
    arn::{RoleArn, SecretArn},
    endpoint::{Password, Username},
    id::{Region, TenantId},
    integration::{Integrations, NewRegion},
    object::{MemoryObjects, WriteObject as _},
    random::Randomness,
    scope::{OperatorScope, TenantScope},
    store::{MemoryStore, Store},
    tenant::Tenants,
    webhook::{WebhookKey, WebhookUrl, Webhooks},
};
use portwarden_oci::Digest;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::{
    chance::{Chance, Seeded},
    cloud::{Cloud, Manner},
    image::{flawed, flaws},
    model::Model,
    outside::at_once,
    party::{Farewell, Nature, Party, Site, basic},
};

const REGIONS: [&str; 2] = ["eu-central-1", "us-east-1"];

/// Makes tenants with their integrations, and the roles in their accounts.
pub(crate) fn tenants(
    count: usize,
    store: &Arc<MemoryStore>,
    cloud: &mut Cloud,
    now: Timestamp,
    chance: &mut Chance,
) -> Model {
    let randomness = Seeded::new(chance.fork());
    let mut model = Model::default();
    let store: Arc<dyn Store> = store.clone();
    let tenants = Tenants::new(store.clone());
    for number in 0..count {
        let made = at_once(tenants.create(
            OperatorScope::of_this_process(),
            &format!("tenant {number}"),
            now,
            &randomness,
        ));
        let tenant = made.expect("memory takes a new tenant").id;
        let scope = OperatorScope::of_this_process().tenant(tenant);
        // Some tenants have a second account.
        for account in 0..=usize::from(number % 7 == 3) {
            let place = number * 2 + account;
            let nature = match number % 20 {
                // One in ten means well and does badly, one in twenty means badly.
                6 | 13 => Nature::Careless(Manner::BAD[number / 20 % Manner::BAD.len()]),
                17 => Nature::Thief,
                _ => Nature::Honest,
            };
            let farewell = match number % 8 {
                2 => Some(Farewell::Closed),
                5 => Some(Farewell::Asked),
                _ if account > 0 => Some(Farewell::Asked),
                _ => None,
            };
            let new = New {
                scope: &scope,
                place,
                nature,
                is_quick: nature == Nature::Honest && number % 3 == 1,
                farewell: farewell.filter(|_| nature == Nature::Honest),
            };
            let party = connect(&new, &store, &randomness, cloud, now, &model);
            for site in &party.sites {
                let manner = match nature {
                    Nature::Honest => Manner::GOOD[place % Manner::GOOD.len()],
                    Nature::Careless(manner) => manner,
                    // The role is another's, and stays as it is.
                    Nature::Thief => continue,
                };
                cloud.add_role(&site.role, party.external_id.as_str(), manner, now);
            }
            model.add(party);
        }
    }
    model
}

/// Brings the advisories of this world into use.
pub(crate) fn advisories(store: &Arc<MemoryStore>, objects: &MemoryObjects, now: Timestamp) {
    let mut bulk = Bulk::default();
    for package in flawed() {
        let record = json!({
            "id": flaws(&package), "modified": "2026-01-01T00:00:00Z",
            "affected": [{"package": {"ecosystem": "PyPI", "name": package},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}],
        });
        let advisory = parse(record.to_string().as_bytes()).expect("a record that is made here is one");
        bulk.advisories.insert(advisory.id.clone(), advisory);
    }
    let database = build(&bulk).expect("a small database can be written");
    let editions = Editions::new(store.clone());
    let edition = Edition {
        number: 1,
        database: Digest::of(&database),
        bytes: database.len() as u64,
        advisories: bulk.advisories.len() as u64,
        changes: None,
        built_at: now,
    };
    let key = edition.file().key();
    at_once(objects.write_object(&key, "application/octet-stream", database)).expect("memory takes objects");
    let shelf = at_once(editions.shelf()).expect("memory answers");
    at_once(editions.publish(&shelf, &edition)).expect("memory takes an edition");
}

/// Makes a webhook for each tenant, and two for some.
pub(crate) fn webhooks(store: &Arc<MemoryStore>, model: &mut Model, now: Timestamp, chance: &mut Chance) {
    let (randomness, key) = (Seeded::new(chance.fork()), webhook_key());
    let webhooks = Webhooks::new(store.clone());
    let scopes: BTreeMap<TenantId, TenantScope> = model
        .parties
        .iter()
        .map(|party| (party.tenant.clone(), party.scope.clone()))
        .collect();
    for (place, (tenant, scope)) in scopes.into_iter().enumerate() {
        for number in 0..=usize::from(place % 3 == 0) {
            let url = format!("https://hooks.example.com/{tenant}/{number}");
            let url = WebhookUrl::parse(&url).expect("a constant address is valid");
            let made = webhooks.create(&scope, ("changes", &url), &key, now, &randomness);
            at_once(made).expect("memory takes a new webhook");
            model.told.webhooks.entry(tenant.clone()).or_default().push(url);
        }
    }
}

/// What all webhooks' secrets are derived from.
pub(crate) fn webhook_key() -> WebhookKey {
    WebhookKey::parse("a-key-of-thirty-two-characters-00".to_owned().into()).expect("a constant key is valid")
}

/// An integration that is to be made.
struct New<'a> {
    scope: &'a TenantScope,
    place: usize,
    nature: Nature,
    is_quick: bool,
    farewell: Option<Farewell>,
}

fn connect(
    new: &New<'_>,
    store: &Arc<dyn Store>,
    randomness: &dyn Randomness,
    cloud: &mut Cloud,
    now: Timestamp,
    model: &Model,
) -> Party {
    let New { scope, place, .. } = *new;
    let account = format!("{:012}", 100_000_000_000 + place);
    let role = |name: &str| -> RoleArn {
        format!("arn:aws:iam::{account}:role/{name}")
            .parse()
            .expect("an ARN that is made here is valid")
    };
    // One region, two that share a role and credentials, or two with roles of their own.
    let roles = match place % 3 {
        0 if !new.is_quick => vec![role("portwarden"), role("portwarden")],
        1 => vec![role("portwarden")],
        _ => vec![role("portwarden-a"), role("portwarden-b")],
    };
    let roles = match (new.nature, model.parties.first()) {
        (Nature::Thief, Some(victim)) => vec![victim.sites[0].role.clone()],
        _ => roles,
    };
    let shares = place.is_multiple_of(3) && !new.is_quick;
    let username = |number: usize| format!("events-{}", if shares { 0 } else { number });
    let password = Password::generate(randomness);
    let sites: Vec<Site> = roles
        .into_iter()
        .enumerate()
        .map(|(number, role)| {
            let own = if new.is_quick {
                Password::generate(randomness)
            } else {
                password.clone()
            };
            let (username, own) = (username(number), own.secret().expose_secret());
            let name = format!(
                "arn:aws:secretsmanager:{}:{account}:secret:portwarden",
                region(number)
            );
            let secret: Option<SecretArn> = new
                .is_quick
                .then(|| name.parse().expect("an ARN that is made here is valid"));
            if let Some(secret) = &secret {
                cloud.keep_secret(secret, &username, own);
            }
            Site {
                region: region(number),
                role,
                credentials: vec![basic(&username, own)],
                secret,
            }
        })
        .collect();
    let regions = sites.iter().enumerate().map(|(number, site)| {
        let region = site.region.clone();
        if new.is_quick {
            return NewRegion::Quick { region };
        }
        NewRegion::Classic {
            region,
            username: Username::parse(&username(number)).expect("a constant name is valid"),
            password: password.clone(),
        }
    });
    // Of some, the second region is not expected: its stack says that it is there.
    let expected = if new.is_quick && place % 4 == 2 {
        1
    } else {
        sites.len()
    };
    let regions: Vec<NewRegion> = regions.take(expected).collect();
    let integrations = Integrations::new(store.clone());
    let made = at_once(integrations.create(scope, "an account", &regions, now, randomness));
    let integration = made.expect("memory takes a new integration").integration;
    Party {
        tenant: scope.tenant().clone(),
        scope: scope.clone(),
        integration: integration.id,
        external_id: integration.external_id,
        account: account.parse().expect("twelve digits are an account"),
        nature: new.nature,
        is_quick: new.is_quick,
        farewell: new.farewell,
        closed_at: None,
        sites,
    }
}

fn region(number: usize) -> Region {
    REGIONS[number % REGIONS.len()]
        .parse()
        .expect("a constant region is valid")
}
