//! The names and shapes of Hugging Face's Text Embeddings Inference server.

use axum::response::Response;
use engine::{Input, OnLong, Prediction, Reading, Task, Tokens};
use serde_json::json;

use super::own;
use crate::call::{Call, Payload};
use crate::models::Pick;
use crate::predict::{self, MANY_ROWS, Options, Receipt};
use crate::problem::{Code, Problem};
use crate::reply;
use crate::wire::own::Side;
use crate::wire::tei::{
    OneOrMore, TeiEmbed, TeiPredict, TeiRank, TeiRerank, TeiRow, TeiRows, TeiScore, TeiScores,
    TeiSide, TeiToken, TeiTokenize, TeiVectors,
};

/// `/`: the model's own task, with that server's bodies.
pub(crate) async fn root(mut call: Call) -> Result<Response, Problem> {
    let payload = call.payload().await?;
    answer(&call, &payload, None).await
}

/// The task of a body with TEI's words. What the model does decides where the route leaves it open.
pub(crate) async fn answer(
    call: &Call,
    payload: &Payload,
    task: Option<Task>,
) -> Result<Response, Problem> {
    let task = match task {
        Some(task) => task,
        None => call.app.models.find(Pick::default())?.task(),
    };
    match task {
        Task::Embed => embed(call, payload.json()?).await,
        Task::Classify => classify(call, payload.json()?).await,
        Task::Rerank => rerank(call, payload.json()?).await,
        Task::Tag => Err(Problem::new(
            Code::WrongTask,
            "there is no such body for a model that tags; send `text` or `texts`",
        )),
    }
}

/// That server refuses long texts unless it was started with `--auto-truncate`; so does this one where
/// the body says nothing but how the model was loaded.
fn reading(truncate: Option<bool>, side: Option<TeiSide>) -> Reading {
    Reading {
        on_long: truncate.map(|cut| if cut { OnLong::Truncate } else { OnLong::Error }),
        truncate: side.map(|side| Side::from(side).into()),
        max_tokens: None,
    }
}

async fn ask(
    call: &Call,
    task: Task,
    inputs: Vec<Input>,
    mut options: Options,
) -> Result<(Vec<Prediction>, Receipt), Problem> {
    let loaded = call.app.models.find(Pick {
        task: Some(task),
        ..Pick::default()
    })?;
    options.by_headers(call, false)?;
    predict::answer(loaded, inputs, &options).await?.all()
}

async fn embed(call: &Call, body: TeiEmbed) -> Result<Response, Problem> {
    if let Some(name) = body.prompt_name {
        return Err(Problem::new(
            Code::BadOption,
            format!(
                "`prompt_name` is `{name}`: prompts are chosen when the server is started, with --prompt-name"
            ),
        ));
    }
    if let Some(asked) = body.normalize {
        let loaded = call.app.models.find(Pick {
            task: Some(Task::Embed),
            ..Pick::default()
        })?;
        let does = loaded.service.model().directory().normalizes() == engine::Normalize::Yes;
        if asked != does {
            return Err(Problem::new(
                Code::BadOption,
                format!(
                    "`normalize` is {asked}, and this model is served with {does}; leave it out"
                ),
            ));
        }
    }
    let options = Options {
        reading: reading(body.truncate, body.truncation_direction),
        dimensions: body.dimensions,
        ..Options::default()
    };
    let (predictions, receipt) = ask(call, Task::Embed, body.inputs.into_inputs(), options).await?;
    let vectors: Vec<&[f32]> = predictions.iter().filter_map(vector).collect();
    let size = vectors.iter().map(|vector| 16 + 13 * vector.len()).sum();
    let rows = vectors.len();
    let write = || reply::to_json_sized(&TeiVectors(vectors), size);
    let json = match rows {
        0..MANY_ROWS => write(),
        _ => tokio::task::block_in_place(write),
    };
    Ok(receipt.on(reply::json(json)))
}

pub(crate) fn vector(prediction: &Prediction) -> Option<&[f32]> {
    match prediction {
        Prediction::Embedding(vector) => Some(vector),
        _ => None,
    }
}

async fn classify(call: &Call, body: TeiPredict) -> Result<Response, Problem> {
    let (inputs, one) = match body.inputs {
        TeiRows::One(text) => (vec![Input::Text(text)], true),
        TeiRows::Single([text]) => (vec![Input::Text(text)], true),
        TeiRows::Pair([first, second]) => (vec![Input::Pair(first, second)], true),
        TeiRows::More(rows) => {
            let input = |row| match row {
                TeiRow::Single([text]) => Input::Text(text),
                TeiRow::Pair([first, second]) => Input::Pair(first, second),
            };
            (rows.into_iter().map(input).collect(), false)
        }
    };
    let options = Options {
        // Every label, best first.
        top_k: Some(usize::MAX),
        threshold: Some(f32::MIN),
        raw_scores: body.raw_scores,
        reading: reading(body.truncate, body.truncation_direction),
        ..Options::default()
    };
    let (predictions, receipt) = ask(call, Task::Classify, inputs, options).await?;
    let mut rows: Vec<Vec<TeiScore<'_>>> = predictions.iter().map(scores).collect();
    let body = match rows.pop() {
        Some(only) if one => TeiScores::One(only),
        last => TeiScores::More(rows.into_iter().chain(last).collect()),
    };
    Ok(receipt.on(reply::json(reply::to_json(&body))))
}

