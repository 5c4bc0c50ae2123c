//! Where to look, where to keep, how long to wait: options of a call and what the environment says.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::FetchError;

/// Whether the network may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// Fetch what is not on this machine.
    #[default]
    Allowed,
    /// Open no connection and start no process that would.
    Offline,
}

/// Options of [`resolve`](crate::resolve). `Default` reads the environment.
#[derive(Clone, Debug, Default)]
pub struct ResolveOptions {
    /// Whether the network may be used.
    pub network: Network,
    /// Where fetched models are kept, instead of the environment's place.
    pub models_dir: Option<PathBuf>,
    /// What else the call depends on; tests put their own here.
    pub environment: Environment,
}

impl ResolveOptions {
    /// The directory in which models from package registries and the record of every model's sums
    /// are kept: `models_dir`, else `$BATCHWRIGHT_HOME/models`, else
    /// `$XDG_CACHE_HOME/batchwright/models`, else `~/.cache/batchwright/models`.
    ///
    /// # Errors
    /// [`FetchError::NoHome`] where none of these is known.
    pub fn store_directory(&self) -> Result<PathBuf, FetchError> {
        self.models_dir
            .clone()
            .or_else(|| self.environment.models_dir.clone())
            .ok_or(FetchError::NoHome)
    }

    /// The hub's cache, shared with Python's `huggingface_hub`: `$HF_HUB_CACHE`, else
    /// `$HF_HOME/hub`, else `$XDG_CACHE_HOME/huggingface/hub`, else `~/.cache/huggingface/hub`.
    ///
    /// # Errors
    /// [`FetchError::NoHome`] where none of these is known.
    pub fn hub_cache_directory(&self) -> Result<PathBuf, FetchError> {
        self.environment.hub_cache.clone().ok_or(FetchError::NoHome)
    }
}

/// What `resolve` would otherwise read from the process's environment. `Default` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// The models' directory, absent where no home directory is known.
    pub models_dir: Option<PathBuf>,
    /// The hub's cache, absent where no home directory is known.
    pub hub_cache: Option<PathBuf>,
    /// The hub's address without a trailing slash (`HF_ENDPOINT`).
    pub hub_endpoint: String,
    /// Sent to the hub, never to the hosts that it redirects to (`HF_TOKEN`, else the token file
    /// that `hf auth login` writes).
    pub hub_token: Option<Token>,
    /// `HF_HUB_OFFLINE` closes the hub alone; packages may still be fetched.
    pub hub_network: Network,
    /// Ways to start pip, tried in order.
    pub pip: Vec<Vec<String>>,
    /// How long to wait.
    pub patience: Patience,
}

/// A secret that `{:?}` does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token itself, for the header that carries it.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(token: String) -> Token {
        Token(token)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How long to wait, and how often to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection, TLS included. A host that drops packets costs this once.
    pub connect: Duration,
    /// For the next byte. Slow is fine, silent is not.
    pub silence: Duration,
    /// Before the first retry; doubles each time, up to ten seconds.
    pub first_pause: Duration,
    /// Tries in a row that bring no byte before a file is given up.
    pub tries: usize,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(30),
            first_pause: Duration::from_millis(500),
            tries: 5,
        }
    }
}

impl Default for Environment {
    fn default() -> Environment {
        Environment::from_variables(|name| std::env::var_os(name))
    }
}

impl Environment {
    /// Every variable that is read.
    pub const VARIABLES: [&'static str; 11] = [
        "BATCHWRIGHT_HOME",
        "HF_ENDPOINT",
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HOME",
        "HUGGINGFACE_HUB_CACHE",
        "HUGGING_FACE_HUB_TOKEN",
        "XDG_CACHE_HOME",
    ];

