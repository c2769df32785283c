use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
use crate::random::OsRandomness;

const PASSWORD: &str = "correct:horse battery staple ü";

fn endpoint() -> Endpoint {
    let salt = Salt::generate(&OsRandomness);
    let password = Password::parse(&PASSWORD.into()).unwrap();
    let credential = |name: &str, password: &Password, generation| {
        Credential::new(Username::parse(name).unwrap(), password.hash(&salt), generation)
    };
    let other = Password::generate(&OsRandomness);
    let credentials = vec![
        credential("events", &other, 1),
        credential("events", &password, 2),
    ];
    let region = |proven, credentials| EndpointRegion {
        proven,
        proposed: false,
        credentials,
        claim: None,
        renewal_until: None,
        silent_from: None,
    };
    let regions = BTreeMap::from([
        ("eu-central-1".parse().unwrap(), region(true, credentials)),
        (
            "us-east-1".parse().unwrap(),
            region(false, vec![credential("other", &other, 1)]),
        ),
    ]);
    Endpoint {
        tenant: TenantId::generate(&OsRandomness),
        integration: IntegrationId::generate(&OsRandomness),
        account: None,
        external_id: ExternalId::generate(&OsRandomness),
        removed: false,
        salt,
        regions,
    }
}

fn header(text: &str) -> Option<BasicCredentials> {
    BasicCredentials::parse(format!("Basic {}", BASE64_STANDARD.encode(text)).as_bytes())
}

#[test]
fn names_can_be_sent_and_written_by_a_stack() {
    for name in ["portwarden", "a.b-c_d@e!~", &"a".repeat(128)] {
        let parsed = Username::parse(name).unwrap();
        assert_eq!(
            (parsed.as_str(), String::from(parsed.clone()).as_str()),
            (name, name)
        );
    }
    for name in ["", "a:b", "a b", "a\"b", "a\\b", "ä", "a\n", &"a".repeat(129)] {
        assert_eq!(Username::parse(name), Err(CredentialError::Username), "{name:?}");
    }
}

#[test]
fn right_credentials_open_in_either_generation() {
    let endpoint = endpoint();
    let checker = CredentialChecker::new(&OsRandomness);
    for _ in 0..2 {
        let found = checker
            .check(
                Some(&endpoint),
                header(&format!("events:{PASSWORD}")).as_ref(),
                NOW,
            )
            .unwrap();
        assert_eq!(found.scope.tenant(), &endpoint.tenant);
        assert_eq!((found.region.as_str(), found.generation), ("eu-central-1", 2));
    }
}

#[test]
fn of_regions_with_the_same_credentials_a_proven_one_is_found() {
    let mut endpoint = endpoint();
    let proven = endpoint.regions[&"eu-central-1".parse().unwrap()].clone();
    for name in ["af-south-1", "us-west-2"] {
        let unproven = EndpointRegion {
            proven: false,
            ..proven.clone()
        };
        endpoint.regions.insert(name.parse().unwrap(), unproven);
    }
    let checker = CredentialChecker::new(&OsRandomness);
    let found = checker
        .check(
            Some(&endpoint),
            header(&format!("events:{PASSWORD}")).as_ref(),
            NOW,
        )
        .unwrap();
    assert_eq!(found.region.as_str(), "eu-central-1");
}

#[test]
fn credentials_of_a_region_that_is_still_to_be_proven_open_for_it() {
    let mut endpoint = endpoint();
    for region in endpoint.regions.values_mut() {
        region.proven = false;
    }
    let found = CredentialChecker::new(&OsRandomness)
        .check(
            Some(&endpoint),
            header(&format!("events:{PASSWORD}")).as_ref(),
            NOW,
        )
        .unwrap();
    assert_eq!(found.region.as_str(), "eu-central-1");
}

#[test]
fn anything_else_opens_nothing() {
    let endpoint = endpoint();
    let checker = CredentialChecker::new(&OsRandomness);
    for presented in [
        "events:".to_owned(),
        format!("other:{PASSWORD}"),
        format!("Events:{PASSWORD}"),
        format!(":{PASSWORD}"),
        format!("events:{}", &PASSWORD[..PASSWORD.len() - 2]),
        format!("events:{PASSWORD} "),
    ] {
        assert_eq!(
            checker.check(Some(&endpoint), header(&presented).as_ref(), NOW),
            None,
            "{presented:?}"
        );
    }
    assert_eq!(checker.check(Some(&endpoint), None, NOW), None);
    assert_eq!(
        checker.check(None, header(&format!("events:{PASSWORD}")).as_ref(), NOW),
        None
    );
}

#[test]
fn an_empty_stored_name_is_not_opened_by_no_credentials() {
    // The stand-in for missing credentials must never match, even if its hash were stored.
    let mut endpoint = endpoint();
    let salt = endpoint.salt.clone();
    let hash = PasswordHash::compute(&salt, &String::new().into());
    let credential = Credential::new(Username(String::new()), hash, 1);
    endpoint
        .regions
        .values_mut()
        .for_each(|region| region.credentials = vec![credential.clone()]);
    assert_eq!(
        CredentialChecker::new(&OsRandomness).check(Some(&endpoint), None, NOW),
        None
    );
}

