//! The bounds of exported buckets. Each is the last value of a cell, so every exported count is exact.

use super::format::seconds;
use crate::metrics::OVERFLOW_NANOSECONDS;

/// Which bounds durations have, as the configuration says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buckets {
    /// The first bound is not below this, and the last not below `last`; in nanoseconds.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Bounds from one power of two to the next: 1, 2, 4 or 8.
    pub(crate) per_octave: u64,
}

/// From 1 µs to 10 s, a factor of two apart.
impl Default for Buckets {
    fn default() -> Self {
        Self { first: 1_000, last: 10_000_000_000, per_octave: 1 }
    }
}

/// Bounds with their texts, ascending.
#[derive(Clone, Debug)]
pub(super) struct Bounds(pub(super) Vec<(u64, String)>);

impl Bounds {
    /// The bounds of durations.
    pub(super) fn of(buckets: Buckets) -> Self {
        let all = (6..=36).flat_map(|octave: u32| {
            let start = 1u64 << octave;
            (0..buckets.per_octave).map(move |part| start + start / buckets.per_octave * part - 1)
        });
        // Larger values are all in one cell.
        let all = all.take_while(|bound| *bound < OVERFLOW_NANOSECONDS);
        let mut bounds = Vec::new();
        for bound in all.skip_while(|bound| *bound < buckets.first) {
            bounds.push((bound, seconds(bound)));
            if bound >= buckets.last {
                break;
            }
        }
        Self(bounds)
    }

    /// The bounds of sizes: from 64 bytes to 1 GiB, by octave.
    pub(super) fn of_sizes() -> Self {
        // With a point, as the Python parser of OpenMetrics wants such numbers.
        Self((6..=30).map(|octave| (1u64 << octave) - 1).map(|bound| (bound, format!("{bound}.0"))).collect())
    }

    /// The bounds of long durations that are counted in milliseconds: from a second to three days, a factor of four apart.
    pub(super) fn of_milliseconds() -> Self {
        let all = (10..=28).step_by(2).map(|octave| (1u64 << octave) - 1);
        Self(all.map(|bound| (bound, seconds(bound * 1_000_000))).collect())
    }
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;
    use crate::metrics::upper_bound;

    #[test]
    fn every_bound_is_that_of_a_cell_and_its_text_is_its_value() {
        let cells: std::collections::HashSet<_> = (0..1_024).map(upper_bound).collect();
        for per_octave in [1, 2, 4, 8] {
            for (first, last) in [(1_000, 10_000_000_000), (1, 60_000_000_000), (5_000, 6_000)] {
                let bounds = Bounds::of(Buckets { first, last, per_octave }).0;
                assert!(
                    bounds.is_sorted() && bounds.iter().all(|(bound, _)| cells.contains(bound)),
                    "{bounds:?}"
                );
                assert!(bounds[0].0 >= first && bounds[bounds.len() - 1].0 >= last);
                for (bound, text) in &bounds {
                    assert!((text.parse::<f64>().unwrap() - *bound as f64 / 1e9).abs() < 1e-12, "{text}");
                }
            }
        }
        let usual = Bounds::of(Buckets::default()).0;
        let ends = (usual[0].1.as_str(), usual[usual.len() - 1].1.as_str(), usual.len());
        assert_eq!(ends, ("0.000001023", "17.179869183", 25));
        for bounds in [Bounds::of_sizes(), Bounds::of_milliseconds()] {
            assert!(bounds.0.iter().all(|(bound, _)| cells.contains(bound)));
        }
        assert_eq!(Bounds::of_milliseconds().0[0].1, "1.023");
    }
}
