//! The Open Inference Protocol, version 2, over HTTP: tensors as JSON or as bytes behind it.

use engine::{Input, LabelScore, Prediction, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::object::{object, objects};
use super::whole::{whole, wholes};
use crate::problem::Problem;

/// The tensors of a request.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct InferAsk {
    /// Comes back in the answer.
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default, deserialize_with = "object")]
    pub(crate) parameters: InferParameters,
    /// `text`, and `pair` for the second texts: BYTES, `[n]` or `[n, 1]`.
    #[serde(deserialize_with = "objects")]
    pub(crate) inputs: Vec<InferInput>,
    /// Which outputs, and how; all of them, as JSON, if left out.
    #[serde(default, deserialize_with = "objects")]
    pub(crate) outputs: Vec<InferOutput>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct InferParameters {
    /// All outputs as bytes.
    #[serde(default)]
    pub(crate) binary_data_output: bool,
    /// After how many microseconds nobody needs the answer.
    #[serde(default, deserialize_with = "whole")]
    pub(crate) timeout: Option<u64>,
    /// 1 before all others, 2 as most are, above that what can wait; 0 says nothing.
    #[serde(default, deserialize_with = "whole")]
    pub(crate) priority: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct InferInput {
    pub(crate) name: String,
    #[serde(deserialize_with = "wholes")]
    pub(crate) shape: Vec<u64>,
    pub(crate) datatype: String,
    #[serde(default, deserialize_with = "object")]
    pub(crate) parameters: InputParameters,
    /// Strings, in lists as deep as the shape or in one.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) data: Option<Value>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct InputParameters {
    /// The texts follow the JSON, each behind its length as four little-endian bytes; all of them take so many.
    #[serde(default, deserialize_with = "whole")]
    pub(crate) binary_data_size: Option<usize>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct InferOutput {
    pub(crate) name: String,
    #[serde(default, deserialize_with = "object")]
    pub(crate) parameters: OutputParameters,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct OutputParameters {
    #[serde(default)]
    pub(crate) binary_data: Option<bool>,
    /// Refused: `label` is an output of its own.
    #[serde(default, deserialize_with = "whole")]
    pub(crate) classification: Option<u64>,
}

/// The tensors of an answer. Those that were asked for as bytes follow the JSON.
#[derive(Serialize, ToSchema)]
pub(crate) struct InferAnswer<'a> {
    pub(crate) model_name: &'a str,
    pub(crate) model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a str>,
    pub(crate) outputs: Vec<OutputAnswer<'a>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OutputAnswer<'a> {
    pub(crate) name: &'static str,
    pub(crate) datatype: &'static str,
    pub(crate) shape: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Value>>)]
    pub(crate) data: Option<&'a Values>,
}

/// What a model takes or gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    pub(crate) name: &'static str,
    pub(crate) datatype: &'static str,
    /// Values a text.
    pub(crate) width: usize,
}

/// A tensor's values, row by row.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Values {
    Floats(Vec<f32>),
    Texts(Vec<String>),
}

/// The tensors that a model takes.
pub(crate) fn inputs(task: Task) -> Vec<TensorSpec> {
    let bytes = |name| TensorSpec {
        name,
        datatype: "BYTES",
        width: 1,
    };
    match task {
        Task::Embed | Task::Tag => vec![bytes("text")],
        Task::Rerank | Task::Classify => vec![bytes("text"), bytes("pair")],
    }
}

/// The tensors that a model gives.
pub(crate) fn outputs(task: Task, width: usize) -> Vec<TensorSpec> {
    let tensor = |name, datatype, width| TensorSpec {
        name,
        datatype,
        width,
    };
    match task {
        Task::Embed => vec![tensor("embedding", "FP32", width)],
        Task::Rerank => vec![tensor("score", "FP32", 1)],
        Task::Classify => vec![tensor("label", "BYTES", 1), tensor("scores", "FP32", width)],
        Task::Tag => vec![tensor("entities", "BYTES", 1)],
    }
}

/// Cuts the body into JSON and the bytes behind it.
pub(crate) fn split(bytes: &[u8], header: Option<usize>) -> Result<(&[u8], &[u8]), Problem> {
    match header {
        None => Ok((bytes, &[])),
        Some(length) => bytes.split_at_checked(length).ok_or_else(|| {
            Problem::bad_request(format!(
                "Inference-Header-Content-Length is {length}, and the body has {} bytes",
                bytes.len()
            ))
        }),
    }
}

