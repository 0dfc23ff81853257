//! Suggestions for misspelt words.

/// The known word most similar to `word`, if one is similar.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = word.chars().count().div_ceil(3);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean 'x'?`, or an empty string.
pub fn question(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |word| format!("; did you mean '{word}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_is_found_and_a_different_one_is_not() {
        let known = ["query-block", "query-blockstats", "query-status", "quit"];
        assert_eq!(nearest("query-blok", known), Some("query-block"));
        assert_eq!(nearest("qiut", known), Some("quit"));
        assert_eq!(nearest("device_add", known), None);
        assert_eq!(nearest("", known), None);
    }
}
