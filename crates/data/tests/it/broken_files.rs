//! Files that break off or are damaged: the rows before come first, then words that help.

use batchwright_data::{Chunk, DataError, InputSpec, Source};

use crate::support::{Files, input_spec, pack};

/// All chunks up to the error, and the error.
fn read_until_error(spec: &InputSpec) -> (Vec<Chunk>, String) {
    let mut source = match Source::open(spec) {
        Ok(source) => source,
        Err(error) => return (Vec::new(), error.to_string()),
    };
    let mut chunks = Vec::new();
    for chunk in source.by_ref() {
        match chunk {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => {
                assert!(source.next().is_none(), "rows after an error");
                return (chunks, error.to_string());
            }
        }
    }
    panic!("no error in {} chunks", chunks.len())
}

/// A half-copied archive would pass for a whole one, or cost the rows that are there.
#[test]
fn cut_archives_give_the_rows_before() {
    let texts: Vec<String> = (0..5_000u32)
        .map(|i| blake3::hash(&i.to_le_bytes()).to_hex().to_string())
        .collect();
    let csv = format!("text\n{}\n", texts.join("\n"));
    let jsonl: String = texts
        .iter()
        .map(|t| format!("{{\"text\":\"{t}\"}}\n"))
        .collect();
    let txt = texts.join("\n");
    for (name, content) in [
        ("a.csv.gz", &csv),
        ("a.csv.zst", &csv),
        ("a.jsonl.gz", &jsonl),
        ("a.txt.zst", &txt),
        ("a.txt.gz", &txt),
    ] {
        let files = Files::new();
        let packed = pack(name, content.as_bytes());
        let path = files.path(name);
        std::fs::write(&path, &packed[..packed.len() * 2 / 3]).unwrap();
        let spec = input_spec(&[path.to_str().unwrap().to_owned()], 100);
        let (chunks, message) = read_until_error(&spec);
        let rows: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.rows).collect();
        assert!(rows.len() > 1_000, "{name}: {} rows", rows.len());
        for (row, text) in rows.iter().zip(&texts) {
            assert_eq!(&row.as_ref().unwrap().text, text);
        }
        assert!(
            message.contains(name) && message.contains("cut off"),
            "{message}"
        );
        assert!(message.contains("copy or download it again"), "{message}");
    }
}

/// Headers that do not agree would be noticed hours into the job.
#[test]
fn all_headers_are_checked_before_the_first_row() {
    let files = Files::new();
    let good = files.write("a.csv", b"text,id\na,1\n");
    let cases: [(&str, &[u8], &str); 4] = [
        ("b.csv", b"text\nb\n", "it lacks `id`"),
        ("c.csv", b"", "empty, without even a header"),
        ("d.csv", b"\"text,id\nb,2\n", "a quote is never closed"),
        ("e.csv", b"\xff\xfet\0", "iconv -f UTF-16"),
    ];
    for (name, content, words) in cases {
        let other = files.write(name, content);
        let error = Source::open(&input_spec(&[good.clone(), other.clone()], 10)).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(&other) && message.contains(words),
            "{message}"
        );
    }
}

