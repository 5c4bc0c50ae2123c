//! What a fetch tells the person who waits for it.

/// Receives the progress of one [`resolve`](crate::resolve).
///
/// Every method has an empty default. Calls come from the thread that called `resolve`; a source
/// that fails ends its own `begin` before the next source begins.
pub trait FetchProgress: Sync {
    /// A transfer starts. `what` names it for a person (`sentence-transformers/all-MiniLM-L6-v2
    /// from the hub`); `total_bytes` is absent where the source does not say.
    fn begin(&self, what: &str, total_bytes: Option<u64>) {
        let _ = (what, total_bytes);
    }

    /// Bytes that have arrived since `begin`, in total. May go back: a server that cannot continue
    /// an interrupted file sends it again from its start.
    fn position(&self, done_bytes: u64) {
        let _ = done_bytes;
    }

    /// Something worth a line: a retry, a wait for another process, a source given up.
    fn note(&self, message: &str) {
        let _ = message;
    }

    /// The transfer that `begin` announced is over, whether it succeeded or not.
    fn end(&self) {}
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl FetchProgress for NoProgress {}

/// Calls [`FetchProgress::end`] when it goes out of scope, so that no early return leaves a bar on
/// the screen.
pub(crate) struct Transfer<'a> {
    progress: &'a dyn FetchProgress,
}

impl<'a> Transfer<'a> {
    pub(crate) fn begin(
        progress: &'a dyn FetchProgress,
        what: &str,
        total_bytes: Option<u64>,
    ) -> Transfer<'a> {
        progress.begin(what, total_bytes);
        Transfer { progress }
    }

    pub(crate) fn position(&self, done_bytes: u64) {
        self.progress.position(done_bytes);
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.progress.end();
    }
}
