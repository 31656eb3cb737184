//! Finds the known name that is most like a misspelled one, for error texts.

/// The known name that takes the fewest insertions, removals and replacements of characters. Of several, the first.
pub(crate) fn nearest<T: AsRef<str>>(given: &str, known: impl IntoIterator<Item = T>) -> Option<T> {
    known.into_iter().min_by_key(|known| distance(given, known.as_ref()))
}

/// Levenshtein's distance of two texts, in characters.
pub(crate) fn distance(from: &str, to: &str) -> usize {
    let [from, to] = [from, to].map(|text| text.chars().collect::<Vec<_>>());
    edits(&from, &to, 1, |one, other| usize::from(one != other))
}

/// The least cost of turning one sequence into the other, with one row of Levenshtein's table. An insertion or removal
/// costs `gap`.
pub(crate) fn edits<T>(from: &[T], to: &[T], gap: usize, replace: impl Fn(&T, &T) -> usize) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).map(|length| length * gap).collect();
    for one in from {
        let mut left = row[0] + gap;
        let mut diagonal = std::mem::replace(&mut row[0], left);
        for (above, other) in row[1..].iter_mut().zip(to) {
            let replaced = diagonal + replace(one, other);
            diagonal = *above;
            left = replaced.min(left + gap).min(diagonal + gap);
            *above = left;
        }
    }
    row[to.len()]
}

#[cfg(all(test, not(corelane_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_edits() {
        for (from, to, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("workers", "worker", 1),
            ("größe", "grosse", 3),
        ] {
            assert_eq!((distance(from, to), distance(to, from)), (edits, edits), "{from} {to}");
        }
    }

    #[test]
    fn the_first_of_the_nearest_is_found() {
        assert_eq!(nearest("max_client", ["workers", "max_clients", "max_clientx"]), Some("max_clients"));
        assert_eq!(nearest::<&str>("x", []), None);
    }
}
