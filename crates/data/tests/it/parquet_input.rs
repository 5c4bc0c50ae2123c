//! Parquet as input: types, row groups, damage.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Date32Array, DictionaryArray, Int64Array, LargeStringArray,
    ListArray, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use batchwright_data::{Carried, ColumnChoice, DataError, InputSpec, Source};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::support::{Files, input_spec, read_all, read_text, run};

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>, group_rows: usize) -> String {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
            .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path.to_str().unwrap().to_owned()
}

fn texts(chunks: &[batchwright_data::Chunk]) -> Vec<String> {
    let rows = chunks.iter().flat_map(|chunk| &chunk.rows);
    rows.map(|row| match row {
        Ok(row) => row.text.clone(),
        Err(error) => format!("!{}", error.code),
    })
    .collect()
}

/// A column of strings as another writer stores it would be refused or misread.
#[test]
fn every_kind_of_string_is_text() {
    let values = [Some("a"), None, Some("é"), Some("a")];
    let dictionary: DictionaryArray<Int32Type> = values.into_iter().collect();
    let small: DictionaryArray<Int8Type> = values.into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("utf8", Arc::new(StringArray::from(values.to_vec()))),
        ("large", Arc::new(LargeStringArray::from(values.to_vec()))),
        ("view", Arc::new(StringViewArray::from(values.to_vec()))),
        ("dictionary", Arc::new(dictionary)),
        ("small", Arc::new(small)),
        (
            "binary",
            Arc::new(BinaryArray::from(
                values.map(|v| v.map(str::as_bytes)).to_vec(),
            )),
        ),
    ];
    let files = Files::new();
    for (name, array) in columns {
        let path = write(
            &files.path("in.parquet"),
            vec![("text", Arc::clone(&array))],
            3,
        );
        let chunks = read_all(&input_spec(&[path], 3));
        assert_eq!(texts(&chunks), ["a", "!missing_value", "é", "a"], "{name}");
        let Carried::Table(table) = &chunks[0].carried else {
            panic!("no table")
        };
        assert_eq!(table.column(0).data_type(), array.data_type(), "{name}");
    }
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"ok"[..], b"\xff", b"fine"]));
    let path = write(&files.path("in.parquet"), vec![("text", bytes)], 3);
    assert_eq!(
        texts(&read_all(&input_spec(&[path], 3))),
        ["ok", "!invalid_utf8", "fine"]
    );
}

/// One bad value in a column of strings would cost its batch, or the rest of the file.
#[test]
fn strings_that_are_not_utf8_are_bad_rows() {
    let files = Files::new();
    let path = files.path("in.parquet");
    let message = "message rows {
        required int64 id;
        optional binary text (UTF8);
        optional binary note (UTF8);
        optional int64 time (TIMESTAMP(MICROS, true));
    }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
    // Two groups, of which the second has the bad values.
    for (first, texts) in [
        (0, ["a", "b", "c"].map(str::as_bytes)),
        (3, [b"d", b"\xff", b"f"]),
    ] {
        let mut group = writer.next_row_group().unwrap();
        let values: Vec<ByteArray> = texts.into_iter().map(ByteArray::from).collect();
        let numbers: Vec<i64> = (first..first + 3).collect();
        for column in 0..4 {
            let mut column_writer = group.next_column().unwrap().unwrap();
            let levels = Some(&[1i16; 3][..]);
            match column {
                0 => column_writer
                    .typed::<Int64Type>()
                    .write_batch(&numbers, None, None),
                3 => column_writer
                    .typed::<Int64Type>()
                    .write_batch(&numbers, levels, None),
                _ => column_writer
                    .typed::<ByteArrayType>()
                    .write_batch(&values, levels, None),
            }
            .unwrap();
            column_writer.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();

    let mut spec = input_spec(&[path.to_str().unwrap().to_owned()], 2);
    spec.columns.text = Some("text".into());
    let chunks = read_all(&spec);
    assert_eq!(texts(&chunks), ["a", "b", "c", "d", "!invalid_utf8", "f"]);
    let out = files.path("out.csv");
    run(&spec, &out).unwrap();
    let text = read_text(&out);
    let line = text.lines().nth(5).unwrap();
    assert!(
        line.starts_with("4,\u{fffd},\u{fffd},1970-01-01T00:00:00.000004Z,,,,"),
        "{line}"
    );
    let parquet = files.path("out.parquet");
    run(&spec, &parquet).unwrap();
    let mut spec = input_spec(&[parquet.to_str().unwrap().to_owned()], 10);
    spec.columns.text = Some("text".into());
    let Carried::Table(table) = read_all(&spec).remove(0).carried else {
        panic!("no table")
    };
    assert_eq!(
        table
            .column_by_name("note")
            .unwrap()
            .as_string::<i32>()
            .value(4),
        "\u{fffd}"
    );
}

/// Types would be lost on the way from Parquet to Parquet, a date become a string.
#[test]
fn columns_keep_their_types() {
    let files = Files::new();
    let dictionary: DictionaryArray<Int32Type> = [Some("x"), None, Some("y")].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        (
            "date",
            Arc::new(Date32Array::from(vec![Some(1), None, Some(3)])),
        ),
        (
            "time",
            Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3]).with_timezone("Europe/Paris")),
        ),
        ("kind", Arc::new(dictionary)),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
                Some(vec![Some(1), None]),
                None,
                Some(vec![]),
            ])),
        ),
    ];
    let path = write(&files.path("in.parquet"), columns.clone(), 2);
    let out = files.path("out.parquet");
    run(&input_spec(&[path], 2), &out).unwrap();
    let spec = InputSpec {
        columns: ColumnChoice {
            text: Some("text".into()),
            ..ColumnChoice::default()
        },
        ..input_spec(&[out.to_str().unwrap().to_owned()], 10)
    };
    let Carried::Table(table) = read_all(&spec).remove(0).carried else {
        panic!("no table")
    };
    for (name, array) in columns {
        let column = table.column_by_name(name).unwrap();
        assert_eq!(column.data_type(), array.data_type(), "{name}");
        assert_eq!(
            column.to_data(),
            arrow_select::concat::concat(&[&array]).unwrap().to_data()
        );
    }

    let json = files.path("out.jsonl");
    run(
        &input_spec(&[files.path("in.parquet").to_str().unwrap().to_owned()], 2),
        &json,
    )
    .unwrap();
    let text = read_text(&json);
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with(
            r#"{"text":"a","date":"1970-01-02","time":"1970-01-01T00:00:00.000001Z","kind":"x","list":[1,null],"#
        ),
        "{first}"
    );
}

