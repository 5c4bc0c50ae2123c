//! A cache that several processes share, through a server that speaks Redis' protocol.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use batchwright_engine::{Error, Model, RemoteStats};
use testing::golden::Golden;

use crate::{bits, builder, texts};

/// As much of Redis as is asked of it.
struct StandIn {
    url: String,
    values: Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>,
    how: Arc<How>,
}

/// How it answers.
#[derive(Default)]
struct How {
    /// Nobody.
    hangs: AtomicBool,
    /// Nobody who has written, though it is written.
    hangs_after_writing: AtomicBool,
    /// Whoever asks, three milliseconds later.
    is_slow: AtomicBool,
}

impl StandIn {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stand_in = Self {
            url: format!("redis://{}", listener.local_addr().unwrap()),
            values: Arc::default(),
            how: Arc::default(),
        };
        let (values, how) = (Arc::clone(&stand_in.values), Arc::clone(&stand_in.how));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (values, how) = (Arc::clone(&values), Arc::clone(&how));
                std::thread::spawn(move || answer_all(stream.unwrap(), &values, &how));
            }
        });
        stand_in
    }

    fn model(&self) -> Model {
        let golden = Golden::load("bert-embed");
        builder(&golden).cache_redis(&self.url).load().unwrap()
    }
}

fn answer_all(stream: TcpStream, values: &Mutex<HashMap<Vec<u8>, Vec<u8>>>, how: &How) {
    let mut stream = BufReader::new(stream);
    while let Some(words) = command(&mut stream) {
        wait_while(&how.hangs);
        let mut values = values.lock().unwrap();
        let name = String::from_utf8_lossy(&words[0]).to_uppercase();
        let answer = match name.as_str() {
            "PING" => b"+PONG\r\n".to_vec(),
            "SET" => {
                values.insert(words[1].clone(), words[2].clone());
                b"+OK\r\n".to_vec()
            }
            "MGET" => {
                let found = words[1..].iter().map(|key| match values.get(key) {
                    Some(value) => bulk(value),
                    None => b"$-1\r\n".to_vec(),
                });
                list(found)
            }
            "SCAN" => {
                assert_eq!(words[2], b"MATCH");
                let start = words[3].strip_suffix(b"*").unwrap();
                let keys: Vec<_> = values.keys().filter(|key| key.starts_with(start)).collect();
                let keys = list(keys.into_iter().map(|key| bulk(key)));
                list([bulk(b"0"), keys].into_iter())
            }
            "UNLINK" => {
                words[1..].iter().for_each(|key| drop(values.remove(key)));
                format!(":{}\r\n", words.len() - 1).into_bytes()
            }
            // What clients say of themselves.
            _ => b"+OK\r\n".to_vec(),
        };
        drop(values);
        match name.as_str() {
            "SET" => wait_while(&how.hangs_after_writing),
            "MGET" if how.is_slow.load(SeqCst) => std::thread::sleep(Duration::from_millis(3)),
            _ => {}
        }
        if stream.get_mut().write_all(&answer).is_err() {
            return;
        }
    }
}

fn wait_while(it: &AtomicBool) {
    while it.load(SeqCst) {
        std::thread::yield_now();
    }
}

fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

fn list(items: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
    let head = format!("*{}\r\n", items.len()).into_bytes();
    std::iter::once(head).chain(items).flatten().collect()
}

/// The words of a command; none once the connection has ended.
fn command(from: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let count = number(from, '*')?;
    let words = (0..count).map(|_| {
        let mut word = vec![0; number(from, '$')? + 2];
        from.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        Some(word)
    });
    words.collect()
}

fn number(from: &mut BufReader<TcpStream>, kind: char) -> Option<usize> {
    let mut line = String::new();
    from.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(kind)?.parse().ok()
}

fn remote(model: &Model) -> RemoteStats {
    model.cache_stats().remote.unwrap()
}

/// Embeds until the tier has done what is waited for. It always does, or the test fails.
fn until(
    model: &Model,
    texts: &[String],
    expected: &[Vec<u32>],
    done: impl Fn(RemoteStats) -> bool,
) {
    let patience = Instant::now() + Duration::from_secs(120);
    while !done(remote(model)) {
        let found = model.embed(texts).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(&bits(found), expected);
        }
        assert!(Instant::now() < patience, "{:?}", remote(model));
    }
}

fn expected(texts: &[String]) -> Vec<Vec<u32>> {
    let model = builder(&Golden::load("bert-embed")).load().unwrap();
    let vectors = model.embed(texts).unwrap();
    vectors.iter().map(|vector| bits(vector)).collect()
}

