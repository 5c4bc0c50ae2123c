//! `tokenize` and `augment`: rows edited and turned into ids.

mod arrays;
mod bad_rows;
mod editing;
mod refusals;
mod stopping;
mod streams;

use serde_json::Value;

use crate::workplace::{Workplace, texts};

/// The rows of an array of u16 or u32, as NumPy would read them.
fn array(place: &Workplace, name: &str) -> Vec<Vec<u32>> {
    let bytes = place.read(name);
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let head = std::str::from_utf8(&bytes[10..128]).unwrap();
    let wide = head.contains("'descr': '<u4'");
    assert!(wide || head.contains("'descr': '<u2'"), "{head}");
    let shape = head.split(['(', ')']).nth(1).unwrap();
    let sizes: Vec<usize> = shape
        .split(", ")
        .map(|size| size.parse().unwrap())
        .collect();
    let values: Vec<u32> = match wide {
        true => bytes[128..]
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes(b.try_into().unwrap()))
            .collect(),
        false => bytes[128..]
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes(b.try_into().unwrap()).into())
            .collect(),
    };
    assert_eq!(values.len(), sizes[0] * sizes[1]);
    values.chunks_exact(sizes[1]).map(<[u32]>::to_vec).collect()
}

/// The text of a row of characters: what stands between begin and end.
fn read_back(row: &[u32], vocabulary: &Value) -> String {
    let tokens = vocabulary["tokens"].as_array().unwrap();
    let name = |id: &u32| tokens[*id as usize].as_str().unwrap();
    assert_eq!(name(&row[0]), "<BEG>");
    let end = row.iter().position(|id| name(id) == "<END>").unwrap();
    assert!(row[end + 1..].iter().all(|id| name(id) == "<PAD>"));
    row[1..end].iter().map(name).collect()
}

fn json(place: &Workplace, name: &str) -> Value {
    serde_json::from_slice(&place.read(name)).unwrap()
}

/// Texts with all that a plain file may hold: no quotes, delimiters or empty rows.
fn plain_texts(rows: usize) -> Vec<String> {
    let odd = ["naïve café", "שלום עולם", "👩‍👩‍👧 ok", "e\u{301}te", "a'b  c"];
    let odd = odd.iter().cycle();
    let mixed = texts().zip(odd).enumerate();
    mixed
        .map(|(row, (text, odd))| match row % 5 {
            0 => format!("{row} {odd}"),
            _ => text.trim().to_owned(),
        })
        .take(rows)
        .collect()
}

fn lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("{text}\n")).collect()
}
