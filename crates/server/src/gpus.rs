//! Memory of the machine's GPUs, where NVIDIA's management library (NVML) can be loaded.
//!
//! The library asks the driver, which takes seconds over a device that wakes up and may never answer for one that is ill.
//! So a thread of its own loads it and asks it; a scrape waits [`PATIENCE`] for that thread and then goes without.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

/// How long a scrape waits. Eight devices that are well answer within some milliseconds.
const PATIENCE: Duration = Duration::from_millis(250);

/// Scrapes that wait at once. If the library hangs, those beyond go without at once.
const WAITING: usize = 16;

/// What a device has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gpu {
    /// Its place in the library's order, which is not CUDA's.
    pub(crate) index: String,
    pub(crate) uuid: String,
    pub(crate) name: String,
    /// Bytes in use, whoever uses them; the driver's own reserve is not among them.
    pub(crate) used: u64,
    /// Bytes that are built in.
    pub(crate) total: u64,
    /// Bytes that this process holds. None if the driver does not list it: it holds nothing, it has other ids outside
    /// its container, or it is a system (Windows on desktops) that does not tell.
    pub(crate) process: Option<u64>,
}

/// Whom a reading is for.
type Scrape = SyncSender<Vec<Gpu>>;

/// The thread that asks the library. It ends at once where there is none.
pub(crate) struct Gpus {
    /// None once it is to end.
    scrapes: Option<SyncSender<Scrape>>,
    ended: Mutex<Receiver<Infallible>>,
}

impl Gpus {
    /// Begins to load the library, the system's own if none is named.
    pub(crate) fn start(library: Option<PathBuf>) -> Self {
        let (scrapes, asked) = sync_channel(WAITING);
        let (end, ended) = channel();
        let started = std::thread::Builder::new()
            .name("batchwright-gpus".to_owned())
            .spawn(move || run(library, &asked, end));
        if let Err(error) = started {
            tracing::debug!(%error, "no thread for the memory of GPUs");
        }
        Self {
            scrapes: Some(scrapes),
            ended: Mutex::new(ended),
        }
    }

    /// The devices that answer in time; none where there is no library, or while it is loaded.
    pub(crate) fn read(&self) -> Vec<Gpu> {
        let (scrape, answer) = sync_channel(1);
        let asked = self.scrapes.as_ref().map(|all| all.try_send(scrape));
        match asked {
            Some(Ok(())) => answer.recv_timeout(PATIENCE).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

impl Drop for Gpus {
    /// Waits for the thread, if it does not hang: a process that ends while the library is given back may crash in it.
    fn drop(&mut self) {
        self.scrapes = None;
        // Nothing is ever sent: it is over, or it takes too long.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(PATIENCE);
    }
}

/// Answers until nobody can ask any more. `_end` goes last, when the library has been given back.
fn run(library: Option<PathBuf>, asked: &Receiver<Scrape>, _end: Sender<Infallible>) {
    let Some(nvml) = library.or_else(usual).and_then(|library| load(&library)) else {
        return;
    };
    // The first look wakes the devices up, so that no scrape has to.
    let devices = read(&nvml).len();
    tracing::debug!(devices, "/metrics tells the memory of GPUs");
    for scrape in asked {
        // Whoever asked may have gone.
        let _ = scrape.try_send(read(&nvml));
    }
}

fn load(library: &Path) -> Option<Nvml> {
    let loaded = Nvml::builder().lib_path(library.as_os_str()).init();
    loaded
        .inspect_err(|error| tracing::debug!(%error, "/metrics tells nothing of GPUs"))
        .ok()
}

/// What drivers bring; none for other systems.
fn usual() -> Option<PathBuf> {
    if cfg!(windows) {
        // By its name alone it would also be looked for in the directory that the server was started in.
        let system = std::env::var_os("SystemRoot")?;
        Some(Path::new(&system).join("System32").join("nvml.dll"))
    } else if cfg!(target_os = "linux") {
        Some(PathBuf::from("libnvidia-ml.so.1"))
    } else {
        None
    }
}

/// The devices that can be asked now.
fn read(nvml: &Nvml) -> Vec<Gpu> {
    let devices = 0..nvml.device_count().unwrap_or(0);
    let read = devices.filter_map(|index| {
        let gpu = nvml.device_by_index(index).and_then(|it| gpu(index, &it));
        gpu.inspect_err(|error| tracing::debug!(index, %error, "a GPU does not tell its memory"))
            .ok()
    });
    read.collect()
}

fn gpu(index: u32, device: &Device<'_>) -> Result<Gpu, NvmlError> {
    let memory = device.memory_info()?;
    Ok(Gpu {
        index: index.to_string(),
        uuid: device.uuid()?,
        name: device.name()?,
        used: memory.used,
        total: memory.total,
        process: held(device),
    })
}

/// What this process holds, on all parts of a device that is split (MIG).
fn held(device: &Device<'_>) -> Option<u64> {
    let processes = device.running_compute_processes().ok()?;
    let own = processes
        .iter()
        .filter(|process| process.pid == std::process::id());
    let bytes = own.filter_map(|process| match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    });
    bytes.reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use tracing::Level;

    use super::*;

    /// Lines that are logged from a level on while a library is loaded that is not there.
    fn lines(level: Level) -> usize {
        let lines = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lines);
        let log = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(move || {
                counted.fetch_add(1, SeqCst);
                std::io::sink()
            });
        tracing::subscriber::with_default(log.finish(), || {
            assert!(load(Path::new("/nowhere/libnvidia-ml.so.1")).is_none());
        });
        lines.load(SeqCst)
    }

    /// Every server without a GPU would have a line of something that is missing.
    #[test]
    fn a_machine_without_the_library_is_nothing_to_tell() {
        assert_eq!((lines(Level::DEBUG), lines(Level::INFO)), (1, 0));
    }

    /// A driver that hangs would take `/metrics` with it, and pile up scrapes.
    #[test]
    fn a_library_that_hangs_holds_nobody_up() {
        let (scrapes, hanging) = sync_channel(2);
        let (end, ended) = channel();
        let gpus = Gpus {
            scrapes: Some(scrapes),
            ended: Mutex::new(ended),
        };
        for _ in 0..4 {
            assert_eq!(gpus.read(), []);
        }
        assert_eq!(hanging.try_iter().count(), 2);
        drop(gpus);
        drop(end);
    }
}
