//! QEMU's schema, of the version in the greeting: our part of it is equal, and our messages conform to it.

mod differences;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::client::Client;
use faultvisor_tests::qemu_schema::{Model, Witness, compare};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::wire::WireClient;
use faultvisor_tests::{check, check_eq, tests, tool};
use libqmp::{Direction, Session};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use differences::{Difference, OF_MESSAGES, OF_SCHEMAS};

pub const WITHOUT_GUEST: &[Test] = tests![
    Needs::Nothing;
    the_schema_is_qemus_but_for_what_is_listed,
];

pub const WITH_GUEST: &[Test] = tests![
    Needs::Kvm;
    answers_and_events_fit_the_schema_of_the_qemu_that_the_greeting_claims,
];

/// This project's schema at build time.
const OWN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../schema/qapi/qapi-schema.json"
);

/// Fails for an unlisted difference, and for a listed one that does not exist.
fn check_listed(found: &BTreeSet<String>, listed: &[Difference]) -> Result<(), Failure> {
    let is_listed = |found: &&String| listed.iter().any(|difference| difference.is(found));
    let unlisted: Vec<&String> = found.iter().filter(|found| !is_listed(found)).collect();
    check!(unlisted.is_empty(), "differences from QEMU: {unlisted:#?}");
    for Difference { what, why } in listed {
        let listed = Difference { what, why };
        let is_one = found.iter().any(|found| listed.is(found));
        check!(is_one, "no difference any more: {what} ({why})");
    }
    Ok(())
}

fn the_schema_is_qemus_but_for_what_is_listed(context: &Context) -> Result<(), Failure> {
    let ours = Model::own(Path::new(OWN))?;
    let theirs = Model::foreign(&context.qemu_schema()?.file())?;
    let common = ours
        .commands()
        .keys()
        .filter(|name| theirs.commands().contains_key(*name));
    let common = common.count();
    let events = ours
        .events()
        .keys()
        .filter(|name| theirs.events().contains_key(*name));
    let events = events.count();
    check!(
        common >= 20 && events >= 10,
        "{common} commands and {events} events in common"
    );
    context.note(&format!(
        "{common} commands and {events} events in common with QEMU"
    ));
    check_listed(&compare(&ours, &theirs), OF_SCHEMAS)
}

/// A client that uses everything that QEMU has, too, read by a witness.
struct Examiner {
    client: Client,
}

impl Examiner {
    fn connect(machine: &BareMachine, witness: &Arc<Witness>) -> Result<Self, Failure> {
        let observer = Arc::clone(witness);
        let options = Session::options().within(SOON).timeout(SOON);
        let options = options.observe(move |direction, line| observer.line(direction, line));
        let session = options.connect(&format!("unix:{}", machine.socket().display()))?;
        let client = Client::of(session, SOON)?;
        Ok(Self { client })
    }

    fn with(&self, command: &str, arguments: Value) -> Result<Value, Failure> {
        Ok(self.client.execute_with(command, arguments)?)
    }

    /// Executes all queries.
    fn look(&self) -> Result<(), Failure> {
        for command in QUERIES {
            self.client.execute(command)?;
        }
        self.with("query-named-block-nodes", json!({ "flat": true }))?;
        self.with("query-blockstats", json!({ "query-nodes": true }))?;
        Ok(())
    }

    /// Has a command refused.
    fn refused(&self, command: &str, arguments: &Value) -> Result<(), Failure> {
        let answer = self.client.execute_with(command, arguments.clone());
        check!(
            matches!(&answer, Err(libqmp::Error::Command { .. })),
            "{command} with {arguments}: {answer:?}"
        );
        Ok(())
    }
}

/// Queries that QEMU has, too.
const QUERIES: [&str; 12] = [
    "query-block",
    "query-blockstats",
    "query-commands",
    "query-cpus-fast",
    "query-iothreads",
    "query-kvm",
    "query-memory-size-summary",
    "query-name",
    "query-named-block-nodes",
    "query-qmp-schema",
    "query-status",
    "query-version",
];

