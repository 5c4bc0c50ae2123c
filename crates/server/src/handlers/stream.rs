//! `/predict/stream`: JSON Lines in, JSON Lines out, in their order and in constant memory.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use engine::{Deadline, Input, Refused, RowError, Ticket};
use futures_util::FutureExt;
use hyper::header::HeaderValue;
use memchr::memchr;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::lines::{Finished, Unfinished};
use super::own;
use crate::app::App;
use crate::call::{Call, from_json};
use crate::models::{Loaded, Pick};
use crate::outlet::{Outlet, Unsent, outlet, silence, within};
use crate::permits::Held;
use crate::predict::{self, Options};
use crate::problem::{Code, Limit, Problem};
use crate::reply;
use crate::upload::Upload;
use crate::wire::own::{Ask, RowAnswer, RowProblem};
use crate::wire::rows::Row;

/// Lines that are handed to the model together, where the limits admit so many.
const LINES: usize = 32;
/// Bytes of lines that are handed to it together, unless a single one has more.
const LINE_BYTES: usize = 1 << 20;
/// Such groups that may be on their way: enough to fill batches, few enough to be small.
const GROUPS: usize = 16;
/// How long the model is left alone when it has no room: as long as it says, within these. Where all bodies together
/// take too much, the shortest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

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
    row: &'a RowAnswer<'a>,
}

/// A line that has been read.
struct Entry {
    id: Option<String>,
    input: Result<Input, Fault>,
    bytes: usize,
    held: Held,
}

/// Why a line has no answer.
struct Fault {
    code: &'static str,
    message: String,
    limit: Option<Limit>,
}

/// Lines that go through the model together, and what is to stand before their answers.
struct Group {
    lines: Vec<(Option<String>, Result<(), Fault>)>,
    ticket: Option<Ticket>,
    _held: Vec<Held>,
}

/// A stream on its way.
struct Stream {
    app: Arc<App>,
    loaded: Arc<Loaded>,
    options: Options,
    out: Outlet<Bytes>,
    line: Unfinished,
    /// Lines that have ended, and are not handed to the model yet.
    entries: Vec<Entry>,
    groups: VecDeque<Group>,
    /// How many lines the limits admit together, as far as has been seen.
    most_lines: usize,
    /// Lines read, for messages.
    read: u64,
}

/// Why a stream ends early.
enum End {
    Unsent(Unsent),
    Broken(Problem),
}

impl From<Unsent> for End {
    fn from(why: Unsent) -> Self {
        Self::Unsent(why)
    }
}

impl From<Problem> for End {
    fn from(problem: Problem) -> Self {
        Self::Broken(problem)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code.name(),
            message: problem.message,
            limit: problem.limit,
        }
    }
}

impl From<RowError> for Fault {
    fn from(error: RowError) -> Self {
        Self {
            code: error.code,
            message: error.message,
            limit: error.limit.map(Limit::from),
        }
    }
}

