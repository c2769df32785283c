//! Rounds: what is noticed without anybody asking, and that all tests of a day together spare STS.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portwarden_aws::Metrics;
use portwarden_core::{
    announce::{Announce, AnnounceError, Announcement, MemoryBus},
    arn::RoleArn,
    clock::{Clock as _, ManualClock},
    event::Claim,
    id::{IntegrationId, Region},
    integration::{Closed, Light, Removal, RemovalReason, Slot},
    session::{AssumeError, ProbeRole, Session, SessionName},
    tenant_account::{ReadError, ReadTrustPolicy},
    verdict::Conclusion,
    work::{InventoryReason, InventoryRequest, VerifyReason, VerifyRequest},
};
use portwarden_verifier::{
    context::Context,
    handler::verify,
    round::{Rounded, go_round},
};
use serde_json::json;

use crate::world::{Bench, CONNECTOR, GOOD, Party, ROLE, World, refuse, region};

/// Goes round as the schedule does, once every five minutes.
struct Warden<'a> {
    context: Context,
    clock: &'a ManualClock,
    rounds: Vec<Rounded>,
}

impl<'a> Warden<'a> {
    fn new(context: Context, clock: &'a ManualClock) -> Self {
        Self {
            context,
            clock,
            rounds: Vec::new(),
        }
    }

    async fn once(&mut self) -> Rounded {
        let now = self.clock.now();
        let metrics = Metrics::written_by(self.context.clock.clone(), |_| {});
        let rounded = go_round(&self.context, &metrics, now + Slot::LENGTH)
            .await
            .unwrap();
        let rounded = rounded.expect("nobody else goes round");
        self.rounds.push(rounded);
        let rest = (now + Slot::LENGTH).duration_since(self.clock.now());
        self.clock
            .advance(Duration::try_from(rest).expect("a round takes less than five minutes"));
        rounded
    }

    async fn for_a(&mut self, time: SignedDuration) {
        for _ in 0..time.as_secs() / Slot::LENGTH.as_secs() {
            self.once().await;
        }
    }

    fn sum(&self, of: fn(&Rounded) -> u64) -> u64 {
        self.rounds.iter().map(of).sum()
    }
}

const DAY: SignedDuration = SignedDuration::from_hours(24);
const QUARTER: SignedDuration = SignedDuration::from_mins(15);

impl Bench {
    /// Lets a stack say that it is there, and has its role proven.
    async fn connect(&self, world: &Arc<World>, party: &Party) {
        let claim: Claim = serde_json::from_value(json!({
            "role-arn": ROLE, "external-id": party.external_id, "template-version": "2", "rate-minutes": 15,
        }))
        .unwrap();
        self.beat(party, world.clock.now()).await;
        self.verify(world, party, ROLE).await;
        let request = VerifyRequest {
            claim: Some(claim),
            ..party.request(VerifyReason::Stack)
        };
        self.run(world, party, request).await;
        assert!(self.trust(party).await.is_proven());
    }

    async fn beat(&self, party: &Party, at: Timestamp) {
        self.integrations()
            .record_heartbeat(&party.scope, &party.integration, &region(), at, None)
            .await
            .unwrap();
    }

    async fn light(&self, world: &World, party: &Party) -> Light {
        let found = self.integrations().find(&party.scope, &party.integration).await;
        let connection = found.unwrap().unwrap();
        connection.status(&region(), world.clock.now()).unwrap().light
    }
}

#[tokio::test]
async fn a_silent_stack_turns_amber_by_itself_and_green_again() {
    let bench = Bench::new();
    let party = bench.party().await;
    let world = Arc::new(World::new(GOOD));
    bench.connect(&world, &party).await;
    bench.told();
    let last = world.clock.now();
    let mut warden = Warden::new(bench.context(&world), &world.clock);
    warden.for_a(SignedDuration::from_mins(30)).await;
    assert_eq!(bench.told(), [], "one heartbeat may be late");
    warden.for_a(QUARTER + SignedDuration::from_mins(5)).await;
    let told = bench.bus.take();
    let [Announcement::ConnectionChanged(changed)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (changed.status, changed.code.as_deref()),
        (Light::Amber, Some("event_path_silent"))
    );
    assert!(
        changed.sentence.contains(&format!("{last:.0}")),
        "{}",
        changed.sentence
    );
    assert_eq!(bench.light(&world, &party).await, Light::Amber);
    warden.for_a(SignedDuration::from_hours(2)).await;
    assert_eq!(bench.told(), [], "once");
    bench.beat(&party, world.clock.now()).await;
    warden.for_a(QUARTER).await;
    assert_eq!(
        bench.told().iter().map(|told| told.1).collect::<Vec<_>>(),
        [Light::Green]
    );
}