const SCRIPT: &str = "setup 0\nsetup 1\nsetup 2\nsetup 3\nawait\nwrite 0 100 8 7\nflush 0\nawait\n\
                      start 1 write 1 0 8 1\nread 2 0 8\nwrite 3 0 8 1\nawait\npanic 2\npanic 1\nspin";

/// A limit on the size of a machine's files, in bytes.
fn limit_file_size(machine: &BareMachine, bytes: Option<u64>) -> Result<(), Failure> {
    let pid = i32::try_from(machine.machine.id())
        .ok()
        .and_then(Pid::from_raw);
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    Ok(prlimit(pid, Resource::Fsize, limit).map(drop)?)
}

/// A qcow2 overlay on a raw image.
fn overlay(context: &Context) -> Result<PathBuf, Failure> {
    let path = context.path("top.qcow2");
    let base = context.path("base");
    File::create(&base)?.set_len(1 << 20)?;
    let qemu_img = tool::command("qemu-img").map_err(|error| Failure::skip(error.to_string()));
    let mut qemu_img = qemu_img?;
    qemu_img.args(["create", "-f", "qcow2", "-b", "base", "-F", "raw"]);
    tool::run(qemu_img.arg(&path).stdin(Stdio::null()))?;
    Ok(path)
}

fn machine(context: &Context) -> Result<BareMachine, Failure> {
    for (name, sectors) in [("raw", 256), ("fixed", 64), ("cached", 64)] {
        File::create(context.path(name))?.set_len(sectors * 512)?;
    }
    let drive =
        |name: &str, options: &str| format!("file={},{options}", context.path(name).display());
    let top = overlay(context)?;
    let qcow2 = format!("file={},format=qcow2,id=d1,serial=S1", top.display());
    let plan = Plan::new(context, SCRIPT)?;
    let machine = plan.options(&[
        "-S",
        "--name",
        "examined",
        "--drive",
        &drive("raw", "format=raw,id=d0,werror=stop,rerror=stop"),
        "--drive",
        &qcow2,
        "--drive",
        &drive("fixed", "format=raw,id=d2,readonly=on,cache=writethrough"),
        "--drive",
        &drive(
            "cached",
            "format=raw,id=d3,volatile-cache=on,throttling.bps-total=1048576,throttling.group=g",
        ),
    ]);
    machine.start()
}

fn answers_and_events_fit_the_schema_of_the_qemu_that_the_greeting_claims(
    context: &Context,
) -> Result<(), Failure> {
    let schema = context.qemu_schema()?;
    let witness = Arc::new(Witness::new(Model::foreign(&schema.file())?));
    let mut machine = machine(context)?;
    let examiner = Examiner::connect(&machine, &witness)?;
    let claimed = &examiner.client.greeting().version.qemu;
    let claimed = format!("{}.{}.", claimed.major, claimed.minor);
    let version = schema.version()?;
    check!(
        version.starts_with(&claimed),
        "the greeting claims {claimed}, and the schema is of {version}"
    );
    let mut wire = DefaultEvents::connect(&machine, &witness)?;

    examiner.look()?;
    run(&examiner, &mut machine)?;
    limit(&examiner)?;
    fail(&examiner, &mut machine)?;
    hang(&examiner, &mut machine)?;
    refuse(&examiner)?;
    cut_the_power(&examiner)?;
    panic(&examiner, &mut machine)?;
    examiner.client.quit()?;
    machine.ends_well()?;
    wire.read_to_the_end()?;
    corrupt(context, &witness)?;

    check_complete(&schema.file(), &witness)?;
    context.note(&format!(
        "QEMU {version}: {} answers, {} refusals, {} events",
        witness.answered().values().sum::<usize>(),
        witness.refused().values().sum::<usize>(),
        witness.raised().values().sum::<usize>(),
    ));
    check_listed(&witness.problems(), OF_MESSAGES)
}

