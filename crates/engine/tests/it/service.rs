//! Serving: what clients of a service get, and what its numbers say.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use batchwright_engine::{
    CacheUse, Compute, Input, OnLong, Origin, Prediction, Priority, Reading, Request, RowError,
    Served, Service, ServiceSettings, Truncate, codes,
};
use testing::golden::{self, Golden};

use crate::{builder, input, load, texts};

const LONG: Duration = Duration::from_secs(120);

fn start(name: &str) -> Service {
    Service::start(load(name), ServiceSettings::default()).unwrap()
}

fn request(texts: &[String]) -> Request {
    Request::new(texts.iter().map(|text| text.as_str().into()).collect())
}

fn rendered(service: &Service, served: Served) -> Vec<Result<Prediction, RowError>> {
    let answers = served.answers.into_iter();
    answers
        .map(|answer| Ok(service.model().render(&answer?)))
        .collect()
}

/// Somebody who moves from files to a server, or back, would get other vectors.
#[test]
fn answers_are_those_of_predict_batch_bit_for_bit() {
    for golden in golden::all() {
        let inputs: Vec<Input> = golden.cases.iter().map(input).collect();
        let expected = builder(&golden)
            .load()
            .unwrap()
            .predict_batch(&inputs, |_| {});
        for threads in [1, 3] {
            let model = builder(&golden)
                .threads(threads)
                .cache_entries(1_000)
                .load()
                .unwrap();
            let settings = ServiceSettings {
                batch_tokens: Some(100),
                ..ServiceSettings::default()
            };
            let service = Service::start(model, settings).unwrap();
            let what = format!("{}, {threads} threads", golden.name);
            let uncached = |inputs: &[Input]| Request {
                cache: CacheUse::No,
                ..Request::new(inputs.to_vec())
            };
            let together = service.submit(uncached(&inputs)).unwrap().wait();
            assert_eq!(rendered(&service, together), expected, "{what}, together");
            for (input, expected) in inputs.iter().zip(&expected) {
                let alone = service.submit(uncached(std::slice::from_ref(input)));
                let alone = rendered(&service, alone.unwrap().wait());
                assert_eq!(&alone[0], expected, "{what}, alone");
            }
            for cached in [false, true] {
                let served = service.submit(Request::new(inputs.clone())).unwrap().wait();
                let good = expected.iter().filter(|answer| answer.is_ok()).count();
                assert_eq!(served.cached, if cached { good } else { 0 });
                assert_eq!(rendered(&service, served), expected, "{what}, {cached}");
            }
        }
    }
}

/// What goes wrong with one row would cost the request, or shift the answers of the others.
#[test]
fn bad_rows_carry_errors_in_their_places() {
    let service = start("bert-embed");
    let long = "balance ".repeat(5_000);
    let inputs = [
        Input::from("fine"),
        Input::from(("a", "pair")),
        Input::from(long.as_str()),
        Input::from("fine"),
    ];
    let strict = Request {
        reading: Reading {
            on_long: Some(OnLong::Error),
            ..Reading::default()
        },
        ..Request::new(inputs.to_vec())
    };
    let served = service.submit(strict).unwrap().wait();
    let found: Vec<_> = served
        .answers
        .iter()
        .map(|answer| answer.as_ref().err().map(|error| error.code))
        .collect();
    let expected = [None, Some(codes::WRONG_INPUT), Some(codes::TOO_LONG), None];
    assert_eq!(found, expected);
    assert_eq!(
        served.answers[3].as_ref().unwrap().origin,
        Origin::Duplicate
    );
    // A request of errors alone, or of nothing, is answered at once.
    let nothing = service.submit(Request::new(Vec::new())).unwrap();
    assert!(nothing.is_ready() && nothing.wait().answers.is_empty());
    let stats = service.stats();
    assert_eq!((stats.rows_computed, stats.rows_shared), (1, 1));
    assert_eq!(stats.failures.iter().map(|(_, n)| n).sum::<u64>(), 2);
}

