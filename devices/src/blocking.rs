//! Blocking reads and writes, whatever the mode of the descriptor.
//!
//! `O_NONBLOCK` belongs to the open file, which a shell, a terminal multiplexer or a parent shares with the program: it
//! is neither set nor cleared here. After EAGAIN, poll(2) waits.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

/// A descriptor whose reads and writes block until they can proceed, and are not interrupted.
#[derive(Debug)]
pub struct Blocking<T>(pub T);

impl<T: AsFd> Blocking<T> {
    fn until_done(
        &mut self,
        direction: PollFlags,
        mut call: impl FnMut(&mut T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match call(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut wanted = [PollFd::new(&self.0, direction)];
                    match poll(&mut wanted, None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                result => return result,
            }
        }
    }
}

impl<T: AsFd + Read> Read for Blocking<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.until_done(PollFlags::IN, |descriptor| descriptor.read(bytes))
    }
}

impl<T: AsFd + Write> Write for Blocking<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.until_done(PollFlags::OUT, |descriptor| descriptor.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    #[test]
    fn a_descriptor_that_does_not_wait_is_waited_for_in_both_directions() {
        let (writer, reader) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        reader.set_nonblocking(true).unwrap();
        // Many times the socket's capacity.
        let text: Vec<u8> = (0..=250u8).cycle().take(4 << 20).collect();
        let expected = text.clone();
        let writing = thread::spawn(move || Blocking(writer).write_all(&text));
        let mut read = Vec::new();
        Blocking(reader).read_to_end(&mut read).unwrap();
        writing.join().unwrap().unwrap();
        assert!(read == expected);
    }

    #[test]
    fn a_write_that_waits_ends_when_its_reader_has_gone() {
        let (writer, reader) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let writing = thread::spawn(move || Blocking(writer).write_all(&vec![0; 4 << 20]));
        drop(reader);
        let error = writing.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
