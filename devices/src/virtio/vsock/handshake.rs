//! The line with which a client on the host says where it wants to be connected to: `CONNECT PORT`, as in Firecracker.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvFlags, recv};

/// The longest line, with the largest port and its end.
const LONGEST: usize = "CONNECT 4294967295\r\n".len();

/// The part of the line that has arrived.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    line: [u8; LONGEST],
    length: usize,
}

/// What a client's bytes amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The line is not complete.
    Waiting,
    /// The guest's port.
    Port(u32),
    /// It will not become such a line.
    Refused,
}

impl Handshake {
    /// Reads from the client, not past the end of the line: what follows belongs to the stream.
    ///
    /// # Errors
    ///
    /// When the socket cannot be read, but not for want of bytes.
    pub(super) fn read(&mut self, mut client: &UnixStream) -> io::Result<Progress> {
        loop {
            let room = &mut self.line[self.length..];
            if room.is_empty() {
                return Ok(Progress::Refused);
            }
            let seen = match recv(client, &mut *room, RecvFlags::PEEK) {
                Ok((0, _)) => return Ok(Progress::Refused),
                Ok((seen, _)) => seen,
                Err(rustix::io::Errno::AGAIN) => return Ok(Progress::Waiting),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let end = room[..seen].iter().position(|byte| *byte == b'\n');
            // They are there: this does not wait.
            client.read_exact(&mut room[..end.map_or(seen, |end| end + 1)])?;
            self.length += seen;
            if let Some(end) = end {
                let line = &self.line[..self.length - seen + end];
                return Ok(port(line).map_or(Progress::Refused, Progress::Port));
            }
        }
    }
}

fn port(line: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(line).ok()?;
    let (word, port) = line.trim_ascii_end().split_once(' ')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = is_number.then(|| port.parse().ok())??;
    word.eq_ignore_ascii_case("connect").then_some(port)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        let (client, server) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, server)
    }

    #[test]
    fn a_line_that_arrives_in_pieces_is_read_and_no_byte_behind_it() {
        let (mut client, mut server) = pair();
        let mut handshake = Handshake::default();
        assert_eq!(handshake.read(&server).unwrap(), Progress::Waiting);
        for piece in ["CON", "NECT 12", "34"] {
            client.write_all(piece.as_bytes()).unwrap();
            assert_eq!(handshake.read(&server).unwrap(), Progress::Waiting);
        }
        client.write_all(b"5\nGET /\n").unwrap();
        assert_eq!(handshake.read(&server).unwrap(), Progress::Port(12345));
        drop(client);
        let mut rest = String::new();
        server.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "GET /\n");
    }

    #[test]
    fn other_lines_are_refused() {
        for (line, expected) in [
            ("CONNECT 1\n", Progress::Port(1)),
            ("connect 1\r\n", Progress::Port(1)),
            ("CONNECT 4294967295\r\n", Progress::Port(u32::MAX)),
            ("CONNECT 4294967296\n", Progress::Refused),
            ("CONNECT +1\n", Progress::Refused),
            ("CONNECT -1\n", Progress::Refused),
            ("CONNECT \n", Progress::Refused),
            ("CONNECT\n", Progress::Refused),
            ("CONNECT 1 2\n", Progress::Refused),
            ("\n", Progress::Refused),
            ("CONN\u{e9}CT 1\n", Progress::Refused),
            (
                "CONNECT 0000000000000000000000000000001\n",
                Progress::Refused,
            ),
        ] {
            let (mut client, server) = pair();
            client.write_all(line.as_bytes()).unwrap();
            let read = Handshake::default().read(&server).unwrap();
            assert_eq!(read, expected, "{line:?}");
        }
    }

    #[test]
    fn a_client_that_leaves_amid_its_line_is_refused() {
        let (mut client, server) = pair();
        let mut handshake = Handshake::default();
        client.write_all(b"CONNECT 1").unwrap();
        assert_eq!(handshake.read(&server).unwrap(), Progress::Waiting);
        drop(client);
        assert_eq!(handshake.read(&server).unwrap(), Progress::Refused);
    }
}
