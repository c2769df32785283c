//! Starts, answers and archives of the functions, under AWS's runtime interface emulator, beside a function that does
//! nothing in the same run.
//!
//! A start is the time from the first invocation, with which the emulator starts the program, to its answer; the
//! emulator's own share is in it, in all of them alike.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Instant};

use portwarden_local::{Function, LocalCloud, Runtime, recorded};
use portwarden_testkit::events;
use serde_json::{Value, json};

use crate::{
    Bench, Failure,
    sheet::{Sheet, Table, Unit, median, megabytes, milliseconds},
};

const STARTS: usize = 15;
const WARM: usize = 30;

/// Twice as much as AWS's own example of a function in Rust, and a fraction of a second to fetch.
const ARCHIVE: f64 = 6.0;

/// One function, and what it is invoked with.
struct Subject {
    name: &'static str,
    function: Function,
    /// Is answered without a call to AWS, so that the start is the program's own.
    light: Value,
    /// Takes calls to AWS, here to the local cloud.
    real: Option<fn(usize) -> Value>,
}

pub(crate) async fn measure(bench: &Bench) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::new("functions");
    let mut options = recorded::options(&bench.root, &bench.programs);
    options.state = bench.state.join("functions");
    let cloud = recorded::start(&options).await?;
    let mut subjects = subjects(bench, &cloud).await?;
    for subject in &mut subjects {
        subject.function.environment.extend(certificates());
    }
    let mut figures: Vec<Figures> = subjects.iter().map(|_| Figures::default()).collect();
    for round in 0..STARTS {
        for (subject, figures) in subjects.iter().zip(&mut figures) {
            figures
                .start(subject, &options.venv, &options.state, round)
                .await?;
        }
    }
    cloud.shutdown().await;

    let mut table = Table::new(
        "functions",
        &[
            ("start", Unit::Milliseconds),
            ("of bare", Unit::Times),
            ("warm", Unit::Milliseconds),
            ("first event", Unit::Milliseconds),
            ("next events", Unit::Milliseconds),
            ("archive", Unit::Megabytes),
        ],
    );
    let bare = median(figures[0].starts.iter().copied());
    for (subject, figures) in subjects.iter().zip(&figures) {
        let start = median(figures.starts.iter().copied());
        let archive = archive(bench, &subject.function.program)?;
        let real = |figures: &[f64]| subject.real.map(|_| median(figures.iter().copied()));
        table.row(
            subject.name,
            [
                Some(start),
                Some(start / bare),
                Some(median(figures.warm.iter().copied())),
                real(&figures.first_events),
                real(&figures.next_events),
                Some(archive),
            ],
        );
        for (name, at_most) in [("receiver", 1.5), ("console", 2.0)] {
            if subject.name == name {
                let what = format!("start of the {name} beside bare");
                sheet.aim(what, start / bare, at_most, Unit::Times);
            }
        }
        sheet.aim(
            format!("archive of {}", subject.name),
            archive,
            ARCHIVE,
            Unit::Megabytes,
        );
    }
    sheet.add(table);
    Ok(sheet)
}

/// What is measured, the function that does nothing first.
async fn subjects(bench: &Bench, cloud: &LocalCloud) -> Result<[Subject; 8], Failure> {
    Ok([
        Subject {
            name: "bare",
            function: bare(bench, &[]),
            light: json!({}),
            real: None,
        },
        Subject {
            name: "bare, several threads",
            function: bare(bench, &["BARE_THREADS"]),
            light: json!({}),
            real: None,
        },
        Subject {
            name: "receiver",
            function: cloud.function("receiver").await?,
            light: of_wrong_type(),
            real: Some(push),
        },
        Subject {
            name: "scanner",
            function: cloud.function("scanner").await?,
            light: json!({"Records": []}),
            real: Some(|_| events::load("sqs_batch")),
        },
        Subject {
            name: "verifier",
            function: cloud.function("verifier").await?,
            light: json!({"Records": []}),
            real: Some(|_| events::load("sqs_verify_batch")),
        },
        Subject {
            name: "rematcher",
            function: cloud.function("rematcher").await?,
            light: json!({"Records": []}),
            real: None,
        },
        Subject {
            name: "console",
            function: cloud.function("console").await?,
            light: page(),
            real: None,
        },
        Subject {
            name: "publisher",
            function: cloud.function("publisher").await?,
            light: json!({}),
            real: None,
        },
    ])
}

