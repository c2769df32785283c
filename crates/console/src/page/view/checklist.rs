//! How far the connection of a region has come, step by step.

use jiff::Timestamp;
use portwarden_core::{
    integration::{Connection, RegionConnection, Trust},
    problem::Problem,
    verdict::{Check, Outcome, Verdict},
};

use super::element::Mark;

/// The way of a region from nothing to green.
#[derive(Debug, Clone, PartialEq)]
pub struct Checklist {
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// What the last test found, for whoever wants to see every probe.
    pub verdict: Option<Verdict>,
    /// When something last came over the event path.
    pub heartbeat: Option<Timestamp>,
}

/// One step of the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Which one.
    pub kind: StepKind,
    /// How it stands.
    pub state: StepState,
}

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepKind {
    /// The stack has said, or the tenant, which role is meant.
    Named,
    /// The role opens for us.
    Opens,
    /// The role refuses everybody else.
    Refuses,
    /// The tenant has named the account.
    Confirmed,
    /// The registry can be read.
    Reads,
    /// Events come.
    Events,
}

/// How a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum StepState {
    /// It is done.
    Done,
    /// It is still to come, and comes by itself.
    Waiting,
    /// The tenant is to do it.
    Turn,
    /// It failed.
    Failed(Problem),
    /// It could not be found out.
    Unknown(Problem),
}

impl StepState {
    /// Returns how it is shown.
    pub fn mark(&self) -> Mark {
        match self {
            Self::Done => Mark::Good,
            Self::Waiting => Mark::Waiting,
            Self::Turn => Mark::Turn,
            Self::Failed(_) => Mark::Bad,
            Self::Unknown(_) => Mark::Unsure,
        }
    }

    /// Returns what is wrong, if something is.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Failed(problem) | Self::Unknown(problem) => Some(problem),
            Self::Done | Self::Waiting | Self::Turn => None,
        }
    }
}

impl StepKind {
    /// All steps, in their order.
    pub const ALL: [Self; 6] = [
        Self::Named,
        Self::Opens,
        Self::Refuses,
        Self::Confirmed,
        Self::Reads,
        Self::Events,
    ];

    /// Returns the step that a probe belongs to.
    pub fn of(check: Check) -> Self {
        match check {
            Check::RoleArn | Check::NotOurs | Check::RoleFree => Self::Named,
            Check::OpensWithExternalId | Check::SessionAccount => Self::Opens,
            Check::Canary | Check::RefusesNone | Check::RefusesOthers | Check::TrustPolicy => Self::Refuses,
            Check::SameAccount => Self::Confirmed,
            Check::Credentials
            | Check::EcrGetAuthorizationToken
            | Check::EcrDescribeRepositories
            | Check::EcrDescribeImages
            | Check::EcrListImages
            | Check::EcrBatchGetImage
            | Check::EcrGetDownloadUrlForLayer
            | Check::EcrBatchCheckLayerAvailability => Self::Reads,
            Check::EventPath | Check::TemplateVersion => Self::Events,
        }
    }

    /// Says what has happened once it is done.
    pub fn title(self) -> &'static str {
        match self {
            Self::Named => "The stack has named its role",
            Self::Opens => "The role opens for Portwarden",
            Self::Refuses => "The role refuses everybody else",
            Self::Confirmed => "The account is confirmed",
            Self::Reads => "The registry can be read",
            Self::Events => "Events arrive",
        }
    }
}

/// The code of an event path over which nothing has come yet, which is no failure while the first heartbeat is due.
const NOTHING_CAME_YET: &str = "event_path_unproven";

impl Checklist {
    /// Sums up how far a region has come.
    pub fn of(connection: &Connection, region: &RegionConnection) -> Self {
        let verdict = connection.verdict(&region.region);
        let found = |kind| found(verdict.as_ref(), kind);
        let is_named = region.trust.role().is_some();
        let state = |kind| match kind {
            StepKind::Named => match found(kind) {
                StepState::Waiting if is_named => StepState::Done,
                state => state,
            },
            StepKind::Confirmed => match (found(kind), &region.trust) {
                (state @ (StepState::Failed(_) | StepState::Unknown(_)), _) => state,
                (_, Trust::Proposed { .. }) => StepState::Turn,
                _ if connection.integration.account.is_some() => StepState::Done,
                _ => StepState::Waiting,
            },
            // Nothing is read before the account is confirmed, whatever was found out until then.
            StepKind::Reads if !region.trust.is_proven() => match found(kind) {
                StepState::Done => StepState::Waiting,
                state => state,
            },
            StepKind::Events => match found(kind) {
                StepState::Unknown(problem) if problem.code == NOTHING_CAME_YET => StepState::Waiting,
                state => state,
            },
            StepKind::Opens | StepKind::Refuses | StepKind::Reads => found(kind),
        };
        let steps = StepKind::ALL
            .map(|kind| Step {
                kind,
                state: state(kind),
            })
            .into();
        let heartbeat = connection.heartbeats.get(&region.region).copied();
        Self {
            steps,
            verdict,
            heartbeat,
        }
    }

