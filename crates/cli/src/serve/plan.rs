//! From flags and tables to models and settings.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use batchwright::{ModelBuilder, Normalize, ServiceSettings, Task, available_threads};
use clap::ValueEnum;
use server::{Benchmarks, Control, ModelSpec, ServerSettings, TlsFiles};

use super::file::{self, ModelTable};
use super::otlp;
use crate::args::{
    ByteSize, GeneralArgs, LimitArgs, OnLongName, PoolingName, PrecisionName, ServeArgs,
    TruncateName, Typed,
};
use crate::plan;

/// The models that were named with -m, and those of the configuration file. Typed ones stand alone.
pub(super) fn models(
    args: &ServeArgs,
    general: &GeneralArgs,
    typed: &Typed,
) -> anyhow::Result<Vec<ModelSpec>> {
    let mut specs = Vec::new();
    for word in &args.models {
        let (name, version, model) = parts(word)?;
        let builder = builder(args, general, typed, &model)?;
        specs.push(spec(name, version, model, builder, service(args)));
    }
    if let Some(path) = general.config.as_deref().filter(|_| !typed.has("models")) {
        for table in file::read(path)? {
            let place = format!("[[model]] {}", table.model);
            specs.push(of_table(args, general, typed, table).with_context(|| place)?);
        }
    }
    if specs.is_empty() {
        bail!(
            "which model? say -m NAME=MODEL with a directory, a hub id (owner/name), or a name from \
             `batchwright models`; or write a [[model]] into the file of --config"
        );
    }
    Ok(specs)
}

/// `NAME@VERSION=MODEL`, of which the model alone is needed.
fn parts(word: &str) -> anyhow::Result<(Option<String>, Option<String>, String)> {
    let Some((name, model)) = word.split_once('=') else {
        return Ok((None, None, word.to_owned()));
    };
    if name.is_empty() || model.is_empty() {
        bail!("-m {word}: write NAME=MODEL, such as search=all-MiniLM-L6-v2");
    }
    let (name, version) = match name.split_once('@') {
        Some((name, version)) => (name, Some(version.to_owned())),
        None => (name, None),
    };
    Ok((Some(name.to_owned()), version, model.to_owned()))
}

/// A model that was given no name has the last part of what it is loaded from.
fn spec(
    name: Option<String>,
    version: Option<String>,
    model: String,
    builder: ModelBuilder,
    settings: ServiceSettings,
) -> ModelSpec {
    let last = || {
        let parts = model.trim_end_matches(['/', '\\']).rsplit(['/', '\\']);
        parts.take(1).collect::<String>()
    };
    ModelSpec {
        name: name.unwrap_or_else(last),
        version: version.unwrap_or_else(|| "1".to_owned()),
        builder,
        settings,
        source: model,
    }
}

fn builder(
    args: &ServeArgs,
    general: &GeneralArgs,
    typed: &Typed,
    model: &str,
) -> anyhow::Result<ModelBuilder> {
    let mut builder = plan::builder(model, &args.reading, general, typed)?;
    if let Some(task) = args.task.task {
        builder = builder.task(task);
    }
    if let Some(tokens) = args.batching.batch_tokens {
        builder = builder.batch_tokens(tokens.get());
    }
    if let Some(rows) = args.batching.batch_size {
        builder = builder.batch_size(rows.get());
    }
    if let Some(directory) = &args.cache.cache_dir {
        builder = builder
            .cache_dir(directory)
            .cache_dir_bytes(args.cache.cache_dir_limit.0);
    }
    if let Some(url) = &args.cache_redis {
        builder = builder.cache_redis(url);
    }
    Ok(cached(builder, args.cache.cache))
}

