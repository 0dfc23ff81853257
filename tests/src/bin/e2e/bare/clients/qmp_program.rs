//! `qmp`, the command-line client, with Faultvisor's monitor and with QEMU's.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use faultvisor_harness::child::Guarded;
use faultvisor_harness::transcript::Transcript;
use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::suite::{Context, Failure};
use faultvisor_tests::{check, check_eq};
use serde_json::{Value, json};

use super::libqmp::Qemu;
use crate::bare::image;

/// The program, for the server at a socket.
struct Client<'a> {
    context: &'a Context,
    socket: &'a Path,
}

impl Client<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.context.qmp());
        command.arg("--socket").arg(self.socket);
        command.args(["--wait", "40", "--json"]).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// The exit status, standard output and standard error.
    fn run(&self, arguments: &[&str]) -> Result<(Option<i32>, String, String), Failure> {
        let output = self.command(arguments).output()?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok((
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        ))
    }

    /// The answer to a command that has to succeed.
    fn execute(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let (status, answer, errors) = self.run(arguments)?;
        check!(
            status == Some(0) && errors.is_empty(),
            "{arguments:?}: {errors}"
        );
        Ok(serde_json::from_str(&answer)?)
    }

    /// The error of a command that has to fail.
    fn fails(&self, status: i32, arguments: &[&str]) -> Result<String, Failure> {
        let (ended, answer, errors) = self.run(arguments)?;
        check!(
            ended == Some(status) && answer.is_empty(),
            "{arguments:?}: {ended:?}, {answer}"
        );
        Ok(errors)
    }
}

/// A client that watches.
struct Watch {
    process: Guarded,
    events: Transcript,
    seen: usize,
}

impl Watch {
    fn start(command: &mut Command) -> Result<Self, Failure> {
        command.stdout(Stdio::piped());
        let mut process = Guarded::spawn(command)?;
        let output = process.child().stdout.take();
        let output = output.ok_or_else(|| Failure::new("a child without its pipe"))?;
        Ok(Self {
            process,
            events: Transcript::record(output)?,
            seen: 0,
        })
    }

    fn event(&mut self) -> Result<Value, Failure> {
        let line = self.events.line(self.seen, Instant::now() + SOON);
        let line = line.map_err(|why| Failure::new(format!("no event: {why}")))?;
        self.seen += 1;
        Ok(serde_json::from_str(&line.text)?)
    }

    fn ends(mut self) -> Result<(), Failure> {
        let status = self.process.wait_until(Instant::now() + SOON)?;
        check_eq!(status.and_then(|status| status.code()), Some(0));
        Ok(())
    }
}

pub fn qmp_adds_a_fault_and_sees_its_error(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let plan = Plan::new(context, "setup 0\nwrite 0 100 8 7\nspin")?.options(&["-S"]);
    let mut machine = plan.disk(&disk, "id=d0,werror=stop").start()?;
    let socket = machine.socket().to_owned();
    let client = Client {
        context,
        socket: &socket,
    };
    let disks = client.execute(&["query-block"])?;
    check_eq!(disks[0]["device"], "d0");
    let rule = [
        "block-fault-add",
        "device=d0",
        "action=error",
        "errno=ENOSPC",
        "operations=write,flush",
        "id=1",
    ];
    check_eq!(client.execute(&rule)?["id"], "1");
    let unknown = client.fails(
        2,
        &["block-fault-add", "device=d0", "action=delay", "errno=EIO"],
    )?;
    check!(
        unknown.contains("'errno' goes with action=error"),
        "{unknown}"
    );

    // The stop is the current state, which is replayed when the watch begins.
    let words = [
        "watch",
        "BLOCK_IO_ERROR",
        "STOP",
        "--initial",
        "--count",
        "2",
    ];
    let mut watch = Watch::start(&mut client.command(&words))?;
    let stopped = watch.event()?;
    check!(
        stopped["event"] == "STOP" && stopped["initial"] == true,
        "{stopped}"
    );
    client.execute(&["cont"])?;
    let error = watch.event()?;
    check_eq!(error["event"], "BLOCK_IO_ERROR");
    check_eq!(error["data"]["reason"], "No space left on device");
    check!(error.get("initial").is_none(), "{error}");
    watch.ends()?;
    // The state is replayed to a late subscriber that filters by the disk.
    let words = [
        "watch",
        "BLOCK_IO_ERROR",
        "device=d0",
        "--initial",
        "--count",
        "1",
    ];
    let late = client.execute(&words)?;
    check!(
        late["data"] == error["data"] && late["initial"] == true,
        "{late}"
    );
    let faults = client.execute(&["query-block-faults"])?;
    check_eq!(faults[0]["rules"][0]["hits"], 1);
    check_eq!(client.execute(&["quit"])?, json!({}));
    machine.ends_well()
}

