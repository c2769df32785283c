use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{clock::ManualClock, id::TenantId, random::OsRandomness};

/// Opens any role and counts; the access key tells whose session it is.
struct Counting(AtomicUsize, ManualClock);

#[async_trait]
impl AssumeRole for Counting {
    async fn assume_role(
        &self,
        role: &TrustedRole,
        _: Purpose,
        _: &SessionName,
    ) -> Result<Session, AssumeError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Session {
            access_key_id: format!("{role:?}"),
            secret_access_key: "secret".to_owned().into(),
            session_token: "token".to_owned().into(),
            expires_at: self.1.now() + SignedDuration::from_hours(1),
            account: role.role.account().clone(),
        })
    }
}

fn role(tenant: &TenantId, external_id: &ExternalId, region: &str) -> TrustedRole {
    TrustedRole::new(
        TenantScope::of(tenant.clone()),
        IntegrationId::operator(),
        "arn:aws:iam::111122223333:role/r".parse().unwrap(),
        external_id.clone(),
        region.parse().unwrap(),
    )
}

#[tokio::test]
async fn sessions_never_meet_and_are_kept_while_they_last() {
    let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
    let sessions = CachedSessions::new(
        Counting(AtomicUsize::new(0), clock.clone()),
        Arc::new(clock.clone()),
    );
    let tenants = [(); 2].map(|()| TenantId::generate(&OsRandomness));
    let ids = [(); 2].map(|()| ExternalId::generate(&OsRandomness));
    let roles = [
        role(&tenants[0], &ids[0], "us-east-1"),
        role(&tenants[1], &ids[0], "us-east-1"),
        role(&tenants[0], &ids[1], "us-east-1"),
        role(&tenants[0], &ids[0], "eu-west-1"),
    ];
    let name = SessionName::scan(&RequestId::generate(&OsRandomness));
    let mut assumed = 0;
    for (minutes, calls) in [(0, 4), (0, 0), (54, 0), (1, 4)] {
        clock.advance(Duration::from_mins(minutes));
        for role in &roles {
            let session = sessions
                .assume_role(role, Purpose::Registry, &name)
                .await
                .unwrap();
            assert_eq!(session.access_key_id, format!("{role:?}"));
        }
        assumed += calls;
        assert_eq!(
            sessions.inner.0.load(Ordering::SeqCst),
            assumed,
            "after {minutes} minutes"
        );
    }
    sessions.forget(&roles[0]);
    sessions
        .assume_role(&roles[0], Purpose::Registry, &name)
        .await
        .unwrap();
    assert_eq!(sessions.inner.0.load(Ordering::SeqCst), assumed + 1);
}

#[tokio::test]
async fn a_hundred_tenants_in_one_process_each_have_a_session_of_their_own() {
    let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
    let sessions = CachedSessions::new(
        Counting(AtomicUsize::new(0), clock.clone()),
        Arc::new(clock.clone()),
    );
    let roles: Vec<TrustedRole> = (0..100)
        .map(|_| {
            let id = ExternalId::generate(&OsRandomness);
            role(&TenantId::generate(&OsRandomness), &id, "us-east-1")
        })
        .collect();
    // In another order each time, and all under way at once.
    for stride in [1, 7, 33, 99] {
        let name = SessionName::scan(&RequestId::generate(&OsRandomness));
        let turns = (0..100).map(|turn| &roles[turn * stride % 100]);
        let turns = turns.map(async |role| {
            tokio::task::yield_now().await;
            let session = sessions.assume_role(role, Purpose::Registry, &name).await;
            assert_eq!(session.unwrap().access_key_id, format!("{role:?}"));
        });
        futures_util::future::join_all(turns).await;
    }
    assert_eq!(sessions.inner.0.load(Ordering::SeqCst), 100);
}

#[tokio::test]
async fn what_is_kept_has_a_limit_and_ends_with_its_sessions() {
    let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
    let sessions = CachedSessions::new(
        Counting(AtomicUsize::new(0), clock.clone()),
        Arc::new(clock.clone()),
    );
    let tenant = TenantId::generate(&OsRandomness);
    let roles: Vec<_> = (0..=CachedSessions::<Counting>::MOST)
        .map(|_| role(&tenant, &ExternalId::generate(&OsRandomness), "us-east-1"))
        .collect();
    let name = SessionName::scan(&RequestId::generate(&OsRandomness));
    let assumed_for = async |role: &TrustedRole| {
        let before = sessions.inner.0.load(Ordering::SeqCst);
        sessions
            .assume_role(role, Purpose::Registry, &name)
            .await
            .unwrap();
        sessions.inner.0.load(Ordering::SeqCst) - before
    };
    let last = roles.last().unwrap();
    for role in &roles {
        assert_eq!(assumed_for(role).await, 1);
    }
    assert_eq!(assumed_for(&roles[0]).await, 0);
    assert_eq!(assumed_for(last).await, 1, "there is no place for it");
    clock.advance(Duration::from_mins(55));
    assert_eq!(assumed_for(last).await, 1);
    assert_eq!(assumed_for(last).await, 0, "the others made place for it");
}

