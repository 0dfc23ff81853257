//! With the real backend, errors, stops and resumes, the disk holds what the requests wrote.

use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::*;
use vmm_sys_util::eventfd::EventFd;

use super::driver::*;
use super::fakes::{Heard, fake_backend};
use super::strategies::{config, errno, kind, policy};
use crate::block::host::image::{Image, ImageOptions};
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::request::{Capabilities, Completion, Operation, Token};
use crate::block::open::Aio;
use crate::block::policy::error_policy::ErrorAction;
use crate::sync::lock;
use crate::thread::ThreadStart;

/// Submitted requests, each with its errno if it failed.
type Log = Arc<Mutex<Vec<(Operation, Option<Errno>)>>>;

/// The real backend, of which some requests fail before they begin.
struct Flaky {
    backend: Box<dyn Backend>,
    script: Vec<Option<Errno>>,
    failed: Vec<Completion>,
    log: Log,
}

impl Backend for Flaky {
    fn submit(&mut self, token: Token, request: HostRequest) {
        let failure = self.script.pop().flatten();
        lock(&self.log).push((request.operation.clone(), failure));
        match failure {
            None => self.backend.submit(token, request),
            Some(errno) => {
                let result = Err(errno);
                self.failed.push(Completion { token, result });
                self.backend.completion_event().write(1).unwrap();
            }
        }
    }

    fn flush_submissions(&mut self) {
        self.backend.flush_submissions();
    }

    fn completed(&mut self) -> Vec<Completion> {
        let mut completed = self.backend.completed();
        completed.append(&mut self.failed);
        completed
    }

    fn completion_event(&self) -> &EventFd {
        self.backend.completion_event()
    }

    fn length(&self) -> u64 {
        self.backend.length()
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        self.backend.resize(length)
    }
}

const SECTORS: u64 = 64;

/// Requests that are in flight together: no two of them touch one sector, so that their order
/// does not matter. Also how often the machine is stopped and continued meanwhile.
#[derive(Debug, Clone)]
struct Batch {
    /// Kind, sectors skipped before it, sectors.
    requests: Vec<(u32, u64, u32)>,
    stops: u8,
}

fn batch() -> impl Strategy<Value = Batch> {
    let requests = vec((kind(), 0..4u64, 1..=8u32), 1..10);
    (requests, 0..3u8).prop_map(|(requests, stops)| Batch { requests, stops })
}

/// The real disk and its expected contents.
struct Model {
    machine: Machine,
    contents: Vec<u8>,
    log: Log,
    /// Makes each write different.
    stamp: u8,
}

/// One submitted request of a batch.
struct Made {
    slot: u16,
    kind: u32,
    offset: usize,
    length: usize,
    written: Vec<u8>,
}

impl Model {
    fn run(&mut self, batch: &Batch) {
        let made = self.make(batch);
        self.machine.kick();
        for _ in 0..batch.stops {
            self.machine.pause();
            self.machine.resume();
        }
        self.wait(made.len());
        for request in &made {
            self.check(request);
        }
        lock(&self.log).clear();
    }

    fn make(&mut self, batch: &Batch) -> Vec<Made> {
        let (mut made, mut sector) = (Vec::new(), 0);
        for (slot, (kind, skip, sectors)) in (0u16..).zip(&batch.requests) {
            let kind = *kind;
            let count = if kind == FLUSH { 0 } else { *sectors };
            let first = sector + skip;
            if first + u64::from(count) > SECTORS {
                break;
            }
            sector = first + u64::from(count);
            self.stamp = self.stamp.wrapping_add(1);
            let length = usize::try_from(count).unwrap() * 512;
            let written = vec![self.stamp; length];
            self.machine.write(data_of(slot), &written);
            self.machine.queue(slot, kind, first, count * 512);
            made.push(Made {
                slot,
                kind,
                offset: usize::try_from(first).unwrap() * 512,
                length,
                written,
            });
        }
        made
    }

    /// Waits for all answers. A request to stop is ignored if the machine was continued since, and
    /// otherwise followed by a pause and a resume.
    fn wait(&mut self, count: usize) {
        let mut heads = Vec::new();
        while heads.len() < count {
            while let Ok(heard) = self.machine.heard.try_recv() {
                if matches!(heard, Heard::Stop { run, .. } if run == self.machine.run) {
                    self.machine.pause();
                    self.machine.resume();
                }
            }
            heads.extend(self.machine.take_used().into_iter().map(|(head, _)| head));
            if heads.len() < count {
                self.machine.wait_bell();
            }
        }
        heads.sort_unstable();
        let all: Vec<_> = (0..u16::try_from(count).unwrap()).map(head_of).collect();
        assert_eq!(heads, all);
    }

    fn check(&mut self, made: &Made) {
        let place = made.offset..made.offset + made.length;
        let failure = self.failure(made);
        let policy = self.machine.setup.policy;
        let action = failure.map(|errno| policy.action(made.kind == IN, errno));
        let status = self.machine.status(made.slot);
        assert_ne!(
            action,
            Some(ErrorAction::Stop),
            "answered though it is held"
        );
        if made.kind != FLUSH {
            let expected = if action == Some(ErrorAction::Report) {
                IOERR
            } else {
                OK
            };
            assert_eq!(status, expected);
        }
        match (made.kind, failure) {
            (OUT, None) => self.contents[place].copy_from_slice(&made.written),
            (IN, failure) => {
                let read = self.machine.read(data_of(made.slot), made.length);
                let untouched = failure.is_some();
                let expected = if untouched {
                    &made.written
                } else {
                    &self.contents[place]
                };
                assert!(read == expected, "a read brought something else");
            }
            _ => {}
        }
    }

    /// The errno of the request's last submission, if it failed. Flushes are indistinguishable.
    fn failure(&self, made: &Made) -> Option<Errno> {
        let log = lock(&self.log);
        let is_it = |operation: &Operation| match *operation {
            Operation::Read { offset } => made.kind == IN && offset == made.offset as u64,
            Operation::Write { offset, .. } => made.kind == OUT && offset == made.offset as u64,
            _ => false,
        };
        let last = log.iter().rev().find(|(operation, _)| is_it(operation));
        assert_eq!(last.is_some(), made.kind != FLUSH);
        last.and_then(|(_, failure)| *failure)
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn the_disk_is_what_the_requests_made_of_it(
        aio in prop_oneof![Just(Aio::IoUring), Just(Aio::Threads)],
        policy in policy(),
        script in vec(prop_oneof![3 => Just(None), 1 => errno().prop_map(Some)], 0..80),
        batches in vec(batch(), 1..8),
    ) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(SECTORS * 512).unwrap();
        let image = Image::open(file.path(), ImageOptions::default()).unwrap();
        let log = Arc::new(Mutex::default());
        let flaky = Flaky {
            backend: aio.start(image, "test", &ThreadStart::default()).unwrap(),
            script,
            failed: Vec::new(),
            log: Arc::clone(&log),
        };
        let setup = Setup { policy, sectors: SECTORS, ..Setup::default() };
        let mut machine = setup.with_backend(Box::new(flaky), fake_backend(0).1);
        machine.initialize();
        machine.resume();
        let contents = vec![0; usize::try_from(SECTORS).unwrap() * 512];
        let mut model = Model { machine, contents, log, stamp: 0 };
        for batch in &batches {
            model.run(batch);
        }
        prop_assert!(std::fs::read(file.path()).unwrap() == model.contents);
    }
}
