//! Events, identifiers, credentials, messages of queues and items of the table.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use portwarden_core::{
    access::{Token, TokenKind},
    arn::RoleArn,
    endpoint::{BasicCredentials, Password, Username},
    event::{EventKind, UnverifiedEvent},
    id::{AccountId, EventId, ExternalId, IntegrationId, Region, RequestId, TenantId},
    image::{Cursor, Images, Location, Presence},
    integration::{Connection, Directory, Integrations, NewRegion},
    name::parse_name,
    notification::NotifyRequest,
    problem::Problem,
    random::OsRandomness,
    reconcile::Inventories,
    scope::{OperatorScope, TenantScope},
    store::{Key, MemoryStore, Page, Partition, Store, StoreError, Stored, Write, WriteError},
    tenant::Tenants,
    tenant_template::{self, publication::TemplateVersion},
    trace::TraceId,
    webhook::{MAX_URL, WebhookUrl},
    work::{InventoryRequest, KnownBy, ScanRequest, VerifyRequest},
};
use portwarden_oci::Digest;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

use crate::law::{error_is_short, is_one_plain_word, json_comes_back, text_comes_back};

targets! { event identifier role_arn credentials work stored_item webhook_url }

fn event(input: &[u8]) {
    let event = match UnverifiedEvent::parse(input) {
        Ok(event) => event,
        Err(error) => return error_is_short(&error),
    };
    assert_eq!(event.body, Digest::of(input));
    json_comes_back(&event.kind);
    // What is stored is small, however long the event was.
    let stored = serde_json::to_vec(&event.kind).unwrap();
    assert!(stored.len() <= 2048, "{} bytes to store", stored.len());
    if let EventKind::StackStatus { status, .. } = &event.kind {
        assert!(is_one_plain_word(status), "{status:?}");
    }
    assert!(event.kind.hint().is_none() || event.kind.claim().is_none());
    // The same event in other bytes means the same. (What is ignored may be more than a tree of values can hold.)
    let Ok(value) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let again = UnverifiedEvent::parse(&serde_json::to_vec_pretty(&value).unwrap()).unwrap();
    assert_eq!(
        UnverifiedEvent {
            body: event.body,
            ..again
        },
        event
    );
}

