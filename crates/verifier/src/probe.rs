//! The probes of one connection, in their order.
//!
//! The order keeps the verification from being an oracle: whoever names a role that does not open with their own
//! ExternalId gets one and the same answer after one and the same calls.

use std::time::Duration;

use portwarden_core::{
    arn::RoleArn,
    clock::Clock,
    ecr::{EcrError, ProbeEcr, RegistryId},
    id::{AccountId, ExternalId, Region, RequestId},
    integration::RoleOwner,
    problem::Problem,
    random::Randomness,
    session::{AssumeError, ProbeRole, Session, SessionName},
    verdict::{Check, Outcome, Probe, Verdict},
};
use portwarden_oci::{Digest, Manifest, RepositoryName};

use crate::problem::{self, Subject};

/// What the probes are made with.
pub struct Prober<'a> {
    /// Tries to assume roles.
    pub roles: &'a dyn ProbeRole,
    /// Tries what a session may do.
    pub ecr: &'a dyn ProbeEcr,
    /// Waits for a new role to become assumable.
    pub clock: &'a dyn Clock,
    /// Makes wrong ids.
    pub randomness: &'a dyn Randomness,
    /// How long to wait between attempts to open a role that may be new.
    pub patience: &'a [Duration],
}

/// What is tested.
pub struct Target<'a> {
    /// The role.
    pub role: &'a RoleArn,
    /// The ExternalId of the integration.
    pub external_id: &'a ExternalId,
    /// The region of the connection.
    pub region: &'a Region,
    /// The account of the integration, if one is proven.
    pub account: Option<&'a AccountId>,
    /// Who has the role.
    pub owner: RoleOwner,
    /// Whether an event has come over the path that pushes take.
    pub event_path_proven: bool,
    /// Whether this is the operator's own integration: the only one whose role lies in our account.
    pub is_operators: bool,
    /// Our connector role.
    pub connector: &'a RoleArn,
}

/// How long to wait between attempts on AWS: a new role becomes assumable after 10 to 60 seconds.
pub const PATIENCE: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(25),
];

