//! From what any protocol asks to answers of the engine: the one way that all of them take.

use std::sync::Arc;
use std::time::Instant;

use axum::response::Response;
use engine::{
    Admitted, CacheUse, Deadline, Input, Model, Prediction, Priority, ProblemType, PromptPooling,
    Reading, Refused, Rendering, Request, RowError, Scores, Served, Service, Task, Ticket, Timing,
};
use hyper::header::HeaderName;

use crate::app::App;
use crate::aside::aside;
use crate::models::Loaded;
use crate::permits::Held;
use crate::problem::{Code, Limit, Problem};
use crate::traces::Spent;
use crate::wire::own::{Ask, Columns};

/// Requests with more bytes of text than this are tokenised where they hold up no other.
const LONG_BYTES: usize = 16 << 10;

/// The options that mean something to some tasks alone.
pub(crate) const OPTIONS_OF: [(&str, &[Task]); 5] = [
    ("top_k", &[Task::Classify]),
    ("threshold", &[Task::Classify, Task::Tag]),
    ("raw_scores", &[Task::Classify, Task::Rerank]),
    ("aggregation", &[Task::Tag]),
    ("dimensions", &[Task::Embed]),
];

/// How answers are wanted, in the engine's words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) top_k: Option<usize>,
    pub(crate) threshold: Option<f32>,
    pub(crate) raw_scores: bool,
    pub(crate) aggregation: Option<engine::Aggregation>,
    pub(crate) dimensions: Option<usize>,
    pub(crate) reading: Reading,
    /// Instead of the model's own; empty for none.
    pub(crate) prompt: Option<String>,
    pub(crate) priority: Priority,
    pub(crate) deadline: Deadline,
    /// When the request came.
    pub(crate) arrived: Option<Instant>,
    pub(crate) cache: CacheUse,
    /// Whether somebody wants to know what it cost beyond the headers.
    pub(crate) is_traced: bool,
}

/// What came of a request.
pub(crate) struct Answered {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) predictions: Vec<Result<Prediction, RowError>>,
    pub(crate) timing: Timing,
    pub(crate) tokens: u64,
    pub(crate) cached: usize,
    /// When the texts were handed to the model, where that is traced.
    submitted: Option<Instant>,
}

impl Options {
    /// The options of a request of our own.
    pub(crate) fn of(ask: &Ask) -> Self {
        Self {
            top_k: ask.top_k,
            threshold: ask.threshold,
            raw_scores: ask.raw_scores.unwrap_or_default(),
            aggregation: ask.aggregation.map(Into::into),
            dimensions: ask.dimensions,
            reading: Reading {
                truncate: ask.truncate.map(Into::into),
                on_long: ask.on_long.map(Into::into),
                max_tokens: ask.max_tokens,
            },
            prompt: None,
            priority: ask.priority.map(Into::into).unwrap_or_default(),
            deadline: Deadline::Default,
            arrived: None,
            is_traced: false,
            cache: match ask.cache {
                Some(false) => CacheUse::No,
                _ => CacheUse::Yes,
            },
        }
    }

    /// Refuses an option that means nothing to this model, or whose value cannot be honoured.
    pub(crate) fn check(&self, model: &Model) -> Result<(), Problem> {
        let task = model.task();
        let bad = |words: String| Err(Problem::new(Code::BadOption, words));
        let given = [
            self.top_k.is_some(),
            self.threshold.is_some(),
            self.raw_scores,
            self.aggregation.is_some(),
            self.dimensions.is_some(),
        ];
        for ((name, tasks), given) in OPTIONS_OF.into_iter().zip(given) {
            if given && !tasks.contains(&task) {
                let names: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
                return bad(format!(
                    "`{name}` means something to {} alone, and this model is to {task}; leave it out",
                    names.join(" and ")
                ));
            }
        }
        if self.top_k == Some(0) {
            return bad("`top_k` is 0; it must be at least 1".to_owned());
        }
        if self.reading.max_tokens == Some(0) {
            return bad("`max_tokens` is 0; it must be at least 1".to_owned());
        }
        if self
            .threshold
            .is_some_and(|threshold| !threshold.is_finite())
        {
            return bad("`threshold` is beyond what a score can be".to_owned());
        }
        match self.dimensions {
            Some(wanted) if !(1..=model.outputs()).contains(&wanted) => bad(format!(
                "`dimensions` is {wanted}; this model's vectors have 1 to {}",
                model.outputs()
            )),
            _ => Ok(()),
        }
    }

