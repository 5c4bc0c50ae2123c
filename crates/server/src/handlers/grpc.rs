//! The Open Inference Protocol over gRPC, and gRPC's own health service: the same models, tensors and limits as
//! over HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use bytes::Bytes;
use engine::Deadline;
use futures_util::{StreamExt, stream};
use prost::Message;

use super::oip::{self as http, EXTENSIONS, READY, specs};
use crate::app::{App, Standing, Tracked};
use crate::call::Call;
use crate::grpc::{self, Asked, Messages, Received, message, messages, replies, reply};
use crate::models::{Loaded, Pick};
use crate::outlet::{Outlet, Unsent, outlet, silent, within};
use crate::predict::Receipt;
use crate::problem::{Code, Problem};
use crate::wire::grpc::{
    ConfigInput, ConfigOutput, ConfigResponse, DataType, Done, DynamicBatching, HealthRequest,
    HealthResponse, IndexRequest, IndexResponse, InferParameter, InferRequest, InferResponse,
    ModelAsked, ModelConfig, ModelMetadata, NothingAsked, OutputAsked, ParameterChoice,
    RepositoryAsked, ServerMetadata, ServingStatus, StatisticsResponse, StreamInferResponse,
    Tensor, TensorContents, TensorMetadata, Truth,
};
use crate::wire::oip::{self, Columns, TensorSpec, Values, bad_input};

/// Requests of one stream that are worked on at once: enough to fill batches.
const AT_ONCE: usize = 32;
/// The service's name, which its health may be asked by.
const SERVICE: &str = "inference.GRPCInferenceService";

/// Reads one message and answers with one.
async fn unary<A, B>(
    mut call: Call,
    answer: impl AsyncFnOnce(&Call, A) -> Result<B, Problem>,
) -> Result<Response, Problem>
where
    A: Asked,
    B: Message + 'static,
{
    let Received {
        message,
        held: _held,
    } = message::<A>(&mut call).await?;
    let answer = answer(&call, message).await?;
    Ok(reply(call.headers(), answer))
}

fn find(app: &App, name: &str, version: &str) -> Result<Arc<Loaded>, Problem> {
    app.models.find(Pick {
        name: Some(name),
        version: Some(version).filter(|version| !version.is_empty()),
        task: None,
    })
}

pub(crate) async fn server_live(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, _: NothingAsked| {
        Ok(Truth {
            is_so: call.app.wedged().is_empty(),
        })
    })
    .await
}

pub(crate) async fn server_ready(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, _: NothingAsked| {
        Ok(Truth {
            is_so: call.app.unready().is_empty(),
        })
    })
    .await
}

/// False for a model that is not loaded; an error for one that is not known.
pub(crate) async fn model_ready(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, asked: ModelAsked| {
        Ok(Truth {
            is_so: is_ready(&call.app, &asked.name, &asked.version)?,
        })
    })
    .await
}

fn is_ready(app: &App, name: &str, version: &str) -> Result<bool, Problem> {
    match find(app, name, version) {
        Ok(loaded) => Ok(loaded.service.health().is_well()),
        Err(problem) if problem.code == Code::Unavailable => Ok(false),
        Err(problem) => Err(problem),
    }
}

pub(crate) async fn server(call: Call) -> Result<Response, Problem> {
    unary(call, async |_, _: NothingAsked| {
        Ok(ServerMetadata {
            name: "batchwright".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        })
    })
    .await
}

pub(crate) async fn model(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, asked: ModelAsked| {
        let loaded = find(&call.app, &asked.name, &asked.version)?;
        let (inputs, outputs) = specs(&loaded);
        let shown = |spec: &TensorSpec| TensorMetadata {
            name: spec.name.to_owned(),
            datatype: spec.datatype.to_owned(),
            shape: vec![-1, spec.width as i64],
        };
        Ok(ModelMetadata {
            name: loaded.name.clone(),
            versions: http::versions(&call.app, &loaded)?,
            platform: "batchwright".to_owned(),
            inputs: inputs.iter().map(shown).collect(),
            outputs: outputs.iter().map(shown).collect(),
        })
    })
    .await
}

