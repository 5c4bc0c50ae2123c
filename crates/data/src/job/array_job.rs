//! A job whose output is one array of numbers, all rows of one width: a `.npy` file.
//!
//! Shards would cost such a job more than its rows: each is made durable, hashed, read again and copied.
//! A row's place in an array is known beforehand, so rows go straight into the file that will be the
//! output, and every two seconds a line of the journal says how far it is durable, with the hash of all
//! before. Everything else (claiming, manifest, publishing) is that of the other jobs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::DataError;
use crate::job::array_errors::{ArrayErrors, refuse_foreign_errors};
use crate::job::claim::{Claim, Claimed, claim};
use crate::job::durable::{hash_file, sync_directory};
use crate::job::journal::{Journal, ShardLine};
use crate::job::manifest::{ARRAY_FORMAT, Finished, Layout, Manifest};
use crate::job::npy::{Element, HEAD, head};
use crate::job::parts::Parts;
use crate::job::publish::{Place, Stage};
use crate::job::spec::{Companion, JobSummary, Restart};
use crate::job::{behind_links, is_stream};
use crate::row::RowError;

/// An array to write, or to go on with.
#[derive(Clone, Debug)]
pub struct ArraySpec {
    /// The file.
    pub output: PathBuf,
    /// What its values are.
    pub element: Element,
    /// Values of a row.
    pub width: usize,
    /// Rows that there will be, where that is known: it saves a second reading at the end.
    pub rows: Option<u64>,
    /// As in [`JobSpec::fingerprints`](crate::JobSpec::fingerprints).
    pub fingerprints: BTreeMap<String, String>,
    /// A file that belongs to the array.
    pub companion: Option<Companion>,
    /// How long rows may wait before they are durable. Determines no bytes.
    pub checkpoint_every: Duration,
    /// What to do with what lies there already.
    pub restart: Restart,
}

impl ArraySpec {
    /// An array, made safe every two seconds.
    #[must_use]
    pub fn new(output: impl Into<PathBuf>, element: Element, width: usize) -> ArraySpec {
        ArraySpec {
            output: output.into(),
            element,
            width,
            rows: None,
            fingerprints: BTreeMap::new(),
            companion: None,
            checkpoint_every: Duration::from_secs(2),
            restart: Restart::No,
        }
    }
}

/// What [`ArrayJob::begin`] found.
#[derive(Debug)]
pub enum ArrayBegun {
    /// There are rows to write: all of them, or those after [`ArrayJob::rows_done`].
    Ready(Box<ArrayJob>),
    /// The very same job has finished before: there is nothing to do.
    Complete(JobSummary),
}

/// An array being written, row by row, in order.
///
/// An array has no column for errors: they stand in a file beside it, `OUT.errors.jsonl`, one line for
/// each bad row, with its index in the array from 0. Where no row is bad there is no such file.
pub struct ArrayJob {
    output: PathBuf,
    parts: Parts,
    manifest: Manifest,
    journal: Journal,
    file: File,
    errors: ArrayErrors,
    spec: ArraySpec,
    /// Of everything in the file so far, its head as it was when the job began.
    hasher: blake3::Hasher,
    presumed: u64,
    rows: u64,
    failed: u64,
    checkpoint: Instant,
    flusher: Flusher,
    /// Keeps other processes out while it lives.
    _lock: File,
}

/// Sends what is written on its way to the disk while more is made: else all of it would be waited for at
/// the end. What it does is no promise; that is [`ArrayJob::save`]'s.
struct Flusher {
    tell: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// What the disk said first.
    error: Arc<Mutex<Option<io::Error>>>,
    /// Bytes since the last time.
    bytes: usize,
}

/// How far what earlier processes left can be trusted.
struct LeftBehind {
    hasher: blake3::Hasher,
    rows: u64,
    failed: u64,
    /// Rows that the head in the file tells.
    presumed: u64,
}

