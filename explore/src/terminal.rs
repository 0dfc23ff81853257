//! This process's terminal, while a program in a guest has one.

use std::io::{IsTerminal, stdin};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::failure::Failure;

/// The terminal's settings before [`Raw::begin`].
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input as a terminal that passes every byte on, until this is dropped.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Switches to it.
    ///
    /// # Errors
    ///
    /// Standard input is no terminal.
    pub fn begin() -> Result<Self, Failure> {
        if !stdin().is_terminal() {
            return Err(Failure::Usage(
                "standard input is no terminal, as --tty and 'fvctl shell' need".to_owned(),
            ));
        }
        let refused = "cannot change the terminal";
        let before = tcgetattr(stdin()).map_err(|error| Failure::host(refused)(error.into()))?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let switched = tcsetattr(stdin(), OptionalActions::Now, &raw);
        switched.map_err(|error| Failure::host(refused)(error.into()))?;
        Ok(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal's settings back, if they were changed.
pub fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // The terminal may be gone.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}

/// The size of the terminal, in rows and columns; 24 by 80 where it has none.
pub fn size() -> (u16, u16) {
    match tcgetwinsize(stdin()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => (24, 80),
    }
}
