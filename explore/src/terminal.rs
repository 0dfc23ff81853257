//! This process's terminal, while a program in a guest has one.

use std::io::{IsTerminal, stdin};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::failure::Failure;

/// Standard input as a terminal that passes every byte on, until this is dropped.
#[derive(Debug)]
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Switches to it.
    ///
    /// # Errors
    ///
    /// Standard input is no terminal.
    pub fn begin() -> Result<Self, Failure> {
        if !stdin().is_terminal() {
            return Err(Failure::Usage(
                "standard input is no terminal: run this without --tty".to_owned(),
            ));
        }
        let refused = "cannot change the terminal";
        let before = tcgetattr(stdin()).map_err(|error| Failure::host(refused)(error.into()))?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)
            .map_err(|error| Failure::host(refused)(error.into()))?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// The size of the terminal, in rows and columns; 24 by 80 where it has none.
pub fn size() -> (u16, u16) {
    match tcgetwinsize(stdin()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row, size.ws_col),
        _ => (24, 80),
    }
}