/// Clients of other servers say for each request how their texts are cut.
#[test]
fn a_request_says_how_its_texts_are_read() {
    let golden = Golden::load("bert-embed");
    let service = Service::start(builder(&golden).load().unwrap(), ServiceSettings::default());
    let service = service.unwrap();
    let text = "turn on the lights what is my balance";
    for (side, max_tokens) in [(Truncate::Left, 5), (Truncate::Right, 4)] {
        let model = builder(&golden).truncate(side).max_tokens(max_tokens);
        let expected = model.load().unwrap().predict(text).unwrap();
        let request = Request {
            reading: Reading {
                truncate: Some(side),
                max_tokens: Some(max_tokens),
                ..Reading::default()
            },
            ..Request::new(vec![text.into()])
        };
        let served = service.submit(request).unwrap().wait();
        assert_eq!(served.tokens, max_tokens as u64);
        assert_eq!(rendered(&service, served), [Ok(expected)]);
    }
    // More than the model takes is as much as it takes.
    let request = Request {
        reading: Reading {
            max_tokens: Some(1_000_000),
            ..Reading::default()
        },
        ..Request::new(vec!["balance ".repeat(5_000).as_str().into()])
    };
    let served = service.submit(request).unwrap().wait();
    assert_eq!(served.tokens, golden.max_tokens as u64);
    assert!(served.answers[0].as_ref().unwrap().truncated);
}

/// An asynchronous server must not block, nor be forgotten.
#[test]
fn a_ticket_is_a_future() {
    let service = start("bert-embed");
    let texts = texts(30);
    let tickets: Vec<_> = texts
        .chunks(3)
        .map(|texts| service.submit(request(texts)).unwrap())
        .collect();
    let served = futures_executor::block_on(futures_util::future::join_all(tickets));
    assert_eq!(served.len(), 10);
    for served in served {
        assert!(served.answers.iter().all(Result::is_ok));
        let timing = served.timing;
        assert!(timing.compute > Duration::ZERO);
        assert!(timing.prepare + timing.queue + timing.compute <= timing.total);
    }
}

