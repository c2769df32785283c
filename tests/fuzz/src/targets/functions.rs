//! The event endpoint as a whole, and the address of an emulator.

use std::{cell::RefCell, sync::Arc, time::Duration};

use aws_lambda_events::event::sqs::SqsEvent;
use futures_util::FutureExt as _;
use portwarden_aws::EmulatorEndpoint;
use portwarden_core::{
    clock::{Clock as _, ManualClock},
    endpoint::{Password, Username},
    id::RequestId,
    integration::{Integrations, NamedBy, NewRegion},
    random::{OsRandomness, Randomness},
    scope::OperatorScope,
    store::MemoryStore,
    tenant::Tenants,
    verdict::{Check, Outcome, Probe, Verdict},
    work::MemoryQueues,
};
use portwarden_local::run::StackFile;
use portwarden_receiver::{
    context::{Context, CountEvents, OperatorSettings, Outside},
    handler::handle,
};
use portwarden_testkit::events;
use portwarden_verifier::trust_policy::{TooWide, judge};
use serde_json::{Value, json};

use crate::law::error_is_short;

targets! { invocation emulator_address trust_policy }

/// The trust policy of a tenant's role: what is taken is refused as soon as everybody is named beside us.
fn trust_policy(input: &[u8]) {
    let Ok(policy) = str::from_utf8(input) else {
        return;
    };
    let connector = "arn:aws:iam::999988887777:role/portwarden-connector"
        .parse()
        .unwrap();
    let external_id = "pw-0123456789abcdefghjkmnpqrs".parse().unwrap();
    let judged = |policy: &str| judge(policy, &connector, &external_id);
    let verdict = judged(policy);
    let Ok(mut policy) = serde_json::from_str::<Value>(policy) else {
        assert_eq!(verdict, Err(TooWide::Unreadable));
        return;
    };
    assert_eq!(judged(&policy.to_string()), verdict);
    if verdict.is_ok() {
        let statements = &mut policy["Statement"];
        let everybody = json!({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"});
        *statements = match statements.take() {
            Value::Array(mut all) => {
                all.push(everybody);
                Value::Array(all)
            }
            one => json!([one, everybody]),
        };
        assert!(judged(&policy.to_string()).is_err(), "{policy}");
    }
}

/// What invokes the receiver: a request of the HTTP API, or an event of the operator's own rule.
fn invocation(input: &[u8]) {
    let Ok(payload) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let is_http = payload.get("requestContext").is_some();
    WORLD.with_borrow_mut(|world| {
        let world = match world {
            Some(world) if world.invocations < INVOCATIONS => world,
            stale => stale.insert(World::connected()),
        };
        world.invocations += 1;
        // The tenant's budget is not to run out.
        world.clock.advance(Duration::from_secs(1));
        let answer = handle(&world.context, &payload, None).now_or_never().unwrap();
        match answer {
            Ok(answer) if is_http => is_in_the_table(&answer),
            Ok(answer) => assert_eq!(answer, Value::Null),
            Err(refusal) => {
                assert!(!is_http, "HTTP is always answered");
                error_is_short(&refusal);
            }
        }
        let queued = world.queues.take_scans().len() + world.queues.take_verifications().len();
        assert!(queued <= 1, "an event leads to {queued} pieces of work");
    });
    // The batches of the other functions come in the same way.
    if let Ok(batch) = serde_json::from_slice::<SqsEvent>(input) {
        super::core::work(
            batch
                .records
                .first()
                .and_then(|first| first.body.as_deref())
                .unwrap_or_default()
                .as_bytes(),
        );
    }
}

fn is_in_the_table(answer: &Value) {
    let status = answer["statusCode"].as_u64().unwrap();
    assert!(
        [202, 400, 404, 405, 410, 413, 415, 422, 429, 503].contains(&status),
        "{answer}"
    );
    let text = answer.to_string();
    assert!(text.len() <= 2048, "{} bytes of answer", text.len());
    assert!(!text.contains(events::PASSWORD), "{text}");
    let may_retry = answer["headers"]["retry-after"].is_string();
    assert_eq!(may_retry, [429, 503].contains(&status), "{answer}");
}

/// How many invocations a process handles before it is replaced, so that the table does not grow for ever.
const INVOCATIONS: u32 = 1000;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

struct World {
    context: Context,
    clock: ManualClock,
    queues: Arc<MemoryQueues>,
    invocations: u32,
}

impl World {
    /// Connects the integration of the recorded events.
    fn connected() -> Self {
        let (store, queues) = (
            Arc::new(MemoryStore::default()),
            Arc::new(MemoryQueues::default()),
        );
        let clock = ManualClock::at("2026-11-16T01:20:00Z".parse().unwrap());
        connect(&store, &clock).now_or_never().unwrap();
        let outside = Outside {
            store,
            scans: queues.clone(),
            verifications: queues.clone(),
            inventories: queues.clone(),
            clock: Arc::new(clock.clone()),
            randomness: Arc::new(OsRandomness),
            counts: Arc::new(Uncounted),
        };
        let operator = OperatorSettings {
            role: "arn:aws:iam::999988887777:role/portwarden-OperatorRole"
                .parse()
                .unwrap(),
            external_id: "pw-5f0d1c20-c2a1-11f0-9d53-0a1b2c3d4e5f".parse().unwrap(),
            region: "eu-west-1".parse().unwrap(),
        };
        Self {
            context: Context::new(outside, operator),
            clock,
            queues,
            invocations: 0,
        }
    }
}

async fn connect(store: &Arc<MemoryStore>, clock: &ManualClock) {
    let (operator, now) = (OperatorScope::of_this_process(), clock.now());
    let tenants = Tenants::new(store.clone());
    let tenant = tenants
        .create(operator, "A tenant", now, &Counting)
        .await
        .unwrap();
    let scope = operator.tenant(tenant.id);
    let region = NewRegion::Classic {
        region: "eu-west-1".parse().unwrap(),
        username: Username::parse(events::USERNAME).unwrap(),
        password: Password::parse(&events::PASSWORD.to_owned().into()).unwrap(),
    };
    let integrations = Integrations::new(store.clone());
    let made = integrations
        .create(&scope, "An account", &[region], now, &Counting)
        .await;
    let id = made.unwrap().integration.id;
    assert_eq!(id.as_str(), events::INTEGRATION);
    let role = "arn:aws:iam::111122223333:role/portwarden-ecr-Role-1A2B3C4D5E6F"
        .parse()
        .unwrap();
    let passed = |check| Probe {
        check,
        outcome: Outcome::Passed,
    };
    let verdict = Verdict {
        at: now,
        request: RequestId::generate(&OsRandomness),
        probes: Check::OF_TRUST.map(passed).into(),
    };
    let region = "eu-west-1".parse().unwrap();
    let recorded = integrations
        .record_verdict(&scope, &id, &region, (&role, NamedBy::Tenant(None)), &verdict)
        .await;
    assert!(recorded.unwrap().now.is_proven());
}

/// Counts up in every byte, which gives the ids of the recorded events.
struct Counting;

impl Randomness for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for (byte, value) in bytes.iter_mut().zip(0..) {
            *byte = value;
        }
    }
}

struct Uncounted;

impl CountEvents for Uncounted {
    fn accepted(&self, _: &'static str) {}
    fn refused(&self, _: &'static str) {}
}

/// The local cloud's description of itself, and the address in it: whatever it says, it is on this machine.
fn emulator_address(input: &[u8]) {
    let address = match serde_json::from_slice::<StackFile>(input) {
        Ok(file) => file.emulator,
        Err(_) => String::from_utf8_lossy(input).into_owned(),
    };
    match address.parse::<EmulatorEndpoint>() {
        Ok(emulator) => {
            let host = emulator.url().replace(&format!(":{}", emulator.port()), "");
            assert!(
                ["http://127.0.0.1", "http://localhost"].contains(&&*host),
                "{host}"
            );
        }
        Err(error) => error_is_short(&error),
    }
}
