//! Programs that cannot be run: one clear line each.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use faultvisor_agent_protocol::failure::FailureKind;
use faultvisor_harness::guest::{Command, GuestError};

use crate::under_test::Agent;

fn fails(agent: &Agent, command: impl Into<Command>) -> (FailureKind, String) {
    let error = agent.guest.run(command).unwrap_err();
    let GuestError::Failed { failure, .. } = &error else {
        unreachable!("{error:?}");
    };
    assert!(!error.to_string().contains('\n'));
    (failure.kind, failure.message.clone())
}

fn executable(path: &Path, text: &[u8]) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_program_that_is_not_there_is_named_with_where_it_was_looked_for() {
    let agent = Agent::start();
    let command = Command::new("no-such-program").env("PATH", "/usr/bin:/bin");
    let expected = "there is no program 'no-such-program' in /usr/bin:/bin".to_owned();
    assert_eq!(
        fails(&agent, command),
        (FailureKind::NoSuchProgram, expected)
    );
    let expected = "there is no program '/no/such': No such file or directory".to_owned();
    assert_eq!(
        fails(&agent, ["/no/such"]),
        (FailureKind::NoSuchProgram, expected)
    );
    let expected = "no program is named".to_owned();
    assert_eq!(fails(&agent, [""]), (FailureKind::NoSuchProgram, expected));
}

#[test]
fn a_file_that_is_not_executable_is_told_from_one_that_is_not_there() {
    let agent = Agent::start();
    let path = agent.path("data");
    fs::write(&path, "data").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let expected = format!("'{}' is not executable: its mode is 0644", path.display());
    assert_eq!(
        fails(&agent, [&path]),
        (FailureKind::NotExecutable, expected)
    );
    let expected = "'/usr' is not executable: it is a directory".to_owned();
    assert_eq!(
        fails(&agent, ["/usr"]),
        (FailureKind::NotExecutable, expected)
    );
    let damaged = agent.path("damaged");
    executable(&damaged, b"\x7fELF\x02\x01\x01 of nothing");
    let (kind, message) = fails(&agent, [&damaged]);
    assert_eq!(kind, FailureKind::NotExecutable, "{message}");
}

#[test]
fn an_interpreter_or_a_loader_that_is_missing_is_named() {
    let agent = Agent::start();
    let script = agent.path("script");
    executable(&script, b"#!/usr/bin/no-such-python -E\nprint()\n");
    let expected = format!(
        "'{}' needs '/usr/bin/no-such-python', which is not there",
        script.display()
    );
    assert_eq!(
        fails(&agent, [&script]),
        (FailureKind::NoInterpreter, expected)
    );

    // A real program, with the name of its loader changed.
    let mut program = fs::read("/bin/true").unwrap();
    let loader = b"/lib64/ld-linux-x86-64.so.2\0";
    let at = program
        .windows(loader.len())
        .position(|bytes| bytes == loader)
        .unwrap();
    program[at + 1] = b'X';
    let path = agent.path("program");
    executable(&path, &program);
    let expected = format!(
        "'{}' needs '/Xib64/ld-linux-x86-64.so.2', which is not there",
        path.display()
    );
    assert_eq!(
        fails(&agent, [&path]),
        (FailureKind::NoInterpreter, expected)
    );
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let agent = Agent::start();
    let expected = "there is no directory '/no/such'".to_owned();
    let command = Command::new("true").current_dir("/no/such");
    assert_eq!(
        fails(&agent, command),
        (FailureKind::NoSuchDirectory, expected)
    );
}

#[test]
fn an_agent_that_is_not_there_is_named_by_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nobody");
    let address = faultvisor_harness::guest::connect::Address::Unix(path.clone());
    let error = faultvisor_harness::Guest::at(address)
        .run(["true"])
        .unwrap_err();
    let expected = format!(
        "cannot connect to '{}': No such file or directory (os error 2)",
        path.display()
    );
    assert_eq!(format!("{error:?}"), expected);
}
