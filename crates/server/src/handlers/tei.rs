//! The names and shapes of Hugging Face's Text Embeddings Inference server.

use axum::response::Response;
use engine::{Input, OnLong, Precision, Prediction, Reading, Task, Tokens};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::own;
use crate::aside::rows_aside;
use crate::call::{Call, Payload};
use crate::models::Pick;
use crate::predict::{self, Options, Receipt};
use crate::problem::{Code, Problem};
use crate::reply;
use crate::wire::own::Side;
use crate::wire::tei::{
    OneOrMore, TeiEmbed, TeiPredict, TeiRank, TeiRerank, TeiRow, TeiRows, TeiScore, TeiScores,
    TeiSentences, TeiSide, TeiSimilarity, TeiToken, TeiTokenize, TeiVectors,
};

/// `/`: the model's own task, with that server's bodies.
pub(crate) async fn root(mut call: Call) -> Result<Response, Problem> {
    let payload = call.payload().await?;
    let hint: Hint = payload.json()?;
    let task = call.app.models.find(named(hint.model.as_deref()))?.task();
    answer(&call, &payload, Some(task)).await
}

/// `/similarity`: how near sentences are to one, by the cosine of their vectors.
pub(crate) async fn similarity(mut call: Call) -> Result<Response, Problem> {
    let payload = call.payload().await?;
    let body: TeiSimilarity = payload.json()?;
    let TeiSentences {
        source_sentence,
        sentences,
    } = body.inputs;
    if sentences.is_empty() {
        return Err(empty("sentences"));
    }
    let parameters = body.parameters.unwrap_or_default();
    let options = Options {
        reading: reading(parameters.truncate, parameters.truncation_direction),
        ..Options::default()
    };
    let inputs: Vec<Input> = std::iter::once(source_sentence)
        .chain(sentences)
        .map(Input::Text)
        .collect();
    let model = body.model.as_deref();
    let (predictions, receipt) = ask(&call, model, Task::Embed, inputs, options).await?;
    let mut vectors = predictions.iter().filter_map(vector);
    let source = vectors.next().unwrap_or_default();
    let near: Vec<f32> = vectors.map(|other| cosine(source, other)).collect();
    Ok(receipt.on(reply::json(reply::to_json(&near))))
}

/// `a·b / (|a| |b|)`; 0 where one has no length.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 {
        dot(a, b) / lengths
    } else {
        0.0
    }
}

/// What a body says about whom and what it asks.
#[derive(Deserialize)]
struct Hint {
    /// A word of ours: that server has one model.
    model: Option<String>,
    query: Option<IgnoredAny>,
}

fn named(name: Option<&str>) -> Pick<'_> {
    Pick {
        name,
        ..Pick::default()
    }
}

/// Nothing to answer, in that server's own type of error.
fn empty(what: &str) -> Problem {
    Problem {
        tei_type: Some("Empty"),
        ..Problem::bad_request(format!("`{what}` cannot be empty; send at least one text"))
    }
}

/// The task of a body with TEI's words; `/predict` leaves it open.
pub(crate) async fn answer(
    call: &Call,
    payload: &Payload,
    task: Option<Task>,
) -> Result<Response, Problem> {
    let hint: Hint = payload.json()?;
    let task = match task {
        Some(task) => task,
        None if hint.query.is_some() => Task::Rerank,
        None => return predict(call, payload.json()?, None).await,
    };
    match task {
        Task::Embed => embed(call, payload.json()?).await,
        Task::Classify => predict(call, payload.json()?, Some(Task::Classify)).await,
        Task::Rerank => rerank(call, payload.json()?).await,
        Task::Tag => Err(Problem::new(
            Code::WrongTask,
            "there is no such body for a model that tags; send `text` or `texts`",
        )),
    }
}

