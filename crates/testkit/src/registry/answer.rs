use std::io;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_RANGES, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE,
        WWW_AUTHENTICATE,
    },
    request::Parts as Head,
};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use portwarden_oci::{Digest, MediaType};
use serde_json::json;

use super::{State, store::Store};

pub(super) type Response = http::Response<BoxBody<Bytes, io::Error>>;

/// What a path names.
enum Resource<'a> {
    Registry,
    Token,
    Storage(Digest),
    Manifest { repository: &'a str, reference: &'a str },
    Blob { repository: &'a str, digest: Digest },
    Uploads { repository: &'a str },
    Upload { repository: &'a str, id: u64 },
}

impl<'a> Resource<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        match path {
            "/v2/" | "/v2" => return Some(Self::Registry),
            "/token" => return Some(Self::Token),
            _ => {}
        }
        if let Some(digest) = path.strip_prefix("/storage/") {
            return digest.parse().ok().map(Self::Storage);
        }
        let path = path.strip_prefix("/v2/")?;
        if let Some((repository, id)) = path.rsplit_once("/blobs/uploads/") {
            return match id {
                "" => Some(Self::Uploads { repository }),
                id => id.parse().ok().map(|id| Self::Upload { repository, id }),
            };
        }
        if let Some((repository, digest)) = path.rsplit_once("/blobs/") {
            let digest = digest.parse().ok()?;
            return Some(Self::Blob { repository, digest });
        }
        let (repository, reference) = path.rsplit_once("/manifests/")?;
        Some(Self::Manifest {
            repository,
            reference,
        })
    }

    fn repository(&self) -> &str {
        match self {
            Self::Registry | Self::Token | Self::Storage(_) => "",
            Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. } => repository,
        }
    }
}

/// An answer before it is sent, so that a fault can still change its content.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    content: Bytes,
}

pub(super) async fn answer(state: &State, request: http::Request<Incoming>) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let fault = state.lock().faults.take_answer(path);
    if let Some(fault) = fault {
        return fault.apply(empty(StatusCode::OK).into_response(), &Bytes::new());
    }
    let Ok(body) = body.collect().await else {
        return error(StatusCode::BAD_REQUEST, "SIZE_INVALID").into_response();
    };
    let answer = match Resource::parse(path) {
        Some(resource) => serve(state, &head, &resource, &body.to_bytes()),
        None => error(StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
    };
    // A HEAD has no content and a refusal not the right one, so that the fault waits for the request that is meant.
    let may_fail = head.method == Method::GET && answer.status.is_success();
    let fault = may_fail.then(|| state.lock().faults.take_content(path)).flatten();
    let content = answer.content.clone();
    let response = answer.into_response();
    match fault {
        Some(fault) => fault.apply(response, &content),
        None => response,
    }
}

