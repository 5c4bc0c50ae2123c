//! Whole machines in front of the queue, in fake time: what clients would see.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// What a token costs a worker.
const TOKEN: Duration = Duration::from_micros(100);
const WORKERS: usize = 2;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Done so long after it came.
    Done(Duration),
    Expired,
}

/// What entries wait in.
trait Line {
    fn push(&mut self, entry: Entry, number: usize);
    fn take(&mut self, now: Duration, budget: Budget) -> Take<usize>;
}

impl Line for Queue<usize> {
    fn push(&mut self, entry: Entry, number: usize) {
        Queue::push(self, entry, number).unwrap();
    }

    fn take(&mut self, now: Duration, budget: Budget) -> Take<usize> {
        Queue::take(self, now, budget)
    }
}

/// First in, first out; a batch ends before the first that does not fit.
#[derive(Default)]
struct Fifo(VecDeque<(Entry, usize)>);

impl Line for Fifo {
    fn push(&mut self, entry: Entry, number: usize) {
        self.0.push_back((entry, number));
    }

    fn take(&mut self, _: Duration, budget: Budget) -> Take<usize> {
        let (mut items, mut tokens) = (Vec::new(), 0);
        while let Some((entry, number)) = self
            .0
            .pop_front_if(|(entry, _)| budget.admits(items.len(), tokens, entry.tokens))
        {
            tokens += entry.tokens;
            items.push(number);
        }
        if items.is_empty() {
            return Take::Empty;
        }
        let mut padding = Padding::default();
        padding.add_batch(items.len(), tokens, 0);
        Take::Batch(Batch {
            items,
            due: Duration::ZERO,
            padding,
        })
    }
}

/// Lets entries arrive at a machine of two workers with our queue, and serves them all.
fn serve(arrivals: &[Entry], budget: usize, policy: QueuePolicy) -> Vec<Fate> {
    serve_in(Queue::new(QueueLimits::NONE, policy), arrivals, budget)
}

fn serve_in(mut queue: impl Line, arrivals: &[Entry], budget: usize) -> Vec<Fate> {
    let mut order: Vec<usize> = (0..arrivals.len()).collect();
    order.sort_by_key(|&number| arrivals[number].arrived);
    let mut coming = order.into_iter().peekable();
    let mut fates = vec![None; arrivals.len()];
    let mut busy_until = [Duration::ZERO; WORKERS];
    let mut now = Duration::ZERO;
    loop {
        while let Some(number) = coming.next_if(|&number| arrivals[number].arrived <= now) {
            queue.push(arrivals[number], number);
        }
        let idle = busy_until.iter().filter(|&&until| until <= now).count();
        let mut wake = Duration::MAX;
        if let Some(worker) = busy_until.iter_mut().find(|until| **until <= now) {
            match queue.take(now, Budget::tokens(budget).workers(idle)) {
                Take::Batch(batch) => {
                    *worker = now + TOKEN * batch.padding.tokens as u32;
                    for number in batch.items {
                        fates[number] = Some(Fate::Done(*worker - arrivals[number].arrived));
                    }
                    continue;
                }
                Take::Expired(items) => {
                    items
                        .into_iter()
                        .for_each(|number| fates[number] = Some(Fate::Expired));
                    continue;
                }
                Take::Wait(until) => wake = until,
                Take::Empty => {}
            }
        }
        let arrival = coming.peek().map(|&number| arrivals[number].arrived);
        let done = busy_until
            .iter()
            .copied()
            .filter(|&until| until > now)
            .min();
        match [arrival, done, Some(wake)].into_iter().flatten().min() {
            Some(Duration::MAX) | None => break,
            Some(next) => now = next,
        }
    }
    fates
        .into_iter()
        .map(|fate| fate.expect("served"))
        .collect()
}

fn policy() -> QueuePolicy {
    QueuePolicy {
        // Four times what a token costs the machine.
        pace: TOKEN * 4 / WORKERS as u32,
        ..QueuePolicy::default()
    }
}

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

fn at(us: u64, tokens: usize) -> Entry {
    Entry {
        tokens,
        arrived: Duration::from_micros(us),
        ..Entry::default()
    }
}

fn done(fate: Fate) -> Duration {
    match fate {
        Fate::Done(after) => after,
        Fate::Expired => panic!("expired"),
    }
}

/// Somebody's job of ten thousand texts would keep everybody else waiting until it is done.
#[test]
fn a_single_query_does_not_wait_for_ten_thousand_texts() {
    let texts = 10_000;
    let mut arrivals: Vec<Entry> = (0..texts)
        .map(|n| Entry {
            ahead: 11 * n,
            ..at(0, 11)
        })
        .collect();
    arrivals.extend((0..200).map(|n| at(1_000 + 20_000 * n, 11)));
    let fates = serve(&arrivals, 96, policy());
    let (job, single) = fates.split_at(texts as usize);
    let worst = single.iter().map(|&fate| done(fate)).max().unwrap();
    // A batch that runs already, and its own.
    assert!(worst <= 2 * 96 * TOKEN, "{worst:?}");
    // The job has the rest of the machine: nothing idles while it waits.
    let total: usize = arrivals.iter().map(|entry| entry.tokens).sum();
    let whole = TOKEN * total as u32 / WORKERS as u32;
    let end = job.iter().map(|&fate| done(fate)).max().unwrap();
    assert!(end <= whole + 2 * 96 * TOKEN, "{end:?} of {whole:?}");
}

