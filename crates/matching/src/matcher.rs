use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use portwarden_core::{
    clock::Clock,
    id::NotificationId,
    inventory::{ImageState, Inventory, Matching, PackageKey},
    notification::{Notifications, QueueNotify},
    object::{Document, ReadObject, WriteObject},
    registry_scan::RegistryScan,
    scope::TenantScope,
    store::Store,
};
use portwarden_oci::Digest;
use portwarden_report::{ImageFindings, Report};

use crate::{
    CurrentDatabase, Loaded, MatchError, entry,
    index::{Index, names},
    news,
};

/// Matches images of tenants, and keeps what was found.
pub struct Matcher {
    inventory: Inventory,
    current: CurrentDatabase,
    index: Index,
    documents: Arc<dyn WriteObject>,
    pub(crate) notifications: Notifications,
    pub(crate) notifies: Arc<dyn QueueNotify>,
    clock: Arc<dyn Clock>,
}

/// What came of matching an image for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstMatch {
    /// The edition that it was matched with; none if it waits for one.
    pub edition: Option<u64>,
    /// How many findings of each severity count.
    pub counts: BTreeMap<String, usize>,
}

/// What came of matching an image again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rematched {
    /// It was matched with this edition, or a newer one, before.
    Known,
    /// Its findings are the same.
    Unchanged,
    /// Its findings are others, or it had none before.
    Changed,
    /// It is nowhere any more, or archived, and left the index.
    Left,
    /// Its packages are not in the index: nobody scanned it, or its scan goes on.
    NotIndexed,
    /// There is no database.
    NoDatabase,
}

/// How often somebody else may be faster.
pub(crate) const ATTEMPTS: usize = 4;