fn scores(prediction: &Prediction) -> Vec<TeiScore<'_>> {
    let Prediction::Labels(labels) = prediction else {
        return Vec::new();
    };
    let labels = labels.iter();
    labels
        .map(|one| TeiScore {
            score: one.score,
            label: &one.label,
        })
        .collect()
}

async fn rerank(call: &Call, body: TeiRerank) -> Result<Response, Problem> {
    let pair = |text: &String| Input::Pair(body.query.clone(), text.clone());
    let inputs = body.texts.iter().map(pair).collect();
    let options = Options {
        raw_scores: body.raw_scores,
        reading: reading(body.truncate, body.truncation_direction),
        ..Options::default()
    };
    let (predictions, receipt) = ask(call, Task::Rerank, inputs, options).await?;
    let mut ranks: Vec<TeiRank> = predictions
        .into_iter()
        .zip(body.texts)
        .enumerate()
        .map(|(index, (prediction, text))| TeiRank {
            index,
            text: body.return_text.then_some(text),
            score: prediction.into_score().unwrap_or_default(),
        })
        .collect();
    // Stable: equal scores keep the order in which the texts came.
    ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(receipt.on(reply::json(reply::to_json(&ranks))))
}

pub(crate) fn tokenize(call: &Call, payload: &Payload) -> Result<Response, Problem> {
    let body: TeiTokenize = payload.json()?;
    let loaded = call.app.models.find(Pick::default())?;
    let texts = match body.inputs {
        OneOrMore::One(text) => vec![text],
        OneOrMore::More(texts) => texts,
    };
    let inputs: Vec<Input> = texts.iter().map(|text| text.as_str().into()).collect();
    let tokens = own::tokens(&loaded, &inputs, |tokens| tokens)?;
    let rows: Vec<Vec<TeiToken>> = tokens
        .into_iter()
        .zip(&texts)
        .map(|(tokens, text)| shown(tokens, text, body.add_special_tokens))
        .collect();
    Ok(reply::json(reply::to_json(&rows)))
}

fn shown(tokens: Tokens, text: &str, special_too: bool) -> Vec<TeiToken> {
    // Places are counted in characters.
    let bytes: Vec<usize> = text
        .char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect();
    let place = |at: usize| bytes.get(at).copied().unwrap_or(text.len());
    let rows = tokens.ids.into_iter().zip(tokens.tokens).zip(tokens.spans);
    let rows = rows.filter(|(_, span)| special_too || !span.special);
    rows.map(|((id, name), span)| TeiToken {
        id,
        text: match span.special {
            true => name,
            false => text
                .get(place(span.start)..place(span.end))
                .unwrap_or_default()
                .to_owned(),
        },
        special: span.special,
        start: (!span.special).then_some(span.start),
        stop: (!span.special).then_some(span.end),
    })
    .collect()
}

/// `/info`: the model that answers where none is named.
pub(crate) async fn info(call: Call) -> Result<Response, Problem> {
    let loaded = call.app.models.find(Pick::default())?;
    let model = loaded.service.model();
    let settings = loaded.service.settings();
    let labels = model.directory().labels();
    let by_id: serde_json::Map<_, _> = labels
        .iter()
        .enumerate()
        .map(|(id, label)| (id.to_string(), json!(label)))
        .collect();
    let by_label: serde_json::Map<_, _> = labels
        .iter()
        .enumerate()
        .map(|(id, label)| (label.clone(), json!(id)))
        .collect();
    let heads = json!({"id2label": by_id, "label2id": by_label});
    let modes = model.directory().pooling_modes().iter();
    let modes: Vec<String> = modes
        .map(|mode| format!("{mode:?}").to_lowercase())
        .collect();
    let kind = match model.task() {
        Task::Embed => json!({"embedding": {"pooling": modes.join("+")}}),
        Task::Rerank => json!({"reranker": heads}),
        Task::Classify => json!({"classifier": heads}),
        Task::Tag => json!({"tagger": heads}),
    };
    let facts = model.fingerprints();
    let truncates = facts
        .iter()
        .any(|(name, value)| *name == "on long" && value == "Truncate");
    Ok(reply::json(reply::to_json(&json!({
        "model_id": model.name(),
        "model_sha": loaded.fingerprint,
        "model_dtype": model.precision().to_string(),
        "model_type": kind,
        "max_concurrent_requests": settings.limits.requests,
        "max_input_length": model.directory().max_tokens(),
        "max_batch_tokens": settings.batch_tokens.unwrap_or_else(|| model.batch_tokens()),
        "max_batch_requests": settings.batch_rows,
        "max_client_batch_size": settings.limits.texts_per_request,
        "auto_truncate": truncates,
        "tokenization_workers": call.app.settings.http_threads,
        "version": env!("CARGO_PKG_VERSION"),
        "sha": null,
        "docker_label": null,
    }))))
}
