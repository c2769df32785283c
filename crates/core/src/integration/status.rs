//! How a connection is, in one word and one sentence: the same for the command line, the page and the event bus.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Connection, RegionConnection, Trust};
use crate::{
    id::Region,
    problem::Problem,
    verdict::{Check, Outcome, Verdict},
};

/// How a connection is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Light {
    /// Everything works.
    Green,
    /// It is still being connected.
    Pending,
    /// It is used, and something is to be mended.
    Amber,
    /// It is not used: its role is refused.
    Red,
    /// It is removed.
    Removed,
}

/// How a connection is, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The one word.
    pub light: Light,
    /// The one sentence.
    pub sentence: String,
    /// What is to be mended first, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// When the role was last found to open for us and to refuse others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_proof: Option<Timestamp>,
}

/// How long an integration may wait for its first proof before it counts as forgotten.
pub const NEVER_CONNECTED: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Light {
    /// Returns the word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Pending => "pending",
            Self::Amber => "amber",
            Self::Red => "red",
            Self::Removed => "removed",
        }
    }
}

impl Status {
    /// Returns the code of what is to be mended first.
    pub fn code(&self) -> Option<&str> {
        self.problem.as_ref().map(|problem| &*problem.code)
    }

    fn new(light: Light, sentence: impl Into<String>) -> Self {
        Self {
            light,
            sentence: sentence.into(),
            problem: None,
            last_proof: None,
        }
    }

    /// Says what a problem says.
    fn with(light: Light, before: &str, problem: Problem) -> Self {
        Self {
            light,
            sentence: format!("{before}{}", problem.message),
            problem: Some(problem),
            last_proof: None,
        }
    }
}

/// Says that nothing has come from a region for longer than two heartbeats take.
pub fn silent(region: &Region, last: Timestamp) -> Problem {
    Problem::new(
        "event_path_silent",
        format!("the stack in {region} is silent: its last message came at {last:.0}"),
        format!(
            "look whether the stack is still there and what its dead-letter queue holds: aws cloudformation \
             describe-stacks --region {region}"
        ),
    )
}

impl Connection {
    /// Tells how the integration as a whole is: as its worst region.
    pub fn overall(&self, now: Timestamp) -> Status {
        if let Some(at) = self.integration.removed_at {
            return removed(at);
        }
        let regions = self.regions.keys().filter_map(|region| {
            let status = self.status(region, now)?;
            let sentence = match status.light {
                Light::Green => status.sentence,
                _ => format!("{region}: {}", status.sentence),
            };
            Some(Status { sentence, ..status })
        });
        let worst = regions.reduce(|worst, next| if next.light > worst.light { next } else { worst });
        worst.unwrap_or_else(|| Status::new(Light::Pending, "no region is to be connected yet"))
    }

    /// Tells how a region is, if the integration has it.
    pub fn status(&self, region: &Region, now: Timestamp) -> Option<Status> {
        let connection = self.regions.get(region)?;
        if let Some(at) = self.integration.removed_at {
            return Some(removed(at));
        }
        let status = match &connection.trust {
            Trust::Proven { .. } => self.proven(region, now),
            Trust::Refused { .. } => refused(connection),
            Trust::Proposed { role, .. } => Status::with(
                Light::Pending,
                "",
                Problem::new(
                    "account_unconfirmed",
                    format!(
                        "account {} is proven, and waits for you to confirm that it is yours",
                        role.account()
                    ),
                    format!(
                        "portwarden integration confirm {} --tenant {}",
                        self.integration.id, self.integration.tenant
                    ),
                ),
            ),
            Trust::Unnamed | Trust::Claimed { .. } => self.unproven(connection, now),
        };
        let last_proof = match &connection.trust {
            Trust::Proven { at, .. } | Trust::Proposed { at, .. } => Some(*at),
            _ => connection.last_proven,
        };
        Some(Status { last_proof, ..status })
    }