fn identifier(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    text_comes_back::<TenantId>(&text, 28);
    text_comes_back::<IntegrationId>(&text, 28);
    text_comes_back::<ExternalId>(&text, 39);
    text_comes_back::<EventId>(&text, 128);
    text_comes_back::<AccountId>(&text, 12);
    text_comes_back::<Region>(&text, 32);
    text_comes_back::<RequestId>(&text, 26);
    text_comes_back::<TraceId>(&text, 35);
    if let Some(trace) = TraceId::of_header(&text) {
        assert!(text.contains(&trace.to_string()), "{trace} is not in {text:?}");
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    if let Ok(version) = text.parse::<TemplateVersion>() {
        assert_eq!(version.to_string(), text);
    }
    for kind in [TokenKind::ApiKey, TokenKind::Session] {
        if let Some(token) = Token::parse(kind, &text) {
            assert_eq!(token.expose(), text);
        }
    }
    if let Ok(name) = parse_name(&text) {
        assert_eq!(parse_name(&name).as_ref(), Ok(&name));
    }
}

/// A role's ARN, and the tenants' template with it in: nothing but the one principal may depend on it.
fn role_arn(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Some(role) = text_comes_back::<RoleArn>(&text, 640) else {
        return;
    };
    assert!(!text.contains(['*', '?']), "{text}");
    let parts = [role.partition(), role.account().as_str(), role.name()];
    assert!(text.starts_with(&format!("arn:{}:iam::{}:role/", parts[0], parts[1])));
    assert!(text.ends_with(&format!("/{}", parts[2])));

    let mut template: Yaml = serde_yaml_ng::from_str(&tenant_template::render(&role)).unwrap();
    let principal = principal(&mut template).expect("the template names one principal");
    assert_eq!(principal.as_str(), Some(&*text));
    *principal = "a role".into();
    assert_eq!(template, *EMPTY_TEMPLATE);
}

/// The template with another principal.
static EMPTY_TEMPLATE: LazyLock<Yaml> = LazyLock::new(|| {
    let role = "arn:aws:iam::111122223333:role/r".parse().unwrap();
    let mut template: Yaml = serde_yaml_ng::from_str(&tenant_template::render(&role)).unwrap();
    *principal(&mut template).unwrap() = "a role".into();
    template
});

fn principal(template: &mut Yaml) -> Option<&mut Yaml> {
    let resources = template.get_mut("Resources")?.as_mapping_mut()?;
    let roles = resources.values_mut();
    let mut principals = roles.filter_map(|resource| {
        resource
            .get_mut("Properties")?
            .get_mut("AssumeRolePolicyDocument")?
            .get_mut("Statement")?
            .get_mut(0)?
            .get_mut("Principal")?
            .get_mut("AWS")
    });
    principals.next()
}

/// An `Authorization` header, or a name or password that somebody chose.
fn credentials(input: &[u8]) {
    // The longest that can be meant: `Basic `, and 128 and 512 bytes with a colon between them in base 64.
    if BasicCredentials::parse(input).is_some() {
        let text = std::str::from_utf8(input).unwrap();
        let (scheme, encoded) = text.split_once(' ').unwrap();
        assert!(scheme.eq_ignore_ascii_case("basic"));
        assert!(encoded.trim_matches(' ').len() <= (128 + 1 + 512_usize).div_ceil(3) * 4);
    }
    let text = String::from_utf8_lossy(input);
    match Username::parse(&text) {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            // It comes back from the header that a sender makes of it.
            assert!(is_one_plain_word(&text) && !text.contains(':'), "{text:?}");
            json_comes_back(&name);
        }
        Err(error) => error_is_short(&error),
    }
    if let Err(error) = Password::parse(&text.into_owned().into()) {
        error_is_short(&error);
    }
}

/// Messages of the queues.
pub(super) fn work(input: &[u8]) {
    if let Some(request) = read::<ScanRequest>(input) {
        assert_eq!(request.scope().tenant(), &request.tenant);
        json_comes_back(&request);
    }
    if let Some(request) = read::<VerifyRequest>(input) {
        assert_eq!(request.scope().tenant(), &request.tenant);
        json_comes_back(&request);
    }
    if let Some(request) = read::<InventoryRequest>(input) {
        assert_eq!(request.scope().tenant(), &request.tenant);
        json_comes_back(&request);
    }
    if let Some(request) = read::<NotifyRequest>(input) {
        json_comes_back(&request);
    }
    if let Some(problem) = read::<Problem>(input) {
        json_comes_back(&problem);
    }
}

/// Where a tenant's webhook is: nothing that is taken may lead anywhere but to a name in public DNS, by HTTPS.
fn webhook_url(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let url = match WebhookUrl::parse(&text) {
        Ok(url) => url,
        Err(error) => return error_is_short(&error),
    };
    let rest = url
        .as_str()
        .strip_prefix("https://")
        .expect("HTTPS alone is taken");
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    assert!(!authority.contains('@'), "{url} has a user");
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    assert!(["443", "8443"].contains(&port), "{url}");
    assert!(host.contains('.') && !host.starts_with('['), "{url}");
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    assert!(
        last.bytes().any(|byte| !byte.is_ascii_digit()),
        "{url} is an address"
    );
    assert!(!["localhost", "internal", "local"].contains(&last), "{url}");
    assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
    // Escapes can make it longer than what is taken.
    if url.as_str().len() <= MAX_URL {
        assert_eq!(WebhookUrl::parse(url.as_str()).as_ref(), Ok(&url));
    }
}

