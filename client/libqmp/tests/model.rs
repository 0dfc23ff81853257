//! Gets, puts, drops, events, handlers and disconnects in any order, against a model that predicts each object's exact
//! sequence of events; and the same from many threads, where each object receives its events without an unreported gap.

// Tests may fail by panicking, in what they share too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use libqmp::{AccessorArguments, BlockIoError, BlockIoErrorEvent, Error, HandlerId, Session};
use proptest::prelude::*;
use support::{PATIENCE, Server, failure, options};

const DEVICES: [&str; 2] = ["disk0", "disk1"];

#[derive(Clone, Debug)]
enum Act {
    /// Get an object, of one device or of all.
    Get(Option<usize>),
    /// Raise a number of events of a device.
    Raise(usize, u8),
    /// Receive one event of an object, if it has one.
    Fetch(usize),
    /// Add a handler to an object.
    Connect(usize),
    /// Remove a handler of an object.
    Disconnect(usize),
    /// Run handlers.
    Dispatch,
    Drop(usize),
    Put(usize),
    /// End the connection and make a new one; the old one's objects stay.
    Reconnect,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => proptest::option::of(0..DEVICES.len()).prop_map(Act::Get),
        4 => (0..DEVICES.len(), 1..5u8).prop_map(|(device, count)| Act::Raise(device, count)),
        4 => any::<usize>().prop_map(Act::Fetch),
        2 => any::<usize>().prop_map(Act::Connect),
        1 => any::<usize>().prop_map(Act::Disconnect),
        2 => Just(Act::Dispatch),
        2 => any::<usize>().prop_map(Act::Drop),
        1 => any::<usize>().prop_map(Act::Put),
        1 => Just(Act::Reconnect),
    ];
    proptest::collection::vec(act, 1..60)
}

/// An object, and its state in the model.
struct Object {
    events: BlockIoErrorEvent,
    device: Option<usize>,
    /// Whether its connection is alive.
    is_live: bool,
    /// Events raised and not yet received.
    owed: VecDeque<u64>,
    handlers: Vec<(HandlerId, Heard)>,
}

/// The events that a handler was called with.
type Heard = Arc<Mutex<Vec<u64>>>;

fn number(error: &BlockIoError) -> u64 {
    error.reason.parse().unwrap()
}

struct World {
    server: Server,
    session: Session,
    objects: Vec<Object>,
    raised: u64,
}

impl World {
    fn new() -> Self {
        let server = Server::new();
        Self {
            session: connect(&server),
            server,
            objects: Vec::new(),
            raised: 0,
        }
    }

    /// The index of the object meant, if there are any.
    fn index(&self, which: usize) -> Option<usize> {
        which.checked_rem(self.objects.len())
    }

    fn perform(&mut self, act: &Act) {
        match *act {
            Act::Get(device) => self.get(device),
            Act::Raise(device, count) => self.raise(device, count),
            Act::Fetch(which) => self.fetch(which),
            Act::Connect(which) => self.connect(which),
            Act::Disconnect(which) => self.disconnect(which),
            Act::Dispatch => self.dispatch(),
            Act::Drop(which) => {
                if let Some(index) = self.index(which) {
                    self.objects.swap_remove(index);
                }
            }
            Act::Put(which) => self.put(which),
            Act::Reconnect => self.reconnect(),
        }
    }

    fn get(&mut self, device: Option<usize>) {
        let arguments = AccessorArguments {
            device: device.map(|device| DEVICES[device].to_owned()),
            initial: false,
        };
        let events = self.session.get_block_io_error_event_with(&arguments);
        self.objects.push(Object {
            events: events.unwrap(),
            device,
            is_live: true,
            owed: VecDeque::new(),
            handlers: Vec::new(),
        });
    }

    fn raise(&mut self, device: usize, count: u8) {
        for _ in 0..count {
            self.server.fail(DEVICES[device], self.raised);
            for object in &mut self.objects {
                if object.is_live && object.device.is_none_or(|of| of == device) {
                    object.owed.push_back(self.raised);
                }
            }
            self.raised += 1;
        }
        // Events raised before a command is answered arrive before the answer.
        self.session.query_status().unwrap();
    }

