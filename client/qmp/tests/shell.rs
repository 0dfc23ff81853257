//! The shell.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

use faultvisor_schema::{Event, Shutdown, ShutdownCause};
use support::{Ended, PATIENCE, Program, Pty, Relay, Server, io_error, qmp, wait};

fn script(socket: &Path, lines: &str) -> Ended {
    let mut command = qmp(&["shell", "--json", "-s"]);
    Program::spawn(command.arg(socket), lines).ended()
}

#[test]
fn lines_are_executed_without_a_prompt() {
    let server = Server::start();
    let lines = "query-status\n\n  # nothing\nblock-fault-add device=disk0 action=hang id='a b'\n\
                 block-fault-add {\"device\": \"disk0\", \"action\": \"hang\"}\nquit-shell\nquery-status\n";
    let output = script(server.path(), lines).succeeded();
    let rule = "{\"id\":\"rule-1\",\"seed\":7}\n";
    assert_eq!(
        output,
        format!("{{\"running\":true,\"status\":\"running\"}}\n{rule}{rule}")
    );
}

#[test]
fn requests_as_documents_have_them_are_executed_on_one_line_or_several() {
    let server = Server::start();
    let lines = "-> {\"execute\": \"query-status\"}\n\
                 {\"execute\": \"block-fault-add\",\n  \"arguments\": {\"device\": \"disk0\",\n\
                 \"action\": \"hang\"}}\nquery-status\n";
    let output = script(server.path(), lines).succeeded();
    let status = "{\"running\":true,\"status\":\"running\"}\n";
    assert_eq!(
        output,
        format!("{status}{{\"id\":\"rule-1\",\"seed\":7}}\n{status}")
    );
    let ended = script(
        server.path(),
        "{\"execute\": 1}\nquery-status\n{\"execute\":\n",
    );
    assert_eq!((ended.status, ended.output.as_str()), (Some(1), status));
    let errors: Vec<&str> = ended.errors.lines().collect();
    assert_eq!(
        errors,
        [
            "qmp: line 1: 'execute' must be the name of a command",
            "qmp: line 3: a bracket without its end"
        ]
    );
}

#[test]
fn a_failed_line_is_reported_with_its_number_and_the_next_executed() {
    let server = Server::start();
    let ended = script(
        server.path(),
        "query-stat\nblock_resize size=x\na='b\nhelp nothing\nquery-status",
    );
    assert_eq!(ended.status, Some(1));
    assert_eq!(ended.output, "{\"running\":true,\"status\":\"running\"}\n");
    let errors: Vec<&str> = ended.errors.lines().collect();
    assert_eq!(
        errors,
        [
            "qmp: line 1: CommandNotFound: the server has no command 'query-stat'; did you mean 'query-status'?",
            "qmp: line 2: block_resize: size=x: expected integer",
            "qmp: line 3: a quote without its end",
            "qmp: line 4: there is no command and no event 'nothing'"
        ]
    );
}

#[test]
fn a_script_that_watches_shows_all_events_before_its_end() {
    let server = Server::start();
    server.raise(io_error("disk0", "earlier"));
    let relay = Relay::to(&server);
    let output = script(relay.path(), "watch BLOCK_IO_ERROR --initial\ncont\n").succeeded();
    assert!(output.contains("\"initial\":true"), "{output}");
    relay.answered("put-event");
    // It is not shown after `unwatch`.
    let output = script(
        server.path(),
        "watch BLOCK_IO_ERROR\nunwatch\nwatch STOP\nunwatch\n",
    );
    assert_eq!(output.succeeded(), "");
}

#[test]
fn a_script_ends_with_its_server() {
    let mut server = Server::start();
    let relay = Relay::to(&server);
    let mut command = qmp(&["shell", "-s"]);
    let shell = {
        command.arg(relay.path());
        server.end();
        Program::spawn(&mut command, "query-status\nquery-status\n").ended()
    };
    assert_eq!(shell.status, Some(1));
    assert_eq!(shell.errors.lines().count(), 1, "{}", shell.errors);
}

/// A shell on a terminal, at its prompt.
struct Typed {
    pty: Pty,
    program: Child,
}

impl Typed {
    fn start(server: &Server) -> Self {
        let pty = Pty::open();
        let mut command = qmp(&["shell", "-s"]);
        command.arg(server.path());
        command.env("XDG_STATE_HOME", server.directory.path());
        pty.give(&mut command);
        let program = command.spawn().unwrap();
        let mut typed = Self { pty, program };
        typed.pty.sees("Connected to QEMU 10.0.0");
        typed.pty.sees("qmp> ");
        typed
    }

    /// Types a line, and waits for the answer: a key typed while none is read may be lost.
    #[track_caller]
    fn line(&mut self, line: &str, answer: &str) {
        self.pty.types(line);
        self.pty.types("\r");
        self.pty.sees(answer);
        self.pty.sees("qmp> ");
    }

