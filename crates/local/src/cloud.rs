//! The local cloud as one value: an emulator, Portwarden in it, and accounts that are connected to it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::future::try_join_all;
use portwarden_aws::{Aws, Bucket, DynamoStore, SystemClock, VerifyQueue};
use portwarden_catalog::CATALOG_VERSION;
use portwarden_core::{
    advisory::{Edition, Editions},
    arn::RoleArn,
    clock::Clock as _,
    endpoint::{Password, Username},
    id::{AccountId, IntegrationId, Region, RequestId, TenantId},
    image::{Images, ScanResult},
    integration::{Connection, Integrations, NewRegion, Trust},
    object::{Document, ReadObject as _},
    random::{OsRandomness, Randomness},
    scope::{OperatorScope, TenantScope},
    store::Store,
    tenant::Tenants,
    trace::TraceId,
    work::{QueueVerify as _, VerifyReason, VerifyRequest},
};
use portwarden_oci::{Digest, RepositoryName, Tag};
use portwarden_report::{ImageFindings, Report};
use portwarden_testkit::issuer::IssuerServer;
use reqwest::Url;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use crate::{
    account::Account,
    advisories::{self, AdvisoryChoice},
    deploy::{self, Stack},
    destination::{BasicAuth, Delivery},
    emulator::{Emulator, EmulatorOptions},
    error::LocalError,
    function::{self, Function},
    people,
    push::{self, ImageChoice, Pushed},
    recorded,
    registry::RegistryAddress,
    template::Template,
    tenant::{self, StackParameters, Tenant},
    watch::{Action, ImageAction},
};

/// What a local cloud is made from and where its files go.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The template to deploy.
    pub template: PathBuf,
    /// The directory of the functions' programs.
    pub programs: PathBuf,
    /// The emulator's Python environment.
    pub venv: PathBuf,
    /// The directory of logs, temporary files and results.
    pub state: PathBuf,
    /// The emulator's port on 127.0.0.1, or any free one.
    pub port: Option<u16>,
    /// Where the functions find AWS, unless it is the emulator itself: a proxy before it, say.
    pub functions_endpoint: Option<String>,
    /// Where the advisories come from.
    pub advisories: AdvisoryChoice,
    /// The account and the region that Portwarden runs in.
    pub operator: (AccountId, Region),
    /// The accounts to connect.
    pub tenants: Vec<TenantPlan>,
}

/// An account to connect.
#[derive(Debug, Clone)]
pub struct TenantPlan {
    /// What people call the tenant.
    pub name: String,
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// Where its ids and its password come from.
    pub identity: Identity,
}

/// Where the ids and the password of an account that is connected come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// They are made anew.
    New,
    /// They are those that the files of `events/` carry.
    Recorded,
}

/// Portwarden in an emulator; everything ends when this is dropped.
#[derive(Debug)]
pub struct LocalCloud {
    emulator: Emulator,
    operator: Account,
    stack: Stack,
    issuer: IssuerServer,
    template: Template,
    programs: PathBuf,
    tenants: Vec<Arc<Tenant>>,
    state: PathBuf,
}

/// What the scanner made of an image.
#[derive(Debug, Clone)]
pub struct ScannedImage {
    /// The report.
    pub report: Report,
    /// The report as it lies in the bucket.
    pub report_json: Vec<u8>,
    /// The SBOM as it lies in the bucket, `CycloneDX` JSON.
    pub sbom_json: Vec<u8>,
    /// What is wrong with the image; none if it waits for an advisory database.
    pub findings: Option<ImageFindings>,
}

impl TenantPlan {
    pub(crate) fn constant(name: &str, (account, region): (&str, &str), identity: Identity) -> Self {
        let (account, region) = place(account, region);
        Self {
            name: name.to_owned(),
            account,
            region,
            identity,
        }
    }
}

/// Reads an account and a region that are written in the code.
pub(crate) fn place(account: &str, region: &str) -> (AccountId, Region) {
    let account = account.parse().expect("a constant account is valid");
    let region = region.parse().expect("a constant region is valid");
    (account, region)
}

/// The name of Portwarden's stack.
const STACK: &str = "portwarden";

/// The user name that tenants' stacks send events with.
const USERNAME: &str = "portwarden";

/// A verification takes about a second; the verifier is patient with new roles.
const VERIFY_PATIENCE: Duration = Duration::from_mins(2);

