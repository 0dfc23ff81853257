//! `--name`.

use faultvisor_monitor::option_syntax::{KeyValues, OptionError, switch};

/// Parses QEMU's `[guest=]NAME[,debug-threads=on]`. Without a name the result is `None`.
pub(super) fn parse(text: &str) -> Result<Option<String>, OptionError> {
    let mut keys =
        KeyValues::parse_implying("guest", text, &["guest", "process", "debug-threads"], &[])?;
    keys.take_with("process", |_| -> Result<(), _> {
        Err("the process keeps the name of its program")
    })?;
    keys.take_with("debug-threads", |word| match switch(word)? {
        true => Ok(()),
        false => Err("threads have names always: debug-threads=on"),
    })?;
    Ok(keys.take("guest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<Option<String>, String> {
        parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_said_with_its_key_or_without() {
        for text in [
            "foo",
            "guest=foo",
            "foo,debug-threads=on",
            "debug-threads=on,guest=foo",
        ] {
            assert_eq!(name(text), Ok(Some("foo".to_owned())), "{text}");
        }
        assert_eq!(name("a,,b"), Ok(Some("a,b".to_owned())));
        assert_eq!(name("debug-threads=on"), Ok(None));
    }

    #[test]
    fn suboptions_with_another_meaning_are_refused() {
        let error = |text| name(text).unwrap_err();
        assert_eq!(
            error("foo,debug-threads=off"),
            "debug-threads=off: threads have names always: debug-threads=on"
        );
        assert_eq!(
            error("foo,process=bar"),
            "process=bar: the process keeps the name of its program"
        );
        assert_eq!(
            error("foo,gest=bar"),
            "unknown key 'gest'; did you mean 'guest'?"
        );
        assert_eq!(error("foo,guest=bar"), "key 'guest' is given twice");
        assert_eq!(error("foo,bar"), "'bar' is not of the form key=value");
    }
}
