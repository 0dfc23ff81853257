//! A single command.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use qmp_cli::scripts::{Shell, with_server};
use serde_json::{Value, json};
use support::{Program, Relay, Server, qmp, serve_one};

#[test]
fn an_answer_without_a_terminal_is_json_unless_options_choose() {
    let server = Server::start();
    let status = json!({"running": true, "status": "running"});
    let pretty = server.qmp(&["query-status"]).succeeded();
    assert_eq!(serde_json::from_str::<Value>(&pretty).unwrap(), status);
    assert_eq!(pretty.lines().count(), 4);
    assert_eq!(
        server.qmp(&["query-status", "--pretty"]).succeeded(),
        pretty
    );
    let json = server.qmp(&["--json", "query-status"]).succeeded();
    assert_eq!(json, "{\"running\":true,\"status\":\"running\"}\n");
    let table = server.qmp(&["query-status", "--table"]).succeeded();
    assert_eq!(table, "running  true\nstatus   running\n");
    let table = server.qmp(&["query-block", "--table"]).succeeded();
    let expected = "DEVICE  LOCKED  REMOVABLE  TYPE\ndisk0   false   false      unknown\n\
                    disk1   false   false      unknown\n";
    assert_eq!(table, expected);
}

#[test]
fn key_value_words_arrive_with_the_types_of_the_servers_introspection() {
    let server = Server::start();
    let relay = Relay::to(&server);
    let words = [
        "block-fault-add",
        "device=disk0",
        "action=error",
        "errno=EIO",
        "operations=read,write",
        "sectors=1K",
        "probability=0.5",
        "id=42",
    ];
    let answer = Program::start(relay.path(), &words).ended().succeeded();
    assert_eq!(
        serde_json::from_str::<Value>(&answer).unwrap(),
        json!({"id": "rule-1", "seed": 7})
    );
    let (asked, _) = relay.answered("block-fault-add");
    assert_eq!(
        asked["arguments"],
        json!({"device": "disk0", "action": "error", "errno": "EIO", "operations": ["read", "write"],
               "sectors": 1024, "probability": 0.5, "id": "42"})
    );
}

#[test]
fn json_is_sent_unchanged_without_introspection() {
    let server = Server::start();
    let arguments = json!({"device": "disk0", "action": "hang"});
    let file = server.directory.path().join("rule.json");
    std::fs::write(&file, format!("{arguments:#}\n")).unwrap();
    let words = [
        arguments.to_string(),
        format!("@{}", file.display()),
        "-".to_owned(),
    ];
    for word in words {
        let relay = Relay::to(&server);
        let mut command = qmp(&["block-fault-add", &word, "-s"]);
        Program::spawn(command.arg(relay.path()), &arguments.to_string())
            .ended()
            .succeeded();
        let (asked, _) = relay.answered("block-fault-add");
        assert_eq!(asked["arguments"], arguments);
        let expected = [
            "disable-default-events",
            "qmp_capabilities",
            "block-fault-add",
        ];
        assert_eq!(relay.commands(), expected);
        std::fs::remove_file(relay.path()).unwrap();
    }
}