/// Files with their columns in another order would give rows with their cells mixed up.
#[test]
fn columns_are_found_by_name_in_every_file() {
    let files = Files::new();
    let paths = [
        files.write("a.csv", b"text,id\na,1\n"),
        files.write("b.csv", b"id,text\n2,b\n"),
    ];
    let chunk = crate::support::read_all(&input_spec(&paths, 10)).remove(0);
    assert_eq!(chunk.rows[1].as_ref().unwrap().text, "b");
    let batchwright_data::Carried::Table(carried) = &chunk.carried else {
        panic!("no table")
    };
    let mut shown = Vec::new();
    for column in carried.columns() {
        let strings = arrow_array::cast::AsArray::as_string::<i32>(column);
        shown.push(
            strings
                .iter()
                .flatten()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(shown, [["a", "b"], ["1", "2"]]);
    assert_eq!(
        chunk.place(1).to_string(),
        format!("row 2 ({} line 2)", paths[1])
    );
}

/// Rows would be counted twice or not at all where a chunk spans files.
#[test]
fn chunks_span_files_and_skips_too() {
    let files = Files::new();
    let paths: Vec<String> = ["a", "", "b\nc\nd", "e\nf"]
        .iter()
        .enumerate()
        .map(|(at, text)| files.write(&format!("{at}.txt"), text.as_bytes()))
        .collect();
    let spec = input_spec(&paths, 4);
    let chunks = crate::support::read_all(&spec);
    let shape: Vec<(u64, usize)> = chunks.iter().map(|c| (c.first_row, c.len())).collect();
    assert_eq!(shape, [(0, 4), (4, 2)]);
    for skip in 0..=7 {
        let mut source = Source::open(&spec).unwrap();
        assert_eq!(source.skip_rows(skip).unwrap(), skip.min(6));
        let rest: Vec<Chunk> = source.collect::<Result<_, _>>().unwrap();
        let texts: String = rest
            .iter()
            .flat_map(|c| &c.rows)
            .map(|row| row.as_ref().unwrap().text.clone())
            .collect();
        assert_eq!(texts, "abcdef"[skip.min(6) as usize..]);
        assert_eq!(rest.first().map_or(6, |chunk| chunk.first_row), skip.min(6));
    }
}

/// One chunk of giant rows would take all memory.
#[test]
fn chunks_are_bounded_in_bytes() {
    let files = Files::new();
    let row = "x".repeat(1_000);
    let text = format!("text\n{}", format!("{row}\n").repeat(100));
    let path = files.write("a.csv", text.as_bytes());
    let mut spec = input_spec(&[path], 1_000);
    spec.limits.chunk_bytes = 10_000;
    let lengths: Vec<usize> = crate::support::read_all(&spec)
        .iter()
        .map(Chunk::len)
        .collect();
    // Each row counts as text and as carried cell: 2,000 bytes.
    assert_eq!(lengths, [5; 20]);
}

/// A progress bar would stand still, or run past its end.
#[test]
fn progress_goes_from_nothing_to_all() {
    let files = Files::new();
    let text: String = (0..200_000).map(|i| format!("row {i}\n")).collect();
    for name in ["a.txt", "b.txt.gz"] {
        let path = files.write(name, text.as_bytes());
        let mut source = Source::open(&input_spec(&[path], 1_000)).unwrap();
        let progress = source.progress();
        assert_eq!(progress.fraction(), Some(0.0));
        let mut last = 0.0;
        let mut steps = 0;
        for chunk in source.by_ref() {
            chunk.unwrap();
            let now = progress.fraction().unwrap();
            assert!(now >= last, "{name}");
            steps += usize::from(now > last);
            last = now;
        }
        assert!(
            steps > 2 && progress.fraction() == Some(1.0),
            "{name}: {steps} steps"
        );
    }
}

/// The output would take the input's place.
#[test]
fn an_input_knows_its_files_under_any_name() {
    let files = Files::new();
    files.write("a.txt", b"a\n");
    std::fs::create_dir(files.path("sub")).unwrap();
    let spec = input_spec(&[files.path("*.txt").to_str().unwrap().to_owned()], 10);
    assert!(spec.reads(&files.path("sub/../a.txt")).unwrap());
    assert!(!spec.reads(&files.path("b.txt")).unwrap());
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(files.path("a.txt"), files.path("link")).unwrap();
        assert!(spec.reads(&files.path("link")).unwrap());
    }
}

/// Two inputs that cannot go together would be read as one.
#[test]
fn formats_are_not_mixed() {
    let files = Files::new();
    let paths = [
        files.write("a.csv", b"text\na\n"),
        files.write("b.jsonl", b"{\"text\":\"a\"}\n"),
    ];
    assert!(matches!(
        Source::open(&input_spec(&paths, 10)),
        Err(DataError::MixedFormats { .. })
    ));
}
