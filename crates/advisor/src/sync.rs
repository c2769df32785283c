//! The rules of following a feed: what is read, what is kept, and in which order an edition comes into use.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use portwarden_advisories::{Collection, Database, Listed, PackageName, build, combine, read_list};
use portwarden_core::{
    advisory::{
        AdvisoryFile, Edition, FeedAnswer, FeedError, FeedFile, Folder, FolderProblem, Shelf,
        StoredCollection,
    },
    object::ObjectError,
    rematch::RematchRequest,
};
use portwarden_oci::Digest;

use crate::{Broken, Context, Failure};

/// What a run came to.
#[derive(Debug)]
pub struct Synced {
    /// How it ended.
    pub ending: Ending,
    /// What became of each folder, by name.
    pub folders: Vec<FolderOutcome>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A new edition is in use.
    Published(u64),
    /// The edition in use stays, if there is one.
    Unchanged(Option<u64>),
}

/// What became of a folder.
#[derive(Debug)]
pub struct FolderOutcome {
    /// Its name.
    pub name: &'static str,
    /// What is known of it now.
    pub folder: Folder,
    /// Whether it says anything new, or why it could not be read.
    pub result: Result<bool, Broken>,
}

/// A list has some tens of bytes for each record.
const MAX_LIST: u64 = 128 << 20;
/// Several times the size of the largest archive.
const MAX_ARCHIVE: u64 = 1 << 30;
/// A record's limit is the reader's own.
const MAX_RECORD: u64 = 16 << 20;
/// So many single records take less time than the largest archive.
const MAX_SINGLE: usize = 500;
/// So many single records are asked for at the same time.
const PARALLEL: usize = 16;
/// Functions hold a database in memory while a new one is read.
const MAX_DATABASE: u64 = 400 << 20;
/// How long somebody may still be reading the database of the edition before.
const READERS: SignedDuration = SignedDuration::from_hours(24);

/// Longer than a message that asks for the changes may lie in a dead-letter queue.
const DEAD_LETTERS: SignedDuration = SignedDuration::from_hours(20 * 24);

/// A folder that was read in full.
struct Read {
    collection: Collection,
    /// Whether there is anything in the list that could not be read yet.
    is_whole: bool,
}

/// Looks at every folder until `stop`, and brings a new edition into use if anything changed.
pub(crate) async fn sync(context: &Context, stop: Timestamp) -> Result<Synced, Failure> {
    let outside = &context.outside;
    let mut shelf = context.editions.shelf().await?;
    tell(context, &mut shelf).await?;
    remove_retired(context, &mut shelf).await?;
    let mut names = outside.folders.0.clone();
    // Who waits longest comes first, so that a run that is too short is made up for by the next one.
    names.sort_by_key(|name| {
        (
            shelf.folders.get(*name).and_then(|folder| folder.checked_at),
            *name,
        )
    });
    let mut outcomes = Vec::new();
    let mut fresh: BTreeMap<&'static str, Collection> = BTreeMap::new();
    let mut packages = BTreeSet::new();
    for name in names {
        let mut folder = shelf.folders.get(name).cloned().unwrap_or_default();
        let now = outside.clock.now();
        let result = if now >= stop {
            Err(Broken::TimeOver)
        } else {
            look(context, name, &mut folder, &mut packages).await
        };
        let result = match result {
            Ok(read) => {
                (folder.checked_at, folder.problem) = (Some(now), None);
                let is_changed = read.is_some();
                if let Some(collection) = read {
                    fresh.insert(name, collection);
                }
                Ok(is_changed)
            }
            Err(broken) => {
                let since = folder.problem.map_or(now, |problem| problem.since);
                let code = broken.code().to_owned();
                folder.problem = Some(FolderProblem { code, since });
                Err(broken)
            }
        };
        outcomes.push(FolderOutcome { name, folder, result });
    }
    outcomes.sort_by_key(|outcome| outcome.name);
    let ending = finish(context, shelf, &mut outcomes, fresh, packages).await?;
    Ok(Synced {
        ending,
        folders: outcomes,
    })
}