#[test]
fn a_request_is_executed_as_documents_have_it() {
    let server = Server::start();
    let relay = Relay::to(&server);
    let request = r#"{"execute": "block-fault-add", "arguments": {"device": "disk0", "action": "hang"}, "id": 7}"#;
    let answer = Program::start(relay.path(), &[request, "--json"]).ended();
    assert_eq!(answer.succeeded(), "{\"id\":\"rule-1\",\"seed\":7}\n");
    let (asked, _) = relay.answered("block-fault-add");
    let arguments = json!({"device": "disk0", "action": "hang"});
    assert_eq!(asked["arguments"], arguments);
    let refused = server.qmp(&[r#"{"execute": "stop"}"#, "a=1"]).failed(2);
    assert_eq!(refused, "qmp: a request in JSON stands alone");
    let unknown = server.qmp(&[r#"{"execute": "query-blok"}"#]).failed(1);
    assert!(
        unknown.ends_with("did you mean 'query-block'?"),
        "{unknown}"
    );
}

#[test]
fn a_socket_may_have_a_plain_name() {
    let server = Server::start();
    let mut command = qmp(&["-s", "qmp.sock", "query-status", "--json"]);
    command.current_dir(server.path().parent().unwrap());
    let answer = Program::spawn(&mut command, "").ended().succeeded();
    assert!(answer.starts_with("{\"running\""), "{answer}");
}

#[test]
fn the_options_limit_the_wait_for_a_greeting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("silent.sock");
    // It accepts connections, and never sends a greeting.
    let _listener = UnixListener::bind(&path).unwrap();
    let silent = Program::start(&path, &["--timeout", "0.2", "query-status"])
        .ended()
        .failed(1);
    assert!(silent.contains("sent no greeting within 200ms"), "{silent}");
}

#[test]
fn complete_lists_what_the_server_has() {
    let server = Server::start();
    let socket = server.path().display();
    let complete = |line: &str| {
        let line = format!("qmp -s {socket} {line}");
        let mut command = qmp(&["complete", "--", &line]);
        Program::spawn(&mut command, "").ended().succeeded()
    };
    assert_eq!(complete("query-st"), "query-status\n");
    assert_eq!(complete("--json block_res"), "block_resize\n");
    assert_eq!(complete("block_resize s"), "size=\n");
    assert_eq!(
        complete("block_resize device="),
        "device=disk0\ndevice=disk1\n"
    );
    assert_eq!(complete("watch device=disk1"), "device=disk1\n");
    assert_eq!(complete("watch BLOCK_IO"), "BLOCK_IO_ERROR\n");
    assert_eq!(complete("wat"), "watch\n");
    // No server is listening.
    let nowhere = |line: &str| {
        let mut command = qmp(&["complete", line]);
        Program::spawn(&mut command, "").ended().succeeded()
    };
    assert_eq!(nowhere("qmp -s /no/such/socket "), "help\nshell\nwatch\n");
    assert_eq!(nowhere("qmp -s /no/such/socket query-status a"), "");
}

/// The candidates that bash offers after a line.
fn bash_offers(server: &Server, line: &str) -> Vec<String> {
    // Stands for the generated script, with a function that completes options.
    let script = with_server(Shell::Bash, "_qmp() { COMPREPLY=(an-option); }\n").unwrap();
    let file = server.directory.path().join("completion");
    std::fs::write(&file, script).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_qmp")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c"]);
    bash.arg("source \"$1\"; COMP_LINE=\"$2\"; COMP_POINT=${#COMP_LINE}; _qmp_with_server qmp; printf '%s\\n' \"${COMPREPLY[@]}\"");
    bash.arg("bash").arg(&file).arg(line);
    bash.env("PATH", format!("{}:{path}", program.display()));
    bash.env("QMP_SOCKET", server.path());
    let output = bash.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_keys_and_names() {
    let server = Server::start();
    assert_eq!(bash_offers(&server, "qmp query-st"), ["query-status"]);
    assert_eq!(bash_offers(&server, "qmp block_resize s"), ["size="]);
    // The part before the equals sign is not replaced.
    let disks = bash_offers(&server, "qmp block_resize device=");
    assert_eq!(disks, ["disk0", "disk1"]);
    let operations = bash_offers(&server, "qmp block-fault-add operations=read,fl");
    assert_eq!(operations, ["read,flush"]);
    assert_eq!(bash_offers(&server, "qmp --js"), ["an-option"]);
}

#[test]
fn a_command_can_go_out_of_band_where_the_server_allows_it() {
    let server = Server::start();
    let relay = Relay::to(&server);
    let words = ["--oob", "listen-event", "event=STOP", "id=a"];
    let done = Program::start(relay.path(), &words).ended();
    assert_eq!(done.succeeded(), "{}\n");
    let (asked, _) = relay.answered("listen-event");
    assert_eq!(asked["exec-oob"], "listen-event");
    let refused = server.qmp(&["--oob", "query-status"]).failed(1);
    let expected = "qmp: GenericError: The command query-status does not support OOB";
    assert_eq!(refused, expected);
}

#[test]
fn the_environment_names_the_server() {
    let server = Server::start();
    let mut command = qmp(&["query-status", "--json"]);
    command.env("QMP_SOCKET", format!("unix:{}", server.path().display()));
    let answer = Program::spawn(&mut command, "").ended().succeeded();
    assert!(answer.starts_with("{\"running\""), "{answer}");
    let nowhere = Program::spawn(&mut qmp(&["query-status"]), "")
        .ended()
        .failed(2);
    assert_eq!(
        nowhere,
        "qmp: no server: say --socket ADDRESS, or set QMP_SOCKET"
    );
}

#[test]
fn a_failure_is_one_line_with_its_class_and_status_1() {
    let server = Server::start();
    let refused = server
        .qmp(&["block_resize", "device=x", "size=1M"])
        .failed(1);
    assert_eq!(refused, "qmp: DeviceNotFound: Device 'x' not found");
    let unknown = server.qmp(&["query-blok"]).failed(1);
    let expected =
        "qmp: CommandNotFound: the server has no command 'query-blok'; did you mean 'query-block'?";
    assert_eq!(unknown, expected);
    assert_eq!(server.qmp(&["query-blok", "a=1"]).failed(1), expected);
}

#[test]
fn invalid_arguments_are_refused_unsent_with_status_2() {
    let server = Server::start();
    let relay = Relay::to(&server);
    let refused = |words: &[&str]| Program::start(relay.path(), words).ended().failed(2);
    assert_eq!(
        refused(&["block_resize", "device=x", "sise=1M"]),
        "qmp: block_resize: there is no argument 'sise'; did you mean 'size'?; there are: device, node-name, size"
    );
    assert_eq!(
        refused(&["block_resize", "size=big"]),
        "qmp: block_resize: size=big: expected integer"
    );
    let mismatch = refused(&["block-fault-add", "device=disk0", "action=eror"]);
    assert!(
        mismatch.contains("expected one of error, delay, hang,"),
        "{mismatch}"
    );
    assert!(mismatch.ends_with("did you mean 'error'?"), "{mismatch}");
    assert_eq!(
        refused(&["block_resize", "{\"size\": 1",]),
        "qmp: block_resize: arguments: not JSON: EOF while parsing an object at line 1 column 10"
    );
    let sent = relay.commands();
    assert!(
        sent.iter().all(|name| !name.starts_with("block")),
        "{sent:?}"
    );
    let no_option = qmp(&["query-status", "--jsn"]).output().unwrap();
    assert_eq!(no_option.status.code(), Some(2));
}

#[test]
fn a_peer_that_is_not_a_server_is_an_error_with_status_1() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nobody.sock");
    let missing = Program::start(&path, &["query-status"]).ended().failed(1);
    assert!(missing.contains("No such file or directory"), "{missing}");
    let listener = UnixListener::bind(&path).unwrap();
    let http = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"HTTP/1.0 400 \x1b[31mBad\r\n").unwrap();
    });
    let not_qmp = Program::start(&path, &["query-status"]).ended().failed(1);
    http.join().unwrap();
    assert!(not_qmp.contains("is no QMP server"), "{not_qmp}");
    assert!(!not_qmp.contains('\u{1b}'), "{not_qmp}");
}

