//! Steps of other crates that may panic over damaged files.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is within a step whose panic becomes an ordinary error.
///
/// For a program's panic hook: it runs before the panic is caught, and what it prints would look
/// like a crash.
#[must_use]
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Runs a step of a reader; a panic over a damaged file becomes words.
pub(crate) fn guarded<T, E: ToString>(step: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(step));
    GUARDED.set(before);
    match outcome {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("the file is damaged ({})", words(&*panic))),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| {
            panic
                .downcast_ref::<&str>()
                .map(|words| (*words).to_owned())
        })
        .unwrap_or_else(|| "the reader gave up".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A damaged file would look like a crash of this program, or a later crash be hushed up.
    #[test]
    fn a_guard_lasts_as_long_as_its_step() {
        assert!(!is_guarded());
        assert_eq!(guarded(|| Ok::<_, String>(is_guarded())), Ok(true));
        assert!(!is_guarded());
        let caught = guarded(|| -> Result<(), String> { panic!("byte 7") });
        assert_eq!(caught, Err("the file is damaged (byte 7)".to_owned()));
        assert!(!is_guarded());
    }
}
