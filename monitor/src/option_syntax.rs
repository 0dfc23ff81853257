//! QEMU's syntax of options, as far as the monitor's addresses and the rest of a command line share it.

/// Splits at commas; two in a row are one that belongs to the text.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == ',' && characters.next_if_eq(&',').is_none() {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    }
    parts
}

/// The known word that a misspelt one most likely stands for.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .filter(|(distance, known)| *distance <= known.len().max(word.len()) / 2)
        .min()
        .map(|(_, known)| known)
}

/// What an error message says of the nearest known word, if there is one.
#[must_use]
pub fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| {
        format!("; did you mean '{nearest}'?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_comma_is_a_comma_in_the_text() {
        assert_eq!(split("a,,b,c,,,"), ["a,b", "c,", ""]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn a_word_that_is_like_none_has_no_nearest() {
        assert_eq!(nearest("werorr", ["rerror", "werror"]), Some("werror"));
        assert_eq!(nearest("zzzzzz", ["rerror", "werror"]), None);
    }
}