pub fn qmp_scripts_and_watches_qemu(context: &Context) -> Result<(), Failure> {
    let qemu = Qemu::start(context)?;
    let socket = qemu.socket().to_owned();
    let client = Client {
        context,
        socket: &socket,
    };
    check_eq!(client.execute(&["query-status"])?["status"], "running");
    let script = context.path("script");
    let lines = "object-add qom-type=memory-backend-ram id=m42 size=1M share=on\n\
                 qom-get path=/objects/m42 property=size\n\
                 blockdev-add driver=null-co node-name=n0 size=64K\n\
                 blockdev-add {\"driver\": \"raw\", \"node-name\": \"r0\", \"file\": \"n0\"}\n\
                 watch STOP\nstop\ncont\n";
    std::fs::write(&script, lines)?;
    let mut shell = client.command(&["shell"]);
    let output = shell.stdin(File::open(&script)?).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    check!(output.status.success(), "{said}");
    let output = String::from_utf8_lossy(&output.stdout);
    let answers: Result<Vec<Value>, _> = output.lines().map(serde_json::from_str).collect();
    let (events, answers): (Vec<Value>, Vec<Value>) = answers?
        .into_iter()
        .partition(|answer| answer.get("event").is_some());
    let nothing = json!({});
    let size = json!(1 << 20);
    let expected = [&nothing, &size, &nothing, &nothing, &nothing, &nothing];
    check_eq!(answers.iter().collect::<Vec<_>>(), expected);
    let names: Vec<&Value> = events.iter().map(|event| &event["event"]).collect();
    check_eq!(names, ["STOP"]);
    let nodes = client.execute(&["query-named-block-nodes", "flat=true"])?;
    check_eq!(nodes.as_array().map(Vec::len), Some(2));
    check_eq!(client.execute(&["quit"])?, json!({}));
    qemu.ends()
}

pub fn qmp_refuses_and_suggests_on_qemu(context: &Context) -> Result<(), Failure> {
    let qemu = Qemu::start(context)?;
    let socket = qemu.socket().to_owned();
    let client = Client {
        context,
        socket: &socket,
    };
    let unknown = client.fails(1, &["query-blok"])?;
    check!(
        unknown.ends_with("did you mean 'query-block'?\n"),
        "{unknown}"
    );
    let refused = client.fails(1, &["block_resize", "device=none", "size=4K"])?;
    check!(
        refused.starts_with("qmp: ") && refused.contains("none"),
        "{refused}"
    );
    let misspelt = client.fails(2, &["blockdev-add", "driver=nul-co", "node-name=n"])?;
    check!(
        misspelt.ends_with("did you mean 'null-co'?\n"),
        "{misspelt}"
    );
    let event = client.fails(1, &["watch", "STOPP"])?;
    check_eq!(
        event,
        "qmp: the server has no event 'STOPP'; did you mean 'STOP'?\n"
    );
    let (_, help, _) = client.run(&["help", "blockdev-add"])?;
    check!(help.contains("with driver=null-co:\n"), "{help}");
    check_eq!(client.execute(&["quit"])?, json!({}));
    qemu.ends()
}
