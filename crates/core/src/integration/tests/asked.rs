//! What people ask of an integration: answers about it, and another name.

use super::*;

const ELSEWHERE: &str = "arn:aws:iam::444455556666:role/mine";

fn account(of: &str) -> AccountId {
    role(of).account().clone()
}

#[tokio::test]
async fn one_account_that_is_proposed_needs_a_click_and_of_several_a_person_says_which() {
    let world = World::new();
    let mut connection = world.connection(&world.party().await).await;
    let [first, second]: [Region; 2] = ["eu-west-1", "us-east-1"].map(|name| name.parse().unwrap());
    let at = Timestamp::UNIX_EPOCH;
    let proposed = |of: &str| Trust::Proposed { role: role(of), at };
    let claimed = |of: &str| Trust::Claimed { role: role(of) };
    let [here, there] = [ROLE, ELSEWHERE].map(account);
    let several = NotOneAccount::Several(vec![here.clone(), there.clone()]);
    for (trusts, expected) in [
        ([Trust::Unnamed, Trust::Unnamed], Err(NotOneAccount::Nothing)),
        ([claimed(ROLE), claimed(ROLE)], Err(NotOneAccount::Nothing)),
        ([proposed(ROLE), claimed(ELSEWHERE)], Ok(here.clone())),
        ([proposed(ROLE), proposed(ROLE)], Ok(here.clone())),
        ([proposed(ELSEWHERE), proposed(ROLE)], Err(several)),
    ] {
        for (region, trust) in [&first, &second].into_iter().zip(trusts) {
            connection.regions.get_mut(region).unwrap().trust = trust;
        }
        assert_eq!(connection.only_proposed(), expected);
    }
    assert_eq!(connection.regions_naming(&there), [first]);
    assert_eq!(connection.regions_naming(&here), [second]);
    assert_eq!(connection.regions_naming(&"777788889999".parse().unwrap()), []);
}

#[tokio::test]
async fn other_credentials_have_a_later_generation_than_any_that_is_known() {
    let world = World::new();
    let mut connection = world.connection(&world.party().await).await;
    let elsewhere = "sa-east-1".parse().unwrap();
    assert_eq!(
        connection.next_generation(&elsewhere),
        Err(NoRotation::UnknownRegion)
    );
    assert_eq!(connection.next_generation(&region()), Err(NoRotation::Chosen));
    let said = serde_json::json!({
        "role-arn": ROLE, "external-id": connection.integration.external_id, "template-version": "2",
        "secret-arn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:s-a1b2c3", "credential-generation": 2,
    });
    let claim: Claim = serde_json::from_value(said).unwrap();
    let chosen = Claim {
        secret: None,
        ..claim.clone()
    };
    for (claim, known, expected) in [
        (&chosen, 1, Err(NoRotation::Chosen)),
        (&claim, 1, Ok(3)),
        (&claim, 7, Ok(8)),
    ] {
        let region = connection.regions.get_mut(&region()).unwrap();
        region.claim = Some(claim.clone());
        region.credentials.last_mut().unwrap().generation = known;
        assert_eq!(connection.next_generation(&self::region()), expected);
    }
}

#[tokio::test]
async fn of_two_who_rename_an_integration_the_second_is_told_and_none_renames_a_foreign_one() {
    let world = World::new();
    let [party, foreign] = [world.party().await, world.party().await];
    let integrations = &world.integrations;
    let revision = async || integrations.revision(&party.scope, &party.id).await.unwrap();
    let rename = async |name: &str, seen| {
        let renamed = integrations.rename(&party.scope, &party.id, name, seen);
        renamed.await.unwrap()
    };
    let name = async || world.connection(&party).await.integration.name;
    let seen = revision().await;
    for (given, seen) in [("first", seen), ("anyway", None)] {
        let Renamed::Done(now) = rename(given, seen).await else {
            panic!("{given}")
        };
        assert_eq!((revision().await, name().await.as_str()), (Some(now), given));
    }
    assert_eq!(rename("too late", seen).await, Renamed::Changed);
    assert_eq!(name().await, "anyway");
    let strangers = integrations.rename(&foreign.scope, &party.id, "mine", None);
    assert_eq!(strangers.await.unwrap(), Renamed::Missing);
    assert_eq!(
        integrations.revision(&foreign.scope, &party.id).await.unwrap(),
        None
    );
    let removed = integrations.remove(&party.scope, &party.id, Timestamp::UNIX_EPOCH);
    assert!(removed.await.unwrap());
    assert_eq!(rename("gone", None).await, Renamed::Missing);
    assert_eq!(name().await, "anyway");
}