    /// Tells whether everything is done.
    pub fn is_green(&self) -> bool {
        self.steps.iter().all(|step| step.state == StepState::Done)
            && self.verdict.as_ref().is_some_and(Verdict::is_green)
    }

    /// Returns how many steps are done.
    pub fn done(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.state == StepState::Done)
            .count()
    }

    /// Returns the state in which the region is, taken as a whole, and words for it.
    pub fn summary(&self) -> (Mark, &'static str) {
        let any = |wanted: Mark| self.steps.iter().any(|step| step.state.mark() == wanted);
        if self.is_green() {
            (Mark::Good, "watched")
        } else if any(Mark::Bad) {
            (Mark::Bad, "to be mended")
        } else if any(Mark::Turn) {
            (Mark::Turn, "confirm the account")
        } else if any(Mark::Unsure) {
            (Mark::Unsure, "not known")
        } else if self.verdict.is_none() && self.done() == 0 {
            (Mark::Waiting, "waits for its stack")
        } else {
            (Mark::Waiting, "being connected")
        }
    }

    /// Tells whether something is expected to change within seconds or minutes.
    pub fn is_moving(&self) -> bool {
        self.summary().0 == Mark::Waiting || self.summary().0 == Mark::Turn
    }
}

/// Sums up what the probes of a step found.
fn found(verdict: Option<&Verdict>, kind: StepKind) -> StepState {
    let probes = verdict.map_or(&[][..], |verdict| &verdict.probes);
    let mut state = StepState::Waiting;
    let mut unknown = None;
    let mut is_short = false;
    for probe in probes.iter().filter(|probe| StepKind::of(probe.check) == kind) {
        match &probe.outcome {
            Outcome::Failed(problem) => return StepState::Failed(problem.clone()),
            Outcome::Unknown(problem) => {
                unknown.get_or_insert_with(|| problem.clone());
            }
            Outcome::Passed => state = StepState::Done,
            // What has nothing to be tried on holds nobody up; what was given up for another step waits with it.
            Outcome::Skipped { .. } => is_short |= is_decisive(probe.check),
        }
    }
    match unknown {
        Some(problem) => StepState::Unknown(problem),
        None if is_short => StepState::Waiting,
        None => state,
    }
}

/// Tells whether a step is not done as long as this probe was not made.
fn is_decisive(check: Check) -> bool {
    Check::OF_TRUST.contains(&check) || matches!(check, Check::EventPath | Check::EcrGetAuthorizationToken)
}

#[cfg(test)]
mod tests {
    use portwarden_core::{
        arn::RoleArn,
        endpoint::Salt,
        id::{ExternalId, IntegrationId, RequestId, TenantId},
        integration::Integration,
        random::OsRandomness,
        verdict::Probe,
    };

    use super::*;

    const ALL: [Check; 20] = [
        Check::RoleArn,
        Check::NotOurs,
        Check::SameAccount,
        Check::RoleFree,
        Check::OpensWithExternalId,
        Check::SessionAccount,
        Check::Canary,
        Check::RefusesNone,
        Check::RefusesOthers,
        Check::TrustPolicy,
        Check::Credentials,
        Check::EcrGetAuthorizationToken,
        Check::EcrDescribeRepositories,
        Check::EcrDescribeImages,
        Check::EcrListImages,
        Check::EcrBatchGetImage,
        Check::EcrGetDownloadUrlForLayer,
        Check::EcrBatchCheckLayerAvailability,
        Check::EventPath,
        Check::TemplateVersion,
    ];

    fn role() -> RoleArn {
        "arn:aws:iam::111122223333:role/r".parse().unwrap()
    }

