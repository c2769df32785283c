//! What a person is told when a probe does not pass: the code, the cause, and the fix, ready to paste.

use jiff::Timestamp;
use portwarden_core::{
    arn::RoleArn,
    id::{AccountId, ExternalId, Region},
    integration::silent,
    problem::Problem,
    verdict::NOT_ASSUMABLE,
};
use serde_json::json;

use crate::trust_policy::TooWide;

/// Why a probe did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The role lies in another partition.
    OtherPartition,
    /// The role lies in the account that we run in.
    OurAccount,
    /// The integration belongs to another account than the role's.
    OtherAccount(AccountId),
    /// Another integration has the role.
    Taken,
    /// STS refuses the role that a stack made just now.
    NotPropagated,
    /// STS refuses the role with the right ExternalId.
    NotAssumable,
    /// STS refuses the role, whose stack says that it demands this other ExternalId.
    OtherExternalId(ExternalId),
    /// The account has switched off STS in the region.
    RegionDisabled,
    /// The session belongs to another account than the role's ARN.
    SessionOfOtherAccount,
    /// Our canary role is closed, so that a refusal proves nothing.
    CanaryClosed,
    /// Our connector role is closed.
    ConnectorClosed,
    /// The role opens without an ExternalId.
    OpensWithoutExternalId,
    /// The role opens with another ExternalId.
    OpensWithOtherExternalId,
    /// The role's trust policy is not as the template's.
    TrustPolicy(TooWide),
    /// The role may not read its own trust policy.
    TrustPolicyDenied,
    /// The stack's secret lies in another account or region than its role.
    SecretElsewhere,
    /// The role may not read the stack's secret.
    SecretDenied,
    /// The stack's secret holds no user name and password.
    SecretMalformed,
    /// The role may not do what a scan needs.
    ActionDenied(&'static str),
    /// A policy of the account's organisation denies what a scan needs.
    ActionDeniedByOrganization(&'static str),
    /// A key of KMS that encrypts a repository is closed to the role.
    KeyClosed,
    /// No event has come yet.
    EventPathUnproven,
    /// No event has come for longer than two heartbeats take.
    EventPathSilent {
        /// When the last one came.
        last: Timestamp,
    },
    /// The stack sends events with other credentials than the integration's.
    CredentialsWrong,
    /// The stack is older than what we need.
    TemplateOutdated {
        /// The version that it has.
        has: String,
        /// The oldest one that will do.
        needs: u32,
    },
    /// A service is asked too much.
    Throttled(Service),
    /// A service did not answer.
    Unreachable(Service),
    /// The session ended while it was tested.
    SessionEnded,
}

/// A service that a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// STS.
    Sts,
    /// IAM.
    Iam,
    /// Amazon ECR.
    Ecr,
    /// Secrets Manager.
    SecretsManager,
}

/// What the sentences speak of.
pub struct Subject<'a> {
    /// The role.
    pub role: &'a RoleArn,
    /// The ExternalId of the integration.
    pub external_id: &'a ExternalId,
    /// The region of the connection.
    pub region: &'a Region,
    /// Our connector role.
    pub connector: &'a RoleArn,
}

