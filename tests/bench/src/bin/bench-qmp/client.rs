//! A client with minimal cost: it parses lines only as far as a measurement needs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use faultvisor_tests::wire;

use crate::Measured;

/// The timeout of each wait in a measurement.
pub const PATIENCE: Duration = Duration::from_secs(60);
const BUFFER_SIZE: usize = 256 * 1024;

/// A connection and its read buffer.
pub struct Client {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Client {
    /// Connects, retrying until something listens there.
    pub fn connect(path: &Path) -> Measured<Self> {
        let stream = wire::connect(path, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            reader: BufReader::with_capacity(BUFFER_SIZE, stream.try_clone()?),
            stream,
            line: Vec::new(),
        })
    }

    /// Sends bytes unchanged.
    pub fn send(&mut self, bytes: &[u8]) -> Measured {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> Measured<&[u8]> {
        self.line.clear();
        self.reader.read_until(b'\n', &mut self.line)?;
        match self.line.strip_suffix(b"\n") {
            Some(line) => Ok(line.strip_suffix(b"\r").unwrap_or(line)),
            None => Err("the server closed the connection".into()),
        }
    }

    /// The length of the last line, with its end.
    pub fn line_length(&self) -> u64 {
        self.line.len() as u64
    }

    /// The next line, which has to be a successful answer.
    pub fn answer(&mut self) -> Measured<&[u8]> {
        let line = self.line()?;
        if line.starts_with(b"{\"return\"") {
            Ok(line)
        } else {
            Err(format!("no answer: {}", String::from_utf8_lossy(line)).into())
        }
    }

    /// Executes a command without arguments.
    pub fn execute(&mut self, command: &str) -> Measured<&[u8]> {
        self.send(request(command).as_bytes())?;
        self.answer()
    }

    /// Reads the greeting and completes the negotiation; without default events where the server can disable them.
    pub fn negotiate(&mut self) -> Measured {
        let is_ours = self.line()?.windows(10).any(|word| word == b"faultvisor");
        if is_ours {
            self.execute("disable-default-events")?;
        }
        self.execute("qmp_capabilities").map(drop)
    }
}

/// Encodes a command without arguments.
pub fn request(command: &str) -> String {
    format!("{{\"execute\": \"{command}\"}}\r\n")
}