pub(crate) async fn config(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, asked: ModelAsked| {
        let loaded = find(&call.app, &asked.name, &asked.version)?;
        let (inputs, outputs) = specs(&loaded);
        let kind = |spec: &TensorSpec| match spec.datatype {
            "BYTES" => DataType::String,
            "FP32" => DataType::Fp32,
            _ => DataType::Invalid,
        };
        let settings = loaded.service.settings();
        let input = inputs.iter().map(|spec| ConfigInput {
            name: spec.name.to_owned(),
            data_type: kind(spec).into(),
            dims: vec![spec.width as i64],
            optional: spec.name == "pair",
        });
        let output = outputs.iter().map(|spec| ConfigOutput {
            name: spec.name.to_owned(),
            data_type: kind(spec).into(),
            dims: vec![spec.width as i64],
        });
        let config = ModelConfig {
            name: loaded.name.clone(),
            platform: "batchwright".to_owned(),
            backend: "batchwright".to_owned(),
            max_batch_size: settings
                .limits
                .texts_per_request
                .try_into()
                .unwrap_or(i32::MAX),
            input: input.collect(),
            output: output.collect(),
            dynamic_batching: Some(DynamicBatching {
                max_queue_delay_microseconds: settings.max_wait.as_micros() as u64,
            }),
        };
        Ok(ConfigResponse {
            config: Some(config),
        })
    })
    .await
}

/// Of one model, or of all that are loaded.
pub(crate) async fn statistics(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, asked: ModelAsked| {
        let models = match asked.name.is_empty() {
            true => call.app.models.loaded().collect(),
            false => vec![find(&call.app, &asked.name, &asked.version)?],
        };
        Ok(StatisticsResponse {
            model_stats: models
                .iter()
                .map(|loaded| http::statistics(loaded))
                .collect(),
        })
    })
    .await
}

pub(crate) async fn index(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, asked: IndexRequest| {
        let models = http::indexed(&call.app);
        let models = models.filter(|model| !asked.ready || model.state == READY);
        Ok(IndexResponse {
            models: models.collect(),
        })
    })
    .await
}

pub(crate) async fn load(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, asked: RepositoryAsked| {
        if let Some(name) = asked.parameters.keys().next() {
            return Err(Problem::new(
                Code::BadOption,
                format!(
                    "the parameter `{name}` cannot be honoured: a model is loaded from where it lies, as the \
                     server was started"
                ),
            ));
        }
        http::load_named(call, &asked.model_name).await?;
        Ok(Done {})
    })
    .await
}

pub(crate) async fn unload(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, asked: RepositoryAsked| {
        http::unload_named(call, &asked.model_name).await?;
        Ok(Done {})
    })
    .await
}

pub(crate) async fn infer(mut call: Call) -> Result<Response, Problem> {
    let Received {
        message,
        held: _held,
    } = message(&mut call).await?;
    let (answer, receipt) = inferred(&call, call.arrived, message).await?;
    Ok(receipt.on(reply(call.headers(), answer)))
}

async fn inferred(
    call: &Call,
    since: Instant,
    ask: InferRequest,
) -> Result<(InferResponse, Receipt), Problem> {
    let loaded = find(&call.app, &ask.model_name, &ask.model_version)?;
    let parameters = &ask.parameters;
    let asked = (
        number(parameters, "timeout")?,
        number(parameters, "priority")?,
    );
    let mut options = http::options(call, loaded.task(), since, asked)?;
    if let Some(at) = grpc::deadline(call)? {
        options.deadline = Deadline::At(match options.deadline {
            Deadline::At(own) => own.min(at),
            Deadline::Default | Deadline::Never => at,
        });
    }
    let inputs = columns(&ask)?.into_inputs()?;
    let wanted = wanted(&ask.outputs, &specs(&loaded).1)?;
    let rows = inputs.len();
    let specs = wanted.iter().copied();
    let (values, receipt) = http::run(Arc::clone(&loaded), inputs, specs, &options).await?;
    let mut answer = InferResponse {
        model_name: loaded.name.clone(),
        model_version: loaded.version.clone(),
        id: ask.id,
        ..InferResponse::default()
    };
    // In the form in which the texts came.
    let is_raw = !ask.raw.is_empty();
    for (spec, values) in wanted.iter().zip(values) {
        let mut tensor = Tensor {
            name: spec.name.to_owned(),
            datatype: spec.datatype.to_owned(),
            shape: vec![rows as i64, spec.width as i64],
            contents: None,
        };
        if is_raw {
            let mut bytes = Vec::new();
            values.pack(&mut bytes);
            answer.raw.push(bytes.into());
        } else {
            tensor.contents = Some(contents(values));
        }
        answer.outputs.push(tensor);
    }
    Ok((answer, receipt))
}