/// A bus that fails for a while.
struct Failing(Arc<MemoryBus>, AtomicBool);

#[async_trait]
impl Announce for Failing {
    async fn announce(&self, announcement: &Announcement) -> Result<(), AnnounceError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(AnnounceError("down".into()));
        }
        self.0.announce(announcement).await
    }
}

#[tokio::test]
async fn a_change_that_could_not_be_told_is_told_later_in_its_turn() {
    let bench = Bench::new();
    let party = bench.party().await;
    let world = Arc::new(World::new(GOOD));
    *world.right.lock().unwrap() = party.external_id.to_string();
    let bus = Arc::new(Failing(bench.bus.clone(), AtomicBool::new(true)));
    let context = Context {
        bus: bus.clone(),
        ..bench.context(&world)
    };
    let request = VerifyRequest {
        role: Some(ROLE.parse().unwrap()),
        ..party.request(VerifyReason::Asked)
    };
    // The verdict is stored, and then nobody could be told; the queue would bring the message again.
    verify(&context, &request).await.unwrap_err();
    assert!(bench.trust(&party).await.is_proven());
    let heartbeat = world.clock.now();
    bench.beat(&party, heartbeat).await;
    bus.1.store(false, Ordering::SeqCst);
    let mut warden = Warden::new(context, &world.clock);
    warden.for_a(QUARTER).await;
    let told = bench.told();
    let numbers: Vec<_> = told.iter().map(|(number, light, _)| (*number, *light)).collect();
    assert_eq!(numbers, [(1, Light::Pending), (2, Light::Green)]);
}

#[tokio::test]
async fn a_tenant_whose_role_refuses_us_for_a_week_has_left() {
    let bench = Bench::new();
    let party = bench.party().await;
    let world = Arc::new(World::new(GOOD));
    bench.connect(&world, &party).await;
    bench.told();
    // The stack is deleted: STS says no from now on.
    let gone = Arc::new(World {
        clock: world.clock.clone(),
        ..World::new(|_, _| false)
    });
    gone.right
        .lock()
        .unwrap()
        .clone_from(&party.external_id.to_string());
    let mut warden = Warden::new(bench.context(&gone), &gone.clock);
    warden.for_a(Closed::LEFT_AFTER).await;
    assert_eq!(bench.light(&gone, &party).await, Light::Red);
    let removal = async || {
        let integrations = bench.integrations();
        integrations
            .removal(&party.scope, &party.integration)
            .await
            .unwrap()
    };
    assert_eq!(removal().await, None, "the week begins with the first refusal");
    // The first refusal came up to a day later, and so comes the first test after a whole week.
    warden.for_a(DAY + DAY + QUARTER).await;
    let receipt = removal().await.expect("it is removed");
    assert_eq!(receipt.reason, RemovalReason::RoleClosed);
    assert_eq!(receipt.purge_from, receipt.removed_at + Removal::KEPT);
    assert_eq!(bench.light(&gone, &party).await, Light::Removed);
    let lights: Vec<_> = bench.told().iter().map(|told| told.1).collect();
    assert_eq!(
        lights[lights.len() - 2..],
        [Light::Red, Light::Removed],
        "{lights:?}"
    );
    assert_eq!(warden.sum(|round| round.left), 1);
    // Nobody works for it any more.
    gone.calls.lock().unwrap().clear();
    warden.for_a(DAY).await;
    assert_eq!(*gone.calls.lock().unwrap(), Vec::<String>::new());
    warden.for_a(Removal::KEPT).await;
    let receipt = removal().await.unwrap();
    assert_eq!(
        (receipt.purged_at.is_some(), receipt.deleted.regions),
        (true, 1),
        "{receipt:?}"
    );
    // Its role is free: the account can be connected again, under new ids.
    let again = bench.party().await;
    let world = Arc::new(World::new(GOOD));
    assert_eq!(
        bench.verdict(&world, &again).await.conclusion(),
        Conclusion::Trusted
    );
}