    /// Which prompt is meant: words of the request's own, or those that the model has under a name.
    pub(crate) fn set_prompt(
        &mut self,
        prompt: Option<String>,
        name: Option<&str>,
        model: &Model,
    ) -> Result<(), Problem> {
        let bad = |words: String| Problem::new(Code::BadOption, words);
        self.prompt = match (prompt, name) {
            (None, None) => return Ok(()),
            (Some(_), Some(_)) => {
                return Err(bad("send `prompt` or `prompt_name`, not both".to_owned()));
            }
            (Some(words), None) => Some(words),
            (None, Some(name)) => {
                let prompts = model.directory().prompts();
                let found = prompts.get(name).map(str::to_owned);
                Some(found.ok_or_else(|| {
                    let known: Vec<&str> = prompts.names().collect();
                    let known = match known.is_empty() {
                        true => "none".to_owned(),
                        false => known.join(", "),
                    };
                    bad(format!(
                        "`prompt_name` is `{name}`; the model has no such prompt, it has {known}"
                    ))
                })?)
            }
        };
        if model.directory().prompt_pooling() == PromptPooling::Excluded {
            return Err(bad(
                "this model leaves its prompt out of pooling, which takes one prompt for all requests: choose it \
                 when the server is started, with --prompt or --prompt-name"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    fn rendering(&self) -> Rendering {
        Rendering {
            top_k: self.top_k,
            threshold: self.threshold,
            scores: if self.raw_scores {
                Scores::Raw
            } else {
                Scores::Probabilities
            },
            aggregation: self.aggregation.unwrap_or_default(),
        }
    }

    /// The columns of a classifier's answers.
    pub(crate) fn columns(&self, model: &Model) -> Columns {
        match (model.directory().problem_type(), self.top_k) {
            (ProblemType::Regression, _) if model.outputs() == 1 => Columns::Score,
            (ProblemType::SingleLabel, None | Some(1)) => Columns::One,
            _ => Columns::Many,
        }
    }
}

/// A query beside each of its passages. Every pair has a copy of the query: whether there may be so many bytes is
/// asked before the first is made, and they are counted as bodies are, for as long as the second is kept.
pub(crate) fn pairs(
    app: &App,
    loaded: &Loaded,
    query: &str,
    passages: Vec<String>,
) -> Result<(Vec<Input>, Held), Problem> {
    let limits = loaded.service.settings().limits;
    let count = passages.len();
    if count > limits.texts_per_request {
        let most = limits.texts_per_request;
        return Err(Problem::too_large("max_texts", count, most, "the passages"));
    }
    let bytes = query.len().saturating_mul(count);
    for (name, most) in [
        ("max_bytes_in_flight", limits.bytes),
        (
            "max_body_bytes_in_flight",
            app.settings.max_body_bytes_in_flight,
        ),
    ] {
        if bytes > most {
            let what = "the query's bytes, once for each passage";
            return Err(Problem::too_large(name, bytes, most, what));
        }
    }
    let held = app.body_bytes.hold(bytes)?;
    let pair = |passage| Input::Pair(query.to_owned(), passage);
    Ok((passages.into_iter().map(pair).collect(), held))
}

/// Hands texts to a model.
async fn submit(loaded: &Loaded, inputs: Vec<Input>, options: &Options) -> Result<Ticket, Refused> {
    hand_over(loaded, inputs, options, Service::admit).await
}

/// The same for those that come again if there is no room.
pub(crate) async fn offer(
    loaded: &Loaded,
    inputs: Vec<Input>,
    options: &Options,
) -> Result<Ticket, Refused> {
    hand_over(loaded, inputs, options, Service::offer).await
}

/// Nothing stands still here: texts that memory knows are answered at once, and a cache on disk or at a server is asked
/// on another thread.
async fn hand_over(
    loaded: &Loaded,
    inputs: Vec<Input>,
    options: &Options,
    admit: fn(&Service, Request) -> Result<Admitted, Refused>,
) -> Result<Ticket, Refused> {
    let length = |input: &Input| input.text().len() + input.pair().map_or(0, str::len);
    let bytes: usize = inputs.iter().map(length).sum();
    // It is put before every text.
    let prompt = options.prompt.as_ref().map_or(0, String::len);
    let bytes = bytes.saturating_add(prompt.saturating_mul(inputs.len()));
    let request = Request {
        inputs,
        priority: options.priority,
        deadline: options.deadline,
        arrived: options.arrived,
        cache: options.cache,
        reading: options.reading,
        prompt: options.prompt.clone(),
    };
    let admitted = match bytes > LONG_BYTES {
        true => aside(|| admit(&loaded.service, request))?,
        false => admit(&loaded.service, request)?,
    };
    if !admitted.may_wait() {
        return admitted.submit();
    }
    let submitting = tokio::task::spawn_blocking(|| admitted.submit());
    match submitting.await {
        Ok(submitted) => submitted,
        Err(error) => match error.try_into_panic() {
            // The gate's to answer, as if it had happened here.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Refused::Closed),
        },
    }
}

/// Texts in, predictions out.
pub(crate) async fn answer(
    loaded: Arc<Loaded>,
    inputs: Vec<Input>,
    options: &Options,
) -> Result<Answered, Problem> {
    if inputs.is_empty() {
        return Err(Problem::bad_request(
            "there is no text in the list; send at least one",
        ));
    }
    options.check(loaded.service.model())?;
    let submitted = options.is_traced.then(Instant::now);
    let ticket = submit(&loaded, inputs, options).await;
    let served = ticket.map_err(refused)?.await;
    Ok(Answered {
        submitted,
        ..render(loaded, served, options)
    })
}

/// Makes predictions of answers, and counts them.
pub(crate) fn render(loaded: Arc<Loaded>, served: Served, options: &Options) -> Answered {
    let Served {
        answers,
        timing,
        tokens,
        cached,
    } = served;
    let model = loaded.service.model().with_rendering(options.rendering());
    let predictions = answers.into_iter().map(|answer| {
        let mut prediction = model.render(&answer?);
        if let (Some(dimensions), Prediction::Embedding(vector)) =
            (options.dimensions, &mut prediction)
        {
            shorten(&model, vector, dimensions);
        }
        loaded.tally.count(&prediction);
        Ok(prediction)
    });
    let predictions = predictions.collect();
    Answered {
        loaded,
        predictions,
        timing,
        tokens,
        cached,
        submitted: None,
    }
}

/// Cuts a vector. One that had length 1 has it again.
fn shorten(model: &Model, vector: &mut Vec<f32>, dimensions: usize) {
    if dimensions >= vector.len() {
        return;
    }
    vector.truncate(dimensions);
    if model.directory().normalizes() == engine::Normalize::Yes {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            for value in vector {
                *value /= length;
            }
        }
    }
}

impl Answered {
    /// The predictions, if every text has one: for protocols that have no place for the error of one.
    pub(crate) fn all(self) -> Result<(Vec<Prediction>, Receipt), Problem> {
        let receipt = self.receipt();
        let mut all = Vec::with_capacity(self.predictions.len());
        for (row, prediction) in self.predictions.into_iter().enumerate() {
            all.push(prediction.map_err(|error| Problem::of_row(row, &error))?);
        }
        Ok((all, receipt))
    }

    /// If no text has an answer: why the first has none.
    pub(crate) fn spoilt(&self) -> Option<Problem> {
        match self.predictions.first() {
            Some(Err(error)) if self.predictions.iter().all(Result::is_err) => {
                Some(Problem::of_row(0, error))
            }
            _ => None,
        }
    }

    pub(crate) fn receipt(&self) -> Receipt {
        Receipt {
            loaded: Arc::clone(&self.loaded),
            timing: self.timing,
            tokens: self.tokens,
            submitted: self.submitted,
        }
    }
}

/// What a request cost and who answered it, for the response's headers.
pub(crate) struct Receipt {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) timing: Timing,
    pub(crate) tokens: u64,
    submitted: Option<Instant>,
}

impl Receipt {
    /// Puts it into a response's headers, times in microseconds; and beside them for the gate, where it is traced.
    pub(crate) fn on(&self, mut response: Response) -> Response {
        if let Some(submitted) = self.submitted {
            response.extensions_mut().insert(Spent {
                loaded: Arc::clone(&self.loaded),
                submitted,
                timing: self.timing,
                tokens: self.tokens,
            });
        }
        let headers = response.headers_mut();
        let Timing {
            prepare,
            queue,
            compute,
            total,
        } = self.timing;
        let micros = [prepare, queue, compute, total].map(|time| time.as_micros() as u64);
        for (name, value) in TIMES.iter().zip(micros) {
            headers.insert(name, value.into());
        }
        headers.insert(&MODEL_LOAD, self.loaded.load.into());
        response
    }
}

/// What of its time a request has spent with what, in the order of [`Timing`].
static TIMES: [HeaderName; 4] = [
    HeaderName::from_static("x-prepare-time-us"),
    HeaderName::from_static("x-queue-time-us"),
    HeaderName::from_static("x-compute-time-us"),
    HeaderName::from_static("x-total-time-us"),
];
static MODEL_LOAD: HeaderName = HeaderName::from_static("x-model-load");

/// What the engine calls a limit, and what the flag that sets it is called.
const LIMITS: &[(&str, &str)] = &[
    ("requests", "max_requests"),
    ("texts_per_request", "max_texts"),
    ("tokens", "max_tokens_in_flight"),
    ("bytes", "max_bytes_in_flight"),
    ("queue.entries", "max_queue"),
    ("queue.tokens", "max_queue_tokens"),
    ("queue.bytes", "max_queue_bytes"),
    // As they stand among the settings.
    ("limits.requests", "max_requests"),
    ("limits.texts_per_request", "max_texts"),
    ("limits.tokens", "max_tokens_in_flight"),
    ("limits.bytes", "max_bytes_in_flight"),
    ("batch_rows", "batch_size"),
    ("max_wait", "max_wait_us"),
    ("ageing", "ageing_ms"),
    // The request's own, or that of `--default-deadline-ms`.
    ("wait_ms", "deadline_ms"),
];

/// A limit by the name of its flag.
pub(crate) fn limit_name(name: &'static str) -> &'static str {
    let found = LIMITS.iter().find(|(known, _)| *known == name);
    found.map_or(name, |(_, flag)| flag)
}

/// A refusal in this server's codes.
pub(crate) fn refused(why: Refused) -> Problem {
    match why {
        Refused::Closed => Problem::new(Code::Unavailable, why.to_string())
            .after(std::time::Duration::from_secs(1)),
        Refused::TooMany {
            limit,
            value,
            most,
            retry_after,
        } => {
            let name = limit_name(limit);
            let message = format!(
                "too much at once: {name} would be {value} and may be {most}; try again in {:.1} s",
                retry_after.as_secs_f64()
            );
            Problem {
                limit: Some(Limit { name, value, most }),
                ..Problem::new(Code::Overloaded, message).after(retry_after)
            }
        }
        Refused::TooLarge { limit, value, most } => {
            let name = limit_name(limit);
            let message = format!(
                "the request is too large: {name} is {value} and may be {most}; send it in parts, or through \
                 /predict/stream"
            );
            Problem {
                limit: Some(Limit { name, value, most }),
                ..Problem::new(Code::TooLarge, message)
            }
        }
    }
}

impl Options {
    /// What the headers say, where the body says nothing.
    pub(crate) fn by_headers(
        &mut self,
        call: &crate::call::Call,
        priority_is_said: bool,
    ) -> Result<(), Problem> {
        self.is_traced = call.app.traces.is_some();
        self.arrived = Some(call.arrived);
        let deadline = call.deadline()?;
        if self.deadline == Deadline::Default {
            self.deadline = deadline.into();
        }
        let priority = call.priority()?;
        if !priority_is_said {
            self.priority = priority;
        }
        Ok(())
    }
}