pub(crate) async fn predict(mut call: Call) -> Result<Response, Problem> {
    let mut ask: Ask = call.query()?;
    if own::texts(&mut ask).is_ok() {
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
    options.deadline = Deadline::Never;
    let model = loaded.service.model();
    options.set_prompt(ask.prompt.take(), ask.prompt_name.as_deref(), model)?;
    options.check(model)?;
    let (out, answers) = outlet(call.app.settings.idle_timeout);
    let most = call.app.settings.max_body_bytes;
    let stream = Stream {
        line: Unfinished::new(call.app.body_bytes.hold(0)?, most),
        entries: Vec::new(),
        app: Arc::clone(&call.app),
        loaded,
        options,
        out,
        groups: VecDeque::new(),
        most_lines: LINES,
        read: 0,
    };
    let (running, passing) = (call.app.streams.track(), Arc::clone(&call.passing));
    passing.streams();
    let upload = call
        .upload
        .get_mut()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    tokio::spawn(async move {
        passing.ended(stream.run(upload).await);
        drop(running);
    });
    // The status is long sent: a chunked body that ends broken says that it is not the whole.
    let broken = || std::io::Error::other("the stream broke");
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(reply::of(Body::from_stream(answers.stream(broken)), kind))
}

impl Stream {
    /// Answers everything; gives the status by which that is counted.
    async fn run(mut self, mut upload: Upload) -> u16 {
        let passed = self.pass(&mut upload).await;
        // What has not been read has nobody who wants it: the connection ends with the stream.
        upload.give_up();
        let ended = match passed {
            Ok(()) => self.out.end().await.map(|()| 200),
            Err(End::Unsent(why)) => Err(why),
            Err(End::Broken(problem)) => {
                let status = problem.code.status().as_u16();
                // The last line says what happened.
                let mut line = Vec::new();
                write(&mut line, None, &RowAnswer::from(&Fault::from(problem)));
                self.out.send(line.into()).await.map(|()| status)
            }
        };
        ended.unwrap_or_else(Unsent::status)
    }

    async fn pass(&mut self, upload: &mut Upload) -> Result<(), End> {
        loop {
            // Answers that are there go out before more is read.
            let data = tokio::select! {
                biased;
                sent = front(&mut self.groups), if !self.groups.is_empty() => {
                    self.send(sent).await?;
                    continue;
                }
                data = upload.next(), if self.groups.len() < GROUPS => data?,
                () = self.out.closed() => return Err(Unsent::Gone.into()),
                problem = silence(self.app.settings.idle_timeout), if self.groups.is_empty() => {
                    return Err(problem.into());
                }
                problem = self.line.late(self.app.settings.read_timeout), if self.groups.is_empty() => {
                    return Err(problem.into());
                }
            };
            let Some(data) = data else { break };
            self.read(data).await?;
        }
        self.end_line();
        self.push().await?;
        while !self.groups.is_empty() {
            self.send_front().await?;
        }
        Ok(())
    }

    /// Cuts what has come into lines, and hands those that have ended to the model.
    async fn read(&mut self, mut data: Bytes) -> Result<(), End> {
        while !data.is_empty() {
            let end = memchr(b'\n', &data);
            let piece = data.split_to(end.map_or(data.len(), |end| end + 1));
            self.keep(&piece).await?;
            if end.is_some() {
                self.end_line();
            }
        }
        self.push().await
    }

    /// Takes in a piece of a line, waiting for room. A line of which something is kept waits as long as a body has to
    /// come in: others may be waiting for what it has, as it does for theirs.
    async fn keep(&mut self, piece: &[u8]) -> Result<(), End> {
        let mut alone: Option<Instant> = None;
        let patience = self.app.settings.read_timeout;
        while let Err(full) = self.line.take(piece) {
            // This stream's own lines take some, as long as their answers are not sent.
            if !self.entries.is_empty() {
                self.push().await?;
            } else if self.groups.is_empty()
                && self.line.is_kept()
                && alone.get_or_insert_with(Instant::now).elapsed() >= patience
            {
                self.line.refuse(full);
            } else {
                self.pause(PAUSE.0).await?;
            }
            self.line.begin_anew();
        }
        Ok(())
    }

    /// Reads the line that has ended; an empty one is none.
    fn end_line(&mut self) {
        let Finished { bytes, held } = self.line.end();
        self.read += 1;
        let line = match &bytes {
            Ok(bytes) => bytes.trim_ascii(),
            Err(problem) => {
                self.entries.push(Entry {
                    id: None,
                    input: Err(problem.clone().into()),
                    bytes: 0,
                    held,
                });
                return;
            }
        };
        if line.is_empty() {
            return;
        }
        let (id, input) = match from_json::<Line>(line) {
            Ok(Line::Bare(row)) => (None, Ok(row.into())),
            Ok(Line::Named(NamedLine { id, text })) => {
                (id.map(|id| id.to_string()), Ok(text.into()))
            }
            Err(mut problem) => {
                let place = format!("line {}", self.read);
                problem.message = problem.message.replacen("the body", &place, 1);
                (None, Err(problem.into()))
            }
        };
        self.entries.push(Entry {
            id,
            input,
            bytes: line.len(),
            held,
        });
    }

    /// Hands lines to the model, as many together as the limits admit, waiting for room.
    async fn push(&mut self) -> Result<(), End> {
        let mut waiting: VecDeque<Entry> = self.entries.drain(..).collect();
        while !waiting.is_empty() {
            let texts = self.loaded.service.settings().limits.texts_per_request;
            let most = self.most_lines.min(texts).max(1);
            let mut bytes = 0;
            let fits = waiting.iter().take(most).take_while(|entry| {
                bytes += entry.bytes;
                bytes <= LINE_BYTES
            });
            let lines = fits.count().max(1);
            let group: Vec<Entry> = waiting.drain(..lines).collect();
            if let Some(refused) = self.enter(group).await? {
                // In halves: what does not fit by itself has no answer, whatever else there is.
                self.most_lines = (refused.len() / 2).max(1);
                for entry in refused.into_iter().rev() {
                    waiting.push_front(entry);
                }
            } else if self.most_lines < LINES {
                // The next lines may be shorter, or the limits be changed.
                self.most_lines += 1;
            }
        }
        Ok(())
    }

    /// Hands lines to the model together; gives them back if the limits never admit so many. One line that is
    /// too large by itself has an error for an answer.
    async fn enter(&mut self, entries: Vec<Entry>) -> Result<Option<Vec<Entry>>, End> {
        while self.groups.len() >= GROUPS {
            self.send_front().await?;
        }
        let inputs: Vec<Input> = entries
            .iter()
            .filter_map(|entry| entry.input.as_ref().ok().cloned())
            .collect();
        let count = inputs.len();
        let submitted = match inputs.is_empty() {
            true => Ok(None),
            false => self.submit(inputs).await?.map(Some),
        };
        let (ticket, refusal) = match submitted {
            Ok(ticket) => (ticket, None),
            Err(problem) if problem.code != Code::TooLarge => return Err(problem.into()),
            Err(_) if count > 1 => return Ok(Some(entries)),
            Err(problem) => (None, Some(problem)),
        };
        let mut lines = Vec::with_capacity(entries.len());
        let mut held = Vec::with_capacity(entries.len());
        for entry in entries {
            let line = match (entry.input, &refusal) {
                (Ok(_), None) => Ok(()),
                (Ok(_), Some(problem)) => Err(problem.clone().into()),
                (Err(fault), _) => Err(fault),
            };
            lines.push((entry.id, line));
            held.push(entry.held);
        }
        self.groups.push_back(Group {
            lines,
            ticket,
            _held: held,
        });
        Ok(None)
    }

    /// The back-pressure of a full queue is passed on to whoever sends: nothing is read meanwhile.
    async fn submit(&mut self, inputs: Vec<Input>) -> Result<Result<Ticket, Problem>, Unsent> {
        loop {
            match predict::offer(&self.loaded, inputs.clone(), &self.options).await {
                Ok(ticket) => return Ok(Ok(ticket)),
                Err(Refused::TooMany { retry_after, .. }) => self.pause(retry_after).await?,
                Err(why) => return Ok(Err(predict::refused(why))),
            }
        }
    }

    /// Waits until there may be room: this stream's own answers take some as long as they are not sent.
    async fn pause(&mut self, wait: Duration) -> Result<(), Unsent> {
        if !self.groups.is_empty() {
            return self.send_front().await;
        }
        // Not all streams at the same time.
        let wait = wait
            .clamp(PAUSE.0, PAUSE.1)
            .mul_f64(1.0 + fastrand::f64() / 2.0);
        match within(Some(wait), self.out.closed()).await {
            Some(()) => Err(Unsent::Gone),
            None => Ok(()),
        }
    }

    async fn send_front(&mut self) -> Result<(), Unsent> {
        let served = front(&mut self.groups).await;
        self.send(served).await
    }

    /// Sends the answers of a group.
    async fn send(
        &mut self,
        (group, served): (Group, Option<engine::Served>),
    ) -> Result<(), Unsent> {
        let answered =
            served.map(|served| predict::render(Arc::clone(&self.loaded), served, &self.options));
        let mut rows = answered
            .into_iter()
            .flat_map(|answered| answered.predictions);
        let columns = self.options.columns(self.loaded.service.model());
        let mut text = Vec::with_capacity(group.lines.len() * 64);
        for (id, line) in &group.lines {
            match line {
                Ok(()) => {
                    let row = rows.next().unwrap_or_else(|| {
                        Err(RowError::new(
                            engine::codes::INTERNAL,
                            "no answer was given for this line",
                        ))
                    });
                    write(&mut text, id.as_deref(), &RowAnswer::of(&row, columns));
                }
                Err(fault) => write(&mut text, id.as_deref(), &fault.into()),
            }
        }
        self.out.send(text.into()).await?;
        self.line.begin_anew();
        Ok(())
    }
}

impl<'a> From<&'a Fault> for RowAnswer<'a> {
    fn from(fault: &'a Fault) -> Self {
        RowAnswer::Failed {
            error: RowProblem {
                code: fault.code,
                message: &fault.message,
                limit: fault.limit.clone(),
            },
        }
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

fn write(text: &mut Vec<u8>, id: Option<&str>, row: &RowAnswer<'_>) {
    let id = id.and_then(|id| RawValue::from_string(id.to_owned()).ok());
    let line = LineAnswer {
        id: id.as_deref(),
        row,
    };
    // Into memory, and no map has keys but strings: it cannot fail.
    let _ = serde_json::to_writer(&mut *text, &line);
    text.push(b'\n');
}
