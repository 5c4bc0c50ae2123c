//! What a request looks like to each kind of server.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Value, json};

use crate::LoadError;

/// How a server wants to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Batchwright's own: `POST /embed` with `{"texts": […]}`.
    #[default]
    Own,
    /// OpenAI's: `POST /v1/embeddings` with `{"model": …, "input": […]}`.
    OpenAi,
    /// The Open Inference Protocol, version 2, with one tensor of BYTES: KServe, Triton, MLServer.
    Oip,
    /// Text Embeddings Inference's: `POST /embed` with `{"inputs": […]}`.
    Tei,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Own, Self::OpenAi, Self::Oip, Self::Tei];

    /// As it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::OpenAi => "openai",
            Self::Oip => "oip",
            Self::Tei => "tei",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| "write own, openai, oip or tei".to_owned())
    }
}

/// What is asked about each text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Its vector.
    #[default]
    Embed,
    /// Its label.
    Classify,
    /// Its named spans.
    Tag,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Classify => "classify",
            Self::Tag => "tag",
        }
    }
}

/// What requests ask, and of which model.
///
/// ```
/// use batchwright_load::{Endpoint, Protocol};
///
/// let endpoint = Endpoint { protocol: Protocol::OpenAi, ..Endpoint::default() };
/// assert_eq!(endpoint.path()?, "/v1/embeddings");
/// # Ok::<(), batchwright_load::LoadError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The form.
    pub protocol: Protocol,
    /// The question.
    pub action: Action,
    /// The model's name, where the server has several or the protocol names it.
    pub model: Option<String>,
}

impl Endpoint {
    /// The path that the protocol has for this.
    ///
    /// # Errors
    /// [`LoadError::Option`] where the protocol has no such request, or wants a model's name.
    pub fn path(&self) -> Result<String, LoadError> {
        let path = match (self.protocol, self.action) {
            (Protocol::Own, action) => format!("/{}", action.name()),
            (Protocol::OpenAi, Action::Embed) => "/v1/embeddings".to_owned(),
            (Protocol::Tei, Action::Embed) => "/embed".to_owned(),
            (Protocol::Tei, Action::Classify) => "/predict".to_owned(),
            (Protocol::OpenAi | Protocol::Tei, action) => {
                return Err(LoadError::Option {
                    option: "task",
                    reason: format!(
                        "the protocol {} has no request to {}; the protocol own has",
                        self.protocol,
                        action.name()
                    ),
                });
            }
            (Protocol::Oip, _) => match &self.model {
                Some(model) => format!("/v2/models/{model}/infer"),
                None => {
                    return Err(LoadError::Option {
                        option: "model",
                        reason: "the protocol oip names the model in the path; say which".into(),
                    });
                }
            },
        };
        Ok(path)
    }

    /// The body that asks about these texts.
    #[must_use]
    pub fn body(&self, texts: &[&str]) -> Value {
        match (self.protocol, &self.model) {
            (Protocol::Own, None) => json!({ "texts": texts }),
            (Protocol::Own, Some(model)) => json!({ "model": model, "texts": texts }),
            (Protocol::Tei, _) => json!({ "inputs": texts }),
            // The field is required; servers with one model do not look at it.
            (Protocol::OpenAi, model) => {
                json!({ "model": model.as_deref().unwrap_or("default"), "input": texts })
            }
            (Protocol::Oip, _) => json!({
                "inputs": [{
                    "name": "text",
                    "shape": [texts.len()],
                    "datatype": "BYTES",
                    "data": texts,
                }],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server would be measured refusing what it does not understand.
    #[test]
    fn each_protocol_has_its_own_request() {
        let texts = ["a \"b\"", "ü"];
        for (protocol, path, body) in [
            (
                Protocol::Own,
                "/embed",
                r#"{"model":"m","texts":["a \"b\"","ü"]}"#,
            ),
            (
                Protocol::OpenAi,
                "/v1/embeddings",
                r#"{"model":"m","input":["a \"b\"","ü"]}"#,
            ),
            (
                Protocol::Oip,
                "/v2/models/m/infer",
                r#"{"inputs":[{"name":"text","shape":[2],"datatype":"BYTES","data":["a \"b\"","ü"]}]}"#,
            ),
            (Protocol::Tei, "/embed", r#"{"inputs":["a \"b\"","ü"]}"#),
        ] {
            let endpoint = Endpoint {
                protocol,
                model: Some("m".into()),
                ..Endpoint::default()
            };
            assert_eq!(endpoint.path().unwrap(), path);
            assert_eq!(endpoint.body(&texts).to_string(), body);
            assert_eq!(protocol.name().parse(), Ok(protocol));
        }
    }

    /// The user would read of a 404 instead of what to change.
    #[test]
    fn what_a_protocol_cannot_ask_is_said_beforehand() {
        for (protocol, action, words) in [
            (Protocol::Oip, Action::Embed, "say which"),
            (Protocol::OpenAi, Action::Tag, "no request to tag"),
            (Protocol::Tei, Action::Tag, "no request to tag"),
        ] {
            let endpoint = Endpoint {
                protocol,
                action,
                model: None,
            };
            let error = endpoint.path().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
