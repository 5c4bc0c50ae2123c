//! The tier in a Redis or Valkey server: answers that several processes share, and that outlive them.
//!
//! Whoever looks rows up never connects, and waits for the server for some milliseconds: it takes one of a few
//! connections that are open, asks for some rows at a time, and begins no new wait when the time for all of them
//! is over. Where no connection is free, or the server is away, the rows are computed. A connection that fails or
//! is late is given up. One thread opens the next after a pause, and writes what is
//! computed; what it cannot keep up with is dropped. So a server that is away or slow costs no more than one late
//! lookup for each connection and pause, and fails no row.
//!
//! A value is as on disk, with a checksum over its key and itself: what the server has mixed up is a miss.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Client, Connection, ErrorKind, RedisError, RedisResult};

use super::stats::RemoteStats;
use super::value::{decode, encode};
use super::{Entry, Key, Scope};
use crate::Error;

/// Connections that lookups take: as many of them may be late at once.
const CONNECTIONS: usize = 4;
/// How long a lookup waits for the server, however many rows it is for. An answer that comes in several parts may
/// take a little longer: the socket knows of each part alone.
const LOOKUP: Duration = Duration::from_millis(5);
/// Rows that a lookup asks for at once: few, so that the time is looked at between them.
const ASKED: usize = 32;
/// How long the thread that writes waits for it.
const WRITE: Duration = Duration::from_secs(1);
/// How long the server is left alone after it failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Rows written at once.
const WRITTEN: usize = 256;
/// Computed rows that wait to be written.
const QUEUE: usize = 4_096;
/// How long whoever drops the tier waits for them to be written.
const LAST: Duration = Duration::from_secs(2);

/// Answers of one scope at a server.
pub(crate) struct RemoteTier {
    shared: Arc<Shared>,
    /// There until the tier is dropped.
    queue: Option<SyncSender<Told>>,
    /// Tells when the thread has written everything.
    done: Mutex<Receiver<()>>,
}

/// A row that is to be written.
struct Computed {
    key: Key,
    entry: Entry,
    /// How often the tier had been emptied then.
    epoch: u64,
}

/// What the thread is told.
enum Told {
    /// A row that is to be written.
    Row(Computed),
    /// A connection was given up: there is one to open.
    Lost,
}

/// A connection that a lookup has. When it is dropped it is there for the next one; unless it owes an answer, which
/// the next one would take for its own: then it is given up.
struct Lent<'a> {
    tier: &'a RemoteTier,
    /// There until it is dropped.
    connection: Option<Connection>,
    owes_answer: bool,
}

/// What lookups and the thread share.
struct Shared {
    client: Client,
    prefix: Vec<u8>,
    pool: Mutex<Pool>,
    /// How often the tier was emptied.
    epoch: AtomicU64,
    /// Held while rows are written.
    writing: Mutex<()>,
    counts: Counts,
}

/// Connections that lookups take.
#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Those that are open, lent ones included.
    open: usize,
    /// Until then none is opened.
    rest_until: Option<Instant>,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    skipped: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
}

/// Where answers are kept at a server: `redis://[user:password@]host[:port][/database]`.
#[derive(Clone, Debug)]
pub(crate) struct RemotePlace {
    url: String,
    scope: String,
}

impl RemotePlace {
    pub(crate) fn new(url: &str, scope: &Scope) -> Self {
        Self {
            url: url.to_owned(),
            scope: scope.name(),
        }
    }
}