/// The texts, or pairs, of a request.
pub(crate) fn texts(inputs: &[InferInput], mut binary: &[u8]) -> Result<Vec<Input>, Problem> {
    let mut columns = Columns::default();
    for input in inputs {
        columns.add(&input.name, column(input, &mut binary)?)?;
    }
    if !binary.is_empty() {
        return Err(Problem::bad_request(format!(
            "{} bytes follow the last binary input; check each `binary_data_size`",
            binary.len()
        )));
    }
    columns.into_inputs()
}

/// The inputs of a request by their names.
#[derive(Default)]
pub(crate) struct Columns {
    text: Option<Vec<String>>,
    pair: Option<Vec<String>>,
}

impl Columns {
    pub(crate) fn add(&mut self, name: &str, values: Vec<String>) -> Result<(), Problem> {
        let place = match name {
            "text" => &mut self.text,
            "pair" => &mut self.pair,
            other => {
                return Err(Problem::bad_request(format!(
                    "there is no input `{other}`; name them `text` and `pair`"
                )));
            }
        };
        match place.replace(values) {
            None => Ok(()),
            Some(_) => Err(Problem::bad_request(format!(
                "the input `{name}` stands twice"
            ))),
        }
    }

    pub(crate) fn into_inputs(self) -> Result<Vec<Input>, Problem> {
        match (self.text, self.pair) {
            (None, _) => Err(Problem::bad_request("the input `text` is missing")),
            (Some(texts), None) => Ok(texts.into_iter().map(Input::Text).collect()),
            (Some(texts), Some(pairs)) if texts.len() == pairs.len() => {
                let pairs = texts.into_iter().zip(pairs);
                Ok(pairs.map(|(text, pair)| Input::Pair(text, pair)).collect())
            }
            (Some(texts), Some(pairs)) => Err(Problem::bad_request(format!(
                "`text` has {} values and `pair` has {}; each text needs its pair",
                texts.len(),
                pairs.len()
            ))),
        }
    }
}

/// How many texts an input has by its type and shape.
pub(crate) fn rows<T>(name: &str, datatype: &str, shape: &[T]) -> Result<T, Problem>
where
    T: Copy + PartialEq + From<u8> + std::fmt::Debug,
{
    if datatype != "BYTES" {
        return Err(bad_input(
            name,
            format!("its datatype is {datatype}; texts are BYTES"),
        ));
    }
    match *shape {
        [rows] => Ok(rows),
        [rows, one] if one == T::from(1) => Ok(rows),
        _ => Err(bad_input(
            name,
            format!("its shape is {shape:?}; it must be [n] or [n, 1]"),
        )),
    }
}

pub(crate) fn bad_input(name: &str, words: impl std::fmt::Display) -> Problem {
    Problem::bad_request(format!("the input `{name}`: {words}"))
}

fn column(input: &InferInput, binary: &mut &[u8]) -> Result<Vec<String>, Problem> {
    let bad = |words: String| bad_input(&input.name, words);
    let rows = rows(&input.name, &input.datatype, &input.shape)?;
    let values = match (&input.data, input.parameters.binary_data_size) {
        (Some(data), None) => {
            let mut values = Vec::new();
            flatten(data, &mut values)
                .ok_or_else(|| bad("`data` must be a list of strings".to_owned()))?;
            values
        }
        (None, Some(size)) => {
            let Some((mine, rest)) = binary.split_at_checked(size) else {
                let left = binary.len();
                return Err(bad(format!(
                    "its binary_data_size is {size}, and {left} bytes are left"
                )));
            };
            *binary = rest;
            unpack(mine).map_err(bad)?
        }
        _ => {
            return Err(bad(
                "give `data` or `binary_data_size`, and not both".to_owned()
            ));
        }
    };
    if values.len() as u64 != rows {
        let count = values.len();
        return Err(bad(format!(
            "its shape is {:?}, and it has {count} values",
            input.shape
        )));
    }
    Ok(values)
}

fn flatten(value: &Value, into: &mut Vec<String>) -> Option<()> {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => {
            for value in values {
                flatten(value, into)?;
            }
        }
        _ => return None,
    }
    Some(())
}

/// Texts, each behind its length as four little-endian bytes.
pub(crate) fn unpack(mut bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(|| {
            format!(
                "value {} is {length} bytes long, and {} are left",
                values.len(),
                rest.len()
            )
        })?;
        let text = std::str::from_utf8(text)
            .map_err(|error| format!("value {} is not UTF-8: {error}", values.len()))?;
        values.push(text.to_owned());
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(values)
    } else {
        Err(format!(
            "{} bytes are left over behind the last value",
            bytes.len()
        ))
    }
}