#[test]
fn headers_are_read_or_are_no_credentials() {
    for garbled in [
        &b""[..],
        b"Basic",
        b"Basic !",
        b"Bearer eDp5",
        b"Basic eHk=",
        b"Basic \xff",
        b"BasiceDp5",
    ] {
        assert!(BasicCredentials::parse(garbled).is_none(), "{garbled:?}");
    }
    for fine in ["Basic eDp5", "basic eDp5", "BASIC  eDp5 "] {
        let credentials = BasicCredentials::parse(fine.as_bytes()).unwrap();
        assert_eq!(
            (
                credentials.username.as_str(),
                credentials.password.expose_secret()
            ),
            ("x", "y")
        );
    }
}

#[test]
fn headers_with_more_than_anyone_was_given_are_no_credentials() {
    for (username, password, fits) in [(128, 512, true), (129, 512, false), (128, 513, false)] {
        let text = format!("{}:{}", "u".repeat(username), "p".repeat(password));
        assert_eq!(header(&text).is_some(), fits, "{username} {password}");
    }
}

/// The expected hash is of the reference implementation, by argon2-cffi 25.1.
#[test]
fn hashes_are_of_argon2id_with_the_cost_that_is_stated() {
    let salt = Salt(std::array::from_fn(|at| u8::try_from(at).unwrap()));
    let hash = PasswordHash::compute(&salt, &PASSWORD.into());
    assert_eq!(
        hex::encode(hash.0),
        "a350f1a83a3624a410ac44f702ff87802d150946e7fb06a02edc74209f858110"
    );
    assert_eq!(format!("{salt:?} {hash:?}"), "Salt PasswordHash");
}

#[test]
fn the_first_credentials_take_the_place_of_none() {
    let mut endpoint = endpoint();
    for region in endpoint.regions.values_mut() {
        region.credentials.retain(|credential| credential.generation == 2);
    }
    let found = CredentialChecker::new(&OsRandomness)
        .check(
            Some(&endpoint),
            header(&format!("events:{PASSWORD}")).as_ref(),
            NOW,
        )
        .unwrap();
    assert!(!found.is_first_use);
}