    /// The hub's address as messages show it: without a name and password in it.
    #[must_use]
    pub fn hub_address(&self) -> String {
        let Some((scheme, rest)) = self.hub_endpoint.split_once("://") else {
            return self.hub_endpoint.clone();
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        format!("{scheme}://{host}{path}")
    }

    /// Reads variables through `get`. An empty variable counts as absent.
    pub fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Environment {
        let path = |name: &str| get(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let text = |name: &str| {
            get(name)
                .and_then(|v| v.into_string().ok())
                .filter(|v| !v.trim().is_empty())
        };
        let home = path("HOME").or_else(|| path("USERPROFILE"));
        let cache = path("XDG_CACHE_HOME").or_else(|| home.map(|h| h.join(".cache")));
        let hub_home = path("HF_HOME").or_else(|| cache.as_ref().map(|c| c.join("huggingface")));
        let hub_cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hub_home.as_ref().map(|h| h.join("hub")));
        let token_file =
            path("HF_TOKEN_PATH").or_else(|| hub_home.as_ref().map(|h| h.join("token")));
        let hub_token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| std::fs::read_to_string(token_file?).ok())
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty())
            .map(Token);
        let offline = text("HF_HUB_OFFLINE").is_some_and(|v| {
            matches!(v.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
        });
        Environment {
            models_dir: path("BATCHWRIGHT_HOME")
                .or_else(|| cache.map(|c| c.join("batchwright")))
                .map(|d| d.join("models")),
            hub_cache,
            hub_endpoint: text("HF_ENDPOINT")
                .unwrap_or_else(|| "https://huggingface.co".to_owned())
                .trim_end_matches('/')
                .to_owned(),
            hub_token,
            hub_network: if offline {
                Network::Offline
            } else {
                Network::Allowed
            },
            pip: [
                &["python3", "-m", "pip"][..],
                &["pip3"],
                &["pip"],
                &["python", "-m", "pip"],
            ]
            .iter()
            .map(|command| command.iter().map(|&word| word.to_owned()).collect())
            .collect(),
            patience: Patience::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from_variables(|name| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| OsString::from(v))
        })
    }

    /// A user whose models Python has already fetched, or whose disk is elsewhere, would download
    /// them again or fill the wrong disk.
    #[test]
    fn directories_follow_the_variables_in_order() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>);
        let cases: &[Case<'_>] = &[
            (&[], None, None),
            (
                &[("HOME", "/h")],
                Some("/h/.cache/batchwright/models"),
                Some("/h/.cache/huggingface/hub"),
            ),
            (
                &[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")],
                Some("/c/batchwright/models"),
                Some("/c/huggingface/hub"),
            ),
            (
                &[
                    ("HOME", "/h"),
                    ("BATCHWRIGHT_HOME", "/b"),
                    ("HF_HOME", "/f"),
                ],
                Some("/b/models"),
                Some("/f/hub"),
            ),
            (
                &[("HOME", "/h"), ("HF_HOME", "/f"), ("HF_HUB_CACHE", "/x")],
                Some("/h/.cache/batchwright/models"),
                Some("/x"),
            ),
            (
                &[("HOME", "/h"), ("HF_HOME", ""), ("BATCHWRIGHT_HOME", "")],
                Some("/h/.cache/batchwright/models"),
                Some("/h/.cache/huggingface/hub"),
            ),
        ];
        for (variables, models, hub) in cases {
            let found = environment(variables);
            assert_eq!(
                found.models_dir.as_deref(),
                models.map(std::path::Path::new),
                "{variables:?}"
            );
            assert_eq!(
                found.hub_cache.as_deref(),
                hub.map(std::path::Path::new),
                "{variables:?}"
            );
        }
    }

    /// A gated model would be refused although the user is logged in.
    #[test]
    fn the_token_comes_from_the_variable_or_the_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "from-file\n").unwrap();
        let at = home.path().to_str().unwrap();
        assert_eq!(
            environment(&[("HF_HOME", at)]).hub_token,
            Some(Token("from-file".into()))
        );
        let both = environment(&[("HF_HOME", at), ("HF_TOKEN", "from-variable")]);
        assert_eq!(both.hub_token, Some(Token("from-variable".into())));
        assert_eq!(environment(&[]).hub_token, None);
    }

    /// A mirror set by `HF_ENDPOINT` or a switch set for Python would be ignored.
    #[test]
    fn the_hub_s_switches_are_honoured() {
        let set = environment(&[("HF_ENDPOINT", "http://mirror/"), ("HF_HUB_OFFLINE", "1")]);
        assert_eq!(set.hub_endpoint, "http://mirror");
        assert_eq!(set.hub_network, Network::Offline);
        let unset = environment(&[("HF_HUB_OFFLINE", "0")]);
        assert_eq!(unset.hub_endpoint, "https://huggingface.co");
        assert_eq!(unset.hub_network, Network::Allowed);
    }

    /// A log or an error report would give the user's account away.
    #[test]
    fn secrets_are_not_shown() {
        let set = environment(&[
            ("HF_TOKEN", "hf_secret"),
            ("HF_ENDPOINT", "https://me:secret@mirror.example/hub"),
        ]);
        assert!(!format!("{:?}", set.hub_token).contains("secret"));
        assert_eq!(set.hub_address(), "https://mirror.example/hub");
        let plain = environment(&[("HF_ENDPOINT", "http://mirror:8080")]);
        assert_eq!(plain.hub_address(), "http://mirror:8080");
    }

    /// `doctor` would be silent on a variable that decides where models are looked for.
    #[test]
    fn every_variable_that_is_read_is_listed() {
        let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let _ = Environment::from_variables(|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        });
        // Read on Windows alone, in the place of HOME.
        asked.borrow_mut().remove("USERPROFILE");
        let listed: Vec<String> = asked.into_inner().into_iter().collect();
        assert_eq!(listed, Environment::VARIABLES);
    }
}
