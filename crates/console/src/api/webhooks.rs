//! Webhooks: addresses of a tenant's own that are told what changed, and what became of what they were sent.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use jiff::Timestamp;
use portwarden_core::{
    id::{NotificationId, TenantId, WebhookId},
    webhook::{Attempt, Delivery, DeliveryState, Webhook, WebhookSecret},
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    etag::{IfMatch, etag},
    idempotency::ShownOnce,
    images::{cursor, page},
    input::{Input, Path, Query},
    paging::{Page, PageQuery},
};
use crate::{
    auth::{Administrator, Reader},
    context::Console,
    error::Refusal,
    notifying::{self, Wanted},
};

/// A webhook, without what signs its messages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookView {
    /// Its id.
    #[schema(value_type = String)]
    id: WebhookId,
    /// What people call it.
    name: String,
    /// Where it is.
    #[schema(example = "https://hooks.example.com/portwarden")]
    url: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Whether it is sent anything.
    enabled: bool,
    /// Since when it is not, and why.
    disabled: Option<DisabledView>,
    /// When something was taken last, to the hour.
    #[schema(value_type = Option<String>, format = DateTime)]
    delivered_at: Option<Timestamp>,
    /// When its secret was replaced last; the one before signs, too, for 24 hours.
    #[schema(value_type = Option<String>, format = DateTime)]
    secret_renewed_at: Option<Timestamp>,
}

/// Since when and why a webhook is sent nothing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DisabledView {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Why: `asked`, `gone` when it answered 410, or `unreachable` when a delivery was given up and nothing else was taken.
    reason: &'static str,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        let disabled = |disabled: portwarden_core::webhook::Disabled| DisabledView {
            at: disabled.at,
            reason: disabled.reason.name(),
        };
        Self {
            enabled: webhook.is_enabled(),
            id: webhook.id,
            name: webhook.name,
            url: webhook.url.to_string(),
            created_at: webhook.created_at,
            disabled: webhook.disabled.map(disabled),
            delivered_at: webhook.delivered_at,
            secret_renewed_at: webhook.renewed_at,
        }
    }
}

/// Lists the tenant's webhooks.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/webhooks",
    tag = "webhooks",
    operation_id = "listWebhooks",
    params(("tenant" = String, Path, description = "The tenant"), PageQuery),
    responses((status = 200, description = "A page of webhooks", body = Page<WebhookView>))
)]
pub(crate) async fn list(
    State(console): State<Console>,
    reader: Reader,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<WebhookView>>, Refusal> {
    let (limit, after) = (query.limit()?, query.after::<WebhookId>()?);
    // A tenant has ten at most, so that they are read at once.
    let all = console.webhooks.list(reader.scope()).await?;
    let is_behind = |webhook: &Webhook| after.as_ref().is_none_or(|after| webhook.id > *after);
    let mut behind = all.into_iter().filter(is_behind);
    let items = behind.by_ref().take(limit).map(WebhookView::from).collect();
    let more = behind.next().is_some();
    Ok(Json(Page::new(items, more, |view: &WebhookView| view.id.clone())))
}

/// What a webhook is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// What people call it.
    #[schema(example = "chat", min_length = 1, max_length = 100)]
    name: String,
    /// Where it is: https, a name in public DNS, and the port 443 or 8443.
    #[schema(example = "https://hooks.example.com/portwarden", max_length = 2048)]
    url: String,
}

/// A webhook that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedWebhook {
    #[serde(flatten)]
    webhook: WebhookView,
    /// What its messages are signed with, by Standard Webhooks; shown only now.
    #[schema(example = "whsec_…")]
    secret: Option<String>,
}

fn written(secret: &WebhookSecret) -> String {
    secret.expose().expose_secret().to_owned()
}

/// Answers with something whose secret is shown this once.
fn with_secret(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response.extensions_mut().insert(ShownOnce(&["secret"]));
    response
}

