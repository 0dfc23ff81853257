//! A run's thread: moves bytes between the program's pipes and the client, and waits for nothing but all of them.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::frame::Kind;
use faultvisor_agent_protocol::run::{
    Ending, Exit, KEPT_BYTES, MOST_KEPT_BYTES, Run, Started, Stream,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::client::{Client, Gone};
use super::deadlines::Deadlines;
use super::output::Output;
use super::registry::Entry;
use super::spawn::Spawned;
use crate::agent::Agent;
use crate::serve::malformed;

/// The least that is kept of each stream.
const LEAST_KEPT_BYTES: u64 = 64 << 10;
/// The input that waits for the program.
const INPUT_BYTES: usize = 64 << 10;
/// The bytes of one read.
const READ_BYTES: usize = 32 << 10;
/// What ends input on a terminal.
const END_OF_TRANSMISSION: u8 = 4;

/// A run's thread.
pub struct Driver {
    agent: Arc<Agent>,
    entry: Arc<Entry>,
    client: Option<Client>,
    outputs: [Output; 2],
    input: Input,
    started: Instant,
    deadlines: Deadlines,
    exit: Option<Exit>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Input {
    pipe: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    ends: bool,
    is_terminal: bool,
}

/// What became of waiting.
struct Ready {
    client: PollFlags,
    outputs: [bool; 2],
    input: bool,
}

impl Driver {
    /// The thread of a program that has been started.
    pub fn new(agent: Arc<Agent>, spawned: Spawned, request: &Run) -> Self {
        let kept = request.kept_bytes.unwrap_or(KEPT_BYTES);
        let kept = kept.clamp(LEAST_KEPT_BYTES, MOST_KEPT_BYTES);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        Self {
            agent,
            entry: spawned.entry,
            client: None,
            outputs: [
                Output::new(Stream::Output, spawned.output, kept),
                Output::new(Stream::Errors, spawned.errors, kept),
            ],
            input: Input {
                pipe: spawned.input,
                waiting: VecDeque::new(),
                ends: false,
                is_terminal: request.terminal.is_some(),
            },
            started: spawned.started,
            deadlines: Deadlines::new(spawned.started, request.limit_ms),
            exit: None,
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Drives it until it has ended and a client knows, or it is forgotten.
    pub fn drive(mut self, client: Client) {
        self.take(client);
        while !self.step() {}
        let late = self.entry.mailbox.close();
        self.agent.runs.remove(self.entry.id);
        if let Some(mut late) = late {
            late.fail(&super::registry::no_such_run(self.entry.id));
        }
        self.client = None;
        self.outlive();
        self.entry.group.tidy();
    }

    /// One turn; whether it was the last.
    fn step(&mut self) -> bool {
        self.entry.mailbox.clear();
        if let Some((client, received)) = self.entry.mailbox.take_client() {
            let [output, errors] = &mut self.outputs;
            output.resume(received.output);
            errors.resume(received.errors);
            self.take(client);
        }
        if self.entry.mailbox.is_forgotten() {
            return true;
        }
        self.note_end();
        self.enforce_deadlines();
        if self.converse().is_err() {
            self.leave();
        }
        let Some(ready) = self.wait() else {
            return false;
        };
        for (output, is_ready) in self.outputs.iter_mut().zip(ready.outputs) {
            if is_ready || self.exit.is_some() {
                output.read(&mut self.buffer, self.client.is_some());
            }
        }
        if ready.input {
            self.input.write();
        }
        match self.listen(ready.client) {
            Ok(is_done) => is_done,
            Err(Gone) => {
                self.leave();
                false
            }
        }
    }

    fn take(&mut self, mut client: Client) {
        let started = Started {
            run: self.entry.id,
            pid: self.entry.group.id(),
        };
        let taken = client.set_nonblocking();
        if taken
            .and_then(|()| client.say(Kind::Answer, &started))
            .is_ok()
        {
            self.client = Some(client);
        }
    }

    fn leave(&mut self) {
        self.client = None;
        if self.exit.is_some() {
            self.abandon();
        }
    }

    fn abandon(&self) {
        self.entry.mailbox.abandon();
        self.agent.runs.forget_excess();
    }

    fn note_end(&mut self) {
        if self.exit.is_some() {
            return;
        }
        if let Some((ending, at)) = self.entry.mailbox.ending() {
            self.exit = Some(self.exit(ending, at));
            self.input.pipe = None;
            self.input.waiting = VecDeque::new();
            for output in &mut self.outputs {
                output.program_ended();
            }
            if self.client.is_none() {
                self.abandon();
            }
        }
    }

    fn exit(&self, ending: Ending, at: Instant) -> Exit {
        let duration = at.saturating_duration_since(self.started);
        Exit {
            ending,
            timed_out: self.deadlines.timed_out(),
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        }
    }

    fn enforce_deadlines(&mut self) {
        if let Some(at) = self.entry.mailbox.take_kill() {
            self.deadlines.kill_requested(at);
        }
        if self.exit.is_some() {
            return;
        }
        let now = Instant::now();
        if self.deadlines.pass_limit(now) {
            self.entry.group.kill();
        }
        if let Some(client) = &mut self.client
            && self.deadlines.is_overdue(now)
        {
            let why = if self.deadlines.timed_out() {
                "the program's time limit has passed, and it"
            } else {
                "the program"
            };
            let message = format!(
                "{why} does not end although it was killed: it waits in the kernel, as for a disk that does not answer"
            );
            client.fail(&Failure::new(FailureKind::Unkillable, message));
            self.client = None;
            self.deadlines.overdue_told();
        }
    }

    /// Queues and writes what there is for the client.
    fn converse(&mut self) -> Result<(), Gone> {
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        loop {
            client.flush()?;
            if !client.is_idle() || client.told_exit {
                return Ok(());
            }
            for output in &mut self.outputs {
                output.send(client)?;
            }
            let is_all = |output: &Output| output.is_drained() && output.is_sent();
            if let Some(exit) = &self.exit
                && client.is_idle()
                && self.outputs.iter().all(is_all)
            {
                client.say(Kind::Exit, exit)?;
                client.told_exit = true;
            }
            if client.is_idle() {
                return Ok(());
            }
        }
    }

    /// Waits until something can be done; `None` if that is not I/O.
    fn wait(&mut self) -> Option<Ready> {
        let has_client = self.client.is_some();
        let mut watched = vec![PollFd::new(&*self.entry.mailbox, PollFlags::IN)];
        let mut place = |descriptor, flags| {
            watched.push(PollFd::from_borrowed_fd(descriptor, flags));
            watched.len() - 1
        };
        let client = self.client.as_ref().map(|client| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::OUT, !client.is_idle());
            flags.set(PollFlags::IN, self.input.waiting.len() < INPUT_BYTES);
            place(client.as_fd(), flags)
        });
        let outputs = self.outputs.each_ref().map(|output| {
            let pipe = output.wanted(has_client)?;
            Some(place(pipe, PollFlags::IN))
        });
        let input = self.input.wanted().map(|pipe| place(pipe, PollFlags::OUT));
        match poll(&mut watched, self.time_left().as_ref()) {
            // After the program's end, its pipes are read whether they are ready or not.
            Ok(_) => {}
            Err(Errno::INTR) => return None,
            // Memory is short: the next turn tries again.
            Err(_) => return None,
        }
        let found = |place: usize| {
            watched
                .get(place)
                .map_or(PollFlags::empty(), PollFd::revents)
        };
        Some(Ready {
            client: client.map_or(PollFlags::empty(), found),
            outputs: outputs.map(|place| place.is_some_and(|place| !found(place).is_empty())),
            input: input.is_some_and(|place| !found(place).is_empty()),
        })
    }

    /// How long to wait at most; `None` if without a limit.
    fn time_left(&self) -> Option<Timespec> {
        let has_client = self.client.is_some();
        let is_draining =
            |output: &Output| !output.is_drained() && output.wanted(has_client).is_some();
        if self.exit.is_some() {
            // What the program has written is in its pipes: nothing more is waited for.
            let drains = self.outputs.iter().any(is_draining);
            return drains.then(Timespec::default);
        }
        // Without a client nobody is told that the program is overdue.
        let overdue = self.deadlines.overdue().filter(|_| has_client);
        let at = self.deadlines.limit().or(overdue)?;
        let left = at.saturating_duration_since(Instant::now());
        Some(Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        })
    }

    /// Reads what the client says; whether it knows of the end.
    fn listen(&mut self, ready: PollFlags) -> Result<bool, Gone> {
        let Some(client) = &mut self.client else {
            return Ok(false);
        };
        let wants_input = self.input.waiting.len() < INPUT_BYTES;
        if !wants_input {
            let is_over = ready.intersects(PollFlags::HUP | PollFlags::ERR);
            return if is_over { Err(Gone) } else { Ok(false) };
        }
        if !ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return Ok(false);
        }
        client.read()?;
        let (has_ended, told_exit) = (self.exit.is_some(), client.told_exit);
        loop {
            let frame = match client.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    client.fail(&malformed(&error));
                    return Err(Gone);
                }
            };
            match frame.kind {
                Kind::Input if !has_ended => self.input.accept(frame.payload),
                Kind::InputEnd => self.input.ends = true,
                Kind::Input => {}
                Kind::Done if told_exit => return Ok(true),
                kind => {
                    let message = format!("a frame '{kind:?}' is not expected by a run");
                    client.fail(&Failure::new(FailureKind::Malformed, message));
                    return Err(Gone);
                }
            }
        }
        self.input.write();
        Ok(false)
    }

    /// Reads what processes that outlive the program write, so that it does not stop them.
    fn outlive(&mut self) {
        self.input.pipe = None;
        for output in &mut self.outputs {
            output.discard();
        }
        while self.outputs.iter().any(Output::is_open) {
            let pipes = self
                .outputs
                .iter()
                .filter_map(|output| output.wanted(false));
            let mut watched: Vec<_> = pipes
                .map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN))
                .collect();
            // On an error, a read tells more.
            let _ = poll(&mut watched, None);
            drop(watched);
            for output in &mut self.outputs {
                output.read(&mut self.buffer, false);
            }
        }
    }
}

impl Input {
    fn wanted(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        let pipe = self.pipe.as_ref()?;
        (!self.waiting.is_empty()).then(|| pipe.as_fd())
    }

    fn accept(&mut self, bytes: &[u8]) {
        if self.pipe.is_some() {
            self.waiting.extend(bytes);
        }
    }

    /// Writes as much as the program takes.
    fn write(&mut self) {
        while let Some(pipe) = &self.pipe {
            let (bytes, _) = self.waiting.as_slices();
            if bytes.is_empty() {
                break;
            }
            match rustix::io::write(pipe, bytes) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The program reads no more.
                Err(_) => {
                    self.pipe = None;
                    self.waiting = VecDeque::new();
                }
            }
        }
        if self.ends && self.is_terminal && self.pipe.is_some() {
            self.ends = false;
            self.waiting.push_back(END_OF_TRANSMISSION);
            self.write();
        } else if self.ends {
            self.pipe = None;
        }
    }
}
