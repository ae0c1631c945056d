//! "Did you mean": the valid names nearest to a mistyped one.

/// At most this many names are suggested.
const LIMIT: usize = 3;

/// The candidates within a third of the name's length in edits, nearest first, at most three.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let name: Vec<char> = name.chars().collect();
    let mut near = Vec::new();
    for candidate in candidates {
        let letters: Vec<char> = candidate.chars().collect();
        let allowed = (name.len().max(letters.len()) / 3).max(1);
        // One edit turns any one-letter name into any other: that suggests nothing.
        if name.len() <= 1 || letters.len().abs_diff(name.len()) > allowed {
            continue;
        }
        let distance = distance(&name, &letters);
        if distance <= allowed {
            near.push((distance, candidate));
        }
    }
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(LIMIT).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Damerau's edit distance (optimal string alignment): insert, delete, replace a letter, or swap two neighbors.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replace = last[j] + usize::from(a[i] != b[j]);
            let mut best = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[track_caller]
    fn check(name: &str, expected: &[&str]) {
        let names = ["conv3x3", "conv", "dense", "dropout", "relu", "gelu", "elu", "x", "h"];
        assert_eq!(suggest(name, names), expected);
    }

    #[test]
    fn near_names_come_nearest_first() {
        check("convv3x3", &["conv3x3"]);
        check("desne", &["dense"]);
        check("rleu", &["relu"]);
        check("dropuot", &["dropout"]);
    }

    #[test]
    fn far_names_are_not_suggested() {
        check("attention", &[]);
        check("y", &[]);
        check("", &[]);
    }
}