/// How long a scan may take before it is said to be missing.
const REPORT_PATIENCE: Duration = Duration::from_mins(10);

/// How often the table is asked whether something is done.
const POLL: Duration = Duration::from_millis(50);

impl LocalOptions {
    /// Uses a checkout of the repository as `make` leaves it, and the two accounts of `make run`.
    pub fn in_checkout(root: &Path, programs: &Path) -> Self {
        Self {
            template: root.join("template.yaml"),
            programs: programs.to_owned(),
            venv: root.join(".venv"),
            state: root.join("target/local"),
            port: None,
            functions_endpoint: None,
            advisories: AdvisoryChoice::None,
            operator: place("100000000001", "us-east-1"),
            tenants: vec![
                TenantPlan::constant("Harbour Goods", ("200000000002", "us-east-1"), Identity::New),
                TenantPlan::constant("Lighthouse Bank", ("300000000003", "eu-west-1"), Identity::New),
            ],
        }
    }

    /// Reads the template.
    pub(crate) fn read_template(&self) -> Result<Template, LocalError> {
        let path = &self.template;
        let text = std::fs::read_to_string(path).map_err(|source| LocalError::file(path, source))?;
        Template::parse(&path.display().to_string(), &text)
    }

    /// Starts the emulator alone.
    pub async fn start_emulator(&self) -> Result<Emulator, LocalError> {
        Emulator::start(&EmulatorOptions {
            venv: self.venv.clone(),
            state: self.state.clone(),
            port: self.port,
            operator: self.operator.0.clone(),
            region: self.operator.1.clone(),
        })
        .await
    }
}

impl LocalCloud {
    /// Starts an emulator, deploys Portwarden to it and connects the accounts.
    pub async fn start(options: &LocalOptions) -> Result<Self, LocalError> {
        let emulator = options.start_emulator().await?;
        let mut cloud = Self::deploy(emulator, options).await?;
        cloud.connect(&options.tenants).await?;
        Ok(cloud)
    }

    /// Deploys Portwarden to an emulator.
    pub async fn deploy(emulator: Emulator, options: &LocalOptions) -> Result<Self, LocalError> {
        let operator = emulator.account(&options.operator.0, &options.operator.1);
        let mut template = options.read_template()?;
        deploy::upload_functions(&operator, &mut template, &options.programs).await?;
        let issuer = people::start_issuer().await?;
        let advisories = options.advisories.provide(&operator).await?;
        let mut parameters = BTreeMap::from([
            ("Architecture", deploy::architecture()),
            ("OidcIssuer", issuer.issuer()),
            ("OidcClientId", people::CLIENT),
            (
                "InsecureEmulatorEndpoint",
                options
                    .functions_endpoint
                    .as_deref()
                    .unwrap_or(operator.endpoint()),
            ),
        ]);
        parameters.extend(advisories.iter().map(|(name, value)| (*name, value.as_str())));
        let stack = deploy::create_stack(&operator, STACK, &template, &parameters).await?;
        let cloud = Self {
            emulator,
            operator,
            stack,
            issuer,
            template,
            programs: options.programs.clone(),
            tenants: Vec::new(),
            state: options.state.clone(),
        };
        if options.advisories != AdvisoryChoice::None {
            cloud.follow_advisories().await?;
        }
        Ok(cloud)
    }

    /// Lets the advisor look at its source once, as its schedule does every hour; returns the edition in use then.
    pub async fn follow_advisories(&self) -> Result<Option<Edition>, LocalError> {
        let advisor = self.template.function("advisor")?.logical_id;
        function::invoke(&self.operator, &self.stack, &advisor, &Value::Object(Map::new())).await?;
        let edition = Editions::new(self.store()?).current().await;
        edition.map_err(|error| LocalError::call("look for the advisory database", error))
    }

    /// Writes a directory's advisories to the bucket that the advisor reads; see [`AdvisoryChoice::Directory`].
    pub async fn publish_advisories(&self, directory: &Path) -> Result<(), LocalError> {
        advisories::upload_feed(&self.operator, directory).await
    }

    /// Connects accounts, all at once.
    pub async fn connect(&mut self, plans: &[TenantPlan]) -> Result<(), LocalError> {
        let tenants = try_join_all(plans.iter().map(|plan| self.connect_one(plan))).await?;
        let ids = tenants.iter().map(|tenant| tenant.id.clone());
        people::join(self.store()?, &self.issuer, ids).await?;
        self.tenants.extend(tenants.into_iter().map(Arc::new));
        Ok(())
    }

