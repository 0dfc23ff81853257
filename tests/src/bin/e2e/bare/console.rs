//! The serial console's host side, signals, and several clients.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use faultvisor_harness::child::Guarded;
use faultvisor_tests::bare::{Plan, SOON, pattern};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::check_event;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    output_to_a_slow_reader_arrives_whole,
    output_to_a_file_is_whole_when_the_program_has_ended,
    input_from_a_socket_reaches_the_guest_and_is_echoed,
    a_socket_serves_one_client_after_the_other,
    sigterm_ends_the_machine_in_order,
    the_guest_continues_after_the_end_of_its_input,
    many_clients_at_once_each_receive_everything,
];

/// The output of the guest's `flood`.
fn flood(bytes: usize) -> Vec<u8> {
    let letter = |place: u64| b'a' + u8::try_from(pattern::mix(place) % 26).unwrap_or_default();
    (0..).take(bytes).map(letter).collect()
}

/// Most bytes printed, and for how long: a software KVM takes 50 µs per byte.
const FLOOD: usize = 2 << 20;
const FLOOD_TIME: Duration = Duration::from_secs(5);
/// Least bytes that arrive, however long that takes.
const FLOOD_LENGTH: usize = 32 << 10;

fn output_to_a_slow_reader_arrives_whole(context: &Context) -> Result<(), Failure> {
    let plan = Plan::new(context, &format!("flood {FLOOD}\nexit off"))?;
    let mut command = plan.options(&["--serial", "stdio"]).into_command();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let started = Instant::now();
    let mut process = Guarded::spawn(&mut command)?;
    let missing = || Failure::new("a child without its pipes");
    let mut typed = process.child().stdin.take().ok_or_else(missing)?;
    let mut output = process.child().stdout.take().ok_or_else(missing)?;
    // Keep the pipe's buffer small.
    rustix::pipe::fcntl_setpipe_size(&output, 4096)?;
    let (mut whole, mut ended_early) = (Vec::new(), false);
    for turn in 0.. {
        let mut piece = [0; 300];
        let length = 1 + usize::try_from(pattern::mix(turn) % 300)?;
        match output.read(&mut piece[..length])? {
            0 => break,
            count => whole.extend(&piece[..count]),
        }
        if !ended_early && started.elapsed() > FLOOD_TIME && whole.len() > FLOOD_LENGTH + 1024 {
            typed.write_all(b"e")?;
            ended_early = true;
        }
    }
    let status = process.wait_until(Instant::now() + SOON)?;
    check_eq!(status.and_then(|status| status.code()), Some(0));
    check_flood(&whole)
}

/// Fails unless a console's output is `start`, then as many correct letters as the guest reports.
fn check_flood(output: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(output);
    let (_, letters) = text
        .split_once("flooding\r\n")
        .ok_or_else(|| Failure::new("the guest has not begun"))?;
    let (letters, end) = letters
        .split_once("\r\n")
        .ok_or_else(|| Failure::new("the guest has not ended"))?;
    check!(
        letters.len() >= FLOOD_LENGTH,
        "only {} bytes",
        letters.len()
    );
    let said = format!("FV 1 flooded bytes={}\r\n", letters.len());
    check!(
        end == said,
        "the guest says '{end}', and {} bytes came",
        letters.len()
    );
    check!(
        letters.as_bytes() == flood(letters.len()),
        "the bytes are not those that were printed"
    );
    Ok(())
}

fn output_to_a_file_is_whole_when_the_program_has_ended(context: &Context) -> Result<(), Failure> {
    let log = context.path("console");
    let plan = Plan::new(context, "flood 40960\nexit off")?;
    let serial = format!("file:{}", log.display());
    let mut command = plan.options(&["--serial", &serial]).into_command();
    context.start(&mut command)?.expect_exit(0, SOON)?;
    check_flood(&fs::read(&log)?)
}

/// Starts a machine with its console on a socket, and connects to it.
fn on_socket(context: &Context, script: &str) -> Result<(Guarded, UnixStream), Failure> {
    let path = context.path("console");
    let plan = Plan::new(context, script)?;
    let serial = format!("unix:{}", path.display());
    let mut command = plan.options(&["--serial", &serial, "-S"]).into_command();
    let process = Guarded::spawn(command.stdin(Stdio::null()))?;
    let monitor = Client::connect(&context.path("qmp"), SOON)?;
    let console = connect(&path)?;
    monitor.cont()?;
    Ok((process, console))
}

