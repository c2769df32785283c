//! The probes of one connection, in their order.
//!
//! The order keeps the verification from being an oracle: whoever names a role that does not open with their own
//! ExternalId gets one and the same answer after one and the same calls.

use std::time::Duration;

use portwarden_core::{
    arn::RoleArn,
    clock::Clock,
    ecr::{EcrError, ProbeEcr, RegistryId},
    event::Claim,
    id::{AccountId, ExternalId, Region, RequestId},
    integration::RoleOwner,
    random::Randomness,
    session::{AssumeError, ProbeRole, Session, SessionName},
    tenant_account::{ReadError, ReadTrustPolicy},
    verdict::{Check, Outcome, Probe, Verdict},
};
use portwarden_oci::{Digest, Manifest, RepositoryName};

use crate::{
    problem::{Cause, Service, Subject},
    trust_policy::judge,
};

/// What the probes are made with.
pub struct Prober<'a> {
    /// Tries to assume roles.
    pub roles: &'a dyn ProbeRole,
    /// Reads what a role's own trust policy says.
    pub policies: &'a dyn ReadTrustPolicy,
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
    /// The account of the integration, if the tenant has named one.
    pub account: Option<&'a AccountId>,
    /// Who has the role.
    pub owner: RoleOwner,
    /// Whether this is the operator's own integration: the only one whose role lies in our account.
    pub is_operators: bool,
    /// Our connector role.
    pub connector: &'a RoleArn,
    /// What the stack of the role says.
    pub claim: Option<&'a Claim>,
    /// The ExternalId that the stack says its role demands, if it is another one.
    pub other_external_id: Option<&'a ExternalId>,
    /// Whether the stack says that it has made the role just now.
    pub is_new: bool,
    /// Which probes are made.
    pub list: ProbeList,
    /// What the last test of the role found.
    pub last: Option<&'a Verdict>,
}

/// Which probes are made: all that are calls to AWS cost something, to us or to the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeList {
    /// Everything, for the first region of an integration and whenever something may be wrong.
    Whole,
    /// What decides about trust, and what every pull needs: for further regions.
    Short,
    /// The same, with one kind of wrong ExternalId: each day, for a role that is proven.
    Daily,
}

/// What decided about trust, and what the role may be asked further.
pub struct Proof {
    pub(crate) probes: Probes,
    /// Opens the role, if it may be used further.
    pub(crate) session: Option<Session>,
}

/// How long to wait between attempts on AWS: a new role becomes assumable after 10 to 60 seconds.
pub const PATIENCE: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(25),
];