fn contents(values: Values) -> TensorContents {
    match values {
        Values::Floats(fp32) => TensorContents {
            fp32,
            bytes: Vec::new(),
        },
        Values::Texts(texts) => TensorContents {
            fp32: Vec::new(),
            bytes: texts.into_iter().map(Bytes::from).collect(),
        },
    }
}

/// The texts of the inputs: all of them raw, or each in its contents.
fn columns(ask: &InferRequest) -> Result<Columns, Problem> {
    let is_raw = !ask.raw.is_empty();
    if is_raw && ask.raw.len() != ask.inputs.len() {
        return Err(Problem::bad_request(format!(
            "there are {} inputs and {} raw_input_contents; each input needs one",
            ask.inputs.len(),
            ask.raw.len()
        )));
    }
    let mut columns = Columns::default();
    for (at, input) in ask.inputs.iter().enumerate() {
        let bad = |words: String| bad_input(&input.name, words);
        let rows = oip::rows(&input.name, &input.datatype, &input.shape)?;
        let values = match (&input.contents, ask.raw.get(at)) {
            (None, Some(raw)) => oip::unpack(raw).map_err(bad)?,
            (Some(contents), None) => contents
                .bytes
                .iter()
                .enumerate()
                .map(|(at, value)| {
                    let text = std::str::from_utf8(value);
                    text.map(str::to_owned)
                        .map_err(|error| bad(format!("value {at} is not UTF-8: {error}")))
                })
                .collect::<Result<_, _>>()?,
            (Some(_), Some(_)) => {
                return Err(bad("it has `contents` and raw_input_contents".to_owned()));
            }
            // A list of no texts is written as nothing at all.
            (None, None) => Vec::new(),
        };
        if i64::try_from(values.len()) != Ok(rows) {
            return Err(bad(format!(
                "its shape is {:?}, and it has {} values",
                input.shape,
                values.len()
            )));
        }
        columns.add(&input.name, values)?;
    }
    Ok(columns)
}

fn wanted(asked: &[OutputAsked], outputs: &[TensorSpec]) -> Result<Vec<TensorSpec>, Problem> {
    if asked.is_empty() {
        return Ok(outputs.to_vec());
    }
    let one = |output: &OutputAsked| {
        let classes = number(&output.parameters, "classification")?.unwrap_or(0);
        http::named(&output.name, classes > 0, outputs)
    };
    http::once(asked.iter().map(|output| output.name.as_str()))?;
    asked.iter().map(one).collect()
}

/// A parameter that is a number, of whichever type the client wrote it as.
fn number(
    parameters: &HashMap<String, InferParameter>,
    name: &str,
) -> Result<Option<u64>, Problem> {
    let Some(parameter) = parameters.get(name) else {
        return Ok(None);
    };
    let value = match &parameter.choice {
        Some(ParameterChoice::Int64(value)) => u64::try_from(*value).ok(),
        Some(ParameterChoice::Uint64(value)) => Some(*value),
        _ => None,
    };
    value.map(Some).ok_or_else(|| {
        Problem::bad_request(format!(
            "the parameter `{name}` must be a whole number, not below 0"
        ))
    })
}

/// Requests in, answers out, in their order. A request that fails is told so in its answer, and the stream goes on.
pub(crate) async fn stream_infer(mut call: Call) -> Result<Response, Problem> {
    let asked: Messages<InferRequest> = messages(&mut call)?;
    let (out, answers) = outlet(call.app.settings.idle_timeout);
    let headers = call.headers().clone();
    let (running, passing) = (call.app.streams.track(), Arc::clone(&call.passing));
    passing.streams();
    tokio::spawn(async move {
        let status = answer_all(Arc::new(call), asked, out).await;
        passing.ended(status.unwrap_or_else(Unsent::status));
        drop(running);
    });
    let broken = || Problem::new(Code::SlowRequest, "the answers were not read in time");
    let answers = answers.stream(broken).map(|answer| answer.flatten());
    Ok(replies(&headers, answers))
}

