//! `/predict`, `/embed`, `/classify`, `/rerank`, `/tag`, `/tokenize`: our own bodies, or the Text
//! Embeddings Inference server's where the body has its words.

use axum::response::Response;
use engine::{Input, Task};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::tei;
use crate::app::App;
use crate::aside::{aside, rows_aside};
use crate::call::{Call, Payload};
use crate::models::{Loaded, Pick};
use crate::permits::Held;
use crate::predict::{Answered, Options, answer, pairs};
use crate::problem::Problem;
use crate::reply;
use crate::routes::Protocol;
use crate::wire::own::{
    Ask, PredictAnswer, RowAnswer, TokenizeAnswer, TokenizeAsk, TokensAnswer, Usage,
};

/// Bytes that a byte of text takes as tokens: ids, spans and words, and these as JSON.
const TOKENIZED: usize = 16;

pub(crate) async fn predict(call: Call) -> Result<Response, Problem> {
    by_words(call, None).await
}

pub(crate) async fn embed(call: Call) -> Result<Response, Problem> {
    by_words(call, Some(Task::Embed)).await
}

pub(crate) async fn classify(call: Call) -> Result<Response, Problem> {
    by_words(call, Some(Task::Classify)).await
}

pub(crate) async fn rerank(call: Call) -> Result<Response, Problem> {
    by_words(call, Some(Task::Rerank)).await
}

pub(crate) async fn tag(call: Call) -> Result<Response, Problem> {
    by_words(call, Some(Task::Tag)).await
}

/// The keys that tell whose words a body uses.
#[derive(Deserialize)]
struct Words {
    inputs: Option<IgnoredAny>,
    query: Option<IgnoredAny>,
    texts: Option<IgnoredAny>,
}

/// `inputs`, or `query` with `texts`, are the other server's; everything else is ours.
pub(crate) fn are_tei(payload: &Payload) -> Result<bool, Problem> {
    let words: Words = payload.json()?;
    Ok(words.inputs.is_some() || (words.query.is_some() && words.texts.is_some()))
}

async fn by_words(mut call: Call, task: Option<Task>) -> Result<Response, Problem> {
    let payload = call.payload().await?;
    // That server has nothing that tags.
    if task != Some(Task::Tag) && are_tei(&payload)? {
        let answered = tei::answer(&call, &payload, task).await;
        return answered.map_err(|problem| problem.said_as(Protocol::TextEmbeddings));
    }
    let mut ask: Ask = payload.json()?;
    let texts = texts(&mut ask)?;
    let loaded = call.app.models.find(Pick {
        name: ask.model.as_deref(),
        version: ask.version.as_deref(),
        task,
    })?;
    let (inputs, _held) = texts.inputs(&call.app, &loaded)?;
    let mut options = Options::of(&ask);
    options.deadline = ask.deadline_ms.and_then(|ms| call.in_ms(ms)).into();
    options.by_headers(&call, ask.priority.is_some())?;
    let model = loaded.service.model();
    options.set_prompt(ask.prompt.take(), ask.prompt_name.as_deref(), model)?;
    let answered = answer(loaded, inputs, &options).await?;
    write(&answered, &options)
}

/// The texts as they came: not multiplied out yet.
pub(crate) enum Texts {
    Rows(Vec<Input>),
    Passages {
        query: String,
        passages: Vec<String>,
    },
}

impl Texts {
    /// As the model takes them, and what they take of the bytes in memory beyond the body.
    fn inputs(self, app: &App, loaded: &Loaded) -> Result<(Vec<Input>, Held), Problem> {
        match self {
            Self::Rows(rows) => Ok((rows, app.body_bytes.hold(0)?)),
            Self::Passages { query, passages } => pairs(app, loaded, &query, passages),
        }
    }
}

/// The texts, in whichever of their forms they came.
pub(crate) fn texts(ask: &mut Ask) -> Result<Texts, Problem> {
    let (text, texts) = (ask.text.take(), ask.texts.take());
    match (text, texts, ask.query.take(), ask.passages.take()) {
        (Some(text), None, None, None) => Ok(Texts::Rows(vec![text.into()])),
        (None, Some(texts), None, None) => {
            Ok(Texts::Rows(texts.into_iter().map(Into::into).collect()))
        }
        (None, None, Some(query), Some(passages)) => Ok(Texts::Passages { query, passages }),
        (None, None, None, None) => Err(Problem::bad_request(
            "there is no text; send `text`, `texts`, or `query` with `passages`",
        )),
        (None, None, Some(_), None) => Err(Problem::bad_request(
            "`query` comes alone; send the texts to score against it as `passages`",
        )),
        (None, None, None, Some(_)) => Err(Problem::bad_request(
            "`passages` come alone; send what to score them against as `query`",
        )),
        _ => Err(Problem::bad_request(
            "send one of `text`, `texts`, and `query` with `passages`, not several",
        )),
    }
}

