//! `batchwright completions SHELL`.

use crate::args::{self, CompletionsArgs};
use crate::console;

/// Prints the shell's script; it derives from the flags themselves.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "batchwright", &mut script);
    console::print(&String::from_utf8(script)?)
}
