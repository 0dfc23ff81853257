//! Monitors on sockets that exist before the program.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use libqmp::RunState;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_listening_socket_is_inherited_by_number,
    a_connected_socket_is_inherited_by_number,
    a_client_disconnects_though_its_socket_is_inherited,
    sigterm_ends_a_program_that_waits_for_its_first_client,
    systemd_can_pass_the_monitors_sockets,
    both_protocols_are_served_side_by_side,
    a_web_page_cannot_execute_commands,
    commands_of_a_client_that_disconnects_at_once_are_executed,
    a_server_waits_for_its_first_client_as_in_qemu,
];

/// A descriptor of the same socket that later child processes inherit.
fn inheritable(socket: impl AsFd) -> Result<OwnedFd, Failure> {
    Ok(rustix::io::dup(socket)?)
}

/// The program, started by a shell that executes `before` and moves an inherited socket to descriptor 3.
fn with_third(context: &Context, socket: &OwnedFd, before: &str) -> Command {
    let number = socket.as_raw_fd();
    // At its target number it must be neither moved nor closed.
    let moved = if number == 3 {
        String::new()
    } else {
        format!("exec 3<&{number} {number}<&-; ")
    };
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{moved}{before} exec \"$@\""), "bash"]);
    command.arg(context.command().get_program());
    command
}

fn start(context: &Context, command: Command, options: &[&str]) -> Result<BareMachine, Failure> {
    let script = "spin";
    Plan::wrapped(context, script, command)?
        .options(options)
        .start()
}

fn a_listening_socket_is_inherited_by_number(context: &Context) -> Result<(), Failure> {
    let path = context.path("passed");
    let listener = inheritable(UnixListener::bind(&path)?)?;
    let command = with_third(context, &listener, "");
    let mut machine = start(context, command, &["--qmp", "fd:3"])?;
    drop(listener);
    let client = Client::connect(&path, SOON)?;
    check!(client.query_status()?.running, "it does not run");
    client.quit()?;
    machine.machine.expect_exit(0, SOON)?;
    check!(
        path.exists(),
        "the file of a socket that was passed is somebody else's"
    );
    Ok(())
}

fn a_connected_socket_is_inherited_by_number(context: &Context) -> Result<(), Failure> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = inheritable(theirs)?;
    let command = with_third(context, &theirs, "");
    let mut machine = start(context, command, &["--qmp", "fd:3,protocol=json-rpc"])?;
    drop(theirs);
    let mut client = JsonRpc::new(ours)?;
    let status = client.call("query-status", &json!({}))?;
    check_eq!(status["result"]["running"], true);
    client.call("quit", &json!({}))?;
    machine.machine.expect_exit(0, SOON)?;
    Ok(())
}

fn a_client_disconnects_though_its_socket_is_inherited(context: &Context) -> Result<(), Failure> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = inheritable(theirs)?;
    let command = with_third(context, &theirs, "");
    let mut machine = start(context, command, &["--qmp", "fd:3"])?;
    let other = machine.client()?;
    // The client disconnects, but the inherited descriptor stays open here.
    drop(ours);
    for _ in 0..3 {
        check!(other.query_status()?.running, "it does not run");
    }
    other.quit()?;
    machine.machine.expect_exit(0, SOON)?;
    drop(theirs);
    Ok(())
}

fn sigterm_ends_a_program_that_waits_for_its_first_client(
    context: &Context,
) -> Result<(), Failure> {
    let path = context.path("waits");
    let address = format!("unix:{},wait=on", path.display());
    let mut machine = start(context, context.command(), &["--qmp", &address])?;
    // A client of another listener is served, and finds a machine that has not started.
    let client = machine.client()?;
    check_eq!(client.query_status()?.status, RunState::Prelaunch);
    check_eq!(client.query_block()?, []);
    let pid = i32::try_from(machine.machine.id())
        .ok()
        .and_then(Pid::from_raw);
    kill_process(pid.ok_or_else(|| Failure::new("no pid"))?, Signal::TERM)?;
    machine.machine.expect_exit(0, SOON)?;
    Ok(())
}

fn systemd_can_pass_the_monitors_sockets(context: &Context) -> Result<(), Failure> {
    let path = context.path("activated");
    let listener = inheritable(UnixListener::bind(&path)?)?;
    let environment = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=qmp;";
    let command = with_third(context, &listener, environment);
    let mut machine = start(context, command, &["--qmp", "systemd:qmp"])?;
    drop(listener);
    let client = Client::connect(&path, SOON)?;
    client.quit()?;
    machine.machine.expect_exit(0, SOON)?;
    Ok(())
}

