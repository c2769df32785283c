//! The page of a local cloud's walk-through: where to look, and a button that pushes another image.
//!
//! `portwarden local` serves it itself, on loopback; the console that is deployed has no such route. Its form carries a
//! token, so that no other page that a browser has open pushes anything.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use maud::{DOCTYPE, Markup, html};
use portwarden_core::random::{OsRandomness, Randomness as _};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use crate::error::LocalError;

/// Pushes the image of a number, which starts at 0.
pub type PushAnother = Box<dyn Fn(u32) -> BoxFuture<'static, Result<(), LocalError>> + Send + Sync>;

/// Where the page leads.
#[derive(Debug, Clone)]
pub struct Links {
    /// What signs a browser in.
    pub sign_in: String,
    /// The images of the first tenant, in the console.
    pub images: String,
}

/// The page, as long as this lives.
#[derive(Debug)]
pub struct WalkThrough {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

struct Page {
    address: SocketAddr,
    links: Links,
    push: PushAnother,
    pushed: AtomicU32,
    token: String,
}

impl WalkThrough {
    /// Serves the page at a free port of loopback.
    pub async fn start(links: Links, push: PushAnother) -> Result<Self, LocalError> {
        let failed = |error| LocalError::call("serve the walk-through", error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut token = [0; 16];
        OsRandomness.fill(&mut token);
        let page = Page {
            address,
            links,
            push,
            pushed: AtomicU32::new(0),
            token: hex::encode(token),
        };
        Ok(Self {
            address,
            accepting: tokio::spawn(accept(listener, Arc::new(page))),
        })
    }

    /// Returns where the page is.
    pub fn url(&self) -> String {
        format!("http://localhost:{}/", self.address.port())
    }
}

impl Drop for WalkThrough {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, page: Arc<Page>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let page = Arc::clone(&page);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let page = Arc::clone(&page);
                async move { Ok::<_, Infallible>(page.answer(request).await) }
            });
            // An error here is a client that went away.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

type Answer = Response<Full<Bytes>>;

/// The greatest form in bytes.
const MAX_FORM: usize = 1024;

impl Page {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        // A name that leads here by somebody else's DNS is not ours.
        let host = request
            .headers()
            .get(header::HOST)
            .map(header::HeaderValue::as_bytes);
        let port = self.address.port();
        let ours = [format!("localhost:{port}"), format!("127.0.0.1:{port}")];
        if !ours.iter().any(|name| Some(name.as_bytes()) == host) {
            return say(
                StatusCode::FORBIDDEN,
                "This is not the address of this page.",
                None,
            );
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/") => shown(StatusCode::OK, &self.steps()),
            (&Method::POST, "/push") => {
                let body = Limited::new(request.into_body(), MAX_FORM).collect().await;
                let expected = format!("token={}", self.token);
                if body.is_ok_and(|body| body.to_bytes() == expected.as_bytes()) {
                    self.push().await
                } else {
                    say(
                        StatusCode::FORBIDDEN,
                        "This form is not of this page.",
                        Some("Load the page again."),
                    )
                }
            }
            _ => say(
                StatusCode::NOT_FOUND,
                "There is nothing here.",
                Some("Go to the start: /"),
            ),
        }
    }

    async fn push(&self) -> Answer {
        let number = self.pushed.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = (self.push)(number).await {
            let message = format!(
                "The image is not pushed: {}.",
                portwarden_core::problem::chain(&error)
            );
            return say(StatusCode::INTERNAL_SERVER_ERROR, &message, Some(&error.fix()));
        }
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SEE_OTHER;
        if let Ok(images) = self.links.images.parse() {
            answer.headers_mut().insert(header::LOCATION, images);
        }
        answer
    }

    fn steps(&self) -> Markup {
        html! {
            h1 { "Portwarden in a local cloud" }
            p { "An account is connected, an image was pushed to its registry, and its report is there." }
            ol {
                li { a href=(self.links.sign_in) target="console" { "Sign in to the console" } " as its administrator." }
                li { "Look at the " a href=(self.links.images) target="console" { "images" } ": open the first one, and read its report." }
                li {
                    form method="post" action="/push" {
                        input type="hidden" name="token" value=(self.token);
                        button type="submit" { "Push another image" }
                    }
                    "It is the service's next release, under the tag " code { "latest" } ". It appears in the list by itself, and a "
                    "moment later its report does; the tab " em { "Changes" } " says what came and went since the one before."
                }
            }
        }
    }
}

fn say(status: StatusCode, message: &str, fix: Option<&str>) -> Answer {
    let content = html! {
        h1 { (message) }
        @if let Some(fix) = fix { p { strong { "Fix: " } (fix) } }
    };
    shown(status, &content)
}

const STYLE: &str = "body { font: 1rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; } \
                     li { margin: 0 0 1rem; } button { font: inherit; padding: 0.4rem 0.9rem; margin: 0 0 0.4rem; }";

fn shown(status: StatusCode, content: &Markup) -> Answer {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Portwarden, a walk-through" }
                style { (STYLE) }
            }
            body { main { (content) } }
        }
    };
    let mut answer = Response::new(Full::from(page.into_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use reqwest::{Client, redirect::Policy};

    use super::*;

    #[tokio::test]
    async fn the_button_pushes_and_nothing_else_does() {
        let pushed = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&pushed);
        let links = Links {
            sign_in: "http://localhost:1/sign-in/start?return_to=/&login_hint=a".to_owned(),
            images: "http://localhost:1/tenants/t/images".to_owned(),
        };
        let page = WalkThrough::start(
            links.clone(),
            Box::new(move |number| {
                let before = counted.fetch_add(1, Ordering::SeqCst);
                Box::pin(async move {
                    if number == 1 {
                        return Err(LocalError::call("push", "<the registry is away>"));
                    }
                    assert_eq!(number, before);
                    Ok(())
                })
            }),
        );
        let page = page.await.unwrap();
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .unwrap();
        let here = format!("http://127.0.0.1:{}", page.address.port());
        let shown = client.get(&here).send().await.unwrap().text().await.unwrap();
        assert!(shown.contains("login_hint=a") && shown.contains("Push another image"));
        let (_, token) = shown.split_once("name=\"token\" value=\"").unwrap();
        let (token, _) = token.split_once('"').unwrap();
        let push = async |path: &str, host: Option<&str>, body: String| {
            let mut request = client.post(format!("{here}{path}")).body(body);
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            request.send().await.unwrap()
        };
        let right = format!("token={token}");
        for (path, host, body) in [
            ("/push", None, String::new()),
            ("/push", None, "token=".to_owned()),
            ("/push", None, format!("token={}", "0".repeat(32))),
            ("/push", Some("evil.example"), right.clone()),
            ("/other", None, right.clone()),
        ] {
            let refused = push(path, host, body).await.status();
            assert!(refused.is_client_error(), "{path} {host:?}");
        }
        let got = client.get(format!("{here}/push")).send().await.unwrap();
        assert_eq!(got.status(), StatusCode::NOT_FOUND);
        assert_eq!(pushed.load(Ordering::SeqCst), 0);
        let done = push("/push", None, right.clone()).await;
        assert_eq!(done.status(), StatusCode::SEE_OTHER);
        assert_eq!(done.headers()[header::LOCATION], links.images);
        let failed = push("/push", None, right).await;
        assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            failed
                .text()
                .await
                .unwrap()
                .contains("&lt;the registry is away&gt;")
        );
    }
}
