//! Output and input of any amount.

use std::io::Write;

use faultvisor_harness::guest::{Command, Event, GuestError};

use crate::under_test::Agent;

const MIB: usize = 1 << 20;

#[test]
fn a_hundred_megabytes_arrive_complete_and_apart_while_the_reader_is_slow() {
    let agent = Agent::start();
    let script = "i=0; while [ $i -lt 50 ]; do head -c 1048576 /dev/zero | tr '\\0' o; \
                  head -c 1048576 /dev/zero | tr '\\0' e >&2; i=$((i+1)); done";
    let mut program = agent.guest.spawn(["sh", "-c", script]).unwrap();
    let mut counts = [0, 0];
    let status = program.stream(|event| match event {
        Event::Output(bytes) => {
            // Slower than the program writes: each byte is looked at one by one.
            assert!(bytes.iter().all(|byte| *std::hint::black_box(byte) == b'o'));
            counts[0] += bytes.len();
        }
        Event::Errors(bytes) => {
            assert!(bytes.iter().all(|byte| *std::hint::black_box(byte) == b'e'));
            counts[1] += bytes.len();
        }
        Event::Ended { .. } => {}
        event => unreachable!("{event:?}"),
    });
    assert!(status.unwrap().is_success());
    assert_eq!(counts, [50 * MIB, 50 * MIB]);
}

#[test]
fn a_reader_that_waits_makes_the_program_wait_and_nobody_else() {
    let agent = Agent::start();
    let progress = agent.path("progress");
    let script = "i=0; while [ $i -lt 64 ]; do head -c 1048576 /dev/zero; i=$((i+1)); echo $i > \"$1\"; done";
    let command = Command::new("sh").args(["-c", script, "sh"]).arg(&progress);
    let mut slow = agent.guest.spawn(command).unwrap();
    let first = slow.next_event().unwrap();
    // Others work meanwhile.
    for _ in 0..20 {
        agent.guest.run(["true"]).unwrap().success().unwrap();
    }
    let written = std::fs::read_to_string(&progress).unwrap_or_default();
    let written: usize = written.trim().parse().unwrap_or(0);
    assert!(written < 8, "{written} MiB went somewhere");
    let Event::Output(first) = first else {
        unreachable!("{first:?}");
    };
    let rest = slow.wait_with_output().unwrap().success().unwrap();
    assert_eq!(first.len() + rest.stdout.len(), 64 * MIB);
}

#[test]
fn input_of_any_amount_comes_back_the_same() {
    let agent = Agent::start();
    let bytes: Vec<u8> = (0..=250).cycle().take(8 * MIB).collect();
    let output = agent.guest.run(Command::new("cat").input(bytes.clone()));
    assert!(output.unwrap().success().unwrap().stdout == bytes);
}

#[test]
fn input_that_is_not_read_delays_no_end() {
    let agent = Agent::start();
    let output = agent
        .guest
        .run(Command::new("true").input(vec![0; 8 * MIB]));
    output.unwrap().success().unwrap();
    let script = "exec 0<&-; echo closed; exec sleep 1000";
    let command = Command::new("sh").args(["-c", script]).piped_input();
    let mut program = agent.guest.spawn(command).unwrap();
    let mut input = program.input().unwrap();
    assert_eq!(
        program.next_event().unwrap(),
        Event::Output(b"closed\n".to_vec())
    );
    input.write_all(&vec![0; 4 * MIB]).unwrap();
    program.control().kill().unwrap();
    drop(input);
    assert_eq!(program.wait().unwrap().shell_code(), 137);
}

#[test]
fn output_beyond_the_bound_is_an_error_and_ends_the_program() {
    let agent = Agent::start();
    let command = Command::new("sh")
        .args(["-c", "echo $$; exec yes"])
        .output_limit(MIB);
    let error = agent.guest.run(command).unwrap_err();
    assert!(matches!(error, GuestError::TooMuchOutput { .. }), "{error}");
    let expected = "'sh -c 'echo $$; exec yes'': more than 1048576 bytes of output";
    assert_eq!(error.to_string(), expected);
}
