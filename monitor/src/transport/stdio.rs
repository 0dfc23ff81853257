//! Standard input and output as one stream.
//!
//! The session has one end of a socket pair; two threads copy between the other end and the descriptors. Neither
//! descriptor is made non-blocking (the mode belongs to the open file description, which the shell and every other
//! program on the terminal share), a regular file works (epoll refuses those), and a slow reader blocks only its own
//! thread. A descriptor that another program made non-blocking is waited for by poll(2).

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::thread::{ThreadKind, ThreadStart};
use crate::transport::stream::Stream;

/// The thread that writes the session's output.
#[derive(Debug)]
pub(crate) struct Pump {
    done: Receiver<()>,
}

impl Pump {
    /// Waits until all output has been written, for at most `time`. The session must have been dropped.
    pub(crate) fn wait(&self, time: Duration) {
        let _ = self.done.recv_timeout(time);
    }
}

/// Makes one stream of this process's standard input and output.
pub(crate) fn open(start: &ThreadStart) -> io::Result<(Stream, Pump)> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    join(input, output, start)
}

/// Joins an input and an output to one stream.
fn join(
    input: impl Read + AsFd + Send + 'static,
    output: impl Write + AsFd + Send + 'static,
    start: &ThreadStart,
) -> io::Result<(Stream, Pump)> {
    let (near, far) = UnixStream::pair()?;
    let from_far = far.try_clone()?;
    let (sender, done) = sync_channel(1);
    let (reading, writing) = (start.clone(), start.clone());
    thread::Builder::new()
        .name("monitor-stdin".to_owned())
        .spawn(move || {
            reading.begin(ThreadKind::Stdio);
            read_input(input, &far);
        })?;
    thread::Builder::new()
        .name("monitor-stdout".to_owned())
        .spawn(move || {
            writing.begin(ThreadKind::Stdio);
            write_output(from_far, output, &sender);
        })?;
    Ok((Stream::unix(near)?, Pump { done }))
}

/// Waits until a descriptor is ready.
fn wait_for(descriptor: &impl AsFd, ready: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(descriptor, ready)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn read_input(mut input: impl Read + AsFd, mut far: &UnixStream) {
    // The socket blocks: EAGAIN is the input's.
    while let Err(error) = io::copy(&mut input, &mut far) {
        if error.kind() != ErrorKind::WouldBlock || wait_for(&input, PollFlags::IN).is_err() {
            break;
        }
    }
    // The session sees the end of its input, after an error too.
    let _ = far.shutdown(Shutdown::Write);
}

/// Writes all bytes, and waits for a non-blocking output.
fn write_whole(output: &mut (impl Write + AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_for(output, PollFlags::OUT)?;
            }
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

fn write_output(mut far: UnixStream, mut output: impl Write + AsFd, done: &SyncSender<()>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = far.read(&mut buffer) {
        let written = write_whole(&mut output, &buffer[..count]);
        if count == 0 {
            // The session has ended: unblocks the input thread's write.
            let _ = far.shutdown(Shutdown::Both);
            break;
        }
        if written.is_err() {
            // The session learns that its output is not read. It still executes its input.
            let _ = far.shutdown(Shutdown::Read);
            break;
        }
    }
    let _ = done.try_send(());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways_and_the_end_of_input_arrives() {
        let (mut input, typed) = UnixStream::pair().unwrap();
        let (printed, output) = UnixStream::pair().unwrap();
        let (stream, pump) = join(typed, output, &ThreadStart::default()).unwrap();
        let Stream::Unix(mut stream) = stream else {
            panic!("a unix stream")
        };
        stream.set_nonblocking(false).unwrap();
        input.write_all(b"hello").unwrap();
        drop(input);
        let mut read = Vec::new();
        stream.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"hello");
        stream.write_all(b"world").unwrap();
        drop(stream);
        let mut read = Vec::new();
        let mut printed = printed;
        printed.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"world");
        pump.wait(Duration::from_secs(60));
    }

    #[test]
    fn input_arrives_though_the_output_is_not_read() {
        let (mut input, typed) = UnixStream::pair().unwrap();
        let (printed, output) = UnixStream::pair().unwrap();
        let (stream, pump) = join(typed, output, &ThreadStart::default()).unwrap();
        let Stream::Unix(mut stream) = stream else {
            panic!("a unix stream")
        };
        stream.set_nonblocking(false).unwrap();
        drop(printed);
        stream.write_all(b"greeting").unwrap();
        pump.wait(Duration::from_secs(60));
        input.write_all(b"hello").unwrap();
        drop(input);
        let mut read = Vec::new();
        stream.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"hello");
        assert_eq!(
            stream.write(b"more").unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn input_and_output_that_do_not_wait_are_waited_for() {
        let (mut input, typed) = UnixStream::pair().unwrap();
        let (mut printed, output) = UnixStream::pair().unwrap();
        typed.set_nonblocking(true).unwrap();
        output.set_nonblocking(true).unwrap();
        let (stream, pump) = join(typed, output, &ThreadStart::default()).unwrap();
        let Stream::Unix(mut stream) = stream else {
            panic!("a unix stream")
        };
        stream.set_nonblocking(false).unwrap();
        // A byte is present when the thread begins to read, or arrives later.
        for byte in [b'a', b'b'] {
            input.write_all(&[byte]).unwrap();
            let mut read = [0];
            stream.read_exact(&mut read).unwrap();
            assert_eq!(read, [byte]);
        }
        // Many times the socket's buffer.
        let text: Vec<u8> = (0..=250u8).cycle().take(4 << 20).collect();
        let expected = text.clone();
        let saying = thread::spawn(move || stream.write_all(&text));
        let mut read = Vec::new();
        printed.read_to_end(&mut read).unwrap();
        assert!(read == expected);
        saying.join().unwrap().unwrap();
        pump.wait(Duration::from_secs(60));
    }
}
