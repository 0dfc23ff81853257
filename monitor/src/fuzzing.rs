//! What holds of any bytes that a client can send, as functions that panic where it does not: for the fuzz targets in
//! `fuzz/`, and for the tests of this crate that make bytes up themselves.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a property that does not hold is told by a panic"
)]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event_manager::EventSet;
use faultvisor_schema::{
    CommandError, Empty, Event, MachineCommand, MachineReturn, Reset, RunState, ShutdownCause,
    StatusInfo,
};
use serde_json::value::RawValue;

use crate::identity::SessionId;
use crate::inbox::MonitorInbox;
use crate::machine::{Machine, Reply};
use crate::server::settings::Settings;
use crate::server::state::{Server, Settled};
use crate::session::OpeningRule;
use crate::transport::stream::Stream;
use crate::wire::json;
use crate::wire::lexer::{Dialect, Lexed, Lexer, LexicalError};
use crate::wire::protocol::Protocol;

/// Any division of an input into pieces gives the same messages.
pub fn lexer(input: &[u8]) {
    for dialect in [Dialect::Qmp, Dialect::Json] {
        let whole = lex(dialect, [input]);
        assert_eq!(lex(dialect, Pieces::of(input)), whole);
        assert_eq!(lex(dialect, input.chunks(1)), whole);
    }
}

/// Every message of a QMP client is answered once, in lines of ASCII that are JSON, and after a byte that restarts the
/// server is there as before; but a session that does not begin as one does ends, with nothing of it executed.
pub fn session(input: &[u8]) {
    const END: &str = "\u{fffd}{'execute': 'qmp_capabilities', 'id': 'negotiated'}\
                       {'execute': 'query-version', 'id': 'still there'}";
    let end = with_restart(END);
    for rule in RULES {
        let (lines, over) = exchange(Protocol::Qmp, rule, input, &end);
        let mut answers = 0;
        for line in &lines {
            let members = object(line);
            let kinds = ["QMP", "return", "error", "event", "signal"];
            let kinds: Vec<&str> = kinds
                .into_iter()
                .filter(|kind| members.contains_key(*kind))
                .collect();
            assert_eq!(kinds.len(), 1, "{line}");
            answers += usize::from(matches!(kinds[0], "return" | "error"));
        }
        assert!(lines[0].starts_with("{\"QMP\": "), "{}", lines[0]);
        let whole = [input, end.as_slice()].concat();
        match beginning(Protocol::Qmp, rule, &whole) {
            Beginning::Refused { errors } => {
                assert!(over, "{rule:?}: {lines:?}");
                is_refused(rule, &lines[1..], errors);
            }
            Beginning::Admitted => {
                assert!(!over, "{rule:?}: {lines:?}");
                let asked = lex(Dialect::Qmp, [whole.as_slice()]).len();
                assert_eq!(answers, asked, "{lines:?}");
                is_still_there(&lines, "return");
            }
        }
    }
}

/// Every line that a JSON-RPC client receives is a response, several of them, or a notification, and after a byte that
/// restarts the server is there as before; but a session that does not begin as one does ends, with nothing of it executed.
pub fn json_rpc(input: &[u8]) {
    const END: &str =
        "\u{fffd}{\"jsonrpc\": \"2.0\", \"method\": \"query-version\", \"id\": \"still there\"}";
    let end = with_restart(END);
    for rule in RULES {
        let (lines, over) = exchange(Protocol::JsonRpc, rule, input, &end);
        for line in &lines {
            if line.starts_with('[') {
                let responses: Vec<Box<RawValue>> = json::read(line).expect("a batch");
                assert!(!responses.is_empty());
                responses.iter().for_each(|each| response(each.get()));
            } else if object(line).contains_key("method") {
                let members = object(line);
                assert_eq!(members["jsonrpc"].get(), "\"2.0\"", "{line}");
                assert!(members["params"].get().starts_with('{'), "{line}");
                assert_eq!(members.len(), 3, "{line}");
            } else {
                response(line);
            }
        }
        let whole = [input, end.as_slice()].concat();
        match beginning(Protocol::JsonRpc, rule, &whole) {
            Beginning::Refused { errors } => {
                assert!(over, "{rule:?}: {lines:?}");
                is_refused(rule, &lines, errors);
            }
            Beginning::Admitted => {
                assert!(!over, "{rule:?}: {lines:?}");
                is_still_there(&lines, "result");
            }
        }
    }
}

/// The rules for how a session may begin.
const RULES: [OpeningRule; 3] = [
    OpeningRule::Strict,
    OpeningRule::Restartable,
    OpeningRule::Free,
];

/// What a session's beginning comes to, found out with all of it at hand.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    Admitted,
    /// It ends, after this many errors about bytes that restart.
    Refused {
        errors: usize,
    },
}