    /// Returns the base URL of Portwarden's HTTP API.
    pub fn api(&self) -> Result<String, LocalError> {
        let id = self.stack.output("ApiId")?;
        // By path: names below `localhost` resolve on some machines only.
        Ok(format!(
            "{}/_aws/execute-api/{id}/$default",
            self.emulator.endpoint()
        ))
    }

    /// Returns the root of the console, by a name that browsers know for this machine.
    pub fn console(&self) -> Result<&str, LocalError> {
        self.stack.output("ConsoleUrl")
    }

    /// Returns what signs a browser in as the demonstration administrator.
    pub fn sign_in_link(&self) -> Result<String, LocalError> {
        let console = self.console()?;
        Ok(format!(
            "{console}/sign-in/start?return_to=/&login_hint={}",
            people::ADMINISTRATOR
        ))
    }

    /// Returns the issuer of tokens for the console.
    pub fn issuer(&self) -> &IssuerServer {
        &self.issuer
    }

    /// Returns the base URL of the AWS APIs.
    pub fn emulator_endpoint(&self) -> String {
        self.emulator.endpoint()
    }

    /// Returns the log of the emulator and the functions.
    pub fn log(&self) -> &Path {
        self.emulator.log()
    }

    /// Returns one of the emulator's accounts, which has every account.
    pub fn account(&self, id: &AccountId, region: &Region) -> Account {
        self.emulator.account(id, region)
    }

    /// Returns the account that Portwarden runs in.
    pub fn operator(&self) -> &Account {
        &self.operator
    }

    /// Returns Portwarden's stack.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Returns the connected accounts, in the order in which they were connected.
    pub fn tenants(&self) -> &[Arc<Tenant>] {
        &self.tenants
    }