    fn checklist(trust: Trust, outcome: Option<&dyn Fn(Check) -> Outcome>) -> Checklist {
        let mut region = RegionConnection::new("eu-central-1".parse().unwrap());
        let is_proven = trust.is_proven();
        region.trust = trust;
        region.verdict = outcome.map(|outcome| Verdict {
            at: Timestamp::UNIX_EPOCH,
            request: RequestId::generate(&OsRandomness),
            probes: ALL
                .map(|check| Probe {
                    check,
                    outcome: outcome(check),
                })
                .into(),
        });
        let connection = Connection {
            integration: Integration {
                id: IntegrationId::generate(&OsRandomness),
                tenant: TenantId::generate(&OsRandomness),
                name: "n".to_owned(),
                external_id: ExternalId::generate(&OsRandomness),
                account: is_proven.then(|| role().account().clone()),
                salt: Salt::generate(&OsRandomness),
                created_at: Timestamp::UNIX_EPOCH,
                removed_at: None,
            },
            regions: [(region.region.clone(), region.clone())].into(),
            heartbeats: [].into(),
        };
        Checklist::of(&connection, &region)
    }

    fn proven() -> Trust {
        Trust::Proven {
            role: role(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn state(checklist: &Checklist, kind: StepKind) -> &StepState {
        &checklist
            .steps
            .iter()
            .find(|step| step.kind == kind)
            .unwrap()
            .state
    }

    #[test]
    fn a_region_turns_green_when_everything_has_passed_and_not_before() {
        let nothing = checklist(Trust::Unnamed, None);
        assert_eq!(
            (nothing.done(), nothing.is_green(), nothing.is_moving()),
            (0, false, true)
        );
        let claimed = checklist(Trust::Claimed { role: role() }, None);
        assert_eq!(
            (claimed.done(), claimed.is_green(), claimed.is_moving()),
            (1, false, true)
        );
        let all = checklist(proven(), Some(&|_| Outcome::Passed));
        assert_eq!((all.done(), all.is_green(), all.is_moving()), (6, true, false));
        assert_eq!(all.summary().0, Mark::Good);
    }

    #[test]
    fn whatever_fails_is_shown_at_its_step_with_its_problem() {
        let problem = Problem::new("x", "x", "x");
        for failed in ALL {
            for outcome in [
                Outcome::Failed(problem.clone()),
                Outcome::Unknown(problem.clone()),
            ] {
                let found = checklist(
                    proven(),
                    Some(&|check| {
                        if check == failed {
                            outcome.clone()
                        } else {
                            Outcome::Passed
                        }
                    }),
                );
                let step = state(&found, StepKind::of(failed));
                assert_eq!(step.problem(), Some(&problem), "{failed:?} {outcome:?}");
                assert!(!found.is_green(), "{failed:?}");
                assert!(!found.is_moving(), "{failed:?}");
            }
        }
    }

    #[test]
    fn a_proven_role_of_an_unconfirmed_account_waits_for_the_tenant_and_nothing_is_read() {
        let proposed = Trust::Proposed {
            role: role(),
            at: Timestamp::UNIX_EPOCH,
        };
        let found = checklist(proposed, Some(&|_| Outcome::Passed));
        assert_eq!(state(&found, StepKind::Confirmed), &StepState::Turn);
        assert_eq!(state(&found, StepKind::Reads), &StepState::Waiting);
        assert_eq!(found.summary(), (Mark::Turn, "confirm the account"));
    }

    #[test]
    fn the_first_heartbeat_is_waited_for_and_missing_ones_are_a_failure() {
        let with = |code: &'static str, is_failed: bool| {
            let problem = Problem::new(code, "x", "x");
            let outcome = if is_failed {
                Outcome::Failed(problem)
            } else {
                Outcome::Unknown(problem)
            };
            checklist(
                proven(),
                Some(&|check| {
                    if check == Check::EventPath {
                        outcome.clone()
                    } else {
                        Outcome::Passed
                    }
                }),
            )
        };
        let first = with(NOTHING_CAME_YET, false);
        assert_eq!(state(&first, StepKind::Events), &StepState::Waiting);
        assert!(!first.is_green() && first.is_moving());
        assert_eq!(with("event_path_silent", true).summary().0, Mark::Bad);
    }

    #[test]
    fn what_has_nothing_to_be_tried_on_holds_nobody_up_and_what_was_given_up_does() {
        let skipped = |skipped: Check| {
            let reason = "x".to_owned();
            checklist(
                proven(),
                Some(&|check| {
                    if check == skipped {
                        Outcome::Skipped {
                            reason: reason.clone(),
                        }
                    } else {
                        Outcome::Passed
                    }
                }),
            )
        };
        assert!(
            skipped(Check::EcrBatchGetImage).is_green(),
            "there is no image yet"
        );
        for decisive in [
            Check::RefusesNone,
            Check::Canary,
            Check::EcrGetAuthorizationToken,
            Check::EventPath,
        ] {
            assert_eq!(
                state(&skipped(decisive), StepKind::of(decisive)),
                &StepState::Waiting,
                "{decisive:?}"
            );
        }
    }
}
