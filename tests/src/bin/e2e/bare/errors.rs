//! Each error policy against a real error: what the guest and each client see, in step.

use std::fs::{self, File};
use std::path::Path;

use faultvisor_tests::bare::{BareMachine, Plan, SOON, content};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::wire::WireClient;
use faultvisor_tests::{check, check_eq, tests};
use libqmp::{AccessorArguments, BlockDeviceIoStatus, ErrorClass};
use serde_json::{Value, json};

use super::{check_event, check_state, image, limit_file_size};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_reported_write_error_reaches_the_guest_and_every_client,
    an_ignored_write_error_reaches_every_client_but_not_the_guest,
    other_write_errors_than_enospc_are_reported_by_default,
    a_write_that_stopped_the_machine_succeeds_once_its_cause_is_gone,
    a_flush_counts_as_no_write_past_the_limit,
    a_reported_read_error_reaches_the_guest_and_every_client,
    an_ignored_read_error_leaves_the_guests_buffer_as_it_was,
    a_read_that_stopped_the_machine_succeeds_once_its_cause_is_gone,
    an_error_of_one_disk_does_not_affect_another,
];

/// The script of all tests here: a key, then the request.
fn script(request: &str) -> String {
    format!("setup 0\nchoose\n{request}\nchoose\nexit off")
}

/// Clients of every kind. The lines show what each is sent, and how it is marked.
struct Clients {
    /// Controls the machine, and queries its state.
    control: Client,
    /// Default events.
    default: WireClient,
    /// Default events and a connection.
    both: (WireClient, Value),
    /// A connection to this disk's errors only, and no default events.
    filtered: (WireClient, Value),
}

impl Clients {
    fn connect(machine: &BareMachine) -> Result<Self, Failure> {
        let mut both = negotiated(machine)?;
        let tag = both.execute("get-block-io-error-event", None, SOON)?;
        let mut filtered = machine.wire_client()?;
        filtered.next_message("greeting", SOON)?;
        filtered.execute("disable-default-events", None, SOON)?;
        filtered.execute("qmp_capabilities", None, SOON)?;
        let device = json!({ "device": "d0" });
        let only = filtered.execute("get-block-io-error-event", Some(device), SOON)?;
        check!(only != tag, "two connections have the handle {tag}");
        Ok(Self {
            control: machine.client()?,
            default: negotiated(machine)?,
            both: (both, tag),
            filtered: (filtered, only),
        })
    }

    /// Each sees this error once per connection or default, and then no event before `then`.
    fn see_error(&mut self, data: &[(&str, Value)], then: Option<&str>) -> Result<(), Failure> {
        let event = self.default.next_event(SOON)?;
        check_line(&event, "BLOCK_IO_ERROR", data)?;
        check_eq!(event.get("tag"), None);
        check_eq!(event["data"]["device"], "d0");
        check_eq!(
            event["data"]["qom-path"],
            "/machine/peripheral/d0/virtio-backend"
        );
        let (client, tag) = &mut self.both;
        let mut tags = Vec::new();
        for _ in 0..2 {
            let event = client.next_event(SOON)?;
            check_line(&event, "BLOCK_IO_ERROR", data)?;
            tags.extend(event.get("tag").cloned());
        }
        check_eq!(tags, std::slice::from_ref(tag));
        let (client, tag) = &mut self.filtered;
        let event = client.next_event(SOON)?;
        check_line(&event, "BLOCK_IO_ERROR", data)?;
        check_eq!(event["tag"], *tag);
        if let Some(then) = then {
            for client in [&mut self.default, &mut self.both.0] {
                check_line(&client.next_event(SOON)?, then, &[])?;
            }
        }
        Ok(())
    }

    /// No other event was seen.
    fn saw_nothing_more(mut self) -> Result<(), Failure> {
        for client in [&mut self.default, &mut self.both.0] {
            check_line(&client.next_event(SOON)?, "SHUTDOWN", &[])?;
        }
        let end = self.filtered.0.next_event(SOON);
        check!(end.is_err(), "an event that nobody asked for: {end:?}");
        Ok(())
    }
}

/// A client with the default events.
fn negotiated(machine: &BareMachine) -> Result<WireClient, Failure> {
    let mut client = machine.wire_client()?;
    client.negotiate(SOON)?;
    Ok(client)
}

