//! The models that are served: loaded, reloaded and unloaded while others answer.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use engine::{Compute, ModelBuilder, Service, ServiceSettings, Task};
use tokio::runtime::Handle;

use crate::predict::limit_name;
use crate::problem::{Code, Problem};
use crate::tally::Tally;

/// A model that is to be served.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// The name that requests know it by.
    pub name: String,
    /// Its version. Several versions of one name may be served side by side.
    pub version: String,
    /// What it is loaded from, for people.
    pub source: String,
    /// How it is loaded, now and whenever it is loaded again.
    pub builder: ModelBuilder,
    /// How it batches, and how much it takes on, until that is changed.
    pub settings: ServiceSettings,
}

/// The models of a server, in the order in which they were named.
pub(crate) struct Models {
    compute: Compute,
    slots: Vec<Arc<Slot>>,
    loads: AtomicU64,
    /// On which the requests are served, if that is known.
    runtime: OnceLock<Handle>,
}

/// A place for one version of one model.
pub(crate) struct Slot {
    pub(crate) spec: ModelSpec,
    /// As they were changed last: they outlive a load, and end with the server.
    settings: Mutex<ServiceSettings>,
    current: ArcSwapOption<Loaded>,
    /// What it did when it was loaded last.
    task: Mutex<Option<Task>>,
    state: Mutex<State>,
}

/// How it stands with a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not been loaded, or was unloaded.
    Unloaded,
    /// It is being loaded; an earlier load may be serving meanwhile.
    Loading,
    /// It answers.
    Ready,
    /// The last load failed, for this reason; an earlier load may be serving.
    Failed(String),
}

impl State {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            State::Unloaded => "unloaded",
            State::Loading => "loading",
            State::Ready => "ready",
            State::Failed(_) => "failed",
        }
    }
}

/// A loaded model. Whoever holds it can finish with it, whatever is loaded in its place meanwhile.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Which of the server's loads it was, counted from 1.
    pub(crate) load: u64,
    pub(crate) service: Service,
    pub(crate) tally: Tally,
    pub(crate) loaded: SystemTime,
    pub(crate) load_time: Duration,
    /// Of every file that determines its answers.
    pub(crate) fingerprint: String,
}

/// Which model is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pick<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) version: Option<&'a str>,
    /// The task that it must do.
    pub(crate) task: Option<Task>,
}

impl Models {
    /// Nothing is loaded yet.
    ///
    /// # Errors
    /// If two have the same name and version, or a name that no path can hold.
    pub(crate) fn new(threads: usize, specs: Vec<ModelSpec>) -> Result<Self, String> {
        let mut known = HashMap::new();
        for spec in &specs {
            let is_plain = |c: char| c.is_alphanumeric() || "-_.:".contains(c);
            for (what, word) in [("name", &spec.name), ("version", &spec.version)] {
                if word.is_empty() || !word.chars().all(is_plain) {
                    return Err(format!(
                        "`{word}` cannot be a model's {what}: use letters, digits, `-`, `_`, `.` and `:`"
                    ));
                }
            }
            if known.insert((&spec.name, &spec.version), ()).is_some() {
                return Err(format!(
                    "two models are named {}@{}; name one of them otherwise, as in -m NAME@VERSION=MODEL",
                    spec.name, spec.version
                ));
            }
        }
        if specs.is_empty() {
            return Err("no model to serve; name one with -m NAME=MODEL".to_owned());
        }
        let slots = specs.into_iter().map(|spec| {
            Arc::new(Slot {
                settings: Mutex::new(spec.settings.clone()),
                spec,
                current: ArcSwapOption::empty(),
                task: Mutex::new(None),
                state: Mutex::new(State::Unloaded),
            })
        });
        Ok(Self {
            compute: Compute::new(threads),
            slots: slots.collect(),
            loads: AtomicU64::new(0),
            runtime: OnceLock::new(),
        })
    }

    pub(crate) fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    /// The loaded model that is meant.
    pub(crate) fn find(&self, pick: Pick<'_>) -> Result<Arc<Loaded>, Problem> {
        let Some(name) = pick.name else {
            return self.find_unnamed(pick);
        };
        let slots = self.named(name, pick.version)?;
        let ready = slots.iter().rev().find_map(|slot| slot.current());
        let Some(loaded) = ready else {
            return Err(not_loaded(name, &slots));
        };
        match pick.task {
            Some(task) if loaded.task() != task => Err(wrong_task(&loaded, task)),
            _ => Ok(loaded),
        }
    }

