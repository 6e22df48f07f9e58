//! What was probably meant by a word that nobody knows. Pure.

use strsim::levenshtein;

/// The known word that is most like it; farther than a third of its length is a
/// guess, not a correction.
pub fn nearest(word: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    let by_distance = known.into_iter().map(|known| (levenshtein(word, known), known));
    let (distance, known) = by_distance.min()?;
    (distance <= known.len() / 3).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_like_no_word_is_no_slip() {
        let of = |word| nearest(word, ["sessions", "attach", "gc"]);
        for (word, meant) in [
            ("sesions", Some("sessions")),
            ("session", Some("sessions")),
            ("atach", Some("attach")),
            ("attach", Some("attach")),
            ("gb", None),
            ("web", None),
            ("", None),
        ] {
            assert_eq!(of(word), meant, "{word}");
        }
        assert_eq!(nearest("web", []), None);
    }
}