impl RemoteTier {
    /// A server that is away is no error: it may come.
    pub(crate) fn open(place: &RemotePlace) -> Result<Self, Error> {
        let client = Client::open(place.url.as_str()).map_err(|error| Error::Option {
            name: "cache_redis",
            // Without the address: it may hold a password.
            problem: format!(
                "{error}; write redis://host:6379, or redis://user:password@host:6379/0"
            ),
        })?;
        let shared = Arc::new(Shared {
            client,
            prefix: format!("batchwright:{}:", place.scope).into_bytes(),
            pool: Mutex::default(),
            epoch: AtomicU64::default(),
            writing: Mutex::default(),
            counts: Counts::default(),
        });
        let (queue, computed) = sync_channel(QUEUE);
        let (tell, done) = sync_channel(1);
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("batchwright-redis".to_owned())
            .spawn(move || {
                writer.serve(&computed);
                let _ = tell.send(());
            })
            .map_err(|error| Error::Option {
                name: "cache_redis",
                problem: format!("the system refuses its thread: {error}"),
            })?;
        Ok(Self {
            shared,
            queue: Some(queue),
            done: Mutex::new(done),
        })
    }

    /// What the server knows of these rows, one for each; nothing of those that it did not tell in time.
    pub(crate) fn get(&self, keys: &[Key]) -> Vec<Option<Entry>> {
        let counts = &self.shared.counts;
        let mut found = Vec::with_capacity(keys.len());
        let begun = Instant::now();
        if let Some(mut lent) = self.lend() {
            for keys in keys.chunks(ASKED) {
                let left = LOOKUP.saturating_sub(begun.elapsed());
                if left.is_zero() {
                    break;
                }
                match lent.ask(keys, left) {
                    Ok(entries) => found.extend(entries),
                    Err(_) => {
                        counts.failures.fetch_add(1, Relaxed);
                        break;
                    }
                }
            }
        }
        let hits = found.iter().flatten().count();
        counts.hits.fetch_add(hits as u64, Relaxed);
        counts
            .misses
            .fetch_add((found.len() - hits) as u64, Relaxed);
        counts
            .skipped
            .fetch_add((keys.len() - found.len()) as u64, Relaxed);
        found.resize_with(keys.len(), || None);
        found
    }

    /// A connection, if one is free.
    fn lend(&self) -> Option<Lent<'_>> {
        let connection = self.shared.lock().idle.pop()?;
        Some(Lent {
            tier: self,
            connection: Some(connection),
            owes_answer: false,
        })
    }

    /// Keeps what was computed, if there is room in the queue. Never waits.
    pub(crate) fn put(&self, key: Key, entry: Entry) {
        let epoch = self.shared.epoch.load(Relaxed);
        if !self.tell(Told::Row(Computed { key, entry, epoch })) {
            self.shared.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Tells the thread, if there is room in its queue; says whether there was.
    fn tell(&self, what: Told) -> bool {
        let queue = self.queue.as_ref();
        queue.is_some_and(|queue| queue.try_send(what).is_ok())
    }

    /// Forgets every answer of this scope, those included that wait to be written. Blocks.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        {
            let _writing = self.shared.writing();
            self.shared.epoch.fetch_add(1, Relaxed);
        }
        let cleared = self.shared.connect(WRITE).and_then(|mut connection| {
            let mut pattern = self.shared.prefix.clone();
            pattern.push(b'*');
            let mut cursor = 0_u64;
            loop {
                let (next, keys): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
                    .arg(cursor)
                    .arg("MATCH")
                    .arg(&pattern)
                    .arg("COUNT")
                    .arg(1_000)
                    .query(&mut connection)?;
                if !keys.is_empty() {
                    redis::cmd("UNLINK")
                        .arg(keys)
                        .query::<()>(&mut connection)?;
                }
                cursor = next;
                if cursor == 0 {
                    return Ok(());
                }
            }
        });
        cleared.map_err(|error| Error::CacheServer {
            problem: error.to_string(),
        })
    }

    pub(crate) fn stats(&self) -> RemoteStats {
        let Counts {
            hits,
            misses,
            skipped,
            written,
            dropped,
            failures,
        } = &self.shared.counts;
        RemoteStats {
            hits: hits.load(Relaxed),
            misses: misses.load(Relaxed),
            skipped: skipped.load(Relaxed),
            written: written.load(Relaxed),
            dropped: dropped.load(Relaxed),
            failures: failures.load(Relaxed),
        }
    }
}