fn serve(state: &State, head: &Head, resource: &Resource<'_>, body: &Bytes) -> Answer {
    let mut inner = state.lock();
    let inner = &mut *inner;
    let access = &state.settings.access;
    match resource {
        Resource::Token if access.gives_token(&head.headers) => {
            let token = inner.gate.issue_token();
            return json_answer(StatusCode::OK, &json!({"token": token, "expires_in": 300}));
        }
        Resource::Token => return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
        Resource::Storage(_) if head.headers.contains_key(AUTHORIZATION) => {
            return error(StatusCode::BAD_REQUEST, "InvalidArgument");
        }
        Resource::Storage(digest) => return content_answer(state, head, inner.store.stored_blob(*digest)),
        _ => {}
    }
    if let Some(challenge) =
        access.challenge(&inner.gate, &head.headers, state.address, resource.repository())
    {
        return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED").with_header(WWW_AUTHENTICATE, &challenge);
    }
    let store = &mut inner.store;
    match (resource, &head.method) {
        (Resource::Registry, &Method::GET | &Method::HEAD) => json_answer(StatusCode::OK, &json!({})),
        (
            Resource::Manifest {
                repository,
                reference,
            },
            &Method::GET | &Method::HEAD,
        ) => get_manifest(store, repository, reference),
        (
            Resource::Manifest {
                repository,
                reference,
            },
            &Method::PUT,
        ) => put_manifest(store, head, repository, reference, body),
        (Resource::Blob { repository, digest }, method @ (&Method::GET | &Method::HEAD)) => {
            let blob = store.blob(repository, *digest);
            if blob.is_some() && *method == Method::GET && state.settings.redirect_blobs {
                let location = format!("http://{}/storage/{digest}", state.address);
                empty(StatusCode::TEMPORARY_REDIRECT).with_header(LOCATION, &location)
            } else {
                content_answer(state, head, blob)
            }
        }
        (Resource::Uploads { repository }, &Method::POST) => {
            let id = store.open_upload();
            upload_answer(StatusCode::ACCEPTED, repository, id)
        }
        (Resource::Upload { repository, id }, &Method::PATCH) => match store.extend_upload(*id, body) {
            Some(length) => upload_answer(StatusCode::ACCEPTED, repository, *id)
                .with_header(RANGE, &format!("0-{}", length.saturating_sub(1))),
            None => error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        },
        (Resource::Upload { repository, id }, &Method::PUT) => {
            finish_upload(store, head, repository, *id, body)
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
    }
}

fn get_manifest(store: &Store, repository: &str, reference: &str) -> Answer {
    let Some((media_type, content)) = store.manifest(repository, reference) else {
        return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
    };
    let digest = Digest::of(&content).to_string();
    with_content(content)
        .with_header(CONTENT_TYPE, media_type.as_str())
        .with_header(DOCKER_CONTENT_DIGEST, &digest)
}

fn put_manifest(store: &mut Store, head: &Head, repository: &str, reference: &str, body: &Bytes) -> Answer {
    let digest = Digest::of(body).to_string();
    if reference.starts_with("sha256:") && reference != digest {
        return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
    }
    let media_type = head.headers.get(CONTENT_TYPE).and_then(|text| text.to_str().ok());
    let media_type = MediaType::from(media_type.unwrap_or_default().to_owned());
    for reference in [reference, &digest] {
        store.put_manifest(repository, reference, media_type.clone(), body.clone());
    }
    empty(StatusCode::CREATED)
        .with_header(LOCATION, &format!("/v2/{repository}/manifests/{digest}"))
        .with_header(DOCKER_CONTENT_DIGEST, &digest)
}

fn finish_upload(store: &mut Store, head: &Head, repository: &str, id: u64, body: &[u8]) -> Answer {
    store.extend_upload(id, body);
    let Some(content) = store.close_upload(id) else {
        return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
    };
    let digest = Digest::of(&content);
    if head.uri.query().and_then(claimed_digest) != Some(digest) {
        return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
    }
    store.put_blob(repository, digest, content);
    empty(StatusCode::CREATED)
        .with_header(LOCATION, &format!("/v2/{repository}/blobs/{digest}"))
        .with_header(DOCKER_CONTENT_DIGEST, &digest.to_string())
}

/// Answers with a blob, or the part of it that is asked for.
fn content_answer(state: &State, head: &Head, content: Option<Bytes>) -> Answer {
    let Some(content) = content else {
        return error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
    };
    let length = content.len();
    let range = head.headers.get(RANGE).and_then(|range| range.to_str().ok());
    let whole = with_content(content).with_header(CONTENT_TYPE, "application/octet-stream");
    let Some(range) = range.filter(|_| state.settings.ranges) else {
        return whole;
    };
    let Some((first, last)) = parse_range(range, length) else {
        return error(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID");
    };
    Answer {
        status: StatusCode::PARTIAL_CONTENT,
        content: whole.content.slice(first..=last),
        headers: whole.headers,
    }
    .with_header(ACCEPT_RANGES, "bytes")
    .with_header(CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"))
}

/// Reads `bytes=first-` and `bytes=first-last`, the forms that registry clients send.
pub(super) fn parse_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    let end = length.checked_sub(1)?;
    let last = if last.is_empty() {
        end
    } else {
        end.min(last.parse().ok()?)
    };
    (first <= last).then_some((first, last))
}

/// Reads the parameter `digest`, whose colon clients may write as `%3A`.
fn claimed_digest(query: &str) -> Option<Digest> {
    let value = query
        .split('&')
        .find_map(|parameter| parameter.strip_prefix("digest="))?;
    value.replace("%3A", ":").replace("%3a", ":").parse().ok()
}

const DOCKER_CONTENT_DIGEST: http::HeaderName = http::HeaderName::from_static("docker-content-digest");

fn upload_answer(status: StatusCode, repository: &str, id: u64) -> Answer {
    empty(status).with_header(LOCATION, &format!("/v2/{repository}/blobs/uploads/{id}"))
}

fn error(status: StatusCode, code: &str) -> Answer {
    json_answer(status, &json!({"errors": [{"code": code, "message": ""}]}))
}

fn json_answer(status: StatusCode, value: &serde_json::Value) -> Answer {
    Answer {
        status,
        headers: HeaderMap::new(),
        content: value.to_string().into(),
    }
    .with_header(CONTENT_TYPE, "application/json")
}

fn with_content(content: Bytes) -> Answer {
    Answer {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        content,
    }
}

fn empty(status: StatusCode) -> Answer {
    Answer {
        status,
        headers: HeaderMap::new(),
        content: Bytes::new(),
    }
}

impl Answer {
    fn with_header(mut self, name: http::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    fn into_response(self) -> Response {
        let length = self.content.len();
        let mut response = http::Response::new(full(self.content));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        response
    }
}

pub(super) fn full(content: Bytes) -> BoxBody<Bytes, io::Error> {
    Full::new(content).map_err(|never| match never {}).boxed()
}
