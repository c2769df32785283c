//! How many calls to AWS and to registries an event costs: the functions' own programs, with a counting proxy before the
//! local cloud. What an attempt that is made again costs is counted, too.

use portwarden_aws::SystemClock;
use portwarden_core::{
    clock::Clock as _,
    id::{Region, RequestId},
    integration::Integrations,
    random::OsRandomness,
    scope::OperatorScope,
    trace::TraceId,
    work::{VerifyReason, VerifyRequest},
};
use portwarden_local::{LocalCloud, LocalOptions, Runtime, Tenant, recorded};
use portwarden_testkit::{
    events,
    proxy::{Calls, FaultyProxy, Plan},
};
use serde_json::{Value, json};

use crate::{
    Bench, Failure, functions,
    sheet::{Sheet, Table, Unit},
};

/// Which calls are counted together, by the services' names in signatures.
const COLUMNS: [(&str, &[&str]); 7] = [
    ("sts", &["sts"]),
    ("ecr, iam, secrets", &["ecr", "iam", "secretsmanager"]),
    ("registry", &["registry"]),
    ("dynamodb", &["dynamodb"]),
    ("sqs", &["sqs"]),
    ("s3", &["s3"]),
    ("events", &["events"]),
];

/// What of a verdict's calls goes to the tenant's account, or says who we are there.
const OF_A_VERDICT: usize = 3;

const NO_FAULTS: Plan = Plan {
    seed: 0,
    per_mille: 0,
};

pub(crate) async fn measure(bench: &Bench) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::new("calls");
    let mut options = recorded::options(&bench.root, &bench.programs);
    options.state = bench.state.join("calls");
    let emulator = options.start_emulator().await?;
    let deployed = FaultyProxy::start(&emulator.endpoint(), NO_FAULTS).await?;
    let tested = FaultyProxy::start(&emulator.endpoint(), NO_FAULTS).await?;
    options.functions_endpoint = Some(deployed.url());
    let mut cloud = LocalCloud::deploy(emulator, &options).await?;

    let mut counts = Counts(Vec::new());
    // Nothing but the verifier works while an account is connected.
    deployed.take_calls();
    cloud.connect(&options.tenants).await?;
    let first = counts.add("verifier: first verdict, nothing read", &deployed.take_calls());
    recorded::push_images(&cloud, &options).await?;

    let tenant = cloud.tenant(0).clone();
    let verifier = start(&cloud, &options, "verifier", &tested).await?;
    let mut verify = async |what, region: &Region, reason| -> Result<f64, Failure> {
        let request = request(&tenant, region, reason);
        verifier.invoke(serde_json::to_vec(&batch(&request))?).await?;
        Ok(counts.add(what, &tested.take_calls()))
    };
    let own = tenant.account.region();
    // What is probed only when the tenant's account is known.
    let known = verify("verifier: whole verdict", own, VerifyReason::Asked).await?;
    let daily = verify("verifier: daily", own, VerifyReason::Schedule).await?;
    let further: Region = "eu-central-1".parse()?;
    let scope = OperatorScope::of_this_process().tenant(tenant.id.clone());
    let integrations = Integrations::new(cloud.store()?);
    integrations
        .claim_region(&scope, &tenant.integration, &further)
        .await?;
    let region = verify("verifier: a further region", &further, VerifyReason::Stack).await?;
    let is_proven = integrations
        .find(&scope, &tenant.integration)
        .await?
        .is_some_and(|connection| connection.trusted_role(&further).is_some());
    if !is_proven {
        return Err("the further region was not proven, so its calls say nothing".into());
    }

    // Before the receiver, whose messages the cloud's own scanner works on.
    let scanner = start(&cloud, &options, "scanner", &tested).await?;
    let messages = events::load("sqs_batch");
    for (what, message) in [
        ("scanner: an image of 5 layers", 0),
        ("scanner: an image with 4 known layers", 2),
        ("scanner: a known image", 2),
    ] {
        let batch = json!({"Records": [messages["Records"][message]]});
        scanner.invoke(serde_json::to_vec(&batch)?).await?;
        counts.add(what, &tested.take_calls());
    }
    let receiver = start(&cloud, &options, "receiver", &tested).await?;
    for (what, number) in [
        ("receiver: first event of a process", 1),
        ("receiver: an event", 2),
        ("receiver: a copy of it", 2),
    ] {
        receiver
            .invoke(serde_json::to_vec(&functions::push(number))?)
            .await?;
        counts.add(what, &tested.take_calls());
    }
    drop((verifier, receiver, scanner));
    cloud.shutdown().await;

    sheet.add(counts.table());
    sheet.aim(
        "calls for a first verdict, from the claim to the whole",
        first + known,
        24.0,
        Unit::Count,
    );
    sheet.aim("calls for a further region", region, 12.0, Unit::Count);
    sheet.aim("calls for a daily verdict", daily, 8.0, Unit::Count);
    Ok(sheet)
}