impl Lent<'_> {
    /// What the server knows of rows, one for each.
    fn ask(
        &mut self,
        keys: &[Key],
        within: Duration,
    ) -> RedisResult<impl Iterator<Item = Option<Entry>>> {
        let gone = || RedisError::from((ErrorKind::Io, "the connection is given up"));
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        self.owes_answer = true;
        let entries = self.tier.shared.ask(connection, keys, within)?;
        self.owes_answer = false;
        Ok(entries)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.tier.shared.lock();
        match self.connection.take().filter(|_| !self.owes_answer) {
            Some(connection) => pool.idle.push(connection),
            None => {
                pool.open -= 1;
                pool.rest_until = Some(Instant::now() + PAUSE);
                drop(pool);
                // If the queue is full the thread is awake, and looks itself.
                self.tier.tell(Told::Lost);
            }
        }
    }
}

impl Drop for RemoteTier {
    /// Waits a moment for what is still to be written: a short process would leave nothing.
    fn drop(&mut self) {
        drop(self.queue.take());
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Later it is written all the same, if the process goes on.
        let _ = done.recv_timeout(LAST);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, key: Key) -> Vec<u8> {
        [&self.prefix[..], &key.to_le_bytes()].concat()
    }

    fn ask(
        &self,
        connection: &mut Connection,
        keys: &[Key],
        within: Duration,
    ) -> RedisResult<impl Iterator<Item = Option<Entry>>> {
        connection.set_read_timeout(Some(within))?;
        connection.set_write_timeout(Some(within))?;
        let names: Vec<Vec<u8>> = keys.iter().map(|&key| self.key(key)).collect();
        let values: Vec<Option<Vec<u8>>> = redis::cmd("MGET").arg(names).query(connection)?;
        if values.len() != keys.len() {
            let error =
                RedisError::from((ErrorKind::UnexpectedReturnType, "another number of values"));
            return Err(error);
        }
        let pairs = keys.iter().copied().zip(values).collect::<Vec<_>>();
        let entries = pairs.into_iter().map(|(key, value)| decode(key, &value?));
        Ok(entries)
    }

    /// A connection that has answered within this time, and waits no longer than that for any answer.
    fn connect(&self, within: Duration) -> RedisResult<Connection> {
        // Connecting itself may take longer: nobody waits for it.
        let mut connection = self.client.get_connection_with_timeout(WRITE)?;
        connection.set_read_timeout(Some(within))?;
        connection.set_write_timeout(Some(within))?;
        redis::cmd("PING").query::<()>(&mut connection)?;
        Ok(connection)
    }

