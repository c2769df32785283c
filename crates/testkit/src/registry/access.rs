use std::{collections::HashSet, net::SocketAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};

/// Who may read and write.
#[derive(Clone)]
pub enum Access {
    /// Anyone.
    Anonymous,
    /// Who sends these with each request, as with Amazon ECR.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// Who fetches a token first, as with Docker Hub.
    Bearer {
        /// User name and password for a token; anyone gets one when absent.
        account: Option<(String, String)>,
    },
}

impl Access {
    /// Returns the challenge to answer a request with, or nothing if the request may pass.
    pub(super) fn challenge(
        &self,
        gate: &Gate,
        headers: &HeaderMap,
        address: SocketAddr,
        repository: &str,
    ) -> Option<String> {
        let (allowed, challenge) = match self {
            Self::Anonymous => return None,
            Self::Basic { username, password } => (
                authorization(headers) == Some(&basic(username, password)),
                "Basic realm=\"testkit\"".to_owned(),
            ),
            Self::Bearer { .. } => (
                authorization(headers)
                    .and_then(|value| value.strip_prefix("Bearer "))
                    .is_some_and(|token| gate.tokens.contains(token)),
                format!(
                    "Bearer realm=\"http://{address}/token\",service=\"testkit\",scope=\"repository:{repository}:pull\""
                ),
            ),
        };
        (!allowed).then_some(challenge)
    }

    /// Tells whether a request for a token may have one.
    pub(super) fn gives_token(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Bearer { account: None } => true,
            Self::Bearer {
                account: Some((username, password)),
            } => authorization(headers) == Some(&basic(username, password)),
            Self::Anonymous | Self::Basic { .. } => false,
        }
    }
}

/// The tokens that are valid now.
#[derive(Default)]
pub(super) struct Gate {
    tokens: HashSet<String>,
    issued: u64,
}

impl Gate {
    pub(super) fn issue_token(&mut self) -> String {
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.insert(token.clone());
        token
    }

    pub(super) fn expire_tokens(&mut self) {
        self.tokens.clear();
    }
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{username}:{password}"))
    )
}
