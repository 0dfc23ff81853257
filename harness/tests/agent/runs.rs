//! Programs: what they get and what they give.

use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use faultvisor_harness::guest::output::Status;
use faultvisor_harness::guest::{Command, Event};

use crate::hung::{self, Hung};
use crate::under_test::{Agent, SOON};

const MIB: usize = 1 << 20;

#[test]
fn a_program_gives_its_output_apart_and_its_exit_status() {
    let agent = Agent::start();
    let script = "echo out; echo err >&2; exit 3";
    let output = agent.guest.run(["sh", "-c", script]).unwrap();
    assert_eq!(output.status, Status::Exited(3));
    assert_eq!(
        (output.text(), output.error_text()),
        ("out".into(), "err".into())
    );
    let error = output.success().unwrap_err().to_string();
    let expected = "'sh -c 'echo out; echo err >&2; exit 3'' ended with exit status 3\n  stdout: out\n  stderr: err";
    assert_eq!(error, expected);
}

#[test]
fn a_program_that_a_signal_ends_says_which() {
    let agent = Agent::start();
    let output = agent.guest.run(["sh", "-c", "kill -TERM $$"]).unwrap();
    assert_eq!(output.status, Status::Signaled(15));
    assert_eq!(output.status.shell_code(), 143);
}

#[test]
fn a_program_has_the_arguments_environment_directory_and_input_that_it_is_given() {
    let agent = Agent::start();
    let command = Command::new("sh")
        .args(["-c", "pwd; echo $WORD $1; cat", "sh"])
        .arg("a  b")
        .env("WORD", "word")
        .current_dir("/usr")
        .input("typed");
    let output = agent.guest.run(command).unwrap().success().unwrap();
    assert_eq!(output.text(), "/usr\nword a b\ntyped");
    let bare = Command::new("/usr/bin/env").env_clear().env("ONE", "1");
    let output = agent.guest.run(bare).unwrap();
    let is_mark = |line: &&str| !line.starts_with("FAULTVISOR_RUN=");
    let text = output.text();
    assert_eq!(text.lines().filter(is_mark).collect::<Vec<_>>(), ["ONE=1"]);
}