fn both_protocols_are_served_side_by_side(context: &Context) -> Result<(), Failure> {
    let path = context.path("json-rpc");
    let address = format!("unix:{},protocol=json-rpc", path.display());
    let mut machine = start(context, context.command(), &["--qmp", &address])?;
    let qmp = machine.client()?;
    let mut client = JsonRpc::connect(&path)?;
    let tag = client.call("get-stop-event", &json!({}))?["result"].clone();
    qmp.stop()?;
    let event = client.read()?;
    check_eq!(event["method"], "STOP");
    check_eq!(event["params"]["tag"], tag);
    // Late subscribers receive the state that they missed.
    let late = client.call("listen-event", &json!({"event": "stop", "id": "late"}))?;
    check_eq!(late["result"], json!({}));
    let initial = client.read()?;
    check_eq!(initial["params"]["id"], "late");
    check_eq!(initial["params"]["initial"], true);
    check_eq!(initial["params"]["timestamp"], event["params"]["timestamp"]);
    qmp.quit()?;
    machine.machine.expect_exit(0, SOON)?;
    Ok(())
}

fn a_web_page_cannot_execute_commands(context: &Context) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let listener = inheritable(listener)?;
    let command = with_third(context, &listener, "");
    let mut machine = start(context, command, &["--qmp", "fd:3"])?;
    drop(listener);
    let other = machine.client()?;
    let body = r#"{"execute":"qmp_capabilities"}{"execute":"quit"}"#;
    for method in ["FOO", "patch", "PROPFIND", "\r\nPOST", "POST"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        for cut in [1, 3, 4, request.len()] {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(SOON))?;
            let (first, rest) = request.split_at(cut);
            // It may disconnect at any time.
            let _ = stream.write_all(first.as_bytes());
            check!(other.query_status()?.running, "it does not run");
            let _ = stream.write_all(rest.as_bytes());
            let mut said = Vec::new();
            if let Err(error) = stream.read_to_end(&mut said) {
                check_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
            let said = String::from_utf8_lossy(&said);
            check!(
                !said.contains("return") && !said.contains("error"),
                "{method} was answered: {said}"
            );
        }
    }
    check!(other.query_status()?.running, "it does not run");
    other.quit()?;
    machine.machine.expect_exit(0, SOON)?;
    Ok(())
}

fn commands_of_a_client_that_disconnects_at_once_are_executed(
    context: &Context,
) -> Result<(), Failure> {
    for half in [false, true] {
        let mut machine = start(context, context.command(), &[])?;
        machine.client()?;
        let mut stream = UnixStream::connect(machine.socket())?;
        if half {
            // It is not even greeted.
            stream.shutdown(Shutdown::Read)?;
        }
        stream.write_all(b"{'execute':'qmp_capabilities'}{'execute':'quit'}")?;
        drop(stream);
        machine.machine.expect_exit(0, SOON)?;
    }
    Ok(())
}

fn a_server_waits_for_its_first_client_as_in_qemu(context: &Context) -> Result<(), Failure> {
    let path = context.path("a=b");
    let address = format!("unix:path={},server,nodelay", path.display());
    let mut machine = start(context, context.command(), &["--qmp", &address])?;
    let client = machine.client()?;
    check_eq!(client.query_status()?.status, RunState::Prelaunch);
    let resumed = client.get_resume_event()?;
    drop(UnixStream::connect(&path)?);
    resumed.recv_timeout(SOON)?;
    check!(client.query_status()?.running, "it does not run");
    client.quit()?;
    machine.machine.expect_exit(0, SOON)?;
    Ok(())
}

/// A client that speaks JSON-RPC.
struct JsonRpc {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl JsonRpc {
    fn new(stream: UnixStream) -> Result<Self, Failure> {
        stream.set_read_timeout(Some(SOON))?;
        let lines = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, lines })
    }

    fn connect(path: &std::path::Path) -> Result<Self, Failure> {
        Self::new(UnixStream::connect(path)?)
    }

    fn read(&mut self) -> Result<Value, Failure> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        let request = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": method});
        self.stream.write_all(request.to_string().as_bytes())?;
        let answer = self.read()?;
        check_eq!(answer["id"], method);
        Ok(answer)
    }
}
