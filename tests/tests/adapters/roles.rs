use std::{collections::BTreeMap, sync::Arc};

use portwarden_aws::{Connector, Ecr, EcrRegistries, RoleProber, SystemClock, TenantSessions};
use portwarden_core::{
    arn::RoleArn,
    ecr::{DescribeImage as _, EcrError, ProbeEcr as _, RegistryId},
    endpoint::Salt,
    id::{ExternalId, IntegrationId, RequestId, TenantId},
    integration::{Connection, Integration, RegionConnection, Trust},
    problem::chain,
    random::OsRandomness,
    session::{AssumeError, AssumeRole as _, ProbeRole as _, Purpose, SessionName, TrustedRole},
};
use portwarden_local::Account;
use portwarden_oci::{Digest, Manifest, Version};
use portwarden_registry::{Credentials, OpenRegistry as _};
use portwarden_testkit::image::{Compression, Image, ImageBuilder, LayerBuilder, PushTarget};
use serde_json::{Value, json};

use crate::{Cloud, OPERATOR, TENANT, account, region};

/// The roles of `template.yaml` and of a tenant's stack, reduced to what these tests ask.
struct Roles {
    prober: RoleProber,
    sessions: TenantSessions,
    role: RoleArn,
    external_id: ExternalId,
}

async fn roles(cloud: &Cloud, tenant_actions: &[&str]) -> Roles {
    let external_id = ExternalId::generate(&OsRandomness);
    let connector = format!("arn:aws:iam::{OPERATOR}:role/connector");
    let trust = |principal: &str, condition: Value| {
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"AWS": principal},
                "Action": "sts:AssumeRole",
                "Condition": condition,
            }],
        })
    };
    let policy = |actions: &[&str]| {
        json!([{
            "PolicyName": "p",
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
            },
        }])
    };
    let own_names = json!({"StringLike": {"sts:RoleSessionName": ["scan-*", "verify-*"]}});
    let root = format!("arn:aws:iam::{OPERATOR}:root");
    deploy(
        &cloud.operator,
        &[
            ("connector", trust(&root, own_names), policy(&["sts:AssumeRole"])),
            ("canary", trust(&connector, json!({})), json!([])),
        ],
    )
    .await;
    let own_id = json!({"StringEquals": {"sts:ExternalId": external_id}});
    deploy(
        &cloud.tenant(),
        &[("tenant", trust(&connector, own_id), policy(tenant_actions))],
    )
    .await;

    let connector = Arc::new(Connector::new(
        &cloud.aws,
        connector.parse().unwrap(),
        Arc::new(SystemClock),
    ));
    let canary = format!("arn:aws:iam::{OPERATOR}:role/canary").parse().unwrap();
    Roles {
        prober: RoleProber::new(Arc::clone(&connector), canary),
        sessions: TenantSessions::new(connector),
        role: format!("arn:aws:iam::{TENANT}:role/tenant").parse().unwrap(),
        external_id,
    }
}

async fn deploy(account: &Account, roles: &[(&str, Value, Value)]) {
    let resources = roles.iter().map(|(name, trust, policies)| {
        let role = json!({
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": name,
                "AssumeRolePolicyDocument": trust,
                "Policies": policies,
            },
        });
        ((*name).to_owned(), role)
    });
    let template = json!({"Resources": resources.collect::<Value>()});
    let client = aws_sdk_cloudformation::Client::new(&account.sdk_config());
    client
        .create_stack()
        .stack_name("roles")
        .template_body(template.to_string())
        .capabilities(aws_sdk_cloudformation::types::Capability::CapabilityNamedIam)
        .send()
        .await
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let stacks = client.describe_stacks().stack_name("roles").send().await.unwrap();
        let status = stacks.stacks()[0].stack_status().unwrap().as_str().to_owned();
        match status.as_str() {
            "CREATE_COMPLETE" => return,
            "CREATE_IN_PROGRESS" if std::time::Instant::now() < deadline => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            other => panic!("the stack is {other}"),
        }
    }
}

fn name() -> SessionName {
    SessionName::verify(&RequestId::generate(&OsRandomness))
}

