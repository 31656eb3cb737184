//! Nearest-rank percentiles in integers: the rank of a percentile, and the cell that holds the k-th smallest
//! value. Used by `histogram` and by the monitor's windows, which have different cells.

/// The rank ⌈`count` × `numerator` / `denominator`⌉, at least 1. `None` without values, for a denominator of
/// 0, or for a fraction above 1.
pub(crate) fn rank(count: u64, numerator: u32, denominator: u32) -> Option<u64> {
    if count == 0 || denominator == 0 || numerator > denominator {
        return None;
    }
    let product = u128::from(count) * u128::from(numerator);
    let rank = product.div_ceil(u128::from(denominator)).max(1);
    // Never fails: the fraction is at most 1, so the rank is at most `count`.
    u64::try_from(rank).ok()
}

/// The cells that hold the values of these ranks, found in one pass. The ranks must ascend and start at 1 or
/// above. `None` for a rank above the number of values.
pub(crate) fn cells_at<const N: usize>(
    cells: impl IntoIterator<Item = (usize, u64)>,
    ranks: [u64; N],
) -> [Option<usize>; N] {
    let mut found = [None; N];
    let mut wanted = ranks.iter().zip(&mut found).peekable();
    let mut seen = 0u128;
    for (index, cell) in cells {
        seen += u128::from(cell);
        while let Some((_, place)) = wanted.next_if(|(rank, _)| u128::from(**rank) <= seen) {
            *place = Some(index);
        }
        if wanted.peek().is_none() {
            break;
        }
    }
    found
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_rounded_up_and_never_overflow() {
        assert_eq!((rank(10, 500, 1000), rank(11, 500, 1000)), (Some(5), Some(6)));
        assert_eq!((rank(1, 0, 1000), rank(1, 999, 1000)), (Some(1), Some(1)));
        assert_eq!(rank(u64::MAX, 1000, 1000), Some(u64::MAX));
        assert_eq!((rank(0, 1, 2), rank(5, 1, 0), rank(5, 3, 2)), (None, None, None));
    }

    #[test]
    fn one_pass_finds_all_ranks() {
        let cells = [(3, 0), (4, 2), (7, 0), (9, 1), (12, u64::MAX)];
        assert_eq!(cells_at(cells, [1, 2, 3, 4]), [Some(4), Some(4), Some(9), Some(12)]);
        assert_eq!(cells_at([(1, 0), (2, 5)], [1, 5, 6]), [Some(2), Some(2), None]);
    }
}