impl Prober<'_> {
    /// Finds out whether the role opens for us and refuses others; nothing is read in the account.
    pub async fn prove(&self, target: &Target<'_>, request: &RequestId) -> Proof {
        let mut probes = Probes(Vec::new());
        let session = self.probe_trust(target, request, &mut probes).await;
        Proof { probes, session }
    }

    async fn probe_trust(
        &self,
        target: &Target<'_>,
        request: &RequestId,
        probes: &mut Probes,
    ) -> Option<Session> {
        let fail = |cause: &Cause| Outcome::Failed(target.tell(cause));
        let check = |probes: &mut Probes, check, passed, cause: Cause| {
            probes.add(check, if passed { Outcome::Passed } else { fail(&cause) });
        };
        let same_partition = target.role.partition() == target.connector.partition();
        check(probes, Check::RoleArn, same_partition, Cause::OtherPartition);
        let is_ours = target.role.account() == target.connector.account();
        check(
            probes,
            Check::NotOurs,
            is_ours == target.is_operators,
            Cause::OurAccount,
        );
        let other_account = target.account.filter(|account| *account != target.role.account());
        probes.add(
            Check::SameAccount,
            other_account.map_or(Outcome::Passed, |account| {
                fail(&Cause::OtherAccount(account.clone()))
            }),
        );
        if probes.any_failed() {
            return None;
        }

        let name = SessionName::verify(request);
        let session = match self.open(target, &name).await {
            Ok(session) => session,
            Err(error) => {
                probes.add(Check::OpensWithExternalId, target.not_opened(&error));
                return None;
            }
        };
        probes.add(Check::OpensWithExternalId, Outcome::Passed);
        check(
            probes,
            Check::RoleFree,
            target.owner != RoleOwner::Other,
            Cause::Taken,
        );
        let own_account = session.account == *target.role.account();
        check(
            probes,
            Check::SessionAccount,
            own_account,
            Cause::SessionOfOtherAccount,
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
        let canary = match self.roles.probe_canary(target.region, name).await {
            Ok(_) => Outcome::Passed,
            Err(AssumeError::NotAllowed(_)) => Outcome::Unknown(target.tell(&Cause::CanaryClosed)),
            Err(error) => target.not_found_out(&error),
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
                Ok(_) => Outcome::Failed(target.tell(&Cause::OpensWithoutExternalId)),
                Err(AssumeError::NotAllowed(_)) if canary_opened => Outcome::Passed,
                Err(AssumeError::NotAllowed(_)) => Outcome::Unknown(target.tell(&Cause::CanaryClosed)),
                Err(error) => target.not_found_out(&error),
            },
        );

        let mut refused = Outcome::Passed;
        for wrong in self.wrong_external_ids(target) {
            match self
                .roles
                .probe_role(target.role, Some(&wrong), target.region, name)
                .await
            {
                Ok(_) => {
                    refused = Outcome::Failed(target.tell(&Cause::OpensWithOtherExternalId));
                    break;
                }
                Err(AssumeError::NotAllowed(_)) => {}
                Err(error) => refused = target.not_found_out(&error),
            }
        }
        probes.add(Check::RefusesOthers, refused);
    }

    /// Chooses the ids that must not open the role.
    ///
    /// A short list has the two that find every kind of wide trust: what opens with an id of nobody's opens with a changed
    /// one, too. A daily one has one kind at random, so that each has its days.
    fn wrong_external_ids(&self, target: &Target<'_>) -> Vec<String> {
        let all = wrong_external_ids(target.external_id, self.randomness);
        match target.list {
            ProbeList::Whole => all.into(),
            ProbeList::Short => all.into_iter().skip(1).collect(),
            ProbeList::Daily => {
                let mut byte = [0];
                self.randomness.fill(&mut byte);
                let chosen = usize::from(byte[0]) % all.len();
                all.into_iter().skip(chosen).take(1).collect()
            }
        }
    }

    /// Reads the role's own trust policy.
    pub async fn probe_trust_policy(&self, target: &Target<'_>, session: &Session) -> Outcome {
        let read = self
            .policies
            .read_trust_policy(session, target.role, target.region)
            .await;
        let judged = match read {
            Ok(policy) => judge(&policy, target.connector, target.external_id),
            Err(ReadError::Denied(_) | ReadError::Missing(_)) => {
                return Outcome::Unknown(target.tell(&Cause::TrustPolicyDenied));
            }
            Err(ReadError::Throttled) => {
                return Outcome::Unknown(target.tell(&Cause::Throttled(Service::Iam)));
            }
            Err(ReadError::Unreachable(_)) => {
                return Outcome::Unknown(target.tell(&Cause::Unreachable(Service::Iam)));
            }
        };
        match judged {
            Ok(()) => Outcome::Passed,
            Err(wide) => Outcome::Failed(target.tell(&Cause::TrustPolicy(wide))),
        }
    }

    /// Tries the actions that a scan or an inventory needs: all of them, or those that every pull needs.
    pub(crate) async fn probe_registry(&self, target: &Target<'_>, session: &Session, probes: &mut Probes) {
        let ecr = self.ecr;
        let registry = &RegistryId {
            account: target.role.account().clone(),
            region: target.region.clone(),
        };
        let mut note = |check, result: Result<(), EcrError>| {
            let outcome = result.map_or_else(|error| target.ecr_outcome(&error), |()| Outcome::Passed);
            probes.add(check, outcome);
        };
        // A role may be limited to some repositories, so one of them is asked about.
        let named = target.claim.and_then(|claim| claim.repositories.first().cloned());
        if target.list != ProbeList::Whole {
            // IAM decides before ECR looks, so that names of nothing tell as much where there is nothing.
            let repository = named.unwrap_or_else(nothing);
            let (result, described) = split(ecr.describe_images(session, registry, &repository).await);
            note(Check::EcrDescribeImages, result);
            let image = described
                .into_iter()
                .next()
                .unwrap_or_else(|| Digest::of(b"nothing"));
            let manifest = ecr.batch_get_image(session, registry, &repository, &image).await;
            note(Check::EcrBatchGetImage, manifest.map(drop));
            probes.carry_registry(target.last);
            return;
        }
        let login = ecr.get_authorization_token(session, registry).await;
        note(Check::EcrGetAuthorizationToken, login);

        let (result, repositories) = split(ecr.describe_repositories(session, registry).await);
        note(Check::EcrDescribeRepositories, result);
        let repository = named
            .or_else(|| repositories.into_iter().next())
            .unwrap_or_else(nothing);

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

/// What a scan or an inventory needs of the role.
pub(crate) const OF_REGISTRY: [Check; 7] = [
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

/// The probes that were made, in their order.
pub(crate) struct Probes(pub(crate) Vec<Probe>);

impl Probes {
    pub(crate) fn add(&mut self, check: Check, outcome: Outcome) {
        self.0.push(Probe { check, outcome });
    }

    pub(crate) fn skip(&mut self, check: Check, reason: &str) {
        self.add(
            check,
            Outcome::Skipped {
                reason: reason.to_owned(),
            },
        );
    }

    /// Takes over what an earlier test found of the registry, where this one did not try.
    pub(crate) fn carry_registry(&mut self, last: Option<&Verdict>) {
        for check in OF_REGISTRY {
            self.carry(check, last);
        }
    }

    fn carry(&mut self, check: Check, last: Option<&Verdict>) {
        if self.0.iter().any(|probe| probe.check == check) {
            return;
        }
        match last.and_then(|last| last.outcome(check)) {
            Some(outcome) => self.add(check, outcome.clone()),
            None => self.skip(check, "it is tried in the first region of the account"),
        }
    }

    fn any_failed(&self) -> bool {
        self.0
            .iter()
            .any(|probe| matches!(probe.outcome, Outcome::Failed(_)))
    }
}

impl Target<'_> {
    /// Says a cause in words about this target.
    pub(crate) fn tell(&self, cause: &Cause) -> portwarden_core::problem::Problem {
        cause.tell(&Subject {
            role: self.role,
            external_id: self.external_id,
            region: self.region,
            connector: self.connector,
        })
    }

    fn not_opened(&self, error: &AssumeError) -> Outcome {
        match (error, self.other_external_id) {
            (AssumeError::NotAllowed(_), Some(other)) => {
                Outcome::Failed(self.tell(&Cause::OtherExternalId(other.clone())))
            }
            (AssumeError::NotAllowed(_), None) if self.is_new => {
                Outcome::Unknown(self.tell(&Cause::NotPropagated))
            }
            (AssumeError::NotAllowed(_), None) => Outcome::Failed(self.tell(&Cause::NotAssumable)),
            (AssumeError::RegionDisabled(_), _) => Outcome::Failed(self.tell(&Cause::RegionDisabled)),
            (other, _) => self.not_found_out(other),
        }
    }

    pub(crate) fn not_found_out(&self, error: &AssumeError) -> Outcome {
        Outcome::Unknown(self.tell(&match error {
            AssumeError::Connector(_) => Cause::ConnectorClosed,
            AssumeError::RegionDisabled(_) => Cause::RegionDisabled,
            AssumeError::Throttled => Cause::Throttled(Service::Sts),
            AssumeError::NotAllowed(_) | AssumeError::Unreachable(_) => Cause::Unreachable(Service::Sts),
        }))
    }

    fn ecr_outcome(&self, error: &EcrError) -> Outcome {
        match error {
            EcrError::Denied { action, source } => {
                let cause = if is_of_organization(&source.to_string()) {
                    Cause::ActionDeniedByOrganization(action)
                } else {
                    Cause::ActionDenied(action)
                };
                Outcome::Failed(self.tell(&cause))
            }
            EcrError::KeyClosed(_) => Outcome::Failed(self.tell(&Cause::KeyClosed)),
            EcrError::Expired => Outcome::Unknown(self.tell(&Cause::SessionEnded)),
            EcrError::Throttled => Outcome::Unknown(self.tell(&Cause::Throttled(Service::Ecr))),
            EcrError::Unreachable(_) => Outcome::Unknown(self.tell(&Cause::Unreachable(Service::Ecr))),
        }
    }
}

/// Source: IAM user guide, "Troubleshoot access denied error messages": "with an explicit deny in a service control
/// policy".
fn is_of_organization(message: &str) -> bool {
    message.contains("service control policy") || message.contains("resource control policy")
}
