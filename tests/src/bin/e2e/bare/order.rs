//! The order of answers and events: each command is answered when it is done, after its events, as in QEMU, which runs
//! the same scripts of commands.

use std::fs::File;
use std::io::ErrorKind;
use std::process::Command;

use faultvisor_harness::Process;
use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::wire::{WireClient, WireError};
use faultvisor_tests::{check, check_eq, microvm, packages, tests, tool};
use serde_json::{Value, json};

use super::{check_state, image, limit_file_size};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    an_answer_follows_the_event_of_its_effect,
    with_no_reboot_a_system_reset_is_answered_after_the_shutdown,
    resets_of_two_sessions_are_both_performed_and_answered,
    a_command_is_answered_once_though_another_session_ends_the_machine,
    a_power_cut_is_answered_after_the_reset_or_stop_that_follows,
    a_cont_during_a_power_cut_is_done_after_it,
    a_cont_that_answers_an_error_is_done_after_the_stop_that_follows_it,
    a_cont_that_answers_a_breakpoint_is_done_after_the_stop_that_follows_it,
    an_io_status_stands_until_cont_and_over_a_reset,
];

/// With QEMU for comparison.
pub const BESIDE_QEMU: &[Test] = tests![
    Needs::Kvm, with sizes;
    answers_and_events_come_in_the_order_of_qemu,
];

/// One command of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScriptCommand {
    Stop,
    Cont,
    Reset,
    Resize,
    Quit,
    Status,
}

/// Commands that leave the machine running.
const SURVIVED: [ScriptCommand; 4] = [
    ScriptCommand::Stop,
    ScriptCommand::Cont,
    ScriptCommand::Reset,
    ScriptCommand::Resize,
];

impl ScriptCommand {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Cont => "cont",
            Self::Reset => "system_reset",
            Self::Resize => "block_resize",
            Self::Quit => "quit",
            Self::Status => "query-status",
        }
    }

    /// The command at that place of a script, with an `id` that identifies it.
    fn command(self, place: usize) -> Value {
        let mut command = json!({ "execute": self.name(), "id": place });
        if self == Self::Resize {
            let sectors = 2048 * (1 + place % 2);
            command["arguments"] = json!({ "device": "disk0", "size": 512 * sectors });
        }
        command
    }
}

/// Sends all in one write, as a client that does not wait for answers.
fn send(client: &mut WireClient, script: &[ScriptCommand]) -> Result<(), Failure> {
    let commands = script.iter().enumerate();
    let text: String = commands
        .map(|(place, step)| step.command(place).to_string())
        .collect();
    Ok(client.send(&text)?)
}

/// An answer or an event without members that vary between runs.
fn line(script: &[ScriptCommand], message: &Value) -> String {
    if let Some(event) = message["event"].as_str() {
        return format!("{event} {}", message["data"]);
    }
    let place = message["id"].as_u64().map(usize::try_from);
    let step = place.and_then(|place| script.get(place.ok()?));
    let name = step.map_or("nothing", |step| step.name());
    match message.get("return") {
        Some(answer) => {
            let mut answer = answer.clone();
            if let Some(members) = answer.as_object_mut() {
                // A member of QEMU 7 that 10 lacks.
                members.remove("singlestep");
            }
            format!("{name}: {answer}")
        }
        None => format!("{name}: {}", message["error"]["class"]),
    }
}

