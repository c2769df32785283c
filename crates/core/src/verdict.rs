//! What a test of a connection found: one probe after the other, each with cause and fix.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{id::RequestId, problem::Problem};

/// The outcome of testing one region's connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// When the test began: of what has come since, nothing need be in it.
    pub at: Timestamp,
    /// The work that found it; part of the session names in the tenant's `CloudTrail`.
    pub request: RequestId,
    /// The probes in their order.
    pub probes: Vec<Probe>,
}

/// One check of a connection and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FlatProbe")]
pub struct Probe {
    /// What was checked.
    pub check: Check,
    /// What was found.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A probe as it is written: read as it lies there, since whoever looks at a connection reads all of its probes.
#[derive(Deserialize)]
struct FlatProbe {
    check: Check,
    outcome: OutcomeName,
    code: Option<Cow<'static, str>>,
    message: Option<String>,
    fix: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeName {
    Passed,
    Failed,
    Unknown,
    Skipped,
}

impl TryFrom<FlatProbe> for Probe {
    type Error = &'static str;

    fn try_from(flat: FlatProbe) -> Result<Self, Self::Error> {
        let FlatProbe {
            check,
            outcome,
            reason,
            ..
        } = flat;
        let problem = match (flat.code, flat.message, flat.fix) {
            (Some(code), Some(message), Some(fix)) => Ok(Problem { code, message, fix }),
            _ => Err("expected a code, a message and a fix"),
        };
        let outcome = match outcome {
            OutcomeName::Passed => Outcome::Passed,
            OutcomeName::Failed => Outcome::Failed(problem?),
            OutcomeName::Unknown => Outcome::Unknown(problem?),
            OutcomeName::Skipped => Outcome::Skipped {
                reason: reason.ok_or("expected a reason")?,
            },
        };
        Ok(Self { check, outcome })
    }
}

/// What a probe checks, in the order in which probes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The role's ARN has the right form and partition.
    RoleArn,
    /// The role is not in the account that Portwarden runs in.
    NotOurs,
    /// The role lies in the account of the integration, if that is known.
    SameAccount,
    /// No other integration has the role.
    RoleFree,
    /// The role opens with the ExternalId of the integration.
    OpensWithExternalId,
    /// The session belongs to the role's account.
    SessionAccount,
    /// Our own policies let the negative probes through: a role of ours without a condition opens.
    Canary,
    /// The role does not open without an ExternalId.
    RefusesNone,
    /// The role does not open with another ExternalId.
    RefusesOthers,
    /// The role's own trust policy names us alone, with the one ExternalId.
    TrustPolicy,
    /// The credentials that the stack made are known.
    Credentials,
    /// The role may sign in to the registry.
    EcrGetAuthorizationToken,
    /// The role may list repositories.
    EcrDescribeRepositories,
    /// The role may describe images.
    EcrDescribeImages,
    /// The role may list images.
    EcrListImages,
    /// The role may read manifests.
    EcrBatchGetImage,
    /// The role may read layers.
    EcrGetDownloadUrlForLayer,
    /// The role may ask for layers.
    EcrBatchCheckLayerAvailability,
    /// Events come over the path that pushes take.
    EventPath,
    /// The stack has a version of the template that will do.
    TemplateVersion,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is as it must be.
    Passed,
    /// It is not.
    Failed(Problem),
    /// It could not be found out, which is never the same as passed.
    Unknown(Problem),
    /// It was not tried, since a probe before it decided, or there is nothing to try it on.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// The code of a role that does not open for us with the right `ExternalId`: a tenant's farewell, if it stays so.
pub const NOT_ASSUMABLE: &str = "role_not_assumable";

/// Whether a role may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// It opens for us and refuses others.
    Trusted,
    /// It does not open for us, or does not refuse others.
    Refused,
    /// It could not be found out.
    Unknown,
}

impl Conclusion {
    /// Returns a short name for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl Check {
    /// The checks that decide whether a role may be used at all; the others say how well it serves.
    pub const OF_TRUST: [Self; 9] = [
        Self::RoleArn,
        Self::NotOurs,
        Self::SameAccount,
        Self::RoleFree,
        Self::OpensWithExternalId,
        Self::SessionAccount,
        Self::Canary,
        Self::RefusesNone,
        Self::RefusesOthers,
    ];
}

impl Verdict {
    /// Decides whether the role may be used: every check of trust must have been made, and passed.
    pub fn conclusion(&self) -> Conclusion {
        let mut conclusion = Conclusion::Trusted;
        for check in Check::OF_TRUST {
            match self.outcome(check) {
                Some(Outcome::Passed) => {}
                Some(Outcome::Failed(_)) => return Conclusion::Refused,
                Some(Outcome::Unknown(_) | Outcome::Skipped { .. }) | None => {
                    conclusion = Conclusion::Unknown;
                }
            }
        }
        // What probes do not find may stand in the policy; a role that may not read it is judged by the probes alone.
        if matches!(self.outcome(Check::TrustPolicy), Some(Outcome::Failed(_))) {
            return Conclusion::Refused;
        }
        conclusion
    }

    /// Returns what the probe of a check found, if it was made.
    pub fn outcome(&self, check: Check) -> Option<&Outcome> {
        self.probes
            .iter()
            .find(|probe| probe.check == check)
            .map(|probe| &probe.outcome)
    }

