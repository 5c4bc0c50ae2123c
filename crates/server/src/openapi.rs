//! The OpenAPI document, from the table of routes and the types of the bodies.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::problem::{Code, ErrorAnswer};
use crate::reply;
use crate::routes::{Access, Gives, Protocol, ROUTES, Route, Takes};
use crate::wire::own::Ask;

/// The schemas that the document refers to.
#[derive(Default)]
pub(crate) struct Components(Map<String, Value>);

/// Adds a type and what it consists of, and refers to it.
pub(crate) type Schema = fn(&mut Components) -> Value;

/// The schema of `T`.
pub(crate) fn of<T: ToSchema>(into: &mut Components) -> Value {
    let mut inner = Vec::new();
    T::schemas(&mut inner);
    for (name, schema) in inner {
        into.0.entry(name).or_insert_with(|| json!(schema));
    }
    let schema = json!(T::schema());
    let name = T::name();
    // Lists have no name of their own.
    if schema["type"] == "array" || name.starts_with("Vec") {
        return schema;
    }
    into.0.insert(name.to_string(), schema);
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The document as JSON, with a model of this server for an example.
pub(crate) fn document(name: &str, version: &str) -> Bytes {
    let mut components = Components::default();
    let mut paths = Map::new();
    for route in described() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        let mut operation = operation(route, &mut components);
        if route.path.ends_with("/infer") {
            // Where outputs are asked for as bytes.
            operation["responses"]["200"]["content"]["application/octet-stream"] = json!({});
        }
        for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
            let known = [("name", name), ("version", version)];
            let known = known.into_iter().find(|(key, _)| parameter["name"] == *key);
            if let Some((_, example)) = known.filter(|_| parameter["in"] == "path") {
                parameter["example"] = example.into();
            }
        }
        path[route.method.name().to_lowercase()] = operation;
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Batchwright",
            "version": env!("CARGO_PKG_VERSION"),
            "description": description(),
        },
        "paths": paths,
        "components": {
            "schemas": components.0,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    });
    any_for_one(&mut document);
    reply::to_json(&document)
}

/// What serde tells apart by trying one form after the other is any of them: a score by itself is also a part of a
/// label with its score, which `oneOf` would forbid.
fn any_for_one(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(forms) = fields.remove("oneOf") {
                fields.insert("anyOf".to_owned(), forms);
            }
            fields.values_mut().for_each(any_for_one);
        }
        Value::Array(values) => values.iter_mut().for_each(any_for_one),
        _ => {}
    }
}

/// The routes that HTTP alone can be used for.
fn described() -> impl Iterator<Item = &'static Route> {
    ROUTES
        .iter()
        .filter(|route| route.protocol != Protocol::Grpc)
}

fn description() -> String {
    let codes: Vec<String> = Code::ALL
        .iter()
        .map(|code| format!("`{}` ({})", code.name(), code.status().as_u16()))
        .collect();
    format!(
        "Predictions over HTTP. Errors carry one of these codes: {}. With 429 and 503, `Retry-After` says when \
         to try again. The header `x-request-deadline-ms` says after how long nobody needs the answer, \
         `x-request-priority` is high, normal or low; answers tell their times in microseconds in \
         `x-prepare-time-us`, `x-queue-time-us`, `x-compute-time-us` and `x-total-time-us`.",
        codes.join(", ")
    )
}

fn any_of(schemas: &[Schema], components: &mut Components) -> Value {
    let mut all: Vec<Value> = schemas.iter().map(|schema| schema(components)).collect();
    match all.len() {
        1 => all.remove(0),
        _ => json!({"anyOf": all}),
    }
}

fn operation(route: &Route, components: &mut Components) -> Value {
    let id: String = format!("{}{}", route.method.name().to_lowercase(), route.path)
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect();
    let mut operation = json!({
        "operationId": id.trim_end_matches('_'),
        "summary": route.words,
        "tags": [match route.protocol {
            Protocol::Own => "own",
            Protocol::OpenAi => "OpenAI",
            Protocol::OpenInference => "Open Inference Protocol",
            Protocol::TextEmbeddings => "Text Embeddings Inference",
            Protocol::Grpc => "gRPC",
        }],
        "parameters": parameters(route, components),
        "responses": {
            "200": {"description": "Done", "content": content(route.gives, components)},
            "4XX": {"description": "Something is wrong with the request", "content": error(route, components)},
            "5XX": {"description": "The server cannot answer", "content": error(route, components)},
        },
    });
    if route.access != Access::Open {
        operation["security"] = json!([{"key": []}, {}]);
    }
    match route.takes {
        Takes::Nothing => {}
        Takes::Json(schemas) => {
            operation["requestBody"] = json!({
                "required": true,
                "content": {"application/json": with_example(route, json!({"schema": any_of(schemas, components)}))},
            });
        }
        Takes::Lines(schema) => {
            operation["requestBody"] = json!({
                "required": true,
                "content": {"application/x-ndjson": with_example(route, json!({"itemSchema": schema(components)}))},
            });
        }
    }
    operation
}

