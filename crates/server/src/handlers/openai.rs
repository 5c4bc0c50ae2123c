//! OpenAI's embeddings and list of models.

use std::time::UNIX_EPOCH;

use axum::response::Response;
use engine::Task;
use serde_json::json;

use super::tei::vector;
use crate::aside::rows_aside;
use crate::call::Call;
use crate::models::Pick;
use crate::predict::{Options, answer};
use crate::problem::Problem;
use crate::reply;
use crate::wire::openai::{
    EmbeddingAnswer, EmbeddingsAnswer, EmbeddingsAsk, EmbeddingsUsage, Encoding, VectorAnswer,
};

pub(crate) async fn embeddings(mut call: Call) -> Result<Response, Problem> {
    let payload = call.payload().await?;
    let body: EmbeddingsAsk = payload.json()?;
    let loaded = call.app.models.find(Pick {
        name: body.model.as_deref(),
        version: None,
        task: Some(Task::Embed),
    })?;
    let mut options = Options {
        dimensions: body.dimensions,
        ..Options::default()
    };
    options.by_headers(&call, false)?;
    let (predictions, receipt) = answer(loaded, body.input.into_inputs(), &options)
        .await?
        .all()?;
    let written = |vector| match body.encoding_format.unwrap_or_default() {
        Encoding::Float => VectorAnswer::Float(vector),
        Encoding::Base64 => VectorAnswer::Base64(vector),
    };
    let vectors = predictions.iter().filter_map(vector).enumerate();
    let data: Vec<_> = vectors
        .map(|(index, vector)| EmbeddingAnswer {
            object: "embedding",
            index,
            embedding: written(vector),
        })
        .collect();
    let (rows, width) = (data.len(), receipt.loaded.service.model().outputs());
    let body = EmbeddingsAnswer {
        object: "list",
        data,
        model: &receipt.loaded.name,
        usage: EmbeddingsUsage {
            prompt_tokens: receipt.tokens,
            total_tokens: receipt.tokens,
        },
    };
    let json = rows_aside(rows, || {
        reply::to_json_sized(&body, 256 + rows * (64 + 13 * width))
    });
    Ok(receipt.on(reply::json(json)))
}

pub(crate) async fn models(call: Call) -> Result<Response, Problem> {
    let mut data: Vec<serde_json::Value> = Vec::new();
    for loaded in call.app.models.loaded() {
        let created = loaded
            .loaded
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        if data.iter().all(|known| known["id"] != loaded.name.as_str()) {
            data.push(json!({
                "id": loaded.name, "object": "model", "created": created, "owned_by": "batchwright",
            }));
        }
    }
    Ok(reply::json(reply::to_json(
        &json!({"object": "list", "data": data}),
    )))
}

pub(crate) async fn model(call: Call) -> Result<Response, Problem> {
    let loaded = call.app.models.find(Pick {
        name: call.place("name"),
        ..Pick::default()
    })?;
    let created = loaded
        .loaded
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Ok(reply::json(reply::to_json(&json!({
        "id": loaded.name, "object": "model", "created": created, "owned_by": "batchwright",
    }))))
}