fn beginning(protocol: Protocol, rule: OpeningRule, whole: &[u8]) -> Beginning {
    let mut rest = whole;
    let mut errors = 0;
    let is_restart = |byte: u8| byte == 0xff || (byte < 0x20 && !b"\t\r\n".contains(&byte));
    while let Some((&first, after)) = rest.split_first() {
        if rule == OpeningRule::Free {
            return Beginning::Admitted;
        }
        let opens = first == b'{' || (first == b'[' && protocol == Protocol::JsonRpc);
        if opens && rule == OpeningRule::Strict {
            return Beginning::Admitted;
        }
        if opens {
            let lexed = Lexer::new(protocol.dialect()).read(rest);
            let (count, Some(Err(LexicalError::StrayByte(_)))) = lexed else {
                return Beginning::Admitted;
            };
            errors += 1;
            rest = &rest[count..];
            // A row of them is one error.
            let row = rest.iter().take_while(|byte| is_restart(**byte)).count();
            rest = &rest[row..];
        } else if is_restart(first) && rule == OpeningRule::Restartable {
            errors += 1;
            let row = rest.iter().take_while(|byte| is_restart(**byte)).count();
            rest = &rest[row..];
        } else if b" \t\r\n".contains(&first) {
            rest = after;
        } else {
            return Beginning::Refused { errors };
        }
    }
    // More is waited for.
    Beginning::Admitted
}

/// A session that was refused was told nothing but errors: none at all by the strict rule.
fn is_refused(rule: OpeningRule, lines: &[String], errors: usize) {
    let farewell = usize::from(rule == OpeningRule::Restartable);
    assert_eq!(lines.len(), errors + farewell, "{lines:?}");
    assert!(
        lines.iter().all(|line| object(line).contains_key("error")),
        "{lines:?}"
    );
}

/// What a session is told, and whether it ended: it is sent an input in pieces, and then a whole end.
fn exchange(
    protocol: Protocol,
    rule: OpeningRule,
    input: &[u8],
    end: &[u8],
) -> (Vec<String>, bool) {
    let mut exchange = Exchange::begin(protocol, rule);
    exchange.send(input);
    exchange.send_whole(end);
    exchange.finish()
}

/// A text whose replacement characters stand for the byte that restarts.
fn with_restart(text: &str) -> Vec<u8> {
    let parts: Vec<&[u8]> = text.split('\u{fffd}').map(str::as_bytes).collect();
    parts.join(&0xff)
}

fn lex<'a>(dialect: Dialect, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Lexed> {
    let mut lexer = Lexer::new(dialect);
    let mut lexed = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let (count, message) = lexer.read(piece);
            piece = &piece[count..];
            lexed.extend(message);
        }
    }
    lexed
}

fn object(line: &str) -> BTreeMap<String, Box<RawValue>> {
    json::read(line).unwrap_or_else(|error| panic!("{}: {line}", error.desc))
}

fn response(text: &str) {
    let members = object(text);
    assert_eq!(members["jsonrpc"].get(), "\"2.0\"", "{text}");
    assert!(members.contains_key("id"), "{text}");
    assert!(
        members.contains_key("result") != members.contains_key("error"),
        "{text}"
    );
    assert_eq!(members.len(), 3, "{text}");
    if let Some(error) = members.get("error") {
        let error = object(error.get());
        let code: i32 = json::read(error["code"].get()).expect("a code");
        assert!((-32700..=-32000).contains(&code), "{text}");
        json::read::<String>(error["message"].get()).expect("a message");
    }
}

fn is_still_there(lines: &[String], member: &str) {
    let answer = lines.iter().find(|line| {
        !line.starts_with('[')
            && object(line)
                .get("id")
                .is_some_and(|id| id.get() == "\"still there\"")
            && object(line).contains_key(member)
    });
    assert!(answer.is_some(), "{lines:?}");
}

/// The pieces of an input, of lengths that its last bytes decide.
struct Pieces<'a> {
    rest: &'a [u8],
    state: u64,
}

impl<'a> Pieces<'a> {
    fn of(input: &'a [u8]) -> Self {
        let seed = input.iter().rev().take(8);
        let state = seed.fold(0x9e37_79b9_7f4a_7c15, |state: u64, byte| {
            state.rotate_left(8) ^ u64::from(*byte)
        });
        Self { rest: input, state }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        // xorshift64
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let longest = if self.state.is_multiple_of(3) { 4 } else { 64 };
        let length = 1 + usize::try_from((self.state >> 32) % longest).unwrap_or_default();
        let (piece, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        Some(piece)
    }
}

/// What a machine was asked and has not answered yet.
type Held = Arc<Mutex<Vec<(MachineCommand, Reply)>>>;

/// Answers `query-status` at once, and everything else later.
struct SlowMachine(Held);

impl Machine for SlowMachine {
    fn submit(&self, command: MachineCommand, reply: Reply) {
        self.0.lock().unwrap().push((command, reply));
    }

