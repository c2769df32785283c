//! Signing in with a browser: the authorization code flow with PKCE, and the end of a session.
//!
//! Everything that goes to the issuer and comes back is derived from one token in a cookie, and the table knows only its
//! hash, once. Source: OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9207.

use axum::{
    Router,
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header};
use portwarden_core::access::{SESSION_LASTS, Token, TokenKind};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{SignedIn, cookie, csrf_missing, fetch::FetchError, issuer::TokenRefused};
use crate::{
    context::Console,
    error::Refusal,
    page::{Shown, form::Form},
};

/// Adds the routes.
pub(crate) fn router() -> Router<Console> {
    Router::new()
        .route("/sign-in/start", get(start))
        .route(CALLBACK, get(finish))
        .route("/sign-out", post(sign_out))
}

/// Where the issuer sends the browser back to; registered with the issuer.
pub const CALLBACK: &str = "/sign-in/callback";

/// How long the browser keeps the cookie of a sign-in, in seconds.
const SIGN_IN_SECONDS: i64 = 600;

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    return_to: String,
    /// Whom the issuer may expect; it asks whoever comes all the same.
    #[serde(default)]
    login_hint: Option<String>,
}

async fn start(State(console): State<Console>, Query(query): Query<Start>) -> Result<Response, Shown> {
    let metadata = console.issuer.metadata().await?;
    let mut url = Url::parse(&metadata.authorization_endpoint)
        .map_err(|error| Refusal::from(FetchError(error.into())))?;
    let return_to = own_path(&query.return_to).to_owned();
    let token = console
        .sessions
        .begin(return_to, console.clock.now(), &*console.randomness)
        .await?;
    let secrets = Secrets::of(&token);
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(secrets.verifier.as_bytes()));
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", console.issuer.client_id())
        .append_pair("redirect_uri", &redirect_uri(&console))
        .append_pair("scope", "openid profile email")
        .append_pair("state", &secrets.state)
        .append_pair("nonce", &secrets.nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    if let Some(hint) = query.login_hint.filter(|hint| hint.len() <= 255) {
        url.query_pairs_mut().append_pair("login_hint", &hint);
    }
    let set = cookie::set(cookie::SIGN_IN, &token, SIGN_IN_SECONDS);
    Ok(([(header::SET_COOKIE, set)], Redirect::to(url.as_str())).into_response())
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    state: Option<String>,
}

async fn finish(
    State(console): State<Console>,
    headers: HeaderMap,
    Query(answer): Query<Answer>,
) -> Result<Response, Shown> {
    let now = console.clock.now();
    let token = cookie::read(&headers, cookie::SIGN_IN)
        .and_then(|text| Token::parse(TokenKind::SignIn, text))
        .ok_or_else(failed)?;
    let sign_in = console.sessions.take(&token, now).await?.ok_or_else(failed)?;
    let secrets = Secrets::of(&token);
    let (Some(code), Some(state)) = (answer.code, answer.state) else {
        return Err(failed().into());
    };
    if state != secrets.state {
        return Err(failed().into());
    }
    let id_token = exchange(&console, &code, &secrets.verifier).await?;
    let person = match console.issuer.verify_sign_in(&id_token, &secrets.nonce).await {
        Ok(person) => person,
        Err(TokenRefused::Unreachable(error)) => return Err(Refusal::from(error).into()),
        Err(TokenRefused::Invalid(_)) => return Err(failed().into()),
    };
    let session = console.sessions.open(person, now, &*console.randomness).await?;
    let mut response = Redirect::to(&sign_in.return_to).into_response();
    let set = cookie::set(cookie::SESSION, &session, SESSION_LASTS.as_secs());
    response.headers_mut().append(header::SET_COOKIE, set);
    response
        .headers_mut()
        .append(header::SET_COOKIE, cookie::clear(cookie::SIGN_IN));
    Ok(response)
}

/// What a sign-in sends to the issuer, or keeps until the issuer's answer.
struct Secrets {
    state: String,
    nonce: String,
    verifier: String,
}

impl Secrets {
    fn of(token: &Token) -> Self {
        Self {
            state: token.derive("state"),
            nonce: token.derive("nonce"),
            verifier: token.derive("verifier"),
        }
    }
}

#[derive(Deserialize)]
struct Exchanged {
    id_token: String,
}

/// Gets the token for a code; only whoever began the sign-in has the verifier.
async fn exchange(console: &Console, code: &str, verifier: &str) -> Result<String, Refusal> {
    let metadata = console.issuer.metadata().await?;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &redirect_uri(console)),
        ("client_id", console.issuer.client_id()),
        ("code_verifier", verifier),
    ];
    let answer = console
        .issuer
        .fetch()
        .post_form(&metadata.token_endpoint, &fields)
        .await?;
    match answer.status {
        200 => serde_json::from_slice::<Exchanged>(&answer.body)
            .map(|exchanged| exchanged.id_token)
            .map_err(|error| FetchError(error.into()).into()),
        400 | 401 => Err(failed()),
        other => Err(FetchError(format!("it answers {other}").into()).into()),
    }
}

fn redirect_uri(console: &Console) -> String {
    format!("{}{CALLBACK}", console.place.console_url)
}

fn failed() -> Refusal {
    Refusal::invalid(
        "sign_in_failed",
        "You could not be signed in.",
        "Sign in again, in one window and within ten minutes.",
    )
}

/// Takes a path of ours, and the root for whatever could lead elsewhere.
fn own_path(text: &str) -> &str {
    let is_own = text.starts_with('/')
        && !text.starts_with("//")
        && text.len() <= 1024
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_own { text } else { "/" }
}

#[derive(Deserialize)]
struct SignOut {
    csrf: String,
}

async fn sign_out(
    State(console): State<Console>,
    headers: HeaderMap,
    Form(form): Form<SignOut>,
) -> Result<Response, Shown> {
    if let Some(signed_in) = SignedIn::of(&console, &headers).await? {
        if !signed_in.accepts_csrf(&form.csrf) {
            return Err(csrf_missing().into());
        }
        console.sessions.end(&signed_in.token).await?;
    }
    let clear = [(header::SET_COOKIE, cookie::clear(cookie::SESSION))];
    Ok((StatusCode::SEE_OTHER, clear, [(header::LOCATION, "/sign-in")]).into_response())
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn a_sign_in_returns_to_our_own_pages_only() {
        for own in ["/", "/tenants/t-1?x=1", "/a%2f"] {
            assert_eq!(own_path(own), own);
        }
        for other in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nb",
            "/ü",
        ] {
            assert_eq!(own_path(other), "/", "{other:?}");
        }
    }
}