    /// The first that does the task, or might: while it is not loaded nobody else answers for it, whose vectors
    /// would be of another kind.
    fn find_unnamed(&self, pick: Pick<'_>) -> Result<Arc<Loaded>, Problem> {
        let of_version = |slot: &&Arc<Slot>| pick.version.is_none_or(|v| slot.spec.version == v);
        let mut slots = self.slots.iter().filter(of_version);
        let Some(first) = slots.clone().next() else {
            let version = pick.version.unwrap_or_default();
            let message =
                format!("no model has a version `{version}`; /models lists what there is");
            return Err(Problem::new(Code::UnknownModel, message));
        };
        let does = |slot: &&Arc<Slot>| match (pick.task, slot.task()) {
            (Some(wanted), Some(done)) => wanted == done,
            // Not asked for, or not known yet.
            (None, _) | (_, None) => true,
        };
        match (slots.find(does), first.current(), pick.task) {
            // Of several versions the last one is meant, as if it had been named.
            (Some(slot), _, _) => self.find(Pick {
                name: Some(&slot.spec.name),
                ..pick
            }),
            (None, Some(first), Some(task)) => Err(wrong_task(&first, task)),
            _ => Err(not_loaded(&first.spec.name, &self.slots)),
        }
    }

    /// The places of a name, or of one version of it: at least one.
    pub(crate) fn named(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Vec<Arc<Slot>>, Problem> {
        let of_name = || self.slots.iter().filter(|slot| slot.spec.name == name);
        let found: Vec<_> = of_name()
            .filter(|slot| version.is_none_or(|version| slot.spec.version == version))
            .cloned()
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let mut message = match (of_name().next(), version) {
            (Some(_), Some(version)) => {
                format!("the model `{name}` has no version `{version}`; it has")
            }
            _ => format!("there is no model `{name}`; this server has"),
        };
        let several = of_name().next().is_some();
        let mut known: Vec<&str> = Vec::new();
        for slot in &self.slots {
            let word = if several {
                &slot.spec.version
            } else {
                &slot.spec.name
            };
            if (!several || slot.spec.name == name) && !known.contains(&word.as_str()) {
                known.push(word);
            }
        }
        let _ = write!(message, " {}", known.join(", "));
        Err(Problem::new(Code::UnknownModel, message))
    }

    /// The place of the loaded model of a name: of several versions the last one's.
    pub(crate) fn slot(&self, name: &str, version: Option<&str>) -> Result<Arc<Slot>, Problem> {
        let slots = self.named(name, version)?;
        let ready = slots.iter().rev().find(|slot| slot.current().is_some());
        ready.cloned().ok_or_else(|| not_loaded(name, &slots))
    }

    /// Loads a model, in the place of the one that is there. Blocks until it is ready; the one that is
    /// there answers meanwhile, and goes on if the load fails.
    pub(crate) fn load(&self, slot: &Slot) -> Result<Arc<Loaded>, Problem> {
        {
            let mut state = slot.lock();
            if *state == State::Loading {
                return Err(Problem::new(
                    Code::Busy,
                    format!("the model `{}` is being loaded already", slot.spec.name),
                ));
            }
            *state = State::Loading;
        }
        let started = Instant::now();
        // A panic in a loader must not leave the model loading for ever.
        let loaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.start(slot)))
            .unwrap_or_else(|_| Err("the loader panicked; please report this".to_owned()));
        let name = &slot.spec.name;
        match loaded {
            Ok(loaded) => {
                let loaded = Arc::new(loaded);
                // In one step: a request holds the old one or the new one.
                *slot.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded.task());
                let old = {
                    // What was changed while it was being loaded holds for it too.
                    let settings = slot.settings();
                    if let Err(error) = loaded.service.set(settings.clone()) {
                        tracing::error!(%error, "settings that were in force are refused");
                    }
                    slot.current.swap(Some(Arc::clone(&loaded)))
                };
                *slot.lock() = State::Ready;
                tracing::info!(
                    model = name,
                    version = loaded.version,
                    load = loaded.load,
                    seconds = started.elapsed().as_secs_f64(),
                    replaced = old.is_some(),
                    "model loaded"
                );
                Ok(loaded)
            }
            Err(why) => {
                tracing::error!(
                    model = name,
                    version = slot.spec.version,
                    why,
                    "model not loaded"
                );
                *slot.lock() = State::Failed(why.clone());
                Err(Problem::new(
                    Code::LoadFailed,
                    format!("the model `{name}` was not loaded: {why}"),
                ))
            }
        }
    }

    fn start(&self, slot: &Slot) -> Result<Loaded, String> {
        let started = Instant::now();
        let model = slot
            .spec
            .builder
            .clone()
            .load()
            .map_err(|error| option_words(&error))?;
        model.warm_up();
        let fingerprint = model
            .fingerprint()
            .iter()
            .fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
        let tally = Tally::new(&model);
        let settings = slot.settings().clone();
        let service = Service::start_on(&self.compute, model, settings)
            .map_err(|error| option_words(&error))?;
        if let Some(runtime) = self.runtime.get().cloned() {
            // One task wakes the others on the runtime's own thread, which is woken for it once. If the runtime has ended
            // the task is dropped, which wakes them as well.
            service.wake_by(move |wakers| drop(runtime.spawn(async move { drop(wakers) })));
        }
        Ok(Loaded {
            name: slot.spec.name.clone(),
            version: slot.spec.version.clone(),
            load: self.loads.fetch_add(1, Relaxed) + 1,
            service,
            tally,
            loaded: SystemTime::now(),
            load_time: started.elapsed(),
            fingerprint,
        })
    }

    /// Says which runtime serves the requests for what is loaded from now on. A program's own may load models on one and
    /// serve them on another, and then nobody says so: a task on the first might never run.
    pub(crate) fn served_on(&self, runtime: Handle) {
        let _ = self.runtime.set(runtime);
    }

    /// Takes a model away. Requests that hold it finish; its memory goes back after the last.
    pub(crate) fn unload(&self, slot: &Slot) -> Result<(), Problem> {
        let mut state = slot.lock();
        if *state == State::Loading {
            return Err(Problem::new(
                Code::Busy,
                format!(
                    "the model `{}` is being loaded; unload it afterwards",
                    slot.spec.name
                ),
            ));
        }
        *state = State::Unloaded;
        let old = slot.current.swap(None);
        drop(state);
        if old.is_some() {
            tracing::info!(
                model = slot.spec.name,
                version = slot.spec.version,
                "model unloaded"
            );
        }
        Ok(())
    }

    /// All that are loaded.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = Arc<Loaded>> {
        self.slots.iter().filter_map(|slot| slot.current())
    }
}