fn trusted(roles: &Roles) -> TrustedRole {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let integration = Integration {
        id: IntegrationId::generate(&OsRandomness),
        tenant: TenantId::generate(&OsRandomness),
        name: "shop".into(),
        external_id: roles.external_id.clone(),
        account: Some(account(TENANT)),
        salt: Salt::generate(&OsRandomness),
        created_at: now,
        removed_at: None,
    };
    let connected = RegionConnection {
        trust: Trust::Proven {
            role: roles.role.clone(),
            at: now,
        },
        ..RegionConnection::new(region())
    };
    let connection = Connection {
        integration,
        regions: BTreeMap::from([(region(), connected)]),
        heartbeats: BTreeMap::new(),
    };
    connection.trusted_role(&region()).unwrap()
}

#[tokio::test]
async fn probes_tell_who_opens_and_who_refuses() {
    let cloud = Cloud::start("probes").await;
    let roles = roles(&cloud, &["ecr:*"]).await;
    let probe = async |role: &RoleArn, external_id: Option<&str>| {
        let session = roles
            .prober
            .probe_role(role, external_id, &region(), &name())
            .await;
        session.map(|session| session.account)
    };
    let right = roles.external_id.as_str();
    assert_eq!(probe(&roles.role, Some(right)).await.unwrap(), account(TENANT));
    let missing = format!("arn:aws:iam::{TENANT}:role/missing").parse().unwrap();
    let wrong = right.replace("pw-", "pw-x");
    for (role, external_id) in [
        (&roles.role, None),
        (&roles.role, Some(wrong.as_str())),
        (&missing, Some(right)),
    ] {
        let error = probe(role, external_id).await.unwrap_err();
        assert!(
            matches!(error, AssumeError::NotAllowed(_)),
            "{external_id:?}: {error:?}"
        );
        assert!(chain(&error).contains("AccessDenied"), "{}", chain(&error));
    }
    let canary = roles.prober.probe_canary(&region(), &name()).await.unwrap();
    assert_eq!(canary.account, account(OPERATOR));
}

#[tokio::test]
async fn a_connector_that_does_not_open_says_nothing_of_the_tenants_role() {
    let cloud = Cloud::start("connector").await;
    let roles = roles(&cloud, &["ecr:*"]).await;
    let missing = format!("arn:aws:iam::{OPERATOR}:role/missing").parse().unwrap();
    let connector = Connector::new(&cloud.aws, missing, Arc::new(SystemClock));
    let sessions = TenantSessions::new(Arc::new(connector));
    let error = sessions
        .assume_role(&trusted(&roles), Purpose::Registry, &name())
        .await
        .unwrap_err();
    assert!(matches!(error, AssumeError::Connector(_)), "{error:?}");
}

