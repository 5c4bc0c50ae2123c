//! Which vector instructions the operators use, chosen at run time.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// An instruction set for which the operators have code.
///
/// All operators take the instruction set as a value, so that one binary runs on every machine and
/// a test can compare them. An instruction set that this machine lacks is never executed: operators
/// called with it run [`Isa::Scalar`] instead. Check [`Isa::is_available`] where a user names one.
///
/// A row has the same bits on one instruction set whatever its neighbours; between instruction
/// sets the last bits differ, because sums are taken in another order.
#[non_exhaustive]
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// What the compiler's target has without asking (SSE2 on x86-64); every machine has it.
    Scalar,
    /// AVX2 with FMA: x86-64 since 2013 (Haswell, Zen).
    Avx2,
    /// AVX-512F: servers since 2017 (Skylake-SP), Zen 4.
    Avx512,
    /// The 128-bit vectors of 64-bit ARM.
    Neon,
}

impl Isa {
    /// All instruction sets, slowest first. Fixed, whatever the machine.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// The fastest instruction set of this machine. Asked once, then remembered.
    #[must_use]
    pub fn detect() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let best = Isa::ALL.into_iter().rev().find(|isa| isa.is_available());
            best.unwrap_or(Isa::Scalar)
        })
    }

    /// Every instruction set that this machine can run, slowest first.
    #[must_use]
    pub fn available() -> Vec<Isa> {
        Isa::ALL
            .into_iter()
            .filter(|isa| isa.is_available())
            .collect()
    }

    /// Whether this machine can run it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512f") && Isa::Avx2.is_available(),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            _ => false,
        }
    }

    /// This instruction set where the machine has it, else [`Isa::Scalar`].
    #[must_use]
    pub fn or_scalar(self) -> Isa {
        if self.is_available() {
            self
        } else {
            Isa::Scalar
        }
    }

    /// The name used in flags and reports: `scalar`, `avx2`, `avx512`, `neon`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No instruction set has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no instruction set is called `{0}`; choose one of {names}", names = Isa::ALL.map(Isa::name).join(", "))]
pub struct UnknownIsa(String);

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Isa::ALL.into_iter().find(|isa| isa.name() == name);
        found.ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would lose speed (a machine's best not chosen) or the process (an instruction it lacks).
    #[test]
    fn the_detected_one_is_the_last_available() {
        let available = Isa::available();
        assert_eq!(available.first(), Some(&Isa::Scalar));
        assert_eq!(available.last(), Some(&Isa::detect()));
        for isa in Isa::ALL {
            let expected = if available.contains(&isa) {
                isa
            } else {
                Isa::Scalar
            };
            assert_eq!(isa.or_scalar(), expected, "{isa}");
        }
    }

    /// A user would lose a flag's value that the documentation names.
    #[test]
    fn names_parse_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        let error = "sse".parse::<Isa>().unwrap_err();
        assert!(error.to_string().contains("`sse`"), "{error}");
    }
}
