//! Answers as Arrow columns, null in rows that have none.

use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float16Array, Float32Array, ListArray, StringArray, StructArray,
    UInt32Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields};
use batchwright::{Answer, Entity, LabelScore, Model, Prediction, ProblemType, Rendering, Task};
use data::{AnswerColumns, Chunk, RowError};
use half::f16;

use super::tally::Tally;
use crate::args::VectorType;

/// What a row's answer consists of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// `embedding`: a list of so many values.
    Vector {
        dimensions: usize,
        values: VectorType,
    },
    /// `label` and `score`: at most one label.
    Label,
    /// `labels` and `scores`: lists of the same length.
    Labels,
    /// `score`: of a pair, or of a regression with one output.
    Score,
    /// `entities`: a list of label, score, start, end, text.
    Entities,
}

impl Shape {
    /// The shape of this model's answers under its way of rendering.
    pub(super) fn of(model: &Model, rendering: &Rendering, values: VectorType) -> Self {
        match model.task() {
            Task::Embed => Shape::Vector {
                dimensions: model.outputs(),
                values,
            },
            Task::Rerank => Shape::Score,
            Task::Tag => Shape::Entities,
            _ => {
                let problem = model.directory().problem_type();
                Self::of_labels(problem, model.outputs(), rendering.top_k)
            }
        }
    }

    fn of_labels(problem: ProblemType, outputs: usize, top_k: Option<usize>) -> Self {
        match (problem, top_k) {
            (ProblemType::Regression, _) if outputs == 1 => Shape::Score,
            (ProblemType::SingleLabel, None | Some(1)) => Shape::Label,
            _ => Shape::Labels,
        }
    }

    /// Name and type of each column.
    pub(super) fn fields(&self) -> Vec<Field> {
        let list = |name: &str, item: DataType| {
            Field::new(
                name,
                DataType::List(Arc::new(Field::new("item", item, true))),
                true,
            )
        };
        match self {
            Shape::Vector { dimensions, values } => {
                let item = Arc::new(value_field(*values));
                let kind = DataType::FixedSizeList(item, *dimensions as i32);
                vec![Field::new("embedding", kind, true)]
            }
            Shape::Label => vec![
                Field::new("label", DataType::Utf8, true),
                Field::new("score", DataType::Float32, true),
            ],
            Shape::Labels => {
                vec![
                    list("labels", DataType::Utf8),
                    list("scores", DataType::Float32),
                ]
            }
            Shape::Score => vec![Field::new("score", DataType::Float32, true)],
            Shape::Entities => vec![list("entities", DataType::Struct(entity_fields()))],
        }
    }

    fn arrays(&self, model: &Model, answers: &[Option<Answer>]) -> anyhow::Result<Vec<ArrayRef>> {
        if let Shape::Vector { dimensions, values } = self {
            return Ok(vec![vectors(answers, *dimensions, *values)?]);
        }
        let rendered: Vec<Option<Prediction>> = answers
            .iter()
            .map(|answer| Some(model.render(answer.as_ref()?)))
            .collect();
        Ok(match self {
            Shape::Label => one_label(&rendered),
            Shape::Score => vec![scores(&rendered)],
            Shape::Entities => vec![entities(&rendered)?],
            Shape::Labels | Shape::Vector { .. } => label_lists(&rendered),
        })
    }
}

/// Renders a window's answers and counts them.
pub(super) fn answers(
    shape: &Shape,
    model: &Model,
    chunk: &Chunk,
    answers: Vec<Result<Answer, batchwright::RowError>>,
    tally: &mut Tally,
) -> anyhow::Result<AnswerColumns> {
    let mut errors = vec![None; answers.len()];
    let mut good = Vec::with_capacity(answers.len());
    for (row, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(answer) => {
                tally.answered(&answer);
                good.push(Some(answer));
            }
            Err(error) => {
                tally.failed(error.code);
                // What the source said about its own row stands in the chunk, place and all.
                if chunk.rows[row].is_ok() {
                    errors[row] = Some(RowError::at(&chunk.place(row), error.code, error.message));
                }
                good.push(None);
            }
        }
    }
    let arrays = shape.arrays(model, &good)?;
    Ok(AnswerColumns {
        columns: shape.fields().into_iter().zip(arrays).collect(),
        errors,
    })
}

fn value_field(values: VectorType) -> Field {
    let kind = match values {
        VectorType::F32 => DataType::Float32,
        VectorType::F16 => DataType::Float16,
    };
    Field::new("item", kind, true)
}