fn cached(builder: ModelBuilder, size: ByteSize) -> ModelBuilder {
    builder.cache_bytes(bytes(size))
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

fn service(args: &ServeArgs) -> ServiceSettings {
    let mut settings = ServiceSettings {
        batch_tokens: args.batching.batch_tokens.map(NonZeroUsize::get),
        batch_rows: args.batching.batch_size.map(NonZeroUsize::get),
        max_wait: Duration::from_micros(args.batching.max_wait_us),
        ageing: Duration::from_millis(args.batching.ageing_ms),
        default_deadline: deadline(args.batching.default_deadline_ms),
        ..ServiceSettings::default()
    };
    limit(&mut settings, &args.limits);
    settings
}

/// 0 switches a deadline off that a lower layer has set.
fn deadline(ms: Option<u64>) -> Option<Duration> {
    ms.filter(|&ms| ms > 0).map(Duration::from_millis)
}

fn limit(settings: &mut ServiceSettings, args: &LimitArgs) {
    fn put(place: &mut usize, value: Option<usize>) {
        if let Some(value) = value {
            *place = value;
        }
    }
    let count = |value: Option<NonZeroUsize>| value.map(NonZeroUsize::get);
    put(&mut settings.limits.requests, count(args.max_requests));
    put(
        &mut settings.limits.texts_per_request,
        count(args.max_texts),
    );
    put(
        &mut settings.limits.tokens,
        count(args.max_tokens_in_flight),
    );
    put(
        &mut settings.limits.bytes,
        args.max_bytes_in_flight.map(bytes),
    );
    put(&mut settings.queue.entries, count(args.max_queue));
    put(&mut settings.queue.tokens, count(args.max_queue_tokens));
    put(&mut settings.queue.bytes, args.max_queue_bytes.map(bytes));
}

/// A table's model: as the flags say, but for what the table says.
fn of_table(
    args: &ServeArgs,
    general: &GeneralArgs,
    typed: &Typed,
    table: ModelTable,
) -> anyhow::Result<ModelSpec> {
    let mut builder = builder(args, general, typed, &table.model)?;
    if let Some(task) = &table.task {
        let found = Task::ALL.into_iter().find(|known| known.name() == task);
        builder =
            builder.task(found.ok_or_else(|| unknown("task", task, Task::ALL.map(Task::name)))?);
    }
    if let Some(precision) = choice::<PrecisionName>("precision", table.precision.as_deref())? {
        builder = builder.precision(precision.into());
    }
    if let Some(side) = choice::<TruncateName>("truncate", table.truncate.as_deref())? {
        builder = builder.truncate(side.into());
    }
    if let Some(what) = choice::<OnLongName>("on_long", table.on_long.as_deref())? {
        builder = builder.on_long(what.into());
    }
    if let Some(pooling) = choice::<PoolingName>("pooling", table.pooling.as_deref())? {
        builder = builder.pooling(pooling.into());
    }
    if let Some(normalize) = table.normalize {
        builder = builder.normalize(if normalize {
            Normalize::Yes
        } else {
            Normalize::No
        });
    }
    if let Some(tokens) = table.max_tokens {
        builder = builder.max_tokens(tokens);
    }
    if let Some(prompt) = &table.prompt {
        builder = builder.prompt(prompt);
    }
    if let Some(name) = &table.prompt_name {
        builder = builder.prompt_name(name);
    }
    if let Some(dimensions) = table.dimensions {
        builder = builder.dimensions(dimensions);
    }
    if let Some(tokens) = table.batch_tokens {
        builder = builder.batch_tokens(tokens);
    }
    if let Some(size) = table.cache {
        builder = cached(builder, size);
    }
    let mut settings = service(args);
    settings.batch_tokens = table.batch_tokens.or(settings.batch_tokens);
    settings.batch_rows = table.batch_size.or(settings.batch_rows);
    if let Some(us) = table.max_wait_us {
        settings.max_wait = Duration::from_micros(us);
    }
    if table.default_deadline_ms.is_some() {
        settings.default_deadline = deadline(table.default_deadline_ms);
    }
    if let Some(ms) = table.ageing_ms {
        settings.ageing = Duration::from_millis(ms);
    }
    let (limits, queue) = (&mut settings.limits, &mut settings.queue);
    for (place, value) in [
        (&mut limits.requests, table.max_requests),
        (&mut limits.texts_per_request, table.max_texts),
        (&mut limits.tokens, table.max_tokens_in_flight),
        (&mut limits.bytes, table.max_bytes_in_flight.map(bytes)),
        (&mut queue.entries, table.max_queue),
        (&mut queue.tokens, table.max_queue_tokens),
        (&mut queue.bytes, table.max_queue_bytes.map(bytes)),
    ] {
        *place = value.unwrap_or(*place);
    }
    Ok(spec(
        table.name,
        table.version,
        table.model,
        builder,
        settings,
    ))
}

/// One of the words that the flag of the same name takes.
fn choice<T: ValueEnum>(key: &str, word: Option<&str>) -> anyhow::Result<Option<T>> {
    let known = || {
        let values = T::value_variants().iter().filter_map(T::to_possible_value);
        values.map(|value| value.get_name().to_owned())
    };
    let read = |word: &str| T::from_str(word, false).map_err(|_| unknown(key, word, known()));
    word.map(read).transpose()
}

fn unknown(
    key: &str,
    word: &str,
    known: impl IntoIterator<Item = impl Into<String>>,
) -> anyhow::Error {
    let known: Vec<String> = known.into_iter().map(Into::into).collect();
    anyhow!("`{key}` is `{word}`; write one of {}", known.join(", "))
}

/// The words of a list, without blank ones.
fn filled(list: &[String]) -> Vec<String> {
    let words = list.iter().map(|word| word.trim().to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

/// The keys of a list. One that was given and holds none is a secret that was not filled in: it must not leave
/// the server open.
fn keys(flag: &str, list: &[String]) -> anyhow::Result<Vec<String>> {
    let keys = filled(list);
    let variable = format!("BATCHWRIGHT_{}", flag.to_ascii_uppercase());
    let is_given = !list.is_empty() || std::env::var_os(&variable).is_some();
    if is_given && keys.is_empty() {
        bail!(
            "--{} or {variable} is given and holds no key; to leave the server open, do not set it",
            flag.replace('_', "-")
        );
    }
    Ok(keys)
}

pub(super) fn settings(
    args: &ServeArgs,
    general: &GeneralArgs,
    typed: &Typed,
) -> anyhow::Result<ServerSettings> {
    let threads = general.threads.unwrap_or_else(available_threads);
    let socket_alone =
        args.listen.unix_socket.is_some() && !typed.has("port") && !typed.has("host");
    let tls = args
        .listen
        .tls_certificate
        .clone()
        .zip(args.listen.tls_key.clone());
    Ok(ServerSettings {
        addresses: match socket_alone {
            true => Vec::new(),
            false => vec![(args.listen.host, args.listen.port).into()],
        },
        sockets: args.listen.unix_socket.iter().cloned().collect(),
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        api_keys: keys("api_keys", &args.access.api_keys)?,
        admin_keys: keys("admin_keys", &args.access.admin_keys)?,
        control: if args.access.no_control {
            Control::Off
        } else {
            Control::On
        },
        benchmarks: if args.access.enable_benchmark {
            Benchmarks::On
        } else {
            Benchmarks::Off
        },
        cors_origins: filled(&args.access.cors_origins),
        compress_from: bytes(args.operation.compress_from),
        max_body_bytes: bytes(args.limits.max_body_bytes),
        max_body_bytes_in_flight: bytes(args.limits.max_body_bytes_in_flight),
        read_timeout: Duration::from_secs(args.operation.read_timeout_s.into()),
        idle_timeout: match args.operation.idle_timeout_s {
            0 => None,
            seconds => Some(Duration::from_secs(seconds.into())),
        },
        stop_timeout: Duration::from_secs(args.operation.stop_timeout_s.into()),
        http_threads: args
            .operation
            .http_threads
            .map_or(threads.div_ceil(2), NonZeroUsize::get),
        threads,
        otlp: otlp::settings(&args.operation, |name| std::env::var(name).ok())?,
        nvml: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deployment whose secret is empty would be open to everybody.
    #[test]
    fn a_list_without_a_key_is_refused() {
        let list = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert!(keys("no_such_keys", &list(&["", " "])).is_err());
        assert_eq!(keys("no_such_keys", &[]).unwrap(), list(&[]));
        assert_eq!(
            keys("no_such_keys", &list(&[" a ", ""])).unwrap(),
            list(&["a"])
        );
    }

    /// A model would be served under a name that nobody asks for.
    #[test]
    fn names_and_versions_are_read() {
        let read = |word: &str| {
            let (name, version, model) = parts(word).unwrap();
            let builder = batchwright::Model::builder(&model);
            let spec = spec(name, version, model, builder, ServiceSettings::default());
            (spec.name, spec.version, spec.source)
        };
        let of = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(read("a=b/c"), of("a", "1", "b/c"));
        assert_eq!(read("a@2=b"), of("a", "2", "b"));
        assert_eq!(read("owner/name"), of("name", "1", "owner/name"));
        assert_eq!(read("./models/mine/"), of("mine", "1", "./models/mine/"));
        assert!(parts("=b").is_err() && parts("a=").is_err());
    }
}