fn connect(path: &Path) -> Result<UnixStream, Failure> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(SOON))?;
    Ok(stream)
}

/// Reads until the data read ends in `end`.
fn read_to(stream: &mut UnixStream, end: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            let read = String::from_utf8_lossy(&bytes);
            return Err(Failure::new(format!("the console ended after '{read}'")));
        }
        bytes.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn ends_well(mut process: Guarded) -> Result<(), Failure> {
    let status = process.wait_until(Instant::now() + SOON)?;
    check_eq!(status.and_then(|status| status.code()), Some(0));
    Ok(())
}

fn input_from_a_socket_reaches_the_guest_and_is_echoed(context: &Context) -> Result<(), Failure> {
    let (process, mut console) = on_socket(context, "echo 4\nexit off")?;
    read_to(&mut console, "FV 1 echo\r\n")?;
    // More than the UART and the program buffer for the guest.
    let text = String::from_utf8(flood(10_000))?;
    let mut writer = console.try_clone()?;
    let input = format!("{text}\u{4}");
    let typing = std::thread::spawn(move || writer.write_all(input.as_bytes()));
    let echoed = read_to(&mut console, "FV 1 echoed count=10000\r\n")?;
    check!(
        echoed.starts_with(&text),
        "what came back is not what was typed"
    );
    typing
        .join()
        .map_err(|_| Failure::new("the typing thread panicked"))??;
    ends_well(process)
}

fn a_socket_serves_one_client_after_the_other(context: &Context) -> Result<(), Failure> {
    let (process, mut console) =
        on_socket(context, "print first\nawait\nprint second\nawait\nexit off")?;
    read_to(&mut console, "first\r\nFV 2 await\r\n")?;
    // The next client is accepted after this one; output before that is kept for it.
    console.write_all(b"1")?;
    read_to(&mut console, "second\r\nFV 4 await\r\n")?;
    drop(console);
    let mut console = connect(&context.path("console"))?;
    console.write_all(b"2")?;
    read_to(&mut console, "FV 4 came byte=0x32\r\n")?;
    ends_well(process)
}

fn sigterm_ends_the_machine_in_order(context: &Context) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "spin")?.start()?;
    machine.report("spin")?;
    let client = machine.client()?;
    let pid = i32::try_from(machine.machine.id())
        .ok()
        .and_then(Pid::from_raw);
    kill_process(
        pid.ok_or_else(|| Failure::new("no process id"))?,
        Signal::TERM,
    )?;
    check_event(
        &client.next_event()?,
        "SHUTDOWN",
        &[("guest", json!(false)), ("reason", json!("host-signal"))],
    )?;
    machine.ends_well()?;
    check!(
        !context.path("qmp").exists(),
        "the monitor's socket is left behind"
    );
    Ok(())
}

fn the_guest_continues_after_the_end_of_its_input(context: &Context) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "await\nprint more\nexit off")?.start()?;
    machine.machine.console().type_text("x")?;
    machine.machine.console().close_input();
    machine.machine.console().wait_for_line("more", SOON)?;
    machine.ends_well()
}

fn many_clients_at_once_each_receive_everything(context: &Context) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "spin")?.start()?;
    machine.report("spin")?;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(machine.client()?);
    }
    // One client that never reads, and one that has disconnected.
    let silent = machine.client()?;
    drop(machine.client()?);
    let turns = [("stop", "STOP"), ("cont", "RESUME")];
    let turns = turns.into_iter().cycle().take(20);
    for ((command, _), client) in turns.clone().zip(&mut clients) {
        client.execute(command)?;
    }
    for client in &mut clients {
        for (_, event) in turns.clone() {
            check_event(&client.next_event()?, event, &[])?;
        }
    }
    clients[0].quit()?;
    for client in &mut clients {
        check_event(&client.next_event()?, "SHUTDOWN", &[])?;
    }
    drop(silent);
    machine.ends_well()
}
