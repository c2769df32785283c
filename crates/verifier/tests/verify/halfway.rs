//! What is seen while a test is under way: a role that is proven is not yet a connection that works.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use portwarden_core::{
    arn::SecretArn,
    event::Claim,
    id::{IntegrationId, Region},
    integration::{Integrations, Light},
    scope::TenantScope,
    session::Session,
    tenant_account::{ReadError, ReadSecret},
    work::{VerifyReason, VerifyRequest},
};
use portwarden_verifier::{context::Context, handler::verify};
use secrecy::SecretString;
use serde_json::json;

use crate::world::{Bench, GOOD, ROLE, SECRET, World, region};

/// A secret that is looked at by somebody who looks at the connection at the same time.
struct Onlooker {
    integrations: Integrations,
    scope: TenantScope,
    id: IntegrationId,
    seen: Mutex<Vec<(bool, bool, Light)>>,
}

#[async_trait]
impl ReadSecret for Onlooker {
    async fn read_secret(&self, _: &Session, _: &SecretArn, _: &Region) -> Result<SecretString, ReadError> {
        let found = self.integrations.find(&self.scope, &self.id).await.unwrap();
        let connection = found.unwrap();
        self.seen.lock().unwrap().push((
            connection.regions[&region()].trust.is_proven(),
            connection.verdict(&region()).unwrap().is_green(),
            connection.status(&region(), Timestamp::UNIX_EPOCH).unwrap().light,
        ));
        Ok(SECRET.to_owned().into())
    }
}

#[tokio::test]
async fn nothing_is_green_before_the_test_has_come_to_its_end() {
    let bench = Bench::new();
    let party = bench.quick_party().await;
    let account = "111122223333".parse().unwrap();
    let integrations = bench.integrations();
    let confirmed = integrations.confirm_account(&party.scope, &party.integration, &account);
    confirmed.await.unwrap();
    let onlooker = Arc::new(Onlooker {
        integrations: bench.integrations(),
        scope: party.scope.clone(),
        id: party.integration.clone(),
        seen: Mutex::default(),
    });
    let mut world = World::new(GOOD);
    world.denied.insert("ecr:BatchGetImage");
    let world = Arc::new(world);
    *world.right.lock().unwrap() = party.external_id.to_string();
    let context = Context {
        secrets: onlooker.clone(),
        ..bench.context(&world)
    };
    let claim = |generation: u32| -> Claim {
        let said = json!({
            "role-arn": ROLE, "external-id": party.external_id, "template-version": "4", "rate-minutes": 15,
            "credential-generation": generation,
            "secret-arn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:portwarden-Secret-a1b2c3",
        });
        serde_json::from_value(said).unwrap()
    };
    for (generation, reason) in [(1, VerifyReason::Claim), (2, VerifyReason::Stack)] {
        let request = VerifyRequest {
            claim: Some(claim(generation)),
            ..party.request(reason)
        };
        verify(&context, &request).await.unwrap();
        integrations
            .record_heartbeat(
                &party.scope,
                &party.integration,
                &region(),
                Timestamp::UNIX_EPOCH,
                None,
            )
            .await
            .unwrap();
    }
    // First nothing has come; with new credentials, what the role lacked before it lacks still.
    assert_eq!(
        *onlooker.seen.lock().unwrap(),
        [(true, false, Light::Pending), (true, false, Light::Amber)]
    );
}