fn write(answered: &Answered, options: &Options) -> Result<Response, Problem> {
    if let Some(problem) = answered.spoilt() {
        return Err(problem);
    }
    let model = answered.loaded.service.model();
    let columns = options.columns(model);
    let rows = answered.predictions.iter();
    let body = PredictAnswer {
        model: &answered.loaded.name,
        version: &answered.loaded.version,
        results: rows.map(|row| RowAnswer::of(row, columns)).collect(),
        usage: Usage {
            tokens: answered.tokens,
            cached: answered.cached,
        },
    };
    let rows = answered.predictions.len();
    let size = 256 + rows * (64 + 13 * model.outputs());
    let json = rows_aside(rows, || reply::to_json_sized(&body, size));
    Ok(answered.receipt().on(reply::json(json)))
}

pub(crate) async fn tokenize(mut call: Call) -> Result<Response, Problem> {
    let payload = call.payload().await?;
    if are_tei(&payload)? {
        let tokens = tei::tokenize(&call, &payload);
        return tokens.map_err(|problem| problem.said_as(Protocol::TextEmbeddings));
    }
    let ask: TokenizeAsk = payload.json()?;
    let mut texts = Ask {
        text: ask.text,
        texts: ask.texts,
        ..Ask::default()
    };
    let texts = self::texts(&mut texts)?;
    let loaded = call.app.models.find(Pick {
        name: ask.model.as_deref(),
        version: ask.version.as_deref(),
        task: None,
    })?;
    let (inputs, _held) = texts.inputs(&call.app, &loaded)?;
    let mut options = Options::default();
    let model = loaded.service.model();
    options.set_prompt(ask.prompt, ask.prompt_name.as_deref(), model)?;
    let prompt = options.prompt.as_deref();
    let (results, _counted) =
        tokens_after(&call.app, &loaded, prompt, &inputs, |tokens| TokensAnswer {
            count: tokens.ids.len(),
            truncated: tokens.truncated,
            offsets: tokens
                .spans
                .iter()
                .map(|span| (span.start, span.end))
                .collect(),
            ids: tokens.ids,
            tokens: tokens.tokens,
        })?;
    Ok(reply::json(reply::to_json(&TokenizeAnswer {
        model: &loaded.name,
        results,
    })))
}

/// Tokens of each text, and what they take of the bytes in memory. No more texts and tokens than a request to predict
/// may have.
pub(crate) fn tokens<T>(
    app: &App,
    loaded: &Loaded,
    inputs: &[Input],
    shown: impl Fn(engine::Tokens) -> T,
) -> Result<(Vec<T>, Held), Problem> {
    tokens_after(app, loaded, None, inputs, shown)
}

/// The same behind another prompt than the model's own.
fn tokens_after<T>(
    app: &App,
    loaded: &Loaded,
    prompt: Option<&str>,
    inputs: &[Input],
    shown: impl Fn(engine::Tokens) -> T,
) -> Result<(Vec<T>, Held), Problem> {
    let limits = loaded.service.settings().limits;
    let most = limits.texts_per_request;
    if inputs.len() > most {
        return Err(Problem::too_large(
            "max_texts",
            inputs.len(),
            most,
            "the texts",
        ));
    }
    let held = room_for_tokens(app, prompt, inputs)?;
    let model = loaded.service.model();
    let mut count = 0;
    let all = inputs.iter().enumerate().map(|(row, input)| {
        let tokens = match prompt {
            Some(prompt) => model.tokenize_with_prompt(input, prompt),
            None => model.tokenize(input),
        };
        let tokens = tokens.map_err(|error| Problem::of_row(row, &error))?;
        count += tokens.ids.len();
        if count > limits.tokens {
            let (name, what) = ("max_tokens_in_flight", "the tokens of the texts so far");
            return Err(Problem::too_large(name, count, limits.tokens, what));
        }
        Ok(shown(tokens))
    });
    let tokens: Result<Vec<T>, Problem> = aside(|| all.collect());
    Ok((tokens?, held))
}

/// Counts what tokens will take among the bytes of bodies.
fn room_for_tokens(app: &App, prompt: Option<&str>, inputs: &[Input]) -> Result<Held, Problem> {
    let length = |input: &Input| input.text().len() + input.pair().map_or(0, str::len);
    let texts: usize = inputs.iter().map(length).sum();
    let prompts = prompt.map_or(0, str::len).saturating_mul(inputs.len());
    let bytes = texts.saturating_add(prompts).saturating_mul(TOKENIZED);
    let most = app.settings.max_body_bytes_in_flight;
    if bytes > most {
        let what = format!("the tokens, at {TOKENIZED} bytes for each byte of text,");
        return Err(Problem::too_large(
            "max_body_bytes_in_flight",
            bytes,
            most,
            &what,
        ));
    }
    app.body_bytes.hold(bytes)
}
