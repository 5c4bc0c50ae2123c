//! Which model, and with which options.

use anyhow::bail;
use batchwright::{Model, ModelBuilder, Normalize, Task};

use crate::args::{AnswerArgs, CacheArgs, GeneralArgs, ModelArgs, ReadingArgs, SpeedArgs, Typed};
use crate::models;

/// What `embed` runs where no model is named.
const DEFAULT_EMBEDDER: &str = "all-MiniLM-L6-v2";

/// The model that was named, or the default where there is one.
pub(crate) fn model_name(args: &ModelArgs, task: Option<Task>) -> anyhow::Result<String> {
    match (&args.model, task) {
        (Some(name), _) => Ok(name.clone()),
        (None, Some(Task::Embed)) => Ok(DEFAULT_EMBEDDER.to_owned()),
        (None, Some(task)) => {
            let known = models::names_for(task.name()).join(", ");
            bail!(
                "which model? {task} has no default: say -m with a directory, a hub id (owner/name), \
                 or one of: {known}"
            )
        }
        (None, None) => bail!(
            "which model? say -m with a directory, a hub id (owner/name), or a name from \
             `batchwright models`"
        ),
    }
}

/// The options that every command has which loads a model.
pub(crate) fn builder(
    name: &str,
    args: &ReadingArgs,
    general: &GeneralArgs,
    typed: &Typed,
) -> anyhow::Result<ModelBuilder> {
    let mut model = Model::builder(name)
        .truncate(args.truncate.into())
        .on_long(args.on_long.into());
    if let Some(precision) = args.precision {
        model = model.precision(precision.into());
    }
    if let Some(tokens) = args.max_tokens {
        model = model.max_tokens(tokens);
    }
    // A typed one wins over one that the environment or a file sets.
    model = match (&args.prompt, &args.prompt_name) {
        (Some(_), Some(_)) if typed.has("prompt") == typed.has("prompt_name") => {
            bail!("--prompt and --prompt-name are both set; leave one out")
        }
        (Some(prompt), Some(_)) if typed.has("prompt") => model.prompt(prompt),
        (_, Some(name)) => model.prompt_name(name),
        (Some(prompt), None) => model.prompt(prompt),
        (None, None) => model,
    };
    if let Some(threads) = general.threads {
        model = model.threads(threads);
    }
    if let Some(isa) = general.isa {
        model = model.isa(isa);
    }
    if general.offline {
        model = model.offline();
    }
    Ok(model)
}

/// The options of vectors.
pub(super) fn vectors(
    mut model: ModelBuilder,
    args: &AnswerArgs,
    typed: &Typed,
) -> anyhow::Result<ModelBuilder> {
    if let Some(pooling) = args.pooling {
        model = model.pooling(pooling.into());
    }
    // Of the two the one that was typed last wins; the environment and the file have `normalize` alone.
    let normalize = if typed.place("no_normalize") > typed.place("normalize") {
        Some(false)
    } else {
        args.normalize
    };
    if let Some(normalize) = normalize {
        model = model.normalize(if normalize {
            Normalize::Yes
        } else {
            Normalize::No
        });
    }
    if let Some(dimensions) = args.dimensions {
        if dimensions == 0 {
            bail!("--dimensions is 0; a vector has at least 1");
        }
        model = model.dimensions(dimensions);
    }
    Ok(model)
}

/// The options of batches and caches.
pub(super) fn speed(mut model: ModelBuilder, args: &SpeedArgs, cache: &CacheArgs) -> ModelBuilder {
    model = model.window(args.window.get());
    if let Some(tokens) = args.batch_tokens {
        model = model.batch_tokens(tokens.get());
    }
    if let Some(rows) = args.batch_size {
        model = model.batch_size(rows.get());
    }
    if cache.cache.0 > 0 {
        model = model.cache_bytes(usize::try_from(cache.cache.0).unwrap_or(usize::MAX));
    }
    if let Some(directory) = &cache.cache_dir {
        model = model
            .cache_dir(directory)
            .cache_dir_bytes(cache.cache_dir_limit.0);
    }
    model
}