impl ArrayJob {
    /// Begins a job, or continues it where an earlier process was stopped.
    ///
    /// # Errors
    /// As [`Job::begin`](crate::Job::begin).
    pub fn begin(spec: ArraySpec) -> Result<ArrayBegun, DataError> {
        let output = behind_links(&spec.output);
        if is_stream(&output) {
            return Err(DataError::OutputFormat {
                path: output.display().to_string(),
                reason:
                    "an array's number of rows stands at its beginning and is known last; name a \
                         file, such as out.npy"
                        .to_owned(),
            });
        }
        let layout = Layout {
            format: ARRAY_FORMAT.to_owned(),
            columns: vec![format!("{} x {}", spec.element.descr(), spec.width)],
            // There are no shards.
            rows_per_shard: 0,
            shard_bytes: 0,
        };
        let wanted = Manifest::new(layout, spec.fingerprints.clone());
        refuse_foreign_errors(&output, spec.restart)?;
        let Claimed {
            parts,
            manifest,
            lock,
        } = match claim(&output, wanted, spec.companion.as_ref(), spec.restart)? {
            Claim::Complete(summary) => return Ok(ArrayBegun::Complete(summary)),
            Claim::Ready(claimed) => claimed,
        };
        let path = parts.array();
        let failed = |error: io::Error| DataError::writing(&path, &error);
        let mut journal = Journal::open(&parts.journal())?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let found = match LeftBehind::take_up(&mut file, &mut journal, &spec) {
            Ok(Some(found)) => found,
            Ok(None) => {
                journal.cut(0)?;
                LeftBehind::begin(&mut file, &spec).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let (mut errors, told) = ArrayErrors::open(parts.errors(), found.rows)?;
        let mut found = found;
        if told != found.failed {
            // Bad rows that nobody would be told of: all of them are done again.
            journal.cut(0)?;
            found = LeftBehind::begin(&mut file, &spec).map_err(failed)?;
            errors = ArrayErrors::open(parts.errors(), 0)?.0;
        }
        let flusher = Flusher::of(&path);
        sync_directory(&parts.directory)?;
        Ok(ArrayBegun::Ready(Box::new(ArrayJob {
            output,
            parts,
            manifest,
            journal,
            file,
            errors,
            spec,
            hasher: found.hasher,
            presumed: found.presumed,
            rows: found.rows,
            failed: found.failed,
            checkpoint: Instant::now(),
            flusher,
            _lock: lock,
        })))
    }

    /// Rows of the output that are there, by this process or earlier ones.
    #[must_use]
    pub fn rows_done(&self) -> u64 {
        self.rows
    }

    /// Rows among them that carry an error.
    #[must_use]
    pub fn failed_rows(&self) -> u64 {
        self.failed
    }

    /// Whether the job can be continued after a kill.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.manifest.is_repeatable()
    }

    /// Writes the next rows: their values one after the other, in the machine's order of bytes, and what
    /// is wrong with which of them, counted from 0 at the first of these rows.
    ///
    /// # Errors
    /// [`DataError::Answers`] where the bytes are no whole rows; [`DataError::DiskFull`] and
    /// [`DataError::Write`] from the disk, after which the job can be begun again.
    pub fn write(&mut self, values: &[u8], bad: &[(usize, RowError)]) -> Result<(), DataError> {
        let row = self.row_bytes();
        if row == 0 || !values.len().is_multiple_of(row) {
            return Err(DataError::Answers {
                reason: format!("{} bytes are no rows of {row}", values.len()),
            });
        }
        let first = self.rows;
        self.file
            .write_all(values)
            .map_err(|error| self.disk_error(&error))?;
        self.flusher.wrote(values.len());
        self.hasher.update(values);
        self.rows += (values.len() / row) as u64;
        if !bad.is_empty() {
            let written = self.errors.append(first, bad);
            written.map_err(|error| self.disk_error(&error))?;
            self.failed += bad.len() as u64;
        }
        if self.checkpoint.elapsed() >= self.spec.checkpoint_every {
            self.save()?;
        }
        Ok(())
    }

    /// Makes every row written so far safe and stops; the same job can be begun again.
    ///
    /// # Errors
    /// [`DataError::DiskFull`] and [`DataError::Write`] from the disk.
    pub fn pause(mut self) -> Result<u64, DataError> {
        self.save()?;
        Ok(self.rows)
    }

    /// Puts the finished array in its place.
    ///
    /// # Errors
    /// As [`write`](ArrayJob::write), and as [`Job::finish`](crate::Job::finish).
    pub fn finish(mut self) -> Result<JobSummary, DataError> {
        self.flusher.end();
        let mut hash = self.hasher.finalize().to_hex().to_string();
        let whole = head(self.spec.element, self.rows, self.spec.width);
        let set = match self.presumed == self.rows {
            true => Ok(()),
            false => rewind(&mut self.file).and_then(|()| self.file.write_all(&whole)),
        };
        set.and_then(|()| self.file.sync_all())
            .and_then(|()| self.flusher.check())
            .map_err(|error| self.disk_error(&error))?;
        self.errors
            .sync()
            .map_err(|error| self.disk_error(&error))?;
        if self.presumed != self.rows {
            let read = hash_file(&self.parts.array());
            hash = read.map_err(|error| self.disk_error(&error))?.1;
        }
        fs::rename(self.parts.array(), self.parts.joined())
            .map_err(|error| self.disk_error(&error))?;
        sync_directory(&self.parts.directory)?;
        let finished = Finished {
            rows: self.rows,
            failed_rows: self.failed,
            bytes: (HEAD + self.row_bytes() * self.rows as usize) as u64,
            blake3: hash,
        };
        self.manifest.finished = Some(finished.clone());
        self.manifest.write(&self.parts.manifest())?;
        let place = Place {
            parts: &self.parts,
            output: &self.output,
        };
        place.publish(&self.manifest, &finished, Stage::Joined)
    }

    fn row_bytes(&self) -> usize {
        self.spec.width * self.spec.element.bytes()
    }

    /// Makes everything written so far durable, and then says so in the journal.
    fn save(&mut self) -> Result<(), DataError> {
        self.checkpoint = Instant::now();
        let done = self.journal.rows();
        if self.rows == done {
            return Ok(());
        }
        self.errors
            .sync()
            .and_then(|()| self.file.sync_data())
            .and_then(|()| self.flusher.check())
            .map_err(|error| self.disk_error(&error))?;
        let index = self.journal.shards().len() as u64;
        let bytes = (self.rows - done) * self.row_bytes() as u64;
        self.journal.append(ShardLine {
            shard: index,
            rows: self.rows - done,
            failed_rows: self.failed - self.journal.failed_rows(),
            bytes: if index == 0 {
                bytes + HEAD as u64
            } else {
                bytes
            },
            blake3: self.hasher.finalize().to_hex().to_string(),
        })
    }

    fn disk_error(&self, error: &io::Error) -> DataError {
        DataError::writing(&self.parts.array(), error).with_safe_rows(self.journal.rows())
    }
}

impl Flusher {
    /// Bytes that are sent on their way together.
    const TOGETHER: usize = 16 << 20;