#[tokio::test]
async fn a_role_that_trusts_too_many_or_cannot_be_asked_about_is_no_farewell() {
    let unreachable: fn() -> AssumeError = || AssumeError::Throttled;
    for (name, trusts, failures) in [
        (
            "too wide",
            (|_: &str, _: Option<&str>| true) as crate::world::Trusts,
            0,
        ),
        ("throttled", GOOD, 10_000),
    ] {
        let bench = Bench::new();
        let party = bench.party().await;
        let world = Arc::new(World::new(GOOD));
        bench.connect(&world, &party).await;
        // Longer than what counts as just tested.
        world.clock.advance(Duration::from_hours(2));
        let later = World {
            clock: world.clock.clone(),
            ..World::new(trusts)
        };
        *later.failures.lock().unwrap() = (0..failures).map(|_| Some(unreachable())).collect();
        *later.right.lock().unwrap() = party.external_id.to_string();
        let later = Arc::new(later);
        let mut warden = Warden::new(bench.context(&later), &later.clock);
        warden.for_a(DAY * 9).await;
        assert_eq!(warden.sum(|round| round.tested), 9, "{name}");
        assert_eq!(warden.sum(|round| round.left), 0, "{name}");
        let light = bench.light(&later, &party).await;
        let expected = if failures == 0 { Light::Red } else { Light::Amber };
        assert_eq!(light, expected, "{name}");
    }
}

/// An STS and an IAM with many roles, each of which trusts its integration; a call takes 40 ms.
struct Town {
    clock: ManualClock,
    ids: HashMap<String, String>,
    asked: Mutex<Vec<(Timestamp, Option<String>)>>,
}

impl Town {
    fn ask(&self, role: Option<&RoleArn>, opens: bool) -> Result<Session, AssumeError> {
        let at = self.clock.now();
        self.asked
            .lock()
            .unwrap()
            .push((at, role.map(ToString::to_string)));
        self.clock.advance(Duration::from_millis(40));
        if !opens {
            return Err(refuse());
        }
        Ok(Session {
            access_key_id: "ASIA".to_owned(),
            secret_access_key: "secret".to_owned().into(),
            session_token: "token".to_owned().into(),
            expires_at: Timestamp::MAX,
            account: "111122223333".parse().unwrap(),
        })
    }
}

#[async_trait]
impl ProbeRole for Town {
    async fn probe_role(
        &self,
        role: &RoleArn,
        external_id: Option<&str>,
        _: &Region,
        _: &SessionName,
    ) -> Result<Session, AssumeError> {
        let right = external_id.is_some() && self.ids.get(role.as_str()).map(String::as_str) == external_id;
        self.ask(right.then_some(role), right)
    }

    async fn probe_canary(&self, _: &Region, _: &SessionName) -> Result<Session, AssumeError> {
        self.ask(None, true)
    }
}

#[async_trait]
impl ReadTrustPolicy for Town {
    async fn read_trust_policy(&self, _: &Session, role: &RoleArn, _: &Region) -> Result<String, ReadError> {
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": CONNECTOR}, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": self.ids[role.as_str()]}},
        }]});
        Ok(policy.to_string())
    }
}

/// How many integrations: `PORTWARDEN_INTEGRATIONS=10000` makes the test what the operations document says.
#[expect(clippy::disallowed_methods, reason = "the setting of a test")]
fn population() -> usize {
    std::env::var("PORTWARDEN_INTEGRATIONS").map_or(300, |count| count.parse().unwrap())
}