    /// A role that is used: is everything else as it should be?
    fn proven(&self, region: &Region, now: Timestamp) -> Status {
        let is_silent = self.silent_from(region).is_some_and(|from| from <= now);
        let verdict = self.verdict(region);
        let problems = |outcome: fn(&Outcome) -> Option<&Problem>| {
            let mut probes = verdict.iter().flat_map(|verdict| &verdict.probes);
            probes
                .find_map(move |probe| outcome(&probe.outcome).map(|problem| (probe.check, problem.clone())))
        };
        let failed = problems(|outcome| match outcome {
            Outcome::Failed(problem) => Some(problem),
            _ => None,
        });
        if let Some((_, problem)) = failed {
            return Status::with(Light::Amber, "", problem);
        }
        if let Some(last) = self.heartbeats.get(region).filter(|_| is_silent) {
            return Status::with(Light::Amber, "", silent(region, *last));
        }
        let unknown = problems(|outcome| match outcome {
            Outcome::Unknown(problem) => Some(problem),
            _ => None,
        });
        match unknown {
            // Nothing else is missing: the next heartbeat makes it green.
            Some((Check::EventPath, problem)) => {
                Status::with(Light::Pending, "the role is proven; ", problem)
            }
            Some((_, problem)) => Status::with(Light::Amber, "", problem),
            None if verdict.as_ref().is_none_or(Verdict::is_whole) => {
                Status::new(Light::Green, "the role is trusted, and everything works")
            }
            None => Status::new(Light::Pending, "the role is proven; the rest is being tested"),
        }
    }

    fn unproven(&self, connection: &RegionConnection, now: Timestamp) -> Status {
        let told = connection.verdict.as_ref().and_then(Verdict::first_problem);
        let is_forgotten =
            connection.last_proven.is_none() && self.integration.created_at + NEVER_CONNECTED <= now;
        if is_forgotten {
            let problem = Problem::new(
                "never_connected",
                format!(
                    "the integration was made at {:.0} and never connected",
                    self.integration.created_at
                ),
                format!(
                    "create its stack, or remove it: portwarden integration remove {} --tenant {}",
                    self.integration.id, self.integration.tenant
                ),
            );
            return Status::with(Light::Amber, "", problem);
        }
        match told {
            Some(problem) => Status::with(Light::Pending, "not proven yet: ", problem.clone()),
            None if connection.trust.role().is_some() => {
                Status::new(Light::Pending, "a role is named, and is to be tested")
            }
            None => Status::new(Light::Pending, "waits for the stack to say that it is there"),
        }
    }
}

fn removed(at: Timestamp) -> Status {
    Status::new(
        Light::Removed,
        format!("removed at {at:.0}; nothing is done for it any more"),
    )
}

