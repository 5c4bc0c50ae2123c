//! A loaded model ready to run: prepare, cache, batch, execute, answer.
