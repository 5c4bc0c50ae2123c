//! Rows of the shard in hand, set aside so that a kill loses seconds, not a shard.
//!
//! A shard has to be large, for Parquet to be read fast, and thus takes minutes to fill with a slow
//! model. Its rows so far are appended to a file every few seconds, encoded but not yet packed. How
//! often that happens has no influence on the output's bytes.
//!
//! A record: magic, shard, first row within the shard, rows, failed rows, counted bytes, length,
//! payload, BLAKE3 of all that. A record that is not whole, or of another shard, ends the list.

use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

use crate::DataError;
use crate::sink::{OpenShard, SavedRows};

const TEXT: u64 = u64::from_le_bytes(*b"bwtext01");
const ARROW: u64 = u64::from_le_bytes(*b"bwarrow1");
const HEAD: usize = 7 * 8;
const HASH: usize = blake3::OUT_LEN;

/// The file of set-aside rows.
#[derive(Debug)]
pub(crate) struct SavedFile {
    path: PathBuf,
    file: File,
    /// What of the open shard is in the file already.
    saved: Extent,
}

/// How far into the open shard the file reaches.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    rows: u64,
    failed: u64,
    bytes: u64,
    text: usize,
    batches: usize,
}

impl Extent {
    fn of(shard: &OpenShard) -> Extent {
        Extent {
            rows: shard.rows(),
            failed: shard.failed(),
            bytes: shard.bytes(),
            text: shard.text().len(),
            batches: shard.batches().len(),
        }
    }
}

impl SavedFile {
    /// Opens the file and puts the rows that it has for shard `index` back into `shard`.
    pub(crate) fn open(
        path: &Path,
        index: u64,
        shard: &mut OpenShard,
    ) -> Result<SavedFile, DataError> {
        let failed = |error: io::Error| DataError::writing(path, &error);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut end = 0;
        while let Some((bytes, rows)) =
            read_record(&mut file, length - end, index, shard.rows()).map_err(failed)?
        {
            end += bytes;
            shard.restore(rows);
        }
        let mut saved = SavedFile {
            path: path.to_path_buf(),
            file,
            saved: Extent::of(shard),
        };
        saved.cut(end)?;
        Ok(saved)
    }

    /// Rows of the open shard that a kill does not touch.
    pub(crate) fn rows(&self) -> u64 {
        self.saved.rows
    }

    /// Appends what `shard`, number `index`, has beyond the file, and makes it durable.
    pub(crate) fn save(&mut self, index: u64, shard: &OpenShard) -> Result<(), DataError> {
        let now = Extent::of(shard);
        if now.rows == self.saved.rows {
            return Ok(());
        }
        let (magic, payload) = match &shard.batches()[self.saved.batches..] {
            [] => (TEXT, shard.text()[self.saved.text..].to_vec()),
            batches => {
                let encoded = encode(batches);
                (
                    ARROW,
                    encoded.map_err(|error| DataError::writing(&self.path, &error))?,
                )
            }
        };
        let mut record = Vec::with_capacity(HEAD + payload.len() + HASH);
        for number in [
            magic,
            index,
            self.saved.rows,
            now.rows - self.saved.rows,
            now.failed - self.saved.failed,
            now.bytes - self.saved.bytes,
            payload.len() as u64,
        ] {
            record.extend_from_slice(&number.to_le_bytes());
        }
        record.extend_from_slice(&payload);
        let hash = blake3::hash(&record);
        record.extend_from_slice(hash.as_bytes());
        self.file
            .write_all(&record)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| DataError::writing(&self.path, &error))?;
        self.saved = now;
        Ok(())
    }

    /// Empties the file: its shard is complete. Need not be durable, as records of a complete
    /// shard are passed over.
    pub(crate) fn clear(&mut self) -> Result<(), DataError> {
        self.saved = Extent::default();
        self.cut(0)
    }

    fn cut(&mut self, end: u64) -> Result<(), DataError> {
        self.file
            .set_len(end)
            .and_then(|()| self.file.seek(SeekFrom::Start(end)))
            .map(drop)
            .map_err(|error| DataError::writing(&self.path, &error))
    }
}