    fn answer(&self, command: &MachineCommand) -> Option<MachineReturn> {
        let status = StatusInfo {
            running: false,
            status: RunState::Paused,
        };
        (*command == MachineCommand::QueryStatus).then_some(MachineReturn::QueryStatus(status))
    }

    fn has_device(&self, name: &str) -> bool {
        name.starts_with("disk")
    }

    fn is_current(&self, _: &Event) -> bool {
        true
    }
}

/// A client and a server that take turns in one thread.
struct Exchange {
    server: Server,
    id: SessionId,
    client: UnixStream,
    inbox: Arc<MonitorInbox>,
    held: Held,
    received: Vec<u8>,
    /// Whether the server ended the session.
    over: bool,
}

impl Exchange {
    fn begin(protocol: Protocol, rule: OpeningRule) -> Self {
        let settings = Settings {
            session_limit: 1,
            output_limit: 64 * 1024,
            total_output_limit: 64 * 1024,
            event_limit: 16,
            default_event_interval: Duration::ZERO,
        };
        let held = Held::default();
        let inbox = MonitorInbox::new(settings.event_limit).expect("an eventfd");
        let machine = Box::new(SlowMachine(Arc::clone(&held)));
        let mut server = Server::new(settings, machine, Arc::clone(&inbox));
        let (client, stream) = UnixStream::pair().expect("a pair of sockets");
        client.set_nonblocking(true).expect("a socket");
        let place = match rule {
            OpeningRule::Free => "stdio",
            OpeningRule::Restartable => "unix:x",
            OpeningRule::Strict => "tcp:localhost:1",
        };
        let options = match protocol {
            Protocol::Qmp => "",
            Protocol::JsonRpc => ",protocol=json-rpc",
        };
        let address = format!("{place}{options}").parse().expect("an address");
        let id = server.begin(Stream::unix(stream).expect("a socket"), &address);
        // Nothing is read before the greeting is sent, as in the loop.
        server.settle();
        Self {
            server,
            id,
            client,
            inbox,
            held,
            received: Vec::new(),
            over: false,
        }
    }

    /// Sends an input in its pieces; in between the guest causes events and the machine answers.
    fn send(&mut self, input: &[u8]) {
        for piece in Pieces::of(input) {
            self.send_whole(piece);
            match piece.len() % 4 {
                0 => self.inbox.raise(Event::Stop),
                1 => self.inbox.raise(Event::Reset(Reset {
                    guest: true,
                    reason: ShutdownCause::GuestReset,
                })),
                2 => self.machine_answers(),
                _ => {}
            }
        }
    }

    fn send_whole(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.over {
            match self.client.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                // It is not read from while it has too much to answer.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.machine_answers(),
                Err(error) => panic!("{error}"),
            }
            self.turn();
        }
    }

    fn machine_answers(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        for (command, reply) in held {
            reply.send(match command {
                MachineCommand::Stop | MachineCommand::Cont => Ok(MachineReturn::Empty(Empty {})),
                _ => Err(CommandError::generic("not now: \u{e4}\n\"\\")),
            });
        }
    }

    /// Runs the server's loop once, and takes its output. Returns whether anything happened.
    fn turn(&mut self) -> bool {
        let before = self.received.len();
        let mut happened = !self.inbox.is_empty();
        self.server.receive(Instant::now());
        self.server.take_begun();
        if let Some(session) = self.server.session(self.id) {
            let wanted = session.interest();
            self.server.ready(self.id, wanted & EventSet::IN);
        }
        for (_, settled) in self.server.settle() {
            self.over |= matches!(settled, Settled::Over(_));
        }
        let mut buffer = [0; 4096];
        loop {
            match self.client.read(&mut buffer) {
                Ok(0) => {
                    assert!(self.over, "the server closed the connection");
                    break;
                }
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Something that it sent was not read.
                Err(error) if error.kind() == ErrorKind::ConnectionReset && self.over => break,
                Err(error) => panic!("{error}"),
            }
        }
        happened |= self.received.len() > before;
        happened
    }

    /// Runs until there is nothing more to do. Returns every line and whether the session is over.
    fn finish(mut self) -> (Vec<String>, bool) {
        loop {
            self.machine_answers();
            let mut happened = self.turn();
            // What was read is looked at in the next turn.
            happened |= self.turn();
            if !happened && self.held.lock().unwrap().is_empty() {
                break;
            }
        }
        let text = String::from_utf8(self.received).expect("UTF-8");
        assert!(text.is_ascii(), "{text}");
        assert!(text.is_empty() || text.ends_with("\r\n"), "{text}");
        let lines = text.split_terminator("\r\n").map(str::to_owned);
        let lines = lines.inspect(|line| assert!(!line.contains(['\r', '\n']), "{line}"));
        (lines.collect(), self.over)
    }
}

#[cfg(test)]
mod tests;
