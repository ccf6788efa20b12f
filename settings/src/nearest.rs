//! Finds the known key that someone most likely meant.

/// The candidate that takes the fewest changes to become, if those are few.
pub(crate) fn nearest(
    key: &str,
    candidates: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let changes_max = (key.len() / 3).max(2);
    candidates
        .map(|candidate| (distance(key, candidate), candidate))
        .min()
        .filter(|(changes, _)| *changes <= changes_max)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, upper and lower case taken as equal.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<u8> = right.bytes().map(|b| b.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (taken, from) in left.bytes().enumerate() {
        let mut diagonal = taken;
        let mut before = taken + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(from.to_ascii_lowercase() != *to);
            diagonal = *cell;
            before = replaced.min(before + 1).min(*cell + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = taken + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_changes() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("LISTENPORT", "listenPort"), 0);
    }

    #[test]
    fn only_what_is_near_is_offered() {
        let nearest = |key| nearest(key, ["listenPort", "brokerName"].into_iter());
        assert_eq!(nearest("listenPorts"), Some("listenPort"));
        assert_eq!(nearest("zzz"), None);
    }
}