    fn fetch(&mut self, which: usize) {
        let Some(index) = self.index(which) else {
            return;
        };
        let object = &mut self.objects[index];
        let expected = match object.handlers.is_empty() {
            true => object.owed.pop_front(),
            // Its events go to its handlers.
            false => None,
        };
        match object.events.try_recv() {
            Ok(Some(error)) => {
                assert_eq!((Some(number(&error)), error.lost), (expected, 0));
            }
            Ok(None) => assert_eq!((expected, object.is_live), (None, true)),
            Err(Error::Closed { .. }) => assert_eq!((expected, object.is_live), (None, false)),
            Err(error) => panic!("{error}"),
        }
    }

    fn connect(&mut self, which: usize) {
        let Some(index) = self.index(which) else {
            return;
        };
        let heard = Heard::default();
        let hears = Arc::clone(&heard);
        let object = &mut self.objects[index];
        let handler = object
            .events
            .connect(move |error| hears.lock().unwrap().push(number(error)));
        object.handlers.push((handler.unwrap(), heard));
    }

    fn disconnect(&mut self, which: usize) {
        let Some(index) = self.index(which) else {
            return;
        };
        let object = &mut self.objects[index];
        if let Some((handler, heard)) = object.handlers.pop() {
            assert!(object.events.disconnect(handler));
            assert!(heard.lock().unwrap().is_empty());
        }
    }

    fn dispatch(&mut self) {
        // Objects of ended connections keep their events.
        self.session.dispatch().unwrap();
        for object in self.objects.iter_mut().filter(|object| object.is_live) {
            for (_, heard) in &object.handlers {
                let heard = std::mem::take(&mut *heard.lock().unwrap());
                assert_eq!(VecDeque::from(heard), object.owed);
            }
            if !object.handlers.is_empty() {
                object.owed.clear();
            }
        }
    }

    fn put(&mut self, which: usize) {
        let Some(index) = self.index(which) else {
            return;
        };
        let object = self.objects.swap_remove(index);
        assert_eq!(object.events.put().is_ok(), object.is_live);
        for (_, heard) in &object.handlers {
            assert!(heard.lock().unwrap().is_empty());
        }
    }

    fn reconnect(&mut self) {
        self.session.close();
        self.session = connect(&self.server);
        for object in &mut self.objects {
            object.is_live = false;
        }
    }
}

fn connect(server: &Server) -> Session {
    options()
        .manual_dispatch()
        .connect(&server.address())
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_object_receives_exactly_the_predicted_events(acts in acts()) {
        let mut world = World::new();
        for act in &acts {
            world.perform(act);
        }
        world.dispatch();
    }
}

#[test]
fn objects_of_many_threads_have_no_unreported_gaps() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 30;
    const EACH: u64 = 20;
    let server = Server::new();
    let session = Session::options()
        .timeout(PATIENCE)
        .connect(&server.address())
        .unwrap();
    let (signals, address) = (server.signals.clone(), server.address());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Bounds the events in flight: a server that answers has sent those raised before.
            let pace = Session::connect(&address).unwrap();
            for count in 0.. {
                signals.raise(failure("disk0", count));
                if count % 50 == 0 {
                    pace.query_status().unwrap();
                }
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let listeners: Vec<_> = (0..THREADS)
            .map(|index| {
                let session = &session;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        listen(session, EACH, (index + round) % 2 == 0);
                        session.query_status().unwrap();
                    }
                })
            })
            .collect();
        let ended: Vec<_> = listeners
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(Result::unwrap);
    });
}

/// Receives a number of events, in a handler or by `recv`, and checks that every gap is reported.
fn listen(session: &Session, count: u64, by_handler: bool) {
    let errors = session.get_block_io_error_event().unwrap();
    let (heard, numbers) = std::sync::mpsc::channel();
    if by_handler {
        errors
            .connect(move |error| {
                // The receiver is gone after the last event.
                let _ = heard.send((number(error), error.lost));
            })
            .unwrap();
    }
    let next = || match by_handler {
        true => numbers.recv_timeout(PATIENCE).unwrap(),
        false => {
            let error = errors.recv_timeout(PATIENCE).unwrap();
            (number(&error), error.lost)
        }
    };
    let (mut before, _) = next();
    for _ in 1..count {
        let (number, lost) = next();
        // Missing events are reported as lost.
        assert_eq!(number, before + 1 + lost);
        before = number;
    }
}
