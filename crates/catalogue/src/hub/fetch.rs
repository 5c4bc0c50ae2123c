//! A model of the hub: found in the cache, or brought there.

use std::path::PathBuf;

use serde::Deserialize;

use super::cache::HubCache;
use super::client::{Client, Target};
use super::id::{HubId, is_commit, is_hex};
use crate::error::SourceError;
use crate::layout;
use crate::options::Environment;
use crate::progress::{FetchProgress, Transfer};
use crate::sums::{Receipts, expect_sum, sha256_of};
use crate::table::FileSum;

/// What is wanted and where it goes.
pub(crate) struct HubModel<'a> {
    pub(crate) id: &'a HubId,
    /// Sums on record; empty where there are none.
    pub(crate) sums: &'a [FileSum],
    pub(crate) cache: &'a HubCache,
    pub(crate) receipts: &'a Receipts,
}

/// A model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) directory: PathBuf,
    pub(crate) commit: String,
    /// Whether it is known that no file of the repository is missing: we fetched it, or its sums
    /// are on record. Another program may have fetched only the files that it needed itself, and
    /// without `modules.json`, say, a model would be pooled in another way.
    pub(crate) certain: bool,
}

/// Looks into the cache alone. `Ok(None)`: not there; an error: there, but not usable.
pub(crate) fn local(model: &HubModel<'_>) -> Result<Option<Found>, SourceError> {
    let mut fault = None;
    for commit in candidates(model) {
        let directory = model.cache.snapshot(model.id, &commit);
        if !directory.is_dir() {
            continue;
        }
        let key = HubCache::receipt(model.id, &commit);
        let certain = !model.sums.is_empty() || model.receipts.has(&key);
        let checked = layout::present(&directory).and_then(|files| {
            if certain {
                model.receipts.check(&key, &directory, &files, model.sums)
            } else {
                Ok(())
            }
        });
        match checked {
            Ok(()) => {
                return Ok(Some(Found {
                    directory,
                    commit,
                    certain,
                }));
            }
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    fault.map_or(Ok(None), Err)
}

/// The commit asked for; where sums are on record, also what `main` was when some program fetched
/// it: equal sums make it the same model.
fn candidates(model: &HubModel<'_>) -> Vec<String> {
    let mut commits: Vec<String> = model.cache.commit(model.id).into_iter().collect();
    if !model.sums.is_empty()
        && let Ok(main) = HubId::parse(model.id.id())
        && let Some(commit) = model.cache.commit(&main)
        && !commits.contains(&commit)
    {
        commits.push(commit);
    }
    commits
}

#[derive(Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    siblings: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Listed {
    fn bytes(&self) -> Option<u64> {
        self.lfs.as_ref().and_then(|lfs| lfs.size).or(self.size)
    }

    fn sha256(&self) -> Option<&str> {
        self.lfs
            .as_ref()?
            .sha256
            .as_deref()
            .filter(|sum| is_hex(sum, 64))
    }

    /// The name of the blob as Python would choose it: SHA-256 of large files, git's id of others.
    fn blob_name(&self) -> Option<&str> {
        match &self.lfs {
            Some(_) => self.sha256(),
            None => self.blob_id.as_deref().filter(|id| is_hex(id, 40)),
        }
    }
}

/// Brings what is missing into the cache. Nothing shows under `snapshots` before its content is
/// whole and checked; the weights come last, so that a snapshot with weights has all the rest.
pub(crate) fn fetch(
    model: &HubModel<'_>,
    environment: &Environment,
    progress: &dyn FetchProgress,
) -> Result<Found, SourceError> {
    let HubModel {
        id,
        cache,
        receipts,
        ..
    } = *model;
    let client = Client::new(environment, progress);
    let endpoint = &environment.hub_endpoint;
    let revision = id.revision().replace('/', "%2F");
    let url = format!(
        "{endpoint}/api/models/{}/revision/{revision}?blobs=true",
        id.id()
    );
    let what = id.short();
    let listing: Listing = client.json(Target {
        url: &url,
        what: &what,
        id: id.id(),
    })?;
    if !is_commit(&listing.sha) {
        let why = format!("its commit is {:?}", listing.sha);
        return Err(SourceError::Protocol { what, why });
    }
    let selection = layout::select(listing.siblings.iter().map(|file| &*file.rfilename))?;

    let _lock = cache.lock(id, progress)?;
    // Another process may have brought it while we waited. Faults are what we are here to mend.
    if let Ok(Some(found)) = local(model)
        && found.certain
        && (found.commit == listing.sha || !model.sums.is_empty())
    {
        return Ok(found);
    }

    let mut run = Run {
        model,
        client,
        endpoint,
        listing: &listing,
        transfer: None,
        placed_bytes: 0,
        blobs: Vec::new(),
    };
    run.small_files(&selection.small, progress)?;
    let weights = match &selection.index {
        Some(index) => layout::shards(&run.blob_of(index)?)?,
        None => selection.weights,
    };
    run.begin(&weights, progress);
    for file in &weights {
        run.bring(file)?;
    }
    for (file, blob) in &run.blobs {
        cache.link(id, &listing.sha, file, blob)?;
    }
    drop(run);

    let directory = cache.snapshot(id, &listing.sha);
    let files = layout::present(&directory)?;
    let key = HubCache::receipt(id, &listing.sha);
    receipts.check(&key, &directory, &files, model.sums)?;
    cache.set_commit(id, &listing.sha)?;
    Ok(Found {
        directory,
        commit: listing.sha,
        certain: true,
    })
}

/// One fetch under way.
struct Run<'a> {
    model: &'a HubModel<'a>,
    client: Client<'a>,
    endpoint: &'a str,
    listing: &'a Listing,
    transfer: Option<Transfer<'a>>,
    /// Bytes of the files that are done, for the position.
    placed_bytes: u64,
    /// Files with the names of their blobs, in the order in which they are to be linked.
    blobs: Vec<(String, String)>,
}

