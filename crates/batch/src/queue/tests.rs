use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn queue() -> Queue<usize> {
    Queue::new(QueueLimits::NONE, QueuePolicy::default())
}

fn entry(tokens: usize, arrived: u64) -> Entry {
    Entry {
        tokens,
        arrived: ms(arrived),
        ..Entry::default()
    }
}

/// All batches that are left, with a budget of these tokens and one worker.
fn batches(queue: &mut Queue<usize>, now: u64, tokens: usize) -> Vec<Vec<usize>> {
    std::iter::from_fn(|| match queue.take(ms(now), Budget::tokens(tokens)) {
        Take::Batch(batch) => Some(batch.items),
        Take::Empty => None,
        other => panic!("{other:?}"),
    })
    .collect()
}

/// Entries, tokens of a batch, the batches expected.
type Case<'a> = (&'a [Entry], usize, &'a [&'a [usize]]);

/// Each line is somebody's latency.
#[test]
fn batches_are_cut_as_expected() {
    let high = |tokens, arrived| entry(tokens, arrived);
    let normal = |tokens, arrived| Entry {
        class: 1,
        ..entry(tokens, arrived)
    };
    let by = |tokens, arrived, deadline| Entry {
        deadline: Some(ms(deadline)),
        ..entry(tokens, arrived)
    };
    let after = |tokens, ahead| Entry {
        ahead,
        ..entry(tokens, 0)
    };
    let cases: &[Case] = &[
        (&[], 10, &[]),
        (&[entry(9, 0)], 5, &[&[0]]),
        (
            &[entry(9, 0), entry(9, 0), entry(9, 0)],
            20,
            &[&[0, 1], &[2]],
        ),
        // Short ones do not wait for, nor with, the long one that came with them.
        (
            &[entry(400, 0), entry(9, 0), entry(9, 1)],
            384,
            &[&[1, 2], &[0]],
        ),
        // But it has its turn.
        (&[entry(400, 0), entry(9, 500)], 384, &[&[0], &[1]]),
        // A gap is filled by neighbours in length, not by others.
        (
            &[entry(30, 0), entry(9, 9), entry(60, 9)],
            384,
            &[&[0, 1, 2]],
        ),
        (&[entry(60, 0), entry(9, 99)], 384, &[&[0], &[1]]),
        // One that does not fit does not keep a shorter one out.
        (
            &[entry(30, 0), entry(28, 0), entry(10, 9)],
            42,
            &[&[0, 2], &[1]],
        ),
        // Classes are kept apart; one that has waited long enough is level with those above it.
        (&[normal(9, 0), high(9, 999)], 384, &[&[1], &[0]]),
        (&[normal(9, 0), high(9, 1_001)], 384, &[&[0], &[1]]),
        // A deadline shortens the wait, to half of it.
        (&[entry(9, 0), by(400, 0, 10)], 384, &[&[1], &[0]]),
        // The hundredth text of a request lets a newcomer pass.
        (
            &[after(9, 0), after(9, 900), entry(9, 400)],
            9,
            &[&[0], &[2], &[1]],
        ),
    ];
    for (entries, tokens, expected) in cases {
        let mut queue = queue();
        for (number, entry) in entries.iter().enumerate() {
            // Deadlines in these cases order, and do not expire.
            queue.push(*entry, number).unwrap();
        }
        assert_eq!(batches(&mut queue, 0, *tokens), *expected, "{entries:?}");
        assert!(queue.is_empty() && queue.held() == Held::default());
    }
}

