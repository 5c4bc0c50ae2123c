//! Opening an input as plain bytes: unpacked, without byte-order mark, with progress counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::source::files::{InputFile, Origin};
use crate::{Compression, DataError, Format};

/// Plain bytes to read rows from.
pub(crate) type Bytes = Box<dyn BufRead + Send>;

/// 256 KiB: reading in larger blocks gained nothing.
const BLOCK: usize = 256 << 10;

/// How much of the input has been read; shared with whoever draws a bar.
#[derive(Clone, Debug)]
pub struct InputProgress {
    pub(crate) read: Arc<AtomicU64>,
    pub(crate) total: u64,
}

impl InputProgress {
    /// The share of the input's bytes that has been read, from 0 to 1; `None` for standard input.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        let read = self.read.load(Ordering::Relaxed);
        (self.total > 0).then(|| (read as f64 / self.total as f64).min(1.0))
    }
}

/// Counts bytes as they come from the disk.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Opens `file`, unpacks it if its first bytes say that it is packed, and drops a byte-order mark.
pub(crate) fn open(file: &InputFile, read: &Arc<AtomicU64>) -> Result<Bytes, DataError> {
    let failed = |error: io::Error| DataError::opening(&file.name, &error);
    let damaged = |error: io::Error| DataError::Read {
        file: file.name.to_string(),
        place: "its beginning".to_owned(),
        reason: explain(&error),
    };
    let raw: Box<dyn Read + Send> = match &file.origin {
        Origin::File(path) | Origin::Pipe(path) => Box::new(File::open(path).map_err(failed)?),
        Origin::Stdin => Box::new(io::stdin()),
    };
    let counted = Counted {
        inner: raw,
        read: Arc::clone(read),
    };
    let (magic, packed) = peek(BufReader::with_capacity(BLOCK, counted), 4).map_err(failed)?;
    let plain: Bytes = match compression(&magic) {
        Compression::None => Box::new(packed),
        // Both readers go on to the next member or frame: `cat a.gz b.gz` is one stream.
        Compression::Gzip => Box::new(BufReader::with_capacity(
            BLOCK,
            flate2::bufread::MultiGzDecoder::new(packed),
        )),
        Compression::Zstd => {
            let decoder = zstd::Decoder::with_buffer(packed).map_err(failed)?;
            Box::new(BufReader::with_capacity(BLOCK, decoder))
        }
    };
    let (mark, mut plain) = peek(plain, 5).map_err(damaged)?;
    refuse_other_encodings(&file.name, &mark)?;
    if mark == PARQUET_BEGINS {
        let is_plain_file = file.is_repeatable() && compression(&magic) == Compression::None;
        return Err(DataError::UnreadableFormat {
            path: file.name.to_string(),
            reason: if is_plain_file {
                "is Parquet, whatever its name says; say --input-format parquet".to_owned()
            } else {
                PARQUET_NEEDS_A_FILE.to_owned()
            },
        });
    }
    if mark.starts_with(b"\xef\xbb\xbf") {
        plain.read_exact(&mut [0; 3]).map_err(damaged)?;
    }
    Ok(Box::new(plain))
}

/// A reader with bytes put back in front of it.
type PutBack<R> = Chain<Cursor<Vec<u8>>, R>;

/// Reads up to `count` bytes and puts them back in front.
pub(crate) fn peek<R: Read>(mut reader: R, count: u64) -> io::Result<(Vec<u8>, PutBack<R>)> {
    let mut first = Vec::new();
    reader.by_ref().take(count).read_to_end(&mut first)?;
    Ok((first.clone(), Cursor::new(first).chain(reader)))
}

/// UTF-16 and UTF-32 would turn every row into an error; better said once.
fn refuse_other_encodings(name: &str, mark: &[u8]) -> Result<(), DataError> {
    let encoding = match mark {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        _ => return Ok(()),
    };
    Err(DataError::UnreadableFormat {
        path: name.to_owned(),
        reason: format!("is {encoding}; convert it with `iconv -f {encoding} -t UTF-8`"),
    })
}

/// The format of a stream that has no name: JSON Lines where the first line is an object, else
/// plain lines.
///
/// Waits for no more than that line, so that a slow pipe is not held up, and reads no more than
/// 64 KiB.
pub(crate) fn sniff(name: &str, mut reader: Bytes) -> Result<(Format, Bytes), DataError> {
    const MOST: usize = 64 << 10;
    let mut first = Vec::new();
    while first.trim_ascii().is_empty() && first.len() < MOST {
        let read = reader
            .by_ref()
            .take((MOST - first.len()) as u64)
            .read_until(b'\n', &mut first);
        let read = read.map_err(|error| DataError::Read {
            file: name.to_owned(),
            place: "its beginning".to_owned(),
            reason: explain(&error),
        })?;
        if read == 0 {
            break;
        }
    }
    if first.starts_with(b"PAR1") {
        return Err(DataError::UnreadableFormat {
            path: name.to_owned(),
            reason: PARQUET_NEEDS_A_FILE.to_owned(),
        });
    }
    let object = first.trim_ascii().starts_with(b"{");
    let format = if object { Format::Jsonl } else { Format::Lines };
    Ok((format, Box::new(Cursor::new(first).chain(reader))))
}

