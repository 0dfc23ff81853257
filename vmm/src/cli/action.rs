//! `--action`: the responses to a reset, a shutdown and a panic of the guest.

use faultvisor_schema::{PanicAction, RebootAction, ShutdownAction};

use faultvisor_monitor::option_syntax::{KeyValues, OptionError};

/// The responses to a reset, a shutdown and a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions {
    /// To a reset. `--no-reboot` is `shutdown`.
    pub reboot: RebootAction,
    /// To a shutdown. `--no-shutdown` is `pause`.
    pub shutdown: ShutdownAction,
    /// To a panic.
    pub panic: PanicAction,
}

impl Default for Actions {
    /// As in QEMU.
    fn default() -> Self {
        Self {
            reboot: RebootAction::Reset,
            shutdown: ShutdownAction::Poweroff,
            panic: PanicAction::Shutdown,
        }
    }
}

impl Actions {
    /// Applies an option's text, and leaves the other responses unchanged.
    pub(super) fn set(&mut self, text: &str) -> Result<(), OptionError> {
        let mut keys = KeyValues::parse(text, &["reboot", "shutdown", "panic"])?;
        let take = &mut keys;
        set_to(
            &mut self.reboot,
            take,
            "reboot",
            RebootAction::ALL,
            RebootAction::name,
        )?;
        set_to(
            &mut self.shutdown,
            take,
            "shutdown",
            ShutdownAction::ALL,
            ShutdownAction::name,
        )?;
        set_to(
            &mut self.panic,
            take,
            "panic",
            PanicAction::ALL,
            PanicAction::name,
        )
    }
}

/// Sets the response that a key names, if the key is present.
fn set_to<T: Copy>(
    action: &mut T,
    keys: &mut KeyValues,
    key: &'static str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<(), OptionError> {
    let parse = |word: &str| {
        let found = all.iter().copied().find(|&action| name(action) == word);
        let expected = || {
            all.iter()
                .map(|&action| name(action))
                .collect::<Vec<_>>()
                .join(", ")
        };
        found.ok_or_else(|| format!("expected {}", expected()))
    };
    if let Some(found) = keys.take_with(key, parse)? {
        *action = found;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_changes_what_it_names() {
        let mut actions = Actions::default();
        actions.set("panic=exit-failure,reboot=shutdown").unwrap();
        let expected = Actions {
            reboot: RebootAction::Shutdown,
            shutdown: ShutdownAction::Poweroff,
            panic: PanicAction::ExitFailure,
        };
        assert_eq!(actions, expected);
        actions.set("panic=none").unwrap();
        assert_eq!(
            actions,
            Actions {
                panic: PanicAction::None,
                ..expected
            }
        );
    }

    #[test]
    fn an_unknown_action_is_refused_with_the_known_ones() {
        let wrong = |text| Actions::default().set(text).unwrap_err().to_string();
        assert_eq!(
            wrong("panic=reboot"),
            "panic=reboot: expected pause, shutdown, exit-failure, none"
        );
        assert_eq!(
            wrong("painc=pause"),
            "unknown key 'painc'; did you mean 'panic'?"
        );
    }
}