#[tokio::test]
async fn all_are_tested_once_a_day_and_sts_is_asked_five_times_a_second_at_most() {
    let bench = Bench::new();
    let world = Arc::new(World::new(GOOD));
    let mut roles: Vec<(Party, RoleArn)> = Vec::new();
    let mut ids = HashMap::new();
    for number in 0..population() {
        let party = bench.quick_party().await;
        let role: RoleArn = format!("arn:aws:iam::111122223333:role/r{number}")
            .parse()
            .unwrap();
        ids.insert(role.to_string(), party.external_id.to_string());
        roles.push((party, role));
    }
    let town = Arc::new(Town {
        clock: world.clock.clone(),
        ids,
        asked: Mutex::default(),
    });
    let context = Context {
        roles: town.clone(),
        policies: town.clone(),
        ..bench.context(&world)
    };
    for (party, role) in &roles {
        let request = VerifyRequest {
            role: Some(role.clone()),
            ..party.request(VerifyReason::Asked)
        };
        verify(&context, &request).await.unwrap();
        assert!(bench.trust(party).await.is_proven());
    }
    let mut warden = Warden::new(context, &world.clock);
    // Longer than what counts as just tested.
    world.clock.advance(Duration::from_hours(2));
    town.asked.lock().unwrap().clear();
    warden.for_a(DAY).await;
    assert!(warden.rounds.iter().all(|round| round.finished));
    assert_eq!(warden.sum(|round| round.tested), roles.len() as u64);
    assert_eq!(warden.sum(|round| round.looked), roles.len() as u64 * 96);
    let asked = town.asked.lock().unwrap();
    let mut tests: BTreeMap<&str, u32> = BTreeMap::new();
    for role in asked.iter().filter_map(|(_, role)| role.as_deref()) {
        *tests.entry(role).or_default() += 1;
    }
    assert_eq!(tests.len(), roles.len());
    assert!(tests.values().all(|count| *count == 1), "{tests:?}");
    let second = SignedDuration::from_secs(1);
    let busiest = (0..asked.len()).map(|first| {
        let until = asked[first].0 + second;
        asked[first..].iter().take_while(|(at, _)| *at < until).count()
    });
    let busiest = busiest.max().unwrap();
    println!(
        "{} integrations: {} calls to STS, at most {busiest} in a second",
        roles.len(),
        asked.len()
    );
    // One more may be the connector's own session, once an hour.
    assert!((2..=4).contains(&busiest), "{busiest} calls in a second");
}

#[tokio::test]
async fn a_round_that_runs_out_of_time_is_gone_on_with() {
    let bench = Bench::new();
    let world = Arc::new(World::new(GOOD));
    let mut by_slot: BTreeMap<Slot, Vec<IntegrationId>> = BTreeMap::new();
    let mut ids = HashMap::new();
    let context = bench.context(&world);
    let integrations = bench.integrations();
    for number in 0..200 {
        let party = bench.quick_party().await;
        let role: RoleArn = format!("arn:aws:iam::111122223333:role/r{number}")
            .parse()
            .unwrap();
        let claimed = integrations
            .claim_role(&party.scope, &party.integration, &region(), &role, None)
            .await;
        assert!(claimed.unwrap());
        ids.insert(role.to_string(), party.external_id.to_string());
        let slot = Slot::of(&party.integration, &region());
        by_slot.entry(slot).or_default().push(party.integration);
    }
    let town = Arc::new(Town {
        clock: world.clock.clone(),
        ids,
        asked: Mutex::default(),
    });
    let context = Context {
        roles: town.clone(),
        policies: town,
        ..context
    };
    let metrics = Metrics::written_by(context.clock.clone(), |_| {});
    let (mut tested, mut unfinished) = (0, 0);
    // Each round has one second for its tests, and a test takes about as long.
    for number in 1..=2 * 288_i64 {
        let now = world.clock.now();
        let rounded = go_round(&context, &metrics, now + SignedDuration::from_secs(31))
            .await
            .unwrap()
            .unwrap();
        tested += rounded.tested;
        unfinished += u64::from(!rounded.finished);
        let next = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(5 * number);
        world
            .clock
            .advance(Duration::try_from(next.duration_since(world.clock.now())).unwrap());
    }
    assert!(unfinished > 10, "{unfinished}: the test shows nothing");
    assert!(tested >= 200, "{tested}");
    for slot in by_slot.keys() {
        let mut after = None;
        while let Some(last) = {
            let page = context.directory.scheduled(*slot, after.as_ref()).await.unwrap();
            for scheduled in &page {
                let found = integrations
                    .find(&scheduled.scope(), &scheduled.integration)
                    .await;
                assert!(found.unwrap().unwrap().regions[&region()].verdict.is_some());
            }
            page.last().cloned()
        } {
            after = Some(last);
        }
    }
}