/// Every common command was answered, and every common event raised.
fn check_complete(file: &Path, witness: &Witness) -> Result<(), Failure> {
    let (ours, theirs) = (Model::own(Path::new(OWN))?, Model::foreign(file)?);
    let answered = witness.answered();
    let silent: Vec<&String> = ours
        .commands()
        .keys()
        .filter(|name| theirs.commands().contains_key(*name) && !answered.contains_key(*name))
        .collect();
    check!(silent.is_empty(), "not answered once: {silent:?}");
    let raised = witness.raised();
    let silent: Vec<&String> = ours
        .events()
        .keys()
        .filter(|name| theirs.events().contains_key(*name) && !raised.contains_key(*name))
        .collect();
    check!(silent.is_empty(), "not raised once: {silent:?}");
    Ok(())
}

/// A session with default events, whose lines the witness reads as well.
struct DefaultEvents {
    wire: WireClient,
    witness: Arc<Witness>,
}

impl DefaultEvents {
    fn connect(machine: &BareMachine, witness: &Arc<Witness>) -> Result<Self, Failure> {
        let mut wire = machine.wire_client()?;
        let greeting = wire.negotiate(SOON)?;
        witness.line(Direction::Received, &greeting.to_string());
        Ok(Self {
            wire,
            witness: Arc::clone(witness),
        })
    }

    /// Runs to the machine's shutdown.
    fn read_to_the_end(&mut self) -> Result<(), Failure> {
        loop {
            let event = self.wire.next_event(SOON)?;
            self.witness.line(Direction::Received, &event.to_string());
            if event["event"] == "SHUTDOWN" {
                return Ok(());
            }
        }
    }
}

/// A running machine without I/O.
fn run(examiner: &Examiner, machine: &mut BareMachine) -> Result<(), Failure> {
    examiner.client.cont()?;
    examiner.client.wait_for_event("RESUME")?;
    machine.report("await")?;
    examiner.look()?;
    examiner.client.stop()?;
    examiner.client.wait_for_event("STOP")?;
    examiner.look()?;
    examiner.client.cont()?;
    examiner.client.wait_for_event("RESUME")?;
    examiner.client.execute("system_powerdown")?;
    examiner.client.wait_for_event("POWERDOWN")?;
    let actions =
        json!({ "reboot": "reset", "shutdown": "poweroff", "panic": "pause", "watchdog": "reset" });
    examiner.with("set-action", actions)?;
    Ok(())
}

