//! The only thread that writes on standard error, and waits for its reader.

use std::io::Write;
use std::time::{Duration, Instant};

use super::limiter::Limiter;
use super::queue::{LineQueue, Work};

/// The first pause after a failed write. Each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: a full disk may have room again, a FIFO another reader.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Writes what is queued, for ever.
pub(super) fn run(queue: &LineQueue, limiter: &Limiter, sink: &mut impl Write) -> ! {
    loop {
        match queue.next() {
            Work::Alarm => limiter.tell(Instant::now()),
            Work::Write(piece) => write(queue, &piece, sink),
        }
    }
}

/// Writes a piece, in as many writes as it takes. No error of standard error is final.
fn write(queue: &LineQueue, mut piece: &[u8], sink: &mut impl Write) {
    let mut pause = PAUSE;
    while !piece.is_empty() {
        match sink.write(piece) {
            Ok(count) if count > 0 => {
                piece = &piece[count.min(piece.len())..];
                queue.written(count);
                pause = PAUSE;
            }
            Ok(_) | Err(_) => {
                queue.failed(pause);
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::logging::queue::Weight;

    /// A disk that is full at times, and takes little at a time.
    struct Full {
        turn: u32,
        taken: Vec<u8>,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turn += 1;
            if self.turn.is_multiple_of(3) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(7);
            self.taken.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn failed_writes_are_repeated_once() {
        let queue = LineQueue::default();
        let mut sink = Full {
            turn: 0,
            taken: Vec::new(),
        };
        queue.push(b"the first line\n", Weight::Ordinary);
        queue.push(b"the second\n", Weight::Ordinary);
        let piece = queue.try_next().unwrap();
        write(&queue, &piece, &mut sink);
        assert_eq!(sink.taken, b"the first line\nthe second\n");
        queue.drain(Duration::from_secs(3600), Duration::from_secs(3600));
    }
}