    /// Types the end of input, and waits for the program to end.
    #[track_caller]
    fn leaves(&mut self) {
        self.pty.types("\x04");
        assert_eq!(wait(&mut self.program).code(), Some(0));
        assert!(self.pty.is_cooked());
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        // It has ended, unless a test has failed.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn commands_arguments_and_values_are_completed_and_answers_are_tables() {
    let server = Server::start();
    let mut shell = Typed::start(&server);
    shell.pty.types("query-st\t");
    shell.pty.sees("query-status ");
    shell.line("", "running  true");
    shell.pty.types("block-fault-add dev\t");
    shell.pty.sees("device=");
    shell.pty.types("disk0 acti\t");
    shell.pty.sees("action=");
    shell.pty.types("mis\t");
    shell.pty.sees("misdirect");
    shell.pty.types("to\t");
    shell.pty.sees("to-sector=");
    shell.line("8", "rule-1");
    shell.leaves();
}

#[test]
fn events_are_shown_above_the_line_being_typed() {
    let server = Server::start();
    let mut shell = Typed::start(&server);
    shell.line("watch BLOCK_IO_ERROR device=disk1", "\n");
    shell.pty.types("query-sta");
    shell.pty.sees("query-sta");
    server.raise(io_error("disk0", "elsewhere"));
    server.raise(io_error("disk1", "No space left"));
    shell.pty.sees("BLOCK_IO_ERROR");
    shell.pty.sees("reason=\"No space left\"");
    shell.pty.sees("qmp> query-sta");
    shell.line("tus", "running  true");
    assert!(
        !shell.pty.text().contains("elsewhere"),
        "{}",
        shell.pty.text()
    );
    shell.pty.types("quit-shell\r");
    assert_eq!(wait(&mut shell.program).code(), Some(0));
}

#[test]
fn many_events_do_not_block_the_shells_end() {
    let server = Server::start();
    let mut shell = Typed::start(&server);
    for number in 0..2000 {
        server.raise(io_error("disk0", &format!("number {number}")));
    }
    shell.pty.sees("number 0\"");
    shell.pty.sees("qmp> ");
    shell.leaves();
}

#[test]
fn errors_do_not_end_the_shell_and_ctrl_c_drops_a_line() {
    let server = Server::start();
    let mut shell = Typed::start(&server);
    shell.line(
        "block_resize size=x",
        "block_resize: size=x: expected integer",
    );
    shell.pty.types("quit\x03");
    shell.pty.sees("quit");
    shell.pty.sees("qmp> ");
    shell.line("query-status", "running  true");
    shell.leaves();
}

#[test]
fn the_history_file_is_private() {
    let server = Server::start();
    let mut shell = Typed::start(&server);
    shell.line("query-status", "running  true");
    shell.line(" secret=1", "CommandNotFound");
    shell.leaves();
    let history = server.directory.path().join("qmp/history");
    let kept = std::fs::read_to_string(&history).unwrap();
    assert!(
        kept.contains("query-status") && !kept.contains("secret"),
        "{kept}"
    );
    assert_eq!(history.metadata().unwrap().permissions().mode() & 0o077, 0);
    let mut shell = Typed::start(&server);
    shell.pty.types("\x1b[A");
    shell.pty.sees("query-status");
    shell.line("", "running  true");
    shell.leaves();
}

#[test]
fn a_shell_at_its_prompt_ends_with_its_server_and_restores_the_terminal() {
    let mut server = Server::start();
    let mut shell = Typed::start(&server);
    shell.pty.types("half a li");
    shell.pty.sees("half a li");
    server.end();
    shell.pty.sees("is closed: the server closed it");
    assert_eq!(wait(&mut shell.program).code(), Some(1));
    assert!(shell.pty.is_cooked());
}

#[test]
fn an_announced_shutdown_ends_a_shell_well() {
    let mut server = Server::start();
    let mut shell = Typed::start(&server);
    server.raise(Event::Shutdown(Shutdown {
        guest: true,
        reason: ShutdownCause::GuestShutdown,
    }));
    shell.pty.sees("SHUTDOWN");
    server.end();
    shell.pty.sees("The machine has shut down.");
    assert_eq!(wait(&mut shell.program).code(), Some(0));
    assert!(shell.pty.is_cooked());
}

#[test]
fn open_json_continues_on_the_next_line_and_names_of_disks_are_completed() {
    let server = Server::start();
    let mut shell = Typed::start(&server);
    shell.pty.types("{\"execute\":\r");
    shell.line("\"query-status\"}", "running  true");
    shell.pty.types("block_resize device=\t");
    shell.pty.sees("device=disk");
    shell.pty.types("\x15");
    shell.leaves();
}

#[test]
fn a_shell_ends_with_its_server_during_a_command() {
    let mut server = Server::start();
    let mut shell = Typed::start(&server);
    shell.pty.types("stop\r");
    let _unanswered = server.stopping.recv_timeout(PATIENCE).unwrap();
    server.end();
    shell.pty.sees("is closed: the server closed it");
    assert_eq!(wait(&mut shell.program).code(), Some(1));
    assert!(shell.pty.is_cooked());
}