    /// Opens the file once more: Linux tells each open file an error of writing back once, so one that two
    /// handles share would be told to this thread alone, and what it lost be taken for durable.
    fn of(path: &Path) -> Flusher {
        let (tell, told) = sync_channel(1);
        let error = Arc::new(Mutex::new(None));
        let found = Arc::clone(&error);
        let file = OpenOptions::new().write(true).open(path);
        let thread = file.and_then(|file| {
            std::thread::Builder::new().spawn(move || {
                for () in told {
                    if let Err(error) = file.sync_data() {
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.get_or_insert(error);
                    }
                }
            })
        });
        Flusher {
            tell: Some(tell),
            // Without a thread all is waited for at the end.
            thread: thread.ok(),
            error,
            bytes: 0,
        }
    }

    /// Fails once anything that was sent on its way did not get there.
    fn check(&self) -> io::Result<()> {
        let found = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        // It stays, so that nothing later vouches for what was lost.
        match found.as_ref() {
            None => Ok(()),
            Some(error) => Err(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            }),
        }
    }

    fn wrote(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= Self::TOGETHER
            && let Some(tell) = &self.tell
        {
            self.bytes = 0;
            // One that is still at it takes these bytes, or the next time does.
            let _ = tell.try_send(());
        }
    }

    fn end(&mut self) {
        self.tell = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl LeftBehind {
    /// Reads what is there again, as far as the journal vouches for it, cuts off the rest, and stands
    /// behind it. `None` where nothing can be trusted.
    fn take_up(
        file: &mut File,
        journal: &mut Journal,
        spec: &ArraySpec,
    ) -> io::Result<Option<LeftBehind>> {
        rewind(file)?;
        let mut found = LeftBehind {
            hasher: blake3::Hasher::new(),
            rows: 0,
            failed: 0,
            presumed: 0,
        };
        // A job that was stopped in its last step has set the number of rows there already: the head is
        // what it was for the hashes, whatever it is in the file.
        let presumed = spec.rows.unwrap_or(0);
        let first = head(spec.element, presumed, spec.width);
        let mut written = [0; HEAD];
        match file.read_exact(&mut written) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        found.hasher.update(&first);
        let mut end = HEAD as u64;
        let mut trusted = 0;
        let mut block = vec![0; 1 << 20];
        for line in journal.shards() {
            let mut hasher = found.hasher.clone();
            let bytes = match trusted {
                0 => line.bytes.saturating_sub(HEAD as u64),
                _ => line.bytes,
            };
            let mut left = bytes;
            while left > 0 {
                let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let read = file.read(&mut block[..most])?;
                if read == 0 {
                    break;
                }
                hasher.update(&block[..read]);
                left -= read as u64;
            }
            if left > 0 || hasher.finalize().to_hex().as_str() != line.blake3 {
                break;
            }
            found.hasher = hasher;
            found.rows += line.rows;
            found.failed += line.failed_rows;
            end += bytes;
            trusted += 1;
        }
        if trusted == 0 {
            return Ok(None);
        }
        if trusted < journal.shards().len() {
            journal.cut(trusted).map_err(io::Error::other)?;
        }
        if written != first {
            rewind(file)?;
            file.write_all(&first)?;
        }
        found.presumed = presumed;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Some(found))
    }

    /// Begins with an empty file.
    fn begin(file: &mut File, spec: &ArraySpec) -> io::Result<LeftBehind> {
        let presumed = spec.rows.unwrap_or(0);
        let head = head(spec.element, presumed, spec.width);
        rewind(file)?;
        file.set_len(0)?;
        file.write_all(&head)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head);
        Ok(LeftBehind {
            hasher,
            rows: 0,
            failed: 0,
            presumed,
        })
    }
}

