//! What probes say, in sentences.

use portwarden_core::verdict::Check;

/// Says what is the case if a probe passes.
pub fn sentence(check: Check) -> &'static str {
    match check {
        Check::RoleArn => "The role's ARN is well-formed",
        Check::NotOurs => "The role is not in the account that Portwarden runs in",
        Check::SameAccount => "The role is in the integration's account",
        Check::RoleFree => "No other integration has the role",
        Check::OpensWithExternalId => "The role opens with the integration's ExternalId",
        Check::SessionAccount => "The session belongs to the role's account",
        Check::Canary => "Portwarden's own policies let the next two probes through",
        Check::RefusesNone => "The role does not open without an ExternalId",
        Check::RefusesOthers => "The role does not open with another ExternalId",
        Check::TrustPolicy => "The role's trust policy names Portwarden alone",
        Check::Credentials => "The credentials that the stack made are known",
        Check::EcrGetAuthorizationToken => "The role may sign in to the registry",
        Check::EcrDescribeRepositories => "The role may list repositories",
        Check::EcrDescribeImages => "The role may describe images",
        Check::EcrListImages => "The role may list images",
        Check::EcrBatchGetImage => "The role may read manifests",
        Check::EcrGetDownloadUrlForLayer => "The role may read layers",
        Check::EcrBatchCheckLayerAvailability => "The role may ask for layers",
        Check::EventPath => "Events come over the path that pushes take",
        Check::TemplateVersion => "The stack's template is recent enough",
    }
}