/// Labels, or the one score of a model that reranks: what `/predict` is for. An embedding model that was named first
/// is not asked.
fn predicting(call: &Call, model: Option<&str>) -> Result<Task, Problem> {
    let find = |task| {
        call.app.models.find(Pick {
            task: Some(task),
            ..named(model)
        })
    };
    match find(Task::Classify) {
        Err(problem) if problem.code == Code::WrongTask => match find(Task::Rerank) {
            Ok(_) => Ok(Task::Rerank),
            Err(_) => Err(problem),
        },
        Err(problem) => Err(problem),
        Ok(_) => Ok(Task::Classify),
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
    model: Option<&str>,
    task: Task,
    inputs: Vec<Input>,
    mut options: Options,
) -> Result<(Vec<Prediction>, Receipt), Problem> {
    let nothing = |input: &Input| input.text().is_empty() && input.pair().is_none_or(str::is_empty);
    if inputs.is_empty() || inputs.iter().any(nothing) {
        return Err(empty("inputs"));
    }
    let loaded = call.app.models.find(Pick {
        task: Some(task),
        ..named(model)
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
            ..named(body.model.as_deref())
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
    let (model, inputs) = (body.model.as_deref(), body.inputs.into_inputs());
    let (predictions, receipt) = ask(call, model, Task::Embed, inputs, options).await?;
    let vectors: Vec<&[f32]> = predictions.iter().filter_map(vector).collect();
    let size = vectors.iter().map(|vector| 16 + 13 * vector.len()).sum();
    let rows = vectors.len();
    let json = rows_aside(rows, || reply::to_json_sized(&TeiVectors(vectors), size));
    Ok(receipt.on(reply::json(json)))
}

pub(crate) fn vector(prediction: &Prediction) -> Option<&[f32]> {
    match prediction {
        Prediction::Embedding(vector) => Some(vector),
        _ => None,
    }
}

async fn predict(call: &Call, body: TeiPredict, task: Option<Task>) -> Result<Response, Problem> {
    let model = body.model.as_deref();
    let task = match task {
        Some(task) => task,
        None => predicting(call, model)?,
    };
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
    let labels = task == Task::Classify;
    let options = Options {
        // Every label, best first.
        top_k: labels.then_some(usize::MAX),
        threshold: labels.then_some(f32::MIN),
        raw_scores: body.raw_scores,
        reading: reading(body.truncate, body.truncation_direction),
        ..Options::default()
    };
    let (predictions, receipt) = ask(call, model, task, inputs, options).await?;
    let directory = receipt.loaded.service.model().directory();
    let only = directory.labels().first().map_or("", String::as_str);
    let rows = predictions.iter();
    let mut rows: Vec<Vec<TeiScore<'_>>> = rows.map(|row| scores(row, only)).collect();
    let body = match rows.pop() {
        Some(only) if one => TeiScores::One(only),
        last => TeiScores::More(rows.into_iter().chain(last).collect()),
    };
    Ok(receipt.on(reply::json(reply::to_json(&body))))
}

/// Labels and their scores; `only` is the label of a model that has but one.
fn scores<'a>(prediction: &'a Prediction, only: &'a str) -> Vec<TeiScore<'a>> {
    let labels = match prediction {
        Prediction::Labels(labels) => labels.iter(),
        Prediction::Score(score) => {
            return vec![TeiScore {
                score: *score,
                label: only,
            }];
        }
        _ => return Vec::new(),
    };
    labels
        .map(|one| TeiScore {
            score: one.score,
            label: &one.label,
        })
        .collect()
}

async fn rerank(call: &Call, body: TeiRerank) -> Result<Response, Problem> {
    if body.texts.is_empty() {
        return Err(empty("texts"));
    }
    let loaded = call.app.models.find(Pick {
        task: Some(Task::Rerank),
        ..named(body.model.as_deref())
    })?;
    let count = body.texts.len();
    let mut texts = match body.return_text {
        true => body.texts.iter().cloned().map(Some).collect(),
        false => vec![None; count],
    };
    let (inputs, _held) = predict::pairs(&call.app, &loaded, &body.query, body.texts)?;
    let options = Options {
        raw_scores: body.raw_scores,
        reading: reading(body.truncate, body.truncation_direction),
        ..Options::default()
    };
    let (predictions, receipt) =
        ask(call, body.model.as_deref(), Task::Rerank, inputs, options).await?;
    let mut ranks: Vec<TeiRank> = predictions
        .into_iter()
        .zip(&mut texts)
        .enumerate()
        .map(|(index, (prediction, text))| TeiRank {
            index,
            text: text.take(),
            score: prediction.into_score().unwrap_or_default(),
        })
        .collect();
    // Stable: equal scores keep the order in which the texts came.
    ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(receipt.on(reply::json(reply::to_json(&ranks))))
}

pub(crate) fn tokenize(call: &Call, payload: &Payload) -> Result<Response, Problem> {
    let body: TeiTokenize = payload.json()?;
    let loaded = call.app.models.find(named(body.model.as_deref()))?;
    let texts = match body.inputs {
        OneOrMore::One(text) => vec![text],
        OneOrMore::More(texts) => texts,
    };
    let inputs: Vec<Input> = texts.iter().map(|text| text.as_str().into()).collect();
    let (tokens, _held) = own::tokens(&call.app, &loaded, &inputs, |tokens| tokens)?;
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

/// What the products are computed in, by the names of numbers that clients of that server know.
fn dtype(precision: Precision) -> &'static str {
    match precision {
        Precision::Exact => "float32",
        Precision::Near => "int16",
        Precision::Fast => "int8",
    }
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
        "model_dtype": dtype(model.precision()),
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