/// Several servers would each compute what one of them knows, or answer with each other's mistakes.
#[test]
fn what_one_model_computed_another_finds_bit_for_bit() {
    let stand_in = StandIn::start();
    let texts = texts(40);
    let distinct = texts.iter().collect::<std::collections::HashSet<_>>().len();
    let expected = expected(&texts);
    let (one, other) = (stand_in.model(), stand_in.model());
    until(&one, &texts, &expected, |stats| {
        stats.written >= distinct as u64
    });
    until(&other, &texts, &expected, |stats| {
        stats.hits >= distinct as u64
    });
    // Another model has answers of its own.
    let golden = Golden::load("mpnet-embed");
    let mpnet = builder(&golden).load().unwrap().embed(&texts).unwrap();
    let mpnet: Vec<_> = mpnet.iter().map(|vector| bits(vector)).collect();
    let third = builder(&golden).cache_redis(&stand_in.url).load().unwrap();
    until(&third, &texts, &mpnet, |stats| {
        stats.written > 0 && stats.hits > 0
    });
    // What was damaged is computed. Nothing of the fourth model is on its way to be written any more.
    let fourth = stand_in.model();
    until(&fourth, &texts, &expected, |stats| {
        stats.hits > 0 && stats.written + stats.dropped == stats.skipped
    });
    for value in stand_in.values.lock().unwrap().values_mut() {
        *value.last_mut().unwrap() ^= 1;
    }
    let before = remote(&fourth);
    until(&fourth, &texts, &expected, |stats| {
        stats.misses > before.misses
    });
    // The answers of one model go, and no others.
    let cached = stand_in.values.lock().unwrap().len();
    one.clear_cache().unwrap();
    let left = stand_in.values.lock().unwrap().len();
    assert!(0 < left && left < cached, "{left} of {cached}");
}

/// A cache that is away or hangs would take the service with it, or never be used again.
#[test]
fn a_server_that_is_away_or_hangs_fails_no_row_and_may_come_back() {
    let texts = texts(10);
    let expected = expected(&texts);
    let golden = Golden::load("bert-embed");
    // Nobody listens there, and no other test is ever given that port.
    let away = builder(&golden).cache_redis("redis://127.0.0.1:1");
    let model = away.load().unwrap();
    until(&model, &texts, &expected, |stats| {
        stats.failures > 0 && stats.dropped > 0
    });
    assert_eq!((remote(&model).hits, remote(&model).misses), (0, 0));
    assert!(matches!(
        model.clear_cache(),
        Err(Error::CacheServer { .. })
    ));

    let stand_in = StandIn::start();
    let model = stand_in.model();
    until(&model, &texts, &expected, |stats| stats.hits > 0);
    stand_in.how.hangs.store(true, SeqCst);
    let before = remote(&model);
    // Each connection is late once, and then left alone.
    until(&model, &texts, &expected, |stats| {
        stats.failures > before.failures && stats.skipped > before.skipped + 100
    });
    stand_in.how.hangs.store(false, SeqCst);
    let before = remote(&model);
    until(&model, &texts, &expected, |stats| stats.hits > before.hits);
}

/// What a lookup may wait for would grow with its rows.
#[test]
fn a_slow_server_is_asked_for_some_rows_and_no_longer() {
    let stand_in = StandIn::start();
    let texts = texts(300);
    let expected = expected(&texts);
    let model = stand_in.model();
    until(&model, &texts, &expected, |stats| stats.hits > 0);
    stand_in.how.is_slow.store(true, SeqCst);
    let before = remote(&model);
    model.embed(&texts).unwrap();
    let after = remote(&model);
    let skipped = after.skipped - before.skipped;
    let told = after.hits + after.misses - before.hits - before.misses;
    // In five milliseconds it is asked twice.
    assert!(told <= 64 && told + skipped > 64, "{told}, {skipped}");
}

/// A short process would compute for nobody but itself.
#[test]
fn what_was_computed_last_is_written_before_a_model_is_gone() {
    let stand_in = StandIn::start();
    let (first, last) = (texts(10), texts(40));
    let model = stand_in.model();
    until(&model, &first, &expected(&first), |stats| stats.hits > 0);
    stand_in.how.hangs_after_writing.store(true, SeqCst);
    model.embed(&last).unwrap();
    // Equal tokens are one row.
    let rows: std::collections::HashSet<_> = expected(&last).into_iter().collect();
    let how = Arc::clone(&stand_in.how);
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        how.hangs_after_writing.store(false, SeqCst);
    });
    drop(model);
    assert_eq!(stand_in.values.lock().unwrap().len(), rows.len());
    release.join().unwrap();
}

/// What was to be forgotten would come back.
#[test]
fn what_waits_to_be_written_is_forgotten_too() {
    let stand_in = StandIn::start();
    let (first, last) = (texts(1), texts(40));
    let model = stand_in.model();
    stand_in.how.hangs_after_writing.store(true, SeqCst);
    // The thread that writes waits for the answer about the first row, the others for the thread.
    let patience = Instant::now() + Duration::from_secs(120);
    while stand_in.values.lock().unwrap().is_empty() {
        model.embed(&first).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        assert!(Instant::now() < patience);
    }
    model.embed(&last).unwrap();
    let how = Arc::clone(&stand_in.how);
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        how.hangs_after_writing.store(false, SeqCst);
    });
    model.clear_cache().unwrap();
    release.join().unwrap();
    // Everything that was put has been written or dropped.
    drop(model);
    assert_eq!(stand_in.values.lock().unwrap().len(), 0);
}

/// A misspelt address would be found out from a cache that never hits; a password must not stand in the words.
#[test]
fn an_address_that_is_none_is_said_at_once() {
    let golden = Golden::load("bert-embed");
    for url in [
        "localhost",
        "http://user:secret@host:1",
        "redis://user:secret@host:port",
    ] {
        let error = builder(&golden).cache_redis(url).load().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Option {
                    name: "cache_redis",
                    ..
                }
            ),
            "{error}"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