/// Of two jobs that come together, the second would wait for the whole of the first.
#[test]
fn two_jobs_take_turns() {
    let job = |n: u64| Entry {
        ahead: 11 * n,
        ..at(0, 11)
    };
    let arrivals: Vec<Entry> = (0..1_000).map(job).chain((0..1_000).map(job)).collect();
    let fates = serve(&arrivals, 96, policy());
    for n in (0..1_000).step_by(100) {
        let (one, other) = (done(fates[n]), done(fates[1_000 + n]));
        assert!(one.abs_diff(other) <= 3 * 96 * TOKEN, "{one:?} {other:?}");
    }
}

/// Background work must not slow those down for whom somebody waits, and must not wait for ever.
#[test]
fn classes_and_ageing_hold_under_overload() {
    let policy = QueuePolicy {
        ageing: Duration::from_millis(100),
        ..policy()
    };
    // A tenth more than the machine can do, of the first class alone, for two seconds.
    let cost = 11 * 100 / WORKERS as u64;
    let mut arrivals: Vec<Entry> = (0..4_000).map(|n| at(n * cost * 10 / 11, 11)).collect();
    let low = |class| Entry {
        class,
        ..at(500_000, 11)
    };
    arrivals.extend([low(1), low(2)]);
    let fates = serve(&arrivals, 96, policy);
    let first_class = fates[..4_000].iter().map(|&fate| done(fate)).max().unwrap();
    let [one, two] = [fates[4_000], fates[4_001]].map(done);
    // Behind those that come within `ageing`, ahead of those that come later.
    let slack = Duration::from_millis(60);
    for (waited, class) in [(one, 1), (two, 2)] {
        let bound = (policy.ageing * class) * 11 / 10;
        assert!(waited >= policy.ageing * class, "{class}: {waited:?}");
        assert!(
            waited <= bound + first_class.min(slack) + slack,
            "{class}: {waited:?} with {bound:?}"
        );
    }
    assert!(one < two);
}

/// Short texts behind a long one would take as long as it does.
#[test]
fn short_ones_pass_long_ones() {
    // Ten to one, in bursts of 22, at three quarters of the machine's speed.
    let arrivals: Vec<Entry> = (0..3_300)
        .map(|n| {
            let tokens = if n % 11 == 1 { 400 } else { 11 };
            at(n / 22 * 68_000, tokens)
        })
        .collect();
    let p99_and_worst = |fates: Vec<Fate>| {
        let of = |long: bool| {
            let both = arrivals.iter().zip(&fates);
            let some = both.filter(|(entry, _)| (entry.tokens > 11) == long);
            let mut some: Vec<Duration> = some.map(|(_, &fate)| done(fate)).collect();
            some.sort();
            some
        };
        let (short, long) = (of(false), of(true));
        (short[short.len() * 99 / 100], long[long.len() - 1])
    };
    let (short, long) = p99_and_worst(serve(&arrivals, 384, policy()));
    let (short_fifo, long_fifo) = p99_and_worst(serve_in(Fifo::default(), &arrivals, 384));
    assert!(short * 2 < short_fifo, "{short:?} of {short_fifo:?}");
    assert!(long < long_fifo * 3 / 2, "{long:?} of {long_fifo:?}");
}

/// A background request that came first would run out of time behind what can wait.
#[test]
fn a_deadline_goes_before_what_has_none() {
    let mut arrivals: Vec<Entry> = (0..2_000).map(|n| at(n * 500, 11)).collect();
    arrivals.push(Entry {
        class: 2,
        deadline: Some(us(900_000)),
        ..at(300_000, 11)
    });
    let fates = serve(&arrivals, 96, policy());
    assert!(matches!(fates[2_000], Fate::Done(_)));
    // Without it, it waits for all of them.
    arrivals[2_000].deadline = None;
    assert!(done(serve(&arrivals, 96, policy())[2_000]) > us(700_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A request that comes while there is capacity must not run out of time.
    #[test]
    fn no_deadline_passes_while_there_is_capacity(
        entries in prop::collection::vec((1usize..64, 0u8..3, 1u64..20), 1..400),
    ) {
        // So far apart that the machine has twice the time that it needs, in bursts of up to 20.
        let (mut time, mut owed) = (0, 0);
        let arrivals: Vec<Entry> = entries
            .into_iter()
            .map(|(tokens, class, burst)| {
                owed += 100 * tokens as u64;
                if burst == 1 {
                    time += std::mem::take(&mut owed);
                }
                let entry = at(time, tokens);
                Entry { class, deadline: Some(entry.arrived + us(1_500_000)), ..entry }
            })
            .collect();
        for fate in serve(&arrivals, 192, policy()) {
            prop_assert!(matches!(fate, Fate::Done(_)));
        }
    }

    /// With more to do than there is time for, what is answered is answered in time, and the machine
    /// spends nothing on the rest.
    #[test]
    fn overload_costs_some_their_answers_and_no_more(
        lengths in prop::collection::vec(1usize..64, 300..600),
    ) {
        let deadline = us(40_000);
        let arrivals: Vec<Entry> = (0..)
            .zip(&lengths)
            .map(|(n, &tokens)| Entry {
                deadline: Some(us(n * 200) + deadline),
                ..at(n * 200, tokens)
            })
            .collect();
        let fates = serve(&arrivals, 192, policy());
        let mut computed = 0;
        for (fate, entry) in fates.iter().zip(&arrivals) {
            if let Fate::Done(after) = fate {
                prop_assert!(*after <= deadline + 192 * TOKEN);
                computed += entry.tokens;
            }
        }
        let time = us(lengths.len() as u64 * 200).as_secs_f64();
        let could = time / TOKEN.as_secs_f64() * WORKERS as f64;
        prop_assert!(computed as f64 >= 0.8 * could.min(lengths.iter().sum::<usize>() as f64));
    }
}
