//! What the OpenAPI document says of bodies beyond their types: which fields go together, and what numbers and lists
//! there may be.

use engine::Task;
use serde_json::{Map, Value, json};

use crate::openapi::{Components, of};
use crate::predict::OPTIONS_OF;
use crate::wire::oip::outputs;
use crate::wire::own::Ask;

/// The tasks, and the names of what their own routes are asked.
const ASKS: [(Task, &str); 4] = [
    (Task::Embed, "EmbedAsk"),
    (Task::Classify, "ClassifyAsk"),
    (Task::Rerank, "RerankAsk"),
    (Task::Tag, "TagAsk"),
];

pub(crate) fn embed_ask(into: &mut Components) -> Value {
    ask_of(into, Task::Embed)
}

pub(crate) fn classify_ask(into: &mut Components) -> Value {
    ask_of(into, Task::Classify)
}

pub(crate) fn rerank_ask(into: &mut Components) -> Value {
    ask_of(into, Task::Rerank)
}

pub(crate) fn tag_ask(into: &mut Components) -> Value {
    ask_of(into, Task::Tag)
}

/// Refers to what the route of a task is asked, which [`rule`] makes of what all of them are asked.
fn ask_of(into: &mut Components, task: Task) -> Value {
    of::<Ask>(into);
    let found = ASKS.iter().find(|(known, _)| *known == task);
    let name = found.map_or("Ask", |(_, name)| name);
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// What the route of a task is asked: without the options that mean nothing to it, and with the texts that models of
/// this task read. Where some texts of several are of the wrong kind, the others are answered.
fn narrowed(ask: &Value, task: Task) -> Value {
    let mut ask = ask.clone();
    let (kind, row) = match task {
        Task::Embed | Task::Tag => (
            "string",
            json!({"type": "string", "description": "One text."}),
        ),
        Task::Rerank => {
            let mut pair = list_of(2, json!({}));
            pair["description"] = "One pair of texts.".into();
            ("array", pair)
        }
        Task::Classify => ("", Value::Null),
    };
    if !kind.is_empty() {
        ask["properties"]["text"] = json!({"oneOf": [row, {"type": "null"}]});
        ask["properties"]["texts"]["contains"] = json!({"type": kind});
    }
    let foreign = OPTIONS_OF
        .into_iter()
        .filter(|(_, tasks)| !tasks.contains(&task));
    let mut without: Vec<&str> = foreign.map(|(name, _)| name).collect();
    if kind == "string" {
        without.extend(["query", "passages"]);
        ask["allOf"][0] = one_of(&[&["text"], &["texts"]]);
    }
    if let Some(fields) = ask["properties"].as_object_mut() {
        fields.retain(|name, _| !without.contains(&name.as_str()));
    }
    ask
}

/// A field that is there, and is not null.
fn there(name: &str) -> Value {
    json!({"required": [name], "properties": {name: {"not": {"type": "null"}}}})
}

/// Fields that are left out or null.
fn left_out(names: &[&str]) -> Value {
    let null = |name: &&str| ((*name).to_owned(), json!({"type": "null"}));
    json!({"properties": names.iter().map(null).collect::<Map<_, _>>()})
}

/// One of these and not the others.
fn one_of(all: &[&[&str]]) -> Value {
    let one = |some: &&[&str]| {
        let others = all.iter().flat_map(|names| names.iter().copied());
        let others: Vec<&str> = others.filter(|name| !some.contains(name)).collect();
        let mut parts: Vec<Value> = some.iter().map(|name| there(name)).collect();
        parts.push(left_out(&others));
        json!({"allOf": parts})
    };
    json!({"anyOf": all.iter().map(one).collect::<Vec<_>>()})
}

/// A prompt, or the name of one.
fn one_prompt() -> Value {
    json!({"anyOf": [left_out(&["prompt"]), left_out(&["prompt_name"])]})
}

/// So many strings.
fn list_of(count: usize, item: Value) -> Value {
    let mut list =
        json!({"type": "array", "items": {"type": "string"}, "minItems": count, "maxItems": count});
    merge(&mut list["items"], item);
    list
}

/// Two texts that are not both empty.
fn pair_of_words() -> Value {
    let mut pair = list_of(2, json!({}));
    pair["contains"] = json!({"minLength": 1});
    pair
}

/// Of whatever a model does.
fn output_names() -> Vec<&'static str> {
    let tasks = ASKS.iter().map(|(task, _)| *task);
    let tensors = tasks.flat_map(|task| outputs(task, 1));
    tensors.map(|tensor| tensor.name).collect()
}