/// The next record and its length; `None` where none is whole, or of shard `index` from row
/// `first` on.
fn read_record(
    file: &mut File,
    left: u64,
    index: u64,
    first: u64,
) -> io::Result<Option<(u64, SavedRows)>> {
    if left < (HEAD + HASH) as u64 {
        return Ok(None);
    }
    let mut record = vec![0; HEAD];
    file.read_exact(&mut record)?;
    let mut numbers = [0u64; 7];
    for (number, bytes) in numbers.iter_mut().zip(record.as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    let [magic, shard, start, rows, failed, bytes, length] = numbers;
    let fits = length <= left - (HEAD + HASH) as u64;
    if (shard, start) != (index, first) || !fits {
        return Ok(None);
    }
    let mut rest = vec![0; usize::try_from(length).unwrap_or(0) + HASH];
    file.read_exact(&mut rest)?;
    let hash = rest.split_off(rest.len() - HASH);
    record.extend_from_slice(&rest);
    if blake3::hash(&record).as_bytes() != hash.as_slice() {
        return Ok(None);
    }
    let mut saved = SavedRows {
        rows,
        failed,
        bytes,
        ..SavedRows::default()
    };
    match magic {
        TEXT => saved.text = rest,
        ARROW => match decode(&rest) {
            Some(batches) => saved.batches = batches,
            None => return Ok(None),
        },
        _ => return Ok(None),
    }
    Ok(Some(((HEAD + HASH) as u64 + length, saved)))
}

fn encode(batches: &[RecordBatch]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for batch in batches {
        // One stream each: a stream allows a dictionary to change only with a new schema.
        let mut stream = Vec::new();
        let mut writer =
            StreamWriter::try_new(&mut stream, &batch.schema()).map_err(io::Error::other)?;
        writer.write(batch).map_err(io::Error::other)?;
        writer.finish().map_err(io::Error::other)?;
        drop(writer);
        out.extend_from_slice(&(stream.len() as u64).to_le_bytes());
        out.extend_from_slice(&stream);
    }
    Ok(out)
}

fn decode(payload: &[u8]) -> Option<Vec<RecordBatch>> {
    let mut rest = payload;
    let mut batches = Vec::new();
    while let Some((length, more)) = rest.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (stream, more) = more.split_at_checked(length)?;
        for batch in StreamReader::try_new(Cursor::new(stream), None).ok()? {
            batches.push(batch.ok()?);
        }
        rest = more;
    }
    rest.is_empty().then_some(batches)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::{Float32Type, Int32Type};
    use arrow_array::{ArrayRef, DictionaryArray, FixedSizeListArray, StringArray};

    use super::*;
    use crate::sink::{Rows, RowsBody, ShardLimits};

    const LIMITS: ShardLimits = ShardLimits {
        rows: 100,
        bytes: 1 << 20,
    };

    fn text(lines: &[&str]) -> Rows {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line.as_bytes());
            ends.push(bytes.len());
        }
        Rows {
            body: RowsBody::Text { bytes, ends },
            failed: vec![true; lines.len()],
        }
    }

    fn columns(first: usize, rows: usize) -> Rows {
        let names: Vec<String> = (first..first + rows)
            .map(|row| format!("row {row}"))
            .collect();
        let kinds: DictionaryArray<Int32Type> = names.iter().map(|name| Some(&name[..5])).collect();
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            (first..first + rows).map(|row| (row % 3 > 0).then(|| vec![Some(row as f32), None])),
            2,
        );
        let arrays: [(&str, ArrayRef); 3] = [
            ("name", Arc::new(StringArray::from(names))),
            ("kind", Arc::new(kinds)),
            ("vector", Arc::new(vectors)),
        ];
        // A slice, as rows mostly are: what lies outside of it must not come along.
        let batch = RecordBatch::try_from_iter_with_nullable(arrays.map(|(n, a)| (n, a, true)))
            .unwrap()
            .slice(1, rows - 1);
        let sizes = vec![10; rows - 1];
        Rows {
            body: RowsBody::Batch { batch, sizes },
            failed: vec![false; rows - 1],
        }
    }

    fn same(a: &OpenShard, b: &OpenShard) {
        assert_eq!(
            (a.rows(), a.failed(), a.bytes()),
            (b.rows(), b.failed(), b.bytes())
        );
        assert_eq!(a.text(), b.text());
        assert_eq!(a.batches(), b.batches());
    }

    /// A resumed job would lose or double the rows of its last seconds.
    #[test]
    fn rows_come_back_as_they_were() {
        for pieces in [
            [text(&["a\n", "b\n"]), text(&["c\n"])],
            [columns(0, 5), columns(5, 9)],
        ] {
            let directory = crate::job::durable::tests::in_memory();
            let path = directory.path().join("open.rows");
            let mut shard = OpenShard::new(LIMITS);
            let mut file = SavedFile::open(&path, 3, &mut shard).unwrap();
            let mut lengths = vec![0];
            let mut states = vec![shard.clone()];
            for piece in &pieces {
                shard.take(piece, 0);
                file.save(3, &shard).unwrap();
                file.save(3, &shard).unwrap();
                lengths.push(std::fs::metadata(&path).unwrap().len());
                states.push(shard.clone());
            }
            drop(file);
            let whole = std::fs::read(&path).unwrap();
            for cut in (0..=whole.len()).rev() {
                std::fs::write(&path, &whole[..cut]).unwrap();
                let mut back = OpenShard::new(LIMITS);
                let file = SavedFile::open(&path, 3, &mut back).unwrap();
                let expected = lengths.iter().rposition(|end| *end <= cut as u64).unwrap();
                same(&back, &states[expected]);
                assert_eq!(file.rows(), back.rows());
            }
        }
    }

    /// Rows of a shard that is complete already would come twice; damaged ones would be trusted.
    #[test]
    fn other_shards_and_damage_are_passed_over() {
        let directory = crate::job::durable::tests::in_memory();
        let path = directory.path().join("open.rows");
        let mut shard = OpenShard::new(LIMITS);
        let mut file = SavedFile::open(&path, 3, &mut shard).unwrap();
        shard.take(&text(&["a\n", "b\n"]), 0);
        file.save(3, &shard).unwrap();
        drop(file);
        let whole = std::fs::read(&path).unwrap();

        let mut other = OpenShard::new(LIMITS);
        SavedFile::open(&path, 4, &mut other).unwrap();
        assert_eq!(other.rows(), 0);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let mut back = OpenShard::new(LIMITS);
            SavedFile::open(&path, 3, &mut back).unwrap();
            assert_eq!(back.rows(), 0, "byte {at}");
        }
    }
}
