//! Edits that come and go so that a row has as many as it may have.

use super::clusters::Clusters;
use super::kind::Kind;
use super::plan::Planned;
use super::random::{Numbers, Purpose};
use super::recipe::{Bounds, Recipe};
use super::row::Row;

const KINDS: usize = Kind::ALL.len();

/// The bounds of a recipe that has any.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Of the operations that have some.
    kinds: Vec<(Kind, Bounds)>,
    all: Bounds,
    /// By which chances a kind is drawn where the row as a whole has too few.
    chances: Vec<(Kind, f64)>,
}

/// Places tried at random before all are gone through. Most operations apply to most characters.
const TRIES: usize = 8;

impl Budget {
    pub(crate) fn new(recipe: &Recipe) -> Option<Budget> {
        let acting = recipe.operations.iter().filter(|one| one.p > 0.0);
        let bounded = acting.clone().filter(|one| !one.bounds.is_open());
        let budget = Budget {
            kinds: bounded.map(|one| (one.kind, one.bounds)).collect(),
            all: recipe.bounds,
            chances: acting.map(|one| (one.kind, one.p)).collect(),
        };
        let is_open = budget.all.is_open() && budget.kinds.is_empty();
        (!is_open).then_some(budget)
    }

    /// Whether so many edits are too few for a row.
    pub(crate) fn is_short(&self, edits: usize) -> bool {
        edits < self.all.min as usize
    }

    /// Whether a row's edits, so many and of these kinds, are within the bounds already.
    pub(crate) fn holds(&self, total: usize, kinds: impl Iterator<Item = Kind> + Clone) -> bool {
        let within = |bounds: &Bounds, count: usize| {
            bounds.min as usize <= count && bounds.max.is_none_or(|max| count <= max as usize)
        };
        let of_kind = |kind| kinds.clone().filter(move |one| *one == kind).count();
        let each = |(kind, bounds): &(Kind, Bounds)| within(bounds, of_kind(*kind));
        within(&self.all, total) && self.kinds.iter().all(each)
    }

    /// Brings a row's edits within the bounds. `made` edits, a shuffle, are made already.
    ///
    /// Of too many, each is as likely to go; where there are too few, each place that is free is as
    /// likely to get one.
    pub(crate) fn keep<C: Clusters>(&self, row: &Row<'_, C>, made: usize, plan: &mut Vec<Planned>) {
        let mut numbers = row.key.numbers(Purpose::Bounds);
        for (kind, bounds) in &self.kinds {
            let count = plan.iter().filter(|one| one.kind == *kind).count();
            let missing = (bounds.min as usize).saturating_sub(count);
            for _ in 0..missing {
                if !add(row, *kind, &mut numbers, plan) {
                    break;
                }
            }
            if let Some(max) = bounds.max.map(|max| max as usize) {
                thin(
                    plan,
                    count.saturating_sub(max),
                    |one| one.kind == *kind,
                    &mut numbers,
                );
            }
        }
        self.keep_all(row, made, &mut numbers, plan);
    }

    fn keep_all<C: Clusters>(
        &self,
        row: &Row<'_, C>,
        made: usize,
        numbers: &mut Numbers,
        plan: &mut Vec<Planned>,
    ) {
        let total = plan.len() + made;
        if let Some(max) = self
            .all
            .max
            .map(|max| max as usize)
            .filter(|max| *max < total)
        {
            return self.thin_all(plan, total - max, numbers);
        }
        let mut full = [false; KINDS];
        let mut missing = (self.all.min as usize).saturating_sub(total);
        while missing > 0 {
            for (kind, bounds) in &self.kinds {
                let count = plan.iter().filter(|one| one.kind == *kind).count();
                full[*kind as usize] |= bounds.max.is_some_and(|max| max as usize <= count);
            }
            let Some(kind) = self.draw(&full, numbers) else {
                return;
            };
            match add(row, kind, numbers, plan) {
                true => missing -= 1,
                false => full[kind as usize] = true,
            }
        }
    }

