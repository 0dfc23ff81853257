//! The words of options: switches, and the nearest of the known ones.

/// Longest word, in bytes, for which a known one is looked for that it may stand for.
const LONGEST_MISSPELT: usize = 64;

/// QEMU's words for a switch.
///
/// # Errors
///
/// What is expected instead.
pub fn switch(word: &str) -> Result<bool, &'static str> {
    match word {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err("expected on or off"),
    }
}

/// The known word that a misspelt one most likely stands for.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_MISSPELT {
        return None;
    }
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
    fn a_word_that_is_like_none_has_no_nearest() {
        assert_eq!(nearest("werorr", ["rerror", "werror"]), Some("werror"));
        assert_eq!(nearest("zzzzzz", ["rerror", "werror"]), None);
    }

    #[test]
    fn a_switch_has_qemus_words() {
        for word in ["on", "yes", "true", "y"] {
            assert_eq!(switch(word), Ok(true));
        }
        for word in ["off", "no", "false", "n"] {
            assert_eq!(switch(word), Ok(false));
        }
        assert_eq!(switch("ON"), Err("expected on or off"));
    }
}