/// With all throttling options, and a write threshold.
fn limit(examiner: &Examiner) -> Result<(), Failure> {
    let zero = json!({ "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0 });
    let with = |more: Value| {
        let mut arguments = zero.clone();
        let members = more.as_object().into_iter().flatten();
        for (key, value) in members {
            arguments[key] = value.clone();
        }
        examiner.with("block_set_io_throttle", arguments)
    };
    with(json!({
        "id": "d0", "bps": 1 << 30, "bps_max": 1_u64 << 31, "bps_max_length": 2,
        "iops": 100_000, "iops_max": 200_000, "iops_max_length": 3, "iops_size": 4096, "group": "all",
    }))?;
    examiner.look()?;
    with(json!({
        "device": "d0", "bps_rd": 1 << 30, "bps_wr": 1 << 30, "bps_rd_max": 1_u64 << 31, "bps_wr_max": 1_u64 << 31,
        "bps_rd_max_length": 2, "bps_wr_max_length": 3, "iops_rd": 1 << 20, "iops_wr": 1 << 20,
        "iops_rd_max": 1 << 21, "iops_wr_max": 1 << 21, "iops_rd_max_length": 4, "iops_wr_max_length": 5,
    }))?;
    examiner.look()?;
    with(json!({ "id": "d0" }))?;
    examiner.look()?;
    let mark = json!({ "node-name": "d0", "write-threshold": 60 * 512 });
    examiner.with("block-set-write-threshold", mark)?;
    examiner.look()
}

/// A write that fails and stops the machine, by the host and by a rule, until it succeeds.
fn fail(examiner: &Examiner, machine: &mut BareMachine) -> Result<(), Failure> {
    limit_file_size(machine, Some(50 * 512))?;
    machine.machine.console().type_text("x")?;
    examiner.client.wait_for_event("STOP")?;
    examiner.look()?;
    let full = json!({ "device": "d0", "operations": ["write"], "count": 1, "action": "error", "errno": "ENOSPC" });
    examiner.with("block-fault-add", full)?;
    limit_file_size(machine, None)?;
    examiner.client.cont()?;
    examiner.client.wait_for_event("STOP")?;
    let disks = examiner.client.execute("query-block")?;
    check_eq!(disks[0]["io-status"], "nospace");
    examiner.look()?;
    examiner.client.cont()?;
    machine.report("await")?;
    examiner.look()
}

/// A request that hangs while others complete.
fn hang(examiner: &Examiner, machine: &mut BareMachine) -> Result<(), Failure> {
    let rule = json!({ "device": "d1", "operations": ["write"], "action": "hang", "id": "h" });
    examiner.with("block-fault-add", rule)?;
    machine.machine.console().type_text("x")?;
    machine.report("await")?;
    examiner.look()?;
    for arguments in [
        json!({ "device": "d0", "size": 512 * 512 }),
        json!({ "node-name": "d0", "size": 1024 * 512 }),
    ] {
        examiner.with("block_resize", arguments)?;
    }
    examiner.client.execute("block-fault-clear")?;
    examiner.look()
}

/// The error of each command for invalid arguments.
fn refuse(examiner: &Examiner) -> Result<(), Failure> {
    for (command, arguments) in [
        ("block_resize", json!({ "device": "nobody", "size": 512 })),
        ("block_resize", json!({ "device": "d0" })),
        ("block_resize", json!({ "device": "d2", "size": 512 })),
        ("block_set_io_throttle", json!({ "id": "d0" })),
        (
            "block-set-write-threshold",
            json!({ "node-name": "nobody", "write-threshold": 1 }),
        ),
        ("set-action", json!({ "reboot": "nothing" })),
        ("query-status", json!({ "verbose": true })),
        ("query-blockstats", json!({ "query-nodes": 1 })),
        ("qmp_capabilities", json!({})),
    ] {
        examiner.refused(command, &arguments)?;
    }
    Ok(())
}

fn cut_the_power(examiner: &Examiner) -> Result<(), Failure> {
    let cut = json!({ "survive": "random", "seed": 7, "then": "stop" });
    examiner.with("block-power-cut", cut)?;
    examiner.look()?;
    examiner.client.system_reset()?;
    examiner.client.wait_for_event("RESET")?;
    examiner.look()
}

/// A guest that panics, and continues.
fn panic(examiner: &Examiner, machine: &mut BareMachine) -> Result<(), Failure> {
    examiner.client.cont()?;
    for _ in 0..3 {
        machine.report("await")?;
        machine.machine.console().type_text("x")?;
    }
    examiner.client.wait_for_event("GUEST_CRASHLOADED")?;
    examiner.client.wait_for_event("GUEST_PANICKED")?;
    examiner.look()
}

/// A machine whose image has an entry that points to its own tables.
fn corrupt(context: &Context, witness: &Arc<Witness>) -> Result<(), Failure> {
    let path = context.path("top.qcow2");
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let number = |at: u64| -> Result<u64, Failure> {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_be_bytes(bytes))
    };
    let l1 = number(40)?;
    let l2 = number(l1)? & 0x00ff_ffff_ffff_fe00;
    check!(l2 != 0, "nothing was written to the image");
    file.write_all_at(&(l1 | 1 << 63).to_be_bytes(), l2)?;
    let drive = format!("file={},format=qcow2,id=d1", path.display());
    let plan = Plan::new(context, "setup 0\nawait\nwrite 0 0 8 3\nspin")?;
    let mut machine = plan.options(&["--drive", &drive]).start()?;
    machine.report("await")?;
    let examiner = Examiner::connect(&machine, witness)?;
    machine.machine.console().type_text("x")?;
    machine.report("done")?;
    examiner.client.wait_for_event("BLOCK_IMAGE_CORRUPTED")?;
    examiner.look()?;
    examiner.client.quit()?;
    machine.ends_well()
}