    /// A kind that is not full, by the chances.
    fn draw(&self, full: &[bool; KINDS], numbers: &mut Numbers) -> Option<Kind> {
        let open = self
            .chances
            .iter()
            .filter(|(kind, _)| !full[*kind as usize]);
        let sum: f64 = open.clone().map(|(_, p)| p).sum();
        let mut at = (numbers.draw() >> 11) as f64 / (1u64 << 53) as f64 * sum;
        let drawn = open.clone().find(|(_, p)| {
            at -= p;
            at < 0.0
        });
        drawn.or(open.clone().next_back()).map(|(kind, _)| *kind)
    }

    /// Takes edits out, but none that its kind needs for its own least number.
    fn thin_all(&self, plan: &mut Vec<Planned>, excess: usize, numbers: &mut Numbers) {
        let (mut left, mut needed) = ([0usize; KINDS], [0usize; KINDS]);
        for one in plan.iter() {
            left[one.kind as usize] += 1;
        }
        for (kind, bounds) in &self.kinds {
            let at = *kind as usize;
            needed[at] = (bounds.min as usize).min(left[at]);
        }
        let mut free = plan.len() - needed.iter().sum::<usize>();
        let mut excess = excess.min(free);
        plan.retain(|one| {
            let at = one.kind as usize;
            let is_needed = needed[at] > 0 && numbers.below(left[at]) < needed[at];
            left[at] -= 1;
            if is_needed {
                needed[at] -= 1;
                return true;
            }
            stays(&mut free, &mut excess, numbers)
        });
    }
}

/// Takes `excess` of the edits out that are asked for, every set of them as likely.
fn thin(
    plan: &mut Vec<Planned>,
    mut excess: usize,
    of: impl Fn(&Planned) -> bool,
    numbers: &mut Numbers,
) {
    if excess > 0 {
        let mut left = plan.iter().filter(|one| of(one)).count();
        plan.retain(|one| !of(one) || stays(&mut left, &mut excess, numbers));
    }
}

/// Selection sampling (Knuth, TAOCP 2, algorithm 3.4.2 S): `excess` of the `left` are to go.
fn stays(left: &mut usize, excess: &mut usize, numbers: &mut Numbers) -> bool {
    let goes = *excess > 0 && numbers.below(*left) < *excess;
    *left -= 1;
    *excess -= usize::from(goes);
    !goes
}

/// Adds an edit of a kind at a place that is free; false if there is none.
fn add<C: Clusters>(
    row: &Row<'_, C>,
    kind: Kind,
    numbers: &mut Numbers,
    plan: &mut Vec<Planned>,
) -> bool {
    let places = row.places(kind);
    let mut drawn = || numbers.below(places);
    let tried = (0..TRIES.min(places)).find_map(|_| fitting(row, kind, drawn(), plan));
    let chosen = tried.or_else(|| {
        let all = (0..places).filter_map(|place| fitting(row, kind, place, plan));
        let mut chosen = None;
        for (seen, found) in all.enumerate() {
            if numbers.below(seen + 1) == 0 {
                chosen = Some(found);
            }
        }
        chosen
    });
    match chosen {
        Some((at, planned)) => {
            plan.insert(at, planned);
            true
        }
        None => false,
    }
}

/// What an operation makes of a place and where that stands in the plan, if nothing is in its way.
fn fitting<C: Clusters>(
    row: &Row<'_, C>,
    kind: Kind,
    place: usize,
    plan: &[Planned],
) -> Option<(usize, Planned)> {
    let planned = row.at(kind, place)?;
    let at = plan.partition_point(|one| one.order() < planned.order());
    let clear = |other: &Planned| !other.overlaps(&planned) && other.order() != planned.order();
    let before = at.checked_sub(1).and_then(|before| plan.get(before));
    let fits = plan.get(at).is_none_or(clear) && before.is_none_or(clear);
    fits.then_some((at, planned))
}
