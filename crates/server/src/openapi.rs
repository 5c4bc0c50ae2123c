//! The OpenAPI document, from the table of routes and the types of the bodies.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::problem::{Code, ErrorAnswer};
use crate::reply;
use crate::routes::{Access, Gives, Protocol, Query, ROUTES, Route, Takes};
use crate::rules;
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
        for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
            let known = [("name", name), ("version", version)];
            let known = known.into_iter().find(|(key, _)| parameter["name"] == *key);
            if let Some((_, example)) = known.filter(|_| parameter["in"] == "path") {
                parameter["example"] = example.into();
            }
        }
        path[route.method.name().to_lowercase()] = operation;
    }
    rules::rule(&mut components.0);
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

fn with_example(route: &Route, mut content: Value) -> Value {
    let example = route.example.map(serde_json::from_str::<Value>);
    if let Some(Ok(example)) = example {
        content["example"] = example;
    }
    content
}

fn content(gives: Gives, components: &mut Components) -> Value {
    match gives {
        Gives::Json(schemas) => {
            json!({"application/json": {"schema": any_of(schemas, components)}})
        }
        Gives::JsonAndBytes(schemas) => json!({
            "application/json": {"schema": any_of(schemas, components)},
            "application/octet-stream": {},
        }),
        Gives::Object => json!({"application/json": {"schema": {"type": ["object", "array"]}}}),
        Gives::Lines(schema) => json!({"application/x-ndjson": {"itemSchema": schema(components)}}),
        Gives::Text => json!({"text/plain": {"schema": {"type": "string"}}}),
        Gives::Page => json!({"text/html": {"schema": {"type": "string"}}}),
    }
}

fn error(route: &Route, components: &mut Components) -> Value {
    let schema = match route.protocol {
        // Those that take another protocol's bodies too give its errors for them; health has a shape of its own.
        Protocol::Own if matches!(route.takes, Takes::Json([_])) => {
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
    match route.query {
        Query::Ignored | Query::Refused => {}
        Query::Version => {
            all.push(json!({"name": "version", "in": "query", "schema": {"type": "string"}}));
        }
        Query::Options => all.extend(options(components)),
    }
    Value::Array(all)
}

/// The options of our own bodies, each by itself; texts and deadlines are no options of a stream.
fn options(components: &mut Components) -> Vec<Value> {
    of::<Ask>(components);
    let ask = components.0.get("Ask").cloned().unwrap_or_default();
    let others = ["text", "texts", "query", "passages", "deadline_ms"];
    let known = ask["properties"].as_object().into_iter().flatten();
    known
        .filter(|(name, _)| !others.contains(&name.as_str()))
        .map(|(name, schema)| json!({"name": name, "in": "query", "schema": schema}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a route takes and gives beside its bodies would be missing, or stand at another one.
    #[test]
    fn queries_errors_and_bytes_are_those_of_the_table() {
        let document: Value = serde_json::from_slice(&document("m", "1")).unwrap();
        let operation = |method: &str, path: &str| document["paths"][path][method].clone();
        let names = |method: &str, path: &str| {
            let all = operation(method, path)["parameters"].clone();
            let all = all.as_array().cloned().unwrap_or_default();
            let names = all
                .iter()
                .map(|one| one["name"].as_str().unwrap().to_owned());
            names.collect::<Vec<_>>().join(" ")
        };
        for (method, path) in [
            ("patch", "/models/{name}"),
            ("post", "/models/{name}/load"),
            ("post", "/models/{name}/unload"),
        ] {
            assert_eq!(names(method, path), "name version", "{path}");
        }
        assert_eq!(names("get", "/models/{name}"), "name");
        assert_eq!(names("post", "/embed"), "");
        let options = names("post", "/predict/stream");
        assert!(
            options.contains("top_k") && !options.contains("text"),
            "{options}"
        );
        for route in described() {
            let operation = operation(&route.method.name().to_lowercase(), route.path);
            let content = &operation["responses"]["200"]["content"];
            let has_bytes = !content["application/octet-stream"].is_null();
            assert_eq!(has_bytes, route.path.ends_with("/infer"), "{}", route.path);
        }
        let has_own_errors = |path: &str| {
            let errors = operation("post", path)["responses"]["4XX"].to_string();
            errors.contains("ErrorAnswer")
        };
        assert!(has_own_errors("/tag") && has_own_errors("/benchmark"));
        assert!(!has_own_errors("/classify") && !has_own_errors("/embed"));
    }

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
