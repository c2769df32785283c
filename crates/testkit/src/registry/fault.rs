use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, LOCATION, RETRY_AFTER},
};
use http_body_util::{StreamBody, combinators::BoxBody};
use hyper::body::Frame;

use super::answer::{Response, full};

/// What goes wrong with an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status, before anything else is looked at, credentials included.
    Status {
        /// The status.
        status: StatusCode,
        /// The value of the header `Retry-After`, in seconds.
        retry_after: Option<u32>,
    },
    /// A redirect to the URL, before anything else is looked at.
    Redirect(String),
    /// Other content of its own right length.
    Replace(Bytes),
    /// The content with one byte changed.
    Corrupt {
        /// The place of the byte.
        at: usize,
    },
    /// Only so many bytes, in an answer that ends as if they were all.
    Truncate {
        /// How many bytes.
        to: usize,
    },
    /// The whole length announced, so many bytes sent, then the connection closed.
    Drop {
        /// How many bytes.
        after: usize,
    },
    /// The whole length announced, so many bytes sent, then nothing for ever.
    Stall {
        /// How many bytes.
        after: usize,
    },
    /// The content in pieces with pauses.
    Slow {
        /// The bytes of a piece.
        piece: usize,
        /// The time before each piece.
        pause: Duration,
    },
    /// The content and then zeros for ever, with no length announced.
    Endless,
}

/// How often a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// For so many requests.
    Next(u32),
    /// For every request.
    Always,
}

#[derive(Default)]
pub(super) struct FaultPlan(Vec<Planned>);

struct Planned {
    path_part: String,
    times: Times,
    fault: Fault,
}

impl FaultPlan {
    pub(super) fn add(&mut self, path_part: &str, times: Times, fault: Fault) {
        self.0.push(Planned {
            path_part: path_part.to_owned(),
            times,
            fault,
        });
    }

    /// Takes the next fault of a path that replaces the whole answer.
    pub(super) fn take_answer(&mut self, path: &str) -> Option<Fault> {
        self.take(path, Fault::replaces_answer)
    }

    /// Takes the next fault of a path that changes a good answer's content.
    pub(super) fn take_content(&mut self, path: &str) -> Option<Fault> {
        self.take(path, |fault| !fault.replaces_answer())
    }

    /// Only the first fault that is left for a path can happen; it waits until it fits.
    fn take(&mut self, path: &str, fits: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let planned = self
            .0
            .iter_mut()
            .find(|planned| planned.times != Times::Next(0) && path.contains(&planned.path_part))?;
        if !fits(&planned.fault) {
            return None;
        }
        if let Times::Next(left) = &mut planned.times {
            *left -= 1;
        }
        Some(planned.fault.clone())
    }
}

impl Fault {
    fn replaces_answer(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::Redirect(_))
    }

    /// Changes `response`, whose content is `content`.
    pub(super) fn apply(self, mut response: Response, content: &Bytes) -> Response {
        let length = content.len();
        match self {
            Self::Status { status, retry_after } => {
                *response.status_mut() = status;
                let body = br#"{"errors":[{"code":"UNKNOWN","message":"a fault was asked for"}]}"#;
                set_content(&mut response, Bytes::from_static(body));
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, seconds.into());
                }
            }
            Self::Redirect(location) => {
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                if let Ok(location) = HeaderValue::from_str(&location) {
                    response.headers_mut().insert(LOCATION, location);
                }
            }
            Self::Replace(other) => set_content(&mut response, other),
            Self::Corrupt { at } => {
                let mut changed = content.to_vec();
                if let Some(byte) = changed.get_mut(at) {
                    *byte = !*byte;
                }
                set_content(&mut response, changed.into());
            }
            Self::Truncate { to } => set_content(&mut response, content.slice(..to.min(length))),
            Self::Drop { after } => {
                let cut = async {
                    // Hyper sends what it has when the body makes it wait; an error at once would take the head along.
                    tokio::task::yield_now().await;
                    Err(io::Error::from(io::ErrorKind::ConnectionReset))
                };
                let head = content.slice(..after.min(length));
                set_stream(&mut response, stream::iter([Ok(head)]).chain(stream::once(cut)));
            }
            Self::Stall { after } => {
                let head = content.slice(..after.min(length));
                set_stream(&mut response, stream::iter([Ok(head)]).chain(stream::pending()));
            }
            Self::Slow { piece, pause } => {
                let content = content.clone();
                let starts = stream::iter((0..length).step_by(piece.max(1)));
                let pieces = starts.then(move |start| {
                    let piece = content.slice(start..(start + piece.max(1)).min(length));
                    async move {
                        tokio::time::sleep(pause).await;
                        Ok(piece)
                    }
                });
                set_stream(&mut response, pieces);
            }
            Self::Endless => {
                response.headers_mut().remove(CONTENT_LENGTH);
                let zeros = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 8192])));
                let content = content.clone();
                set_stream(&mut response, stream::iter([Ok(content)]).chain(zeros));
            }
        }
        response
    }
}

fn set_content(response: &mut Response, content: Bytes) {
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, content.len().into());
    *response.body_mut() = full(content);
}

fn set_stream(
    response: &mut Response,
    pieces: impl stream::Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
) {
    *response.body_mut() = BoxBody::new(StreamBody::new(pieces.map(|piece| piece.map(Frame::data))));
}