/// Reads what is new in a folder; nothing if there is nothing new.
async fn look(
    context: &Context,
    name: &'static str,
    folder: &mut Folder,
    packages: &mut BTreeSet<PackageName>,
) -> Result<Option<Collection>, Broken> {
    let feed = &context.outside.feed;
    let known = match &folder.collection {
        Some(stored) => load(context, name, stored).await,
        None => None,
    };
    // The mark is worth something only together with what was read then.
    let tag = folder.list_tag.as_deref().filter(|_| known.is_some());
    let file = FeedFile::List {
        folder: name.to_owned(),
    };
    let (csv, tag) = match feed.read_feed(&file, tag, MAX_LIST).await? {
        FeedAnswer::Unchanged => return Ok(None),
        FeedAnswer::File { content: list, tag } => (list, tag),
    };
    let list = read_list(&csv)?;
    drop(csv);
    let difference = known.as_ref().map(|known| known.compare(&list));
    let read = match (&known, difference) {
        (Some(known), Some(difference)) => {
            check_size(list.len(), known.len())?;
            if difference.changed.is_empty() && difference.gone.is_empty() {
                folder.list_tag = tag;
                return Ok(None);
            }
            if difference.changed.len() <= MAX_SINGLE {
                let mut newer = known.clone();
                for id in &difference.gone {
                    newer.remove(id);
                }
                read_single(context, name, newer, difference.changed).await?
            } else {
                read_archive(context, name, &list).await?
            }
        }
        _ => read_archive(context, name, &list).await?,
    };
    folder.list_tag = tag.filter(|_| read.is_whole);
    packages.extend(known.unwrap_or_default().changed_packages(&read.collection));
    Ok(Some(read.collection))
}

/// Takes a source that has lost a tenth of its records for broken.
fn check_size(found: usize, known: usize) -> Result<(), Broken> {
    let is_small = known < 20;
    if is_small || found >= known - known / 10 {
        Ok(())
    } else {
        Err(Broken::Shrunk { found, known })
    }
}

async fn read_archive(context: &Context, name: &'static str, list: &[Listed]) -> Result<Read, Broken> {
    let file = FeedFile::Archive {
        folder: name.to_owned(),
    };
    let answer = context.outside.feed.read_feed(&file, None, MAX_ARCHIVE).await?;
    let FeedAnswer::File { content: bytes, .. } = answer else {
        // Nothing was said to be known.
        return Err(
            FeedError::Unreachable(file, "the source answered that nothing has changed".into()).into(),
        );
    };
    let collection = Collection::read_archive(Cursor::new(bytes))?;
    check_size(collection.len(), list.len())?;
    // The archive may be older than the list.
    let rest = collection.compare(list).changed;
    read_single(context, name, collection, rest).await
}

/// Reads records one by one, the newest first, as many as may be.
async fn read_single(
    context: &Context,
    name: &'static str,
    mut collection: Collection,
    mut changed: Vec<Listed>,
) -> Result<Read, Broken> {
    let mut is_whole = changed.len() <= MAX_SINGLE;
    changed.truncate(MAX_SINGLE);
    let feed = &context.outside.feed;
    let read = stream::iter(changed).map(|listed| async move {
        let file = FeedFile::Record {
            folder: name.to_owned(),
            id: listed.id.clone(),
        };
        match feed.read_feed(&file, None, MAX_RECORD).await {
            Ok(FeedAnswer::File { content: bytes, .. }) => Ok((listed, Some(bytes))),
            // The list is ahead of the record, or one record is odd: the others need not wait.
            Ok(FeedAnswer::Unchanged) | Err(FeedError::Missing(_) | FeedError::TooLarge(..)) => {
                Ok((listed, None))
            }
            Err(error) => Err(error),
        }
    });
    let mut read = read.buffered(PARALLEL);
    while let Some((listed, bytes)) = read.try_next().await? {
        match bytes {
            // One that cannot be used is remembered as such.
            Some(bytes) => drop(collection.put(&listed, &bytes)),
            None => is_whole = false,
        }
    }
    Ok(Read { collection, is_whole })
}

/// Reads what was stored of a folder; what cannot be read is read from the source again.
async fn load(context: &Context, name: &str, stored: &StoredCollection) -> Option<Collection> {
    let file = AdvisoryFile::Collection(name.to_owned(), stored.digest);
    let bytes = context.outside.objects.read_object(&file.key()).await.ok()??;
    if !file.is(&bytes) {
        return None;
    }
    Collection::decode(&bytes).ok()
}

