//! What a loaded model costs in memory.

use crate::core::Core;
use crate::machine::Resident;

/// Where the memory goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct MemoryStats {
    /// Weights as they are kept for computing, in bytes; mapped ones included.
    pub weights_bytes: u64,
    /// Buffers of all workers, in bytes.
    pub workspace_bytes: u64,
    /// Cached answers in memory, in bytes.
    pub cache_bytes: u64,
    /// The whole process now, in bytes; 0 where the system does not tell.
    pub resident_bytes: u64,
    /// The most that the process has ever had, in bytes; 0 where the system does not tell.
    pub peak_resident_bytes: u64,
}

/// Gives the memory that was freed back to the system when it is dropped: the last part of a model.
///
/// The C library keeps what it may need again. That is the weights of a model that was unloaded, if they
/// lie between blocks still in use: half of its memory, as measured, until the next model is loaded.
#[derive(Debug, Default)]
pub(crate) struct GivesMemoryBack;

impl Drop for GivesMemoryBack {
    fn drop(&mut self) {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: a function of the C library that may be called at any time, from any thread.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

impl MemoryStats {
    /// What is known of the process alone, without any model.
    #[must_use]
    pub fn of_process() -> MemoryStats {
        let resident = Resident::read();
        MemoryStats {
            resident_bytes: resident.now_bytes,
            peak_resident_bytes: resident.peak_bytes,
            ..MemoryStats::default()
        }
    }
}

impl Core {
    pub(crate) fn memory_stats(&self) -> MemoryStats {
        let resident = Resident::read();
        MemoryStats {
            weights_bytes: self.executor.network().bytes() as u64,
            workspace_bytes: self.executor.workspace_bytes(),
            cache_bytes: self.cache.stats().bytes,
            resident_bytes: resident.now_bytes,
            peak_resident_bytes: resident.peak_bytes,
        }
    }
}