/// The magic number and the first byte of a page's header, which no text has.
const PARQUET_BEGINS: &[u8] = b"PAR1\x15";

/// Why Parquet cannot be streamed.
pub(crate) const PARQUET_NEEDS_A_FILE: &str = "is Parquet, whose index stands at its end, and cannot be read from a pipe or packed; \
     save it to a file first";

/// An error of reading, with the remedy where one is known.
pub(crate) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the packed data ends too early: the file was cut off; copy or download it again"
                .to_owned()
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            format!("the packed data is damaged ({error}); copy or download the file again")
        }
        // Zstandard's own words do not say what to do.
        _ if error.to_string().contains("too much memory") => {
            "it was packed with `zstd --long` and needs more than 128 MiB to unpack; \
             pack it again without"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// Packing by the first four bytes; file names lie more often than magic numbers.
pub(crate) fn compression(magic: &[u8]) -> Compression {
    match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        // A skippable frame may come first.
        [low, 0x2a, 0x4d, 0x18] if low & 0xf0 == 0x50 => Compression::Zstd,
        _ => Compression::None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gz(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read(content: &[u8]) -> Result<Vec<u8>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let input = InputFile {
            name: "input".into(),
            origin: Origin::File(file.path().to_path_buf()),
            bytes: content.len() as u64,
        };
        let count = Arc::new(AtomicU64::new(0));
        let mut bytes = open(&input, &count).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        bytes
            .read_to_end(&mut out)
            .map_err(|error| explain(&error))?;
        assert_eq!(count.load(Ordering::Relaxed), content.len() as u64);
        Ok(out)
    }

    /// Everything after the first member of `cat a.gz b.gz` would be lost, or a packed file with
    /// the wrong extension read as garbage.
    #[test]
    fn packing_is_told_by_content_and_every_member_is_read() {
        let zst = |data: &[u8]| zstd::encode_all(data, 1).unwrap();
        let skippable = b"\x50\x2a\x4d\x18\x02\0\0\0xx".to_vec();
        let cases: Vec<(&str, Vec<u8>)> = vec![
            ("plain", b"one\ntwo\n".to_vec()),
            ("marked", b"\xef\xbb\xbfone\ntwo\n".to_vec()),
            ("gz", gz(b"one\ntwo\n")),
            ("two members", [gz(b"one\n"), gz(b"two\n")].concat()),
            ("zst", zst(b"one\ntwo\n")),
            ("two frames", [zst(b"one\n"), zst(b"two\n")].concat()),
            ("skippable first", [skippable, zst(b"one\ntwo\n")].concat()),
            ("marked in gz", gz(b"\xef\xbb\xbfone\ntwo\n")),
        ];
        for (name, content) in cases {
            assert_eq!(read(&content).unwrap(), b"one\ntwo\n", "{name}");
        }
        assert_eq!(read(b""), Ok(Vec::new()));
        assert_eq!(read(b"a"), Ok(b"a".to_vec()));
    }

    /// A half-copied file would pass for a whole one.
    #[test]
    fn cut_and_foreign_files_are_told() {
        let long: Vec<u8> = (0..20_000u32)
            .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let packed = gz(&long);
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (packed[..packed.len() / 2].to_vec(), "cut off"),
            (packed[..packed.len() - 1].to_vec(), "cut off"),
            (
                zstd::encode_all(&*long, 1).unwrap()[..1000].to_vec(),
                "cut off",
            ),
            (b"\xff\xfea\0".to_vec(), "iconv -f UTF-16 -t UTF-8"),
            (b"PAR1\x15\0".to_vec(), "say --input-format parquet"),
            (gz(b"PAR1\x15\0"), "or packed"),
        ];
        for (content, words) in cases {
            let message = read(&content).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.write_all(&long).unwrap();
        let message = read(&encoder.finish().unwrap()).unwrap_err();
        assert!(message.contains("pack it again without"), "{message}");

        let mut damaged = packed;
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        assert!(read(&damaged).is_err());
    }

    /// `cat a.jsonl | batchwright predict -` would embed the braces.
    #[test]
    fn streams_are_sniffed() {
        let cases: [(&[u8], Format); 4] = [
            (b"hello\n{", Format::Lines),
            (b"\n {\"text\":\"a\"}\n", Format::Jsonl),
            (b"", Format::Lines),
            (b"text,label\na,b\n", Format::Lines),
        ];
        for (content, format) in cases {
            let bytes: Bytes = Box::new(Cursor::new(content.to_vec()));
            let (found, mut rest) = sniff("-", bytes).unwrap();
            let mut all = Vec::new();
            rest.read_to_end(&mut all).unwrap();
            assert_eq!((found, all.as_slice()), (format, content));
        }
        let parquet: Bytes = Box::new(Cursor::new(b"PAR1....".to_vec()));
        assert!(sniff("-", parquet).is_err());
    }
}
