//! `--sandbox`.

use faultvisor_monitor::option_syntax::{KeyValues, OptionError, switch};

/// What QEMU's sandbox can be told to refuse; this one always refuses it.
const REFUSED: [&str; 4] = ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"];

/// Parses QEMU's `[enable=]on|off` and its further keys, which must have the values that hold here.
pub(super) fn parse(text: &str) -> Result<bool, OptionError> {
    let known = [["enable"].as_slice(), &REFUSED].concat();
    let mut keys = KeyValues::parse_implying("enable", text, &known, &[])?;
    let enabled = keys
        .take_with("enable", switch)?
        .ok_or(OptionError::Missing("enable"))?;
    for key in REFUSED {
        keys.take_with(key, |word| match (word, enabled) {
            ("deny", true) => Ok(()),
            (_, true) => Err("the sandbox refuses all that it does not need; expected deny"),
            (_, false) => Err("there is no sandbox to refuse anything"),
        })?;
    }
    Ok(enabled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(text: &str) -> Result<bool, String> {
        parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn options_of_qemus_sandbox_are_accepted_if_they_hold() {
        assert_eq!(sandbox("on"), Ok(true));
        assert_eq!(sandbox("enable=off"), Ok(false));
        let all = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
        assert_eq!(sandbox(all), Ok(true));
        assert_eq!(
            sandbox("on,spawn=allow"),
            Err("spawn=allow: the sandbox refuses all that it does not need; expected deny".into())
        );
        assert_eq!(
            sandbox("off,spawn=deny"),
            Err("spawn=deny: there is no sandbox to refuse anything".into())
        );
        assert_eq!(
            sandbox("maybe"),
            Err("enable=maybe: expected on or off".into())
        );
    }
}