/// As [`check_event`], for a line.
fn check_line(event: &Value, name: &str, data: &[(&str, Value)]) -> Result<(), Failure> {
    let fits =
        event["event"] == name && data.iter().all(|(key, value)| event["data"][key] == *value);
    check!(fits, "{event} is not {name} with {data:?}");
    Ok(())
}

fn error(operation: &str, action: &str, reason: &str) -> [(&'static str, Value); 4] {
    [
        ("operation", json!(operation)),
        ("action", json!(action)),
        ("reason", json!(reason)),
        ("nospace", json!(false)),
    ]
}

const TOO_LARGE: &str = "File too large";
const IO_ERROR: &str = "Input/output error";

/// Starts a machine whose writes past sector 50 fail.
fn with_limit(context: &Context, options: &str) -> Result<(BareMachine, Clients), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let plan = Plan::new(context, &script("write 0 100 8 7"))?;
    let mut machine = plan.disk(&disk, &format!("id=d0,{options}")).start()?;
    machine.report("choose")?;
    let clients = Clients::connect(&machine)?;
    limit_file_size(&machine.machine, Some(50 * 512))?;
    machine.machine.console().type_text("c")?;
    Ok((machine, clients))
}

/// Starts a machine whose reads past sector 50 fail.
fn truncated(context: &Context, options: &str) -> Result<(BareMachine, Clients), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let plan = Plan::new(context, &script("read 0 100 8"))?;
    let mut machine = plan.disk(&disk, &format!("id=d0,{options}")).start()?;
    machine.report("choose")?;
    let clients = Clients::connect(&machine)?;
    File::options().write(true).open(&disk)?.set_len(50 * 512)?;
    machine.machine.console().type_text("c")?;
    Ok((machine, clients))
}

/// The machine continues: the guest saw that result, and the disk has that io-status.
fn goes_on(
    (mut machine, mut clients): (BareMachine, Clients),
    data: &[(&str, Value)],
    guest_saw_ok: bool,
    io_status: &str,
) -> Result<u64, Failure> {
    clients.see_error(data, None)?;
    let done = machine.report("done")?;
    let ok = u64::from(guest_saw_ok);
    done.expect(ok, 1 - ok, 0)?;
    check_state(&clients.control, "running", io_status)?;
    machine.machine.console().type_text("c")?;
    clients.saw_nothing_more()?;
    machine.ends_well()?;
    done.number("sum")
}

fn a_reported_write_error_reaches_the_guest_and_every_client(
    context: &Context,
) -> Result<(), Failure> {
    let machine = with_limit(context, "werror=report,rerror=report")?;
    goes_on(machine, &error("write", "report", TOO_LARGE), false, "")?;
    has_bytes_of(&context.path("disk"), 1)
}

fn an_ignored_write_error_reaches_every_client_but_not_the_guest(
    context: &Context,
) -> Result<(), Failure> {
    let machine = with_limit(context, "werror=ignore,rerror=ignore")?;
    goes_on(machine, &error("write", "ignore", TOO_LARGE), true, "")?;
    has_bytes_of(&context.path("disk"), 1)
}

fn other_write_errors_than_enospc_are_reported_by_default(
    context: &Context,
) -> Result<(), Failure> {
    let machine = with_limit(context, "")?;
    goes_on(machine, &error("write", "report", TOO_LARGE), false, "ok")?;
    has_bytes_of(&context.path("disk"), 1)
}

/// The sectors of the failed write hold the pattern of `seed`.
fn has_bytes_of(disk: &Path, seed: u64) -> Result<(), Failure> {
    let sectors = fs::read(disk)?[100 * 512..108 * 512].to_vec();
    check!(
        sectors == content(seed, 100, 8),
        "not the bytes of seed {seed}"
    );
    Ok(())
}

/// The machine is stopped, stops again at `cont` while the cause lasts, and continues after it.
fn stops(
    (mut machine, mut clients): (BareMachine, Clients),
    data: &[(&str, Value)],
    repair: impl Fn(&BareMachine) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    clients.see_error(data, Some("STOP"))?;
    for _ in 0..2 {
        check_state(&clients.control, "io-error", "failed")?;
        check!(
            !machine.machine.serial().text().contains(" done "),
            "the guest saw an end"
        );
        clients.control.cont()?;
        // The default event is limited to one a second; the connection's is not.
        clients.default.wait_for_event("RESUME", SOON)?;
        let event = clients.filtered.0.next_event(SOON)?;
        check_line(&event, "BLOCK_IO_ERROR", data)?;
        clients.default.wait_for_event("STOP", SOON)?;
    }
    repair(&machine)?;
    clients.control.cont()?;
    clients.default.wait_for_event("RESUME", SOON)?;
    let done = machine.report("done")?;
    done.expect(1, 0, 0)?;
    check_state(&clients.control, "running", "ok")?;
    machine.machine.console().type_text("c")?;
    for client in [&mut clients.default, &mut clients.both.0] {
        client.wait_for_event("SHUTDOWN", SOON)?;
    }
    machine.ends_well()?;
    done.number("sum")
}

