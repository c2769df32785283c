//! The tenants at the start: as an operator makes them, not yet proven.

use std::sync::Arc;

use jiff::Timestamp;
use portwarden_core::{
    arn::RoleArn,
    endpoint::{Password, Username},
    id::Region,
    integration::{Integrations, NewRegion},
    random::Randomness,
    scope::{OperatorScope, TenantScope},
    store::{MemoryStore, Store},
    tenant::Tenants,
};
use secrecy::ExposeSecret as _;

use crate::{
    chance::{Chance, Seeded},
    cloud::{Cloud, Manner},
    model::Model,
    outside::at_once,
    party::{Nature, Party, Site, basic},
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
            let party = connect(&scope, place, nature, &store, &randomness, now, &model);
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

fn connect(
    scope: &TenantScope,
    place: usize,
    nature: Nature,
    store: &Arc<dyn Store>,
    randomness: &dyn Randomness,
    now: Timestamp,
    model: &Model,
) -> Party {
    let account = format!("{:012}", 100_000_000_000 + place);
    let role = |name: &str| -> RoleArn {
        format!("arn:aws:iam::{account}:role/{name}")
            .parse()
            .expect("an ARN that is made here is valid")
    };
    // One region, two that share a role and credentials, or two with roles of their own.
    let roles = match place % 3 {
        0 => vec![role("portwarden"), role("portwarden")],
        1 => vec![role("portwarden")],
        _ => vec![role("portwarden-a"), role("portwarden-b")],
    };
    let roles = match (nature, model.parties.first()) {
        (Nature::Thief, Some(victim)) => vec![victim.sites[0].role.clone()],
        _ => roles,
    };
    let password = Password::generate(randomness);
    let username = |number: usize| if place.is_multiple_of(3) { 0 } else { number };
    let username = |number: usize| format!("events-{}", username(number));
    let new: Vec<NewRegion> = (0..roles.len())
        .map(|number| NewRegion::Classic {
            region: region(number),
            username: Username::parse(&username(number)).expect("a constant name is valid"),
            password: password.clone(),
        })
        .collect();
    let integrations = Integrations::new(store.clone());
    let made = at_once(integrations.create(scope, "an account", &new, now, randomness));
    let integration = made.expect("memory takes a new integration").integration;
    let secret = password.secret().expose_secret();
    let sites = roles.into_iter().enumerate().map(|(number, role)| Site {
        region: region(number),
        role,
        authorization: basic(&username(number), secret),
    });
    Party {
        tenant: scope.tenant().clone(),
        scope: scope.clone(),
        integration: integration.id,
        external_id: integration.external_id,
        account: account.parse().expect("twelve digits are an account"),
        nature,
        sites: sites.collect(),
    }
}

fn region(number: usize) -> Region {
    REGIONS[number % REGIONS.len()]
        .parse()
        .expect("a constant region is valid")
}