#[test]
fn wait_retries_for_as_long_as_given() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("late.sock");
    let began = Instant::now();
    let never = Program::start(&path, &["--wait", "0.3", "query-status"])
        .ended()
        .failed(1);
    assert!(began.elapsed() >= Duration::from_millis(300), "{never}");
}

#[test]
fn timeout_limits_the_wait_for_an_answer() {
    let (_directory, path) = serve_one(|name| {
        Some(format!(
            "{{\"event\": \"ASKED\", \"data\": {{\"for\": \"{name}\"}}, \
        \"timestamp\": {{\"seconds\": 1, \"microseconds\": 2}}}}"
        ))
    });
    let silent = Program::start(&path, &["--timeout", "0.2", "query-status"])
        .ended()
        .failed(1);
    assert!(
        silent.starts_with("qmp: no answer to 'query-status' within"),
        "{silent}"
    );
}

#[test]
fn a_server_that_hangs_up_is_an_error() {
    let (_directory, path) = serve_one(|_| None);
    let gone = Program::start(&path, &["query-status"]).ended().failed(1);
    assert!(gone.ends_with("is closed: the server closed it"), "{gone}");
}

#[test]
fn control_characters_of_a_server_do_not_reach_the_terminal() {
    let hostile = r#"{"return": {"\u001b[2J": "\u001b]0;x\u0007\u009b\u202e\n"}, "id": ID}"#;
    for form in ["--json", "--pretty", "--table"] {
        let (_directory, path) = serve_one(|_| Some(hostile.to_owned()));
        let answer = Program::start(&path, &["query", form]).ended().succeeded();
        let unseen = answer
            .chars()
            .filter(|found| found.is_control() && *found != '\n')
            .count();
        assert_eq!(
            (unseen, answer.contains('\u{202e}')),
            (0, false),
            "{answer:?}"
        );
    }
    let refusal = r#"{"error": {"class": "Bad\u001b", "desc": "\u001b[2J\r\nqmp: ok"}, "id": ID}"#;
    let (_directory, path) = serve_one(|_| Some(refusal.to_owned()));
    let refused = Program::start(&path, &["query"]).ended().failed(1);
    assert!(!refused.contains(char::is_control), "{refused:?}");
}

#[test]
fn invalid_introspection_is_an_error() {
    let deep = format!(
        "{{\"return\": {}{}, \"id\": ID}}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let answers = [
        r#"{"return": 7, "id": ID}"#.to_owned(),
        r#"{"return": [], "id": ID}"#.to_owned(),
        r#"{"return": [{"name": "x", "meta-type": "command", "arg-type": "y", "ret-type": "z"}], "id": ID}"#.to_owned(),
        deep,
    ];
    for said in answers {
        let (_directory, path) = serve_one(move |_| Some(said.clone()));
        Program::start(&path, &["query", "a=1"]).ended().failed(1);
    }
}

#[test]
fn an_answer_that_nobody_reads_is_not_an_error() {
    let server = Server::start();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    let mut command = qmp(&["query-status", "-s"]);
    command
        .arg(server.path())
        .stdout(Stdio::from(File::from(writer)));
    let ended = command.output().unwrap();
    assert_eq!(
        (ended.status.code(), ended.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn help_describes_a_commands_arguments() {
    let server = Server::start();
    let text = server.qmp(&["help", "block_resize"]).succeeded();
    assert!(
        text.contains("\n  [node-name]  string\n  size         integer\n"),
        "{text}"
    );
    let all = server.qmp(&["help"]).succeeded();
    assert!(
        all.contains("block_resize") && all.contains("BLOCK_IO_ERROR"),
        "{all}"
    );
    let none = server.qmp(&["help", "block_resise"]).failed(2);
    assert!(none.ends_with("did you mean 'block_resize'?"), "{none}");
    let version = qmp(&["--version"]).output().unwrap();
    assert!(version.stdout.starts_with(b"qmp 0.") && version.status.success());
}