/// By the name of the schema.
fn rules() -> Value {
    let some = || json!({"minItems": 1});
    let words = || json!({"minLength": 1});
    let all_words = || json!({"minItems": 1, "items": {"minLength": 1}});
    json!({
        "Ask": {
            "allOf": [one_of(&[&["text"], &["texts"], &["query", "passages"]]), one_prompt()],
            "properties": {"texts": some(), "passages": some()},
        },
        "TokenizeAsk": {"allOf": [one_of(&[&["text"], &["texts"]]), one_prompt()]},
        "BenchmarkAsk": {"properties": {
            "texts": {"minItems": 1, "maxItems": 10_000},
            "batch_tokens": {"maxItems": 100, "items": {"minimum": 1, "maximum": 65_536}},
            "threads": {"maxItems": 100, "items": {"minimum": 1}},
        }},
        "Row": {"oneOf": [{"type": "string"}, list_of(2, json!({}))]},
        // One text of a pair may be empty; nothing at all is refused.
        "TeiRow": {"oneOf": [list_of(1, words()), pair_of_words()]},
        "TeiRows": {"oneOf": [
            {"type": "string", "minLength": 1},
            list_of(1, words()),
            pair_of_words(),
            {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/TeiRow"}},
        ]},
        "TeiEmbed": {"properties": {
            "inputs": {"minLength": 1, "minItems": 1, "items": {"minLength": 1}},
            "prompt_name": {"type": "null"},
        }},
        "TeiRerank": {
            "properties": {"texts": some()},
            "anyOf": [{"properties": {"query": words()}}, {"properties": {"texts": all_words()}}],
        },
        "TeiSentences": {"properties": {"source_sentence": words(), "sentences": all_words()}},
        // As its libraries write it, and in small letters.
        "TeiSide": {"enum": ["Left", "Right", "left", "right"]},
        "EmbeddingsAsk": {"properties": {"input": some()}},
        "InferAsk": {"properties": {"inputs": some()}},
        "InferInput": {"properties": {
            "name": {"enum": ["text", "pair"]},
            "datatype": {"const": "BYTES"},
            "shape": {"minItems": 1, "maxItems": 2},
            "data": {"items": {"type": ["string", "array"], "items": {"type": "string"}}},
        }},
        "InferOutput": {"properties": {"name": {"enum": output_names()}}},
        "OutputParameters": {"properties": {"classification": {"maximum": 0}}},
    })
}

/// Puts the rules into the schemas that they are of, and says how large numbers may be.
pub(crate) fn rule(schemas: &mut Map<String, Value>) {
    if let Value::Object(rules) = rules() {
        for (name, rule) in rules {
            if let Some(schema) = schemas.get_mut(&name) {
                merge(schema, rule);
            }
        }
    }
    if let Some(ask) = schemas.get("Ask").cloned() {
        for (task, name) in ASKS {
            schemas.insert(name.to_owned(), narrowed(&ask, task));
        }
    }
    schemas.values_mut().for_each(bound);
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Numbers are those of this program's types.
fn bound(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let is = |fields: &Map<String, Value>, kind: &str| match fields.get("type") {
                Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
                Some(one) => one == kind,
                None => false,
            };
            if is(fields, "integer") {
                fields.entry("maximum").or_insert(u64::MAX.into());
            } else if is(fields, "number") {
                fields.entry("minimum").or_insert(f32::MIN.into());
                fields.entry("maximum").or_insert(f32::MAX.into());
            }
            fields.values_mut().for_each(bound);
        }
        Value::Array(values) => values.iter_mut().for_each(bound),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule would be lost when a body or a field of it is renamed, or forbid everything.
    #[test]
    fn rules_are_of_fields_that_there_are() {
        let document = crate::openapi::document("m", "1");
        let document: Value = serde_json::from_slice(&document).unwrap();
        let schemas = &document["components"]["schemas"];
        for (name, rule) in rules().as_object().unwrap() {
            let schema = &schemas[name];
            assert!(schema.is_object(), "{name}");
            for (field, _) in rule["properties"].as_object().into_iter().flatten() {
                let place = schema["properties"][field].as_object().unwrap();
                let has_type = ["type", "$ref", "anyOf", "oneOf", "enum", "const"];
                assert!(
                    has_type.iter().any(|key| place.contains_key(*key)),
                    "{name}.{field}"
                );
            }
        }
        assert_eq!(schemas["Ask"]["properties"]["top_k"]["minimum"], 1);
        assert_eq!(schemas["Ask"]["properties"]["top_k"]["maximum"], u64::MAX);
        assert_eq!(
            schemas["SettingsBody"]["properties"]["ageing_ms"]["maximum"],
            3_600_000
        );
        let fields = |name: &str| schemas[name]["properties"].as_object().unwrap();
        for (name, has) in [
            ("EmbedAsk", "dimensions text texts"),
            (
                "ClassifyAsk",
                "top_k threshold raw_scores text texts query passages",
            ),
            ("RerankAsk", "raw_scores text texts query passages"),
            ("TagAsk", "threshold aggregation text texts"),
        ] {
            let some = OPTIONS_OF.iter().map(|(name, _)| *name);
            for field in some.chain(["text", "texts", "query", "passages"]) {
                let is_wanted = has.split(' ').any(|one| one == field);
                assert_eq!(
                    fields(name).contains_key(field),
                    is_wanted,
                    "{name}.{field}"
                );
            }
            let common = ["model", "prompt", "deadline_ms"];
            assert!(common.iter().all(|field| fields(name).contains_key(*field)));
        }
        assert_eq!(fields("EmbedAsk")["text"]["anyOf"][0]["type"], "string");
        assert_eq!(fields("RerankAsk")["texts"]["contains"]["type"], "array");
        let pair = &schemas["Row"]["anyOf"][1];
        assert_eq!(
            (&pair["minItems"], &pair["maxItems"]),
            (&json!(2), &json!(2))
        );
        let forms = schemas["Ask"]["allOf"][0]["anyOf"].as_array().unwrap();
        assert_eq!(forms.len(), 3);
        assert_eq!(
            forms[0]["allOf"][1],
            left_out(&["texts", "query", "passages"])
        );
    }
}
