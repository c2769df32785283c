//! An issuer of tokens on loopback: OpenID Connect with real signatures, for tests and the local cloud.
//!
//! It signs in whoever its list of people names, on one page with a link for each, and gives their tokens to the client
//! that has the right PKCE verifier. It keeps nothing and checks no password: it listens on loopback only.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

/// An issuer that listens on loopback as long as this lives.
#[derive(Debug)]
pub struct IssuerServer {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

/// A key that an issuer signs with.
pub struct SigningKey {
    /// Its name.
    pub kid: String,
    key: EncodingKey,
    algorithm: Algorithm,
}

#[derive(Debug)]
struct State {
    issuer: String,
    client: String,
    /// The names of people, by their subjects.
    people: BTreeMap<String, String>,
    keys: Mutex<Vec<Arc<SigningKey>>>,
    codes: Mutex<HashMap<String, Code>>,
    key_requests: AtomicUsize,
}

/// What a code stands for.
#[derive(Debug, Clone)]
struct Code {
    subject: String,
    redirect_uri: String,
    nonce: Option<String>,
    challenge: String,
}

/// How long tokens are valid, in seconds.
const TOKENS_LAST: u64 = 3600;

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a key for ES256.
    ///
    /// # Panics
    ///
    /// When this machine has no randomness.
    pub fn generate(kid: &str) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .expect("a key can be made");
        Self {
            kid: kid.to_owned(),
            key: EncodingKey::from_ec_der(pkcs8.as_ref()),
            algorithm: Algorithm::ES256,
        }
    }

    /// Takes an RSA key, as PKCS #1, for RS256.
    pub fn rsa(kid: &str, der: &[u8]) -> Self {
        Self {
            kid: kid.to_owned(),
            key: EncodingKey::from_rsa_der(der),
            algorithm: Algorithm::RS256,
        }
    }

    /// Signs claims.
    ///
    /// # Panics
    ///
    /// When the key is none of its kind.
    pub fn sign(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some(self.kid.clone()),
            ..Header::new(self.algorithm)
        };
        jsonwebtoken::encode(&header, claims, &self.key).expect("a key signs")
    }

    /// Returns what is published of it.
    ///
    /// # Panics
    ///
    /// When the key is none of its kind.
    pub fn public(&self) -> Jwk {
        let mut key = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a key has a public part");
        key.common.key_id = Some(self.kid.clone());
        key
    }
}