/// Reads until the last command is answered, or to the end if that ends the machine.
fn transcript(client: &mut WireClient, script: &[ScriptCommand]) -> Result<Vec<String>, Failure> {
    let last = script.len().checked_sub(1);
    let is_to_end = script.last() == Some(&ScriptCommand::Quit);
    let mut lines = Vec::new();
    loop {
        match client.next_message("answer", SOON) {
            Ok(message) => {
                lines.push(line(script, &message));
                if !is_to_end && message["id"].as_u64().map(usize::try_from) == last.map(Ok) {
                    return Ok(lines);
                }
            }
            Err(WireError::Closed(_)) if is_to_end => return Ok(lines),
            // QEMU does not read the end of the last line. Its output was read before this.
            Err(WireError::Connection(error))
                if is_to_end && error.kind() == ErrorKind::ConnectionReset =>
            {
                return Ok(lines);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn play(client: &mut WireClient, script: &[ScriptCommand]) -> Result<Vec<String>, Failure> {
    send(client, script)?;
    transcript(client, script)
}

/// A machine with a busy guest, and a session with it.
fn working(context: &Context, options: &[&str]) -> Result<(BareMachine, WireClient), Failure> {
    let disk = context.path("disk");
    File::create(&disk)?.set_len(1 << 20)?;
    let plan = Plan::new(context, "setup 0\nspin")?.disk(&disk, "id=disk0");
    let mut machine = plan.options(options).start()?;
    if !options.contains(&"-S") {
        machine.report("spin")?;
    }
    let mut client = machine.wire_client()?;
    client.negotiate(SOON)?;
    Ok((machine, client))
}

const STOP: &str = "STOP null";
const RESUME: &str = "RESUME null";
const RESET: &str = r#"RESET {"guest":false,"reason":"host-qmp-system-reset"}"#;
const SHUTDOWN: &str = r#"SHUTDOWN {"guest":false,"reason":"host-qmp-quit"}"#;

fn an_answer_follows_the_event_of_its_effect(context: &Context) -> Result<(), Failure> {
    use ScriptCommand::{Cont, Quit, Reset, Status, Stop};
    let (mut machine, mut client) = working(context, &["-S"])?;
    // Repeated: a wrong order may be right by chance.
    for turn in 0..20 {
        let played = play(
            &mut client,
            &[Cont, Stop, Reset, Status, Cont, Reset, Reset],
        )?;
        let expected = [
            RESUME,
            "cont: {}",
            STOP,
            "stop: {}",
            RESET,
            "system_reset: {}",
            r#"query-status: {"running":false,"status":"prelaunch"}"#,
            RESUME,
            "cont: {}",
            RESET,
            "system_reset: {}",
            RESET,
            "system_reset: {}",
        ];
        check!(played == expected, "turn {turn}: {played:#?}");
        check_eq!(play(&mut client, &[Stop])?, [STOP, "stop: {}"]);
    }
    let played = play(&mut client, &[Reset, Quit])?;
    check_eq!(played, [RESET, "system_reset: {}", SHUTDOWN, "quit: {}"]);
    machine.ends_well()
}

fn with_no_reboot_a_system_reset_is_answered_after_the_shutdown(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, mut client) = working(context, &["--no-reboot"])?;
    send(&mut client, &[ScriptCommand::Reset])?;
    let shutdown = client.next_message("SHUTDOWN", SOON)?;
    check_eq!(
        line(&[], &shutdown),
        SHUTDOWN.replace("quit", "system-reset")
    );
    let answer = client.next_message("answer", SOON)?;
    check_eq!(line(&[ScriptCommand::Reset], &answer), "system_reset: {}");
    machine.ends_well()
}

fn resets_of_two_sessions_are_both_performed_and_answered(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, mut first) = working(context, &[])?;
    let mut second = machine.wire_client()?;
    second.negotiate(SOON)?;
    for turn in 0..20 {
        let script = [
            ScriptCommand::Reset,
            ScriptCommand::Stop,
            ScriptCommand::Cont,
        ];
        for client in [&mut first, &mut second] {
            send(client, &script)?;
        }
        for client in [&mut first, &mut second] {
            let mut lines = transcript(client, &script)?;
            // The other session's reset may be reported after this one's last answer.
            let resets = |lines: &[String]| lines.iter().filter(|line| *line == RESET).count();
            while resets(&lines) < 2 {
                lines.push(line(&[], &client.next_message("RESET", SOON)?));
            }
            let place = |wanted: &str| lines.iter().position(|line| line == wanted);
            check!(
                place(RESET) < place("system_reset: {}") && resets(&lines) == 2,
                "turn {turn}: {lines:#?}"
            );
        }
        // Messages after the last of the two answers.
        for client in [&mut first, &mut second] {
            play(client, &[ScriptCommand::Status])?;
        }
    }
    play(&mut first, &[ScriptCommand::Quit])?;
    machine.ends_well()
}

fn a_command_is_answered_once_though_another_session_ends_the_machine(
    context: &Context,
) -> Result<(), Failure> {
    for turn in 0..15 {
        let step = [
            ScriptCommand::Reset,
            ScriptCommand::Stop,
            ScriptCommand::Resize,
        ][turn % 3];
        let (mut machine, mut first) = working(context, &[])?;
        let mut second = machine.wire_client()?;
        second.negotiate(SOON)?;
        send(&mut first, &[step])?;
        send(&mut second, &[ScriptCommand::Quit])?;
        let mut answers = 0;
        loop {
            match first.next_message("answer", SOON) {
                Ok(message) => answers += usize::from(message.get("event").is_none()),
                Err(WireError::Closed(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        // A command that arrives after the machine's end is not answered.
        check!(answers <= 1, "{step:?}: {answers} answers");
        let lines = transcript(&mut second, &[ScriptCommand::Quit])?;
        check_eq!(lines[lines.len() - 2..], [SHUTDOWN, "quit: {}"]);
        machine.ends_well()?;
    }
    Ok(())
}

fn a_power_cut_is_answered_after_the_reset_or_stop_that_follows(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, mut client) = working(context, &[])?;
    for (then, follows) in [("reset", RESET), ("stop", STOP), ("quit", SHUTDOWN)] {
        let arguments = json!({ "then": then });
        let command = json!({ "execute": "block-power-cut", "arguments": arguments });
        client.send(&command.to_string())?;
        let cut = client.next_message("BLOCK_POWER_CUT", SOON)?;
        check_eq!(cut["event"], "BLOCK_POWER_CUT");
        check_eq!(line(&[], &client.next_message(then, SOON)?), follows);
        let answer = client.next_message("answer", SOON)?;
        check_eq!(answer, json!({ "return": {} }));
    }
    machine.ends_well()
}

fn a_cont_during_a_power_cut_is_done_after_it(context: &Context) -> Result<(), Failure> {
    let (mut machine, mut first) = working(context, &[])?;
    let mut second = machine.wire_client()?;
    second.negotiate(SOON)?;
    // Repeated: power may return before the second session learns of the cut.
    for turn in 0..50 {
        let arguments = json!({ "then": "stop" });
        let cut = json!({ "execute": "block-power-cut", "arguments": arguments });
        first.send(&cut.to_string())?;
        let gone = second.next_message("BLOCK_POWER_CUT", SOON)?;
        check_eq!(gone["event"], "BLOCK_POWER_CUT");
        let played = play(&mut second, &[ScriptCommand::Cont])?;
        check!(
            played == [STOP, RESUME, "cont: {}"],
            "turn {turn}: {played:?}"
        );
        for expected in ["BLOCK_POWER_CUT", "STOP", "return", "RESUME"] {
            let message = first.next_message(expected, SOON)?;
            check!(
                message["event"] == expected || message.get(expected).is_some(),
                "turn {turn}: {message}, not {expected}"
            );
        }
    }
    check_eq!(
        play(&mut first, &[ScriptCommand::Stop])?,
        [STOP, "stop: {}"]
    );
    check_eq!(
        play(&mut first, &[ScriptCommand::Quit])?,
        [SHUTDOWN, "quit: {}"]
    );
    machine.ends_well()
}

/// A machine whose guest waits before each access to its disk, and a session with connections to its stops and errors,
/// without a rate limit.
fn about_to_stop(
    context: &Context,
    steps: &str,
    event: &str,
) -> Result<(BareMachine, WireClient), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let plan = Plan::new(context, &format!("setup 0\nawait\n{steps}exit off"))?;
    let mut machine = plan.disk(&disk, "id=disk0,werror=stop").start()?;
    machine.report("await")?;
    let mut client = machine.wire_client()?;
    client.next_message("greeting", SOON)?;
    client.execute("disable-default-events", None, SOON)?;
    client.execute("qmp_capabilities", None, SOON)?;
    for event in [event, "stop", "resume"] {
        client.execute(&format!("get-{event}-event"), None, SOON)?;
    }
    Ok((machine, client))
}

/// Waits for an event, unless it has arrived already.
fn hear(client: &mut WireClient, event: &str, already: Option<String>) -> Result<(), Failure> {
    let came = match already {
        Some(came) => came,
        None => line(&[], &client.next_message(event, SOON)?),
    };
    check!(came.starts_with(event), "{came}, not {event}");
    Ok(())
}

/// Answers an event with `cont` at once. The same event may recur before the answer; then it is returned.
fn answer_with_cont(client: &mut WireClient, event: &str) -> Result<Option<String>, Failure> {
    let is_it = |text: &str| text.starts_with(event);
    let mut played = play(client, &[ScriptCommand::Cont])?;
    let again = (played.len() == 4).then(|| played.remove(2));
    check!(
        played == [STOP, RESUME, "cont: {}"] && again.as_deref().is_none_or(is_it),
        "{played:?}, {again:?}"
    );
    Ok(again)
}

fn a_cont_that_answers_an_error_is_done_after_the_stop_that_follows_it(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, mut client) = about_to_stop(context, "write 0 32 8 5\n", "block-io-error")?;
    limit_file_size(&machine.machine, Some(4096))?;
    machine.machine.console().type_text("c")?;
    let mut again = None;
    for turn in (0..200).rev() {
        hear(&mut client, "BLOCK_IO_ERROR", again)?;
        if turn == 0 {
            limit_file_size(&machine.machine, None)?;
        }
        again = answer_with_cont(&mut client, "BLOCK_IO_ERROR")?;
    }
    machine.report("done")?.expect(1, 0, 0)?;
    machine.ends_well()
}

fn a_cont_that_answers_a_breakpoint_is_done_after_the_stop_that_follows_it(
    context: &Context,
) -> Result<(), Failure> {
    const WRITES: usize = 100;
    let steps = "write 0 32 8 5\n".repeat(WRITES);
    let (mut machine, mut client) = about_to_stop(context, &steps, "block-fault-injected")?;
    let rule = json!({ "device": "disk0", "action": "stop" });
    client.execute("block-fault-add", Some(rule), SOON)?;
    machine.machine.console().type_text("c")?;
    let mut again = None;
    for _ in 0..WRITES {
        hear(&mut client, "BLOCK_FAULT_INJECTED", again)?;
        again = answer_with_cont(&mut client, "BLOCK_FAULT_INJECTED")?;
    }
    machine.ends_well()
}

/// As in QEMU 7.2 and 10 with a drive that has a name.
fn an_io_status_stands_until_cont_and_over_a_reset(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let plan = Plan::new(context, "setup 0\nawait\nwrite 0 32 8 5\nexit off")?;
    let mut machine = plan.disk(&disk, "werror=stop").start()?;
    let client = machine.client()?;
    machine.report("await")?;
    limit_file_size(&machine.machine, Some(4096))?;
    machine.machine.console().type_text("c")?;
    client.wait_for_event("STOP")?;
    check_state(&client, "io-error", "failed")?;
    client.system_reset()?;
    check_state(&client, "prelaunch", "failed")?;
    limit_file_size(&machine.machine, None)?;
    client.cont()?;
    check_state(&client, "running", "ok")?;
    machine.report("await")?;
    machine.machine.console().type_text("c")?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.ends_well()
}

/// QEMU's microvm with the same guest and disk, before its first instruction.
fn qemu(context: &Context) -> Result<(Process, WireClient), Failure> {
    let program = tool::find(packages::QEMU.program);
    let program = program.ok_or_else(|| Failure::skip(format!("no {}", packages::QEMU.program)))?;
    let (disk, initrd, socket) = ["qemu-disk", "qemu-script", "qemu-qmp"]
        .map(|name| context.path(name))
        .into();
    File::create(&disk)?.set_len(1 << 20)?;
    std::fs::write(&initrd, "setup 0\nspin")?;
    let mut command: Command = microvm::emulated(&program, context.bare_guest(), &initrd, 48);
    command.arg("-S").arg("-drive");
    command.arg(format!(
        "if=none,id=disk0,format=raw,file={}",
        disk.display()
    ));
    command.args(["-device", "virtio-blk-device,drive=disk0,id=disk0", "-qmp"]);
    command.arg(format!("unix:{},server=on,wait=off", socket.display()));
    let process = context.start(&mut command)?;
    let mut client = WireClient::connect(&socket, SOON)?;
    client.negotiate(SOON)?;
    Ok((process, client))
}

/// Every script of that length.
fn scripts(length: usize) -> Vec<Vec<ScriptCommand>> {
    (0..length).fold(vec![Vec::new()], |shorter, _| {
        let longer = |script: &Vec<ScriptCommand>| {
            let script = script.clone();
            SURVIVED.map(|step| [&script[..], &[step]].concat())
        };
        shorter.iter().flat_map(longer).collect()
    })
}

/// Runs every script of four commands that keep the machine running on one machine, which covers shorter ones; and
/// every script that ends with `quit` on a machine of its own.
fn answers_and_events_come_in_the_order_of_qemu(context: &Context) -> Result<(), Failure> {
    let (mut their_process, mut theirs) = qemu(context)?;
    let (mut machine, mut ours) = working(context, &["-S"])?;
    let mut count = 0;
    for script in scripts(4) {
        // Starting from a running machine, in the state that the previous script left.
        let script = [
            &[ScriptCommand::Cont],
            &script[..],
            &[ScriptCommand::Status],
        ]
        .concat();
        let expected = play(&mut theirs, &script)?;
        let played = play(&mut ours, &script)?;
        check!(
            played == expected,
            "{script:?}: {played:#?}, where QEMU has {expected:#?}"
        );
        count += 1;
    }
    for client in [&mut theirs, &mut ours] {
        play(client, &[ScriptCommand::Quit])?;
    }
    their_process.expect_exit(0, SOON)?;
    machine.ends_well()?;
    for length in 0..=context.size().choose(2, 3) {
        for mut script in scripts(length) {
            script.push(ScriptCommand::Quit);
            let (mut their_process, mut theirs) = qemu(context)?;
            let expected = play(&mut theirs, &script)?;
            their_process.expect_exit(0, SOON)?;
            let (mut machine, mut ours) = working(context, &["-S"])?;
            let played = play(&mut ours, &script)?;
            machine.ends_well()?;
            check!(
                played == expected,
                "{script:?}: {played:#?}, where QEMU has {expected:#?}"
            );
            count += 1;
        }
    }
    context.note(&format!("{count} scripts"));
    Ok(())
}