/// A body for each route, for people who read the document and for what tries the routes by it.
const EXAMPLES: &[(&str, &str)] = &[
    ("/predict", r#"{"text": "the train was late again"}"#),
    (
        "/embed",
        r#"{"texts": ["turn on the lights", "what is my balance"]}"#,
    ),
    (
        "/classify",
        r#"{"texts": ["the train was late again"], "top_k": 2}"#,
    ),
    (
        "/rerank",
        r#"{"query": "opening hours", "passages": ["We open at nine.", "Parking is free."]}"#,
    ),
    ("/tag", r#"{"text": "Ada Lovelace lived in London"}"#),
    ("/tokenize", r#"{"text": "turn on the lights"}"#),
    (
        "/similarity",
        r#"{"inputs": {"source_sentence": "opening hours", "sentences": ["We open at nine."]}}"#,
    ),
    (
        "/predict/stream",
        r#"["turn on the lights", {"id": 7, "text": "what is my balance"}]"#,
    ),
    (
        "/benchmark",
        r#"{"texts": ["turn on the lights", "what is my balance"], "seconds": 5}"#,
    ),
    (
        "/models/{name}",
        r#"{"max_wait_us": 0, "max_texts": 10000}"#,
    ),
    (
        "/v1/embeddings",
        r#"{"input": ["turn on the lights"], "encoding_format": "base64"}"#,
    ),
    ("/v2/models/{name}/infer", INFER),
    ("/v2/models/{name}/versions/{version}/infer", INFER),
    ("/", r#"{"inputs": "turn on the lights"}"#),
];

const INFER: &str = r#"{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["turn on the lights"]}]}"#;

fn with_example(route: &Route, mut content: Value) -> Value {
    let found = EXAMPLES.iter().find(|(path, _)| *path == route.path);
    let example = found.and_then(|(_, example)| serde_json::from_str(example).ok());
    if let Some(example) = example {
        content["example"] = example;
    }
    content
}

fn content(gives: Gives, components: &mut Components) -> Value {
    match gives {
        Gives::Json(schemas) => {
            json!({"application/json": {"schema": any_of(schemas, components)}})
        }
        Gives::Object => json!({"application/json": {"schema": {"type": ["object", "array"]}}}),
        Gives::Lines(schema) => json!({"application/x-ndjson": {"itemSchema": schema(components)}}),
        Gives::Text => json!({"text/plain": {"schema": {"type": "string"}}}),
        Gives::Page => json!({"text/html": {"schema": {"type": "string"}}}),
    }
}

fn error(route: &Route, components: &mut Components) -> Value {
    let schema = match route.protocol {
        // Those that share their path or their handler with another protocol also share its errors; health has a shape of
        // its own.
        Protocol::Own
            if matches!(route.takes, Takes::Json([_]))
                && !matches!(route.path, "/classify" | "/tag") =>
        {
            of::<ErrorAnswer<'static>>(components)
        }
        _ => json!({"type": "object"}),
    };
    json!({"application/json": {"schema": schema}})
}

fn parameters(route: &Route, components: &mut Components) -> Value {
    let mut all: Vec<Value> = route
        .path
        .split(['{', '}'])
        .skip(1)
        .step_by(2)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let versioned = [
        "/models/{name}",
        "/models/{name}/load",
        "/models/{name}/unload",
    ];
    if versioned.contains(&route.path) && route.access == Access::Control {
        all.push(json!({"name": "version", "in": "query", "schema": {"type": "string"}}));
    }
    if let Takes::Lines(_) = route.takes {
        of::<Ask>(components);
        let ask = components.0.get("Ask").cloned().unwrap_or_default();
        let texts = ["text", "texts", "query", "passages", "deadline_ms"];
        for (name, schema) in ask["properties"].as_object().into_iter().flatten() {
            if !texts.contains(&name.as_str()) {
                all.push(json!({"name": name, "in": "query", "schema": schema}));
            }
        }
    }
    Value::Array(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that is generated from the document would miss a route or break on a dangling reference.
    #[test]
    fn every_route_is_described_and_every_reference_leads_somewhere() {
        let document: Value = serde_json::from_slice(&document("m", "1")).unwrap();
        for route in described() {
            let operation = &document["paths"][route.path][route.method.name().to_lowercase()];
            assert_eq!(operation["summary"], route.words, "{}", route.path);
        }
        for route in described().filter(|route| !matches!(route.takes, Takes::Nothing)) {
            let shown = with_example(route, json!({}));
            assert!(!shown["example"].is_null(), "{} has no example", route.path);
        }
        let mut references = 0;
        let text = document.to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name}"
            );
            references += 1;
        }
        assert!(references > 20, "{references}");
    }
}