impl Matcher {
    /// Makes a matcher that has loaded nothing yet.
    pub fn new(
        store: Arc<dyn Store>,
        objects: Arc<dyn ReadObject>,
        documents: Arc<dyn WriteObject>,
        notifies: Arc<dyn QueueNotify>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            notifications: Notifications::new(Arc::clone(&store)),
            notifies,
            inventory: Inventory::new(Arc::clone(&store)),
            current: CurrentDatabase::new(Arc::clone(&store), Arc::clone(&objects)),
            index: Index::new(store, objects),
            documents,
            clock,
        }
    }

    /// Returns the database in use; nothing if there never was one.
    pub async fn database(&self) -> Result<Option<Arc<Loaded>>, MatchError> {
        self.current.get().await
    }

    /// Returns the packages and findings of tenants' images.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Matches an image whose report was just written.
    ///
    /// Without a usable database it is noted as not matched yet, and the failure is told beside it.
    pub async fn match_first(
        &self,
        scope: &TenantScope,
        report: &Report,
    ) -> Result<(FirstMatch, Option<MatchError>), MatchError> {
        let digest = &report.image.digest;
        for _ in 0..ATTEMPTS {
            let mut state = self.inventory.image(scope, digest).await?;
            let known = state.matching.as_ref();
            if known.is_some_and(|matching| matching.catalog_version != report.catalog_version) {
                self.leave(scope, digest, &state).await?;
                state = self.inventory.image(scope, digest).await?;
            }
            let (loaded, failure) = match self.current.get().await {
                Ok(loaded) => (loaded, None),
                Err(failure) => (None, Some(failure)),
            };
            let findings = match &loaded {
                Some(loaded) => Some(self.find(report, loaded)?),
                None => None,
            };
            let entries = entry::entries(report, findings.as_ref());
            self.inventory.enter(scope, digest, &entries).await?;
            // Whoever published another edition before this line has not found the image in the index.
            let number = loaded.as_ref().map(|loaded| loaded.edition.number);
            if failure.is_none() && self.current.edition().await? != number {
                continue;
            }
            if let Some(findings) = &findings {
                let names = names(findings);
                let names = names.iter().map(String::as_str).collect::<Vec<_>>();
                self.inventory.note_findings(scope, digest, &names, &[]).await?;
            }
            let matching = self.matching(report.catalog_version, findings.as_ref(), number);
            if !self
                .inventory
                .keep_matching(scope, digest, &state, &matching, None)
                .await?
            {
                continue;
            }
            if let Some(findings) = &findings {
                self.write(scope, findings, &state, &matching).await?;
            }
            let first = FirstMatch {
                edition: number,
                counts: matching.counts,
            };
            return Ok((first, failure));
        }
        Err(MatchError::Overtaken)
    }

    /// Matches an image that was scanned before, if its packages are not in the index.
    pub async fn match_known(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<(), MatchError> {
        if self.inventory.image(scope, digest).await?.matching.is_some() {
            return Ok(());
        }
        match self.report(scope, digest, catalog_version).await? {
            Some(report) => self.match_first(scope, &report).await.map(drop),
            None => Ok(()),
        }
    }

    /// Matches an image again, if that has not been done with the edition in use; no registry is asked.
    pub async fn rematch(&self, scope: &TenantScope, digest: &Digest) -> Result<Rematched, MatchError> {
        let Some(loaded) = self.current.get().await? else {
            return Ok(Rematched::NoDatabase);
        };
        let state = self.inventory.image(scope, digest).await?;
        let Some(matching) = &state.matching else {
            return Ok(Rematched::NotIndexed);
        };
        if !state.is_live() {
            self.leave(scope, digest, &state).await?;
            return Ok(Rematched::Left);
        }
        let is_known = matching
            .edition
            .is_some_and(|edition| edition >= loaded.edition.number);
        if is_known && matching.written {
            // Whoever matched it may have died before it was told.
            self.compare_tags_of(scope, digest, &state, None).await?;
            return Ok(Rematched::Known);
        }
        let Some(report) = self.report(scope, digest, matching.catalog_version).await? else {
            return Ok(Rematched::NotIndexed);
        };
        let before = match matching.edition {
            Some(_) => self.findings(scope, digest, matching.catalog_version).await?,
            None => None,
        };
        // Without an edition nobody could merge it yet.
        let scan = match (matching.edition, &matching.registry_scan) {
            (Some(_), None) => None,
            _ => {
                self.index
                    .registry_scan(scope, digest, matching.catalog_version)
                    .await?
            }
        };
        let rematched = self
            .match_again(scope, &state, &report, before.as_ref(), &loaded, scan.as_ref())
            .await?;
        if matching.edition.is_none() {
            // Until now it could not be compared with the images that its tags named before.
            self.compare_tags(scope, digest, None).await?;
        }
        Ok(rematched)
    }

    /// Merges what ECR's own scanning found in an image that was matched before, unless that was merged; no registry is asked.
    ///
    /// The scan is kept beside the report, for every edition to come.
    pub async fn merge_registry_scan(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        scan: &RegistryScan,
    ) -> Result<Rematched, MatchError> {
        for _ in 0..ATTEMPTS {
            let state = self.inventory.image(scope, digest).await?;
            let Some(matching) = &state.matching else {
                return Ok(Rematched::NotIndexed);
            };
            if matching.registry_scan.as_deref() == Some(scan.stamp().as_str()) && matching.written {
                // Whoever merged it may have died before it was told.
                self.tell(scope, digest, &state.untold).await?;
                return Ok(Rematched::Known);
            }
            let key = scope.image_object(digest, matching.catalog_version, Document::RegistryScan);
            self.documents
                .write_object(&key, "application/json", scan.to_json())
                .await?;
            // Whoever brings the first edition finds it.
            if matching.edition.is_none() {
                return Ok(Rematched::NoDatabase);
            }
            let Some(loaded) = self.current.get().await? else {
                return Ok(Rematched::NoDatabase);
            };
            let Some(report) = self.report(scope, digest, matching.catalog_version).await? else {
                return Ok(Rematched::NotIndexed);
            };
            let before = self.findings(scope, digest, matching.catalog_version).await?;
            let merged = self
                .match_again(scope, &state, &report, before.as_ref(), &loaded, Some(scan))
                .await;
            match merged {
                Err(MatchError::Overtaken) => {}
                merged => return merged,
            }
        }
        Err(MatchError::Overtaken)
    }

    async fn match_again(
        &self,
        scope: &TenantScope,
        state: &ImageState,
        report: &Report,
        before: Option<&ImageFindings>,
        loaded: &Loaded,
        scan: Option<&RegistryScan>,
    ) -> Result<Rematched, MatchError> {
        let digest = &report.image.digest;
        let mut findings = self.find(report, loaded)?;
        if let Some(scan) = scan {
            findings.merge(report, scan);
        }
        let is_unchanged = before.is_some_and(|before| {
            before.platforms == findings.platforms && before.registry_scan == findings.registry_scan
        });
        if !is_unchanged {
            let old: BTreeMap<PackageKey, String> = match before {
                Some(_) => entry::entries(report, before)
                    .into_iter()
                    .map(|entry| (entry.key, entry.signature))
                    .collect(),
                None => BTreeMap::new(),
            };
            let mut entries = entry::entries(report, Some(&findings));
            entries.retain(|entry| old.get(&entry.key) != Some(&entry.signature));
            self.inventory.enter(scope, digest, &entries).await?;
            let [old, new] = [before.map(names).unwrap_or_default(), names(&findings)];
            let [added, gone] = [&new - &old, &old - &new];
            let [added, gone] =
                [&added, &gone].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
            self.inventory.note_findings(scope, digest, &added, &gone).await?;
        }
        let mut matching = self.matching(
            report.catalog_version,
            Some(&findings),
            Some(loaded.edition.number),
        );
        matching.written = is_unchanged;
        let news = match before {
            Some(before) if !is_unchanged => {
                news::of_image(scope, state, report, (before, &findings), loaded)?
            }
            _ => None,
        };
        if !self
            .inventory
            .keep_matching(scope, digest, state, &matching, news.as_ref())
            .await?
        {
            return Err(MatchError::Overtaken);
        }
        if !is_unchanged {
            self.write(scope, &findings, state, &matching).await?;
        }
        let news = news.map(|news| news.id).filter(|id| !state.untold.contains(id));
        let untold: Vec<NotificationId> = state.untold.iter().cloned().chain(news).collect();
        self.tell(scope, digest, &untold).await?;
        Ok(if is_unchanged {
            Rematched::Unchanged
        } else {
            Rematched::Changed
        })
    }

    /// Finds what is wrong by advisories alone.
    pub(crate) fn find(&self, report: &Report, loaded: &Loaded) -> Result<ImageFindings, MatchError> {
        let found = ImageFindings::of_report(report, &loaded.database, self.clock.now());
        found.map_err(|source| MatchError::Database {
            edition: loaded.edition.number,
            source: Some(source),
        })
    }

    fn matching(
        &self,
        catalog_version: u32,
        findings: Option<&ImageFindings>,
        edition: Option<u64>,
    ) -> Matching {
        let counts = findings.into_iter().flat_map(|findings| &findings.counts);
        Matching {
            catalog_version,
            edition,
            registry_scan: findings
                .and_then(|findings| findings.registry_scan.as_ref())
                .map(|scan| scan.stamp.clone()),
            at: self.clock.now(),
            counts: counts
                .map(|(level, count)| (level.as_str().to_owned(), *count))
                .collect(),
            fixable: findings.map_or(0, |findings| findings.fixable),
            written: findings.is_none(),
        }
    }

    /// Writes findings after it is known that they count, and then that they are written.
    async fn write(
        &self,
        scope: &TenantScope,
        findings: &ImageFindings,
        state: &ImageState,
        matching: &Matching,
    ) -> Result<(), MatchError> {
        let digest = &findings.digest;
        let key = scope.image_object(digest, matching.catalog_version, Document::Findings);
        self.documents
            .write_object(&key, "application/json", findings.to_json())
            .await?;
        self.inventory
            .mark_written(scope, digest, state, matching)
            .await?;
        Ok(())
    }

    /// Takes an image that is nowhere any more out of the index; it comes back when it is scanned or matched again.
    pub async fn leave(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        state: &ImageState,
    ) -> Result<(), MatchError> {
        self.index.leave(scope, digest, state).await
    }

    /// Finds the images about which a database says something else than before, of those that hold a package.
    pub async fn affected(
        &self,
        scope: &TenantScope,
        key: &PackageKey,
        loaded: &Loaded,
    ) -> Result<Vec<Digest>, MatchError> {
        let mut affected = Vec::new();
        // Images share packages more often than not.
        let mut signatures: HashMap<String, String> = HashMap::new();
        let mut after = None;
        loop {
            let part = self
                .inventory
                .images_with_package(scope, key, after.as_ref(), 1000)
                .await?;
            for holder in part.items {
                let packages = holder.packages.to_string();
                if !signatures.contains_key(&packages) {
                    let signature = entry::signature_by(&loaded.database, &holder.packages);
                    let signature = signature.map_err(|source| MatchError::Database {
                        edition: loaded.edition.number,
                        source: Some(source),
                    })?;
                    signatures.insert(packages.clone(), signature);
                }
                if signatures.get(&packages) != Some(&holder.signature) {
                    affected.push(holder.digest);
                }
            }
            after = part.next;
            if after.is_none() {
                return Ok(affected);
            }
        }
    }

    pub(crate) async fn report(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<Option<Report>, MatchError> {
        self.index.report(scope, digest, catalog_version).await
    }

    async fn findings(
        &self,
        scope: &TenantScope,
        digest: &Digest,
        catalog_version: u32,
    ) -> Result<Option<ImageFindings>, MatchError> {
        self.index.findings(scope, digest, catalog_version).await
    }
}