fn refused(connection: &RegionConnection) -> Status {
    let before = if connection.last_proven.is_some() {
        "suspended: "
    } else {
        "refused: "
    };
    let problem = connection.verdict.as_ref().and_then(Verdict::first_problem);
    match problem {
        Some(problem) => Status::with(Light::Red, before, problem.clone()),
        None => Status::new(
            Light::Red,
            format!("{before}the role is not used until it passes"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        endpoint::Salt,
        event::Claim,
        id::{ExternalId, IntegrationId, RequestId, TenantId},
        integration::{Integration, Integrations},
        random::OsRandomness,
        scope::TenantScope,
        store::MemoryStore,
        verdict::Probe,
    };

    fn region() -> Region {
        "eu-central-1".parse().unwrap()
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    fn problem(code: &'static str) -> Problem {
        Problem::new(code, format!("the cause of {code}"), "the fix")
    }

    fn verdict(changes: &[(Check, Outcome)]) -> Verdict {
        let passed = Check::OF_TRUST
            .into_iter()
            .chain([Check::EcrBatchGetImage, Check::EventPath]);
        let outcome = |check| {
            let change = changes.iter().find(|(changed, _)| *changed == check);
            change.map_or(Outcome::Passed, |(_, outcome)| outcome.clone())
        };
        Verdict {
            at: at(0),
            request: RequestId::generate(&OsRandomness),
            probes: passed
                .map(|check| Probe {
                    check,
                    outcome: outcome(check),
                })
                .collect(),
        }
    }

    fn connection(trust: Trust, verdict: Option<Verdict>) -> Connection {
        let claim: Claim = serde_json::from_value(serde_json::json!({
            "role-arn": "arn:aws:iam::111122223333:role/r", "external-id": ExternalId::generate(&OsRandomness),
            "template-version": "2", "rate-minutes": 15,
        }))
        .unwrap();
        let region = RegionConnection {
            trust,
            verdict,
            claim: Some(claim),
            ..RegionConnection::new(region())
        };
        Connection {
            integration: Integration {
                id: IntegrationId::generate(&OsRandomness),
                tenant: TenantId::generate(&OsRandomness),
                name: "n".to_owned(),
                external_id: ExternalId::generate(&OsRandomness),
                account: None,
                salt: Salt::generate(&OsRandomness),
                created_at: at(0),
                removed_at: None,
            },
            regions: [(region.region.clone(), region)].into(),
            heartbeats: [].into(),
        }
    }

    fn proven(verdict: Verdict) -> Connection {
        let role = "arn:aws:iam::111122223333:role/r".parse().unwrap();
        connection(Trust::Proven { role, at: at(0) }, Some(verdict))
    }

    fn light(connection: &Connection, minutes: i64) -> (Light, Option<String>) {
        let status = connection.status(&region(), at(minutes)).unwrap();
        (status.light, status.code().map(str::to_owned))
    }

    #[test]
    fn green_needs_a_role_that_is_trusted_all_that_works_and_a_stack_that_speaks() {
        let mut connection = proven(verdict(&[(
            Check::EventPath,
            Outcome::Unknown(problem("event_path_unproven")),
        )]));
        let code = |code: &str| Some(code.to_owned());
        assert_eq!(
            light(&connection, 1),
            (Light::Pending, code("event_path_unproven"))
        );
        connection.heartbeats.insert(region(), at(5));
        assert_eq!(light(&connection, 6), (Light::Green, None));
        let mut half = connection.clone();
        let verdict = half.regions.get_mut(&region()).unwrap().verdict.as_mut();
        verdict.unwrap().probes.pop();
        assert_eq!(light(&half, 6), (Light::Pending, None), "the test is under way");
        // Two heartbeats of 15 minutes, and one for the way.
        assert_eq!(light(&connection, 35), (Light::Green, None));
        assert_eq!(light(&connection, 36), (Light::Amber, code("event_path_silent")));
        let status = connection.status(&region(), at(36)).unwrap();
        assert!(
            status
                .sentence
                .ends_with("its last message came at 1970-01-01T00:05:00Z"),
            "{status:?}"
        );
        assert_eq!(status.last_proof, Some(at(0)));
    }

    #[test]
    fn what_failed_is_said_before_what_is_unknown_and_before_silence() {
        let failed = (Check::EcrBatchGetImage, Outcome::Failed(problem("failed")));
        let unknown = (Check::TrustPolicy, Outcome::Unknown(problem("unknown")));
        let mut both = verdict(&[failed]);
        both.probes.insert(
            0,
            Probe {
                check: unknown.0,
                outcome: unknown.1,
            },
        );
        let mut connection = proven(both);
        connection.heartbeats.insert(region(), at(5));
        for minutes in [6, 60] {
            assert_eq!(
                light(&connection, minutes),
                (Light::Amber, Some("failed".to_owned()))
            );
        }
        let only = connection
            .regions
            .get_mut(&region())
            .unwrap()
            .verdict
            .as_mut()
            .unwrap();
        only.probes
            .retain(|probe| !matches!(probe.outcome, Outcome::Failed(_)));
        assert_eq!(light(&connection, 6), (Light::Amber, Some("unknown".to_owned())));
    }

    #[test]
    fn a_refused_role_is_red_and_says_whether_it_was_ever_used() {
        let role = "arn:aws:iam::111122223333:role/r".parse().unwrap();
        let refused = verdict(&[(Check::RefusesNone, Outcome::Failed(problem("wide")))]);
        let mut connection = connection(Trust::Refused { role, at: at(0) }, Some(refused));
        let sentence = |connection: &Connection| connection.status(&region(), at(1)).unwrap().sentence;
        assert_eq!(light(&connection, 1), (Light::Red, Some("wide".to_owned())));
        assert_eq!(sentence(&connection), "refused: the cause of wide");
        connection.regions.get_mut(&region()).unwrap().last_proven = Some(at(0));
        assert_eq!(sentence(&connection), "suspended: the cause of wide");
        connection.integration.removed_at = Some(at(2));
        assert_eq!(light(&connection, 3), (Light::Removed, None));
        assert_eq!(connection.overall(at(3)).light, Light::Removed);
    }

    #[test]
    fn who_never_connects_is_pending_for_two_weeks() {
        let mut connection = connection(Trust::Unnamed, None);
        let days = |days: i64| days * 24 * 60;
        assert_eq!(light(&connection, days(13)), (Light::Pending, None));
        assert_eq!(connection.orphan(at(days(13))), None);
        assert_eq!(
            light(&connection, days(14)),
            (Light::Amber, Some("never_connected".to_owned()))
        );
        assert!(connection.orphan(at(days(14))).is_some());
        let role = "arn:aws:iam::111122223333:role/r".parse().unwrap();
        let trust = Trust::Proposed { role, at: at(0) };
        connection.regions.get_mut(&region()).unwrap().trust = trust;
        assert_eq!(
            light(&connection, 1),
            (Light::Pending, Some("account_unconfirmed".to_owned()))
        );
    }

    #[test]
    fn an_integration_is_as_its_worst_region() {
        let mut connection = proven(verdict(&[]));
        connection.heartbeats.insert(region(), at(0));
        assert_eq!(connection.overall(at(1)).light, Light::Green);
        let other: Region = "us-east-1".parse().unwrap();
        connection
            .regions
            .insert(other.clone(), RegionConnection::new(other));
        let status = connection.overall(at(1));
        assert_eq!(status.light, Light::Pending);
        assert_eq!(
            status.sentence,
            "us-east-1: waits for the stack to say that it is there"
        );
        connection.regions.clear();
        assert_eq!(connection.overall(at(1)).light, Light::Pending);
    }

    #[tokio::test]
    async fn each_change_is_told_once_and_one_that_was_not_is_told_first() {
        let integrations = Integrations::new(Arc::new(MemoryStore::default()));
        let scope = TenantScope::of(TenantId::generate(&OsRandomness));
        let id = IntegrationId::generate(&OsRandomness);
        let change = async |status: Status| {
            let change = integrations
                .change_to_tell(&scope, &id, &region(), &status, at(0))
                .await;
            change.unwrap()
        };
        let mark = async |change| {
            integrations
                .mark_told(&scope, &id, &region(), change)
                .await
                .unwrap();
        };
        let pending = || Status::new(Light::Pending, "x");
        let green = || Status::new(Light::Green, "x");
        let amber = |code| Status::with(Light::Amber, "", problem(code));
        assert_eq!(change(pending()).await, None, "all begin so");
        let first = change(green()).await.unwrap();
        assert_eq!((first.number, first.light), (1, Light::Green));
        // Nobody knows whether the bus has it.
        assert_eq!(change(amber("a")).await.as_ref(), Some(&first));
        mark(&first).await;
        let second = change(amber("a")).await.unwrap();
        assert_eq!((second.number, second.code.as_deref()), (2, Some("a")));
        mark(&first).await;
        assert_eq!(
            change(amber("b")).await.as_ref(),
            Some(&second),
            "the mark was another change's"
        );
        mark(&second).await;
        assert_eq!(change(amber("a")).await, None);
        assert_eq!(change(amber("b")).await.map(|change| change.number), Some(3));
    }
}
