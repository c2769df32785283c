//! Deploys stacks to the emulator, with the code that they need.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Write as _},
    path::Path,
    time::Duration,
};

use aws_sdk_cloudformation::{
    error::ProvideErrorMetadata as _,
    types::{Capability, Parameter, StackEvent, StackStatus},
};
use aws_sdk_s3::{
    error::SdkError,
    operation::create_bucket::CreateBucketError,
    primitives::ByteStream,
    types::{BucketLocationConstraint, CreateBucketConfiguration},
};
use portwarden_core::problem::chain;
use tokio::time::{Instant, sleep};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    account::Account,
    error::LocalError,
    template::{S3Object, Template},
};

/// A stack of 60 resources takes about 3 s; a busy machine gets more.
const STACK_PATIENCE: Duration = Duration::from_mins(2);

/// A stack that was created.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
}

impl Stack {
    /// Returns an output that must be there.
    pub fn output(&self, name: &'static str) -> Result<&str, LocalError> {
        self.outputs
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| LocalError::OutputMissing {
                stack: self.name.clone(),
                output: name,
            })
    }
}

/// Returns this machine's name among Lambda's architectures.
pub fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x86_64"
    }
}

/// Uploads the programs of the template's functions from `programs`, and points the template to them.
pub async fn upload_functions(
    account: &Account,
    template: &mut Template,
    programs: &Path,
) -> Result<(), LocalError> {
    for function in template.functions()? {
        let path = programs.join(&function.program);
        let program = fs::read(&path).map_err(|_| LocalError::FunctionMissing {
            function: function.logical_id.clone(),
            path: path.clone(),
        })?;
        // What `provided.al2023` starts.
        let archive =
            zip_file("bootstrap", &program).map_err(|source| LocalError::call("zip a function", source))?;
        let object = upload(account, format!("{}.zip", function.program), archive).await?;
        template.set_code(&function.logical_id, &object);
    }
    Ok(())
}

/// Returns the name that a resource of a stack was given.
pub(crate) async fn physical_id(
    account: &Account,
    stack: &Stack,
    logical_id: &str,
) -> Result<String, LocalError> {
    let action = "look at a resource of a stack";
    let answer = account
        .cloudformation()
        .describe_stack_resource()
        .stack_name(&stack.name)
        .logical_resource_id(logical_id)
        .send()
        .await
        .map_err(|error| LocalError::call(action, error))?;
    answer
        .stack_resource_detail()
        .and_then(|resource| resource.physical_resource_id())
        .map(str::to_owned)
        .ok_or_else(|| LocalError::call(action, format!("{logical_id} has no physical id")))
}

/// Creates the stack `name` and waits until all its resources are there.
pub async fn create_stack(
    account: &Account,
    name: &str,
    template: &Template,
    parameters: &BTreeMap<&str, &str>,
) -> Result<Stack, LocalError> {
    // By URL, since a template may be larger than what a request may hold.
    let object = upload(account, format!("{name}.json"), template.to_json().into_bytes()).await?;
    let client = account.cloudformation();
    client
        .create_stack()
        .stack_name(name)
        .template_url(format!("{}/{}/{}", account.endpoint(), object.bucket, object.key))
        .set_parameters(Some(
            parameters
                .iter()
                .map(|(key, value)| parameter(key, value))
                .collect(),
        ))
        .capabilities(Capability::CapabilityNamedIam)
        .capabilities(Capability::CapabilityAutoExpand)
        .send()
        .await
        .map_err(|error| LocalError::StackFailed {
            stack: name.to_owned(),
            reason: error.message().map_or_else(|| chain(&error), str::to_owned),
        })?;

    settled(account, name, &StackStatus::CreateComplete).await
}

/// Gives a parameter of a stack another value, and waits until all its resources follow; all else stays as it is.
pub(crate) async fn update_parameter(
    account: &Account,
    stack: &Stack,
    (name, value): (&str, &str),
) -> Result<Stack, LocalError> {
    let action = "update a stack";
    let client = account.cloudformation();
    let described = client.describe_stacks().stack_name(&stack.name).send().await;
    let described = described.map_err(|error| LocalError::call(action, error))?;
    let known = described
        .stacks()
        .iter()
        .flat_map(aws_sdk_cloudformation::types::Stack::parameters);
    let mut parameters: Vec<Parameter> = known
        .filter_map(|known| known.parameter_key())
        .filter(|known| *known != name)
        .map(|known| {
            Parameter::builder()
                .parameter_key(known)
                .use_previous_value(true)
                .build()
        })
        .collect();
    parameters.push(parameter(name, value));
    client
        .update_stack()
        .stack_name(&stack.name)
        .use_previous_template(true)
        .set_parameters(Some(parameters))
        .capabilities(Capability::CapabilityIam)
        .send()
        .await
        .map_err(|error| LocalError::call(action, error))?;
    settled(account, &stack.name, &StackStatus::UpdateComplete).await
}

/// Waits until a stack has come to the end that is expected.
async fn settled(account: &Account, name: &str, end: &StackStatus) -> Result<Stack, LocalError> {
    let client = account.cloudformation();
    let deadline = Instant::now() + STACK_PATIENCE;
    while Instant::now() < deadline {
        let answer = client
            .describe_stacks()
            .stack_name(name)
            .send()
            .await
            .map_err(|error| LocalError::call("look at a stack", error))?;
        let stack = answer.stacks().first();
        match stack.and_then(|stack| stack.stack_status()) {
            Some(status) if status == end => {
                let outputs = stack
                    .into_iter()
                    .flat_map(aws_sdk_cloudformation::types::Stack::outputs);
                return Ok(Stack {
                    name: name.to_owned(),
                    outputs: outputs
                        .filter_map(|output| {
                            Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))
                        })
                        .collect(),
                });
            }
            // A failure first rolls back, and its reasons are there from the start.
            None
            | Some(
                StackStatus::CreateInProgress
                | StackStatus::UpdateInProgress
                | StackStatus::UpdateCompleteCleanupInProgress,
            ) => sleep(Duration::from_millis(100)).await,
            Some(_) => return Err(why_it_failed(account, name).await),
        }
    }
    Err(LocalError::StackFailed {
        stack: name.to_owned(),
        reason: format!("it was not ready within {} s", STACK_PATIENCE.as_secs()),
    })
}

