//! Time limits and signals.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use faultvisor_agent_protocol::failure::FailureKind;
use faultvisor_harness::guest::output::Status;
use faultvisor_harness::guest::{Command, Event, GuestError, Running};

use crate::hung::Hung;
use crate::under_test::{Agent, SOON};

/// A script that starts a tree: a child, an orphan, and one that leads a session of its own, whose IDs it prints.
const TREE: &str = "sleep 1000 & echo $!; (sleep 1000 & echo $!); setsid sh -c 'echo $$; exec sleep 1000' & \
                    echo $$; wait";

fn ids(text: &str) -> Vec<u32> {
    text.split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

/// Waits until none of these processes lives, as for the kernel to end what was killed.
fn wait_until_dead(ids: &[u32]) {
    let by = Instant::now() + SOON;
    let lives = |id: &u32| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat"));
        stat.is_ok_and(|stat| stat.contains("(sleep)") && !stat.contains(") Z "))
    };
    while ids.iter().any(lives) {
        assert!(Instant::now() < by, "some of {ids:?} live");
        std::thread::yield_now();
    }
}

#[test]
fn a_time_limit_kills_the_program_with_all_that_descends_from_it() {
    let agent = Agent::start();
    let command = Command::new("sh")
        .args(["-c", TREE])
        .timeout(Duration::from_millis(500));
    let output = agent.guest.run(command).unwrap();
    assert_eq!(output.status, Status::TimedOut);
    assert_eq!(output.status.shell_code(), 124);
    assert!(output.duration >= Duration::from_millis(500), "{output:?}");
    let error = output.clone().success().unwrap_err().to_string();
    assert!(
        error.contains("ended with the end of its time limit"),
        "{error}"
    );
    let ids = ids(&output.text());
    assert_eq!(ids.len(), 4);
    wait_until_dead(&ids);
}

#[test]
fn killing_a_program_kills_all_that_descends_from_it() {
    let agent = Agent::start();
    let mut program = agent.guest.spawn(["sh", "-c", TREE]).unwrap();
    let mut text = String::new();
    while text.lines().count() < 4 {
        if let Event::Output(bytes) = program.next_event().unwrap() {
            text.push_str(&String::from_utf8(bytes).unwrap());
        }
    }
    program.control().kill().unwrap();
    assert_eq!(program.wait().unwrap(), Status::Signaled(9));
    wait_until_dead(&ids(&text));
}

/// How a program ends that waits for a disk that does not answer, and was killed as `kill` does.
fn end_on_a_hung_disk(
    command: impl Fn(Command) -> Command,
    kill: impl Fn(&Running),
) -> Option<(FailureKind, String)> {
    let agent = Agent::start();
    let hung = Hung::mount(&agent.path("hung"))?;
    let command = command(Command::new("stat").arg(agent.path("hung/other")));
    let mut program = agent.guest.spawn(command).unwrap();
    hung.wait_until_used();
    kill(&program);
    let (told, ended) = mpsc::channel();
    thread::spawn(move || {
        let end = program.wait();
        let _ = told.send((program, end));
    });
    let (program, end) = ended.recv_timeout(SOON).unwrap();
    let error = end.unwrap_err();
    // Whoever attaches waits for the end.
    let mut again = agent.guest.attach(&program).unwrap();
    drop(hung);
    let status = again.wait().unwrap();
    assert!(matches!(status, Status::Signaled(9) | Status::TimedOut));
    let GuestError::Failed { failure, .. } = error else {
        unreachable!("{error:?}");
    };
    Some((failure.kind, failure.message))
}

const WHY: &str = "does not end although it was killed: it waits in the kernel, as for a disk that does not answer";

#[test]
fn a_program_that_a_kill_does_not_end_is_a_failure() {
    let end = end_on_a_hung_disk(
        |command| command,
        |program| program.control().kill().unwrap(),
    );
    // An ordinary user cannot mount.
    let Some(end) = end else { return };
    let expected = format!("the program {WHY}");
    assert_eq!(end, (FailureKind::Unkillable, expected));
}

#[test]
fn a_program_that_its_time_limit_does_not_end_is_a_failure() {
    let limit = Duration::from_millis(500);
    let end = end_on_a_hung_disk(|command| command.timeout(limit), |_| {});
    let Some(end) = end else { return };
    let expected = format!("the program's time limit has passed, and it {WHY}");
    assert_eq!(end, (FailureKind::Unkillable, expected));
}

#[test]
fn a_signal_reaches_the_program() {
    let agent = Agent::start();
    let script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut program = agent.guest.spawn(["sh", "-c", script]).unwrap();
    assert_eq!(
        program.next_event().unwrap(),
        Event::Output(b"ready\n".to_vec())
    );
    program.control().signal(15).unwrap();
    let output = program.wait_with_output().unwrap();
    assert_eq!(
        (output.text(), output.status),
        ("caught".into(), Status::Exited(5))
    );
}

#[test]
fn a_program_that_has_ended_takes_no_signal() {
    let agent = Agent::start();
    let mut program = agent.guest.spawn(["true"]).unwrap();
    let control = program.control();
    assert!(program.wait().unwrap().is_success());
    // The agent forgets it when it hears that its end is known.
    let by = Instant::now() + SOON;
    let error = loop {
        if let Err(error) = control.signal(15) {
            break error.to_string();
        }
        assert!(Instant::now() < by);
    };
    assert_eq!(
        error,
        "sending signal 15 to 'true': there is no run 1: it has ended, or never was"
    );
}