#[test]
fn passwords_are_long_and_never_shown() {
    assert_eq!(
        Password::parse(&"a".repeat(23).into()).err(),
        Some(CredentialError::Password)
    );
    assert_eq!(
        Password::parse(&"a".repeat(513).into()).err(),
        Some(CredentialError::Password)
    );
    assert_eq!(
        Password::parse(&format!("{}\n", "a".repeat(30)).into()).err(),
        Some(CredentialError::Password)
    );
    let endpoint = endpoint();
    let shown = format!("{endpoint:?}");
    let hash = serde_json::to_string(&endpoint.regions.values().next().unwrap().credentials).unwrap();
    let hash = hash.split("hash\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(!shown.contains(hash), "{shown}");
}

#[test]
fn forgets_the_oldest_computations() {
    let name = |index: usize| {
        let mut name = [0; 32];
        name[..8].copy_from_slice(&index.to_be_bytes());
        name
    };
    for (before, is_first_kept) in [
        (CredentialChecker::REMEMBERED - 1, true),
        (CredentialChecker::REMEMBERED, false),
    ] {
        let checker = CredentialChecker::new(&OsRandomness);
        {
            let mut computed = checker.computed();
            for index in 0..before {
                computed.hashes.insert(name(index), PasswordHash([0; 32]));
                computed.order.push_back(name(index));
            }
        }
        checker.check(None, header("a:b").as_ref(), NOW);
        let computed = checker.computed();
        assert_eq!(
            (computed.hashes.len(), computed.order.len()),
            (CredentialChecker::REMEMBERED, CredentialChecker::REMEMBERED)
        );
        assert_eq!(computed.hashes.contains_key(&name(0)), is_first_kept);
    }
}

#[test]
fn old_credentials_end_a_day_after_the_first_use_of_new_ones() {
    let mut endpoint = endpoint();
    let region: Region = "eu-central-1".parse().unwrap();
    let salt = endpoint.salt.clone();
    let new = Password::generate(&OsRandomness);
    let credential = Credential::new(Username::parse("events").unwrap(), new.hash(&salt), 3);
    let credentials = &mut endpoint.regions.get_mut(&region).unwrap().credentials;
    credentials.remove(0);
    credentials.push(credential);
    let checker = CredentialChecker::new(&OsRandomness);
    let check = |endpoint: &Endpoint, password: &str, now| {
        let found = checker.check(
            Some(endpoint),
            header(&format!("events:{password}")).as_ref(),
            now,
        );
        found.map(|found| (found.generation, found.is_first_use))
    };
    let new = new.secret().expose_secret();
    let first = NOW + SignedDuration::from_hours(100);
    assert_eq!(check(&endpoint, PASSWORD, first), Some((2, false)));
    assert_eq!(check(&endpoint, new, first), Some((3, true)));
    let credentials = &mut endpoint.regions.get_mut(&region).unwrap().credentials;
    credentials[1].first_used_at = Some(first);
    let last = first + SignedDuration::from_hours(24);
    for (password, now, expected) in [
        (PASSWORD, last - SignedDuration::from_millis(1), Some((2, false))),
        (PASSWORD, last, None),
        (new, last, Some((3, false))),
    ] {
        assert_eq!(check(&endpoint, password, now), expected);
    }
}

fn claim(account: &str, external_id: &ExternalId) -> Claim {
    serde_json::from_value(serde_json::json!({
        "role-arn": format!("arn:aws:iam::{account}:role/r"),
        "external-id": external_id, "template-version": "2",
    }))
    .unwrap()
}

#[test]
fn claims_are_looked_at_while_something_is_to_be_connected_and_never_else() {
    let endpoint = endpoint();
    let (proven, unproven): (Region, Region) =
        ("eu-central-1".parse().unwrap(), "us-east-1".parse().unwrap());
    let right = claim("111122223333", &endpoint.external_id);
    assert!(endpoint.awaits(&unproven, &right, NOW));
    assert!(!endpoint.awaits(&proven, &right, NOW), "all is connected");
    let elsewhere: Region = "sa-east-1".parse().unwrap();
    assert!(!endpoint.awaits(&elsewhere, &right, NOW), "no account is named");
    let foreign = claim("111122223333", &ExternalId::generate(&OsRandomness));
    assert!(!endpoint.awaits(&unproven, &foreign, NOW));
    let changed = |change: &dyn Fn(&mut Endpoint)| {
        let mut endpoint = endpoint.clone();
        change(&mut endpoint);
        endpoint
    };
    let removed = changed(&|endpoint| endpoint.removed = true);
    assert!(!removed.awaits(&unproven, &right, NOW));
    let named = changed(&|endpoint| endpoint.account = Some("444455556666".parse().unwrap()));
    assert!(!named.awaits(&unproven, &right, NOW), "another account is named");
    assert!(!named.awaits(&elsewhere, &right, NOW), "another account is named");
    let own = changed(&|endpoint| endpoint.account = Some("111122223333".parse().unwrap()));
    assert!(own.awaits(&elsewhere, &right, NOW) && !own.awaits(&proven, &right, NOW));
    let later = NOW + SignedDuration::from_secs(1);
    let of_proven = |change: &dyn Fn(&mut EndpointRegion)| {
        changed(&|endpoint| change(endpoint.regions.get_mut(&proven).unwrap()))
    };
    let renewed = of_proven(&|region| region.renewal_until = Some(later));
    assert!(renewed.awaits(&proven, &right, NOW) && !renewed.awaits(&proven, &right, later));
    let silent = of_proven(&|region| region.silent_from = Some(later));
    assert!(!silent.awaits(&proven, &right, NOW) && silent.awaits(&proven, &right, later));
    let unread = of_proven(&|region| region.credentials.clear());
    assert!(unread.awaits(&proven, &right, NOW));
}

#[test]
fn what_a_stack_repeats_is_not_looked_at_while_only_a_click_is_missing() {
    let region: Region = "us-east-1".parse().unwrap();
    let known = |proposed, account: Option<&str>| {
        let mut endpoint = endpoint();
        let said = claim("111122223333", &endpoint.external_id);
        endpoint.account = account.map(|account| account.parse().unwrap());
        let settings = endpoint.regions.get_mut(&region).unwrap();
        settings.proposed = proposed;
        settings.claim = Some(said.clone());
        (endpoint, said)
    };
    let (proposed, said) = known(true, None);
    assert!(!proposed.awaits(&region, &said, NOW));
    let news = Claim {
        generation: 2,
        ..said
    };
    assert!(proposed.awaits(&region, &news, NOW));
    for (proposed, account) in [(false, None), (true, Some("111122223333"))] {
        let (endpoint, said) = known(proposed, account);
        assert!(endpoint.awaits(&region, &said, NOW), "{proposed} {account:?}");
    }
}

#[test]
fn a_stack_is_mistaken_that_demands_another_external_id_in_a_region_that_is_to_be_proven() {
    let mut endpoint = endpoint();
    let right = claim("111122223333", &endpoint.external_id);
    let wrong = claim("111122223333", &ExternalId::generate(&OsRandomness));
    for (region, claim, expected) in [
        ("us-east-1", &wrong, true),
        ("us-east-1", &right, false),
        ("eu-central-1", &wrong, false),
        ("eu-central-1", &right, false),
        ("sa-east-1", &wrong, false),
    ] {
        let found = endpoint.is_mistaken(&region.parse().unwrap(), claim);
        assert_eq!(found, expected, "{region}");
    }
    endpoint.removed = true;
    assert!(!endpoint.is_mistaken(&"us-east-1".parse().unwrap(), &wrong));
}
