//! `--vsock`: sockets between guest and host, in cloud-hypervisor's syntax.

use std::path::PathBuf;

use faultvisor_devices::virtio::vsock::{GuestCid, MAX_PATH};
use faultvisor_monitor::option_syntax::{KeyValues, OptionError};

const KEYS: &[&str] = &["cid", "socket"];

/// The vsock device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vsock {
    /// The guest's CID.
    pub cid: GuestCid,
    /// The socket of the host's clients, and the beginning of the paths of its listeners.
    pub socket: PathBuf,
}

/// Parses a device.
pub(super) fn parse(text: &str) -> Result<Vsock, OptionError> {
    let mut keys = KeyValues::parse(text, KEYS)?;
    let cid = keys.take_with("cid", cid)?;
    let socket = keys.take_with("socket", socket)?;
    Ok(Vsock {
        cid: cid.ok_or(OptionError::Missing("cid"))?,
        socket: socket.ok_or(OptionError::Missing("socket"))?,
    })
}

fn cid(word: &str) -> Result<GuestCid, &'static str> {
    let cid = word.parse().ok().and_then(GuestCid::new);
    cid.ok_or("expected a number from 3 to 4294967294")
}

fn socket(word: &str) -> Result<PathBuf, String> {
    match word.len() {
        0 => Err("expected the path of a unix socket".to_owned()),
        1..=MAX_PATH => Ok(word.into()),
        length => Err(format!(
            "a path of {length} bytes is too long: {MAX_PATH} is the most, so that '_' and a port fit behind it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_device_has_a_cid_and_a_socket() {
        let vsock = parse("cid=3,socket=/run/guest/vsock").unwrap();
        assert_eq!(vsock.cid.get(), 3);
        assert_eq!(vsock.socket, PathBuf::from("/run/guest/vsock"));
        assert_eq!(
            parse("socket=a,,b,cid=4294967294").unwrap().socket,
            PathBuf::from("a,b")
        );
        for text in ["cid=3", "socket=a"] {
            assert!(error(text).contains("missing"), "{}", error(text));
        }
        assert!(error("cid=3,socket=a,port=1").starts_with("unknown key 'port'"));
    }

    #[test]
    fn what_no_guest_can_have_is_refused_with_what_it_can() {
        for cid in ["2", "0", "-1", "4294967295", "4294967298", "x", ""] {
            let expected = format!("cid={cid}: expected a number from 3 to 4294967294");
            assert_eq!(error(&format!("cid={cid},socket=a")), expected);
        }
        let longest = "x".repeat(MAX_PATH);
        assert!(parse(&format!("cid=3,socket={longest}")).is_ok());
        let error = error(&format!("cid=3,socket={longest}y"));
        assert!(error.ends_with("a path of 97 bytes is too long: 96 is the most, so that '_' and a port fit behind it"), "{error}");
        let empty = parse("cid=3,socket=").unwrap_err().to_string();
        assert_eq!(empty, "socket=: expected the path of a unix socket");
    }
}
