//! Where Portwarden itself runs: a stack in the operator's AWS account, or the local cloud.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_cloudformation::{
    config::{Credentials, ProvideCredentials as _},
    error::{DisplayErrorContext, ProvideErrorMetadata as _},
    types::Stack as DescribedStack,
};
use clap::Args;
use portwarden_aws::{
    Aws, DynamoStore, EmulatorEndpoint, InventoryQueue, NotifyQueue, VerifyQueue, WebhookKeySecret,
};
use portwarden_core::{
    arn::RoleArn,
    id::Region,
    store::Store,
    tenant_template::launch::LaunchPad,
    webhook::{ReadWebhookKey as _, WebhookKey, WebhookUrl},
    work::{QueueInventory, QueueVerify},
};
use portwarden_local::run::StackFile;

use crate::{failure::Failure, text::shell_word};

/// Which Portwarden is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct StackChoice {
    /// The name of Portwarden's CloudFormation stack
    #[arg(long, global = true, value_name = "NAME", default_value = StackChoice::DEFAULT)]
    stack: String,
    /// The region of the stack, if it is not the one that the environment or the profile names
    #[arg(long, global = true, value_name = "REGION")]
    stack_region: Option<Region>,
    /// Takes the local cloud that runs in this directory (make run) in the place of AWS
    #[arg(long, global = true, conflicts_with_all = ["stack", "stack_region"])]
    local: bool,
}

/// What is administered: the parts of a deployed Portwarden.
pub(crate) struct Stack {
    /// The table.
    pub(crate) store: Arc<dyn Store>,
    /// The queue of connections that wait for a test.
    pub(crate) verifications: Arc<dyn QueueVerify>,
    /// The queue of registries that wait for a comparison with ECR.
    pub(crate) comparisons: Arc<dyn QueueInventory>,
    /// The URL that, with a slash and an integration's id, is the integration's endpoint.
    pub(crate) events_url: String,
    /// The role that tenants' roles trust.
    pub(crate) connector: RoleArn,
    outputs: Outputs,
    aws: Aws,
    is_local: bool,
}

impl Stack {
    /// Says where people find the console.
    pub(crate) fn console_url(&self) -> Result<&str, Failure> {
        self.outputs.get("ConsoleUrl")
    }

    /// Returns the notifier's queue.
    pub(crate) fn notifies(&self) -> Result<NotifyQueue, Failure> {
        let url = self.outputs.get("NotifyQueueUrl")?.to_owned();
        Ok(NotifyQueue::new(&self.aws, url))
    }

    /// Reads what the secrets of webhooks are derived from.
    pub(crate) async fn webhook_key(&self) -> Result<WebhookKey, Failure> {
        let arn = self.outputs.get("WebhookKeyArn")?.to_owned();
        let key = WebhookKeySecret::new(&self.aws, arn).webhook_key().await;
        key.map_err(|error| {
            let fix = "use credentials of the operator's account that may call secretsmanager:GetSecretValue for the \
                       secret of the stack's output WebhookKeyArn";
            Failure::new("webhook_key_unavailable", error.to_string(), fix).because(&error)
        })
    }

    /// Takes a webhook's address; beside the local cloud it may be on this machine, too.
    pub(crate) fn webhook_url(&self, text: &str) -> Result<WebhookUrl, Failure> {
        let parsed = if self.is_local {
            WebhookUrl::parse_beside_emulator(text)
        } else {
            WebhookUrl::parse(text)
        };
        parsed.map_err(|error| {
            let fix = "name an address that anybody can reach, such as https://hooks.example.com/portwarden";
            Failure::new("webhook_url_malformed", error.to_string(), fix)
        })
    }

    /// Says where the links lead that open CloudFormation with the tenants' template.
    pub(crate) fn launch_pad(&self) -> Result<LaunchPad, Failure> {
        let mut pad = LaunchPad::new(self.outputs.get("TemplateUrl")?.to_owned());
        pad.add_regions(self.outputs.regions("MoreLaunchRegions")?);
        if let Ok(prefix) = self.outputs.get("RegionalTemplateBucketPrefix") {
            let regions = self.outputs.regions("RegionalTemplateBucketRegions")?;
            let added = pad.add_buckets(prefix, &regions);
            added.map_err(|error| self.outputs.foreign("RegionalTemplateBucketPrefix", &error))?;
        }
        Ok(pad)
    }
}