#[test]
fn session_policies_fit_and_read_only() {
    let region = "ap-southeast-2".parse().unwrap();
    let longest = format!(
        "arn:aws:iam::111122223333:role/{}/{}",
        "p".repeat(500),
        "n".repeat(64)
    );
    let secret = format!(
        "arn:aws:secretsmanager:{region}:111122223333:secret:{}",
        "s".repeat(519)
    );
    let secret: SecretArn = secret.parse().unwrap();
    let purposes = [
        (Purpose::Registry, "registry"),
        (Purpose::Names, "names"),
        (Purpose::Proof, "proof"),
        (Purpose::Credentials(secret), "credentials"),
    ];
    for (purpose, name) in purposes {
        assert_eq!(purpose.name(), name);
        let policy = purpose.session_policy(&longest.parse().unwrap(), &region);
        assert!(policy.len() <= 2048, "{purpose:?}: {}", policy.len());
        for word in [
            "Put", "Delete", "Upload", "Set", "Tag\"", ":*\"", "Create", "Update",
        ] {
            assert!(!policy.contains(word), "{purpose:?}: {word}");
        }
    }
}

/// What a policy allows: each action, on what, and in which region if that is not in what.
fn allowed(policy: &str) -> Vec<String> {
    let policy: Value = serde_json::from_str(policy).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let rights = statements.flat_map(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        let place = match statement.get("Condition") {
            Some(condition) => {
                let region = &condition["StringEquals"]["aws:RequestedRegion"];
                assert_eq!(
                    *condition,
                    json!({"StringEquals": {"aws:RequestedRegion": region}})
                );
                format!(" in {}", region.as_str().unwrap())
            }
            None => String::new(),
        };
        let resource = statement["Resource"].as_str().unwrap().to_owned();
        let actions = match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            one => vec![one.clone()],
        };
        let write = move |action: Value| format!("{} {resource}{place}", action.as_str().unwrap());
        actions.into_iter().map(write)
    });
    rights.collect()
}

#[test]
fn a_session_may_do_what_its_purpose_needs_and_no_more() {
    const SECRET: &str = "arn:aws-cn:secretsmanager:cn-north-1:111122223333:secret:s-a1b2c3";
    const ROLE: &str = "arn:aws-cn:iam::111122223333:role/r";
    let of_region = [
        "DescribeRegistry",
        "DescribeRepositories",
        "GetAuthorizationToken",
    ]
    .map(|action| format!("ecr:{action} * in cn-north-1"));
    let of_repositories = [
        "BatchCheckLayerAvailability",
        "BatchGetImage",
        "DescribeImageScanFindings",
        "DescribeImages",
        "GetDownloadUrlForLayer",
        "ListImages",
        "ListTagsForResource",
    ]
    .map(|action| format!("ecr:{action} arn:aws-cn:ecr:cn-north-1:111122223333:repository/*"));
    let registry = [&of_region[..], &of_repositories].concat();
    let proof = [&registry[..], &[format!("iam:GetRole {ROLE}")]].concat();
    for (purpose, expected) in [
        (Purpose::Registry, registry),
        (Purpose::Names, vec!["ecr:DescribeRepositories *".to_owned()]),
        (Purpose::Proof, proof),
        (
            Purpose::Credentials(SECRET.parse().unwrap()),
            vec![format!("secretsmanager:GetSecretValue {SECRET}")],
        ),
    ] {
        let policy = purpose.session_policy(&ROLE.parse().unwrap(), &"cn-north-1".parse().unwrap());
        assert_eq!(allowed(&policy), expected, "{purpose:?}");
    }
}

#[test]
fn session_names_say_what_for_and_fit() {
    let request = RequestId::generate(&OsRandomness);
    for (name, purpose) in [
        (SessionName::scan(&request), "scan-"),
        (SessionName::reconcile(&request), "reconcile-"),
        (SessionName::verify(&request), "verify-"),
        (SessionName::verify_credentials(&request), "verify-credentials-"),
    ] {
        let name = name.as_str();
        assert_eq!(name.strip_prefix(purpose), Some(request.as_str()));
        // Source: STS API reference, "AssumeRole", RoleSessionName: 2 to 64 of [\w+=,.@-].
        assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    }
}

#[test]
fn secrets_are_not_shown() {
    let session = Session {
        access_key_id: "AKIA".into(),
        secret_access_key: "very-secret".to_owned().into(),
        session_token: "very-secret".to_owned().into(),
        expires_at: Timestamp::UNIX_EPOCH,
        account: "111122223333".parse().unwrap(),
    };
    assert_eq!(
        format!("{session:?}"),
        r#"Session { account: AccountId("111122223333"), expires_at: 1970-01-01T00:00:00Z, .. }"#
    );
}