#[tokio::test]
async fn each_proven_region_is_compared_with_ecr_once_a_day() {
    let bench = Bench::new();
    let [trusted, refused, removed] = [
        bench.quick_party().await,
        bench.quick_party().await,
        bench.quick_party().await,
    ];
    let [good, wide] = [World::new(GOOD), World::new(|_, _| true)].map(Arc::new);
    for (world, party) in [(&good, &trusted), (&wide, &refused), (&good, &removed)] {
        bench
            .verify(world, party, &format!("{ROLE}-{}", party.integration))
            .await;
    }
    let queued = || bench.queues.take_inventories();
    let asked = |(request, delay): &(InventoryRequest, Duration)| {
        assert!(delay.is_zero());
        (request.integration.clone(), request.reason)
    };
    // Once its role is proven, everything that was there before is listed.
    let backfills: Vec<_> = queued().iter().map(asked).collect();
    let connected = InventoryReason::Connected;
    assert_eq!(
        backfills,
        [
            (trusted.integration.clone(), connected),
            (removed.integration.clone(), connected)
        ]
    );
    bench
        .integrations()
        .remove_because(
            &removed.scope,
            &removed.integration,
            RemovalReason::Asked,
            good.clock.now(),
        )
        .await
        .unwrap();
    *good.right.lock().unwrap() = trusted.external_id.to_string();
    let mut warden = Warden::new(bench.context(&good), &good.clock);
    for day in 0..3 {
        // Asked for by somebody just before, so that the round does not test it again.
        let until_its_slot = warden.rounds.iter().position(|round| round.swept > 0);
        for number in 0..288 {
            if day == 2 && Some(number) == until_its_slot {
                bench
                    .verify(&good, &trusted, &format!("{ROLE}-{}", trusted.integration))
                    .await;
            }
            warden.once().await;
        }
        let sweeps: Vec<_> = queued()
            .iter()
            .filter(|(request, _)| request.reason == InventoryReason::Schedule)
            .map(asked)
            .collect();
        let expected = (trusted.integration.clone(), InventoryReason::Schedule);
        assert_eq!(sweeps, [expected], "day {day}");
    }
    assert_eq!(warden.sum(|round| round.swept), 3);
}

#[tokio::test]
async fn a_wide_role_never_passes_by_luck() {
    // Only one kind of wrong id opens it.
    let ignores_case: crate::world::Trusts =
        |right, given| given.is_some_and(|given| given.eq_ignore_ascii_case(right));
    let bench = Bench::new();
    let party = bench.party().await;
    let world = Arc::new(World::new(ignores_case));
    assert_eq!(
        bench.verdict(&world, &party).await.conclusion(),
        Conclusion::Refused
    );
    // Longer than what counts as just tested.
    world.clock.advance(Duration::from_hours(2));
    let mut warden = Warden::new(bench.context(&world), &world.clock);
    for _ in 0..20 {
        warden.for_a(DAY).await;
        assert_eq!(bench.light(&world, &party).await, Light::Red);
    }
    assert_eq!(warden.sum(|round| round.tested), 20);

    // A further region, beside one that is proven.
    for _ in 0..20 {
        let party = bench.quick_party().await;
        let good: Arc<World> = Arc::new(World::new(GOOD));
        let role = format!("{ROLE}-{}", party.integration);
        let verify = bench.verify(&good, &party, &role).await;
        assert!(bench.trust(&party).await.is_proven(), "{verify:?}");
        let further: Region = "eu-west-1".parse().unwrap();
        let integrations = bench.integrations();
        integrations
            .claim_region(&party.scope, &party.integration, &further)
            .await
            .unwrap();
        let claim = json!({
            "role-arn": format!("{role}-2"), "external-id": party.external_id, "template-version": "2",
        });
        let request = VerifyRequest {
            region: further.clone(),
            claim: serde_json::from_value(claim).ok(),
            ..party.request(VerifyReason::Stack)
        };
        bench.run(&world, &party, request).await;
        let found = integrations.find(&party.scope, &party.integration).await;
        assert!(found.unwrap().unwrap().trusted_role(&further).is_none());
    }
}