    /// Returns one of the connected accounts, counted from 0.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub fn tenant(&self, index: usize) -> &Arc<Tenant> {
        &self.tenants[index]
    }

    /// Looks up one of Portwarden's functions by the name that people use, such as `receiver`.
    pub async fn function(&self, name: &str) -> Result<Function, LocalError> {
        let code = self.template.function(name)?;
        let program = self.programs.join(&code.program);
        Function::find(&self.operator, &self.stack, &code.logical_id, program).await
    }

    /// Opens Portwarden's table with the operator's rights.
    pub fn store(&self) -> Result<Arc<dyn Store>, LocalError> {
        let table = self.stack.output("TableName")?.to_owned();
        Ok(Arc::new(DynamoStore::new(&self.aws()?, table)))
    }

    /// Pushes an image to a tenant's registry; the repository is created if it is missing.
    ///
    /// No event follows: see [`LocalCloud::event`] and [`crate::watch`].
    pub async fn push(
        &self,
        tenant: &Tenant,
        image: &ImageChoice,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Pushed, LocalError> {
        let (source, version) = image.open(&self.state).await?;
        push::create_repository(&tenant.account, repository).await?;
        push::push(&*source, &version, &tenant.registry.name(), repository, tag)
            .await
            .map_err(|source| LocalError::Image {
                image: image.to_string(),
                source,
            })
    }

    /// Writes the event that ECR would emit for a pushed image.
    pub fn event(&self, tenant: &Tenant, action: Action, image: &Pushed) -> Value {
        let action = ImageAction {
            action,
            repository: image.repository.to_string(),
            digest: image.digest.to_string(),
            tag: Some(image.tag.to_string()),
        };
        action.event(&tenant.account, SystemClock.now(), &OsRandomness)
    }

    /// Delivers an event as the tenant's API destination does.
    pub async fn deliver(&self, tenant: &Tenant, event: &Value) -> Result<Delivery, LocalError> {
        tenant.deliver(event).await
    }

    /// Waits for the report of a tenant's image.
    pub async fn report(&self, tenant: &TenantId, digest: &Digest) -> Result<ScannedImage, LocalError> {
        let scope = OperatorScope::of_this_process().tenant(tenant.clone());
        let images = Images::new(self.store()?);
        let deadline = Instant::now() + REPORT_PATIENCE;
        while Instant::now() < deadline {
            let scan = images
                .scan(&scope, digest, CATALOG_VERSION)
                .await
                .map_err(|error| LocalError::call("ask whether a scan is done", error))?;
            match scan.map(|scan| scan.result) {
                Some(ScanResult::Reported { .. }) => return self.read_report(&scope, digest).await,
                Some(ScanResult::Refused { problem }) => {
                    return Err(LocalError::ImageRefused {
                        digest: digest.to_string(),
                        problem,
                    });
                }
                None => sleep(POLL).await,
            }
        }
        Err(LocalError::ReportMissing {
            digest: digest.to_string(),
            seconds: REPORT_PATIENCE.as_secs(),
            log: self.log().to_owned(),
        })
    }

    /// Ends everything and waits until it is gone.
    pub async fn shutdown(self) {
        self.emulator.stop().await;
    }

    async fn read_report(&self, scope: &TenantScope, digest: &Digest) -> Result<ScannedImage, LocalError> {
        let report_json = self.read_document(scope, digest, Document::Report).await?;
        let findings = self.find_document(scope, digest, Document::Findings).await?;
        Ok(ScannedImage {
            report: serde_json::from_slice(&report_json)
                .map_err(|error| LocalError::call("read a report", error))?,
            findings: findings
                .map(|findings| serde_json::from_slice(&findings))
                .transpose()
                .map_err(|error| LocalError::call("read findings", error))?,
            sbom_json: self.read_document(scope, digest, Document::CycloneDx).await?,
            report_json,
        })
    }

    async fn read_document(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        document: Document,
    ) -> Result<Vec<u8>, LocalError> {
        let content = self.find_document(scope, digest, document).await?;
        content.ok_or_else(|| {
            let key = scope.image_object(digest, CATALOG_VERSION, document);
            LocalError::call("read a report", format!("there is no object {key}"))
        })
    }

    async fn find_document(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        document: Document,
    ) -> Result<Option<Vec<u8>>, LocalError> {
        let bucket = Bucket::new(&self.aws()?, self.stack.output("ReportBucketName")?.to_owned());
        let key = scope.image_object(digest, CATALOG_VERSION, document);
        let content = bucket.read_object(&key).await;
        content.map_err(|error| LocalError::call("read a report", error))
    }

    /// Connects one account, in the order in which people do: credentials first, then the stack, then the role's ARN.
    async fn connect_one(&self, plan: &TenantPlan) -> Result<Tenant, LocalError> {
        let account = self.emulator.account(&plan.account, &plan.region);
        let password = match plan.identity {
            Identity::New => Password::generate(&OsRandomness),
            Identity::Recorded => recorded::password()?,
        };
        let auth = BasicAuth {
            username: USERNAME.to_owned(),
            password: password.secret().clone(),
        };
        let (id, connection) = self.register(plan, password).await?;
        let integration = connection.integration.id;
        let external_id = connection.integration.external_id;

        let events_url: Url = format!("{}/v1/events/{integration}", self.api()?)
            .parse()
            .map_err(|error| LocalError::call("write the event endpoint's URL", error))?;
        let parameters = StackParameters {
            tenant_name: plan.name.clone(),
            url: self.public_events_url(&integration)?,
            events_url: events_url.clone(),
            auth: Some(auth.clone()),
            external_id: external_id.clone(),
            role_name: match plan.identity {
                Identity::New => None,
                Identity::Recorded => Some(recorded::ROLE_NAME),
            },
        };
        let stack = tenant::create_stack(&account, &self.published_template().await?, &parameters).await?;
        let role: RoleArn = stack
            .output("AssumeRoleArn")?
            .parse()
            .map_err(|error| LocalError::call("read the role's ARN", error))?;

        self.verify(&id, &integration, plan, &role).await?;
        Ok(Tenant {
            id,
            external_id,
            role,
            registry: RegistryAddress::open(&account).await?,
            destination: Tenant::destination(events_url.clone(), auth.clone())?,
            integration,
            account,
            events_url,
            auth,
            stack,
        })
    }

    /// Reads the tenants' template where the deployment has published it, as anybody may.
    pub async fn published_template(&self) -> Result<String, LocalError> {
        let failed = |error: &dyn std::fmt::Display| {
            LocalError::call("read the published template", error.to_string())
        };
        let url: Url = self
            .stack
            .output("TemplateUrl")?
            .parse()
            .map_err(|error| failed(&error))?;
        let bucket = url
            .host_str()
            .and_then(|host| host.split('.').next())
            .unwrap_or_default();
        // By path: the emulator's buckets have no names of their own.
        let here = format!("{}/{bucket}{}", self.emulator.endpoint(), url.path());
        let answer = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| failed(&error))?
            .get(here)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| failed(&error))?;
        answer.text().await.map_err(|error| failed(&error))
    }

    /// Returns the endpoint's URL as it is on AWS, since the tenants' template takes no other.
    pub(crate) fn public_events_url(&self, integration: &IntegrationId) -> Result<String, LocalError> {
        let (api, region) = (self.stack.output("ApiId")?, self.operator.region());
        Ok(format!(
            "https://{api}.execute-api.{region}.amazonaws.com/v1/events/{integration}"
        ))
    }

    /// Makes the tenant and its integration, as the operator does.
    async fn register(
        &self,
        plan: &TenantPlan,
        password: Password,
    ) -> Result<(TenantId, Connection), LocalError> {
        let operator = OperatorScope::of_this_process();
        let now = SystemClock.now();
        let randomness: &dyn Randomness = match plan.identity {
            Identity::New => &OsRandomness,
            Identity::Recorded => &recorded::Ids,
        };
        let tenant = Tenants::new(self.store()?)
            .create(operator, &plan.name, now, randomness)
            .await
            .map_err(|error| LocalError::call("make a tenant", error))?;
        let region = NewRegion::Classic {
            region: plan.region.clone(),
            username: Username::parse(USERNAME)
                .map_err(|error| LocalError::call("choose a user name", error))?,
            password,
        };
        let connection = Integrations::new(self.store()?)
            .create(
                &operator.tenant(tenant.id.clone()),
                &plan.name,
                &[region],
                now,
                randomness,
            )
            .await
            .map_err(|error| LocalError::call("make an integration", error))?;
        Ok((tenant.id, connection))
    }

    /// Names the role and waits until the verifier has proven it.
    async fn verify(
        &self,
        tenant: &TenantId,
        integration: &IntegrationId,
        plan: &TenantPlan,
        role: &RoleArn,
    ) -> Result<(), LocalError> {
        let integrations = Integrations::new(self.store()?);
        let scope = OperatorScope::of_this_process().tenant(tenant.clone());
        integrations
            .claim_role(&scope, integration, &plan.region, role, Some(SystemClock.now()))
            .await
            .map_err(|error| LocalError::call("name a role", error))?;
        VerifyQueue::new(&self.aws()?, self.stack.output("VerifyQueueUrl")?.to_owned())
            .queue_verify(&VerifyRequest {
                tenant: tenant.clone(),
                integration: integration.clone(),
                region: plan.region.clone(),
                role: None,
                claim: None,
                said_at: None,
                reason: VerifyReason::Asked,
                request: RequestId::generate(&OsRandomness),
                trace: TraceId::generate(SystemClock.now(), &OsRandomness),
                attempt: 0,
            })
            .await
            .map_err(|error| LocalError::call("ask for a verification", error))?;

        let not_connected = |reason: String| LocalError::NotConnected {
            account: plan.account.to_string(),
            reason,
        };
        let deadline = Instant::now() + VERIFY_PATIENCE;
        while Instant::now() < deadline {
            let connection = integrations
                .find(&scope, integration)
                .await
                .map_err(|error| LocalError::call("look at a connection", error))?;
            let region = connection
                .as_ref()
                .and_then(|connection| connection.regions.get(&plan.region));
            match region.map(|region| &region.trust) {
                Some(Trust::Proven { .. }) => return Ok(()),
                // A verdict that proves nothing is an answer, too.
                Some(_) if let Some(verdict) = region.and_then(|region| region.verdict.as_ref()) => {
                    let problem = verdict.first_problem();
                    let reason = problem.map_or("the verifier gave no reason", |problem| &problem.message);
                    return Err(not_connected(reason.to_owned()));
                }
                Some(_) | None => sleep(POLL).await,
            }
        }
        let log = self.log().display();
        Err(not_connected(format!(
            "the verifier has not answered within {} s; its log is in {log}",
            VERIFY_PATIENCE.as_secs()
        )))
    }

    fn aws(&self) -> Result<Aws, LocalError> {
        let emulator = self
            .operator
            .endpoint()
            .parse()
            .map_err(|error| LocalError::call("read the emulator's URL", error))?;
        Ok(Aws::over(self.operator.sdk_config(), Some(emulator)))
    }
}
