//! What can be seen only where computing can be held up: single flight, giving up, lateness, panics,
//! limits, shared threads. Nothing sleeps: a gate says when a batch has begun, and when it may go on.

mod waking;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use testing::golden::Golden;

use super::*;
use crate::core::Core;
use crate::error::codes;
use crate::execute::{Executed, Interlude, TokenRow, Workers};
use crate::{CacheUse, Input, Origin, ProfileUse};

/// A model whose batches stop at a gate.
#[derive(Clone)]
struct Gate {
    core: Arc<Core>,
    state: Arc<Mutex<GateState>>,
    moved: Arc<Condvar>,
    /// Batches that are being computed, in all services that share it.
    running: Arc<AtomicUsize>,
}

#[derive(Default)]
struct GateState {
    open: bool,
    panics: bool,
    /// What a token takes, if not the time that it took.
    token: Option<Duration>,
    /// Lengths of the rows of each batch that has begun, and who ran it.
    batches: Vec<(Vec<usize>, Workers)>,
    most_running: usize,
    /// Lengths of the rows of each batch that ran in the middle of another.
    guests: Vec<Vec<usize>>,
}

impl Run for Gate {
    fn run(&self, rows: &[&TokenRow], workers: Workers, interlude: &dyn Interlude) -> Executed {
        let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        let total: usize = lengths.iter().sum();
        let running = self.running.fetch_add(1, SeqCst) + 1;
        let mut state = self.state.lock().unwrap();
        state.most_running = state.most_running.max(running);
        state.batches.push((lengths, workers));
        self.moved.notify_all();
        while !state.open {
            state = self.moved.wait(state).unwrap();
        }
        let (panics, token) = (state.panics, state.token);
        drop(state);
        self.running.fetch_sub(1, SeqCst);
        assert!(!panics, "on purpose");
        let mut executed = self.core.executor.run_with(rows, workers, interlude);
        if let Some(token) = token {
            executed.time.busy = token * total as u32;
        }
        executed
    }

    fn run_as_guest(&self, rows: &[&TokenRow]) -> Executed {
        let guests = rows.iter().map(|row| row.ids.len()).collect();
        self.change(|state| state.guests.push(guests));
        self.core.executor.run_as_guest(rows)
    }
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock().unwrap());
        self.moved.notify_all();
    }

    fn open(&self) {
        self.change(|state| state.open = true);
    }

    /// Waits until so many batches have begun.
    fn begun(&self, batches: usize) {
        let mut state = self.state.lock().unwrap();
        while state.batches.len() < batches {
            state = self.moved.wait(state).unwrap();
        }
    }

    /// Lengths of the rows of each batch so far.
    fn batches(&self) -> Vec<Vec<usize>> {
        let state = self.state.lock().unwrap();
        state.batches.iter().map(|(rows, _)| rows.clone()).collect()
    }
}

fn gated_on(compute: &Compute, threads: usize, settings: ServiceSettings) -> (Service, Gate) {
    let golden = Golden::load("bert-embed");
    let model = Model::builder(golden.directory.to_str().unwrap())
        .offline()
        .profile(ProfileUse::Ignored)
        .threads(threads)
        .cache_entries(100)
        .load()
        .unwrap();
    let gate = Gate {
        core: Arc::clone(model.core()),
        state: Arc::default(),
        moved: Arc::default(),
        running: Arc::default(),
    };
    let run = Box::new(gate.clone());
    let service = Service::start_with(compute, model, settings, run).unwrap();
    (service, gate)
}

/// A service of one thread whose gate is closed.
fn gated(settings: ServiceSettings) -> (Service, Gate) {
    gated_on(&Compute::new(1), 1, settings)
}

fn request(texts: &[&str]) -> Request {
    Request::new(texts.iter().map(|&text| Input::from(text)).collect())
}

fn submit(service: &Service, texts: &[&str]) -> Ticket {
    service.submit(request(texts)).unwrap()
}

/// Holds up a service of one thread with a batch of one row.
fn hold(service: &Service, gate: &Gate) -> Ticket {
    let held = submit(service, &["hold"]);
    gate.begun(1);
    held
}