#[derive(Default)]
struct Figures {
    starts: Vec<f64>,
    warm: Vec<f64>,
    first_events: Vec<f64>,
    next_events: Vec<f64>,
}

impl Figures {
    /// Starts the function twice: for what it answers by itself, and for a real event.
    async fn start(
        &mut self,
        subject: &Subject,
        venv: &Path,
        state: &Path,
        round: usize,
    ) -> Result<(), Failure> {
        let runtime = Runtime::start(venv, state, &subject.function).await?;
        self.starts.push(invoke(&runtime, &subject.light).await?);
        for _ in 0..WARM {
            self.warm.push(invoke(&runtime, &subject.light).await?);
        }
        drop(runtime);
        if let Some(event) = subject.real {
            let runtime = Runtime::start(venv, state, &subject.function).await?;
            self.first_events.push(invoke(&runtime, &event(2 * round)).await?);
            self.next_events
                .push(invoke(&runtime, &event(2 * round + 1)).await?);
        }
        Ok(())
    }
}

async fn invoke(runtime: &Runtime, event: &Value) -> Result<f64, Failure> {
    let event = serde_json::to_vec(event)?;
    let start = Instant::now();
    runtime.invoke(event).await?;
    Ok(milliseconds(start.elapsed()))
}

/// The function that does nothing, with what Lambda sets for every function.
fn bare(bench: &Bench, set: &[&str]) -> Function {
    let given = [
        ("AWS_LAMBDA_FUNCTION_NAME", "bare"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_FUNCTION_TIMEOUT", "5"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_REGION", events::REGION),
    ];
    let environment: BTreeMap<_, _> = given
        .into_iter()
        .chain(set.iter().map(|name| (*name, "1")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Function {
        name: "bare".to_owned(),
        program: bench.programs.join("bare"),
        environment,
    }
}

/// Where programs find the certificates that they trust: in one file, as on Amazon Linux. Debian's folder of single ones
/// takes as long to read as all the rest of a start.
fn certificates() -> Option<(String, String)> {
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    Path::new(bundle)
        .is_file()
        .then(|| ("SSL_CERT_FILE".to_owned(), bundle.to_owned()))
}

/// A request for a page that is the same for everybody, so that nobody is asked.
fn page() -> Value {
    let mut event = push(0);
    event["routeKey"] = json!("GET /guide");
    event["rawPath"] = json!("/guide");
    event["requestContext"]["http"]["method"] = json!("GET");
    event["requestContext"]["http"]["path"] = json!("/guide");
    event["requestContext"]["routeKey"] = json!("GET /guide");
    for part in ["body", "pathParameters"] {
        event[part] = Value::Null;
    }
    event
}

/// A request that the receiver refuses before it asks anybody.
fn of_wrong_type() -> Value {
    let mut event = push(0);
    event["headers"]["content-type"] = json!("text/plain");
    event
}

/// A tenant's push, which the receiver has not seen.
pub(crate) fn push(number: usize) -> Value {
    let mut event = events::load("http_api_push_right_credentials");
    let body = event["body"].as_str().unwrap_or_default();
    // The first part of the event's own id.
    event["body"] = json!(body.replace("2745e0e0", &format!("{number:08x}")));
    event
}

/// Returns the size of a program's archive as it is uploaded to Lambda: `sam deploy` makes it with Python's `zipfile` and
/// what that compresses with unless told otherwise.
///
/// Source: aws-sam-cli, `samcli/lib/package/utils.py`.
fn archive(bench: &Bench, program: &Path) -> Result<f64, Failure> {
    let archive = bench.state.join("function.zip");
    let status = Command::new(bench.root.join(".venv/bin/python"))
        .args(["-m", "zipfile", "--create"])
        .args([&archive, program])
        .status()?;
    if !status.success() {
        return Err(format!("python3 -m zipfile: {status}").into());
    }
    let size = fs::metadata(&archive)?.len();
    fs::remove_file(&archive)?;
    Ok(megabytes(size))
}