fn rewind(file: &mut File) -> io::Result<()> {
    file.seek(SeekFrom::Start(0)).map(drop)
}

impl fmt::Debug for ArrayJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrayJob")
            .field("output", &self.output)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::INPUT_FINGERPRINT;

    const ROWS: u64 = 10;

    fn spec(directory: &Path, rows: Option<u64>) -> ArraySpec {
        ArraySpec {
            rows,
            fingerprints: BTreeMap::from([(INPUT_FINGERPRINT.to_owned(), "i".to_owned())]),
            checkpoint_every: Duration::ZERO,
            ..ArraySpec::new(directory.join("a.npy"), Element::U16, 3)
        }
    }

    fn ready(spec: ArraySpec) -> ArrayJob {
        match ArrayJob::begin(spec).unwrap() {
            ArrayBegun::Ready(job) => *job,
            ArrayBegun::Complete(_) => panic!("it is not finished"),
        }
    }

    /// Row `row`, and every third is bad.
    fn put(job: &mut ArrayJob, row: u64) {
        let error = RowError {
            code: RowError::MISSING_VALUE,
            message: format!("row {row}"),
        };
        let bad: &[_] = if row.is_multiple_of(3) {
            &[(0, error)]
        } else {
            &[]
        };
        job.write(&[row as u8; 6], bad).unwrap();
    }

    fn expected() -> (Vec<u8>, String) {
        let mut bytes = head(Element::U16, ROWS, 3).to_vec();
        bytes.extend((0..ROWS).flat_map(|row| [row as u8; 6]));
        let lines = (0..ROWS)
            .step_by(3)
            .map(|row| format!("{{\"index\":{row},\"error\":\"missing_value: row {row}\"}}\n"));
        (bytes, lines.collect())
    }

    #[track_caller]
    fn check(directory: &Path) {
        let (bytes, errors) = expected();
        assert!(fs::read(directory.join("a.npy")).unwrap() == bytes);
        let told = fs::read_to_string(directory.join("a.npy.errors.jsonl")).unwrap();
        assert_eq!(told, errors);
        assert!(!directory.join("a.npy.parts").exists());
    }

    /// A job that was stopped would lose or double rows, or the array not tell how many it has.
    #[test]
    fn a_stop_at_any_row_gives_the_same_bytes() {
        for known in [None, Some(ROWS)] {
            for stop in 0..=ROWS {
                let directory = crate::job::durable::tests::in_memory();
                let mut job = ready(spec(directory.path(), known));
                (0..stop).for_each(|row| put(&mut job, row));
                drop(job);
                let mut job = ready(spec(directory.path(), known));
                assert_eq!(job.rows_done(), stop);
                (stop..ROWS).for_each(|row| put(&mut job, row));
                let summary = job.finish().unwrap();
                assert_eq!((summary.rows, summary.failed_rows), (ROWS, 4));
                check(directory.path());
                let again = ArrayJob::begin(spec(directory.path(), known)).unwrap();
                assert!(matches!(again, ArrayBegun::Complete(found) if found == summary));
            }
        }
    }

    /// What a power cut left half written would be taken for rows.
    #[test]
    fn what_the_journal_does_not_vouch_for_is_written_again() {
        let directory = crate::job::durable::tests::in_memory();
        let whole = {
            let mut job = ready(spec(directory.path(), Some(ROWS)));
            (0..ROWS).for_each(|row| put(&mut job, row));
            fs::read(directory.path().join("a.npy.parts/rows")).unwrap()
        };
        let path = directory.path().join("a.npy.parts/rows");
        for damage in [0, HEAD - 2, HEAD + 7, whole.len() - 1] {
            let mut altered = whole.clone();
            altered[damage] ^= 1;
            altered.extend(b"more");
            fs::write(&path, &altered).unwrap();
            let mut job = ready(spec(directory.path(), Some(ROWS)));
            let done = job.rows_done();
            // The head is known beforehand.
            let whole = match damage.checked_sub(HEAD) {
                None => ROWS,
                Some(behind) => (behind / 6) as u64,
            };
            assert_eq!(done, whole);
            (done..ROWS).for_each(|row| put(&mut job, row));
        }
        ready(spec(directory.path(), Some(ROWS))).finish().unwrap();
        check(directory.path());
    }

    /// A kill in the last step would cost all of the work.
    #[test]
    fn a_stop_in_the_last_step_loses_no_row() {
        for known in [None, Some(ROWS)] {
            let directory = crate::job::durable::tests::in_memory();
            let mut job = ready(spec(directory.path(), known));
            (0..ROWS).for_each(|row| put(&mut job, row));
            rewind(&mut job.file).unwrap();
            job.file.write_all(&head(Element::U16, ROWS, 3)).unwrap();
            drop(job);
            let job = ready(spec(directory.path(), known));
            assert_eq!(job.rows_done(), ROWS);
            job.finish().unwrap();
            check(directory.path());
        }
    }

    /// Rows of padding would stand there that nobody is told of.
    #[test]
    fn rows_whose_errors_are_lost_are_written_again() {
        let directory = crate::job::durable::tests::in_memory();
        let mut job = ready(spec(directory.path(), None));
        (0..7).for_each(|row| put(&mut job, row));
        drop(job);
        let told = directory.path().join("a.npy.parts/errors.jsonl");
        let lines = fs::read_to_string(&told).unwrap();
        let (first, _) = lines.split_once('\n').unwrap();
        fs::write(&told, format!("{first}\n")).unwrap();
        let mut job = ready(spec(directory.path(), None));
        assert_eq!((job.rows_done(), job.failed_rows()), (0, 0));
        (0..ROWS).for_each(|row| put(&mut job, row));
        job.finish().unwrap();
        check(directory.path());
    }

    /// The journal would vouch for rows that the disk has lost.
    #[cfg(unix)]
    #[test]
    fn what_the_flusher_was_told_is_not_forgotten() {
        // A device that can be written, and whose bytes cannot be made durable.
        let mut flusher = Flusher::of(Path::new("/dev/null"));
        flusher.check().unwrap();
        flusher.wrote(Flusher::TOGETHER);
        flusher.end();
        flusher.check().unwrap_err();

        let directory = crate::job::durable::tests::in_memory();
        let mut job = ready(spec(directory.path(), None));
        put(&mut job, 0);
        job.flusher = flusher;
        let error = RowError {
            code: RowError::MISSING_VALUE,
            message: String::new(),
        };
        job.write(&[1; 6], &[(0, error)]).unwrap_err();
        assert_eq!(job.journal.rows(), 1);
        job.finish().unwrap_err();
        assert!(!directory.path().join("a.npy").exists());
        assert_eq!(ready(spec(directory.path(), None)).rows_done(), 1);
    }

    /// Errors of an older array would be taken for those of the new one; a file of the user's be lost.
    #[test]
    fn old_errors_go_and_foreign_files_stay() {
        let directory = crate::job::durable::tests::in_memory();
        let told = directory.path().join("a.npy.errors.jsonl");
        fs::write(&told, "mine").unwrap();
        let refused = ArrayJob::begin(spec(directory.path(), None)).unwrap_err();
        assert!(
            refused.to_string().contains("a.npy.errors.jsonl"),
            "{refused}"
        );
        fs::remove_file(&told).unwrap();
        let mut job = ready(spec(directory.path(), None));
        put(&mut job, 0);
        job.finish().unwrap();
        assert!(told.exists());
        let again = ArraySpec {
            restart: Restart::Yes,
            ..spec(directory.path(), None)
        };
        let mut job = ready(again);
        put(&mut job, 1);
        job.finish().unwrap();
        assert!(!told.exists());
    }
}
