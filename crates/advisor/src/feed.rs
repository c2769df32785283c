//! A feed behind HTTPS, such as OSV's own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use portwarden_core::{
    advisory::{FeedAnswer, FeedError, FeedFile, ReadFeed},
    clock::Clock,
};
use portwarden_registry::{Network, Refusal};
use reqwest::{
    StatusCode,
    header::{ETAG, IF_NONE_MATCH},
};
use url::Url;

/// A feed below an address.
#[derive(Clone)]
pub struct HttpsFeed {
    network: Network,
    base: Url,
    clock: Arc<dyn Clock>,
}

/// The pauses between attempts.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Why one attempt failed.
enum Attempt {
    /// Another one would fail, too.
    Final(FeedError),
    /// Another one may pass.
    Passing(Box<dyn std::error::Error + Send + Sync>),
}

impl HttpsFeed {
    /// Names the address that the folders lie below.
    pub fn new(network: Network, base: Url, clock: Arc<dyn Clock>) -> Self {
        Self { network, base, clock }
    }

    /// Writes the address of a file; every part of its path is escaped.
    fn url(&self, file: &FeedFile) -> Result<Url, Refusal> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Refusal::NoTarget)?
            .pop_if_empty()
            .extend(file.path());
        Ok(url)
    }

    async fn attempt(&self, file: &FeedFile, known: Option<&str>, limit: u64) -> Result<FeedAnswer, Attempt> {
        let refused = |refusal: Refusal| Attempt::Final(FeedError::Unreachable(file.clone(), refusal.into()));
        // A certificate or a name may be wrong for a while only; the address is public either way.
        let passing = |error: reqwest::Error| Attempt::Passing(error.without_url().into());
        let url = self.url(file).map_err(refused)?;
        let mut request = self.network.client_for(&url).map_err(refused)?.get(url);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let mut answer = request.send().await.map_err(passing)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(FeedAnswer::Unchanged),
            StatusCode::NOT_FOUND => return Err(Attempt::Final(FeedError::Missing(file.clone()))),
            // A redirect is no answer: whoever moves a feed tells its address.
            status => return Err(Attempt::Passing(format!("the source answered {status}").into())),
        }
        let too_large = || Attempt::Final(FeedError::TooLarge(file.clone(), limit));
        if answer.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let tag = answer
            .headers()
            .get(ETAG)
            .and_then(|tag| tag.to_str().ok())
            .map(str::to_owned);
        let mut content = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(passing)? {
            content.extend_from_slice(&part);
            if content.len() as u64 > limit {
                return Err(too_large());
            }
        }
        Ok(FeedAnswer::File { content, tag })
    }
}

#[async_trait]
impl ReadFeed for HttpsFeed {
    async fn read_feed(
        &self,
        file: &FeedFile,
        known: Option<&str>,
        limit: u64,
    ) -> Result<FeedAnswer, FeedError> {
        let mut pauses = PAUSES.iter();
        loop {
            match (self.attempt(file, known, limit).await, pauses.next()) {
                (Ok(answer), _) => return Ok(answer),
                (Err(Attempt::Final(error)), _) => return Err(error),
                (Err(Attempt::Passing(_)), Some(pause)) => self.clock.sleep(*pause).await,
                (Err(Attempt::Passing(error)), None) => {
                    return Err(FeedError::Unreachable(file.clone(), error));
                }
            }
        }
    }
}
