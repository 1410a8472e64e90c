//! What somebody probably meant to write.

/// `", did you mean …"` when a known word is near, else the known words; nothing when there are none.
pub(crate) fn hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(written, known.iter().copied()) {
        Some(word) => format!(", did you mean `{word}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; known are {}", list(&known)),
    }
}

/// The words as code, with commas.
pub(crate) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The known word with the fewest edits, if these are at most a third of the longer one's length.
pub fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |word: &str| -> Vec<char> { word.to_lowercase().chars().collect() };
    let written = letters(written);
    known
        .map(|word| (distance(&written, &letters(word)), word))
        .filter(|&(edits, word)| edits <= written.len().max(word.chars().count()).div_ceil(3))
        .min()
        .map(|(_, word)| word)
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours, which is how people
/// mistype. The two rows above are the only memory.
fn distance(a: &[char], b: &[char]) -> usize {
    let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or_default();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut before: Option<(Vec<usize>, char)> = None;
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut left = None;
        for (j, &y) in b.iter().enumerate() {
            let replaced = at(&above, j) + usize::from(x != y);
            let swapped = match (&before, left) {
                (Some((row, previous)), Some(left)) if *previous == y && left == x => at(row, j - 1) + 1,
                _ => usize::MAX,
            };
            row.push(replaced.min(swapped).min(at(&above, j + 1) + 1).min(at(&row, j) + 1));
            left = Some(y);
        }
        before = Some((std::mem::replace(&mut above, row), x));
    }
    at(&above, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("admim", "admin", 1),
            ("lsiten", "listen", 1),
            ("evn", "env", 1),
            ("kitten", "sitting", 3),
        ] {
            let [from, to] = [a, b].map(|word| word.chars().collect::<Vec<_>>());
            assert_eq!((distance(&from, &to), distance(&to, &from)), (edits, edits), "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["app_id", "app_secret", "base_url"];
        assert_eq!(hint("app_idd", known), ", did you mean `app_id`?");
        assert_eq!(hint("APP_ID", known), ", did you mean `app_id`?");
        assert_eq!(hint("appsecret", known), ", did you mean `app_secret`?");
        assert_eq!(hint("colour", known), "; known are `app_id`, `app_secret`, `base_url`");
        assert_eq!(hint("colour", []), "");
    }
}
