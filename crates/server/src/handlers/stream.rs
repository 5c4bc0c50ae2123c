//! `/predict/stream`: JSON Lines in, JSON Lines out, in their order and in constant memory.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use engine::{Input, Refused, RowError, Ticket};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::own;
use crate::app::App;
use crate::call::{Call, from_json, words};
use crate::models::{Loaded, Pick};
use crate::permits::Held;
use crate::predict::{self, Options};
use crate::problem::Problem;
use crate::reply;
use crate::wire::own::{Ask, RowAnswer};
use crate::wire::rows::Row;

/// Lines that are handed to the model together.
const LINES: usize = 32;
/// Such groups that may be on their way: enough to fill batches, few enough to be small.
const GROUPS: usize = 16;
/// How long the model is left alone when it has no room.
const PAUSE: Duration = Duration::from_millis(5);

/// A line: a text or a pair by itself, or with an `id` that comes back.
#[derive(Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a line must be a string, a list of two strings, or an object with `text`"
)]
pub(crate) enum Line {
    Bare(Row),
    Named(NamedLine),
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct NamedLine {
    /// Anything; it stands in the answer's line.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    id: Option<serde_json::Value>,
    text: Row,
}

/// The answer to a line.
#[derive(Serialize, ToSchema)]
pub(crate) struct LineAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    id: Option<&'a RawValue>,
    #[serde(flatten)]
    row: RowAnswer<'a>,
}

/// Lines that go through the model together, and what is to stand before their answers.
struct Group {
    lines: Vec<(Option<String>, Result<(), RowError>)>,
    ticket: Option<Ticket>,
    _held: Held,
}

/// A stream on its way.
struct Stream {
    app: Arc<App>,
    loaded: Arc<Loaded>,
    options: Options,
    out: mpsc::Sender<Result<Bytes, std::io::Error>>,
    groups: VecDeque<Group>,
    /// Lines read, for messages.
    read: u64,
}

