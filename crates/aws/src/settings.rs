use std::{
    collections::HashMap,
    fmt::{self, Display},
    str::FromStr,
};

/// Reads settings out of environment variables, and remembers everything that is wrong with them.
///
/// ```
/// # use portwarden_aws::{Settings, SettingsError};
/// struct Config {
///     table: String,
///     attempts: Option<u8>,
/// }
///
/// fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Config, SettingsError> {
///     let mut settings = Settings::from_vars(vars);
///     let table = settings.required("TABLE_NAME");
///     let attempts = settings.optional("ATTEMPTS");
///     settings.finish(|| Some(Config { table: table?, attempts }))
/// }
///
/// let error = from_vars([("ATTEMPTS".into(), "many".into())]).err();
/// assert_eq!(
///     error.map(|error| error.to_string()),
///     Some("TABLE_NAME is missing; ATTEMPTS is invalid: invalid digit found in string".into()),
/// );
/// ```
#[derive(Debug)]
pub struct Settings {
    vars: HashMap<String, String>,
    problems: Vec<SettingProblem>,
}

/// What is wrong with one setting; never shows its value, which may be a secret in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingProblem {
    /// It is not set, or empty.
    #[error("{name} is missing")]
    Missing {
        /// The variable.
        name: &'static str,
    },
    /// It cannot be read.
    #[error("{name} is invalid: {reason}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What its parser said.
        reason: String,
    },
}

/// Everything that is wrong with the settings, in the order of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// The problems.
    pub problems: Vec<SettingProblem>,
}

impl Settings {
    /// Takes environment variables; `std::env::vars()` in a function.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            vars: vars.into_iter().collect(),
            problems: Vec::new(),
        }
    }

    /// Reads a setting that must be there; `None` is remembered as a problem.
    pub fn required<T>(&mut self, name: &'static str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        if self.text(name).is_none() {
            self.problems.push(SettingProblem::Missing { name });
        }
        self.optional(name)
    }

    /// Reads a setting that may be missing or empty; one that cannot be read is remembered as a problem.
    pub fn optional<T>(&mut self, name: &'static str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        match self.text(name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let reason = T::Err::to_string(&error);
                self.problems.push(SettingProblem::Invalid { name, reason });
                None
            }
        }
    }

    /// Builds what was read, or reports all problems together.
    pub fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, SettingsError> {
        match build() {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(SettingsError {
                problems: self.problems,
            }),
        }
    }

    /// CloudFormation writes a parameter that is not given as an empty text.
    fn text(&self, name: &str) -> Option<&str> {
        self.vars
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use portwarden_core::{arn::RoleArn, id::Region};

    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<(Region, RoleArn, Option<u16>), SettingsError> {
        let vars = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = Settings::from_vars(vars);
        let region = settings.required("AWS_REGION");
        let role = settings.required("ROLE");
        let number = settings.optional("NUMBER");
        settings.finish(|| Some((region?, role?, number)))
    }

    const ROLE: (&str, &str) = ("ROLE", "arn:aws:iam::111122223333:role/r");

    #[test]
    fn settings_are_parsed() {
        let expected = ("eu-west-1".parse().unwrap(), ROLE.1.parse().unwrap(), Some(7));
        assert_eq!(
            read(&[("AWS_REGION", "eu-west-1"), ROLE, ("NUMBER", "7")]),
            Ok(expected)
        );
        let without = read(&[("AWS_REGION", "eu-west-1"), ROLE, ("NUMBER", "")]).unwrap();
        assert_eq!(without.2, None);
    }

    #[test]
    fn all_problems_are_in_one_report() {
        let invalid = |name, reason: &str| SettingProblem::Invalid {
            name,
            reason: reason.to_owned(),
        };
        assert_eq!(
            read(&[("AWS_REGION", ""), ("ROLE", "hunter2"), ("NUMBER", "70000")])
                .unwrap_err()
                .problems,
            [
                SettingProblem::Missing { name: "AWS_REGION" },
                invalid("ROLE", "an ARN starts with arn: and has six parts between colons"),
                invalid("NUMBER", "number too large to fit in target type"),
            ]
        );
    }

    #[test]
    fn a_bad_optional_setting_is_no_missing_one() {
        let error = read(&[("AWS_REGION", "eu-west-1"), ROLE, ("NUMBER", "x")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "NUMBER is invalid: invalid digit found in string"
        );
    }

    #[test]
    fn values_are_not_shown() {
        let error = read(&[("ROLE", "hunter2")]).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}
