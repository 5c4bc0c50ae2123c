//! Where requests go.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use crate::LoadError;

/// How long the first connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A server, as its URL names it.
///
/// ```
/// use batchwright_load::Target;
///
/// let target: Target = "http://localhost:8003".parse()?;
/// assert_eq!((target.host(), target.path()), ("localhost:8003", None));
/// let target: Target = "http://[::1]:8080/v1/embeddings".parse()?;
/// assert_eq!((target.host(), target.path()), ("[::1]:8080", Some("/v1/embeddings")));
/// # #[cfg(unix)]
/// assert!("unix:/run/batchwright.sock".parse::<Target>().is_ok());
/// assert!("https://localhost".parse::<Target>().is_err());
/// # Ok::<(), batchwright_load::LoadError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: String,
    place: Place,
    host: String,
    path: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Network(String, u16),
    Socket(PathBuf),
}

/// Where a connection is opened: an address that has been looked up and answered once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Network(SocketAddr),
    #[cfg(unix)]
    Socket(PathBuf),
}

impl Target {
    /// What stands in the header `Host`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path, where the URL has one: requests then go there, whatever the protocol's path is.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    fn error(url: &str, reason: impl fmt::Display) -> LoadError {
        LoadError::Url {
            url: url.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Opens a connection to the first of the host's addresses that takes one.
    pub(crate) fn reach(&self) -> Result<(Address, Box<dyn Conversation>), LoadError> {
        let failed = |reason: io::Error| LoadError::Connect {
            url: self.url.clone(),
            reason: reason.to_string(),
        };
        let (host, port) = match &self.place {
            Place::Network(host, port) => (host.as_str(), *port),
            #[cfg(unix)]
            Place::Socket(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path).map_err(failed)?;
                return Ok((Address::Socket(path.clone()), Box::new(stream)));
            }
            #[cfg(not(unix))]
            Place::Socket(_) => return Err(failed(io::ErrorKind::Unsupported.into())),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (host, port).to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => return Ok((Address::Network(address), Box::new(stream))),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }
}

/// A blocking connection, for the first request.
pub(crate) trait Conversation: Read + Write {
    fn wait_at_most(&self, time: Duration) -> io::Result<()>;
}

impl Conversation for TcpStream {
    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

#[cfg(unix)]
impl Conversation for std::os::unix::net::UnixStream {
    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl std::str::FromStr for Target {
    type Err = LoadError;

    fn from_str(url: &str) -> Result<Self, LoadError> {
        if let Some(path) = url.strip_prefix("unix:") {
            if cfg!(not(unix)) {
                return Err(Self::error(url, "this system has no Unix sockets"));
            }
            return Ok(Self {
                url: url.to_owned(),
                place: Place::Socket(path.into()),
                host: "localhost".to_owned(),
                path: None,
            });
        }
        if url.starts_with("https://") {
            return Err(Self::error(
                url,
                "TLS is not spoken here; measure the server behind it, over http://",
            ));
        }
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(Self::error(
                url,
                "write http://HOST:PORT, with a path if it is not the protocol's own, or unix:PATH",
            ));
        };
        let (host, path) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, ""),
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || !c.is_ascii();
        if rest.contains(odd) || host.is_empty() || host.contains(['@', '?', '#']) {
            return Err(Self::error(url, "no host that could be called"));
        }
        // The colons of an IPv6 address stand within brackets.
        let (name, port) = match host.rfind(':') {
            Some(at) if !host[at..].contains(']') => {
                let port = host[at + 1..]
                    .parse()
                    .map_err(|_| Self::error(url, "the port is a number from 1 to 65535"))?;
                (&host[..at], port)
            }
            _ => (host, 80),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            url: url.to_owned(),
            place: Place::Network(name.to_owned(), port),
            host: host.to_owned(),
            path: (path.len() > 1).then(|| path.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests would go to another server or path than was meant, or nowhere without a word why.
    #[test]
    fn urls_are_read_as_they_are_meant() {
        for (url, host, port, path) in [
            ("http://a", "a", 80, None),
            ("http://a/", "a", 80, None),
            (
                "http://a:8003/v1/embeddings?x=1",
                "a",
                8003,
                Some("/v1/embeddings?x=1"),
            ),
            ("http://[::1]", "::1", 80, None),
            ("http://[::1]:9", "::1", 9, None),
        ] {
            let target: Target = url.parse().unwrap();
            assert_eq!(target.place, Place::Network(host.into(), port), "{url}");
            assert_eq!(target.path(), path, "{url}");
        }
        for (url, words) in [
            ("https://a", "TLS"),
            ("localhost:8003", "write http://"),
            ("http://", "no host"),
            ("http://a:b", "port"),
            ("http://a b", "no host"),
            ("http://user@a", "no host"),
        ] {
            let error = url.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(words), "{url}: {error}");
        }
    }
}