#[test]
fn stdin_that_nobody_asked_for_is_empty() {
    let agent = Agent::start();
    let output = agent.guest.run(["cat"]).unwrap().success().unwrap();
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_thousand_programs_in_a_row_lose_nothing() {
    let agent = Agent::start();
    for number in 0..1000 {
        let text = number.to_string();
        let output = agent.guest.run(["/bin/echo", &text]).unwrap();
        assert_eq!(
            (output.text(), output.status),
            (text.as_str().into(), Status::Exited(0))
        );
    }
    // The agent forgets the last one when it hears that its end is known.
    let by = Instant::now() + SOON;
    while agent.guest.describe().unwrap().runs > 0 {
        assert!(Instant::now() < by);
    }
}

#[test]
fn fifty_programs_run_at_once() {
    let agent = Agent::start();
    // Each waits until all of them run.
    let script =
        "echo x >> \"$1\"; until [ $(wc -l < \"$1\") -eq 50 ]; do sleep 0.1; done; echo $2";
    let together = agent.path("together");
    let threads: Vec<_> = (0..50)
        .map(|number: i32| {
            let guest = agent.guest.clone();
            let command = Command::new("sh").args(["-c", script, "sh"]).arg(&together);
            let command = command.arg(number.to_string());
            thread::spawn(move || (number.to_string(), guest.run(command).unwrap()))
        })
        .collect();
    for thread in threads {
        let (expected, output) = thread.join().unwrap();
        assert_eq!(output.success().unwrap().text(), expected);
    }
}

#[test]
fn a_conversation_goes_both_ways() {
    let agent = Agent::start();
    let command =
        Command::new("sh").args(["-c", "while read word; do echo got $word; done; echo end"]);
    let mut program = agent.guest.spawn(command.piped_input()).unwrap();
    let mut input = program.input().unwrap();
    for word in ["one", "two"] {
        writeln!(input, "{word}").unwrap();
        let expected = Event::Output(format!("got {word}\n").into_bytes());
        assert_eq!(program.next_event().unwrap(), expected);
    }
    drop(input);
    let output = program.wait_with_output().unwrap();
    assert_eq!(output.text(), "end");
}

#[test]
fn a_daemon_outlives_its_program_and_does_not_delay_its_end() {
    let agent = Agent::start();
    let alive = agent.path("alive");
    let script = "(while [ ! -e \"$1.stop\" ]; do echo noise; sleep 0.05; done; echo over > \"$1\") & echo started";
    let command = Command::new("sh").args(["-c", script, "sh"]).arg(&alive);
    let output = agent.guest.run(command).unwrap().success().unwrap();
    assert!(output.text().starts_with("started") || output.text().starts_with("noise"));
    std::fs::write(agent.path("alive.stop"), "").unwrap();
    let wait = Command::new("sh").args(["-c", "until [ -s \"$1\" ]; do sleep 0.05; done", "sh"]);
    agent
        .guest
        .run(wait.arg(&alive))
        .unwrap()
        .success()
        .unwrap();
}

#[test]
fn a_daemon_that_writes_without_a_pause_does_not_delay_the_end() {
    let agent = Agent::start();
    let script = "echo started; for i in 1 2 3 4; do yes noise & done; read go; exit 6";
    for command in [
        Command::new("sh").args(["-c", script]).piped_input(),
        Command::new("sh").args(["-c", script]).terminal(24, 80),
    ] {
        let mut program = agent.guest.spawn(command).unwrap();
        let mut input = program.input().unwrap();
        let by = Instant::now() + SOON;
        let (mut first, mut received) = (Vec::new(), 0);
        let status = loop {
            assert!(Instant::now() < by, "its end is not told");
            match program.next_event().unwrap() {
                Event::Output(bytes) => {
                    // Slower than they write: each byte is looked at several times.
                    assert!((0..50).all(|_| bytes.iter().all(|byte| *black_box(byte) > 0)));
                    assert!(received < 3 * MIB, "more than pipes and sockets hold");
                    let before = received;
                    received += bytes.len();
                    if before == 0 {
                        first = bytes;
                    }
                    // All of them write when it ends.
                    if before < MIB && received >= MIB {
                        input.write_all(b"go\n").unwrap();
                        while Path::new("/proc").join(program.pid().to_string()).exists() {
                            assert!(Instant::now() < by, "it does not end");
                            thread::yield_now();
                        }
                    }
                }
                Event::Ended { status, .. } => break status,
                event => unreachable!("{event:?}"),
            }
        };
        assert_eq!(status, Status::Exited(6));
        assert!(first.starts_with(b"started"));
    }
}

#[test]
fn all_that_a_program_has_written_arrives_before_its_end() {
    let agent = Agent::start();
    // A daemon writes on.
    let script = "head -c 60000 /dev/zero; echo end >&2; yes >&2 & exit 0";
    for _ in 0..3 {
        let output = agent.guest.run(["sh", "-c", script]).unwrap();
        let output = output.success().unwrap();
        assert_eq!(output.stdout.len(), 60_000);
        assert!(output.stderr.starts_with(b"end\n"));
    }
}

#[test]
fn a_program_that_cannot_be_read_from_its_disk_delays_no_other_one() {
    let agent = Agent::start();
    // An ordinary user cannot mount.
    let Some(hung) = Hung::mount(&agent.path("hung")) else {
        return;
    };
    let script = agent.path("script");
    let interpreter = agent.path("hung").join(hung::FILE);
    std::fs::write(&script, format!("#!{}\n", interpreter.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let guest = agent.guest.clone();
    let waits = thread::spawn(move || guest.run([&script]).is_err());
    hung.wait_until_used();
    let (guest, (told, other)) = (agent.guest.clone(), mpsc::channel());
    thread::spawn(move || told.send(guest.run(["true"]).is_ok()));
    let other = other.recv_timeout(SOON);
    drop(hung);
    assert_eq!(other, Ok(true));
    assert!(waits.join().unwrap());
}

#[test]
fn a_terminal_has_its_size_and_takes_another_one() {
    let agent = Agent::start();
    let script =
        "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let command = Command::new("sh").args(["-c", script]).terminal(30, 100);
    let mut program = agent.guest.spawn(command).unwrap();
    let control = program.control();
    let mut seen = Vec::new();
    while let Event::Output(bytes) = program.next_event().unwrap() {
        seen.extend_from_slice(&bytes);
        if seen.ends_with(b"ready\r\n") {
            control.resize(40, 120).unwrap();
        }
    }
    assert_eq!(
        String::from_utf8(seen).unwrap(),
        "30 100\r\nready\r\n40 120\r\n"
    );
}

#[test]
fn a_key_of_a_terminal_interrupts() {
    let agent = Agent::start();
    let command = Command::new("sh").args(["-c", "echo ready; exec sleep 1000"]);
    let command = command.terminal(24, 80).timeout(SOON);
    let mut program = agent.guest.spawn(command).unwrap();
    let mut input = program.input().unwrap();
    assert_eq!(
        program.next_event().unwrap(),
        Event::Output(b"ready\r\n".to_vec())
    );
    input.write_all(b"\x03").unwrap();
    let status = program.stream(|_| {}).unwrap();
    assert_eq!(status, Status::Signaled(2));
}