/// A resumed job would read a row twice where row groups and chunks do not meet.
#[test]
fn any_row_can_be_the_first() {
    let files = Files::new();
    let values: Vec<String> = (0..50).map(|row| format!("row {row}")).collect();
    let array: ArrayRef = Arc::new(StringArray::from(values.clone()));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50));
    let paths = [
        write(
            &files.path("a.parquet"),
            vec![("id", ids.clone()), ("text", array.clone())],
            7,
        ),
        write(
            &files.path("b.parquet"),
            vec![("text", array), ("id", ids)],
            50,
        ),
    ];
    let all: Vec<String> = values.iter().chain(&values).cloned().collect();
    for chunk_rows in [1, 6, 7, 8, 49, 1_000] {
        for skip in 0..=101 {
            let mut source = Source::open(&input_spec(&paths, chunk_rows)).unwrap();
            assert_eq!(source.row_count(), Some(100));
            // In two steps, as a skip may follow rows already read.
            let first = source.skip_rows(skip / 2).unwrap();
            let second = source.skip_rows(skip - skip / 2).unwrap();
            assert_eq!(first + second, skip.min(100));
            let progress = source.progress();
            // The files differ in bytes, but each has half of the rows.
            let share = progress.fraction().unwrap();
            assert_eq!(
                (share > 0.0, share < 1.0),
                (skip > 0, skip < 100),
                "{skip}: {share}"
            );
            let chunks: Vec<_> = source.collect::<Result<_, _>>().unwrap();
            assert_eq!(progress.fraction(), Some(1.0));
            assert_eq!(texts(&chunks), all[skip.min(100) as usize..], "skip {skip}");
            assert!(chunks.iter().all(|chunk| chunk.len() <= chunk_rows));
        }
    }
}

/// Files of different types would be read as one column.
#[test]
fn types_must_agree_between_files() {
    let files = Files::new();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let one = write(
        &files.path("1.parquet"),
        vec![("text", text.clone()), ("id", number)],
        1,
    );
    let two = write(
        &files.path("2.parquet"),
        vec![("text", text.clone()), ("id", text)],
        1,
    );
    let message = Source::open(&input_spec(&[one.clone(), two.clone()], 1))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`id` is Utf8 there, but Int64 at first"),
        "{message}"
    );
    // What does not pass through need not agree.
    let mut spec = input_spec(&[one, two], 1);
    spec.columns.drop = vec!["id".into()];
    assert_eq!(texts(&read_all(&spec)), ["a", "a"]);
}

/// A damaged file would end the program with a panic, or give rows that were never there.
#[test]
fn damage_is_told_never_a_crash() {
    let files = Files::new();
    let values: Vec<String> = (0..300)
        .map(|row| blake3::hash(&[row as u8]).to_hex().to_string())
        .collect();
    let array: ArrayRef = Arc::new(StringArray::from(values.clone()));
    let path = write(&files.path("in.parquet"), vec![("text", array)], 100);
    let whole = std::fs::read(&path).unwrap();
    let read = || -> Result<Vec<String>, DataError> {
        let source = Source::open(&input_spec(std::slice::from_ref(&path), 50))?;
        let mut rows = Vec::new();
        for chunk in source {
            rows.extend(texts(&[chunk?]));
        }
        Ok(rows)
    };
    for cut in [0, 3, 4, 11, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let message = read().unwrap_err().to_string();
        assert!(
            message.contains("in.parquet") && message.contains("again"),
            "{cut}: {message}"
        );
    }
    let mut told = 0;
    for at in (0..whole.len()).step_by(whole.len() / 200) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x5a;
        std::fs::write(&path, &damaged).unwrap();
        told += usize::from(read().is_err());
    }
    assert!(told > 10, "only {told} of 200 damages were noticed");
}