/// The values of an output: `labels` are the model's, in its order.
pub(crate) fn values(name: &str, predictions: &[Prediction], labels: &[String]) -> Values {
    match name {
        "label" => Values::Texts(predictions.iter().map(best).collect()),
        "entities" => Values::Texts(predictions.iter().map(entities).collect()),
        _ => Values::Floats(
            predictions
                .iter()
                .flat_map(|one| floats(one, labels))
                .collect(),
        ),
    }
}

fn best(prediction: &Prediction) -> String {
    match prediction {
        Prediction::Labels(labels) => labels
            .first()
            .map(|best| best.label.clone())
            .unwrap_or_default(),
        _ => String::new(),
    }
}

fn floats(prediction: &Prediction, labels: &[String]) -> Vec<f32> {
    match prediction {
        Prediction::Embedding(vector) => vector.clone(),
        Prediction::Score(score) => vec![*score],
        Prediction::Labels(scores) => in_order(scores, labels),
        Prediction::Entities(_) => Vec::new(),
    }
}

/// Scores in the model's order of labels. Labels of one name keep the order of their scores.
fn in_order(scores: &[LabelScore], labels: &[String]) -> Vec<f32> {
    let mut taken = vec![false; scores.len()];
    let score = |label: &String| {
        let found = (0..scores.len()).find(|&at| !taken[at] && scores[at].label == *label);
        found.map_or(0.0, |at| {
            taken[at] = true;
            scores[at].score
        })
    };
    labels.iter().map(score).collect()
}

fn entities(prediction: &Prediction) -> String {
    let Prediction::Entities(entities) = prediction else {
        return String::new();
    };
    let shown: Vec<Value> = entities
        .iter()
        .map(|entity| {
            let mut fields = Map::new();
            fields.insert("label".into(), entity.label.as_str().into());
            fields.insert("score".into(), entity.score.into());
            fields.insert("start".into(), entity.start.into());
            fields.insert("end".into(), entity.end.into());
            fields.insert("text".into(), entity.text.as_str().into());
            Value::Object(fields)
        })
        .collect();
    Value::Array(shown).to_string()
}

impl Values {
    /// As the binary extension writes them.
    pub(crate) fn pack(&self, into: &mut Vec<u8>) {
        match self {
            Values::Floats(values) => {
                for value in values {
                    into.extend_from_slice(&value.to_le_bytes());
                }
            }
            Values::Texts(texts) => {
                for text in texts {
                    into.extend_from_slice(&(text.len() as u32).to_le_bytes());
                    into.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(json: Value) -> InferInput {
        serde_json::from_value(json).unwrap()
    }

    /// A damaged binary body would be read beyond its end, or as other texts.
    #[test]
    fn packed_texts_come_back_and_damage_is_an_error() {
        let texts = ["", "grüß", "a"].map(String::from).to_vec();
        let mut bytes = Vec::new();
        Values::Texts(texts.clone()).pack(&mut bytes);
        assert_eq!(unpack(&bytes), Ok(texts));
        for cut in 1..bytes.len() {
            let whole = [4, 4 + 4 + 6].contains(&cut);
            assert_eq!(unpack(&bytes[..cut]).is_err(), !whole, "{cut}");
        }
        assert!(
            unpack(&[1, 0, 0, 0, 0xff])
                .unwrap_err()
                .contains("not UTF-8")
        );
    }

    /// A client would get the answers to other texts than it sent, or a 500.
    #[test]
    fn inputs_that_do_not_fit_are_refused() {
        let good = serde_json::json!({"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": [["a"], ["b"]]});
        assert_eq!(
            texts(&[input(good.clone())], &[]).unwrap(),
            [Input::from("a"), "b".into()]
        );
        for (key, value, words) in [
            ("name", "words".into(), "no input `words`"),
            ("datatype", "FP32".into(), "texts are BYTES"),
            ("shape", serde_json::json!([3]), "has 2 values"),
            ("shape", serde_json::json!([2, 2]), "[n] or [n, 1]"),
            ("data", serde_json::json!([1, 2]), "list of strings"),
            ("data", Value::Null, "give `data`"),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            let error = texts(&[input(bad)], &[]).unwrap_err();
            assert!(error.message.contains(words), "{error}");
        }
        let twice = [input(good.clone()), input(good.clone())];
        assert!(texts(&twice, &[]).unwrap_err().message.contains("twice"));
        assert!(
            texts(&[input(good)], &[0])
                .unwrap_err()
                .message
                .contains("follow")
        );
        assert!(texts(&[], &[]).unwrap_err().message.contains("missing"));
    }
}
