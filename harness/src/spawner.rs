//! Starts processes on a thread that lives as long as this process does.
//!
//! An orphan is killed when the thread that started it ends, and tests run on threads of their own: a machine that
//! several tests share, as by a `LazyLock`, must not end with the first of them.

use std::io;
use std::mem;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;

use crate::child::Guarded;

/// A command to start, and where to send the result.
type Order = (Command, Sender<(Command, io::Result<Guarded>)>);

/// Starts `command`. The process is killed when the guard is dropped, or when this process ends.
pub fn spawn(command: &mut Command) -> io::Result<Guarded> {
    let gone = || io::Error::other("the thread that starts processes has ended");
    let (answer, answered) = mpsc::channel();
    let order = (mem::replace(command, Command::new("")), answer);
    orders()?.send(order).map_err(|_| gone())?;
    let (returned, started) = answered.recv().map_err(|_| gone())?;
    *command = returned;
    started
}

fn orders() -> io::Result<Sender<Order>> {
    static ORDERS: OnceLock<Sender<Order>> = OnceLock::new();
    if let Some(orders) = ORDERS.get() {
        return Ok(orders.clone());
    }
    let (orders, incoming) = mpsc::channel::<Order>();
    thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || {
            for (mut command, answer) in incoming {
                let started = Guarded::spawn(&mut command);
                // If the caller has gone meanwhile, the process is killed.
                let _ = answer.send((command, started));
            }
        })?;
    // Of two threads started at once, one ends immediately, as it has no orders.
    Ok(ORDERS.get_or_init(|| orders).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_process_outlives_the_thread_that_spawned_it() {
        let started = thread::spawn(|| spawn(Command::new("sleep").arg("1000")));
        let mut process = started.join().unwrap().unwrap();
        let deadline = Instant::now() + Duration::from_millis(100);
        assert_eq!(process.wait_until(deadline).unwrap(), None);
    }

    #[test]
    fn a_command_can_be_reused_after_spawning() {
        let mut command = Command::new("/no/such/program");
        command.arg("word");
        let error = spawn(&mut command).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(command.get_program(), "/no/such/program");
        assert_eq!(command.get_args().count(), 1);
    }
}
