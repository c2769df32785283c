//! The `CloudFormation` template by which a tenant connects an account.

pub mod launch;
pub mod publication;

use portwarden_oci::Digest;

use crate::{arn::RoleArn, id::Region};

/// The template as it is kept; the connector role's ARN is the one thing that differs between deployments.
const TEMPLATE: &str = include_str!("../../templates/ecr-integration.yaml");

/// The version of the template, which its stacks say and its published copies are named by.
pub const VERSION: &str = "4";

/// The oldest version of the template that will do: stacks of older ones are to be updated.
pub const OLDEST_SERVED: u32 = 1;

const CONNECTOR_ROLE: &str = "__CONNECTOR_ROLE_ARN__";

/// Writes the template for a deployment.
///
/// The connector role is no parameter of the template, so that no tenant can mistype, or be talked into, another one.
pub fn render(connector_role: &RoleArn) -> String {
    TEMPLATE.replace(CONNECTOR_ROLE, connector_role.as_str())
}

/// The parameters of a stack but the generation of its credentials: what an update does not name goes back to its default.
const KEPT: [&str; 8] = [
    "TenantName",
    "Url",
    "ExternalId",
    "Username",
    "Password",
    "Repositories",
    "HeartbeatMinutes",
    "AlarmTopicArn",
];

/// Writes the command by which a tenant has the stack of a region make credentials of another generation.
pub fn update_command(region: &Region, generation: u32) -> String {
    let kept = KEPT.map(|name| format!("ParameterKey={name},UsePreviousValue=true"));
    format!(
        "aws cloudformation update-stack --region {region} --stack-name {} --use-previous-template --capabilities \
         CAPABILITY_IAM --parameters ParameterKey=CredentialGeneration,ParameterValue={generation} {}",
        launch::STACK_NAME,
        kept.join(" ")
    )
}

/// Returns the SHA-256 of the template as it is kept, in hexadecimal digits: what tells two builds apart.
pub fn source_sha256() -> String {
    Digest::of(TEMPLATE.as_bytes()).hex()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::session::Purpose;

    #[test]
    fn sessions_may_do_what_the_role_may_and_the_other_way_round() {
        let role = "arn:aws:iam::111122223333:role/r".parse().unwrap();
        let secret = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:s-a1B2c3".parse();
        let purposes = [
            Purpose::Registry,
            Purpose::Names,
            Purpose::Proof,
            Purpose::Credentials(secret.unwrap()),
        ];
        let sessions = purposes.map(|purpose| {
            let policy = purpose.session_policy(&role, &"eu-central-1".parse().unwrap());
            serde_json::from_str::<serde_json::Value>(&policy).unwrap()
        });
        let statements = sessions
            .iter()
            .flat_map(|session| session["Statement"].as_array().unwrap());
        let actions = statements.flat_map(|statement| match &statement["Action"] {
            serde_json::Value::Array(actions) => actions.iter().collect(),
            action => vec![action],
        });
        let wanted: BTreeSet<&str> = actions.map(|action| action.as_str().unwrap()).collect();
        let (_, policy) = TEMPLATE.split_once("\n  RolePolicy:\n").unwrap();
        let (policy, _) = policy.split_once("\n  # ----").unwrap();
        let words = policy
            .lines()
            .filter_map(|line| line.trim().trim_start_matches("- ").split(' ').next_back());
        let services = ["ecr:", "iam:", "secretsmanager:"];
        let granted: BTreeSet<&str> = words
            .filter(|word| services.iter().any(|service| word.starts_with(service)))
            .collect();
        assert_eq!(granted, wanted);
    }

    #[test]
    fn the_template_says_its_version() {
        assert!(TEMPLATE.contains(&format!("\n      Version: '{VERSION}'\n")));
    }

    #[test]
    fn the_trust_names_the_connector_role_and_nobody_else() {
        let role: RoleArn = "arn:aws:iam::999988887777:role/portwarden-connector"
            .parse()
            .unwrap();
        assert_eq!(
            TEMPLATE.matches(CONNECTOR_ROLE).count(),
            1,
            "one principal, in one place"
        );
        let rendered = render(&role);
        let trust = rendered
            .split("AssumeRolePolicyDocument:")
            .nth(1)
            .unwrap()
            .split("RolePolicy:")
            .next()
            .unwrap();
        assert!(trust.contains(&format!("AWS: {role}\n")), "{trust}");
        assert!(trust.contains("sts:ExternalId: !Ref ExternalId"), "{trust}");
        assert!(!rendered.contains("__"), "a marker is left");
    }

    #[test]
    fn an_update_keeps_every_other_parameter_of_the_template() {
        let connector = "arn:aws:iam::999988887777:role/portwarden-connector"
            .parse()
            .unwrap();
        let template = render(&connector);
        let parameters = template.split("\nParameters:\n").nth(1).unwrap();
        let parameters = parameters.split("\n\n").next().unwrap();
        let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
        let names: Vec<&str> = parameters
            .lines()
            .filter(is_name)
            .map(|line| line.trim().trim_end_matches(':'))
            .filter(|name| *name != "CredentialGeneration")
            .collect();
        assert_eq!(names, KEPT);
    }
}
