//! What the machine is: as far as speed and memory depend on it.

use std::fs;

use kernels::Isa;

/// The machine, for reports and for the choice of a token budget.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Machine {
    /// The processor's name, as the system tells it.
    pub processor: String,
    /// Threads that this process may run at once: cgroup limits and affinity are respected.
    pub threads: usize,
    /// The instruction set in use: the best there is, or the one that a model was told to use.
    pub isa: String,
    /// One core's level-2 cache, in bytes.
    pub l2_bytes: usize,
    /// The machine's memory, in bytes; 0 where the system does not tell.
    pub memory_bytes: u64,
    /// Operating system and architecture.
    pub system: String,
}

impl Machine {
    /// Looks at this machine, with the best instruction set that it has.
    pub fn detect() -> Self {
        Self {
            processor: processor(),
            threads: available_threads(),
            isa: Isa::detect().name().to_owned(),
            l2_bytes: l2_bytes(),
            memory_bytes: proc_kib("/proc/meminfo", "MemTotal:").unwrap_or(0),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }

    /// A short name under which measurements on machines like this one are filed.
    pub(crate) fn id(&self) -> String {
        let words = format!("{}-{}-{}", self.processor, self.threads, self.isa);
        let kept = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let id: String = words.chars().map(kept).collect();
        id.split('-')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-")
    }
}

/// Threads that this process may run at once: affinity and cgroup quotas are respected.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Memory of this process, from the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) now_bytes: u64,
    pub(crate) peak_bytes: u64,
}

impl Resident {
    /// Zeros where the system does not tell.
    pub(crate) fn read() -> Self {
        Self {
            now_bytes: proc_kib("/proc/self/status", "VmRSS:").unwrap_or(0),
            peak_bytes: proc_kib("/proc/self/status", "VmHWM:").unwrap_or(0),
        }
    }
}

/// A size in a file of lines like `VmHWM:   1234 kB`, in bytes.
fn proc_kib(file: &str, field: &str) -> Option<u64> {
    let content = fs::read_to_string(file).ok()?;
    let rest = content.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn processor() -> String {
    let from_system = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|content| {
            let line = content
                .lines()
                .find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
    from_system.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Level-2 cache of the first core; half a mebibyte, the smallest in wide use, where unknown.
fn l2_bytes() -> usize {
    const UNKNOWN: usize = 512 << 10;
    let read = |index: u32, what: &str| {
        fs::read_to_string(format!(
            "/sys/devices/system/cpu/cpu0/cache/index{index}/{what}"
        ))
        .ok()
    };
    (0..8)
        .find(|&index| read(index, "level").is_some_and(|level| level.trim() == "2"))
        .and_then(|index| read(index, "size"))
        .and_then(|size| parse_cache_size(size.trim()))
        .unwrap_or(UNKNOWN)
}

fn parse_cache_size(size: &str) -> Option<usize> {
    let (number, unit) = match size.strip_suffix('K') {
        Some(number) => (number, 1 << 10),
        None => (size.strip_suffix('M')?, 1 << 20),
    };
    Some(number.parse::<usize>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache size read wrongly would make every batch too large or too small.
    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, expected) in [
            ("512K", Some(512 << 10)),
            ("2M", Some(2 << 20)),
            ("", None),
            ("12", None),
            ("xK", None),
        ] {
            assert_eq!(parse_cache_size(text), expected, "{text}");
        }
    }

    /// A profile filed under a name with odd characters could not be written on some systems.
    #[test]
    fn the_machine_has_a_plain_name() {
        let machine = Machine {
            processor: "Intel(R) Xeon(R) / 8 Gold".into(),
            threads: 2,
            isa: "avx2".into(),
            l2_bytes: 1,
            memory_bytes: 1,
            system: String::new(),
        };
        assert_eq!(machine.id(), "intel-r-xeon-r-8-gold-2-avx2");
        assert!(Machine::detect().threads > 0);
    }
}
