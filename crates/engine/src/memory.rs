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
