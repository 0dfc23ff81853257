//! The monitor's loop: handles what is ready, and then advances every session.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use event_manager::{
    EventManager, EventSet, Events, MutEventSubscriber, SubscriberId, SubscriberOps,
};
use vmm_sys_util::timerfd::TimerFd;

use crate::identity::SessionId;
use crate::inbox::MonitorInbox;
use crate::server::state::{Alarm, FIRST_INTEREST, Mail, Settled, Shared, Watch};

/// The subscribers of the loop.
type Subscriber = Box<dyn MutEventSubscriber>;

/// The loop and its subscribers.
pub(crate) struct Reactor {
    manager: EventManager<Subscriber>,
    server: Shared,
    sessions: BTreeMap<SessionId, Watched>,
    timer: Rc<RefCell<TimerFd>>,
    /// When the timer expires, if it is set.
    due: Option<Instant>,
}

/// A session's stream, and its subscribed events: the kernel is told only of changes, as most sessions wait for the
/// next request before and after an answer.
struct Watched {
    subscriber: SubscriberId,
    interest: EventSet,
}

/// The loop cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReactorError {
    #[error("{0}")]
    Events(event_manager::Error),
    #[error("{0}")]
    Timer(vmm_sys_util::errno::Error),
}

impl Reactor {
    pub(crate) fn new(server: Shared, inbox: &MonitorInbox) -> Result<Self, ReactorError> {
        let timer = Rc::new(RefCell::new(TimerFd::new().map_err(ReactorError::Timer)?));
        let mut reactor = Self {
            manager: EventManager::new().map_err(ReactorError::Events)?,
            server: Rc::clone(&server),
            sessions: BTreeMap::new(),
            timer: Rc::clone(&timer),
            due: None,
        };
        let mail = Events::new(&inbox.waker, EventSet::IN);
        let alarm = Events::new(&*timer.borrow(), EventSet::IN);
        let server_of_mail = Rc::clone(&server);
        reactor.add(Box::new(Mail(server_of_mail)), vec![mail])?;
        reactor.add(Box::new(Alarm { timer, server }), vec![alarm])?;
        Ok(reactor)
    }

    /// Registers these events for a subscriber.
    ///
    /// # Errors
    ///
    /// The host's error: without the events the subscriber is useless, so that the monitor does not start.
    pub(crate) fn add(
        &mut self,
        subscriber: Subscriber,
        events: Vec<Events>,
    ) -> Result<(), ReactorError> {
        let subscriber = self.manager.add_subscriber(subscriber);
        let ops = self.manager.event_ops(subscriber);
        ops.and_then(|mut ops| events.into_iter().try_for_each(|events| ops.add(events)))
            .map_err(ReactorError::Events)
    }

    /// Runs until the server is done.
    pub(crate) fn run(&mut self) {
        loop {
            self.settle();
            if self.server.borrow().is_done(Instant::now()) {
                return;
            }
            self.set_timer();
            // A session with more work gets its next turn after all others.
            let turn = if self.server.borrow().is_busy() {
                self.manager.run_with_timeout(0)
            } else {
                self.manager.run()
            };
            if let Err(error) = turn {
                tracing::error!(%error, "the monitor cannot go on");
                return;
            }
        }
    }

    fn settle(&mut self) {
        let begun = self.server.borrow_mut().take_begun();
        for id in begun {
            let watch = Watch {
                id,
                server: Rc::clone(&self.server),
            };
            let subscriber = self.manager.add_subscriber(Box::new(watch));
            let watched = Watched {
                subscriber,
                interest: FIRST_INTEREST,
            };
            self.sessions.insert(id, watched);
        }
        let settled = self.server.borrow_mut().settle();
        for (id, settled) in settled {
            match settled {
                Settled::Waits(interest) => self.watch(id, interest),
                Settled::Over(stream) => {
                    if let Some(watched) = self.sessions.remove(&id) {
                        // It was added above and is removed nowhere else.
                        let _ = self.manager.remove_subscriber(watched.subscriber);
                    }
                    drop(stream);
                }
            }
        }
    }

    fn watch(&mut self, id: SessionId, interest: EventSet) {
        let server = self.server.borrow();
        let (Some(session), Some(watched)) = (server.session(id), self.sessions.get_mut(&id))
        else {
            return;
        };
        if watched.interest == interest {
            return;
        }
        let events = Events::new_raw(session.stream.as_raw_fd(), interest);
        let changed = self
            .manager
            .event_ops(watched.subscriber)
            .and_then(|ops| ops.modify(events));
        match changed {
            Ok(()) => watched.interest = interest,
            Err(error) => {
                tracing::error!(%error, "cannot watch a session");
                drop(server);
                self.server.borrow_mut().give_up(id);
            }
        }
    }

    fn set_timer(&mut self) {
        let due = self.server.borrow().next_due();
        let now = Instant::now();
        // One that has not ended yet ends when it should.
        if due == self.due && due.is_none_or(|due| due > now) {
            return;
        }
        let mut timer = self.timer.borrow_mut();
        let set = match due {
            // A timer of zero would be disarmed.
            Some(due) => {
                let left = due.saturating_duration_since(now);
                timer.reset(left.max(Duration::from_nanos(1)), None)
            }
            None => timer.clear(),
        };
        match set {
            Ok(()) => self.due = due,
            Err(error) => tracing::error!(%error, "cannot set the monitor's timer"),
        }
    }
}
