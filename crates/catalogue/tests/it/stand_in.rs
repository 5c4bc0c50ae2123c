//! A stand-in for the hub: the few endpoints that a client uses, on a port of the system's choice,
//! with faults to order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};

use crate::sha256;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The next so many questions for the list of files are answered with that status.
    Listing { status: u16, times: usize },
    /// Files are given only to who shows that token.
    Gated { token: &'static str },
    /// The next so many downloads of that file break off after so many bytes.
    Drop {
        file: &'static str,
        after: usize,
        times: usize,
    },
    /// That file is sent with another content of the same length.
    Corrupt { file: &'static str },
    /// That file is announced shorter than what is sent.
    Longer { file: &'static str },
    /// Ranges are not understood: the whole file comes.
    NoRanges,
}

/// A download that stands still after half of the content until it is told to go on.
pub(crate) struct Gate {
    pub(crate) file: &'static str,
    pub(crate) reached: Sender<()>,
    pub(crate) go_on: Receiver<()>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) token: Option<String>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    gates: Vec<Gate>,
    requests: Vec<Request>,
}

/// The hub. Serves until the process ends.
#[derive(Clone)]
pub(crate) struct Hub {
    pub(crate) endpoint: String,
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Hub {
    /// Serves `owner/name` with these files.
    pub(crate) fn serve(files: &[(&str, &[u8])]) -> Hub {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let files = files
            .iter()
            .map(|(name, content)| (name.to_string(), content.to_vec()));
        let state = State {
            files: files.collect(),
            ..State::default()
        };
        let hub = Hub {
            endpoint: format!("http://127.0.0.1:{port}"),
            port,
            state: Arc::new(Mutex::new(state)),
        };
        let served = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hub = served.clone();
                // A client that hangs up in the middle is part of the tests.
                std::thread::spawn(move || drop(hub.answer(stream)));
            }
        });
        hub
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push(fault);
    }

    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    pub(crate) fn gate(&self, gate: Gate) {
        self.state.lock().unwrap().gates.push(gate);
    }

    /// All requests so far; forgets them.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let request = Request {
            path: path.clone(),
            range: headers.get("range").cloned(),
            token: headers.get("authorization").cloned(),
        };
        self.state.lock().unwrap().requests.push(request.clone());

        if path.starts_with("/api/models/owner/name/revision/") {
            self.listing(&mut stream, &path)
        } else if let Some(file) = path.strip_prefix("/api/resolve-cache/") {
            self.content(&mut stream, file, &request)
        } else if let Some(file) = path.strip_prefix("/cdn/") {
            self.content(&mut stream, file, &request)
        } else if let Some(rest) = path.strip_prefix("/owner/name/resolve/") {
            self.redirect(&mut stream, rest, &request)
        } else {
            status(&mut stream, 404, &["x-error-code: RepoNotFound"])
        }
    }

    fn listing(&self, stream: &mut TcpStream, path: &str) -> std::io::Result<()> {
        let mut state = self.state.lock().unwrap();
        for fault in &mut state.faults {
            if let Fault::Listing {
                status: code,
                times,
            } = fault
                && *times > 0
            {
                *times -= 1;
                return status(stream, *code, &[]);
            }
        }
        let revision = path.rsplit('/').next().unwrap_or_default();
        let revision = revision.trim_end_matches("?blobs=true");
        if ![COMMIT, "main", "refs%2Fpr%2F1"].contains(&revision) {
            return status(stream, 404, &["x-error-code: RevisionNotFound"]);
        }
        let siblings: Vec<_> = state
            .files
            .iter()
            .map(|(name, content)| {
                let longer = state
                    .faults
                    .iter()
                    .any(|fault| matches!(fault, Fault::Longer { file } if file == name));
                let size = content.len() - usize::from(longer);
                let mut listed = serde_json::json!({
                    "rfilename": name,
                    "size": size,
                    // Any 40 digits that differ with the content do for git's id.
                    "blobId": &sha256(content)[..40],
                });
                if is_large(name) {
                    listed["lfs"] = serde_json::json!({ "sha256": sha256(content), "size": size });
                }
                listed
            })
            .collect();
        let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        whole(stream, body.as_bytes())
    }

    /// Small files live with the hub, large ones on another host, as with the real one.
    fn redirect(
        &self,
        stream: &mut TcpStream,
        rest: &str,
        request: &Request,
    ) -> std::io::Result<()> {
        let (commit, file) = rest.split_once('/').unwrap_or_default();
        let state = self.state.lock().unwrap();
        for fault in &state.faults {
            if let Fault::Gated { token } = fault
                && request.token.as_deref() != Some(&format!("Bearer {token}"))
            {
                return status(stream, 401, &["x-error-code: GatedRepo"]);
            }
        }
        if commit != COMMIT || !state.files.contains_key(file) {
            return status(stream, 404, &["x-error-code: EntryNotFound"]);
        }
        if is_large(file) {
            let location = format!("location: http://localhost:{}/cdn/{file}", self.port);
            status(stream, 302, &[&location])
        } else {
            status(
                stream,
                307,
                &[&format!("location: /api/resolve-cache/{file}")],
            )
        }
    }

    fn content(
        &self,
        stream: &mut TcpStream,
        file: &str,
        request: &Request,
    ) -> std::io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let mut content = state.files[file].clone();
        let mut drop_after = None;
        let mut ranges = true;
        for fault in &mut state.faults {
            match fault {
                Fault::Corrupt { file: bad } if *bad == file => content[0] ^= 1,
                Fault::Drop {
                    file: bad,
                    after,
                    times,
                } if *bad == file && *times > 0 && drop_after.is_none() => {
                    *times -= 1;
                    drop_after = Some(*after);
                }
                Fault::NoRanges => ranges = false,
                _ => {}
            }
        }
        let gate = state.gates.iter().position(|gate| gate.file == file);
        let gate = gate.map(|at| state.gates.remove(at));
        drop(state);

        let total = content.len();
        let start = request.range.as_deref().filter(|_| ranges).map(|range| {
            range
                .trim_start_matches("bytes=")
                .trim_end_matches('-')
                .parse::<usize>()
                .unwrap()
        });
        if start.is_some_and(|start| start >= total) {
            return status(stream, 416, &[]);
        }
        let part = &content[start.unwrap_or(0)..];
        let length = format!("content-length: {}", part.len());
        match start {
            None => head(stream, 200, &[&length])?,
            Some(start) => {
                let range = format!("content-range: bytes {start}-{}/{total}", total - 1);
                head(stream, 206, &[&length, &range])?;
            }
        }
        if let Some(after) = drop_after {
            return stream.write_all(&part[..after.min(part.len())]);
        }
        let (first, second) = part.split_at(part.len() / 2);
        stream.write_all(first)?;
        if let Some(gate) = gate {
            stream.flush()?;
            gate.reached.send(()).unwrap();
            // An error means that the test is over.
            let _ = gate.go_on.recv();
        }
        stream.write_all(second)
    }
}

fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors") || file == "tokenizer.json"
}

fn head(stream: &mut TcpStream, status: u16, headers: &[&str]) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} Words\r\nconnection: close\r\n");
    for header in headers {
        text += header;
        text += "\r\n";
    }
    stream.write_all((text + "\r\n").as_bytes())
}

fn status(stream: &mut TcpStream, status: u16, headers: &[&str]) -> std::io::Result<()> {
    head(stream, status, &[headers, &["content-length: 0"]].concat())
}

fn whole(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    head(stream, 200, &[&format!("content-length: {}", body.len())])?;
    stream.write_all(body)
}
