//! Lost connections.

use faultvisor_agent_protocol::failure::FailureKind;
use faultvisor_harness::guest::{Command, Event, GuestError};

use crate::under_test::Agent;

#[test]
fn a_lost_connection_loses_neither_the_program_nor_its_output() {
    let agent = Agent::start();
    let script = "echo one; echo two >&2; read word; echo $word; exit 7";
    let command = Command::new("sh").args(["-c", script]).piped_input();
    let mut lost = agent.guest.spawn(command).unwrap();
    assert_eq!(lost.next_event().unwrap(), Event::Output(b"one\n".to_vec()));
    lost.disconnect();
    let error = loop {
        if let Err(error) = lost.next_event() {
            break error;
        }
    };
    assert!(matches!(error, GuestError::Lost { .. }), "{error}");
    let (output, errors) = lost.received();
    let mut program = agent.guest.attach(&lost).unwrap();
    assert_eq!(program.received(), (output, errors));
    let mut input = program.input().unwrap();
    std::io::Write::write_all(&mut input, b"three\n").unwrap();
    drop(input);
    let rest = program.wait_with_output().unwrap();
    assert_eq!((rest.text(), rest.status.code()), ("three".into(), Some(7)));
    let expected = if errors == 0 { "two" } else { "" };
    assert_eq!(rest.error_text(), expected);
}

#[test]
fn output_beyond_the_bound_is_counted_for_who_attaches() {
    let agent = Agent::start();
    let done = agent.path("done");
    let script = "read go; head -c 3000000 /dev/zero; echo end; touch \"$1\"";
    let command = Command::new("sh").args(["-c", script, "sh"]).arg(&done);
    let mut lost = agent.guest.spawn(command.piped_input()).unwrap();
    let mut input = lost.input().unwrap();
    std::io::Write::write_all(&mut input, b"go\n").unwrap();
    let first = lost.next_event().unwrap();
    assert!(matches!(first, Event::Output(_)), "{first:?}");
    lost.disconnect();
    let wait = Command::new("sh").args(["-c", "until [ -e \"$1\" ]; do sleep 0.05; done", "sh"]);
    agent.guest.run(wait.arg(&done)).unwrap().success().unwrap();
    let mut program = agent.guest.attach(&lost).unwrap();
    let (mut missing, mut last) = (0, Vec::new());
    let status = program.stream(|event| match event {
        Event::Lost { bytes, .. } => missing += bytes,
        Event::Output(bytes) => last.clone_from(bytes),
        _ => {}
    });
    assert!(status.unwrap().is_success());
    assert!(missing > 0);
    assert!(last.ends_with(b"end\n"));
    assert_eq!(program.received().0, 3_000_004);
}

#[test]
fn the_end_of_a_program_is_told_to_who_attaches_later_once() {
    let agent = Agent::start();
    let lost = agent
        .guest
        .spawn(["sh", "-c", "echo over; exit 4"])
        .unwrap();
    lost.disconnect();
    let output = agent
        .guest
        .attach(&lost)
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(
        (output.text(), output.status.code()),
        ("over".into(), Some(4))
    );
    let error = loop {
        // The agent forgets it when it hears that its end is known.
        match agent.guest.attach(&lost) {
            Ok(mut again) => drop(again.wait()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Some(FailureKind::NoSuchRun), "{error}");
}

#[test]
fn an_agent_that_was_started_again_knows_no_run_from_before() {
    let before = Agent::start();
    let lost = before.guest.spawn(["sleep", "1000"]).unwrap();
    let after = Agent::start();
    let error = after.guest.attach(&lost).unwrap_err();
    let expected =
        "attaching to 'sleep 1000': the guest has been started again since the program was";
    assert_eq!(error.to_string(), expected);
    lost.control().kill().unwrap();
}
