//! HTTP: one question to the hub's interface, and downloads that survive a broken connection.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::error::SourceError;
use crate::options::{Environment, Patience};
use crate::progress::FetchProgress;

/// A list of a repository's files is a few hundred kilobytes at most.
const LONGEST_LISTING: u64 = 32 << 20;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A client of one hub.
pub(crate) struct Client<'a> {
    agent: Agent,
    environment: &'a Environment,
    progress: &'a dyn FetchProgress,
}

/// What is asked for, in words for people and machines.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The address.
    pub(crate) url: &'a str,
    /// What it is, for messages.
    pub(crate) what: &'a str,
    /// `owner/name`, for the address of the page where conditions are accepted.
    pub(crate) id: &'a str,
}

/// Why one try failed.
enum Failure {
    /// Trying again gives the same.
    Final(SourceError),
    /// The host was not reached at all.
    NoContact(String),
    /// Worth another try, after `pause` where the host names one.
    Passing {
        why: String,
        status: Option<u16>,
        pause: Option<Duration>,
    },
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Failure {
        Failure::Final(error)
    }
}

/// A file to bring.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    target: Target<'a>,
    /// The announced length.
    bytes: Option<u64>,
    /// Is told how much of the file is there.
    arrived: &'a dyn Fn(u64),
}

impl<'a> Client<'a> {
    pub(crate) fn new(environment: &'a Environment, progress: &'a dyn FetchProgress) -> Client<'a> {
        let Patience {
            connect, silence, ..
        } = environment.patience;
        let mut settings = Agent::config_builder()
            .http_status_as_error(false)
            // The token is for the hub; downloads are redirected to other hosts.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_recv_response(Some(silence / 2))
            .timeout_per_read(Some(silence))
            .tls_config(
                TlsConfig::builder()
                    .root_certs(RootCerts::PlatformVerifier)
                    .build(),
            )
            .user_agent(concat!("batchwright/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&environment.hub_endpoint) {
            // A mirror on this machine; the proxy that the environment names cannot reach it.
            settings = settings.proxy(None);
        }
        let agent = settings.build().into();
        Client {
            agent,
            environment,
            progress,
        }
    }

