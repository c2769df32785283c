//! Who may use the console of a local cloud: an issuer on loopback, and a demonstration administrator.

use std::sync::Arc;

use portwarden_aws::SystemClock;
use portwarden_core::{
    access::{Members, Person, Role},
    clock::Clock as _,
    id::TenantId,
    scope::OperatorScope,
    store::Store,
};
use portwarden_testkit::issuer::IssuerServer;

use crate::error::LocalError;

/// The client that the console is to the issuer.
pub(crate) const CLIENT: &str = "portwarden";

/// The subject of the demonstration administrator.
pub(crate) const ADMINISTRATOR: &str = "demonstration-administrator";

/// Everybody whom the issuer signs in.
const PEOPLE: [(&str, &str); 3] = [
    (ADMINISTRATOR, "Demonstration administrator"),
    ("demonstration-reader", "Demonstration reader"),
    ("stranger", "Stranger, who is in no tenant"),
];

/// Starts the issuer; its signatures are real, and it checks no password.
pub(crate) async fn start_issuer() -> Result<IssuerServer, LocalError> {
    IssuerServer::start(CLIENT, &PEOPLE)
        .await
        .map_err(|source| LocalError::call("start the issuer of tokens", source))
}

/// Makes the demonstration's people members of tenants, and its administrator an operator.
pub(crate) async fn join(
    store: Arc<dyn Store>,
    issuer: &IssuerServer,
    tenants: impl IntoIterator<Item = TenantId>,
) -> Result<(), LocalError> {
    let failed = |error| LocalError::call("add a member", error);
    let members = Members::new(store);
    let (operator, now) = (OperatorScope::of_this_process(), SystemClock.now());
    let person = |(subject, name): (&str, &str)| Person::proven(issuer.issuer(), subject, name);
    let [administrator, reader, _] = PEOPLE.map(person);
    for tenant in tenants {
        let scope = operator.tenant(tenant);
        for (person, role) in [(&administrator, Role::Administrator), (&reader, Role::Reader)] {
            let added = members.add(operator, &scope, person, role, now);
            added.await.map_err(failed)?;
        }
    }
    members
        .add_operator(operator, &administrator, now)
        .await
        .map_err(failed)?;
    Ok(())
}