/// A text that differs from those of other numbers; the tiny vocabulary knows few words, and no digits.
fn text(number: usize) -> String {
    let bits = (0..usize::BITS - number.leading_zeros()).map(|bit| number >> bit & 1);
    bits.map(|bit| ["a ", "b "][bit]).collect()
}

fn origins(served: &Served) -> Vec<Origin> {
    let answers = served.answers.iter();
    answers
        .map(|answer| answer.as_ref().unwrap().origin)
        .collect()
}

fn error_codes(served: &Served) -> Vec<Option<&'static str>> {
    let answers = served.answers.iter();
    answers
        .map(|answer| answer.as_ref().err().map(|error| error.code))
        .collect()
}

fn counted(counts: &[(&'static str, u64)], name: &str) -> u64 {
    counts.iter().find(|(n, _)| *n == name).unwrap().1
}

/// A thousand users who ask the same at once would pay a thousand times.
#[test]
fn equal_rows_in_flight_are_computed_once() {
    let (service, gate) = gated(ServiceSettings::default());
    let first = hold(&service, &gate);
    let while_computed = submit(&service, &["hold"]);
    let queued = submit(&service, &["turn on", "the lights", "turn on"]);
    let while_queued = submit(&service, &["the lights"]);
    let uncached = Request {
        cache: CacheUse::No,
        ..request(&["the lights"])
    };
    let uncached = service.submit(uncached).unwrap();
    gate.open();
    use Origin::{Computed, Duplicate};
    let first = first.wait();
    assert_eq!(origins(&first), [Computed]);
    let shared = while_computed.wait();
    assert_eq!(origins(&shared), [Duplicate]);
    assert_eq!(
        shared.answers[0].as_ref().unwrap().values,
        first.answers[0].as_ref().unwrap().values
    );
    assert_eq!(origins(&queued.wait()), [Computed, Computed, Duplicate]);
    assert_eq!(origins(&while_queued.wait()), [Duplicate]);
    assert_eq!(origins(&uncached.wait()), [Computed]);
    let later = submit(&service, &["hold"]).wait();
    assert_eq!((origins(&later), later.cached), (vec![Origin::Cache], 1));

    let rows: usize = gate.batches().iter().map(Vec::len).sum();
    assert_eq!(
        rows, 4,
        "hold, turn on, the lights; once more without cache"
    );
    let stats = service.stats();
    assert_eq!(
        (stats.rows_computed, stats.rows_shared, stats.rows_cached),
        (4, 3, 1)
    );
    assert_eq!((stats.accepted, stats.answered), (6, 6));
    // The cache knows of what was computed for it, and of every row that it, or a flight, saved.
    assert_eq!((stats.cache.misses, stats.cache.hits), (3, 4));
    assert!(stats.cache.compute_seconds_saved > 0.0);
}

/// Work for a client that has gone is time taken from those that wait; and whoever waits for the same row
/// must not lose it.
#[test]
fn what_nobody_waits_for_is_not_computed() {
    let (service, gate) = gated(ServiceSettings::default());
    let first = hold(&service, &gate);
    let leader = submit(&service, &["turn on", "nobody else asks for this"]);
    let follower = submit(&service, &["turn on"]);
    assert_eq!(service.stats().queue_entries, 2);
    drop(leader);
    assert_eq!(service.stats().queue_entries, 1);
    drop(submit(&service, &["gone"]));
    // One that is being computed is computed, and kept.
    drop(first);
    gate.open();
    assert_eq!(origins(&follower.wait()), [Origin::Computed]);
    assert!(service.drained(Duration::from_secs(60)));
    assert_eq!(gate.batches().len(), 2);
    assert_eq!(submit(&service, &["hold"]).wait().cached, 1);
    let stats = service.stats();
    assert_eq!((stats.accepted, stats.answered, stats.abandoned), (5, 2, 3));
    assert_eq!((stats.requests_in_flight, stats.tokens_in_flight), (0, 0));
    assert_eq!((stats.bytes_in_flight, stats.queue_entries), (0, 0));
}

/// An answer that comes too late is worth nothing, and what it cost made others late.
#[test]
fn late_rows_cost_nothing_and_take_nobody_with_them() {
    let (service, gate) = gated(ServiceSettings::default());
    let first = hold(&service, &gate);
    let deadline = Instant::now() + Duration::from_millis(20);
    let by = |texts: &[&str], deadline| {
        let request = Request {
            deadline: Deadline::At(deadline),
            ..request(texts)
        };
        service.submit(request).unwrap()
    };
    let late = by(&["hold", "turn on", "the lights"], deadline);
    let patient = submit(&service, &["the lights"]);
    let past = by(&["what is"], Instant::now() - Duration::from_millis(1));
    assert!(past.is_ready());
    // It came in time, and was read for too long.
    let now = Instant::now();
    let read = Request {
        deadline: Deadline::At(now - Duration::from_millis(1)),
        arrived: now.checked_sub(Duration::from_millis(2)),
        ..request(&["to"])
    };
    let read = service.submit(read).unwrap().wait();
    assert_eq!(error_codes(&read), [Some(codes::DEADLINE)]);
    while Instant::now() <= deadline {
        std::thread::yield_now();
    }
    gate.open();
    let (past, late) = (past.wait(), late.wait());
    assert_eq!(error_codes(&past), [Some(codes::EXPIRED)]);
    // Computing of the first had begun.
    let code = Some(codes::DEADLINE);
    assert_eq!(error_codes(&late), [None, code, code]);
    assert_eq!(origins(&patient.wait()), [Origin::Computed]);
    assert_eq!(origins(&first.wait()), [Origin::Computed]);
    let rows: usize = gate.batches().iter().map(Vec::len).sum();
    assert_eq!(rows, 2);
    let stats = service.stats();
    assert_eq!(counted(&stats.failures, codes::DEADLINE), 3);
    assert_eq!(counted(&stats.failures, codes::EXPIRED), 1);
    assert_eq!((stats.rows_computed, stats.rows_shared), (2, 1));
}

/// A bulk stream would lose lines to a default that is for those who wait.
#[test]
fn what_has_no_deadline_has_no_default_one() {
    let within = Some(Duration::from_millis(1));
    let (service, gate) = gated(ServiceSettings {
        default_deadline: within,
        ..ServiceSettings::default()
    });
    let by = |text: &str, deadline| {
        let request = Request {
            deadline,
            ..request(&[text])
        };
        service.submit(request).unwrap()
    };
    let held = by("hold", Deadline::Never);
    gate.begun(1);
    let patient = by("turn on", Deadline::Never);
    let usual = by("the lights", Deadline::Default);
    let over = Instant::now() + Duration::from_millis(1);
    while Instant::now() <= over {
        std::thread::yield_now();
    }
    gate.open();
    assert_eq!(error_codes(&held.wait()), [None]);
    assert_eq!(error_codes(&patient.wait()), [None]);
    let told = error_codes(&usual.wait());
    assert!(
        [[Some(codes::DEADLINE)], [Some(codes::EXPIRED)]].contains(&[told[0]]),
        "{told:?}"
    );
}

/// A stream that waits for room would show as thousands of refusals of clients who were refused nothing.
#[test]
fn what_comes_again_is_not_counted_as_refused() {
    let mut settings = ServiceSettings::default();
    settings.queue.entries = 1;
    let (service, gate) = gated(settings);
    let held = hold(&service, &gate);
    let waiting = submit(&service, &["a"]);
    let refused = |service: &Service| -> u64 {
        let stats = service.stats();
        stats.refused.iter().map(|(_, count)| count).sum()
    };
    for _ in 0..3 {
        let offered = service.offer(request(&["b"]));
        assert!(
            matches!(offered, Err(Refused::TooMany { .. })),
            "{offered:?}"
        );
    }
    assert_eq!(refused(&service), 0);
    assert!(service.submit(request(&["b"])).is_err());
    assert_eq!(refused(&service), 1);
    gate.open();
    held.wait();
    waiting.wait();
    let offered = service.offer(request(&["b"])).unwrap();
    let answered = offered.submit().unwrap().wait();
    assert_eq!(error_codes(&answered), [None]);
    service.close();
    assert!(matches!(
        service.offer(request(&["c"])),
        Err(Refused::Closed)
    ));
}

/// A short list behind a long prompt is a lot of text, which nothing bounded.
#[test]
fn a_prompt_counts_once_for_each_text() {
    let mut settings = ServiceSettings::default();
    settings.limits.bytes = 100_000;
    let (service, gate) = gated(settings);
    gate.open();
    let behind = |prompt: usize| Request {
        prompt: Some("a ".repeat(prompt / 2)),
        ..request(&["a"; 10])
    };
    service.submit(behind(1_000)).unwrap().wait();
    match service.submit(behind(10_000)) {
        Err(Refused::TooLarge { limit, value, .. }) => {
            assert_eq!(limit, "bytes");
            assert!(value > 100_000, "{value}");
        }
        other => panic!("{other:?}"),
    }
}

/// A request that cannot be answered in time must hear so at once, not when its time is over.
#[test]
fn what_would_be_late_is_refused_at_once() {
    let (service, gate) = gated(ServiceSettings::default());
    gate.change(|state| (state.open, state.token) = (true, Some(Duration::from_secs(10))));
    submit(&service, &["a"]).wait();
    assert!(service.drained(Duration::from_secs(60)));
    gate.change(|state| state.open = false);
    let held = submit(&service, &["b"]);
    gate.begun(2);
    // Some hundred tokens at 10 s each.
    let texts: Vec<String> = (100..150).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let job = submit(&service, &texts);
    let by = |seconds| Request {
        deadline: Deadline::At(Instant::now() + Duration::from_secs(seconds)),
        ..request(&["a b b a"])
    };
    match service.submit(by(600)) {
        Err(Refused::TooMany {
            limit: "wait_ms",
            value,
            most,
            retry_after,
        }) => {
            assert!(value > 600_000 && most <= 600_000, "{value} {most}");
            assert_eq!(retry_after, Duration::from_secs(60));
        }
        other => panic!("{other:?}"),
    }
    let first = Request {
        priority: Priority::High,
        ..by(600)
    };
    let first = service.submit(first).unwrap();
    let patient = service.submit(by(100_000)).unwrap();
    gate.open();
    for ticket in [held, job, first, patient] {
        assert!(ticket.wait().answers.iter().all(Result::is_ok));
    }
    assert_eq!(counted(&service.stats().refused, "wait_ms"), 1);
}

/// A bug in a kernel would take the server down, or leave clients waiting for ever.
#[test]
fn a_panic_costs_its_batch_and_no_more() {
    let (service, gate) = gated(ServiceSettings::default());
    gate.change(|state| (state.open, state.panics) = (true, true));
    let failed = submit(&service, &["turn on", "the lights", "turn on"]).wait();
    assert_eq!(error_codes(&failed), [Some(codes::INTERNAL); 3]);
    gate.change(|state| state.panics = false);
    let served = submit(&service, &["turn on"]).wait();
    assert_eq!(origins(&served), [Origin::Computed]);
    let stats = service.stats();
    assert_eq!((stats.worker_panics, stats.workers), (1, 1));
    assert_eq!(counted(&stats.failures, codes::INTERNAL), 3);
    assert_eq!(service.health(), Health::Well);
}

/// A program that watches the service would not replace one that hangs.
#[test]
fn a_service_that_hangs_says_so() {
    let (service, gate) = gated(ServiceSettings {
        wedged_after: Duration::ZERO,
        ..ServiceSettings::default()
    });
    assert_eq!(service.health(), Health::Well);
    let held = hold(&service, &gate);
    assert!(matches!(service.health(), Health::Wedged { .. }));
    gate.open();
    held.wait();
    assert!(service.drained(Duration::from_secs(60)));
    assert_eq!(service.health(), Health::Well);

    // Another model has the machine and does not let go of it.
    let compute = Compute::new(1);
    let seat = compute.join();
    let right = seat.right();
    let (service, gate) = gated_on(&compute, 1, service.settings());
    gate.open();
    let ticket = submit(&service, &["turn on"]);
    while service.health() == Health::Well {
        std::thread::yield_now();
    }
    assert!(matches!(service.health(), Health::Stalled { .. }));
    drop(right);
    ticket.wait();
}

/// Limits that do not hold are memory that was not there; those that do not say which they are cannot be
/// set.
#[test]
fn limits_hold_and_say_which_they_are() {
    let settings = ServiceSettings {
        limits: ServiceLimits {
            requests: 4,
            texts_per_request: 3,
            tokens: 60,
            bytes: 20_000,
        },
        queue: QueueLimits {
            entries: 3,
            tokens: 40,
            bytes: 1_000,
        },
        ..ServiceSettings::default()
    };
    let (service, gate) = gated(settings);
    let mut tickets = vec![hold(&service, &gate)];
    let refused = |texts: &[&str]| match service.submit(request(texts)) {
        Err(why @ (Refused::TooMany { limit, .. } | Refused::TooLarge { limit, .. })) => {
            (why.code(), limit)
        }
        other => panic!("{other:?}"),
    };
    // A text of so many tokens, special ones included.
    let long = |tokens: usize| "a ".repeat(tokens - 2);
    let broad = "x".repeat(30_000);
    assert_eq!(
        refused(&["a", "b", "c", "d"]),
        ("too_large", "texts_per_request")
    );
    assert_eq!(refused(&[&broad]), ("too_large", "bytes"));
    assert_eq!(
        refused(&[&long(28), &long(27), &long(26)]),
        ("too_large", "tokens")
    );
    assert_eq!(
        refused(&[&long(24), &long(23)]),
        ("too_large", "queue.tokens")
    );
    tickets.push(submit(&service, &[&long(14), "a"]));
    assert_eq!(refused(&["a", "b", "c"]), ("too_many", "queue.entries"));
    assert_eq!(refused(&[&long(25)]), ("too_many", "queue.tokens"));
    assert_eq!(refused(&[&long(20), &long(19)]), ("too_many", "tokens"));
    // What is in flight already takes no room in the queue.
    tickets.push(submit(&service, &["a", "b"]));
    tickets.push(submit(&service, &["hold"]));
    assert_eq!(refused(&["hold"]), ("too_many", "requests"));
    let stats = service.stats();
    assert_eq!((stats.requests_in_flight, stats.queue_entries), (4, 3));
    gate.open();
    for ticket in tickets {
        assert!(ticket.wait().answers.iter().all(Result::is_ok));
    }
    let stats = service.stats();
    assert_eq!((stats.requests_in_flight, stats.tokens_in_flight), (0, 0));
    assert_eq!(stats.bytes_in_flight, 0);
    let refusals: u64 = stats.refused.iter().map(|(_, count)| count).sum();
    assert_eq!((refusals, stats.accepted), (8, 4));
}

/// Requests that were accepted before a server stops are promises.
#[test]
fn closing_answers_what_was_accepted() {
    let (service, gate) = gated(ServiceSettings::default());
    let mut tickets = vec![hold(&service, &gate)];
    tickets.extend((0..5).map(|n| submit(&service, &[&text(n + 1)])));
    service.close();
    assert_eq!(
        service.submit(request(&["no"])).unwrap_err(),
        Refused::Closed
    );
    assert!(!service.drained(Duration::ZERO));
    gate.open();
    assert!(service.drained(Duration::from_secs(60)));
    assert_eq!(service.stats().workers, 0);
    for ticket in tickets {
        assert!(ticket.is_ready());
        assert_eq!(origins(&ticket.wait()), [Origin::Computed]);
    }
    assert_eq!(service.health(), Health::Well);
    assert_eq!(counted(&service.stats().refused, "closed"), 1);
}

/// A model that was unloaded and stays in memory fills the machine, one reload after the other.
#[test]
fn a_service_that_is_dropped_ends_and_lets_go_of_its_model() {
    let (service, gate) = gated(ServiceSettings::default());
    let ticket = hold(&service, &gate);
    let model = Arc::downgrade(service.model().core());
    drop(service);
    gate.open();
    assert_eq!(origins(&ticket.wait()), [Origin::Computed]);
    drop(gate);
    while model.strong_count() > 0 {
        std::thread::yield_now();
    }
}

/// Who changes a setting of a running service expects it to count from the next batch on.
#[test]
fn settings_change_while_it_runs() {
    let (service, gate) = gated(ServiceSettings::default());
    let held = hold(&service, &gate);
    let job = submit(&service, &["one", "two", "three"]);
    let settings = ServiceSettings {
        batch_rows: Some(1),
        limits: ServiceLimits {
            texts_per_request: 1,
            ..ServiceLimits::default()
        },
        ..ServiceSettings::default()
    };
    service.set(settings.clone()).unwrap();
    assert_eq!(service.settings(), settings);
    assert!(matches!(
        service.submit(request(&["a", "b"])),
        Err(Refused::TooLarge { .. })
    ));
    gate.open();
    held.wait();
    job.wait();
    assert_eq!(gate.batches().len(), 4);
    let wrong = ServiceSettings {
        batch_tokens: Some(0),
        ..settings.clone()
    };
    let error = service.set(wrong).unwrap_err().to_string();
    assert!(error.contains("batch_tokens"), "{error}");
    assert_eq!(service.settings(), settings);
}

/// Somebody waits for these.
#[test]
fn high_goes_before_low() {
    let (service, gate) = gated(ServiceSettings::default());
    let held = hold(&service, &gate);
    let with = |priority, text: &str| {
        let request = Request {
            priority,
            ..request(&[text])
        };
        service.submit(request).unwrap()
    };
    let tickets = [
        with(Priority::Low, "a"),
        with(Priority::Normal, "a a"),
        with(Priority::High, "a a a"),
        // A row in flight goes as the most urgent of those who wait for it.
        with(Priority::Low, "a a a a"),
        with(Priority::High, "a a a a"),
    ];
    let lengths = [0, 1, 2, 3].map(|n| tickets[n].pending.tokens());
    gate.open();
    held.wait();
    for ticket in tickets {
        ticket.wait();
    }
    let expected = [
        vec![lengths[2], lengths[3]],
        vec![lengths[1]],
        vec![lengths[0]],
    ];
    assert_eq!(gate.batches()[1..], expected);
}

/// Somebody who asks for a line would wait for the end of somebody's page.
#[test]
fn a_short_text_does_not_wait_for_the_end_of_a_long_one() {
    let settings = ServiceSettings {
        batch_rows: Some(1),
        ..ServiceSettings::default()
    };
    let (service, gate) = gated_on(&Compute::new(1), 1, settings);
    // A machine whose speed is known: that orders the queue.
    gate.change(|state| state.token = Some(Duration::from_millis(5)));
    let first = hold(&service, &gate);
    gate.open();
    assert_eq!(first.wait().answers.len(), 1);
    gate.change(|state| state.open = false);

    let page = (0..12).map(text).collect::<Vec<_>>().join(" ");
    let long = submit(&service, &[&page]);
    gate.begun(2);
    let short = submit(&service, &[&text(1)]);
    let _other = submit(&service, &[&text(2)]);
    gate.open();
    let (short, long) = (short.wait(), long.wait());
    let guests = gate.state.lock().unwrap().guests.clone();
    let batches = gate.batches();
    assert!(!guests.is_empty(), "{batches:?}");
    // A guest is no larger than any batch may be.
    assert!(guests.iter().all(|rows| rows.len() == 1), "{guests:?}");
    assert!(short.timing.total < long.timing.total);
    // The guest's buffers are its own: neither answer is another's.
    let model = service.model();
    for (served, asked) in [(short, &text(1)), (long, &page)] {
        let alone = model.predict(asked.as_str()).unwrap();
        let answer = served.answers.into_iter().next().unwrap().unwrap();
        assert_eq!(model.render(&answer), alone);
    }
    assert!(service.health().is_well());
}

/// One user's query would run on one core of many that idle; two at once must not wait for each other.
#[test]
fn a_lone_query_gets_all_threads() {
    let (service, gate) = gated_on(&Compute::new(2), 2, ServiceSettings::default());
    // Both workers must be at rest, or the query is not alone.
    while service.handle.shared.lock().idle < 2 {
        std::thread::yield_now();
    }
    let held = submit(&service, &["hold"]);
    gate.begun(1);
    let other = submit(&service, &["other"]);
    gate.open();
    held.wait();
    other.wait();
    let state = gate.state.lock().unwrap();
    assert_eq!(state.batches[0].1, Workers::Team);
    assert_eq!(state.most_running, 1, "a team has all rights to compute");
}

/// Two models on one machine would run twice as many threads as it has, or one of them none.
#[test]
fn services_share_threads_fairly() {
    let compute = Compute::new(1);
    let (one, gate) = gated_on(&compute, 1, ServiceSettings::default());
    let settings = ServiceSettings {
        batch_rows: Some(1),
        ..ServiceSettings::default()
    };
    one.set(settings.clone()).unwrap();
    // The second model's batches stop at the same gate.
    let other = Service::start_with(
        &compute,
        one.model().clone(),
        settings,
        Box::new(gate.clone()),
    )
    .unwrap();
    let uncached = |n: usize| Request {
        cache: CacheUse::No,
        ..request(&["balance ".repeat(n).as_str()])
    };
    // The first has twenty short rows, and the other, which comes later, as many.
    let first: Vec<_> = (0..20).map(|_| one.submit(uncached(1)).unwrap()).collect();
    gate.begun(1);
    let second: Vec<_> = (0..20)
        .map(|_| other.submit(uncached(2)).unwrap())
        .collect();
    // It waits for its turn.
    while !compute.is_waited_for() {
        std::thread::yield_now();
    }
    gate.open();
    let ends = |tickets: Vec<Ticket>| {
        let served = tickets.into_iter().map(Ticket::wait);
        served.for_each(|served| assert_eq!(error_codes(&served), [None]));
    };
    ends(first);
    ends(second);
    assert_eq!(gate.state.lock().unwrap().most_running, 1);
    assert!(one.drained(Duration::from_secs(60)) && other.drained(Duration::from_secs(60)));
    // Neither had to wait until the other was done.
    let lengths: Vec<usize> = gate.batches().iter().map(|batch| batch[0]).collect();
    let longest = lengths.iter().max().unwrap();
    let first_of_second = lengths.iter().position(|length| length == longest).unwrap();
    assert!(first_of_second < 5, "{lengths:?}");
}

/// A request of more rows than are queued under one lock must lose none at the seams.
#[test]
fn large_requests_come_in_by_parts() {
    let (service, gate) = gated(ServiceSettings::default());
    let held = hold(&service, &gate);
    let texts: Vec<String> = (0..1_000).map(|n| text(1 + n % 900)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let large = submit(&service, &texts);
    assert_eq!(service.stats().queue_entries, 900);
    let full = ServiceSettings {
        queue: QueueLimits {
            entries: 1_500,
            ..QueueLimits::default()
        },
        ..ServiceSettings::default()
    };
    service.set(full).unwrap();
    let others: Vec<String> = (2_000..2_700).map(text).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    assert!(matches!(
        service.submit(request(&others)),
        Err(Refused::TooMany {
            limit: "queue.entries",
            ..
        })
    ));
    // What was promised to it was given back.
    let fits = submit(&service, &others[..600]);
    gate.open();
    held.wait();
    let origins = origins(&large.wait());
    let shared = origins.iter().filter(|&&o| o == Origin::Duplicate).count();
    assert_eq!((origins.len(), shared), (1_000, 100));
    assert!(fits.wait().answers.iter().all(Result::is_ok));
    assert!(service.drained(Duration::from_secs(60)));
    let stats = service.stats();
    assert_eq!(stats.rows_computed, 1 + 900 + 600);
    assert_eq!((stats.requests_in_flight, stats.tokens_in_flight), (0, 0));
}
