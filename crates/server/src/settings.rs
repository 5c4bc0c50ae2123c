//! How a server listens, whom it answers, and what it keeps in memory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How a server listens, whom it answers, and what it keeps in memory.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Addresses to listen on; port 0 takes one that is free.
    pub addresses: Vec<SocketAddr>,
    /// Unix sockets to listen on.
    pub sockets: Vec<PathBuf>,
    /// A certificate, if the addresses speak TLS. Unix sockets do not.
    pub tls: Option<TlsFiles>,
    /// Keys that open the server; none: it is open.
    pub api_keys: Vec<String>,
    /// Keys that open what changes the server; none: as `api_keys`.
    pub admin_keys: Vec<String>,
    /// Whether models may be loaded and unloaded, settings changed and caches cleared.
    pub control: Control,
    /// Whether models may be measured while they serve.
    pub benchmarks: Benchmarks,
    /// Origins of web pages that may call the server; `*` for all.
    pub cors_origins: Vec<String>,
    /// Most bytes of a request's body, and of a stream's line.
    pub max_body_bytes: usize,
    /// Most bytes of all bodies in memory at once.
    pub max_body_bytes_in_flight: usize,
    /// From how many bytes on an answer is compressed for clients that accept it; 0: never.
    pub compress_from: usize,
    /// Within this a request's head, and then its body, must have arrived, and the rest of a stream's line of more than 1
    /// MiB. A line of which something has come waits as long for room among the bodies in flight.
    pub read_timeout: Duration,
    /// How long a client may leave a stream without sending or reading anything, or any answer without reading; as long
    /// as it likes if none. Over HTTP/1.1 its connection ends then, over HTTP/2 that one stream.
    pub idle_timeout: Option<Duration>,
    /// How long requests may take to finish once the server is to stop.
    pub stop_timeout: Duration,
    /// Threads that speak HTTP, beside those that compute.
    pub http_threads: usize,
    /// Threads that compute, shared by all models.
    pub threads: usize,
    /// Where traces go; nowhere if none.
    pub otlp: Option<OtlpSettings>,
    /// NVIDIA's management library, which tells the memory of GPUs; the system's own if none. Where it cannot be loaded,
    /// nothing is told.
    pub nvml: Option<PathBuf>,
}

/// Where traces go, by OTLP over HTTP, and which requests have one. Headers, timeout and compression are those of
/// `OTEL_EXPORTER_OTLP_HEADERS` and its like; so are the names of the service and its resource.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpSettings {
    /// The collector's address, with or without `/v1/traces`. None: that of `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, or <http://localhost:4318>.
    pub endpoint: Option<String>,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// How long finished requests are gathered before they are sent.
    pub delay: Duration,
    /// Most finished requests that wait to be sent; those beyond are dropped, and counted.
    pub queue: usize,
}

/// Which requests are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Whether a caller that has decided for itself decides here as well.
    pub follow_parent: bool,
    /// Share of all other requests, 0 to 1.
    pub ratio: f64,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sampling: Sampling::default(),
            delay: Duration::from_secs(1),
            queue: 2_048,
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            follow_parent: true,
            ratio: 1.0,
        }
    }
}

/// Whether the routes that change the server are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// They are, to whoever has the key.
    On,
    /// They answer 403.
    Off,
}

/// Whether `/benchmark` is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Benchmarks {
    /// It is, to whoever may change the server.
    On,
    /// It answers 403.
    Off,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            sockets: Vec::new(),
            tls: None,
            api_keys: Vec::new(),
            admin_keys: Vec::new(),
            control: Control::On,
            benchmarks: Benchmarks::Off,
            cors_origins: Vec::new(),
            max_body_bytes: 16 << 20,
            max_body_bytes_in_flight: 256 << 20,
            compress_from: 64 << 10,
            read_timeout: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(300)),
            stop_timeout: Duration::from_secs(30),
            http_threads: engine::available_threads().div_ceil(2),
            threads: engine::available_threads(),
            otlp: None,
            nvml: None,
        }
    }
}

impl ServerSettings {
    /// Refuses what would answer nothing.
    ///
    /// # Errors
    /// The setting by its flag, and what to write instead.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.addresses.is_empty() && self.sockets.is_empty() {
            return Err("no address to listen on".to_owned());
        }
        self.check_bodies()
    }

    /// The part of it that has nothing to do with listening.
    pub(crate) fn check_bodies(&self) -> Result<(), String> {
        let (one, all) = (self.max_body_bytes, self.max_body_bytes_in_flight);
        if one == 0 {
            return Err(
                "--max-body-bytes is 0, which no request fits; write a size such as 16MiB"
                    .to_owned(),
            );
        }
        if all < one {
            return Err(format!(
                "--max-body-bytes-in-flight is {all}, and --max-body-bytes lets a single one have {one}; write at \
                 least as much"
            ));
        }
        for origin in &self.cors_origins {
            check_origin(origin)?;
        }
        Ok(())
    }
}

/// Browsers compare an origin as text: one with a path, or in capitals, would never be met.
fn check_origin(origin: &str) -> Result<(), String> {
    let rest = match origin {
        "*" => return Ok(()),
        origin => origin.split_once("://"),
    };
    let is_one = rest.is_some_and(|(scheme, place)| {
        let is_scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        let is_place = |c: char| {
            !c.is_ascii_uppercase() && (c.is_ascii_alphanumeric() || "-._:[]".contains(c))
        };
        scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(is_scheme)
            && !place.is_empty()
            && place.chars().all(is_place)
    });
    if is_one {
        Ok(())
    } else {
        Err(format!(
            "--cors-origins: `{origin}` is no origin; write it as browsers do, such as https://example.org or \
             http://localhost:3000, or * for all"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page would be refused for ever, because of a slash that its browser does not send.
    #[test]
    fn origins_are_as_browsers_write_them() {
        for good in [
            "*",
            "https://example.org",
            "http://localhost:3000",
            "http://[::1]:80",
        ] {
            assert_eq!(check_origin(good), Ok(()), "{good}");
        }
        for bad in [
            "example.org",
            "https://",
            "https://example.org/",
            "https://Example.org",
            "://a",
            "null",
            "",
        ] {
            assert!(check_origin(bad).is_err(), "{bad}");
        }
    }
}
