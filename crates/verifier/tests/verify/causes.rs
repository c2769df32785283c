//! What STS, ECR and a trust policy answer is told for what it is: the causes that no other test is about.

use std::sync::Arc;

use portwarden_core::{
    ecr::EcrError,
    session::AssumeError,
    verdict::{Check, Conclusion, Outcome, Verdict},
};
use portwarden_oci::Digest;
use serde_json::json;

use crate::world::{Bench, CONNECTOR, GOOD, World, code};

async fn verdict(world: World) -> Verdict {
    let bench = Bench::new();
    let party = bench.party().await;
    bench.verdict(&Arc::new(world), &party).await
}

#[tokio::test]
async fn what_sts_answers_is_told_for_what_it_is() {
    type Answer = fn() -> AssumeError;
    let answers: [(Answer, &str, Conclusion); 4] = [
        (
            || AssumeError::RegionDisabled("RegionDisabledException".into()),
            "sts_region_inactive",
            Conclusion::Refused,
        ),
        (
            || AssumeError::Connector("AccessDenied".into()),
            "connector_refused",
            Conclusion::Unknown,
        ),
        (|| AssumeError::Throttled, "throttled", Conclusion::Unknown),
        (
            || AssumeError::Unreachable("timed out".into()),
            "unreachable",
            Conclusion::Unknown,
        ),
    ];
    for (answer, expected, conclusion) in answers {
        let world = World::new(GOOD);
        // As often as the patience with a new role lasts, and longer.
        *world.failures.lock().unwrap() = (0..9).map(|_| Some(answer())).collect();
        let verdict = verdict(world).await;
        assert_eq!(code(&verdict, Check::OpensWithExternalId), Some(expected));
        assert_eq!(verdict.conclusion(), conclusion, "{expected}");
    }
}

#[tokio::test]
async fn what_ecr_answers_is_told_for_what_it_is() {
    const ACTION: &str = "ecr:BatchGetImage";
    type Answer = fn() -> EcrError;
    let answers: [(Answer, &str, bool); 6] = [
        (
            || EcrError::Denied {
                action: ACTION,
                source: "no identity-based policy allows the action".into(),
            },
            "ecr_batch_get_image_denied",
            true,
        ),
        (
            || EcrError::Denied {
                action: ACTION,
                source: "with an explicit deny in a service control policy".into(),
            },
            "ecr_denied_by_organization",
            true,
        ),
        (
            || EcrError::KeyClosed("KmsException".into()),
            "kms_key_closed",
            true,
        ),
        (|| EcrError::Expired, "session_ended", false),
        (|| EcrError::Throttled, "throttled", false),
        (|| EcrError::Unreachable("timed out".into()), "unreachable", false),
    ];
    for (answer, expected, is_found_out) in answers {
        let mut world = World::new(GOOD);
        world.ecr_answers.insert(ACTION, answer);
        let verdict = verdict(world).await;
        assert_eq!(code(&verdict, Check::EcrBatchGetImage), Some(expected));
        let outcome = verdict.outcome(Check::EcrBatchGetImage);
        assert_eq!(
            matches!(outcome, Some(Outcome::Failed(_))),
            is_found_out,
            "{outcome:?}"
        );
        // The role is trusted all the same, and not green.
        assert_eq!(
            (verdict.conclusion(), verdict.is_green()),
            (Conclusion::Trusted, false),
            "{expected}"
        );
        if expected.contains("denied") {
            let problem = verdict.first_problem().unwrap();
            assert!(
                problem.message.contains(ACTION) && problem.message.contains("us-east-1"),
                "{problem:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_a_trust_policy_lacks_is_told_for_what_it_is() {
    let without_condition = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": CONNECTOR}, "Action": "sts:AssumeRole",
    }]});
    for (policy, expected) in [
        (without_condition.to_string(), "trust_condition_wide"),
        ("{".to_owned(), "trust_policy_malformed"),
    ] {
        let mut world = World::new(GOOD);
        world.policy = Some(policy);
        let verdict = verdict(world).await;
        assert_eq!(code(&verdict, Check::TrustPolicy), Some(expected));
        assert_eq!(verdict.conclusion(), Conclusion::Refused, "{expected}");
    }
}

#[tokio::test]
async fn ecr_is_asked_about_a_layer_of_the_image_where_there_is_one() {
    let descriptor = |of: &[u8]| json!({"mediaType": "application/x", "digest": Digest::of(of), "size": 1});
    let image = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(b"config"), "layers": [descriptor(b"base"), descriptor(b"top")],
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor(b"base")],
    });
    // IAM decides before ECR looks, so that a layer that nobody has tells as much about the role.
    for (manifest, layer) in [(image, Digest::of(b"base")), (index, Digest::of(b"nothing"))] {
        let mut world = World::new(GOOD);
        world.manifest = manifest.to_string().into_bytes();
        let world = Arc::new(world);
        let bench = Bench::new();
        let party = bench.party().await;
        let verdict = bench.verdict(&world, &party).await;
        assert_eq!(*world.layers.lock().unwrap(), [layer; 2], "{manifest}");
        let outcome = verdict.outcome(Check::EcrGetDownloadUrlForLayer);
        assert_eq!(outcome, Some(&Outcome::Passed), "{manifest}");
    }
}