/// Makes a webhook.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/webhooks",
    tag = "webhooks",
    operation_id = "createWebhook",
    params(("tenant" = String, Path, description = "The tenant")),
    request_body = NewWebhook,
    responses((status = 201, description = "The webhook, whose secret is shown only now", body = CreatedWebhook))
)]
pub(crate) async fn create(
    State(console): State<Console>,
    administrator: Administrator,
    Input(new): Input<NewWebhook>,
) -> Result<Response, Refusal> {
    let scope = administrator.scope();
    let (webhook, secret) = notifying::create(&console, scope, (&new.name, &new.url)).await?;
    let location = format!("/v1/tenants/{}/webhooks/{}", scope.tenant(), webhook.id);
    let body = CreatedWebhook {
        webhook: webhook.into(),
        secret: Some(written(&secret)),
    };
    Ok(with_secret((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(body),
    )))
}

fn answer(webhook: Webhook) -> Response {
    let etag = etag(webhook.revision());
    ([(header::ETAG, etag)], Json(WebhookView::from(webhook))).into_response()
}

/// Shows a webhook.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/webhooks/{webhook}",
    tag = "webhooks",
    operation_id = "showWebhook",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("webhook" = String, Path, description = "The webhook"),
    ),
    responses((status = 200, description = "The webhook; its ETag is for If-Match", body = WebhookView))
)]
pub(crate) async fn show(
    State(console): State<Console>,
    reader: Reader,
    Path((_, id)): Path<(TenantId, WebhookId)>,
) -> Result<Response, Refusal> {
    Ok(answer(notifying::find(&console, reader.scope(), &id).await?))
}

/// What of a webhook can be changed; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookEdit {
    /// What people call it from now on.
    #[schema(min_length = 1, max_length = 100)]
    #[serde(default)]
    name: Option<String>,
    /// Where it is from now on; its secret stays.
    #[schema(example = "https://hooks.example.com/portwarden", max_length = 2048)]
    #[serde(default)]
    url: Option<String>,
    /// Whether it is sent anything from now on.
    #[serde(default)]
    enabled: Option<bool>,
}

/// Changes a webhook.
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/webhooks/{webhook}",
    tag = "webhooks",
    operation_id = "changeWebhook",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("webhook" = String, Path, description = "The webhook"),
        ("If-Match" = Option<String>, Header, description = "The ETag of what was read"),
    ),
    request_body = WebhookEdit,
    responses((status = 200, description = "The webhook as it is now", body = WebhookView))
)]
pub(crate) async fn change(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id)): Path<(TenantId, WebhookId)>,
    IfMatch(seen): IfMatch,
    Input(edit): Input<WebhookEdit>,
) -> Result<Response, Refusal> {
    let wanted = Wanted {
        name: edit.name,
        url: edit.url,
        enabled: edit.enabled,
    };
    let edited = notifying::edit(&console, administrator.scope(), &id, &wanted, seen);
    Ok(answer(edited.await?))
}

/// Removes a webhook for good; what is known of its deliveries goes within two weeks.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/webhooks/{webhook}",
    tag = "webhooks",
    operation_id = "removeWebhook",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("webhook" = String, Path, description = "The webhook"),
    ),
    responses((status = 204, description = "It is sent nothing any more"))
)]
pub(crate) async fn remove(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id)): Path<(TenantId, WebhookId)>,
) -> Result<StatusCode, Refusal> {
    notifying::remove(&console, administrator.scope(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A secret that was made anew.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RenewedSecret {
    /// What messages are signed with from now on, beside the old one for 24 hours; shown only now.
    #[schema(example = "whsec_…")]
    secret: Option<String>,
}

/// Gives a webhook another secret; the old one signs, too, for 24 hours.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/webhooks/{webhook}/secret",
    tag = "webhooks",
    operation_id = "renewWebhookSecret",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("webhook" = String, Path, description = "The webhook"),
    ),
    responses((status = 200, description = "The secret, which is shown only now", body = RenewedSecret))
)]
pub(crate) async fn renew_secret(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id)): Path<(TenantId, WebhookId)>,
) -> Result<Response, Refusal> {
    let secret = notifying::renew_secret(&console, administrator.scope(), &id).await?;
    let secret = Some(written(&secret));
    Ok(with_secret(Json(RenewedSecret { secret })))
}