pub(crate) async fn predict(call: Call) -> Result<Response, Problem> {
    let mut ask: Ask = call.query()?;
    if own::inputs(&mut ask).is_ok() {
        return Err(Problem::bad_request(
            "the texts of a stream stand in its body, one a line",
        ));
    }
    let loaded = call.app.models.find(Pick {
        name: ask.model.as_deref(),
        version: ask.version.as_deref(),
        task: None,
    })?;
    let mut options = Options::of(&ask);
    options.by_headers(&call, ask.priority.is_some())?;
    // A stream has no end that could be late.
    options.deadline = None;
    options.check(loaded.service.model())?;
    // One piece is in the channel, one is being sent: a client that does not read stops the stream.
    let (out, answers) = mpsc::channel(1);
    let stream = Stream {
        app: Arc::clone(&call.app),
        loaded,
        options,
        out,
        groups: VecDeque::new(),
        read: 0,
    };
    let running = call.app.streams.track();
    let body = call
        .body
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    tokio::spawn(async move {
        stream.run(body).await;
        drop(running);
    });
    let pieces = futures_util::stream::unfold(answers, |mut answers| async {
        answers.recv().await.map(|piece| (piece, answers))
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(reply::of(Body::from_stream(pieces), kind))
}

impl Stream {
    async fn run(mut self, mut body: Body) {
        if let Err(problem) = self.pass(&mut body).await {
            // The status is long sent: the last line says what happened, and the chunked body ends broken,
            // so that nobody takes a part for the whole.
            let error = RowError::new(problem.code.name(), problem.message.clone());
            let mut line = Vec::new();
            write(&mut line, None, &Err(error), &self);
            let _ = self.out.send(Ok(line.into())).await;
            let _ = self
                .out
                .send(Err(std::io::Error::other(problem.message)))
                .await;
        }
    }

    async fn pass(&mut self, body: &mut Body) -> Result<(), Problem> {
        let most = self.app.settings.max_body_bytes;
        let mut rest = BytesMut::new();
        let mut lines: Vec<Bytes> = Vec::new();
        loop {
            // Answers that are there go out before more is read.
            let frame = tokio::select! {
                biased;
                sent = front(&mut self.groups), if !self.groups.is_empty() => {
                    if !self.send(sent).await {
                        return Ok(());
                    }
                    continue;
                }
                frame = body.frame(), if self.groups.len() < GROUPS => frame,
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| {
                Problem::bad_request(format!("the body broke off: {}", words(&error)))
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            // What was searched before has no end of a line.
            let mut searched = rest.len();
            rest.extend_from_slice(&data);
            while let Some(end) = rest[searched..].iter().position(|&byte| byte == b'\n') {
                lines.push(rest.split_to(searched + end + 1).freeze());
                searched = 0;
            }
            if rest.len() > most {
                return Err(Problem::too_large(
                    "max_body_bytes",
                    rest.len(),
                    most,
                    "a line's bytes",
                ));
            }
            let limits = self.loaded.service.settings().limits;
            for group in lines.chunks(LINES.min(limits.texts_per_request.max(1))) {
                if !self.push(group).await? {
                    return Ok(());
                }
            }
            lines.clear();
        }
        if !rest.is_empty() && !self.push(&[rest.freeze()]).await? {
            return Ok(());
        }
        while !self.groups.is_empty() {
            let served = front(&mut self.groups).await;
            if !self.send(served).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands lines to the model, waiting for room. `false` once nobody listens.
    async fn push(&mut self, lines: &[Bytes]) -> Result<bool, Problem> {
        while self.groups.len() >= GROUPS {
            let served = front(&mut self.groups).await;
            if !self.send(served).await {
                return Ok(false);
            }
        }
        let mut inputs: Vec<Input> = Vec::with_capacity(lines.len());
        let mut group = Vec::with_capacity(lines.len());
        let mut bytes = 0;
        for line in lines {
            self.read += 1;
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            bytes += line.len();
            let (id, row) = match from_json::<Line>(line) {
                Ok(Line::Bare(row)) => (None, Ok(row)),
                Ok(Line::Named(NamedLine { id, text })) => (id.map(|id| id.to_string()), Ok(text)),
                Err(problem) => {
                    let words = problem
                        .message
                        .replace("the body:", &format!("line {}:", self.read));
                    (None, Err(RowError::new("bad_request", words)))
                }
            };
            group.push((id, row.map(|row| inputs.push(row.into()))));
        }
        if group.is_empty() {
            return Ok(true);
        }
        let held = self.room(bytes).await;
        let Some(held) = held else { return Ok(false) };
        let ticket = match inputs.is_empty() {
            true => None,
            false => match self.submit(inputs).await? {
                Some(ticket) => Some(ticket),
                None => return Ok(false),
            },
        };
        self.groups.push_back(Group {
            lines: group,
            ticket,
            _held: held,
        });
        Ok(true)
    }

    async fn room(&self, bytes: usize) -> Option<Held> {
        loop {
            match self.app.body_bytes.hold(bytes) {
                Ok(held) => return Some(held),
                Err(_) if self.out.is_closed() => return None,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The back-pressure of a full queue is passed on to whoever sends: nothing is read meanwhile.
    async fn submit(&mut self, inputs: Vec<Input>) -> Result<Option<Ticket>, Problem> {
        loop {
            match predict::submit(&self.loaded, inputs.clone(), &self.options) {
                Ok(ticket) => return Ok(Some(ticket)),
                Err(Refused::TooMany { .. }) if !self.out.is_closed() => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(Refused::TooMany { .. }) => return Ok(None),
                Err(why) => return Err(predict::refused(why)),
            }
        }
    }

    /// Sends the answers of a group. `false` once nobody listens.
    async fn send(&mut self, (group, served): (Group, Option<engine::Served>)) -> bool {
        let answered =
            served.map(|served| predict::render(Arc::clone(&self.loaded), served, &self.options));
        let mut rows = answered
            .into_iter()
            .flat_map(|answered| answered.predictions);
        let mut text = Vec::with_capacity(group.lines.len() * 64);
        for (id, line) in &group.lines {
            let row = match line {
                Ok(()) => rows.next().unwrap_or_else(|| {
                    Err(RowError::new(
                        engine::codes::INTERNAL,
                        "no answer was given for this line",
                    ))
                }),
                Err(error) => Err(error.clone()),
            };
            write(&mut text, id.as_deref(), &row, self);
        }
        self.out.send(Ok(text.into())).await.is_ok()
    }
}

/// The first group, once its answers are there.
async fn front(groups: &mut VecDeque<Group>) -> (Group, Option<engine::Served>) {
    let served = match groups.front_mut().and_then(|group| group.ticket.as_mut()) {
        Some(ticket) => Some(ticket.await),
        None => None,
    };
    match groups.pop_front() {
        Some(mut group) => {
            group.ticket = None;
            (group, served)
        }
        // Nobody asks for the first of none; wait for ever rather than answer with nothing.
        None => std::future::pending().boxed().await,
    }
}

fn write(
    text: &mut Vec<u8>,
    id: Option<&str>,
    row: &Result<engine::Prediction, RowError>,
    stream: &Stream,
) {
    let columns = stream.options.columns(stream.loaded.service.model());
    let id = id.and_then(|id| RawValue::from_string(id.to_owned()).ok());
    let line = LineAnswer {
        id: id.as_deref(),
        row: RowAnswer::of(row, columns),
    };
    // Into memory, and no map has keys but strings: it cannot fail.
    let _ = serde_json::to_writer(&mut *text, &line);
    text.push(b'\n');
}
