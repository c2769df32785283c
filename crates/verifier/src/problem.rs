//! What a person is told when a probe fails: the code, the cause, and the fix, ready to paste.

use portwarden_core::{
    arn::{RoleArn, RoleArnError},
    id::{AccountId, ExternalId, Region},
    problem::Problem,
};
use serde_json::json;

/// What the sentences speak of.
pub(crate) struct Subject<'a> {
    pub(crate) role: &'a RoleArn,
    pub(crate) external_id: &'a ExternalId,
    pub(crate) region: &'a Region,
    pub(crate) connector: &'a RoleArn,
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

    pub(crate) fn other_partition(&self) -> Problem {
        let message = format!(
            "the role is in the partition {}, where we are not",
            self.role.partition()
        );
        let fix = format!("name a role in the partition {}", self.connector.partition());
        Problem::new("role_partition", message, fix)
    }

    pub(crate) fn other_account(&self, account: &AccountId) -> Problem {
        let message = format!(
            "the integration belongs to account {account}, and the role lies in {}",
            self.role.account()
        );
        Problem::new(
            "role_of_other_account",
            message,
            format!("name a role in account {account}, or make a new integration for the other account"),
        )
    }

    /// One sentence for a missing role, a wrong ExternalId and a wrong principal: STS does not tell them apart, and
    /// whoever asks about a role that is not theirs must learn nothing.
    pub(crate) fn not_assumable(&self) -> Problem {
        let message = "the role does not open for us with this integration's ExternalId: it is missing, it trusts \
                       somebody else, or it demands another ExternalId";
        let fix = format!(
            "check that the ARN is the stack's output AssumeRoleArn and that the stack's parameter ExternalId is {}; \
             to mend the role by hand: {}",
            self.external_id,
            self.trust_policy()
        );
        Problem::new("role_not_assumable", message, fix)
    }

    pub(crate) fn region_disabled(&self) -> Problem {
        let message = format!("the account has no active STS endpoint in {}", self.region);
        let fix = format!(
            "activate {} under Account settings, \"Endpoints\", of the IAM console, or connect another region",
            self.region
        );
        Problem::new("sts_region_inactive", message, fix)
    }

    pub(crate) fn opens_without_external_id(&self) -> Problem {
        let message =
            "the role opens for us without an ExternalId, so another customer of ours could have us use it";
        let fix = format!("demand the ExternalId with StringEquals: {}", self.trust_policy());
        Problem::new("trust_without_external_id", message, fix)
    }

    pub(crate) fn opens_with_other_external_id(&self) -> Problem {
        let message = "the role opens for us with an ExternalId that is not this integration's, so another customer \
                       of ours could have us use it";
        let fix = format!(
            "demand exactly this ExternalId with StringEquals: {}",
            self.trust_policy()
        );
        Problem::new("trust_with_other_external_id", message, fix)
    }

    pub(crate) fn action_denied(&self, action: &'static str) -> Problem {
        let region_and_account = format!("{}:{}", self.region, self.role.account());
        let resource = match action {
            "ecr:GetAuthorizationToken" => "*".to_owned(),
            _ => format!(
                "arn:{}:ecr:{region_and_account}:repository/*",
                self.role.partition()
            ),
        };
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}],
        });
        let message = format!(
            "the role may not call {action} in {}: its policy lacks it, or a service control policy denies it",
            self.region
        );
        let fix = format!(
            "update the stack to the current template, or: aws iam put-role-policy --role-name {} --policy-name \
             {} --policy-document '{policy}'",
            self.role.name(),
            action.replace(':', "-"),
        );
        Problem::new(denied_code(action), message, fix)
    }

    pub(crate) fn event_path_unproven(&self) -> Problem {
        Problem::new(
            "event_path_unproven",
            format!("no event has come from {} yet", self.region),
            "push any image to a repository in the region; if it does not appear within a minute, check Url, Username \
             and Password of the stack",
        )
    }
}

pub(crate) fn our_account() -> Problem {
    Problem::new(
        "role_in_our_account",
        "the role lies in the account that Portwarden itself runs in",
        "connect an account of your own; the operator's registries are watched without any of this",
    )
}

pub(crate) fn taken() -> Problem {
    Problem::new(
        "role_taken",
        "another integration has this role",
        "create a stack of its own for this integration, and name the role that it outputs",
    )
}

pub(crate) fn session_of_other_account() -> Problem {
    Problem::new(
        "session_of_other_account",
        "the session that the role opened belongs to another account than the role's ARN",
        "report this to the operator; the role is not used",
    )
}

pub(crate) fn canary_closed() -> Problem {
    Problem::new(
        "canary_refused",
        "our own canary role did not open without an ExternalId, so a refusal by the role proves nothing",
        "the operator checks the policy of the connector role and the canary role; then test again",
    )
}

pub(crate) fn connector_closed() -> Problem {
    Problem::new(
        "connector_refused",
        "our own connector role could not be assumed, so nothing is known of the role",
        "the operator checks the trust policy of the connector role; then test again",
    )
}

pub(crate) fn session_expired() -> Problem {
    Problem::new(
        "session_ended",
        "the session ended while it was tested",
        "test again; if this repeats, a policy of the account revokes sessions of the role",
    )
}

pub(crate) fn busy(service: &'static str) -> Problem {
    let message = format!("{service} was too busy or out of reach, so this could not be found out");
    Problem::new(
        "not_found_out",
        message,
        "test again in a minute; nothing was changed",
    )
}

/// Tells how a text fails to be a role's ARN.
pub fn malformed_arn(error: RoleArnError) -> Problem {
    Problem::new(
        "role_arn_malformed",
        error.to_string(),
        "copy the output AssumeRoleArn of the stack; it looks like arn:aws:iam::123456789012:role/name",
    )
}

/// A code for each action, so that alarms and pages can name it.
fn denied_code(action: &str) -> &'static str {
    match action {
        "ecr:GetAuthorizationToken" => "ecr_get_authorization_token_denied",
        "ecr:DescribeRepositories" => "ecr_describe_repositories_denied",
        "ecr:DescribeImages" => "ecr_describe_images_denied",
        "ecr:ListImages" => "ecr_list_images_denied",
        "ecr:BatchGetImage" => "ecr_batch_get_image_denied",
        "ecr:GetDownloadUrlForLayer" => "ecr_get_download_url_for_layer_denied",
        "ecr:BatchCheckLayerAvailability" => "ecr_batch_check_layer_availability_denied",
        _ => "ecr_denied",
    }
}