/// A limit that lets through more than it says is no bound on memory; one without name helps nobody.
#[test]
fn a_full_queue_names_its_limit() {
    let limits = QueueLimits {
        entries: 2,
        tokens: 100,
        bytes: 50,
    };
    let mut queue = Queue::new(limits, QueuePolicy::default());
    let entry = |tokens, bytes| Entry {
        tokens,
        bytes,
        ..Entry::default()
    };
    queue.push(entry(60, 20), 0).unwrap();
    let full = queue.push(entry(41, 0), 1).unwrap_err();
    assert_eq!(
        full,
        Full {
            limit: "queue.tokens",
            held: 60,
            more: 41,
            most: 100
        }
    );
    assert_eq!(
        full.to_string(),
        "queue.tokens: 60 wait, 41 more would pass 100"
    );
    assert_eq!(
        queue.push(entry(1, 31), 1).unwrap_err().limit,
        "queue.bytes"
    );
    queue.push(entry(40, 30), 1).unwrap();
    assert_eq!(
        queue.push(entry(0, 0), 2).unwrap_err().limit,
        "queue.entries"
    );
    assert_eq!(queue.push(entry(usize::MAX, 0), 2).unwrap_err().held, 2);
    queue.set_limits(QueueLimits {
        entries: 3,
        ..limits
    });
    queue.push(entry(0, 0), 2).unwrap();
}

/// Whoever wants larger batches waits for them, and no longer than was said.
#[test]
fn max_wait_fills_batches_and_ends() {
    let mut queue = queue();
    queue.set_policy(QueuePolicy {
        max_wait: ms(5),
        ..QueuePolicy::default()
    });
    let budget = Budget::tokens(20).rows(3);
    let wait = |queue: &mut Queue<usize>, now| queue.take(ms(now), budget);
    assert_eq!(wait(&mut queue, 0), Take::Empty);
    queue.push(entry(9, 1), 0).unwrap();
    assert_eq!(wait(&mut queue, 2), Take::Wait(ms(6)));
    queue.push(entry(2, 3), 1).unwrap();
    assert_eq!(wait(&mut queue, 4), Take::Wait(ms(6)));
    assert!(matches!(wait(&mut queue, 6), Take::Batch(batch) if batch.items == [0, 1]));
    // Enough tokens, or rows, do not wait.
    for tokens in [10, 1] {
        for n in 0..3 {
            queue.push(entry(tokens, 9), n).unwrap();
        }
        assert!(matches!(wait(&mut queue, 9), Take::Batch(_)));
        while matches!(wait(&mut queue, 99), Take::Batch(_)) {}
    }
    // A deadline within the wait wakes whoever waits.
    let deadline = Some(ms(12));
    let entry = Entry {
        deadline,
        ..entry(1, 10)
    };
    queue.push(entry, 7).unwrap();
    assert_eq!(wait(&mut queue, 10), Take::Wait(ms(12)));
    assert_eq!(queue.next_deadline(), deadline);
    assert_eq!(wait(&mut queue, 12), Take::Expired(vec![7]));
    assert_eq!(queue.next_deadline(), None);
}

/// Two idle workers of which one gets everything are one worker.
#[test]
fn what_waits_is_shared_by_idle_workers() {
    let mut queue = queue();
    for n in 0..30 {
        queue.push(entry(10, 0), n).unwrap();
    }
    let Take::Batch(batch) = queue.take(ms(0), Budget::tokens(384).workers(2)) else {
        panic!("no batch");
    };
    assert_eq!(batch.items.len(), 15);
    assert_eq!(
        (batch.padding.tokens, batch.padding.padded_tokens),
        (150, 150)
    );
}

/// A batch that is interrupted by whatever comes never ends; one that never is keeps short texts waiting.
#[test]
fn only_what_would_have_gone_first_interrupts() {
    let mut queue = queue();
    queue.push(entry(256, 0), 0).unwrap();
    let Take::Batch(long) = queue.take(ms(0), Budget::tokens(384)) else {
        panic!("no batch");
    };
    assert!(long.due > ms(100), "{:?}", long.due);
    let budget = Budget::tokens(64);
    let before = |queue: &mut Queue<usize>, now| queue.take_before(long.due, ms(now), budget);
    assert_eq!(before(&mut queue, 1), Take::Empty);
    queue.push(entry(10, 2), 1).unwrap();
    queue.push(entry(12, 3), 2).unwrap();
    let Take::Batch(batch) = before(&mut queue, 3) else {
        panic!("no batch");
    };
    assert_eq!((batch.items, batch.padding.tokens), (vec![1, 2], 22));
    // Too long for a guest; due later than the batch.
    for (tokens, arrived) in [(65, 4), (10, 500)] {
        let place = queue.push(entry(tokens, arrived), 3).unwrap();
        assert_eq!(before(&mut queue, 501), Take::Empty);
        assert_eq!(queue.remove(place), Some(3));
    }
    // Who is too late hears so at once, and keeps nobody from going before.
    let late = Entry {
        deadline: Some(ms(5)),
        ..entry(10, 4)
    };
    queue.push(late, 4).unwrap();
    queue.push(entry(10, 4), 5).unwrap();
    assert_eq!(before(&mut queue, 6), Take::Expired(vec![4]));
    assert!(matches!(before(&mut queue, 6), Take::Batch(batch) if batch.items == [5]));
}