/// One thing on its way to one webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// What is delivered; also the `webhook-id` of every attempt.
    #[schema(value_type = String)]
    notification: NotificationId,
    /// What it is about, as its body says: `findings.changed` or `ping`.
    r#type: &'static str,
    /// When it was to be told.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// How it stands: `waiting`, `sending`, `delivered`, `given_up`, or `cancelled` when the webhook was switched off.
    state: &'static str,
    /// When the next attempt is made, if there is one.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    /// How many attempts were made, ever.
    attempt_count: u32,
    /// The last attempts, the newest last.
    attempts: Vec<AttemptView>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// When it was over.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// How long it took, in milliseconds.
    took_ms: u64,
    /// The status of the answer, if there was one.
    status: Option<u16>,
    /// Why it failed, if it did: `refused`, `redirected`, `gone`, `timed_out`, `unreachable` or `address_refused`.
    code: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let next_at = match delivery.state {
            DeliveryState::Waiting { next_at } => Some(next_at),
            _ => None,
        };
        let attempt = |attempt: Attempt| AttemptView {
            at: attempt.at,
            took_ms: attempt.took_ms,
            status: attempt.status,
            code: attempt.code,
        };
        Self {
            notification: delivery.notification,
            r#type: delivery.kind.event_type(),
            created_at: delivery.created_at,
            state: delivery.state.name(),
            next_at,
            attempt_count: delivery.made,
            attempts: delivery.attempts.into_iter().map(attempt).collect(),
        }
    }
}

/// Sends a webhook a ping, switched off or not.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/webhooks/{webhook}/test",
    tag = "webhooks",
    operation_id = "testWebhook",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("webhook" = String, Path, description = "The webhook"),
    ),
    responses((status = 202, description = "It is on its way; the deliveries say what comes of it", body = DeliveryView))
)]
pub(crate) async fn test(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id)): Path<(TenantId, WebhookId)>,
) -> Result<(StatusCode, Json<DeliveryView>), Refusal> {
    let delivery = notifying::test(&console, administrator.scope(), &id).await?;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}

/// Lists what a webhook was sent in the last two weeks, the newest first.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/webhooks/{webhook}/deliveries",
    tag = "webhooks",
    operation_id = "listDeliveries",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("webhook" = String, Path, description = "The webhook"),
        PageQuery,
    ),
    responses((status = 200, description = "A page of deliveries", body = Page<DeliveryView>))
)]
pub(crate) async fn deliveries(
    State(console): State<Console>,
    reader: Reader,
    Path((_, id)): Path<(TenantId, WebhookId)>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<DeliveryView>>, Refusal> {
    let (after, limit) = (cursor(query.cursor.as_deref())?, query.limit()?);
    let scope = reader.scope();
    notifying::find(&console, scope, &id).await?;
    let listed = console.webhooks.deliveries(scope, &id, after.as_ref(), limit);
    Ok(Json(page(listed.await?, |delivery| {
        Some(DeliveryView::from(delivery))
    })))
}

/// Delivers something again, at once.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/webhooks/{webhook}/deliveries/{notification}/redelivery",
    tag = "webhooks",
    operation_id = "redeliver",
    params(
        ("tenant" = String, Path, description = "The tenant"),
        ("webhook" = String, Path, description = "The webhook"),
        ("notification" = String, Path, description = "What was delivered"),
    ),
    responses((status = 202, description = "It is on its way again", body = DeliveryView))
)]
pub(crate) async fn redeliver(
    State(console): State<Console>,
    administrator: Administrator,
    Path((_, id, notification)): Path<(TenantId, WebhookId, NotificationId)>,
) -> Result<(StatusCode, Json<DeliveryView>), Refusal> {
    let scope = administrator.scope();
    let delivery = notifying::redeliver(&console, scope, &id, &notification).await?;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}