fn vectors(
    answers: &[Option<Answer>],
    dimensions: usize,
    values: VectorType,
) -> anyhow::Result<ArrayRef> {
    let mut flat: Vec<f32> = Vec::with_capacity(answers.len() * dimensions);
    for answer in answers {
        match answer {
            Some(answer) => flat.extend_from_slice(&answer.values),
            // A null in a fixed-size list takes its space.
            None => flat.resize(flat.len() + dimensions, 0.0),
        }
    }
    let items: ArrayRef = match values {
        VectorType::F32 => Arc::new(Float32Array::from(flat)),
        VectorType::F16 => Arc::new(
            flat.into_iter()
                .map(|value| Some(f16::from_f32(value)))
                .collect::<Float16Array>(),
        ),
    };
    let present: NullBuffer = answers
        .iter()
        .map(Option::is_some)
        .collect::<Vec<bool>>()
        .into();
    let field = Arc::new(value_field(values));
    Ok(Arc::new(FixedSizeListArray::try_new(
        field,
        dimensions as i32,
        items,
        Some(present),
    )?))
}

fn labels_of(prediction: &Option<Prediction>) -> Option<&[LabelScore]> {
    match prediction {
        Some(Prediction::Labels(labels)) => Some(labels),
        _ => None,
    }
}

/// Null, too, where no label reaches the threshold.
fn one_label(predictions: &[Option<Prediction>]) -> Vec<ArrayRef> {
    let mut labels = StringBuilder::new();
    let mut scores = Float32Builder::new();
    for prediction in predictions {
        let best = labels_of(prediction).and_then(<[LabelScore]>::first);
        labels.append_option(best.map(|best| &best.label));
        scores.append_option(best.map(|best| best.score));
    }
    vec![Arc::new(labels.finish()), Arc::new(scores.finish())]
}

fn label_lists(predictions: &[Option<Prediction>]) -> Vec<ArrayRef> {
    let mut labels = ListBuilder::new(StringBuilder::new());
    let mut scores = ListBuilder::new(Float32Builder::new());
    for prediction in predictions {
        let found = labels_of(prediction);
        for label in found.into_iter().flatten() {
            labels.values().append_value(&label.label);
            scores.values().append_value(label.score);
        }
        labels.append(found.is_some());
        scores.append(found.is_some());
    }
    vec![Arc::new(labels.finish()), Arc::new(scores.finish())]
}

fn scores(predictions: &[Option<Prediction>]) -> ArrayRef {
    let score = |prediction: &Option<Prediction>| match prediction {
        Some(Prediction::Score(score)) => Some(*score),
        other => labels_of(other)
            .and_then(<[LabelScore]>::first)
            .map(|only| only.score),
    };
    Arc::new(predictions.iter().map(score).collect::<Float32Array>())
}

fn entity_fields() -> Fields {
    Fields::from(vec![
        Field::new("label", DataType::Utf8, true),
        Field::new("score", DataType::Float32, true),
        Field::new("start", DataType::UInt32, true),
        Field::new("end", DataType::UInt32, true),
        Field::new("text", DataType::Utf8, true),
    ])
}