/// The directory of the local cloud's files, below the checkout.
const LOCAL_STATE: &str = "target/local";

impl StackChoice {
    const DEFAULT: &str = "portwarden";

    /// Opens the stack.
    pub(crate) async fn open(&self) -> Result<Stack, Failure> {
        if self.local {
            return open_local(&StackFile::path(Path::new(LOCAL_STATE))).await;
        }
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(region) = &self.stack_region {
            loader = loader.region(aws_config::Region::new(region.as_str().to_owned()));
        }
        let sdk = loader.load().await;
        check_identity(&sdk).await?;
        let outputs = Outputs::read(&sdk, &self.stack).await?;
        let events_url = outputs.get("EventsUrl")?.to_owned();
        outputs.open(&Aws::over(sdk, None), events_url)
    }

    /// Writes the options that make the same choice again, each after a space.
    pub(crate) fn options(&self) -> String {
        if self.local {
            return " --local".to_owned();
        }
        let mut options = String::new();
        if self.stack != Self::DEFAULT {
            options = format!(" --stack {}", shell_word(&self.stack));
        }
        if let Some(region) = &self.stack_region {
            options = format!("{options} --stack-region {region}");
        }
        options
    }
}

async fn open_local(description: &Path) -> Result<Stack, Failure> {
    const FIX: &str = "start it with `make run`, and run this command in the same checkout meanwhile";
    let missing = |message: &str| Failure::new("local_cloud_missing", message, FIX);
    let text = fs::read(description)
        .map_err(|error| missing("no local cloud runs in this directory").because(&error))?;
    let cloud: StackFile = serde_json::from_slice(&text)
        .map_err(|error| missing(&format!("{} cannot be read", description.display())).because(&error))?;
    // Never sends anything off this machine, whatever the file says.
    let emulator: EmulatorEndpoint = cloud
        .emulator
        .parse()
        .map_err(|error| missing("the local cloud's address is not on this machine").because(&error))?;
    // The emulator takes an account's number as the access key of its root, with any secret.
    let root = Credentials::new(cloud.account, "emulator", None, None, "portwarden");
    let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(aws_config::Region::new(cloud.region))
        .credentials_provider(root)
        .endpoint_url(emulator.url())
        .load()
        .await;
    let outputs = Outputs {
        stack: "of the local cloud".to_owned(),
        values: cloud.outputs,
    };
    // The stack's own output has a host name that only some resolvers know.
    let events_url = format!("{}/v1/events", cloud.api);
    Ok(Stack {
        is_local: true,
        ..outputs.open(&Aws::over(sdk, Some(emulator)), events_url)?
    })
}

/// Finds out early that there is no region or there are no credentials, which calls would tell less clearly.
async fn check_identity(sdk: &SdkConfig) -> Result<(), Failure> {
    if sdk.region().is_none() {
        let fix = "add --stack-region, or set AWS_REGION";
        return Err(Failure::new(
            "region_missing",
            "it is not known which region the stack is in",
            fix,
        ));
    }
    let credentials = match sdk.credentials_provider() {
        Some(provider) => provider
            .provide_credentials()
            .await
            .map(drop)
            .map_err(|error| error.to_string()),
        None => Err("no provider".to_owned()),
    };
    credentials.map_err(|reason| {
        let fix = "log in to the operator's account; with single sign-on: \
                   eval \"$(aws configure export-credentials --format env)\"";
        let message = format!("there are no AWS credentials: {reason}");
        Failure::new("credentials_missing", message, fix)
    })
}

/// The outputs of a stack.
struct Outputs {
    stack: String,
    values: BTreeMap<String, String>,
}

