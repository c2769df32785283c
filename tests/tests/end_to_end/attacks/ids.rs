//! A5, A6 and A7: ids that attackers choose, guess or find again.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    random::Randomness,
    store::StoreError,
    verdict::{Check, Conclusion},
};
use portwarden_local::Tenant;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Scene, claims::claim, is_the_one_refusal};
use crate::{console::ADMINISTRATOR, world::scope};

/// A generator that says one byte again and again for the integration's id, and another one for its ExternalId.
struct Repeating([u8; 2], AtomicUsize);

impl Randomness for Repeating {
    fn fill(&self, bytes: &mut [u8]) {
        let turn = self.1.fetch_add(1, Ordering::Relaxed);
        bytes.fill(self.0[turn % 2]);
    }
}

pub(super) async fn an_id_is_ours_and_never_given_twice(scene: &Scene<'_>) {
    let Scene {
        caller,
        witness,
        attacker,
        ..
    } = scene;
    let path = format!("/v1/tenants/{}/integrations", attacker.id);
    let create = async |body| caller.call(ADMINISTRATOR, Method::POST, &path, Some(body)).await;
    let since = witness.mark();
    let id = &scene.victim.external_id;
    for name in ["external_id", "externalId", "ExternalId", "EXTERNAL_ID"] {
        let (status, told) = create(json!({"name": "n", "regions": ["us-east-1"], name: id})).await;
        assert_eq!(
            (status, &told["code"]),
            (StatusCode::BAD_REQUEST, &json!("body_invalid")),
            "{name}"
        );
    }
    assert_eq!(witness.effects(attacker.id.as_str(), since), [""; 0]);
    // The same without it is taken, and all that are made at once differ.
    let made = join_all((0..12).map(|_| create(json!({"name": "n", "regions": ["us-east-1"]})))).await;
    let mut ids: Vec<_> = made
        .iter()
        .flat_map(|(status, made)| {
            assert_eq!(*status, StatusCode::CREATED, "{made}");
            ["id", "external_id"].map(|name| made[name].as_str().unwrap().to_owned())
        })
        .collect();
    for id in &ids {
        let random = id.rsplit('-').next().unwrap();
        let is_base32 = |byte: u8| b"0123456789abcdefghjkmnpqrstvwxyz".contains(&byte);
        assert!(
            random.len() == 26 && random.bytes().all(is_base32),
            "{id}: 130 bits"
        );
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 24);
    // Should the generator ever repeat itself, the table does not.
    let create = async |tenant: &Tenant, bytes: [u8; 2]| {
        let randomness = Repeating(bytes, AtomicUsize::new(0));
        let integrations = scene.world.integrations();
        let (scope, now) = (scope(tenant), SystemClock.now());
        let made = integrations.create(&scope, "n", &[], now, &randomness).await;
        made.map(|made| made.integration)
    };
    let first = create(scene.victim, [1, 2]).await.unwrap();
    let refuse = async |when: &str| {
        for tenant in [attacker, scene.victim] {
            for bytes in [[1, 2], [1, 3], [3, 2]] {
                let refused = create(tenant, bytes).await;
                assert!(
                    matches!(refused, Err(StoreError::Unavailable(_))),
                    "{bytes:?} {when}: {refused:?}"
                );
            }
        }
    };
    refuse("while it is there").await;
    let path = format!("/v1/tenants/{}/integrations/{}", scene.victim.id, first.id);
    let (status, told) = caller.call(ADMINISTRATOR, Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{told}");
    refuse("when it is removed").await;
    create(attacker, [3, 4]).await.unwrap();
}

pub(super) async fn a_removed_integration_opens_nothing_again(scene: &Scene<'_>) {
    let tenant = scene.attacker;
    let region = tenant.account.region().as_str();
    let old = scene.integration(tenant).await;
    let old_external_id = old.made["external_id"].as_str().unwrap();
    let role = scene.right_role(tenant, "again", old_external_id).await;
    let proven = scene.name_role(&old, region, &role).await;
    assert_eq!(proven.verdict.conclusion(), Conclusion::Trusted);
    let (status, told) = old.ask(Method::DELETE, "", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{told}");
    let new = scene.integration(tenant).await;
    assert_ne!(new.id, old.id);
    assert_ne!(new.made["external_id"], old.made["external_id"]);

    // Neither the old endpoint nor the old ExternalId means anything, the role that demands it included.
    let since = scene.witness.mark();
    let of_old = claim(&tenant.account, &role, old_external_id);
    for to in [&old.id, &new.id] {
        let answer = scene.send(to, None, &of_old).await;
        assert!(is_the_one_refusal(&answer), "{answer:?}");
    }
    assert_eq!(scene.witness.effects(&new.id, since), [""; 0]);
    let (status, told) = old
        .post(
            &format!("/regions/{region}/verification"),
            json!({ "role_arn": role }),
        )
        .await;
    assert_eq!(
        (status, &told["code"]),
        (StatusCode::CONFLICT, &json!("integration_removed"))
    );
    assert_eq!(scene.witness.openings(since), []);
    let refused = scene.name_role(&new, region, &role).await;
    assert_eq!(
        refused.found(Check::OpensWithExternalId),
        (Conclusion::Refused, Some("role_not_assumable"))
    );
    // With the new one it is the same role, and opens.
    let external_id = new.made["external_id"].as_str().unwrap();
    let again = scene.right_role(tenant, "again-2", external_id).await;
    let proven = scene.name_role(&new, region, &again).await;
    assert_eq!(
        proven.verdict.conclusion(),
        Conclusion::Trusted,
        "{:#?}",
        proven.verdict
    );
}