impl Cause {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherPartition => "role_partition",
            Self::OurAccount => "role_in_our_account",
            Self::OtherAccount(_) => "role_of_other_account",
            Self::Taken => "role_taken",
            Self::NotPropagated => "role_not_propagated",
            Self::NotAssumable => NOT_ASSUMABLE,
            Self::OtherExternalId(_) => "role_other_external_id",
            Self::RegionDisabled => "sts_region_inactive",
            Self::SessionOfOtherAccount => "session_of_other_account",
            Self::CanaryClosed => "canary_refused",
            Self::ConnectorClosed => "connector_refused",
            Self::OpensWithoutExternalId => "trust_without_external_id",
            Self::OpensWithOtherExternalId => "trust_with_other_external_id",
            Self::TrustPolicy(TooWide::Principal) => "trust_principal_wide",
            Self::TrustPolicy(TooWide::Others) => "trust_names_others",
            Self::TrustPolicy(TooWide::Condition) => "trust_condition_wide",
            Self::TrustPolicy(TooWide::OtherIds) => "trust_names_other_external_ids",
            Self::TrustPolicy(TooWide::Unreadable) => "trust_policy_malformed",
            Self::TrustPolicyDenied => "trust_policy_denied",
            Self::SecretElsewhere => "secret_elsewhere",
            Self::SecretDenied => "secret_denied",
            Self::SecretMalformed => "secret_malformed",
            Self::ActionDenied(action) => denied_code(action),
            Self::ActionDeniedByOrganization(_) => "ecr_denied_by_organization",
            Self::KeyClosed => "kms_key_closed",
            Self::EventPathUnproven => "event_path_unproven",
            Self::EventPathSilent { .. } => "event_path_silent",
            Self::CredentialsWrong => "credentials_wrong",
            Self::TemplateOutdated { .. } => "template_outdated",
            Self::Throttled(_) => "throttled",
            Self::Unreachable(_) => "unreachable",
            Self::SessionEnded => "session_ended",
        }
    }

    /// Tells whether the same test may pass later though nobody mends anything, so that it is made again by itself.
    pub fn may_pass_by_itself(code: &str) -> bool {
        [
            "role_not_propagated",
            "canary_refused",
            "connector_refused",
            "throttled",
            "unreachable",
            "session_ended",
        ]
        .contains(&code)
    }

    /// Says it to a person.
    pub fn tell(&self, subject: &Subject<'_>) -> Problem {
        Problem::new(self.code(), self.message(subject), self.fix(subject))
    }

    fn message(&self, subject: &Subject<'_>) -> String {
        let Subject { role, region, .. } = subject;
        match self {
            Self::OtherPartition => {
                format!("the role is in the partition {}, where we are not", role.partition())
            }
            Self::OurAccount => "the role lies in the account that Portwarden itself runs in".to_owned(),
            Self::OtherAccount(account) => format!(
                "the integration belongs to account {account}, and the role lies in {}",
                role.account()
            ),
            Self::Taken => "another integration has this role".to_owned(),
            Self::NotPropagated => {
                "the stack says that its role is made, and AWS does not open it yet: a new role takes a minute or two"
                    .to_owned()
            }
            // One sentence for a missing role, a wrong ExternalId and a wrong principal: STS does not tell them apart, and
            // whoever asks about a role that is not theirs must learn nothing.
            Self::NotAssumable => "the role does not open for us with this integration's ExternalId: it is missing, it \
                                   trusts somebody else, or it demands another ExternalId"
                .to_owned(),
            Self::OtherExternalId(other) => format!(
                "the role does not open for us, and its stack has the ExternalId {other}, which is not this integration's"
            ),
            Self::RegionDisabled => format!("the account has no active STS endpoint in {region}"),
            Self::SessionOfOtherAccount => {
                "the session that the role opened belongs to another account than the role's ARN".to_owned()
            }
            Self::CanaryClosed => "our own canary role did not open without an ExternalId, so a refusal by the role \
                                   proves nothing"
                .to_owned(),
            Self::ConnectorClosed => {
                "our own connector role could not be assumed, so nothing is known of the role".to_owned()
            }
            Self::OpensWithoutExternalId => "the role opens for us without an ExternalId, so another customer of ours \
                                             could have us use it"
                .to_owned(),
            Self::OpensWithOtherExternalId => "the role opens for us with an ExternalId that is not this integration's, \
                                               so another customer of ours could have us use it"
                .to_owned(),
            Self::TrustPolicy(wide) => match wide {
                TooWide::Principal => "the role's trust policy names everybody, or an account as a whole",
                TooWide::Others => "the role's trust policy names others beside Portwarden's connector role",
                TooWide::Condition => "the role's trust policy does not demand the ExternalId with StringEquals",
                TooWide::OtherIds => "the role's trust policy accepts other ExternalIds beside this integration's",
                TooWide::Unreadable => "the role's trust policy cannot be read",
            }
            .to_owned(),
            Self::TrustPolicyDenied => "the role may not read its own trust policy, so a second ExternalId or principal \
                                        in it would not be seen"
                .to_owned(),
            Self::SecretElsewhere => {
                "the stack names a secret of another account or region than its role, which is not read".to_owned()
            }
            Self::SecretDenied => {
                "the role may not read the secret in which its stack keeps the endpoint's password".to_owned()
            }
            Self::SecretMalformed => "the stack's secret is missing, or holds no user name and password of at least 24 \
                                      characters"
                .to_owned(),
            Self::ActionDenied(action) => {
                format!("the role may not call {action} in {region}: its policy lacks it")
            }
            Self::ActionDeniedByOrganization(action) => {
                format!("a policy of the account's organization denies {action} in {region}")
            }
            Self::KeyClosed => "the role may not use the KMS key that encrypts a repository".to_owned(),
            Self::EventPathUnproven => format!("no event has come from {region} yet"),
            Self::EventPathSilent { last } => silent(region, *last).message,
            Self::CredentialsWrong => {
                "events come with another user name or password than the integration's".to_owned()
            }
            Self::TemplateOutdated { has, needs } => {
                format!("the stack has version {has} of the template, and version {needs} or newer is needed")
            }
            Self::Throttled(service) => {
                format!("{} is asked too much, so this could not be found out", service.name())
            }
            Self::Unreachable(service) => {
                format!("{} did not answer, so this could not be found out", service.name())
            }
            Self::SessionEnded => "the session ended while it was tested".to_owned(),
        }
    }

    fn fix(&self, subject: &Subject<'_>) -> String {
        const OPERATOR: &str = "; then test again";
        const WAIT: &str = "nothing: it is tested again by itself";
        let Subject {
            role,
            external_id,
            region,
            connector,
        } = subject;
        match self {
            Self::OtherPartition => format!("name a role in the partition {}", connector.partition()),
            Self::OurAccount => "connect an account of your own; the operator's registries are watched without any of \
                                 this"
                .to_owned(),
            Self::OtherAccount(account) => {
                format!("name a role in account {account}, or make a new integration for the other account")
            }
            Self::Taken => {
                "create a stack of its own for this integration, and name the role that it outputs".to_owned()
            }
            Self::NotPropagated | Self::Throttled(_) | Self::Unreachable(_) => WAIT.to_owned(),
            Self::NotAssumable => format!(
                "check that the ARN is the stack's output AssumeRoleArn and that the stack's parameter ExternalId is \
                 {external_id}; to mend the role by hand: {}",
                subject.trust_policy()
            ),
            Self::OtherExternalId(_) => {
                format!("update the stack with {external_id} as its parameter ExternalId, and keep the others")
            }
            Self::RegionDisabled => format!(
                "activate {region} under Account settings, \"Endpoints\", of the IAM console, or connect another region"
            ),
            Self::SessionOfOtherAccount => "report this to the operator; the role is not used".to_owned(),
            Self::CanaryClosed => {
                format!("the operator checks the policy of the connector role and the canary role{OPERATOR}")
            }
            Self::ConnectorClosed => {
                format!("the operator checks the trust policy of the connector role{OPERATOR}")
            }
            Self::OpensWithoutExternalId
            | Self::OpensWithOtherExternalId
            | Self::TrustPolicy(_) => format!(
                "let the role trust the connector role alone, with exactly this ExternalId: {}",
                subject.trust_policy()
            ),
            Self::TrustPolicyDenied => {
                format!("update the stack to the current template, or: {}", subject.allow("iam:GetRole", role.as_str()))
            }
            Self::SecretElsewhere | Self::SecretMalformed => {
                "update the stack with the current template and a higher CredentialGeneration".to_owned()
            }
            Self::SecretDenied => "update the stack to the current template; its policy lets the role read this one \
                                   secret"
                .to_owned(),
            Self::ActionDenied(action) => {
                let resource = match *action {
                    "ecr:GetAuthorizationToken" => "*".to_owned(),
                    _ => subject.repositories(),
                };
                format!("update the stack to the current template, or: {}", subject.allow(action, &resource))
            }
            Self::ActionDeniedByOrganization(action) => format!(
                "the organization's administrator exempts the role {role} from the service control policy that denies \
                 {action} in {region}, or the region is removed from the integration"
            ),
            Self::KeyClosed => format!(
                "add to the key's policy: {}",
                json!({"Effect": "Allow", "Principal": {"AWS": role}, "Action": "kms:Decrypt", "Resource": "*"})
            ),
            Self::EventPathUnproven => "wait for the stack's next heartbeat, or push any image in the region; if nothing \
                                        comes, check Url, Username and Password of the stack"
                .to_owned(),
            Self::EventPathSilent { last } => silent(region, *last).fix,
            Self::CredentialsWrong => "update the stack with the user name and password of the integration; if they are \
                                       lost, make a new integration"
                .to_owned(),
            Self::TemplateOutdated { .. } => {
                "update the stack with the current template; all parameters keep their values".to_owned()
            }
            Self::SessionEnded => {
                "nothing: it is tested again by itself; if this repeats, a policy of the account revokes the role's \
                 sessions"
                    .to_owned()
            }
        }
    }
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Sts => "STS",
            Self::Iam => "IAM",
            Self::Ecr => "Amazon ECR",
            Self::SecretsManager => "Secrets Manager",
        }
    }
}

