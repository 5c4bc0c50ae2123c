//! A server of the test's own, and the plainest client there can be.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use batchwright_server::{ModelSpec, Server, ServerError, ServerSettings, Stopped};
use engine::{Model, ModelBuilder, ServiceSettings};
use serde_json::Value;
use testing::golden;
use tokio::sync::oneshot;

/// A server on a free port; stopped when it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<Stopped, ServerError>>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn builder(golden: &str) -> ModelBuilder {
    let directory = golden::root().join(golden);
    Model::builder(directory.to_str().unwrap())
        .threads(2)
        .cache_bytes(1 << 20)
}

pub(crate) fn spec(name: &str, golden: &str) -> ModelSpec {
    ModelSpec {
        name: name.to_owned(),
        version: "1".to_owned(),
        source: golden.to_owned(),
        builder: builder(golden),
        settings: ServiceSettings::default(),
    }
}

pub(crate) fn settings() -> ServerSettings {
    ServerSettings {
        addresses: vec![([127, 0, 0, 1], 0).into()],
        http_threads: 2,
        threads: 2,
        stop_timeout: Duration::from_secs(60),
        ..ServerSettings::default()
    }
}

impl Running {
    /// A server of these models, ready.
    pub(crate) fn of(models: &[(&str, &str)]) -> Self {
        let specs = models
            .iter()
            .map(|(name, golden)| spec(name, golden))
            .collect();
        Self::with(settings(), specs)
    }

    pub(crate) fn with(settings: ServerSettings, specs: Vec<ModelSpec>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (bound, addresses) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = Server::bind(settings, specs).await?;
                bound.send(server.addresses()).unwrap();
                server.run(async { drop(stopped.await) }).await
            })
        });
        let address = match addresses.recv() {
            Ok(addresses) => addresses[0],
            Err(_) => panic!("{:?}", thread.join()),
        };
        let running = Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        };
        running.until("/health/ready", |got| got.status == 200);
        running
    }

    /// Asks until the answer is as wanted. The state that is waited for always comes, or the test fails.
    pub(crate) fn until(&self, path: &str, wanted: impl Fn(&Got) -> bool) -> Got {
        let patience = Instant::now() + Duration::from_secs(120);
        loop {
            let got = self.get(path);
            if wanted(&got) {
                return got;
            }
            assert!(Instant::now() < patience, "{path}: {got:?}");
            std::thread::yield_now();
        }
    }

    /// Tells it to stop, and waits for its end.
    pub(crate) fn stop(mut self) -> Result<Stopped, ServerError> {
        self.tell();
        self.thread.take().unwrap().join().unwrap()
    }

    /// Tells it to stop.
    pub(crate) fn tell(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Got {
        self.ask("POST", path, &[], body.to_string().as_bytes())
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Got {
        let mut stream = self.connect();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses the body's size closes while it is being sent.
        let _ = stream.write_all(body);
        read(&mut BufReader::new(stream)).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tell();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads one answer; `None` if the connection ended before it began.
pub(crate) fn read(from: &mut impl BufRead) -> Option<Got> {
    let mut line = String::new();
    if from.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        from.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().unwrap(), 0);
        from.read_exact(&mut body).unwrap();
    } else if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        loop {
            line.clear();
            from.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            from.read_exact(&mut chunk).unwrap();
            if length == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }
    Some(Got {
        status,
        headers,
        body,
    })
}

impl Got {
    /// The body as JSON, if the status is as expected.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The code of one of the server's own errors.
    #[track_caller]
    pub(crate) fn code(&self, status: u16) -> String {
        self.json(status)["error"]["code"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Numbers as f32: what they were before they became text.
pub(crate) fn floats(value: &Value) -> Vec<f32> {
    let list = value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"));
    list.iter()
        .map(|number| number.to_string().parse().unwrap())
        .collect()
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
