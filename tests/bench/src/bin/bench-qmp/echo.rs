//! The floor: a process that echoes what it receives on a unix socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::Measured;

/// Serves one client until it disconnects.
pub fn serve(socket: &Path) -> Measured {
    let (mut stream, _) = UnixListener::bind(socket)?.accept()?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => stream.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