impl Subject<'_> {
    fn trust_policy(&self) -> String {
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"AWS": self.connector},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": self.external_id}},
            }],
        });
        format!(
            "aws iam update-assume-role-policy --role-name {} --policy-document '{policy}'",
            self.role.name()
        )
    }

    fn allow(&self, action: &str, resource: &str) -> String {
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}],
        });
        format!(
            "aws iam put-role-policy --role-name {} --policy-name {} --policy-document '{policy}'",
            self.role.name(),
            action.replace(':', "-"),
        )
    }

    fn repositories(&self) -> String {
        format!(
            "arn:{}:ecr:{}:{}:repository/*",
            self.role.partition(),
            self.region,
            self.role.account()
        )
    }
}

/// The actions that a scan or an inventory needs, each with a code of its own, so that alarms and pages can name it.
const DENIED: [(&str, &str); 7] = [
    ("ecr:GetAuthorizationToken", "ecr_get_authorization_token_denied"),
    ("ecr:DescribeRepositories", "ecr_describe_repositories_denied"),
    ("ecr:DescribeImages", "ecr_describe_images_denied"),
    ("ecr:ListImages", "ecr_list_images_denied"),
    ("ecr:BatchGetImage", "ecr_batch_get_image_denied"),
    (
        "ecr:GetDownloadUrlForLayer",
        "ecr_get_download_url_for_layer_denied",
    ),
    (
        "ecr:BatchCheckLayerAvailability",
        "ecr_batch_check_layer_availability_denied",
    ),
];

fn denied_code(action: &str) -> &'static str {
    let known = DENIED.iter().find(|(known, _)| *known == action);
    known.map_or("ecr_denied", |(_, code)| code)
}

#[cfg(test)]
mod tests;
