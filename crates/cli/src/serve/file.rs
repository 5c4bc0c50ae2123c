//! `[[model]]` in a configuration file: models with options of their own.

use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::args::ByteSize;

/// One `[[model]]`. What it leaves out is as the flags say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelTable {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) model: String,
    pub(super) task: Option<String>,
    pub(super) precision: Option<String>,
    pub(super) max_tokens: Option<usize>,
    pub(super) truncate: Option<String>,
    pub(super) on_long: Option<String>,
    pub(super) prompt: Option<String>,
    pub(super) prompt_name: Option<String>,
    pub(super) pooling: Option<String>,
    pub(super) normalize: Option<bool>,
    pub(super) dimensions: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    pub(super) cache: Option<ByteSize>,
    pub(super) batch_tokens: Option<usize>,
    pub(super) batch_size: Option<usize>,
    pub(super) max_wait_us: Option<u64>,
    pub(super) ageing_ms: Option<u64>,
    pub(super) default_deadline_ms: Option<u64>,
    pub(super) max_requests: Option<usize>,
    pub(super) max_texts: Option<usize>,
    pub(super) max_tokens_in_flight: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    pub(super) max_bytes_in_flight: Option<ByteSize>,
    pub(super) max_queue: Option<usize>,
    pub(super) max_queue_tokens: Option<usize>,
    #[serde(default, deserialize_with = "size")]
    pub(super) max_queue_bytes: Option<ByteSize>,
}

/// `"64MiB"`, or a number of bytes.
fn size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<ByteSize>, D::Error> {
    let text = match toml::Value::deserialize(from)? {
        toml::Value::Integer(bytes) => bytes.to_string(),
        toml::Value::String(text) => text,
        other => other.to_string(),
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The models of a configuration file; none if it has no `[[model]]`.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<ModelTable>> {
    let place = || format!("configuration file {}", path.display());
    let text = std::fs::read_to_string(path).with_context(place)?;
    parse(&text).with_context(place)
}

fn parse(text: &str) -> anyhow::Result<Vec<ModelTable>> {
    let table: toml::Table = text.parse()?;
    let Some(toml::Value::Array(models)) = table.get("model") else {
        return Ok(Vec::new());
    };
    let mut tables = Vec::with_capacity(models.len());
    for (at, model) in models.iter().enumerate() {
        let table: ModelTable = model
            .clone()
            .try_into()
            .with_context(|| format!("[[model]] number {}", at + 1))?;
        if table.prompt.is_some() && table.prompt_name.is_some() {
            bail!(
                "[[model]] number {}: leave out `prompt` or `prompt_name`",
                at + 1
            );
        }
        tables.push(table);
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A misspelt option of one model would be ignored, and the model serve with another.
    #[test]
    fn models_are_read_and_mistakes_named() {
        let good = parse("port = 1\n[[model]]\nname = \"a\"\nmodel = \"x\"\ncache = \"1MiB\"\n[[model]]\nmodel = \"y\"\n").unwrap();
        assert_eq!(good.len(), 2);
        assert_eq!(
            (good[0].cache, good[1].name.as_deref()),
            (Some(ByteSize(1 << 20)), None)
        );
        let limits = "max_tokens_in_flight = 5\nmax_bytes_in_flight = \"1KiB\"\nmax_queue_tokens = 6\n\
                      max_queue_bytes = 7\nageing_ms = 8\n";
        let limited = parse(&format!("[[model]]\nmodel = \"x\"\n{limits}")).unwrap();
        assert_eq!(limited[0].max_tokens_in_flight, Some(5));
        assert_eq!(limited[0].max_bytes_in_flight, Some(ByteSize(1 << 10)));
        assert_eq!(limited[0].max_queue_tokens, Some(6));
        assert_eq!(limited[0].max_queue_bytes, Some(ByteSize(7)));
        assert_eq!(limited[0].ageing_ms, Some(8));
        for (text, words) in [
            ("[[model]]\nname = \"a\"", "model"),
            ("[[model]]\nmodel = \"x\"\nmax_tokns = 3", "max_tokns"),
            ("[[model]]\nmodel = \"x\"\ncache = \"lots\"", "no size"),
            (
                "[[model]]\nmodel = \"x\"\nprompt = \"a\"\nprompt_name = \"b\"",
                "leave out",
            ),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(parse("model = \"x\"").unwrap().is_empty());
    }
}
