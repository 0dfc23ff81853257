//! `--serial`.

use std::path::PathBuf;

use super::key_value::{KeyError, KeyValues, switch};

/// Where the guest's first serial port goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SerialPort {
    /// Standard input and output; a terminal is put into raw mode.
    Stdio,
    /// Output to a file, which is made or emptied; no input.
    File(PathBuf),
    /// A unix socket that one client at a time can connect to.
    Unix(PathBuf),
    /// Nowhere.
    Null,
}

/// Why a text is no serial port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// Another word than the four.
    #[error("'{0}' is not one of stdio, file:PATH, unix:PATH, null")]
    Unknown(String),
    /// What follows a path.
    #[error(transparent)]
    Key(#[from] KeyError),
}

pub(super) fn parse(text: &str) -> Result<SerialPort, SerialError> {
    match text.split_once(':') {
        None if text == "stdio" => Ok(SerialPort::Stdio),
        None if text == "null" || text == "none" => Ok(SerialPort::Null),
        Some(("file", path)) if !path.is_empty() => Ok(SerialPort::File(path.into())),
        Some(("unix", rest)) if !rest.is_empty() => {
            let (path, options) = rest.split_once(',').unwrap_or((rest, ""));
            if !options.is_empty() {
                check_socket_options(options)?;
            }
            Ok(SerialPort::Unix(path.into()))
        }
        _ => Err(SerialError::Unknown(text.to_owned())),
    }
}

/// QEMU's `server=on,wait=off` is what happens anyway; the opposites are not to be had.
fn check_socket_options(options: &str) -> Result<(), KeyError> {
    let mut keys = KeyValues::parse(options, &["server", "wait"])?;
    keys.take_with("server", |word| match switch(word)? {
        true => Ok(()),
        false => Err("only server=on is supported"),
    })?;
    keys.take_with("wait", |word| match switch(word)? {
        false => Ok(()),
        true => Err("only wait=off is supported"),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_kinds_of_port_are_understood() {
        assert_eq!(parse("stdio"), Ok(SerialPort::Stdio));
        assert_eq!(parse("null"), Ok(SerialPort::Null));
        assert_eq!(parse("file:/a:b"), Ok(SerialPort::File("/a:b".into())));
        let unix = Ok(SerialPort::Unix("/s".into()));
        assert_eq!(parse("unix:/s"), unix);
        assert_eq!(parse("unix:/s,server=on,wait=off"), unix);
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for text in ["", "file:", "unix:", "pty", "stdio:"] {
            assert_eq!(parse(text), Err(SerialError::Unknown(text.into())));
        }
        let error = parse("unix:/s,wait=on").unwrap_err().to_string();
        assert_eq!(error, "wait=on: only wait=off is supported");
    }
}