impl Prober<'_> {
    /// Makes all probes that make sense and says what was found.
    pub async fn test(&self, target: &Target<'_>, request: &RequestId) -> Verdict {
        let mut probes = Probes(Vec::new());
        let session = self.probe_trust(target, request, &mut probes).await;
        match session {
            Some(session) => self.probe_registry(target, &session, &mut probes).await,
            None => OF_REGISTRY
                .iter()
                .for_each(|check| probes.skip(*check, "the role did not open")),
        }
        let event_path = if target.event_path_proven {
            Outcome::Passed
        } else {
            Outcome::Unknown(target.subject().event_path_unproven())
        };
        probes.add(Check::EventPath, event_path);
        Verdict {
            at: self.clock.now(),
            request: request.clone(),
            probes: probes.0,
        }
    }

    /// Finds out whether the role opens for us and refuses others; returns a session if it may be used further.
    async fn probe_trust(
        &self,
        target: &Target<'_>,
        request: &RequestId,
        probes: &mut Probes,
    ) -> Option<Session> {
        let subject = target.subject();
        probes.check(
            Check::RoleArn,
            target.role.partition() == target.connector.partition(),
            || subject.other_partition(),
        );
        let is_ours = target.role.account() == target.connector.account();
        probes.check(
            Check::NotOurs,
            is_ours == target.is_operators,
            problem::our_account,
        );
        match target.account {
            Some(account) if account != target.role.account() => {
                probes.add(
                    Check::SameAccount,
                    Outcome::Failed(subject.other_account(account)),
                );
            }
            _ => probes.add(Check::SameAccount, Outcome::Passed),
        }
        if probes.any_failed() {
            return None;
        }

        let name = SessionName::verify(request);
        let session = match self.open(target, &name).await {
            Ok(session) => session,
            Err(error) => {
                probes.add(Check::OpensWithExternalId, subject.not_opened(error));
                return None;
            }
        };
        probes.add(Check::OpensWithExternalId, Outcome::Passed);
        probes.check(Check::RoleFree, target.owner != RoleOwner::Other, problem::taken);
        let own_account = session.account == *target.role.account();
        probes.check(
            Check::SessionAccount,
            own_account,
            problem::session_of_other_account,
        );

        self.probe_refusals(target, &name, probes).await;
        (!probes.any_failed()).then_some(session)
    }

    /// Opens the role as it is opened for work, with patience for a role that was made a moment ago.
    async fn open(&self, target: &Target<'_>, name: &SessionName) -> Result<Session, AssumeError> {
        let mut waits = self.patience.iter();
        loop {
            let external_id = Some(target.external_id.as_str());
            match self
                .roles
                .probe_role(target.role, external_id, target.region, name)
                .await
            {
                Err(
                    error @ (AssumeError::NotAllowed(_)
                    | AssumeError::Throttled
                    | AssumeError::Unreachable(_)),
                ) => match waits.next() {
                    Some(wait) => self.clock.sleep(*wait).await,
                    None => return Err(error),
                },
                other => return other,
            }
        }
    }

    /// Finds out whether the role refuses what it must refuse, and whether it was really the role that refused.
    async fn probe_refusals(&self, target: &Target<'_>, name: &SessionName, probes: &mut Probes) {
        let subject = target.subject();
        let canary = match self.roles.probe_canary(target.region, name).await {
            Ok(_) => Outcome::Passed,
            Err(AssumeError::NotAllowed(_)) => Outcome::Unknown(problem::canary_closed()),
            Err(error) => subject.not_found_out(&error),
        };
        let canary_opened = canary == Outcome::Passed;
        probes.add(Check::Canary, canary);

        let none = self
            .roles
            .probe_role(target.role, None, target.region, name)
            .await;
        probes.add(
            Check::RefusesNone,
            match none {
                Ok(_) => Outcome::Failed(subject.opens_without_external_id()),
                Err(AssumeError::NotAllowed(_)) if canary_opened => Outcome::Passed,
                Err(AssumeError::NotAllowed(_)) => Outcome::Unknown(problem::canary_closed()),
                Err(error) => subject.not_found_out(&error),
            },
        );

        let mut refused = Outcome::Passed;
        for wrong in wrong_external_ids(target.external_id, self.randomness) {
            match self
                .roles
                .probe_role(target.role, Some(&wrong), target.region, name)
                .await
            {
                Ok(_) => {
                    refused = Outcome::Failed(subject.opens_with_other_external_id());
                    break;
                }
                Err(AssumeError::NotAllowed(_)) => {}
                Err(error) => refused = subject.not_found_out(&error),
            }
        }
        probes.add(Check::RefusesOthers, refused);
    }

    /// Tries every action that a scan or an inventory needs.
    async fn probe_registry(&self, target: &Target<'_>, session: &Session, probes: &mut Probes) {
        let (ecr, subject) = (self.ecr, target.subject());
        let registry = RegistryId {
            account: target.role.account().clone(),
            region: target.region.clone(),
        };
        let registry = &registry;
        let mut note = |check, result: Result<(), EcrError>| {
            probes.add(
                check,
                match result {
                    Ok(()) => Outcome::Passed,
                    Err(EcrError::Denied { action, .. }) => Outcome::Failed(subject.action_denied(action)),
                    Err(EcrError::Expired) => Outcome::Unknown(problem::session_expired()),
                    Err(EcrError::Throttled | EcrError::Unreachable(_)) => {
                        Outcome::Unknown(problem::busy("Amazon ECR"))
                    }
                },
            );
        };
        let login = ecr.get_authorization_token(session, registry).await;
        note(Check::EcrGetAuthorizationToken, login);

        let (result, repositories) = split(ecr.describe_repositories(session, registry).await);
        note(Check::EcrDescribeRepositories, result);
        // IAM decides before ECR looks, so that names of nothing tell as much where there is nothing.
        let repository = repositories.into_iter().next().unwrap_or_else(nothing);

        let (result, described) = split(ecr.describe_images(session, registry, &repository).await);
        note(Check::EcrDescribeImages, result);
        let (result, listed) = split(ecr.list_images(session, registry, &repository).await);
        note(Check::EcrListImages, result);
        let image = described
            .into_iter()
            .chain(listed)
            .next()
            .unwrap_or_else(|| Digest::of(b"nothing"));

        let manifest = ecr.batch_get_image(session, registry, &repository, &image).await;
        let layer = manifest
            .as_ref()
            .ok()
            .and_then(|bytes| first_layer(bytes.as_deref()?));
        note(Check::EcrBatchGetImage, manifest.map(drop));
        let layer = layer.unwrap_or_else(|| Digest::of(b"nothing"));
        let available = ecr
            .batch_check_layer_availability(session, registry, &repository, &layer)
            .await;
        note(Check::EcrBatchCheckLayerAvailability, available);
        let url = ecr
            .get_download_url_for_layer(session, registry, &repository, &layer)
            .await;
        note(Check::EcrGetDownloadUrlForLayer, url);
    }
}

