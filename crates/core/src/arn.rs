//! The ARNs of roles, which tenants type, and of secrets, which their stacks send: parsed strictly.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, Region};

/// The ARN of an IAM role, `arn:<partition>:iam::<account>:role/<path><name>`.
///
/// Source: IAM user guide, "IAM identifiers": names of up to 64 characters of `[\w+=,.@-]`, paths of up to 512.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleArn {
    text: String,
    account: AccountId,
}

/// Why a text is not a role's ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoleArnError {
    /// The text does not have the six parts of an ARN.
    #[error("an ARN starts with arn: and has six parts between colons")]
    Shape,
    /// The partition is none that AWS has.
    #[error("the partition is none of aws, aws-cn and aws-us-gov")]
    Partition,
    /// The service is not IAM, or there is a region.
    #[error("a role's ARN has the service iam and no region")]
    Service,
    /// The account is not 12 digits.
    #[error("the account is not 12 digits")]
    Account,
    /// The resource is a user, a group, the root user or a wildcard.
    #[error("the resource is not a role")]
    NotARole,
    /// The role's path or name has characters or a length that IAM does not allow.
    #[error("the role's name has characters or a length that IAM does not allow")]
    Name,
}

impl RoleArn {
    /// Returns the ARN as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the account that the role lies in.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// Returns the partition: `aws`, `aws-cn` or `aws-us-gov`.
    pub fn partition(&self) -> &str {
        self.text.split(':').nth(1).unwrap_or_default()
    }

    /// Returns the role's name without its path.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for RoleArn {
    type Err = RoleArnError;

    fn from_str(text: &str) -> Result<Self, RoleArnError> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, service, region, account, resource] = parts[..] else {
            return Err(RoleArnError::Shape);
        };
        if !["aws", "aws-cn", "aws-us-gov"].contains(&partition) {
            return Err(RoleArnError::Partition);
        }
        if service != "iam" || !region.is_empty() {
            return Err(RoleArnError::Service);
        }
        let account = account.parse().map_err(|_| RoleArnError::Account)?;
        let path_and_name = resource.strip_prefix("role/").ok_or(RoleArnError::NotARole)?;
        let (path, name) = path_and_name.rsplit_once('/').unwrap_or(("", path_and_name));
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
        let path_is_valid = path.len() <= 512
            && path
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'*' && b != b'?');
        let name_is_valid = (1..=64).contains(&name.len()) && name.bytes().all(is_word);
        if !path_is_valid || !name_is_valid {
            return Err(RoleArnError::Name);
        }
        Ok(Self {
            text: text.to_owned(),
            account,
        })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for RoleArn {
    type Error = RoleArnError;

    fn try_from(text: String) -> Result<Self, RoleArnError> {
        text.parse()
    }
}

impl From<RoleArn> for String {
    fn from(arn: RoleArn) -> Self {
        arn.text
    }
}

/// The ARN of a Secrets Manager secret, `arn:<partition>:secretsmanager:<region>:<account>:secret:<name>`.
///
/// Source: Secrets Manager user guide, "Secret name": names of up to 512 characters of `[\w/+=.@-]`, and AWS adds a
/// hyphen and six more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretArn {
    text: String,
    account: AccountId,
    region: Region,
}

/// A text is not a secret's ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the ARN of a secret in Secrets Manager")]
pub struct SecretArnError;

impl SecretArn {
    /// Returns the ARN as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether the secret lies beside the role, in that region of its account: another one is never read.
    pub fn is_beside(&self, role: &RoleArn, region: &Region) -> bool {
        self.account == role.account && self.region == *region
    }
}

impl FromStr for SecretArn {
    type Err = SecretArnError;

    fn from_str(text: &str) -> Result<Self, SecretArnError> {
        let parts: Vec<&str> = text.split(':').collect();
        let [
            "arn",
            partition,
            "secretsmanager",
            region,
            account,
            "secret",
            name,
        ] = parts[..]
        else {
            return Err(SecretArnError);
        };
        let region: Region = region.parse().map_err(|_| SecretArnError)?;
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b"_/+=.@-".contains(&b);
        let is_valid =
            partition == region.partition() && (1..=519).contains(&name.len()) && name.bytes().all(is_word);
        if !is_valid {
            return Err(SecretArnError);
        }
        Ok(Self {
            text: text.to_owned(),
            account: account.parse().map_err(|_| SecretArnError)?,
            region,
        })
    }
}