fn read<T: DeserializeOwned + Serialize>(input: &[u8]) -> Option<T> {
    serde_json::from_slice(input)
        .inspect_err(|error| error_is_short(error))
        .ok()
}

/// Items of the table that are not what their keys say.
fn stored_item(input: &[u8]) {
    let Ok(body) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    let store = Arc::new(Garbled { body: Arc::new(body) });
    let (operator, Party { scope, connection }) = (OperatorScope::of_this_process(), &*PARTY);
    let id = &connection.integration.id;
    let digest = Digest::of(b"");

    let integrations = Integrations::new(store.clone());
    corrupt_or_read(now(integrations.find(scope, id)));
    corrupt_or_read(now(integrations.list(scope)));
    corrupt_or_read(now(Directory::new(store.clone()).endpoint(id)));
    corrupt_or_read(now(Tenants::new(store.clone()).find(operator, scope.tenant())));
    let images = Images::new(store.clone());
    corrupt_or_read(now(images.scan(scope, &digest, 1)));
    corrupt_or_read(now(images.locations(scope, &digest)));
    corrupt_or_read(now(images.summary(scope, &digest)));
    corrupt_or_read(now(images.newest(scope, None, 1)));
    corrupt_or_read(now(images.repositories(scope, None, None, 1)));
    let noon = "2026-11-28T12:00:00Z".parse().unwrap();
    corrupt_or_read(now(Inventories::new(store).coverage(scope, connection, noon)));
}

fn corrupt_or_read<T>(result: Result<T, StoreError>) {
    if let Err(error) = result {
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        error_is_short(&error);
    }
}

/// Nothing here waits for anything.
fn now<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().unwrap()
}

struct Party {
    scope: TenantScope,
    connection: Connection,
}

static STORE: LazyLock<Arc<MemoryStore>> = LazyLock::new(Arc::default);

/// A tenant with an integration, whose keys are in [`STORE`].
static PARTY: LazyLock<Party> = LazyLock::new(|| {
    let scope = OperatorScope::of_this_process().tenant(TenantId::generate(&OsRandomness));
    let region = NewRegion::Classic {
        region: "eu-west-1".parse().unwrap(),
        username: Username::parse("events").unwrap(),
        password: Password::generate(&OsRandomness),
    };
    let integrations = Integrations::new(STORE.clone());
    let regions = [region];
    let made = integrations.create(&scope, "n", &regions, Timestamp::UNIX_EPOCH, &OsRandomness);
    let connection = now(made).unwrap();
    let location = Location {
        integration: connection.integration.id.clone(),
        account: "111122223333".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        repository: "shop/web".parse().unwrap(),
        presence: Presence::Present {
            tags: ["1".parse().unwrap()].into(),
            pushed_at: None,
            archived: false,
        },
        observed_at: Timestamp::UNIX_EPOCH,
        known_by: KnownBy::Event,
        known_at: Timestamp::UNIX_EPOCH,
    };
    let images = Images::new(STORE.clone());
    now(images.observe(&scope, &Digest::of(b""), &location)).unwrap();
    Party { scope, connection }
});

/// A table with the keys of [`STORE`], all of whose items hold the same; for a single read, all others are there, too.
struct Garbled {
    body: Arc<Value>,
}

impl Garbled {
    fn garble(&self, item: Stored) -> Stored {
        Stored {
            body: Arc::clone(&self.body),
            ..item
        }
    }
}

#[async_trait]
impl Store for Garbled {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        let revision = portwarden_core::store::Revision(1);
        let (key, body) = (key.clone(), self.body.clone());
        Ok(Some(Stored { key, revision, body }))
    }

    async fn query(
        &self,
        partition: &Partition,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let page = STORE.query(partition, prefix, after, limit).await?;
        let items = page.items.into_iter().map(|item| self.garble(item)).collect();
        Ok(Page { items, ..page })
    }

    async fn write(&self, _: &[Write]) -> Result<(), WriteError> {
        unreachable!("reading writes nothing")
    }
}