impl Outputs {
    async fn read(sdk: &SdkConfig, stack: &str) -> Result<Self, Failure> {
        let region = sdk.region().map(ToString::to_string).unwrap_or_default();
        let answer = aws_sdk_cloudformation::Client::new(sdk)
            .describe_stacks()
            .stack_name(stack)
            .send()
            .await;
        let answer = answer.map_err(|error| {
            let message = format!("stack {stack} in {region} cannot be read");
            let Some(refused) = error.as_service_error() else {
                let fix = "check the network and run the command again; with --local, that `make run` still runs";
                let reason = DisplayErrorContext(&error).to_string();
                return Failure::new("stack_unreachable", format!("{message}: {reason}"), fix);
            };
            let (code, fix) = match refused.code() {
                // What CloudFormation answers for a stack that is not there.
                Some("ValidationError") => (
                    "stack_missing",
                    "name the stack with --stack and its region with --stack-region, or deploy it first (make deploy)",
                ),
                Some("AccessDenied" | "AccessDeniedException") => (
                    "stack_denied",
                    "use credentials of the operator's account that may call cloudformation:DescribeStacks",
                ),
                _ => ("stack_unreadable", "log in to the operator's account again and run the command again"),
            };
            Failure::new(code, format!("{message}: {}", refused.message().unwrap_or("no reason given")), fix)
        })?;
        let outputs = answer
            .stacks()
            .first()
            .map(DescribedStack::outputs)
            .unwrap_or_default();
        let pair = |output: &aws_sdk_cloudformation::types::Output| {
            Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))
        };
        Ok(Self {
            stack: stack.to_owned(),
            values: outputs.iter().filter_map(pair).collect(),
        })
    }

    fn get(&self, name: &str) -> Result<&str, Failure> {
        self.values.get(name).map(String::as_str).ok_or_else(|| {
            let message = format!("stack {} has no output {name}", self.stack);
            let fix = "name Portwarden's own stack with --stack, or deploy it again with this version's template.yaml";
            Failure::new("stack_foreign", message, fix)
        })
    }

    /// Reads regions with commas between them; none where the stack has no such output.
    fn regions(&self, name: &'static str) -> Result<Vec<Region>, Failure> {
        let text = self.values.get(name).map(String::as_str).unwrap_or_default();
        let regions = text.split(',').filter(|region| !region.is_empty());
        let parsed: Result<Vec<Region>, _> = regions.map(str::parse).collect();
        parsed.map_err(|error| self.foreign(name, &error))
    }

    fn foreign(&self, name: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
        let message = format!("the output {name} of stack {} is not what it must be", self.stack);
        Failure::new(
            "stack_foreign",
            message,
            "name Portwarden's own stack with --stack",
        )
        .because(error)
    }

    fn open(self, aws: &Aws, events_url: String) -> Result<Stack, Failure> {
        let connector = self.get("ConnectorRoleArn")?;
        let connector = connector
            .parse()
            .map_err(|error| self.foreign("ConnectorRoleArn", &error))?;
        Ok(Stack {
            store: Arc::new(DynamoStore::new(aws, self.get("TableName")?.to_owned())),
            verifications: Arc::new(VerifyQueue::new(aws, self.get("VerifyQueueUrl")?.to_owned())),
            comparisons: Arc::new(InventoryQueue::new(
                aws,
                self.get("InventoryQueueUrl")?.to_owned(),
            )),
            events_url,
            connector,
            outputs: self,
            aws: aws.clone(),
            is_local: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn local(description: &str) -> Failure {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stack.json");
        fs::write(&path, description).unwrap();
        open_local(&path).await.err().unwrap()
    }

    fn cloud() -> StackFile {
        StackFile {
            api: "http://127.0.0.1:4566/api".to_owned(),
            emulator: "http://127.0.0.1:4566".to_owned(),
            registry: String::new(),
            account: "100000000001".to_owned(),
            region: "us-east-1".to_owned(),
            outputs: BTreeMap::from(
                [
                    ("TableName", "table"),
                    ("VerifyQueueUrl", "http://127.0.0.1:4566/100000000001/verify"),
                    (
                        "InventoryQueueUrl",
                        "http://127.0.0.1:4566/100000000001/inventory",
                    ),
                    ("ConnectorRoleArn", "arn:aws:iam::100000000001:role/connector"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
            ),
            tenants: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_local_cloud_describes_all_that_is_needed() {
        let directory = tempfile::tempdir().unwrap();
        let path = StackFile::path(directory.path());
        fs::write(&path, serde_json::to_vec(&cloud()).unwrap()).unwrap();
        let stack = open_local(&path).await.ok().unwrap();
        assert_eq!(stack.events_url, "http://127.0.0.1:4566/api/v1/events");
        assert_eq!(stack.connector.name(), "connector");
        assert_eq!(
            stack.launch_pad().unwrap_err().problem().message,
            "stack of the local cloud has no output TemplateUrl"
        );
    }

    #[tokio::test]
    async fn launch_links_lead_where_the_stack_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = StackFile::path(directory.path());
        let mut cloud = cloud();
        for (name, value) in [
            ("TemplateUrl", "https://b.s3.us-east-1.amazonaws.com/t"),
            ("MoreLaunchRegions", "eu-north-1,us-east-1"),
            ("RegionalTemplateBucketPrefix", "acme"),
            ("RegionalTemplateBucketRegions", "us-west-1"),
        ] {
            cloud.outputs.insert(name.to_owned(), value.to_owned());
        }
        let open = async |cloud: &StackFile| {
            fs::write(&path, serde_json::to_vec(cloud).unwrap()).unwrap();
            open_local(&path).await.ok().unwrap().launch_pad()
        };
        let external_id = "pw-0123456789abcdefghjkmnpqrs".parse().unwrap();
        let launch = portwarden_core::tenant_template::launch::Launch {
            tenant_name: "Shop",
            url: "https://api.example/v1/events/i-0",
            external_id: &external_id,
        };
        let links = open(&cloud).await.ok().unwrap().links(&launch);
        assert_eq!(links.len(), 11);
        let oregon = links
            .iter()
            .find(|link| link.region.as_str() == "us-west-1")
            .unwrap();
        assert!(oregon.link.contains("acme-us-west-1.s3."), "{}", oregon.link);
        cloud
            .outputs
            .insert("MoreLaunchRegions".to_owned(), "Mars".to_owned());
        let failure = open(&cloud).await.err().unwrap();
        assert_eq!(failure.problem().code, "stack_foreign");
    }

    #[tokio::test]
    async fn a_local_cloud_is_never_off_this_machine() {
        for emulator in [
            "http://evil.example:4566",
            "https://127.0.0.1:4566",
            "http://127.0.0.1:4566@evil.example",
        ] {
            let description = StackFile {
                emulator: emulator.to_owned(),
                ..cloud()
            };
            let failure = local(&serde_json::to_string(&description).unwrap()).await;
            assert_eq!(
                failure.problem().message,
                "the local cloud's address is not on this machine",
                "{emulator}"
            );
        }
    }

    #[tokio::test]
    async fn a_local_cloud_that_does_not_run_is_told_with_how_to_start_it() {
        let failures = [
            open_local(Path::new("/nonexistent/stack.json"))
                .await
                .err()
                .unwrap(),
            local("{}").await,
            local("not JSON").await,
        ];
        for failure in failures {
            assert_eq!(failure.problem().code, "local_cloud_missing");
            assert!(failure.problem().fix.contains("make run"), "{failure}");
        }
    }

    #[test]
    fn a_foreign_stack_is_named() {
        let outputs = Outputs {
            stack: "network".to_owned(),
            values: BTreeMap::from([("VpcId".to_owned(), "vpc-1".to_owned())]),
        };
        let failure = outputs.get("TableName").unwrap_err();
        assert_eq!(failure.problem().message, "stack network has no output TableName");
    }

    #[test]
    fn the_choice_can_be_written_again() {
        let choice = |stack: &str, region: Option<&str>, local| StackChoice {
            stack: stack.to_owned(),
            stack_region: region.map(|region| region.parse().unwrap()),
            local,
        };
        assert_eq!(choice("portwarden", None, false).options(), "");
        assert_eq!(choice("portwarden", None, true).options(), " --local");
        assert_eq!(
            choice("other", Some("eu-west-1"), false).options(),
            " --stack other --stack-region eu-west-1"
        );
    }
}