impl TryFrom<String> for SecretArn {
    type Error = SecretArnError;

    fn try_from(text: String) -> Result<Self, SecretArnError> {
        text.parse()
    }
}

impl From<SecretArn> for String {
    fn from(arn: SecretArn) -> Self {
        arn.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_roles_with_and_without_a_path() {
        let arn: RoleArn = "arn:aws:iam::111122223333:role/service/portwarden-Role-1X"
            .parse()
            .unwrap();
        assert_eq!(arn.account().as_str(), "111122223333");
        assert_eq!((arn.partition(), arn.name()), ("aws", "portwarden-Role-1X"));
        let china: RoleArn = "arn:aws-cn:iam::111122223333:role/r".parse().unwrap();
        assert_eq!(china.partition(), "aws-cn");
    }

    #[test]
    fn refuses_hostile_texts_by_name() {
        let long = format!("arn:aws:iam::111122223333:role/{}", "a".repeat(2048));
        for (text, error) in [
            ("", RoleArnError::Shape),
            (" arn:aws:iam::111122223333:role/r", RoleArnError::Shape),
            ("arn:aws:iam::111122223333:role/r:x", RoleArnError::Shape),
            ("arn:aws-evil:iam::111122223333:role/r", RoleArnError::Partition),
            (
                "arn:aws:sts::111122223333:assumed-role/r/s",
                RoleArnError::Service,
            ),
            ("arn:aws:iam:us-east-1:111122223333:role/r", RoleArnError::Service),
            ("arn:aws:iam::11112222333:role/r", RoleArnError::Account),
            (
                "arn:aws:iam::１１１１２２２２３３３３:role/r",
                RoleArnError::Account,
            ),
            ("arn:aws:iam::*:role/r", RoleArnError::Account),
            ("arn:aws:iam::111122223333:root", RoleArnError::NotARole),
            ("arn:aws:iam::111122223333:user/u", RoleArnError::NotARole),
            ("arn:aws:iam::111122223333:role/", RoleArnError::Name),
            ("arn:aws:iam::111122223333:role/*", RoleArnError::Name),
            ("arn:aws:iam::111122223333:role/a*/r", RoleArnError::Name),
            ("arn:aws:iam::111122223333:role/r r", RoleArnError::Name),
            ("arn:aws:iam::111122223333:role/r\r\n", RoleArnError::Name),
            ("arn:aws:iam::111122223333:role/r\0", RoleArnError::Name),
            (long.as_str(), RoleArnError::Name),
        ] {
            assert_eq!(text.parse::<RoleArn>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn secrets_are_read_strictly_and_lie_beside_their_role() {
        const SECRET: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:Stack-Secret-a1B2c3";
        let secret: SecretArn = SECRET.parse().unwrap();
        let role: RoleArn = "arn:aws:iam::111122223333:role/r".parse().unwrap();
        let elsewhere: RoleArn = "arn:aws:iam::444455556666:role/r".parse().unwrap();
        let region: Region = "eu-west-1".parse().unwrap();
        assert!(secret.is_beside(&role, &region));
        assert!(!secret.is_beside(&elsewhere, &region));
        assert!(!secret.is_beside(&role, &"us-east-1".parse().unwrap()));
        for wrong in [
            "",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:*",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a?",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a:b",
            "arn:aws:secretsmanager:eu-west-1:*:secret:a",
            "arn:aws:secretsmanager:*:111122223333:secret:a",
            "arn:aws-cn:secretsmanager:eu-west-1:111122223333:secret:a",
            "arn:aws:ssm:eu-west-1:111122223333:secret:a",
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a\r\nb",
        ] {
            assert_eq!(wrong.parse::<SecretArn>(), Err(SecretArnError), "{wrong:?}");
        }
    }
}