/// Writes what changed and a new database, in this order: folders, database, and then that they are in use.
async fn finish(
    context: &Context,
    mut shelf: Shelf,
    outcomes: &mut [FolderOutcome],
    mut fresh: BTreeMap<&'static str, Collection>,
    mut packages: BTreeSet<PackageName>,
) -> Result<Ending, Failure> {
    let now = context.outside.clock.now();
    let before = std::mem::take(&mut shelf.folders);
    for FolderOutcome { name, folder, .. } in outcomes.iter_mut() {
        if let Some(collection) = fresh.get(name) {
            folder.collection = Some(store(context, name, collection, now).await?);
        }
        shelf.folders.insert((*name).to_owned(), folder.clone());
    }
    // A folder that is not followed any more takes its findings with it.
    for (name, folder) in &before {
        let (Some(stored), false) = (&folder.collection, shelf.folders.contains_key(name)) else {
            continue;
        };
        if let Some(collection) = load(context, name, stored).await {
            packages.extend(collection.changed_packages(&Collection::default()));
        }
    }
    let digests = |folders: &BTreeMap<String, Folder>| -> BTreeMap<String, Digest> {
        let digest =
            |(name, folder): (&String, &Folder)| Some((name.clone(), folder.collection.as_ref()?.digest));
        folders.iter().filter_map(digest).collect()
    };
    let (old, new) = (digests(&before), digests(&shelf.folders));
    let current = shelf.edition.as_ref().map(|edition| edition.number);
    if (current.is_some() && old == new) || new.is_empty() {
        return if context.editions.note(&shelf).await? {
            Ok(Ending::Unchanged(current))
        } else {
            Err(Failure::Overtaken)
        };
    }
    for (name, digest) in old {
        if new.get(&name) != Some(&digest) {
            shelf
                .retired
                .push((AdvisoryFile::Collection(name, digest), now + READERS));
        }
    }
    let mut collections = Vec::new();
    for (name, folder) in &shelf.folders {
        let Some(stored) = &folder.collection else {
            continue;
        };
        let collection = match fresh.remove(name.as_str()) {
            Some(collection) => collection,
            None => load(context, name, stored).await.ok_or_else(|| missing(name))?,
        };
        collections.push((name.clone(), collection));
    }
    let bulk = combine(collections, now);
    let database = build(&bulk)?;
    drop(bulk);
    let bytes = database.len() as u64;
    if bytes > MAX_DATABASE {
        return Err(Failure::TooLarge {
            found: bytes,
            limit: MAX_DATABASE,
        });
    }
    let number = current.unwrap_or(0) + 1;
    let changes = match current {
        Some(_) => Some(write_changes(context, number, &packages).await?),
        None => None,
    };
    let edition = Edition {
        number,
        database: Digest::of(&database),
        bytes,
        advisories: Database::open(database.clone())?.info().advisories,
        changes,
        built_at: now,
    };
    write(context, &edition.file(), database).await?;
    if let Some(before) = &shelf.edition {
        shelf.retired.push((before.file(), now + READERS));
        let changes = before.changes_file();
        shelf
            .retired
            .extend(changes.map(|file| (file, now + DEAD_LETTERS)));
    }
    shelf.untold = Some(edition.clone());
    if !context.editions.publish(&shelf, &edition).await? {
        return Err(Failure::Overtaken);
    }
    let mut shelf = context.editions.shelf().await?;
    tell(context, &mut shelf).await?;
    // If this is lost, the edition is told once more, which has no effect.
    context.editions.note(&shelf).await?;
    Ok(Ending::Published(edition.number))
}

/// Has stored images matched with an edition that came into use, if nobody was asked to yet.
async fn tell(context: &Context, shelf: &mut Shelf) -> Result<(), Failure> {
    if let Some(edition) = shelf.untold.take() {
        let request = RematchRequest::Everyone { edition, after: None };
        context.outside.rematches.queue_rematch(&request).await?;
    }
    Ok(())
}

/// Writes a folder's records under the name of their bytes.
async fn store(
    context: &Context,
    name: &str,
    collection: &Collection,
    now: Timestamp,
) -> Result<StoredCollection, Failure> {
    let bytes = collection.encode()?;
    let stored = StoredCollection {
        digest: Digest::of(&bytes),
        records: collection.len() as u64,
        newest: collection.newest(now),
    };
    write(
        context,
        &AdvisoryFile::Collection(name.to_owned(), stored.digest),
        bytes,
    )
    .await?;
    Ok(stored)
}

/// Writes about which packages an edition says something else than the one before it.
async fn write_changes(
    context: &Context,
    number: u64,
    packages: &BTreeSet<PackageName>,
) -> Result<Digest, Failure> {
    let bytes = serde_json::to_vec(packages).map_err(|error| ObjectError(error.into()))?;
    let digest = Digest::of(&bytes);
    write(context, &AdvisoryFile::Changes(number, digest), bytes).await?;
    Ok(digest)
}

async fn write(context: &Context, file: &AdvisoryFile, bytes: Vec<u8>) -> Result<(), ObjectError> {
    let documents = &context.outside.documents;
    documents
        .write_object(&file.key(), "application/octet-stream", bytes)
        .await
}

/// Removes what nobody reads any more; a file that came back into use meanwhile stays.
async fn remove_retired(context: &Context, shelf: &mut Shelf) -> Result<(), Failure> {
    let now = context.outside.clock.now();
    let (due, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut shelf.retired)
        .into_iter()
        .partition(|(_, until)| *until <= now);
    shelf.retired = kept;
    let is_used = |file: &AdvisoryFile| match file {
        AdvisoryFile::Collection(name, digest) => {
            let folder = shelf.folders.get(name);
            folder
                .and_then(|folder| folder.collection.as_ref())
                .is_some_and(|stored| stored.digest == *digest)
        }
        _ => false,
    };
    for (file, _) in due.iter().filter(|(file, _)| !is_used(file)) {
        context.outside.remover.remove_object(&file.key()).await?;
    }
    Ok(())
}

fn missing(name: &str) -> Failure {
    ObjectError(format!("what was stored of {name} cannot be read").into()).into()
}
