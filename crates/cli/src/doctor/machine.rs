//! Processor, threads, memory, GPUs.

use std::fs;
use std::path::Path;

use batchwright::{Isa, Machine, available_threads};

use super::Finding;
use crate::args::{ByteSize, GeneralArgs};
use crate::figures::three_digits;

/// Below this, weights, buffers and answers of a small model no longer fit.
const LITTLE_MEMORY: u64 = 1 << 30;

pub(super) fn system() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

pub(super) fn findings(general: &GeneralArgs) -> Vec<Finding> {
    let machine = Machine::detect();
    vec![
        processor(&machine),
        threads(),
        speed(general),
        memory(machine.memory_bytes),
        Finding::ok(
            "level-2 cache",
            format!("{} a core", ByteSize(machine.l2_bytes as u64)),
        ),
        gpus(Path::new("/")),
    ]
}

fn processor(machine: &Machine) -> Finding {
    let names: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
    let features = features().join(" ");
    let found = format!(
        "{}; computing with {} (of {}; {features})",
        machine.processor,
        Isa::detect().name(),
        names.join(", "),
    );
    if Isa::detect() == Isa::Scalar {
        let remedy = "no AVX2 and no NEON, so about ten times slower than a usual machine; on a \
                      virtual machine, let it have the host's processor features";
        return Finding::warn("processor", found, remedy);
    }
    Finding::ok("processor", found)
}

/// Features that matter to the kernels, now or later.
fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        (
            "dotprod",
            std::arch::is_aarch64_feature_detected!("dotprod"),
        ),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&'static str, bool); 0] = [];
    found
        .into_iter()
        .filter(|&(_, has)| has)
        .map(|(name, _)| name)
        .collect()
}

fn threads() -> Finding {
    let usable = available_threads();
    match online(&read("/sys/devices/system/cpu/online")) {
        Some(online) if online > usable => Finding::ok(
            "threads",
            format!(
                "{usable} usable of {online}: this process is limited by a quota or by affinity"
            ),
        ),
        _ => Finding::ok("threads", format!("{usable} usable")),
    }
}

fn speed(general: &GeneralArgs) -> Finding {
    let isa = general.isa.unwrap_or_else(Isa::detect);
    let threads = general.threads.unwrap_or_else(available_threads).max(1);
    let peak = three_digits(kernels::peak_gflops(isa, threads));
    let word = if threads == 1 { "thread" } else { "threads" };
    Finding::ok(
        "speed",
        format!(
            "{peak} GFLOP/s measured on {threads} {word} with {}",
            isa.name()
        ),
    )
}

fn memory(total_bytes: u64) -> Finding {
    let Some(available) = field_kib(&read("/proc/meminfo"), "MemAvailable:") else {
        return Finding::ok("memory", "the system does not tell");
    };
    let limit = read("/sys/fs/cgroup/memory.max").trim().parse::<u64>().ok();
    let limited = limit.filter(|&limit| limit < total_bytes);
    let mut found = format!(
        "{} available of {}",
        ByteSize(available),
        ByteSize(total_bytes)
    );
    if let Some(limit) = limited {
        found.push_str(&format!(", limited to {}", ByteSize(limit)));
    }
    if available.min(limited.unwrap_or(u64::MAX)) < LITTLE_MEMORY {
        let remedy = "a small model takes 300 MiB; lower --window and --cache if a job is killed";
        return Finding::warn("memory", found, remedy);
    }
    Finding::ok("memory", found)
}

/// GPUs, and why they are not used. `root` is `/`, but for tests.
fn gpus(root: &Path) -> Finding {
    const HERE: &str = "this build computes on the processor";
    let has = |path: &str| root.join(path).exists();
    let driver = fs::read_to_string(root.join("proc/driver/nvidia/version")).unwrap_or_default();
    let devices = (0..16)
        .filter(|index| has(&format!("dev/nvidia{index}")))
        .count();
    let libraries = [
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/aarch64-linux-gnu",
        "usr/lib64",
        "usr/lib",
    ];
    let libcuda = libraries
        .iter()
        .any(|place| has(&format!("{place}/libcuda.so.1")));
    let found = match (devices, driver.is_empty(), libcuda) {
        (0, true, false) if has("dev/kfd") => format!("AMD driver found (/dev/kfd); {HERE}"),
        (0, true, false) => format!("none found (no driver, no /dev/nvidia0, no /dev/kfd); {HERE}"),
        (0, _, _) => format!("NVIDIA driver found, but no /dev/nvidia0; {HERE}"),
        (n, no_driver, libcuda) => {
            let version = driver_version(&driver).unwrap_or("of unknown version");
            let library = if libcuda {
                ""
            } else {
                ", libcuda.so.1 not found"
            };
            let driver = if no_driver {
                "no driver".into()
            } else {
                format!("driver {version}")
            };
            format!("{n} NVIDIA ({driver}{library}); {HERE}")
        }
    };
    Finding::ok("gpu", found)
}

/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue …`
fn driver_version(text: &str) -> Option<&str> {
    let numbered =
        |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    text.lines().next()?.split_whitespace().find(numbered)
}

/// Processors in a list such as `0-3,8`.
fn online(list: &str) -> Option<usize> {
    let mut count = 0;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        count += last
            .parse::<usize>()
            .ok()?
            .checked_sub(first.parse().ok()?)?
            + 1;
    }
    Some(count)
}

/// A size in a file of lines like `MemAvailable:   1234 kB`, in bytes.
fn field_kib(content: &str, field: &str) -> Option<u64> {
    let rest = content.lines().find_map(|line| line.strip_prefix(field))?;
    Some(rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "2 of 2 threads" on a machine of sixteen would hide the quota that makes a job slow.
    #[test]
    fn lists_of_processors_are_counted() {
        for (list, expected) in [
            ("0-3\n", Some(4)),
            ("0", Some(1)),
            ("0-1,4,6-7", Some(5)),
            ("", None),
            ("3-1", None),
        ] {
            assert_eq!(online(list), expected, "{list:?}");
        }
    }

    /// A user with a GPU would not learn why it idles.
    #[test]
    fn gpus_are_found_by_their_traces() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        assert!(gpus(root.path()).found.starts_with("none found"));
        fs::create_dir_all(at("dev")).unwrap();
        fs::write(at("dev/nvidia0"), "").unwrap();
        assert!(
            gpus(root.path())
                .found
                .contains("1 NVIDIA (no driver, libcuda.so.1 not found)")
        );
        fs::create_dir_all(at("proc/driver/nvidia")).unwrap();
        let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar 5\n";
        fs::write(at("proc/driver/nvidia/version"), version).unwrap();
        assert!(gpus(root.path()).found.contains("driver 550.54.15"));
    }

    /// A job that will not fit would be begun in good faith.
    #[test]
    fn memory_is_read_from_the_system_s_words() {
        let content = "MemTotal: 10 kB\nMemAvailable:   1234 kB\n";
        assert_eq!(field_kib(content, "MemAvailable:"), Some(1_234 * 1_024));
        assert_eq!(field_kib(content, "Swap:"), None);
    }
}