/// A place that is out of date must not take out whoever stands there now.
#[test]
fn places_are_good_until_their_entry_leaves() {
    let mut queue = queue();
    let first = queue.push(entry(9, 0), 1).unwrap();
    assert_eq!(queue.remove(first), Some(1));
    let second = queue.push(entry(9, 0), 2).unwrap();
    assert_eq!(queue.remove(first), None);
    assert!(!queue.change(first, entry(1, 0)));
    assert!(queue.change(second, entry(20, 7)));
    assert_eq!(queue.held().tokens, 20);
    assert_eq!(queue.oldest(), Some(ms(7)));
    assert_eq!(queue.remove(second), Some(2));
    assert_eq!(queue.held(), Held::default());
}

#[derive(Clone, Debug)]
enum Step {
    /// A request of entries with these lengths, of a class, and with a deadline so many ms away.
    Request(Vec<usize>, u8, Option<u64>),
    /// So many ms pass.
    Pass(u64),
    /// Batches for so many idle workers.
    Take(usize),
    /// The entry that was pushed n-th from the last is given up.
    Remove(usize),
    /// The same, set before others.
    Change(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lengths = prop::collection::vec(prop_oneof![1usize..40, 1usize..700], 1..12);
    let one = prop_oneof![
        6 => (lengths, 0u8..4, prop::option::of(0u64..40)).prop_map(|(l, c, d)| Step::Request(l, c, d)),
        4 => (0u64..20).prop_map(Step::Pass),
        6 => (1usize..4).prop_map(Step::Take),
        1 => (0usize..30).prop_map(Step::Remove),
        1 => (0usize..30).prop_map(Step::Change),
    ];
    prop::collection::vec(one, 0..60)
}

/// What the test knows of an entry that waits.
struct Known {
    place: Place,
    entry: Entry,
    request: usize,
    due: Duration,
    changed: bool,
}

proptest! {
    /// A text lost is a client that waits for ever; one computed twice is work for nothing; a batch over
    /// its budget is memory that was not there.
    #[test]
    fn nothing_is_lost_doubled_or_late(
        steps in steps(),
        tokens in 1usize..800,
        rows in 1usize..20,
        most in 20usize..2_000,
    ) {
        let limits = QueueLimits { entries: 60, tokens: most, bytes: usize::MAX };
        let mut queue = Queue::new(limits, QueuePolicy::default());
        let mut now = ms(0);
        let mut known: BTreeMap<usize, Known> = BTreeMap::new();
        let mut next = 0;
        for (request, step) in steps.into_iter().enumerate() {
            match step {
                Step::Pass(passed) => now += ms(passed),
                Step::Request(lengths, class, deadline) => {
                    let mut ahead = 0;
                    for length in lengths {
                        let entry = Entry {
                            tokens: length,
                            bytes: 4 * length,
                            class,
                            ahead,
                            arrived: now,
                            deadline: deadline.map(|deadline| now + ms(deadline)),
                        };
                        let before = queue.held();
                        match queue.push(entry, next) {
                            Ok(place) => {
                                let due = queue.due(&entry, place).at;
                                known.insert(next, Known { place, entry, request, due, changed: false });
                                next += 1;
                                ahead += length as u64;
                            }
                            Err(full) => {
                                prop_assert!(full.held + full.more > full.most);
                                prop_assert_eq!(queue.held(), before);
                            }
                        }
                    }
                }
                Step::Remove(back) => {
                    if let Some(number) = known.keys().rev().nth(back).copied()
                        && let Some(entry) = known.remove(&number)
                    {
                        prop_assert_eq!(queue.remove(entry.place), Some(number));
                        prop_assert_eq!(queue.remove(entry.place), None);
                    }
                }
                Step::Change(back) => {
                    if let Some(number) = known.keys().rev().nth(back).copied()
                        && let Some(one) = known.get_mut(&number)
                    {
                        one.entry = Entry { class: 0, deadline: None, ..one.entry };
                        one.changed = true;
                        prop_assert!(queue.change(one.place, one.entry));
                        one.due = queue.due(&one.entry, one.place).at;
                    }
                }
                Step::Take(idle) => match queue.take(now, Budget::tokens(tokens).rows(rows).workers(idle)) {
                    Take::Empty => prop_assert!(known.is_empty()),
                    Take::Wait(_) => prop_assert!(false, "there is no max_wait"),
                    Take::Expired(items) => {
                        prop_assert!(!items.is_empty());
                        for item in items {
                            let one = known.remove(&item);
                            let deadline = one.and_then(|one| one.entry.deadline);
                            prop_assert!(deadline.is_some_and(|deadline| deadline <= now));
                        }
                    }
                    Take::Batch(batch) => {
                        prop_assert!(!batch.items.is_empty());
                        let taken: Vec<Known> =
                            batch.items.iter().filter_map(|item| known.remove(item)).collect();
                        prop_assert_eq!(taken.len(), batch.items.len(), "handed out once");
                        let sum: usize = taken.iter().map(|one| one.entry.tokens).sum();
                        let longest = taken.iter().map(|one| one.entry.tokens).max().unwrap_or(0);
                        prop_assert_eq!(batch.padding.tokens, sum as u64);
                        prop_assert_eq!(batch.padding.padded_tokens, (longest * taken.len()) as u64);
                        prop_assert!(taken.len() == 1 || (sum <= tokens && taken.len() <= rows));
                        // Its head is due before all that is left, and all are of its class and length.
                        let head = &taken[0];
                        prop_assert!(known.values().all(|one| one.due >= head.due));
                        for one in &taken {
                            prop_assert_eq!(class_of(one.entry.class), class_of(head.entry.class));
                            let apart = bucket_of(one.entry.tokens).abs_diff(bucket_of(head.entry.tokens));
                            prop_assert!(apart <= 1);
                            prop_assert!(one.entry.deadline.is_none_or(|deadline| deadline > now));
                        }
                        // First in, first out within a request and a length.
                        let first_left: BTreeMap<(usize, usize), usize> = known
                            .iter()
                            .rev()
                            .filter(|(_, one)| !one.changed)
                            .map(|(&n, one)| ((one.request, bucket_of(one.entry.tokens)), n))
                            .collect();
                        for (item, one) in batch.items.iter().zip(&taken).filter(|(_, one)| !one.changed) {
                            let lane = (one.request, bucket_of(one.entry.tokens));
                            prop_assert!(first_left.get(&lane).is_none_or(|left| left > item));
                        }
                    }
                },
            }
            let held = Held {
                entries: known.len(),
                tokens: known.values().map(|one| one.entry.tokens).sum(),
                bytes: known.values().map(|one| one.entry.bytes).sum(),
            };
            prop_assert_eq!(queue.held(), held);
            prop_assert!(held.entries <= limits.entries && held.tokens <= limits.tokens);
            for class in 0..3u8 {
                let of = known.values().filter(|one| class_of(one.entry.class) <= usize::from(class));
                let sum: usize = of.map(|one| one.entry.tokens).sum();
                prop_assert_eq!(queue.tokens_before(class), sum);
            }
            let arrivals: BTreeSet<Duration> = known.values().map(|one| one.entry.arrived).collect();
            let oldest = queue.oldest();
            prop_assert_eq!(oldest.is_none(), known.is_empty());
            prop_assert!(oldest.is_none_or(|oldest| arrivals.contains(&oldest)));
        }
    }

    #[test]
    fn a_bucket_holds_what_its_bound_says(tokens in 0usize..100_000) {
        let bucket = bucket_of(tokens);
        prop_assert!(tokens <= upper(bucket) || bucket == BUCKETS - 1);
        prop_assert!(bucket == 0 || tokens > upper(bucket - 1));
    }
}
