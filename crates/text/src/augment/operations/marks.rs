//! Noise in white space and punctuation.

use super::characters::other;
use super::{Outcome, Site};
use crate::augment::clusters::Clusters;
use crate::augment::plan::Change;
use crate::augment::random::scaled;

/// What comes in place of a mark or behind a word.
pub(crate) const MARKS: &[char] = &['.', ',', ';', ':', '!', '?', '-', '\''];
/// Marks beyond ASCII that are taken for punctuation.
const BEYOND: &[char] = &[
    '¡', '¿', '«', '»', '‐', '–', '—', '‘', '’', '‚', '“', '”', '„', '…', '‹', '›', '·', '、',
    '。', '「', '」', '，', '．', '：', '；', '！', '？', '،', '؛', '؟', '।',
];

/// White space is left out or comes twice, the one as likely as the other.
pub(super) fn space<C: Clusters>(site: &Site<'_, C>, number: u64) -> Outcome {
    if !site.cluster(0)?.starts_with(char::is_whitespace) {
        return None;
    }
    let change = match number >> 63 {
        0 => Change::Remove,
        _ => Change::Twice,
    };
    Some((1, change))
}

/// A mark is left out, comes twice or is another, each as likely; a word's last character, if it is
/// no mark, gets one behind it.
pub(super) fn punctuation<C: Clusters>(site: &Site<'_, C>, number: u64) -> Outcome {
    let own = site.cluster(0)?;
    if !is_mark(own) {
        let white = |text: &str| text.starts_with(char::is_whitespace);
        let last = !white(own) && site.cluster(1).is_none_or(white);
        let mark = MARKS.get(scaled(number, MARKS.len()));
        return mark.filter(|_| last).map(|mark| (1, Change::After(*mark)));
    }
    let change = match scaled(number, 3) {
        0 => Change::Remove,
        1 => Change::Twice,
        _ => Change::Character(other(MARKS, number.wrapping_mul(3), own)?),
    };
    Some((1, change))
}

fn is_mark(cluster: &str) -> bool {
    let mut characters = cluster.chars();
    let is = |c: char| c.is_ascii_punctuation() || BEYOND.contains(&c);
    characters.next().is_some_and(is) && characters.next().is_none()
}