fn a_write_that_stopped_the_machine_succeeds_once_its_cause_is_gone(
    context: &Context,
) -> Result<(), Failure> {
    let machine = with_limit(context, "werror=stop,rerror=stop")?;
    stops(machine, &error("write", "stop", TOO_LARGE), |machine| {
        limit_file_size(&machine.machine, None)
    })?;
    has_bytes_of(&context.path("disk"), 7)
}

fn a_flush_counts_as_no_write_past_the_limit(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let plan = Plan::new(context, &script("flush 0"))?;
    let mut machine = plan.disk(&disk, "id=d0,werror=stop").start()?;
    machine.report("choose")?;
    limit_file_size(&machine.machine, Some(0))?;
    machine.machine.console().type_text("c")?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.machine.console().type_text("c")?;
    machine.ends_well()
}

fn a_reported_read_error_reaches_the_guest_and_every_client(
    context: &Context,
) -> Result<(), Failure> {
    let machine = truncated(context, "werror=report")?;
    goes_on(machine, &error("read", "report", IO_ERROR), false, "").map(drop)
}

fn an_ignored_read_error_leaves_the_guests_buffer_as_it_was(
    context: &Context,
) -> Result<(), Failure> {
    let machine = truncated(context, "rerror=ignore")?;
    let sum = goes_on(machine, &error("read", "ignore", IO_ERROR), true, "ok")?;
    check_eq!(sum, faultvisor_tests::bare::pattern::sum(&[0xee; 8 * 512]));
    Ok(())
}

fn a_read_that_stopped_the_machine_succeeds_once_its_cause_is_gone(
    context: &Context,
) -> Result<(), Failure> {
    let machine = truncated(context, "rerror=stop")?;
    let disk = context.path("disk");
    let sum = stops(machine, &error("read", "stop", IO_ERROR), |_| {
        Ok(fs::write(&disk, content(33, 0, 256))?)
    })?;
    check_eq!(
        sum,
        faultvisor_tests::bare::pattern::sum(&content(33, 100, 8))
    );
    Ok(())
}

fn an_error_of_one_disk_does_not_affect_another(context: &Context) -> Result<(), Failure> {
    let disks = [image(context, "a", 1, 256)?, image(context, "b", 1, 64)?];
    let script = "setup 0\nsetup 1\nchoose\nwrite 0 100 8 7\nwrite 1 0 8 7\nexit off";
    let plan = Plan::new(context, script)?.disk(&disks[0], "id=d0,werror=stop");
    let mut machine = plan.disk(&disks[1], "id=d1,werror=stop").start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    let of = |device: &str| AccessorArguments {
        device: Some(device.to_owned()),
        ..AccessorArguments::default()
    };
    let others = client.get_block_io_error_event_with(&of("d1"))?;
    limit_file_size(&machine.machine, Some(50 * 512))?;
    machine.machine.console().type_text("c")?;
    let event = client.next_event()?;
    check_event(&event, "BLOCK_IO_ERROR", &[("device", json!("d0"))])?;
    check_event(&client.next_event()?, "STOP", &[])?;
    let statuses: Vec<_> = client
        .query_block()?
        .iter()
        .map(|disk| disk.io_status)
        .collect();
    check_eq!(
        statuses,
        [
            Some(BlockDeviceIoStatus::Failed),
            Some(BlockDeviceIoStatus::Ok)
        ]
    );
    let refused = client.get_block_io_error_event_with(&of("d2"));
    let class = refused.as_ref().err().and_then(libqmp::Error::class);
    check_eq!(class, Some(&ErrorClass::DeviceNotFound));
    check_eq!(others.try_recv()?, None);
    limit_file_size(&machine.machine, None)?;
    client.cont()?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.ends_well()
}