/// Answers what is asked until there is no more, the server stops, or the client stands still; gives the status by which
/// that is counted.
async fn answer_all(
    call: Arc<Call>,
    asked: Messages<InferRequest>,
    out: Outlet<Result<StreamInferResponse, Problem>>,
) -> Result<u16, Unsent> {
    let (app, working) = (Arc::clone(&call.app), Tracked::default());
    let idle = app.settings.idle_timeout;
    let counted = working.clone();
    let asked = stream::unfold(asked, move |mut asked| {
        let working = working.clone();
        async move {
            Some((
                next_of(&mut asked, idle, &working).await.transpose()?,
                asked,
            ))
        }
    });
    let answers = asked
        // What has been asked is answered; then the client is to go elsewhere.
        .take_until(stop(Arc::clone(&app)))
        .map(|asked| {
            let (call, running) = (Arc::clone(&call), counted.track());
            async move {
                let answer = streamed(call, asked).await;
                drop(running);
                answer
            }
        })
        .buffered(AT_ONCE);
    tokio::pin!(answers);
    loop {
        let answer = tokio::select! {
            biased;
            answer = answers.next() => answer,
            () = out.closed() => return Err(Unsent::Gone),
        };
        let status = match &answer {
            Some(Ok(_)) => None,
            Some(Err(problem)) => Some(problem.code.status().as_u16()),
            None => break,
        };
        if let Some(answer) = answer {
            out.send(answer).await?;
        }
        if let Some(status) = status {
            return Ok(status);
        }
    }
    if app.is_stopping() {
        let words = "the server is stopping; ask another";
        out.send(Err(Problem::new(Code::Unavailable, words)))
            .await?;
    }
    out.end().await.map(|()| 200)
}

/// The next request, if the client sends one in time; it has none while it waits for an answer.
async fn next_of(
    asked: &mut Messages<InferRequest>,
    idle: Option<Duration>,
    working: &Tracked,
) -> Result<Option<Received<InferRequest>>, Problem> {
    loop {
        match within(idle, asked.next()).await {
            Some(next) => return next,
            None if working.count() > 0 => {}
            None => return Err(silent(idle)),
        }
    }
}

async fn streamed(
    call: Arc<Call>,
    asked: Result<Received<InferRequest>, Problem>,
) -> Result<StreamInferResponse, Problem> {
    let Received {
        message,
        held: _held,
    } = asked?;
    let id = message.id.clone();
    // A request's time begins when it has come; that of `grpc-timeout` is the stream's.
    Ok(match inferred(&call, Instant::now(), message).await {
        Ok((answer, _)) => StreamInferResponse {
            error: String::new(),
            response: Some(answer),
        },
        Err(problem) => StreamInferResponse {
            error: problem.to_string(),
            response: Some(InferResponse {
                id,
                ..InferResponse::default()
            }),
        },
    })
}

/// Until the server is told to stop.
async fn stop(app: Arc<App>) {
    app.stopped().await;
}

/// How it stands with the server, the service, or a model by its name.
fn serving(app: &App, service: &str) -> Result<ServingStatus, Problem> {
    let serves = match service {
        "" | SERVICE => app.unready().is_empty(),
        model => is_ready(app, model, "")? && !app.is_stopping(),
    };
    Ok(match serves {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    })
}

pub(crate) async fn health(call: Call) -> Result<Response, Problem> {
    unary(call, async |call, asked: HealthRequest| {
        let status = serving(&call.app, &asked.service)?.into();
        Ok(HealthResponse { status })
    })
    .await
}

/// Says how it stands now, and again whenever that changes, until the server has stopped.
pub(crate) async fn watch(mut call: Call) -> Result<Response, Problem> {
    let Received { message, .. } = message::<HealthRequest>(&mut call).await?;
    let states = stream::unfold((None, call.app.watch()), move |(told, mut watcher)| {
        let service = message.service.clone();
        async move {
            loop {
                let (now, is_stopping) = {
                    let standing = watcher.borrow_and_update();
                    (watched(&standing, &service), standing.is_stopping)
                };
                if told != Some(now) {
                    let answer = HealthResponse { status: now.into() };
                    return Some((Ok(answer), (Some(now), watcher)));
                }
                // The last word before the server stops is that it does.
                if is_stopping {
                    return None;
                }
                watcher.changed().await.ok()?;
            }
        }
    });
    Ok(replies(call.headers(), states))
}

/// As `grpc.health.v1` has it for who watches: a name that is not known is no error.
fn watched(standing: &Standing, service: &str) -> ServingStatus {
    let model = Some(service).filter(|name| !name.is_empty() && *name != SERVICE);
    match standing.serves(model) {
        Some(true) => ServingStatus::Serving,
        Some(false) => ServingStatus::NotServing,
        None => ServingStatus::ServiceUnknown,
    }
}
