//! Finds the known names that are most like a misspelled one, for error texts.

/// The three known names that need the fewest edits for their length, nearest first. Two swapped letters are one edit.
/// Equally near names keep their order.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut known: Vec<_> = known.into_iter().collect();
    let nearness = |one: &&str| strsim::normalized_damerau_levenshtein(given, one);
    known.sort_by(|one, other| nearness(other).total_cmp(&nearness(one)));
    known.truncate(3);
    known
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_equally_near_ones_keep_their_order() {
        let known = ["max_ports", "max_clients", "max_clientx", "workers"];
        assert_eq!(nearest("max_client", known), ["max_clients", "max_clientx", "max_ports"]);
        assert_eq!(nearest("wrokers", known)[0], "workers");
        assert!(nearest("x", []).is_empty());
    }
}