fn entities(predictions: &[Option<Prediction>]) -> anyhow::Result<ArrayRef> {
    let found = |prediction: &'_ Option<Prediction>| match prediction {
        Some(Prediction::Entities(found)) => found.clone(),
        _ => Vec::new(),
    };
    let rows: Vec<Vec<Entity>> = predictions.iter().map(found).collect();
    let all = || rows.iter().flatten();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            all()
                .map(|entity| Some(entity.label.as_str()))
                .collect::<StringArray>(),
        ),
        Arc::new(
            all()
                .map(|entity| Some(entity.score))
                .collect::<Float32Array>(),
        ),
        Arc::new(
            all()
                .map(|entity| Some(entity.start as u32))
                .collect::<UInt32Array>(),
        ),
        Arc::new(
            all()
                .map(|entity| Some(entity.end as u32))
                .collect::<UInt32Array>(),
        ),
        Arc::new(
            all()
                .map(|entity| Some(entity.text.as_str()))
                .collect::<StringArray>(),
        ),
    ];
    let items = StructArray::try_new(entity_fields(), columns, None)?;
    let lengths = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    let present: NullBuffer = predictions
        .iter()
        .map(Option::is_some)
        .collect::<Vec<bool>>()
        .into();
    let field = Arc::new(Field::new("item", DataType::Struct(entity_fields()), true));
    Ok(Arc::new(ListArray::try_new(
        field,
        lengths,
        Arc::new(items),
        Some(present),
    )?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float16Type, Float32Type};
    use batchwright::Origin;

    use super::*;

    fn answer(values: &[f32]) -> Option<Answer> {
        let values = Arc::from(values);
        Some(Answer {
            values,
            tokens: 1,
            truncated: false,
            origin: Origin::Computed,
            source: None,
        })
    }

    /// A bad row would shift the vectors of all rows after it.
    #[test]
    fn vectors_keep_their_rows() {
        let answers = [answer(&[1.0, 2.0]), None, answer(&[3.0, 4.0])];
        let array = vectors(&answers, 2, VectorType::F32).unwrap();
        let lists = array.as_fixed_size_list();
        assert_eq!(
            (lists.len(), lists.null_count(), lists.is_null(1)),
            (3, 1, true)
        );
        assert_eq!(
            lists
                .value(2)
                .as_primitive::<Float32Type>()
                .values()
                .as_ref(),
            [3.0, 4.0]
        );
        let half = vectors(&answers, 2, VectorType::F16).unwrap();
        let last = half.as_fixed_size_list().value(2);
        assert_eq!(
            last.as_primitive::<Float16Type>().value(1),
            f16::from_f32(4.0)
        );
        assert_eq!(
            array.data_type(),
            Shape::Vector {
                dimensions: 2,
                values: VectorType::F32
            }
            .fields()[0]
                .data_type()
        );
    }

    /// Entities would be given to the wrong row, or a row without any be taken for a bad one.
    #[test]
    fn entities_keep_their_rows() {
        let entity = |text: &str| Entity {
            label: "LOC".into(),
            score: 0.5,
            start: 3,
            end: 9,
            text: text.into(),
        };
        let found = [
            Some(Prediction::Entities(vec![entity("a"), entity("b")])),
            None,
            Some(Prediction::Entities(Vec::new())),
            Some(Prediction::Entities(vec![entity("c")])),
        ];
        let array = entities(&found).unwrap();
        assert_eq!(array.data_type(), Shape::Entities.fields()[0].data_type());
        let lists = array.as_list::<i32>();
        let lengths: Vec<usize> = (0..4).map(|row| lists.value(row).len()).collect();
        assert_eq!(lengths, [2, 0, 0, 1]);
        assert_eq!((lists.is_null(1), lists.is_null(2)), (true, false));
        assert_eq!(
            lists
                .value(3)
                .as_struct()
                .column(4)
                .as_string::<i32>()
                .value(0),
            "c"
        );
    }

    /// A row of which no label reaches the threshold would look like a bad row, or have an old label.
    #[test]
    fn labels_keep_their_rows() {
        let label = |label: &str, score| LabelScore {
            label: label.into(),
            score,
        };
        let found = [
            Some(Prediction::Labels(vec![label("a", 0.5), label("b", 0.25)])),
            None,
            Some(Prediction::Labels(Vec::new())),
        ];
        let columns = label_lists(&found);
        let (labels, scores) = (columns[0].as_list::<i32>(), columns[1].as_list::<i32>());
        assert_eq!(labels.value(0).as_string::<i32>().value(1), "b");
        assert_eq!(scores.value(0).as_primitive::<Float32Type>().value(1), 0.25);
        assert_eq!((labels.is_null(1), labels.is_null(2)), (true, false));
        let one = one_label(&found);
        assert_eq!(one[0].as_string::<i32>().value(0), "a");
        assert_eq!((one[0].is_null(1), one[1].is_null(2)), (true, true));
        for (arrays, shape) in [(columns, Shape::Labels), (one, Shape::Label)] {
            for (array, field) in arrays.iter().zip(shape.fields()) {
                assert_eq!(array.data_type(), field.data_type());
            }
        }
    }

    /// A consumer would find other columns than the documentation says.
    #[test]
    fn columns_follow_the_kind_of_labels() {
        use ProblemType::{MultiLabel, Regression, SingleLabel};
        for (problem, outputs, top_k, expected) in [
            (SingleLabel, 3, None, Shape::Label),
            (SingleLabel, 3, Some(1), Shape::Label),
            (SingleLabel, 3, Some(2), Shape::Labels),
            (MultiLabel, 3, None, Shape::Labels),
            (MultiLabel, 3, Some(1), Shape::Labels),
            (Regression, 1, None, Shape::Score),
            (Regression, 2, None, Shape::Labels),
        ] {
            assert_eq!(
                Shape::of_labels(problem, outputs, top_k),
                expected,
                "{problem:?} {top_k:?}"
            );
        }
    }
}