impl<'a> Run<'a> {
    fn listed(&self, file: &str) -> Result<&'a Listed, SourceError> {
        let found = self
            .listing
            .siblings
            .iter()
            .find(|listed| listed.rfilename == file);
        found.ok_or_else(|| SourceError::Incomplete {
            missing: file.to_owned(),
            hint: "",
        })
    }

    /// Configuration and tokenizer: no bar, they are there before one could be drawn.
    fn small_files(
        &mut self,
        files: &[String],
        progress: &'a dyn FetchProgress,
    ) -> Result<(), SourceError> {
        self.transfer = Some(Transfer::begin(
            progress,
            &format!("{}: configuration and tokenizer", self.model.id.id()),
            self.total(files),
        ));
        files.iter().try_for_each(|file| self.bring(file))
    }

    fn begin(&mut self, weights: &[String], progress: &'a dyn FetchProgress) {
        // The old transfer ends before the next begins.
        self.transfer = None;
        self.placed_bytes = 0;
        let what = format!("{}: weights", self.model.id.id());
        self.transfer = Some(Transfer::begin(progress, &what, self.total(weights)));
    }

    fn total(&self, files: &[String]) -> Option<u64> {
        files
            .iter()
            .map(|file| self.listed(file).ok()?.bytes())
            .sum()
    }

    fn blob_of(&self, file: &str) -> Result<PathBuf, SourceError> {
        let blob = self.blobs.iter().find(|(name, _)| name == file);
        let (_, blob) = blob.ok_or_else(|| SourceError::Incomplete {
            missing: file.to_owned(),
            hint: "",
        })?;
        Ok(self.model.cache.blob(self.model.id, blob))
    }

    /// Makes the blob of one file be there, whole and checked.
    fn bring(&mut self, file: &str) -> Result<(), SourceError> {
        let HubModel {
            id,
            cache,
            receipts,
            sums,
        } = *self.model;
        let listed = self.listed(file)?;
        let key = HubCache::receipt(id, &self.listing.sha);
        let recorded = receipts.recorded(&key, file, sums);
        let expected = recorded.as_deref().or(listed.sha256());
        let whole = |path: &std::path::Path| {
            let bytes = std::fs::metadata(path)
                .map_err(SourceError::disk(path))?
                .len();
            if let Some(announced) = listed.bytes()
                && announced != bytes
            {
                let file = file.to_owned();
                return Err(SourceError::WrongSize {
                    file,
                    expected: announced,
                    found: bytes,
                });
            }
            expected.map_or(Ok(bytes), |sum| expect_sum(path, file, sum).map(|()| bytes))
        };

        if let Some(name) = listed.blob_name()
            && let Ok(bytes) = whole(&cache.blob(id, name))
        {
            self.done(file, name.to_owned(), bytes);
            return Ok(());
        }
        // Named after the content where the content is known, so that a later run continues it.
        let partial = match listed.sha256() {
            Some(sum) => cache.blob(id, &format!("{sum}.batchwright-part")),
            None => cache.blob(id, &format!("{}.batchwright-part", file.replace('/', "--"))),
        };
        let blobs = partial
            .parent()
            .map(std::path::Path::to_path_buf)
            .unwrap_or_default();
        std::fs::create_dir_all(&blobs).map_err(SourceError::disk(&blobs))?;
        if listed.sha256().is_none() {
            // Nothing says of which version that part was.
            let _ = std::fs::remove_file(&partial);
        }
        let url = format!(
            "{}/{}/resolve/{}/{file}",
            self.endpoint,
            id.id(),
            self.listing.sha
        );
        let what = format!("{}/{file}", id.id());
        let target = Target {
            url: &url,
            what: &what,
            id: id.id(),
        };
        let base = self.placed_bytes;
        let arrived = |done: u64| {
            if let Some(transfer) = &self.transfer {
                transfer.position(base + done);
            }
        };
        self.client
            .download(target, listed.bytes(), &partial, &arrived)?;
        let bytes = whole(&partial).inspect_err(|_| {
            // Continuing it would fail for ever.
            let _ = std::fs::remove_file(&partial);
        })?;
        let name = match listed.blob_name() {
            Some(name) => name.to_owned(),
            None => sha256_of(&partial)?,
        };
        let blob = cache.blob(id, &name);
        std::fs::rename(&partial, &blob).map_err(SourceError::disk(&blob))?;
        self.done(file, name, bytes);
        Ok(())
    }

    fn done(&mut self, file: &str, blob: String, bytes: u64) {
        self.blobs.push((file.to_owned(), blob));
        self.placed_bytes += bytes;
        if let Some(transfer) = &self.transfer {
            transfer.position(self.placed_bytes);
        }
    }
}
