//! The task that reads and writes, and the state that it shares with its callers.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::core::lock;
use crate::error::Closing;
use crate::lines::Lines;
use crate::message::{Band, Message, request, with_id};
use crate::routes::{CallId, Consequence, ObjectId, Routes};
use crate::said::Said;
use crate::socket::{CHUNK, Deadline, MOST_READS, Read, Socket};
use crate::{Direction, Error, Observer};

use super::descriptor::Watched;

/// An order to the task.
pub(super) enum Request {
    /// Send this.
    Line(String),
    /// End the connection.
    Close,
}

/// The state shared by the task and its callers.
pub(super) struct Shared {
    address: String,
    observer: Option<Observer>,
    routes: Mutex<Routes>,
}

impl Shared {
    pub(super) fn new(address: String, observer: Option<Observer>) -> Self {
        Self {
            address,
            observer,
            routes: Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Calls a function with the routes.
    pub(super) fn with_routes<T>(&self, what: impl FnOnce(&mut Routes) -> T) -> T {
        let mut routes = lock(&self.routes);
        let result = what(&mut routes);
        let woken = routes.woken();
        drop(routes);
        woken.into_iter().for_each(Waker::wake);
        result
    }

    /// Begins a call.
    pub(super) fn call(self: &Arc<Self>, accessor: Option<ObjectId>) -> Result<Call, Error> {
        let id = self.with_routes(|routes| routes.call(accessor))?;
        let shared = Arc::clone(self);
        Ok(Call { shared, id })
    }

    /// A request that puts a handle.
    pub(super) fn put(&self, tag: i64) -> Option<String> {
        let request = request(Band::In, "put-event", Some(&json!({ "tag": tag }))).ok()?;
        let id = self.with_routes(Routes::call_and_forget)?;
        Some(with_id(request, id))
    }

    pub(super) fn end(&self, why: Closing) {
        let address = self.address.clone();
        self.with_routes(|routes| routes.end(Error::Closed { address, why }));
    }

    /// Routes the received messages. Returns what has to be sent in response.
    fn route(&self, lines: &mut Lines) -> Vec<String> {
        let (messages, broken) = Message::parse_all(lines, self.observer.as_ref());
        let consequences: Vec<_> = self.with_routes(|routes| {
            let receive = |message| routes.receive(message);
            messages.into_iter().filter_map(receive).collect()
        });
        if let Some(broken) = broken {
            self.end(Closing::Protocol(broken));
        }
        let put = |Consequence::Put(tag)| self.put(tag);
        consequences.into_iter().filter_map(put).collect()
    }

    fn has_ended(&self) -> bool {
        self.with_routes(|routes| routes.ended().is_some())
    }
}

/// A call, until it is answered or dropped.
pub(super) struct Call {
    shared: Arc<Shared>,
    id: CallId,
}

impl Call {
    pub(super) fn id(&self) -> CallId {
        self.id
    }
}

impl Future for Call {
    type Output = Result<Result<Said, Value>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self
            .shared
            .with_routes(|routes| routes.answer(self.id, context.waker()));
        answer.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.shared.with_routes(|routes| routes.abandon(self.id));
    }
}

/// Starts the task. It ends with the connection, or when no caller is left.
pub(super) fn start(
    shared: Arc<Shared>,
    socket: Socket,
    lines: Lines,
) -> Result<UnboundedSender<Request>, Error> {
    let (sender, requests) = unbounded_channel();
    let socket = Watched::new(socket).map_err(|error| stopped(shared.address(), error))?;
    tokio::spawn(async move {
        // No caller is left waiting when the runtime stops or an observer panics.
        let _end = End(Arc::clone(&shared));
        let task = Task {
            shared,
            socket,
            requests,
            unsent: Vec::new(),
        };
        task.run(lines).await;
    });
    Ok(sender)
}

struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end(Closing::ByClient);
    }
}

struct Task {
    shared: Arc<Shared>,
    socket: AsyncFd<Watched>,
    requests: UnboundedReceiver<Request>,
    unsent: Vec<u8>,
}

impl Task {
    async fn run(mut self, mut lines: Lines) {
        let mut buffer = Socket::buffer();
        let consequences = self.shared.route(&mut lines);
        self.add(consequences);
        while !self.shared.has_ended() {
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(Request::Line(line)) => self.add([line]),
                    Some(Request::Close) => break,
                    None => {
                        // No caller is left. Pending requests are sent as far as the server takes them: one that takes
                        // nothing would keep the task for ever.
                        let _ = self.socket.get_ref().socket().write(&self.unsent, Deadline::Now);
                        break;
                    }
                },
                guard = self.socket.writable(), if !self.unsent.is_empty() => {
                    let Ok(mut guard) = guard else { break };
                    match guard.get_inner().socket().write(&self.unsent, Deadline::Now) {
                        Ok(written) => {
                            self.unsent.drain(..written);
                            if !self.unsent.is_empty() {
                                guard.clear_ready();
                            }
                        }
                        Err(error) => {
                            drop(guard);
                            self.read_what_is_left(&mut buffer, &mut lines);
                            self.shared.end(Closing::of_writing(error));
                        }
                    }
                },
                guard = self.socket.readable() => {
                    let Ok(mut guard) = guard else { break };
                    let read = guard.get_inner().socket().read(&mut buffer, Deadline::Now, None);
                    if matches!(read, Ok(Read::Nothing | Read::Interrupted)) {
                        guard.clear_ready();
                    }
                    drop(guard);
                    self.take(read, &buffer[..], &mut lines);
                },
            }
        }
    }

    /// Takes the result of a read. Returns whether it was something, and more may follow.
    fn take(&mut self, read: io::Result<Read>, buffer: &[u8], lines: &mut Lines) -> bool {
        match read {
            Ok(Read::Bytes(length)) => {
                if lines.push(&buffer[..length]).is_err() {
                    let what = "a line without an end".to_owned();
                    self.shared.end(Closing::Protocol(what));
                }
                let consequences = self.shared.route(lines);
                self.add(consequences);
                return true;
            }
            Ok(Read::Nothing | Read::Interrupted) => {}
            Ok(Read::End) => self.shared.end(Closing::ByServer),
            Err(error) => self.shared.end(Closing::Failed(error.into())),
        }
        false
    }

    /// Reads what the server sent before it closed its input; one that never stops is cut off.
    fn read_what_is_left(&mut self, buffer: &mut [u8; CHUNK], lines: &mut Lines) {
        for _ in 0..MOST_READS {
            let socket = self.socket.get_ref().socket();
            let read = socket.read(buffer, Deadline::Now, None);
            if !self.take(read, &buffer[..], lines) {
                break;
            }
        }
    }

    fn add(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            if let Some(observer) = &self.shared.observer {
                observer(Direction::Sent, line.trim_ascii_end());
            }
            self.unsent.extend_from_slice(line.as_bytes());
        }
    }
}

/// An error of the host, which ends the connection.
pub(super) fn stopped(address: &str, error: io::Error) -> Error {
    Error::Closed {
        address: address.to_owned(),
        why: Closing::Failed(error.into()),
    }
}
