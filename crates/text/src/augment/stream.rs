//! Rows edited as they go by, for training on other edits in every epoch.

use super::augmenter::Augmenter;
use super::edited::Edited;
use super::random::Place;

/// An iterator over edited rows; see [`Augmenter::augmented`].
#[derive(Clone, Debug)]
pub struct Augmented<'a, I> {
    augmenter: &'a Augmenter,
    epoch: u64,
    rows: I,
    edited: Edited,
}

impl Augmenter {
    /// Edits numbered rows as they go by, whatever their order.
    ///
    /// A row of a number has the same edits in the same epoch of the same seed each time, be it in another
    /// order, batch, thread or process; in another epoch it has others.
    ///
    /// ```
    /// use batchwright_text::augment::{Augmenter, Recipe};
    ///
    /// let augmenter = Augmenter::new(&Recipe::named("typing")?, 7)?;
    /// let texts = ["turn on the lights", "what is the weather like"];
    /// // A sampler's order, by the rows' numbers.
    /// let epoch = |order: [usize; 2]| order.map(|row| (row as u64, texts[row]));
    /// let first: Vec<_> = augmenter.augmented(0, epoch([0, 1])).collect();
    /// let again: Vec<_> = augmenter.augmented(0, epoch([1, 0])).collect();
    /// assert_eq!(first[0], again[1]);
    /// # Ok::<(), batchwright_text::augment::AugmentError>(())
    /// ```
    pub fn augmented<I, S>(&self, epoch: u64, rows: I) -> Augmented<'_, I::IntoIter>
    where
        I: IntoIterator<Item = (u64, S)>,
        S: AsRef<str>,
    {
        Augmented {
            augmenter: self,
            epoch,
            rows: rows.into_iter(),
            edited: Edited::default(),
        }
    }
}

impl<I, S> Augmented<'_, I>
where
    I: Iterator<Item = (u64, S)>,
    S: AsRef<str>,
{
    /// The next row with its number, in memory that is used again: nothing is allocated.
    pub fn next_edited(&mut self) -> Option<(u64, &Edited)> {
        let (row, text) = self.rows.next()?;
        let place = Place {
            epoch: self.epoch,
            row,
            copy: 0,
        };
        self.augmenter.edit(place, text.as_ref(), &mut self.edited);
        Some((row, &self.edited))
    }
}

impl<I, S> Iterator for Augmented<'_, I>
where
    I: Iterator<Item = (u64, S)>,
    S: AsRef<str>,
{
    type Item = (u64, String);

    fn next(&mut self) -> Option<(u64, String)> {
        let (row, edited) = self.next_edited()?;
        Some((row, edited.text().to_owned()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rows.size_hint()
    }
}