impl IssuerServer {
    /// Starts an issuer for one client, with people by their subjects and names.
    ///
    /// # Panics
    ///
    /// When this machine has no randomness.
    pub async fn start(client: &str, people: &[(&str, &str)]) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let people = people
            .iter()
            .map(|(subject, name)| ((*subject).to_owned(), (*name).to_owned()));
        let state = Arc::new(State {
            issuer: format!("http://{address}"),
            client: client.to_owned(),
            people: people.collect(),
            keys: Mutex::new(vec![Arc::new(SigningKey::generate("one"))]),
            codes: Mutex::default(),
            key_requests: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    /// Returns the issuer's address, as tokens name it.
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Signs with `key` from now on, and publishes the ones before, too.
    pub fn add_key(&self, key: SigningKey) {
        self.state.keys().push(Arc::new(key));
    }

    /// Publishes no key but the newest one.
    pub fn forget_old_keys(&self) {
        let mut keys = self.state.keys();
        let newest = keys.pop();
        *keys = newest.into_iter().collect();
    }

    /// Returns what is published of the keys, as JSON.
    pub fn public_keys(&self) -> Vec<Value> {
        let keys = self.state.keys();
        keys.iter().map(|key| json!(key.public())).collect()
    }

    /// Counts how often the keys were read.
    pub fn key_requests(&self) -> usize {
        self.state.key_requests.load(Ordering::SeqCst)
    }

    /// Returns what a token for a person says, valid from `now` on, in seconds.
    pub fn claims(&self, subject: &str, now: u64) -> Value {
        self.state.claims(subject, now)
    }

    /// Returns a token for a person, valid from `now` on, in seconds.
    pub fn token(&self, subject: &str, now: u64) -> String {
        self.state.sign(&self.claims(subject, now))
    }
}

impl Drop for IssuerServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn keys(&self) -> std::sync::MutexGuard<'_, Vec<Arc<SigningKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn codes(&self) -> std::sync::MutexGuard<'_, HashMap<String, Code>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claims(&self, subject: &str, now: u64) -> Value {
        json!({
            "iss": self.issuer, "sub": subject, "aud": self.client, "iat": now, "exp": now + TOKENS_LAST,
            "name": self.people.get(subject),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let newest = self.keys().last().cloned().expect("an issuer has a key");
        newest.sign(claims)
    }
}

type Answer = Response<Full<Bytes>>;

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            // An error here is a client that went away.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(state: &State, request: http::Request<Incoming>) -> Answer {
    let query = request.uri().query().unwrap_or_default().to_owned();
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/.well-known/openid-configuration") => {
            let at = |path: &str| format!("{}{path}", state.issuer);
            let document = json!({
                "issuer": state.issuer,
                "authorization_endpoint": at("/authorize"),
                "token_endpoint": at("/token"),
                "jwks_uri": at("/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
            });
            as_json(StatusCode::OK, &document)
        }
        (&Method::GET, "/keys") => {
            state.key_requests.fetch_add(1, Ordering::SeqCst);
            let keys: Vec<Jwk> = state.keys().iter().map(|key| key.public()).collect();
            as_json(StatusCode::OK, &json!({ "keys": keys }))
        }
        (&Method::GET, "/authorize") => authorize(state, &query),
        (&Method::POST, "/token") => {
            let body = Limited::new(request.into_body(), 16 * 1024).collect().await;
            match body {
                Ok(body) => exchange(state, &body.to_bytes()),
                Err(_) => refuse("invalid_request"),
            }
        }
        _ => as_json(StatusCode::NOT_FOUND, &json!({ "error": "not_found" })),
    }
}

#[derive(Deserialize)]
struct Authorize {
    client_id: String,
    redirect_uri: String,
    state: String,
    code_challenge: String,
    code_challenge_method: String,
    #[serde(default)]
    nonce: Option<String>,
    /// Which of the people: what a page of a real issuer would find out.
    #[serde(default)]
    login_hint: Option<String>,
}

fn authorize(state: &State, query: &str) -> Answer {
    let Ok(asked) = serde_urlencoded::from_str::<Authorize>(query) else {
        return refuse("invalid_request");
    };
    if asked.client_id != state.client || asked.code_challenge_method != "S256" {
        return refuse("unauthorized_client");
    }
    let Some(subject) = asked.login_hint else {
        return choice(state, query);
    };
    if !state.people.contains_key(&subject) {
        return refuse("access_denied");
    }
    let mut random = [0; 16];
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return refuse("server_error");
    }
    let code = BASE64_URL_SAFE_NO_PAD.encode(random);
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let location = format!(
        "{}?code={}&state={}",
        asked.redirect_uri,
        encode(&code),
        encode(&asked.state)
    );
    let granted = Code {
        subject,
        redirect_uri: asked.redirect_uri,
        nonce: asked.nonce,
        challenge: asked.code_challenge,
    };
    state.codes().insert(code, granted);
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::FOUND;
    if let Ok(location) = location.parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Asks who it is: a link for each of the people.
fn choice(state: &State, query: &str) -> Answer {
    let mut page =
        String::from("<!doctype html><html lang=\"en\"><title>Who are you?</title><h1>Who are you?</h1><ul>");
    for (subject, name) in &state.people {
        let query = query.replace('&', "&amp;").replace('"', "&quot;");
        let subject = utf8_percent_encode(subject, NON_ALPHANUMERIC);
        let name = name.replace('&', "&amp;").replace('<', "&lt;");
        page.extend([
            "<li><a href=\"/authorize?",
            &query,
            "&amp;login_hint=",
            &subject.to_string(),
            "\">",
            &name,
            "</a></li>",
        ]);
    }
    page.push_str("</ul></html>");
    let mut response = Response::new(Full::from(page));
    let html = header::HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

#[derive(Deserialize)]
struct Exchange {
    grant_type: String,
    client_id: String,
    code: String,
    redirect_uri: String,
    code_verifier: String,
}

fn exchange(state: &State, body: &[u8]) -> Answer {
    let Ok(asked) = serde_urlencoded::from_bytes::<Exchange>(body) else {
        return refuse("invalid_request");
    };
    // A code is good for one attempt.
    let Some(code) = state.codes().remove(&asked.code) else {
        return refuse("invalid_grant");
    };
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(asked.code_verifier.as_bytes()));
    let is_right = asked.grant_type == "authorization_code"
        && asked.client_id == state.client
        && asked.redirect_uri == code.redirect_uri
        && challenge == code.challenge;
    if !is_right {
        return refuse("invalid_grant");
    }
    let now = machine_seconds();
    let mut claims = state.claims(&code.subject, now);
    claims["nonce"] = json!(code.nonce);
    let token = state.sign(&claims);
    let answer = json!({
        "token_type": "Bearer", "expires_in": TOKENS_LAST, "access_token": token, "id_token": token,
    });
    as_json(StatusCode::OK, &answer)
}

#[expect(
    clippy::disallowed_methods,
    reason = "an issuer is a world of its own, with the machine's clock"
)]
fn machine_seconds() -> u64 {
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    age.map_or(0, |age| age.as_secs())
}

fn refuse(error: &str) -> Answer {
    as_json(StatusCode::BAD_REQUEST, &json!({ "error": error }))
}

fn as_json(status: StatusCode, value: &Value) -> Answer {
    let mut response = Response::new(Full::from(value.to_string()));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
