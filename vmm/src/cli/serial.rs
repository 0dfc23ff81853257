//! `--serial`.

use std::path::PathBuf;

use faultvisor_monitor::option_syntax::{KeyValues, OptionError, switch};

/// The sink and source of the guest's first serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SerialPort {
    /// Standard input and output; a terminal is put into raw mode.
    Stdio,
    /// Output to a file, which is created or truncated; no input.
    File(PathBuf),
    /// A unix socket for one client at a time.
    Unix(PathBuf),
    /// None.
    Null,
}

/// A text is not a serial port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// An unknown word.
    #[error("'{0}' is not one of stdio, file:PATH, unix:PATH, null")]
    Unknown(String),
    /// QEMU's sharing of standard input with a human monitor.
    #[error(
        "'{0}': there is no monitor for people to share it with; use --serial stdio, where Ctrl-A X ends the program, \
         and --qmp for a monitor"
    )]
    Shared(String),
    /// QEMU's way to have no port.
    #[error("'none': the machine always has its serial port; use null")]
    NoPort,
    /// The keys behind a path.
    #[error(transparent)]
    Key(#[from] OptionError),
}

pub(super) fn parse(text: &str) -> Result<SerialPort, SerialError> {
    match text.split_once(':') {
        None if text == "stdio" => Ok(SerialPort::Stdio),
        None if text == "null" => Ok(SerialPort::Null),
        None if text == "none" => Err(SerialError::NoPort),
        Some(("mon", _)) => Err(SerialError::Shared(text.to_owned())),
        Some(("file", path)) if !path.is_empty() => Ok(SerialPort::File(path.into())),
        Some(("unix", rest)) if !rest.is_empty() => Ok(SerialPort::Unix(socket(rest)?)),
        _ => Err(SerialError::Unknown(text.to_owned())),
    }
}

/// The path of a socket, and QEMU's `server=on,wait=off` behind it, which holds here; other values are refused.
fn socket(text: &str) -> Result<PathBuf, OptionError> {
    let mut keys = KeyValues::parse_implying(
        "path",
        text,
        &["path", "server", "wait"],
        &[("server", "server", "on"), ("nowait", "wait", "off")],
    )?;
    let server = keys.take_with("server", |word| match switch(word)? {
        true => Ok(()),
        false => Err("the socket is listened on: only server=on is supported"),
    })?;
    let wait = keys.take_with("wait", |word| match switch(word)? {
        false => Ok(()),
        true => Err("only wait=off is supported"),
    })?;
    if server.is_some() && wait.is_none() {
        return Err(OptionError::Value {
            key: "server",
            value: "on".to_owned(),
            reason: "QEMU would wait for a client, which is not supported: add wait=off".to_owned(),
        });
    }
    let path = keys.take_with("path", |path| match path {
        "" => Err("expected a path"),
        path => Ok(PathBuf::from(path)),
    })?;
    path.ok_or(OptionError::Missing("path"))
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
        for text in [
            "unix:/s,server=on,wait=off",
            "unix:/s,server,nowait",
            "unix:path=/s",
            "unix:/s,wait=off",
        ] {
            assert_eq!(parse(text), unix, "{text}");
        }
        assert_eq!(parse("unix:/a,,b"), Ok(SerialPort::Unix("/a,b".into())));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for text in ["", "file:", "unix:", "pty", "stdio:", "tcp::4444", "vc"] {
            assert_eq!(parse(text), Err(SerialError::Unknown(text.into())));
        }
        let error = |text| parse(text).unwrap_err().to_string();
        assert_eq!(
            error("unix:/s,wait=on"),
            "wait=on: only wait=off is supported"
        );
        for text in ["unix:/s,server=on", "unix:/s,server"] {
            let waits =
                "server=on: QEMU would wait for a client, which is not supported: add wait=off";
            assert_eq!(error(text), waits);
        }
        let client = "server=off: the socket is listened on: only server=on is supported";
        assert_eq!(error("unix:/s,server=off"), client);
        assert_eq!(error("unix:,wait=off"), "path=: expected a path");
        assert_eq!(
            error("unix:/s,wiat=off"),
            "unknown key 'wiat'; did you mean 'wait'?"
        );
        let shared = "'mon:stdio': there is no monitor for people to share it with; use --serial stdio, where Ctrl-A X \
                      ends the program, and --qmp for a monitor";
        assert_eq!(error("mon:stdio"), shared);
        assert_eq!(
            error("none"),
            "'none': the machine always has its serial port; use null"
        );
    }
}