struct Counts(Vec<(&'static str, Vec<f64>)>);

impl Counts {
    /// Adds a row, and returns how many of the calls are about the tenant's account.
    fn add(&mut self, what: &'static str, calls: &Calls) -> f64 {
        eprintln!("bench: {what}: {}", list(calls));
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let count = |services: &[&str]| {
            let of = calls
                .iter()
                .filter(|((service, _), _)| services.contains(&service.as_str()));
            of.map(|(_, count)| count).sum::<usize>() as f64
        };
        let row: Vec<f64> = COLUMNS.iter().map(|(_, services)| count(services)).collect();
        let of_verdict = row[..OF_A_VERDICT].iter().sum();
        self.0.push((what, row));
        of_verdict
    }

    fn table(self) -> Table {
        let columns = COLUMNS.map(|(name, _)| (name, Unit::Count));
        let columns: Vec<_> = columns.into_iter().chain([("all", Unit::Count)]).collect();
        let mut table = Table::new("calls", &columns);
        for (what, row) in self.0 {
            let all = row.iter().sum();
            table.row(what, row.into_iter().chain([all]).map(Some));
        }
        table
    }
}

/// Names every call, for whoever wonders about a number.
fn list(calls: &Calls) -> String {
    let named = calls
        .iter()
        .map(|((service, operation), count)| format!("{service} {operation} {count}"));
    named.collect::<Vec<_>>().join(", ")
}

/// Starts a function that reaches AWS through a proxy.
async fn start(
    cloud: &LocalCloud,
    options: &LocalOptions,
    name: &str,
    proxy: &FaultyProxy,
) -> Result<Runtime, Failure> {
    let mut function = cloud.function(name).await?;
    let endpoint = function.environment.get_mut("INSECURE_EMULATOR_ENDPOINT");
    *endpoint.ok_or("the function does not know the emulator")? = proxy.url();
    Ok(Runtime::start(&options.venv, &options.state, &function).await?)
}

fn request(tenant: &Tenant, region: &Region, reason: VerifyReason) -> VerifyRequest {
    let now = SystemClock.now();
    VerifyRequest {
        tenant: tenant.id.clone(),
        integration: tenant.integration.clone(),
        region: region.clone(),
        role: Some(tenant.role.clone()),
        claim: None,
        said_at: Some(now),
        reason,
        request: RequestId::generate(&OsRandomness),
        trace: TraceId::generate(now, &OsRandomness),
        attempt: 0,
    }
}

/// Puts a request into a batch as SQS delivers it.
fn batch(request: &VerifyRequest) -> Value {
    let mut batch = events::load("sqs_verify_batch");
    let record = &mut batch["Records"][0];
    record["body"] = json!(serde_json::to_string(request).unwrap_or_default());
    let record = record.take();
    json!({"Records": [record]})
}