    /// Tells whether the test came to its end; what was found of the role is stored before that.
    pub fn is_whole(&self) -> bool {
        self.outcome(Check::EventPath).is_some()
    }

    /// Tells whether the connection is green: the role is trusted, and nothing failed, is unknown or is still to be tried.
    pub fn is_green(&self) -> bool {
        let is_bad = |probe: &Probe| matches!(probe.outcome, Outcome::Failed(_) | Outcome::Unknown(_));
        self.conclusion() == Conclusion::Trusted && self.is_whole() && !self.probes.iter().any(is_bad)
    }

    /// Returns the first problem, which is the one to mend first.
    pub fn first_problem(&self) -> Option<&Problem> {
        self.probes.iter().find_map(|probe| match &probe.outcome {
            Outcome::Failed(problem) | Outcome::Unknown(problem) => Some(problem),
            Outcome::Passed | Outcome::Skipped { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::random::OsRandomness;

    fn verdict(change: impl Fn(Check) -> Option<Outcome>) -> Verdict {
        let probes = Check::OF_TRUST
            .into_iter()
            .filter_map(|check| change(check).map(|outcome| Probe { check, outcome }))
            .collect();
        Verdict {
            at: Timestamp::UNIX_EPOCH,
            request: RequestId::generate(&OsRandomness),
            probes,
        }
    }

    #[test]
    fn a_probe_is_written_flat_and_read_back() {
        let problem = Problem::new("a_code", "a cause", "a fix");
        let written = json!({
            "check": "canary", "outcome": "failed", "code": "a_code", "message": "a cause", "fix": "a fix",
        });
        let failed = Outcome::Failed(problem.clone());
        let probe = |outcome| Probe {
            check: Check::Canary,
            outcome,
        };
        assert_eq!(serde_json::to_value(probe(failed.clone())).unwrap(), written);
        let reason = "why".to_owned();
        for outcome in [
            Outcome::Passed,
            failed,
            Outcome::Unknown(problem),
            Outcome::Skipped { reason },
        ] {
            let text = serde_json::to_string(&probe(outcome.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Probe>(&text).unwrap(), probe(outcome));
        }
        for part in ["check", "outcome", "code", "message", "fix"] {
            let mut cut = written.clone();
            cut.as_object_mut().unwrap().remove(part);
            assert!(
                serde_json::from_value::<Probe>(cut).is_err(),
                "without its {part}"
            );
        }
        let skipped = json!({"check": "canary", "outcome": "skipped"});
        assert!(serde_json::from_value::<Probe>(skipped).is_err());
    }

    #[test]
    fn conclusions_are_logged_by_their_names() {
        let all = [Conclusion::Trusted, Conclusion::Refused, Conclusion::Unknown];
        assert_eq!(all.map(Conclusion::name), ["trusted", "refused", "unknown"]);
    }

    #[test]
    fn a_role_is_trusted_only_if_every_check_of_trust_passed() {
        assert_eq!(
            verdict(|_| Some(Outcome::Passed)).conclusion(),
            Conclusion::Trusted
        );
        let problem = Problem::new("x", "x", "x");
        for changed in Check::OF_TRUST {
            let with = |outcome: Option<Outcome>| {
                verdict(|check| {
                    if check == changed {
                        outcome.clone()
                    } else {
                        Some(Outcome::Passed)
                    }
                })
            };
            assert_eq!(
                with(Some(Outcome::Failed(problem.clone()))).conclusion(),
                Conclusion::Refused
            );
            assert_eq!(
                with(Some(Outcome::Unknown(problem.clone()))).conclusion(),
                Conclusion::Unknown
            );
            assert_eq!(
                with(Some(Outcome::Skipped { reason: "x".into() })).conclusion(),
                Conclusion::Unknown
            );
            assert_eq!(
                with(None).conclusion(),
                Conclusion::Unknown,
                "{changed:?} was not made"
            );
        }
    }

    #[test]
    fn a_trust_policy_that_is_too_wide_refuses_a_role_and_one_that_cannot_be_read_does_not() {
        let with = |outcome: Outcome| {
            let mut verdict = verdict(|_| Some(Outcome::Passed));
            let probes = [(Check::TrustPolicy, outcome), (Check::EventPath, Outcome::Passed)];
            let probes = probes.map(|(check, outcome)| Probe { check, outcome });
            verdict.probes.extend(probes);
            (verdict.conclusion(), verdict.is_green())
        };
        let problem = || Problem::new("x", "x", "x");
        assert_eq!(with(Outcome::Passed), (Conclusion::Trusted, true));
        assert_eq!(with(Outcome::Failed(problem())), (Conclusion::Refused, false));
        assert_eq!(with(Outcome::Unknown(problem())), (Conclusion::Trusted, false));
    }

    #[test]
    fn green_needs_more_than_trust() {
        let mut verdict = verdict(|_| Some(Outcome::Passed));
        assert!(!verdict.is_green(), "the rest is still to be tried");
        verdict.probes.push(Probe {
            check: Check::EventPath,
            outcome: Outcome::Passed,
        });
        assert!(verdict.is_green());
        let problem = Problem::new("x", "x", "x");
        verdict.probes.last_mut().unwrap().outcome = Outcome::Unknown(problem.clone());
        assert_eq!(
            (verdict.conclusion(), verdict.is_green()),
            (Conclusion::Trusted, false)
        );
        assert_eq!(verdict.first_problem(), Some(&problem));
    }
}