const OF_REGISTRY: [Check; 7] = [
    Check::EcrGetAuthorizationToken,
    Check::EcrDescribeRepositories,
    Check::EcrDescribeImages,
    Check::EcrListImages,
    Check::EcrBatchGetImage,
    Check::EcrBatchCheckLayerAvailability,
    Check::EcrGetDownloadUrlForLayer,
];

/// Ids that must not open a role: one of ours that nobody has, one character changed, and the case flipped.
///
/// Never another tenant's: that would prove nothing more, and would be an attack.
fn wrong_external_ids(right: &ExternalId, randomness: &dyn Randomness) -> [String; 3] {
    let right = right.as_str();
    let last = if right.ends_with('0') { '1' } else { '0' };
    let changed = format!("{}{last}", &right[..right.len() - 1]);
    [
        ExternalId::generate(randomness).into(),
        changed,
        right.to_ascii_uppercase(),
    ]
}

fn nothing() -> RepositoryName {
    "portwarden/nothing".parse().expect("a constant name is valid")
}

fn first_layer(manifest: &[u8]) -> Option<Digest> {
    match Manifest::parse(manifest, None) {
        Ok(Manifest::Image(image)) => image.layers.first().map(|layer| layer.digest),
        Ok(Manifest::Index(_)) | Err(_) => None,
    }
}

fn split<T: Default>(result: Result<T, EcrError>) -> (Result<(), EcrError>, T) {
    match result {
        Ok(value) => (Ok(()), value),
        Err(error) => (Err(error), T::default()),
    }
}

struct Probes(Vec<Probe>);

impl Probes {
    fn add(&mut self, check: Check, outcome: Outcome) {
        self.0.push(Probe { check, outcome });
    }

    fn check(&mut self, check: Check, passed: bool, problem: impl FnOnce() -> Problem) {
        self.add(
            check,
            if passed {
                Outcome::Passed
            } else {
                Outcome::Failed(problem())
            },
        );
    }

    fn skip(&mut self, check: Check, reason: &str) {
        self.add(
            check,
            Outcome::Skipped {
                reason: reason.to_owned(),
            },
        );
    }

    fn any_failed(&self) -> bool {
        self.0
            .iter()
            .any(|probe| matches!(probe.outcome, Outcome::Failed(_)))
    }
}

impl Target<'_> {
    fn subject(&self) -> Subject<'_> {
        Subject {
            role: self.role,
            external_id: self.external_id,
            region: self.region,
            connector: self.connector,
        }
    }
}

impl Subject<'_> {
    fn not_opened(&self, error: AssumeError) -> Outcome {
        match error {
            AssumeError::NotAllowed(_) => Outcome::Failed(self.not_assumable()),
            AssumeError::RegionDisabled(_) => Outcome::Failed(self.region_disabled()),
            other => self.not_found_out(&other),
        }
    }

    fn not_found_out(&self, error: &AssumeError) -> Outcome {
        Outcome::Unknown(match error {
            AssumeError::Connector(_) => problem::connector_closed(),
            AssumeError::RegionDisabled(_) => self.region_disabled(),
            AssumeError::NotAllowed(_) | AssumeError::Throttled | AssumeError::Unreachable(_) => {
                problem::busy("STS")
            }
        })
    }
}