async fn why_it_failed(account: &Account, name: &str) -> LocalError {
    let events = account
        .cloudformation()
        .describe_stack_events()
        .stack_name(name)
        .send()
        .await;
    let events = match &events {
        Ok(answer) => answer.stack_events(),
        Err(_) => &[],
    };
    LocalError::StackFailed {
        stack: name.to_owned(),
        reason: failures(events),
    }
}

/// Tells the resources that failed, first failure first.
fn failures(events: &[StackEvent]) -> String {
    let reasons: Vec<String> = events
        .iter()
        .rev()
        .filter(|event| {
            event
                .resource_status()
                .is_some_and(|status| status.as_str().ends_with("_FAILED"))
        })
        .filter(|event| event.resource_type() != Some("AWS::CloudFormation::Stack"))
        .map(|event| {
            let resource = event.logical_resource_id().unwrap_or("a resource");
            let reason = event.resource_status_reason().unwrap_or("no reason given");
            format!("{resource}: {reason}")
        })
        .collect();
    if reasons.is_empty() {
        "no reason given".to_owned()
    } else {
        reasons.join("; ")
    }
}

fn parameter(key: &str, value: &str) -> Parameter {
    Parameter::builder()
        .parameter_key(key)
        .parameter_value(value)
        .build()
}

/// Uploads code or a template to the account's own bucket for both, as `aws cloudformation package` does.
async fn upload(account: &Account, key: String, content: Vec<u8>) -> Result<S3Object, LocalError> {
    // A bucket lies in one region, and an account may have stacks in several.
    let bucket = format!("portwarden-local-artifacts-{}-{}", account.id(), account.region());
    create_bucket(account, &bucket).await?;
    put_object(account, &bucket, &key, content).await?;
    Ok(S3Object { bucket, key })
}

/// Creates a bucket of the account's own, if it is not there.
pub(crate) async fn create_bucket(account: &Account, bucket: &str) -> Result<(), LocalError> {
    let region = account.region().as_str();
    // The first region is the one that cannot be named.
    let location = (region != "us-east-1").then(|| {
        let constraint = BucketLocationConstraint::from(region);
        CreateBucketConfiguration::builder()
            .location_constraint(constraint)
            .build()
    });
    let created = account
        .s3()
        .create_bucket()
        .bucket(bucket)
        .set_create_bucket_configuration(location)
        .send()
        .await;
    match created {
        Err(error) if !is_ours_already(&error) => Err(LocalError::call("create a bucket", error)),
        _ => Ok(()),
    }
}

/// Writes an object.
pub(crate) async fn put_object(
    account: &Account,
    bucket: &str,
    key: &str,
    content: Vec<u8>,
) -> Result<(), LocalError> {
    let written = account
        .s3()
        .put_object()
        .bucket(bucket)
        .key(key)
        .body(ByteStream::from(content))
        .send()
        .await;
    written
        .map(drop)
        .map_err(|error| LocalError::call("upload to a bucket", error))
}

fn is_ours_already(error: &SdkError<CreateBucketError>) -> bool {
    error
        .as_service_error()
        .is_some_and(CreateBucketError::is_bucket_already_owned_by_you)
}

/// Makes the archive of a function: one executable file.
pub(crate) fn zip_file(name: &str, content: &[u8]) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::with_capacity(content.len() + 512)));
    // Stored: the archive never leaves the machine, and deflating takes longer than copying.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .unix_permissions(0o755);
    archive.start_file(name, options)?;
    archive.write_all(content)?;
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use aws_sdk_cloudformation::types::ResourceStatus;
    use zip::ZipArchive;

    use super::*;

    #[test]
    fn the_archive_holds_one_executable() {
        let archive = zip_file("bootstrap", b"\x7fELF").unwrap();
        let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
        assert_eq!(archive.len(), 1);
        let mut file = archive.by_name("bootstrap").unwrap();
        assert_eq!(file.unix_mode().map(|mode| mode & 0o777), Some(0o755));
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"\x7fELF");
    }

    #[test]
    fn failures_are_told_in_their_order_and_without_what_follows_from_them() {
        let event = |id: &str, kind: &str, status: ResourceStatus, reason: &str| {
            StackEvent::builder()
                .logical_resource_id(id)
                .resource_type(kind)
                .resource_status(status)
                .resource_status_reason(reason)
                .build()
        };
        // CloudFormation lists the newest first.
        let events = [
            event(
                "pw",
                "AWS::CloudFormation::Stack",
                ResourceStatus::CreateFailed,
                "see above",
            ),
            event(
                "Queue",
                "AWS::SQS::Queue",
                ResourceStatus::CreateFailed,
                "bad visibility",
            ),
            event(
                "Role",
                "AWS::IAM::Role",
                ResourceStatus::CreateFailed,
                "bad trust",
            ),
            event(
                "Table",
                "AWS::DynamoDB::Table",
                ResourceStatus::CreateComplete,
                "",
            ),
        ];
        assert_eq!(failures(&events), "Role: bad trust; Queue: bad visibility");
        assert_eq!(failures(&[]), "no reason given");
    }
}
