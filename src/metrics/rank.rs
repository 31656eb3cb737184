//! Nearest rank, in integers: which cell holds the k-th smallest value. Read by `histogram`, and by the
//! monitor's windows, whose cells are others.

/// The rank ⌈`count` × `numerator` / `denominator`⌉, at least 1. Nothing for no values, or a fraction that is
/// none.
pub(crate) fn rank(count: u64, numerator: u32, denominator: u32) -> Option<u64> {
    if count == 0 || denominator == 0 || numerator > denominator {
        return None;
    }
    let product = u128::from(count) * u128::from(numerator);
    let rank = product.div_ceil(u128::from(denominator)).max(1);
    // Always: a fraction of at most one gives at most the count.
    u64::try_from(rank).ok()
}

/// The cells that hold these ranks, which ascend from 1; nothing for those above the number of values. One
/// pass.
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