    /// The first question to a host: a host that cannot be reached is not asked twice.
    pub(crate) fn json<T: DeserializeOwned>(&self, target: Target<'_>) -> Result<T, SourceError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let failure = match self.json_once(target) {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            match failure {
                Failure::Final(error) => return Err(error),
                Failure::NoContact(why) => {
                    return Err(self.unreachable(why));
                }
                Failure::Passing { why, status, pause } => {
                    if tries >= self.environment.patience.tries {
                        return Err(match status {
                            Some(status) => SourceError::Status {
                                what: target.what.to_owned(),
                                status,
                            },
                            None => self.unreachable(why),
                        });
                    }
                    self.pause(tries, pause, target.what, &why);
                }
            }
        }
    }

    fn unreachable(&self, why: String) -> SourceError {
        SourceError::Unreachable {
            url: self.environment.hub_address(),
            why,
        }
    }

    fn json_once<T: DeserializeOwned>(&self, target: Target<'_>) -> Result<T, Failure> {
        let mut response = self.get(target, 0)?;
        let text = response
            .body_mut()
            .with_config()
            .limit(LONGEST_LISTING)
            .read_to_vec()
            .map_err(|e| Failure::Passing {
                why: e.to_string(),
                status: None,
                pause: None,
            })?;
        serde_json::from_slice(&text).map_err(|e| {
            let what = target.what.to_owned();
            Failure::Final(SourceError::Protocol {
                what,
                why: e.to_string(),
            })
        })
    }

    /// Brings a file, continuing what `partial` holds already. `bytes` is the announced length.
    /// `arrived` is told after each piece how much of the file is there. Content is not checked
    /// here.
    pub(crate) fn download(
        &self,
        target: Target<'_>,
        bytes: Option<u64>,
        partial: &Path,
        arrived: &dyn Fn(u64),
    ) -> Result<(), SourceError> {
        let disk = || SourceError::disk(partial);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(partial)
            .map_err(disk())?;
        let mut done = file.metadata().map_err(disk())?.len();
        if bytes.is_some_and(|bytes| done > bytes) {
            done = 0;
        }
        let (mut tries, mut in_vain) = (0, 0);
        loop {
            if bytes == Some(done) {
                break;
            }
            let before = done;
            tries += 1;
            let wanted = Wanted {
                target,
                bytes,
                arrived,
            };
            let failure = match self.receive(wanted, &mut file, &mut done) {
                Ok(()) if bytes.is_none_or(|bytes| bytes == done) => break,
                Ok(()) if bytes.is_some_and(|bytes| done > bytes) => {
                    return Err(SourceError::WrongSize {
                        file: target.what.to_owned(),
                        expected: bytes.unwrap_or_default(),
                        found: done,
                    });
                }
                Ok(()) => Failure::Passing {
                    why: "the connection ended early".to_owned(),
                    status: None,
                    pause: None,
                },
                Err(failure) => failure,
            };
            let (why, status, pause) = match failure {
                Failure::Final(error) => return Err(error),
                // This host has just answered: it may come back.
                Failure::NoContact(why) => (why, None, None),
                Failure::Passing { why, status, pause } => (why, status, pause),
            };
            in_vain = if done > before { 0 } else { in_vain + 1 };
            // Progress renews the patience, but not without end: a server that sends a byte at a
            // time and hangs up is broken too.
            let patience = self.environment.patience.tries;
            if in_vain >= patience || tries >= 10 * patience {
                return Err(match status {
                    Some(status) => SourceError::Status {
                        what: target.what.to_owned(),
                        status,
                    },
                    None => SourceError::Interrupted {
                        what: target.what.to_owned(),
                        done_bytes: done,
                        tries,
                        why,
                    },
                });
            }
            self.pause(in_vain.max(1), pause, target.what, &why);
        }
        file.set_len(done).map_err(disk())?;
        file.sync_all().map_err(disk())
    }

    /// One request: appends to `file` from `done` on.
    fn receive(&self, wanted: Wanted<'_>, file: &mut File, done: &mut u64) -> Result<(), Failure> {
        let Wanted {
            target,
            bytes,
            arrived,
        } = wanted;
        let disk = |error: std::io::Error| {
            let path = target.what.into();
            Failure::Final(SourceError::Disk {
                path,
                why: error.to_string(),
            })
        };
        let response = self.get(target, *done)?;
        // A server without ranges sends the whole file; one may also send another part than asked.
        let continues = response.status() == StatusCode::PARTIAL_CONTENT
            && header(&response, "content-range")
                .is_some_and(|range| range.starts_with(&format!("bytes {}-", *done)));
        if !continues {
            *done = 0;
        }
        file.set_len(*done).map_err(disk)?;
        file.seek(SeekFrom::Start(*done)).map_err(disk)?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            arrived(*done);
            if bytes.is_some_and(|bytes| *done > bytes) {
                // Longer than announced: refused anyway, and it may have no end.
                return Ok(());
            }
            let n = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let why = error.to_string();
                    return Err(Failure::Passing {
                        why,
                        status: None,
                        pause: None,
                    });
                }
            };
            file.write_all(&buffer[..n]).map_err(disk)?;
            *done += n as u64;
        }
    }

    /// Asks for everything from `start` on; gives an answer that has the content.
    fn get(&self, target: Target<'_>, start: u64) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(target.url);
        if let Some(token) = &self.environment.hub_token {
            request = request.header("authorization", format!("Bearer {}", token.secret()));
        }
        if start > 0 {
            request = request.header("range", format!("bytes={start}-"));
        }
        let response = request.call().map_err(failure)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let code = status.as_u16();
        let what = target.what.to_owned();
        let named = header(&response, "x-error-code").unwrap_or_default();
        Err(match code {
            // The hub answers 401 for what does not exist as well, unless one is logged in.
            _ if matches!(named, "RevisionNotFound" | "EntryNotFound") => {
                Failure::Final(SourceError::NotFound { what })
            }
            401 | 403 => {
                let page = format!("{}/{}", self.environment.hub_address(), target.id);
                Failure::Final(SourceError::Denied {
                    what,
                    status: code,
                    page,
                })
            }
            404 | 410 => Failure::Final(SourceError::NotFound { what }),
            // What is there is no beginning of this file.
            416 if start > 0 => return self.get(target, 0),
            408 | 425 | 429 | 500..=599 => Failure::Passing {
                why: format!("HTTP {code}"),
                status: Some(code),
                pause: header(&response, "retry-after")
                    .and_then(|seconds| seconds.trim().parse().ok())
                    .map(Duration::from_secs),
            },
            _ => Failure::Final(SourceError::Status { what, status: code }),
        })
    }

    fn pause(&self, failures: usize, asked: Option<Duration>, what: &str, why: &str) {
        let doublings = u32::try_from(failures - 1).unwrap_or(u32::MAX).min(16);
        let pause = asked
            .unwrap_or_else(|| self.environment.patience.first_pause * 2_u32.pow(doublings))
            .min(LONGEST_PAUSE);
        self.progress.note(&format!(
            "{what}: {why}; trying again in {:.1} s",
            pause.as_secs_f32()
        ));
        std::thread::sleep(pause);
    }
}

fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

/// Whether an address names this machine.
fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.split("://").nth(1).unwrap_or(endpoint);
    ["localhost", "127.", "[::1]"]
        .iter()
        .any(|start| host.starts_with(start))
}

/// Sorts what went wrong before any answer came: a connection that broke may hold the next time;
/// a host that has no address, refuses or stays silent will do so again in a moment.
fn failure(error: ureq::Error) -> Failure {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Io(io)
            if matches!(
                io.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::Interrupted
            ) =>
        {
            Failure::Passing {
                why: io.to_string(),
                status: None,
                pause: None,
            }
        }
        ureq::Error::Protocol(error) => Failure::Passing {
            why: error.to_string(),
            status: None,
            pause: None,
        },
        ureq::Error::Io(io) => Failure::NoContact(io.to_string()),
        other => Failure::NoContact(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    /// Without a network every start would wait through five tries; over a bad line none would be
    /// made.
    #[test]
    fn a_host_out_of_reach_is_told_from_a_broken_connection() {
        let passing = |error: ureq::Error| matches!(failure(error), Failure::Passing { .. });
        for kind in [
            ErrorKind::ConnectionReset,
            ErrorKind::BrokenPipe,
            ErrorKind::UnexpectedEof,
        ] {
            assert!(passing(ureq::Error::Io(kind.into())), "{kind}");
        }
        // What the system's resolver says has no kind of its own.
        assert!(!passing(ureq::Error::Io(Error::other(
            "failed to lookup address information"
        ))));
        assert!(!passing(ureq::Error::Io(
            ErrorKind::ConnectionRefused.into()
        )));
        assert!(!passing(ureq::Error::HostNotFound));
        assert!(!passing(ureq::Error::Timeout(ureq::Timeout::Connect)));
    }
}