/// Numbers that do not add up under load send people after faults that are not there.
#[test]
fn hammered_it_answers_everybody_and_counts_exactly() {
    let golden = Golden::load("bert-embed");
    let model = builder(&golden)
        .threads(2)
        .cache_entries(40)
        .load()
        .unwrap();
    let texts = texts(60);
    let expected = model.embed(&texts).unwrap();
    model.clear_cache().unwrap();
    let settings = ServiceSettings {
        batch_tokens: Some(64),
        queue: batchwright_engine::QueueLimits {
            entries: 20,
            ..Default::default()
        },
        ..ServiceSettings::default()
    };
    let service = Service::start(model, settings).unwrap();
    let [asked, dropped, refused, rows, late] = [(); 5].map(|()| AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (service, texts, expected) = (service.clone(), &texts, &expected);
            let (asked, dropped, refused, rows, late) = (&asked, &dropped, &refused, &rows, &late);
            scope.spawn(move || {
                for n in 0..150 {
                    let from = (n * 13 + thread * 7) % texts.len();
                    let to = (from + 1 + n % 5).min(texts.len());
                    let request = Request {
                        priority: [Priority::High, Priority::Normal, Priority::Low][n % 3],
                        deadline: (n % 7 == 0)
                            .then(|| Instant::now() + Duration::from_micros(n as u64 * 10))
                            .into(),
                        cache: [CacheUse::Yes, CacheUse::No][usize::from(n % 4 == 0)],
                        ..request(&texts[from..to])
                    };
                    asked.fetch_add(1, SeqCst);
                    let Ok(ticket) = service.submit(request) else {
                        refused.fetch_add(1, SeqCst);
                        continue;
                    };
                    if n % 11 == 0 {
                        drop(ticket);
                        dropped.fetch_add(1, SeqCst);
                        continue;
                    }
                    let served = ticket.wait();
                    rows.fetch_add(served.answers.len(), SeqCst);
                    for (answer, expected) in served.answers.iter().zip(&expected[from..to]) {
                        match answer {
                            Ok(answer) => assert_eq!(&*answer.values, &expected[..]),
                            Err(error) => {
                                assert_eq!(error.code, codes::DEADLINE);
                                late.fetch_add(1, SeqCst);
                            }
                        }
                    }
                }
            });
        }
    });
    assert!(service.drained(LONG));
    let stats = service.stats();
    let all = |counter: &AtomicUsize| counter.load(SeqCst) as u64;
    let failures: u64 = stats.failures.iter().map(|(_, count)| count).sum();
    let refusals: u64 = stats.refused.iter().map(|(_, count)| count).sum();
    assert_eq!(refusals, all(&refused));
    assert_eq!(stats.accepted, all(&asked) - refusals);
    assert_eq!(stats.answered + stats.abandoned, stats.accepted);
    assert!(stats.abandoned <= all(&dropped));
    // Some of those who left had their answers already, and none of these has more than five rows.
    let counted = stats.rows_computed + stats.rows_shared + stats.rows_cached + failures;
    let had = all(&dropped) - stats.abandoned;
    assert!((all(&rows)..=all(&rows) + 5 * had).contains(&counted));
    assert!(failures >= all(&late));
    assert_eq!(stats.total_seconds.count, stats.answered);
    assert_eq!(stats.prepare_seconds.count, stats.answered);
    assert_eq!(stats.batch_tokens.sum as u64, stats.tokens);
    assert_eq!(stats.batch_seconds.count, stats.batches);
    assert!(stats.padded_tokens >= stats.tokens && stats.tokens > 0);
    let gauges = [
        stats.requests_in_flight,
        stats.tokens_in_flight,
        stats.bytes_in_flight,
        stats.queue_entries,
        stats.queue_tokens,
        stats.queue_bytes,
        stats.workers_busy,
        stats.worker_panics,
    ];
    assert_eq!(gauges, [0; 8]);
    assert_eq!(stats.workers, 2);
}

/// A server that is told to stop while requests come in must lose none of those that it took on.
#[test]
fn closing_under_load_loses_nothing() {
    let texts = texts(20);
    for round in 0..10 {
        let service = start("bert-embed");
        let (taken, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Ok(ticket) = service.submit(request(&texts)) {
                        taken.fetch_add(1, SeqCst);
                        let served = ticket.wait();
                        assert!(served.answers.iter().all(Result::is_ok));
                        answered.fetch_add(1, SeqCst);
                    }
                });
            }
            while taken.load(SeqCst) < round {
                std::thread::yield_now();
            }
            service.close();
            assert!(service.drained(LONG));
        });
        assert_eq!(taken.into_inner(), answered.into_inner());
        assert_eq!(service.stats().workers, 0);
    }
}

/// Several models in one process.
#[test]
fn services_that_share_threads_answer_as_if_alone() {
    let compute = Compute::new(2);
    let names = ["bert-embed", "mpnet-embed", "roberta-embed"];
    let services: Vec<Service> = names
        .iter()
        .map(|name| Service::start_on(&compute, load(name), ServiceSettings::default()).unwrap())
        .collect();
    let texts = texts(40);
    let inputs: Vec<Input> = texts.iter().map(|text| text.as_str().into()).collect();
    std::thread::scope(|scope| {
        for service in &services {
            let (texts, inputs) = (&texts, &inputs);
            scope.spawn(move || {
                let expected = service.model().predict_batch(inputs, |_| {});
                for chunk in [1, 7, 40] {
                    for (texts, expected) in texts.chunks(chunk).zip(expected.chunks(chunk)) {
                        let served = service.submit(request(texts)).unwrap().wait();
                        assert_eq!(rendered(service, served), expected);
                    }
                }
            });
        }
    });
}
