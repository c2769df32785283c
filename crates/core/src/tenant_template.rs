//! The `CloudFormation` template by which a tenant connects an account.

use crate::arn::RoleArn;

/// The template as it is kept; the connector role's ARN is the one thing that differs between deployments.
const TEMPLATE: &str = include_str!("../templates/ecr-integration.yaml");

/// The oldest version of the template that will do: stacks of older ones are to be updated.
pub const OLDEST_SERVED: u32 = 1;

const CONNECTOR_ROLE: &str = "__CONNECTOR_ROLE_ARN__";

/// Writes the template for a deployment.
///
/// The connector role is no parameter of the template, so that no tenant can mistype, or be talked into, another one.
pub fn render(connector_role: &RoleArn) -> String {
    TEMPLATE.replace(CONNECTOR_ROLE, connector_role.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
