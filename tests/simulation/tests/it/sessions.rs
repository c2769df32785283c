//! What a session may do in a role that may do everything, judged by an independent simulator.

use portwarden_core::{arn::RoleArn, id::Region, session::Purpose};
use serde_json::{Value, json};

use crate::oracle::Oracle;

const ACCOUNT: &str = "111122223333";

const READ_REGISTRY: [&str; 10] = [
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:DescribeImageScanFindings",
    "ecr:DescribeImages",
    "ecr:DescribeRegistry",
    "ecr:DescribeRepositories",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "ecr:ListImages",
    "ecr:ListTagsForResource",
];

/// Asks for every action of a service on resources of the role's account, in a session of an administrator's role.
fn every_action(session_policy: &Value, region: &str, service: &str, resources: &Value) -> Value {
    json!({
        "principal": format!("arn:aws:sts::{ACCOUNT}:assumed-role/admin/verify-1"),
        "everyActionOf": service,
        "someResources": true,
        "resources": resources,
        "resourceAccount": ACCOUNT,
        "context": {"aws:RequestedRegion": region},
        "identityPolicies": [{
            "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        }],
        "sessionPolicy": session_policy,
    })
}

#[test]
fn even_an_administrators_role_opens_for_reading_only() {
    let mut oracle = match Oracle::start() {
        Ok(oracle) => oracle,
        Err(reason) => {
            println!("not run: the IAM simulator ({reason})");
            return;
        }
    };
    let role: RoleArn = format!("arn:aws:iam::{ACCOUNT}:role/admin").parse().unwrap();
    let (region, elsewhere) = ("eu-west-1", "us-east-1");
    let own: Region = region.parse().unwrap();
    let secret = format!("arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:own-a1B2c3");
    let read_secret = ["secretsmanager:GetSecretValue"];
    let nothing: &[&str] = &[];
    let names: &[&str] = &["ecr:DescribeRepositories"];
    for (purpose, registry, itself, own_secret) in [
        (Purpose::Registry, &READ_REGISTRY[..], nothing, nothing),
        (Purpose::Names, names, nothing, nothing),
        (Purpose::Proof, &READ_REGISTRY[..], &["iam:GetRole"][..], nothing),
        (
            Purpose::Credentials(secret.parse().unwrap()),
            nothing,
            nothing,
            &read_secret[..],
        ),
    ] {
        let registry_elsewhere = if purpose == Purpose::Names { names } else { nothing };
        let policy: Value = serde_json::from_str(&purpose.session_policy(&role, &own)).unwrap();
        let repository =
            |region: &str| json!({"repository": format!("arn:aws:ecr:{region}:{ACCOUNT}:repository/x")});
        let other_secret =
            json!({"Secret": format!("arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:x-a1B2c3")});
        let bucket = json!({"bucket": "arn:aws:s3:::b", "object": "arn:aws:s3:::b/o"});
        let asked: [(&str, &str, Value, &[&str]); 7] = [
            (region, "ecr", repository(region), registry),
            (elsewhere, "ecr", repository(elsewhere), registry_elsewhere),
            (region, "iam", json!({"role": role}), itself),
            (region, "iam", json!({"role": format!("{role}-2")}), nothing),
            (region, "secretsmanager", json!({"Secret": secret}), own_secret),
            (region, "secretsmanager", other_secret, nothing),
            (region, "s3", bucket, nothing),
        ];
        let requests: Vec<Value> = asked
            .iter()
            .map(|(region, service, resources, _)| every_action(&policy, region, service, resources))
            .collect();
        for ((region, service, resources, expected), allowed) in
            asked.iter().zip(oracle.judge::<Vec<String>>(&requests))
        {
            assert_eq!(
                &allowed, expected,
                "{purpose:?}: {service} on {resources} in {region}"
            );
        }
    }
}