    /// Writes what was computed and keeps connections open, until nobody can compute any more.
    fn serve(&self, told: &Receiver<Told>) {
        let mut writing: Option<Connection> = None;
        loop {
            let may_open = |until| until <= Instant::now();
            let rest_until = self.lock().rest_until;
            if rest_until.is_none_or(may_open) && self.open_all(&mut writing).is_err() {
                self.failed();
            }
            let mut rows = Vec::new();
            match self.next(told, writing.is_some()) {
                Ok(what) => rows.extend(what.row()),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let more = told.try_iter().filter_map(Told::row);
            rows.extend(more.take(WRITTEN - 1));
            self.write_all(&mut writing, rows);
        }
    }

    /// What the thread is told next; while connections are missing, no later than when they may be opened.
    fn next(&self, told: &Receiver<Told>, can_write: bool) -> Result<Told, RecvTimeoutError> {
        let (is_whole, rest_until) = {
            let pool = self.lock();
            (can_write && pool.open == CONNECTIONS, pool.rest_until)
        };
        if is_whole {
            return told.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        let rest = rest_until.map(|until| until.saturating_duration_since(Instant::now()));
        told.recv_timeout(rest.unwrap_or_default())
    }

    /// Writes rows that have not been forgotten since, and counts what became of them.
    fn write_all(&self, writing: &mut Option<Connection>, mut rows: Vec<Computed>) {
        let count = rows.len() as u64;
        let _writing = self.writing();
        let epoch = self.epoch.load(Relaxed);
        rows.retain(|row| row.epoch == epoch);
        let forgotten = count - rows.len() as u64;
        self.counts.dropped.fetch_add(forgotten, Relaxed);
        let count = count - forgotten;
        let Some(connection) = writing.as_mut().filter(|_| count > 0) else {
            self.counts.dropped.fetch_add(count, Relaxed);
            return;
        };
        match self.write(connection, &rows) {
            Ok(()) => self.counts.written.fetch_add(count, Relaxed),
            Err(error) => {
                // A full server refuses, and goes on answering.
                if error.is_io_error() || error.is_connection_dropped() {
                    *writing = None;
                }
                self.failed();
                self.counts.dropped.fetch_add(count, Relaxed)
            }
        };
    }

    /// Opens the connections that are missing.
    fn open_all(&self, writing: &mut Option<Connection>) -> RedisResult<()> {
        if writing.is_none() {
            *writing = Some(self.connect(WRITE)?);
        }
        // Nobody else opens any.
        while self.lock().open < CONNECTIONS {
            let connection = self.connect(LOOKUP)?;
            let mut pool = self.lock();
            pool.idle.push(connection);
            pool.open += 1;
        }
        Ok(())
    }

    /// Leaves the server alone for a while.
    fn failed(&self) {
        self.counts.failures.fetch_add(1, Relaxed);
        self.lock().rest_until = Some(Instant::now() + PAUSE);
    }

    fn write(&self, connection: &mut Connection, rows: &[Computed]) -> RedisResult<()> {
        let mut all = redis::pipe();
        for Computed { key, entry, .. } in rows {
            all.cmd("SET")
                .arg(self.key(*key))
                .arg(encode(*key, entry))
                .ignore();
        }
        all.query(connection)
    }
}

impl Told {
    fn row(self) -> Option<Computed> {
        match self {
            Self::Row(row) => Some(row),
            Self::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// A server that says the same to everything.
    fn yes_man() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                std::thread::spawn(move || {
                    let mut line = String::new();
                    while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                        // A command is a list: its head says that one comes.
                        if line.starts_with('*') && stream.get_mut().write_all(b"+OK\r\n").is_err()
                        {
                            return;
                        }
                        line.clear();
                    }
                });
            }
        });
        url
    }

    fn tier() -> RemoteTier {
        let tier = RemoteTier::open(&RemotePlace {
            url: yes_man(),
            scope: "s".to_owned(),
        });
        let tier = tier.unwrap();
        eventually(&tier, |pool| pool.idle.len() == CONNECTIONS);
        tier
    }

    fn eventually(tier: &RemoteTier, is_so: impl Fn(&Pool) -> bool) {
        let begun = Instant::now();
        while !is_so(&tier.shared.lock()) {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
    }

    /// A panic would take a connection for ever, until no lookup found one; or leave one whose answers are a
    /// lookup late.
    #[test]
    fn a_connection_that_is_lent_comes_back_or_is_replaced() {
        let tier = tier();
        let panics = |owes_answer| {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let mut lent = tier.lend().unwrap();
                lent.owes_answer = owes_answer;
                panic!("on purpose");
            }));
            assert!(panicked.is_err());
        };
        panics(false);
        let state = |pool: &Pool| (pool.idle.len(), pool.open, pool.rest_until.is_some());
        assert_eq!(
            state(&tier.shared.lock()),
            (CONNECTIONS, CONNECTIONS, false)
        );
        panics(true);
        {
            let pool = tier.shared.lock();
            assert_eq!(state(&pool), (CONNECTIONS - 1, CONNECTIONS - 1, true));
        }
        // The thread that slept is told.
        eventually(&tier, |pool| pool.idle.len() == CONNECTIONS);
        // An answer of another kind than was asked for.
        assert_eq!(tier.get(&[Key::default()]).len(), 1);
        assert_eq!(tier.stats().failures, 1);
        assert_eq!(tier.shared.lock().open, CONNECTIONS - 1);
    }
}