impl Slot {
    pub(crate) fn current(&self) -> Option<Arc<Loaded>> {
        self.current.load_full()
    }

    /// What it does; not known before it was loaded once.
    fn task(&self) -> Option<Task> {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> State {
        self.lock().clone()
    }

    fn settings(&self) -> MutexGuard<'_, ServiceSettings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the settings, of what is loaded and of what will be loaded in its place.
    pub(crate) fn change(
        &self,
        change: impl FnOnce(&mut ServiceSettings),
    ) -> Result<ServiceSettings, Problem> {
        let mut settings = self.settings();
        let Some(loaded) = self.current() else {
            return Err(not_loaded(&self.spec.name, &[]));
        };
        let mut changed = settings.clone();
        change(&mut changed);
        loaded
            .service
            .set(changed.clone())
            .map_err(|error| Problem::new(Code::BadOption, option_words(&error)))?;
        *settings = changed.clone();
        Ok(changed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    pub(crate) fn task(&self) -> Task {
        self.service.model().task()
    }
}

/// An error whose option has the name of its flag, not the engine's.
fn option_words(error: &engine::Error) -> String {
    match error {
        engine::Error::Option { name, problem } => {
            format!("`{}` is {problem}", limit_name(name))
        }
        error => error.to_string(),
    }
}

fn not_loaded(name: &str, slots: &[Arc<Slot>]) -> Problem {
    let state = slots.iter().map(|slot| slot.state()).next();
    let problem =
        |words: &str| Problem::new(Code::Unavailable, format!("the model `{name}` {words}"));
    match state {
        Some(State::Loading) => {
            problem("is being loaded; try again in a moment").after(Duration::from_secs(1))
        }
        Some(State::Failed(why)) => problem(&format!("could not be loaded: {why}")),
        _ => problem("is not loaded; an administrator can load it with POST /models/{name}/load"),
    }
}

fn wrong_task(loaded: &Loaded, asked: Task) -> Problem {
    Problem::new(
        Code::WrongTask,
        format!(
            "the model `{}` does {}, not {asked}; use /{}, or /predict, which runs the model's own task",
            loaded.name,
            loaded.task(),
            loaded.task(),
        ),
    )
}
