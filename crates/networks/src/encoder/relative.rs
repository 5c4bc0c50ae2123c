//! MPNet's relative position bias: a learned number for each head and each distance between two
//! tokens, where distances far apart share a bucket (Raffel et al. 2020, T5, section 2.1).

use crate::error::ModelError;
use crate::weights::Scope;

/// `MPNetEncoder.compute_position_bias` uses 32 buckets whatever the configuration says.
const BUCKETS: usize = 32;
/// From here on every distance shares the last bucket of its direction.
const FARTHEST: usize = 128;

/// The bias by head and distance: `[heads][2 * span + 1]`, where column `span + key - query` is the
/// distance `key - query`, and distances beyond the span have the value at its end.
#[derive(Debug)]
pub(crate) struct RelativeBias {
    pub(crate) table: Vec<f32>,
    pub(crate) span: usize,
}

impl RelativeBias {
    pub(crate) fn load(
        scope: &Scope<'_>,
        name: &str,
        heads: usize,
    ) -> Result<RelativeBias, ModelError> {
        let tensor = scope.rows(name, BUCKETS, heads)?;
        let table = expand(&tensor.values(), heads);
        tensor.release();
        Ok(RelativeBias {
            table,
            span: FARTHEST,
        })
    }
}

/// From `[buckets][heads]` to `[heads][distances]`.
fn expand(by_bucket: &[f32], heads: usize) -> Vec<f32> {
    let span = FARTHEST as i64;
    (0..heads)
        .flat_map(|head| (-span..=span).map(move |distance| (head, distance)))
        .map(|(head, distance)| {
            by_bucket
                .get(bucket(distance) * heads + head)
                .copied()
                .unwrap_or_default()
        })
        .collect()
}

/// The bucket of a distance `key - query` (`relative_position_bucket` in transformers): half of the
/// buckets for each direction, in each the first half exact and the second half logarithmic.
fn bucket(distance: i64) -> usize {
    let half = BUCKETS / 2;
    let exact = half / 2;
    let direction = if distance > 0 { half } else { 0 };
    let steps = distance.unsigned_abs() as usize;
    if steps < exact {
        return direction + steps;
    }
    // In f32, as torch computes it: the boundaries between buckets are where rounding matters.
    let ratio = (FARTHEST as f64 / exact as f64).ln() as f32;
    let share = (steps as f32 / exact as f32).ln() / ratio;
    let far = exact + (share * (half - exact) as f32) as usize;
    direction + far.min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MPNet models would attend with the wrong bias at some distances. The first distance of each
    /// bucket was computed with transformers.
    #[test]
    fn buckets_begin_where_transformers_begin_them() {
        let first = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
        let mut wrong = Vec::new();
        for distance in 0..=200i64 {
            let expected = first.iter().filter(|&&start| start <= distance).count() - 1;
            if bucket(-distance) != expected {
                wrong.push((-distance, bucket(-distance), expected));
            }
            if distance > 0 && bucket(distance) != expected + 16 {
                wrong.push((distance, bucket(distance), expected + 16));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    /// Every MPNet vector would be that of other distances between words.
    #[test]
    fn the_table_is_by_head_and_distance() {
        // Bucket b of head h has the value 100 b + h.
        let by_bucket: Vec<f32> = (0..32)
            .flat_map(|b| (0..3).map(move |h| (100 * b + h) as f32))
            .collect();
        let table = expand(&by_bucket, 3);
        assert_eq!(table.len(), 3 * 257);
        let at = |head: usize, distance: i64| table[head * 257 + (128 + distance) as usize];
        assert_eq!(at(0, 0), 0.0);
        assert_eq!(at(2, -3), 302.0);
        assert_eq!(at(1, 3), 1901.0);
        assert_eq!(at(1, 128), 3101.0);
    }
}
