use std::sync::Arc;

use portwarden_advisories::Database;
use portwarden_core::{
    advisory::{Edition, Editions},
    object::ReadObject,
    store::Store,
};
use tokio::sync::Mutex;

use crate::MatchError;

/// The database in use, in memory.
#[derive(Debug)]
pub struct Loaded {
    /// Which edition it is.
    pub edition: Edition,
    /// The database.
    pub database: Database,
}

/// Holds the database in use.
pub struct CurrentDatabase {
    editions: Editions,
    objects: Arc<dyn ReadObject>,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

impl CurrentDatabase {
    /// Holds none yet.
    pub fn new(store: Arc<dyn Store>, objects: Arc<dyn ReadObject>) -> Self {
        Self {
            editions: Editions::new(store),
            objects,
            loaded: Mutex::new(None),
        }
    }

    /// Returns the number of the edition in use.
    pub async fn edition(&self) -> Result<Option<u64>, MatchError> {
        Ok(self.editions.current().await?.map(|edition| edition.number))
    }

    /// Returns the database in use; nothing if there never was one.
    ///
    /// Which one is in use is asked each time; it is read once. Whoever comes meanwhile waits.
    pub async fn get(&self) -> Result<Option<Arc<Loaded>>, MatchError> {
        let mut loaded = self.loaded.lock().await;
        let Some(edition) = self.editions.current().await? else {
            return Ok(None);
        };
        if let Some(known) = loaded.as_ref().filter(|known| known.edition == edition) {
            return Ok(Some(Arc::clone(known)));
        }
        // Before the next one is read: there is memory for two, and somebody may still be using the last one.
        *loaded = None;
        let unusable = |source| MatchError::Database {
            edition: edition.number,
            source,
        };
        let file = edition.file();
        let content = self.objects.read_object(&file.key()).await?;
        let content = content
            .filter(|content| file.is(content))
            .ok_or_else(|| unusable(None))?;
        let database = Database::open(content).map_err(|error| unusable(Some(error)))?;
        let new = Arc::new(Loaded { edition, database });
        *loaded = Some(Arc::clone(&new));
        Ok(Some(new))
    }
}