#[tokio::test]
async fn a_session_reads_one_registry_and_no_other() {
    let cloud = Cloud::start("session").await;
    let roles = roles(&cloud, &["*"]).await;
    let role = trusted(&roles);
    let session = roles
        .sessions
        .assume_role(&role, Purpose::Registry, &name())
        .await
        .unwrap();
    assert_eq!(session.account, account(TENANT));

    let pushed = push(&cloud).await;
    let (digest, layer) = (pushed.manifest.digest(), pushed.layers[0].blob.digest());
    let repository = "shop/web".parse().unwrap();
    let registry = RegistryId {
        account: account(TENANT),
        region: region(),
    };
    let ecr = Ecr::new(&cloud.aws);
    let image = ecr
        .describe_image(&session, &registry, &repository, &digest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(image.tags, ["1.4".parse().unwrap()].into());
    assert!(!image.archived);
    for (repository, digest) in [("shop/web", Digest::of(b"missing")), ("shop/missing", digest)] {
        let repository = repository.parse().unwrap();
        let image = ecr
            .describe_image(&session, &registry, &repository, &digest)
            .await;
        assert_eq!(image.unwrap(), None, "{repository}");
    }

    assert_eq!(
        ecr.describe_repositories(&session, &registry).await.unwrap(),
        std::slice::from_ref(&repository)
    );
    assert_eq!(
        ecr.describe_images(&session, &registry, &repository)
            .await
            .unwrap(),
        [digest]
    );
    assert_eq!(
        ecr.list_images(&session, &registry, &repository).await.unwrap(),
        [digest]
    );
    let manifest = ecr
        .batch_get_image(&session, &registry, &repository, &digest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(Digest::of(&manifest), digest);
    ecr.get_download_url_for_layer(&session, &registry, &repository, &layer)
        .await
        .unwrap();
    ecr.batch_check_layer_availability(&session, &registry, &repository, &layer)
        .await
        .unwrap();

    // The same image, through the registry's own protocol.
    let login = ecr.login(&session, &registry).await.unwrap();
    let credentials = Credentials::Basic {
        user: login.username,
        password: login.password,
    };
    let registries = EcrRegistries::new(Some(cloud.emulator.endpoint().parse().unwrap())).unwrap();
    let source = registries
        .open(&registry.host(), &repository, credentials)
        .unwrap();
    let fetched = source.manifest(&Version::Digest(digest)).await.unwrap();
    assert_eq!(fetched.digest, digest);
    let Manifest::Image(image) = fetched.manifest else {
        panic!("an image was pushed")
    };
    let mut blob = source.blob(&image.layers[0]).await.unwrap().into_reader();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut blob, &mut bytes).map(|_| bytes)
    });
    assert!(read.await.unwrap().unwrap() == pushed.layers[0].blob.bytes);

    // The role may do anything; the session policy lets it read this registry only.
    let elsewhere = RegistryId {
        region: "us-east-1".parse().unwrap(),
        ..registry
    };
    let error = ecr
        .describe_images(&session, &elsewhere, &repository)
        .await
        .unwrap_err();
    assert!(matches!(error, EcrError::Denied { .. }), "{error:?}");
    let error = ecr.describe_repositories(&session, &elsewhere).await.unwrap_err();
    assert!(matches!(error, EcrError::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let cloud = Cloud::start("permission").await;
    let roles = roles(&cloud, &["ecr:DescribeRepositories", "ecr:ListImages"]).await;
    push(&cloud).await;
    let session = roles
        .sessions
        .assume_role(&trusted(&roles), Purpose::Registry, &name())
        .await
        .unwrap();
    let registry = RegistryId {
        account: account(TENANT),
        region: region(),
    };
    let (ecr, repository) = (Ecr::new(&cloud.aws), "shop/web".parse().unwrap());
    assert_eq!(
        ecr.list_images(&session, &registry, &repository)
            .await
            .unwrap()
            .len(),
        1
    );
    let denied = [
        ecr.describe_images(&session, &registry, &repository)
            .await
            .map(drop),
        ecr.batch_get_image(&session, &registry, &repository, &Digest::of(b""))
            .await
            .map(drop),
        ecr.get_authorization_token(&session, &registry).await,
    ];
    let named = denied.map(|result| match result {
        Err(EcrError::Denied { action, .. }) => action,
        other => panic!("{other:?}"),
    });
    assert_eq!(
        named,
        [
            "ecr:DescribeImages",
            "ecr:BatchGetImage",
            "ecr:GetAuthorizationToken"
        ]
    );
}

/// Pushes an image of one layer as `shop/web:1.4`.
async fn push(cloud: &Cloud) -> Image {
    let client = aws_sdk_ecr::Client::new(&cloud.tenant().sdk_config());
    client
        .create_repository()
        .repository_name("shop/web")
        .send()
        .await
        .unwrap();
    let layer = LayerBuilder::new()
        .file("etc/hostname", "web")
        .finish(Compression::Gzip);
    let image = ImageBuilder::new().layer("COPY", layer).build();
    let registry = format!(
        "{TENANT}.dkr.ecr.{}.localhost:{}",
        region(),
        cloud.emulator.port()
    );
    let target = PushTarget::new(&cloud.emulator.endpoint())
        .unwrap()
        .with_host(&registry)
        .unwrap();
    let (repository, tag) = ("shop/web".parse().unwrap(), "1.4".parse().unwrap());
    portwarden_testkit::image::push(&target, &repository, Some(&tag), &image)
        .await
        .unwrap();
    image
}
