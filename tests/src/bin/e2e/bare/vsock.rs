//! Sockets between guest and host, with packets that the guest makes by hand.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use super::image;
use crate::wrong_use::refused;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_guest_reaches_a_listener_of_the_host_and_both_send_bytes,
    a_client_of_the_host_reaches_the_guest_and_loses_it_by_a_reset,
    a_guest_is_refused_where_the_host_does_not_listen,
    a_client_is_closed_while_the_guest_has_no_driver,
    the_socket_belongs_to_one_machine_and_is_removed_by_it_alone,
];

/// Sets up the second device, the vsock device, and gives it two buffers for packets.
const SETUP: &str = "setup 1 size=16 queues=3 features=0x100000000\n\
                     descriptor 1 table 0 data 512 2 0\noffer 1 0\n\
                     descriptor 1 table 1 data+512 512 2 0\noffer 1 1\nkick 1\n";

/// Operations of a packet (virtio 1.3 §5.10.6).
const REQUEST: u64 = 1;
const RESPONSE: u64 = 2;
const DATA: u64 = 5;

/// The length of a packet's header.
const HEADER: u64 = 44;

/// The host's port of the first client.
const FIRST_PORT: u64 = 1 << 30;

/// Steps that send a packet, the `number`-th, with so many bytes of payload: of the pattern of its own descriptors. Three
/// descriptors that are in no chain have the header's bytes.
fn send(number: u64, ports: (u64, u64), operation: u64, length: u64) -> String {
    let (guest_port, host_port) = ports;
    let ports = host_port << 32 | guest_port;
    let buffer = 0x1_0000u64 << 32;
    let bytes = HEADER + length;
    format!(
        "queue 1 1\n\
         descriptor 1 table 8 3 2 0 0\n\
         descriptor 1 table 9 {ports:#x} {length} 1 {operation}\n\
         descriptor 1 table 10 {buffer:#x} 0 0 0\n\
         descriptor 1 table {number} table+128 {bytes} 0 0\n\
         offer 1 {number}\nkick 1\nused 1\nqueue 1 0\n"
    )
}

fn machine(context: &Context, script: &str, socket: &Path) -> Result<BareMachine, Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let plan = Plan::new(context, script)?.disk(&disk, "");
    let vsock = format!("cid=3,socket={}", socket.display());
    plan.options(&["--vsock", &vsock]).start()
}

/// The listener of a port of the host.
fn listener(socket: &Path, port: u64) -> Result<UnixListener, Failure> {
    let mut path = socket.as_os_str().to_owned();
    path.push(format!("_{port}"));
    Ok(UnixListener::bind(path)?)
}

/// The length of the next used buffer of the selected queue.
fn used(machine: &mut BareMachine) -> Result<u64, Failure> {
    machine.report("used")?.number("length")
}

fn connect(socket: &Path, line: &str) -> Result<UnixStream, Failure> {
    let mut client = UnixStream::connect(socket)?;
    client.set_read_timeout(Some(SOON))?;
    client.write_all(line.as_bytes())?;
    Ok(client)
}

fn a_guest_reaches_a_listener_of_the_host_and_both_send_bytes(
    context: &Context,
) -> Result<(), Failure> {
    let socket = context.path("vsock");
    let listener = listener(&socket, 7)?;
    let request = send(0, (99, 7), REQUEST, 0);
    let data = send(1, (99, 7), DATA, 20);
    let script = format!("{SETUP}{request}used 1\n{data}used 1\nchoose\nexit off");
    let mut machine = machine(context, &script, &socket)?;
    check_eq!(machine.report("start")?.number("disks")?, 2);
    let (mut client, _) = listener.accept()?;
    client.set_read_timeout(Some(SOON))?;
    // The request is taken, and answered.
    check_eq!(used(&mut machine)?, 0);
    check_eq!(used(&mut machine)?, HEADER);
    check_eq!(used(&mut machine)?, 0);
    let mut bytes = [0; 20];
    client.read_exact(&mut bytes)?;
    // Behind the header: the fourth part of the third descriptor, and the next one, which is empty.
    check_eq!(bytes, [0; 20]);
    client.write_all(b"welcome")?;
    check_eq!(used(&mut machine)?, HEADER + 7);
    machine.report("choose")?;
    let monitor = machine.client()?;
    let found = monitor.query_vsock()?;
    check_eq!(found.len(), 1);
    let found = &found[0];
    check_eq!(found.cid, 3);
    check_eq!(found.socket, socket.display().to_string());
    let numbers = [
        found.connections,
        found.bytes_to_guest,
        found.bytes_from_guest,
        found.refused,
        found.resets,
    ];
    check_eq!(numbers, [1, 7, 20, 0, 0]);
    machine.machine.console().type_text("o")?;
    machine.ends_well()?;
    check_eq!(client.read(&mut bytes)?, 0);
    check!(!socket.exists(), "the socket is left over");
    Ok(())
}

fn a_client_of_the_host_reaches_the_guest_and_loses_it_by_a_reset(
    context: &Context,
) -> Result<(), Failure> {
    let socket = context.path("vsock");
    // Port numbers go on after the reset.
    let response = send(0, (5, FIRST_PORT), RESPONSE, 0);
    let script = format!("{SETUP}choose\nused 1\n{response}used 1\nchoose\nexit off");
    let mut machine = machine(context, &script, &socket)?;
    machine.report("choose")?;
    let mut client = connect(&socket, "CONNECT 5\nhello")?;
    machine.machine.console().type_text("x")?;
    check_eq!(used(&mut machine)?, HEADER);
    check_eq!(used(&mut machine)?, 0);
    let mut line = [0; 14];
    client.read_exact(&mut line)?;
    check_eq!(&line, b"OK 1073741824\n");
    check_eq!(used(&mut machine)?, HEADER + 5);
    machine.report("choose")?;
    let monitor = machine.client()?;
    monitor.system_reset()?;
    check_eq!(client.read(&mut line)?, 0);
    machine.report("choose")?;
    check_eq!(monitor.query_vsock()?[0].connections, 0);
    // The next client, after the reset: the guest is to be asked.
    let mut late = connect(&socket, "CONNECT 6\n")?;
    machine.machine.console().type_text("x")?;
    check_eq!(used(&mut machine)?, HEADER);
    monitor.quit()?;
    machine.ends_well()?;
    check_eq!(late.read(&mut line)?, 0);
    Ok(())
}

fn a_guest_is_refused_where_the_host_does_not_listen(context: &Context) -> Result<(), Failure> {
    let socket = context.path("vsock");
    let request = send(0, (99, 8), REQUEST, 0);
    let script = format!("{SETUP}{request}used 1\nchoose\nexit off");
    let mut machine = machine(context, &script, &socket)?;
    check_eq!(used(&mut machine)?, 0);
    check_eq!(used(&mut machine)?, HEADER);
    machine.report("choose")?;
    let found = machine.client()?.query_vsock()?;
    check_eq!((found[0].refused, found[0].connections), (1, 0));
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn a_client_is_closed_while_the_guest_has_no_driver(context: &Context) -> Result<(), Failure> {
    let socket = context.path("vsock");
    let mut machine = machine(context, "choose\nexit off", &socket)?;
    machine.report("choose")?;
    for line in ["CONNECT 5\n", "HELLO\n"] {
        let mut client = connect(&socket, line)?;
        check_eq!(client.read(&mut [0])?, 0);
    }
    let found = machine.client()?.query_vsock()?;
    check_eq!((found[0].refused, found[0].connections), (2, 0));
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn the_socket_belongs_to_one_machine_and_is_removed_by_it_alone(
    context: &Context,
) -> Result<(), Failure> {
    let socket = context.path("vsock");
    let command = |socket: &PathBuf| {
        let mut command: Command = context.command();
        command.arg("--kernel").arg(context.bare_guest());
        command.args(["-m", "48M", "--append", "acpi=off", "-S", "--vsock"]);
        command.arg(format!("cid=3,socket={}", socket.display()));
        command
    };
    // A dead socket is replaced.
    drop(UnixListener::bind(&socket)?);
    let mut first = machine(context, "choose\nexit off", &socket)?;
    first.report("choose")?;
    let said = refused(&mut command(&socket))?;
    let expected = format!("--vsock: socket '{}' is in use\n", socket.display());
    check!(said.ends_with(&expected), "{said}");
    let file = context.path("file");
    fs::write(&file, "text")?;
    let said = refused(&mut command(&file))?;
    let expected = format!(
        "--vsock: '{}' is there already, and is no socket\n",
        file.display()
    );
    check!(said.ends_with(&expected), "{said}");
    check_eq!(fs::read_to_string(&file)?, "text");
    // Another program's socket in its place stays.
    fs::remove_file(&socket)?;
    let _other = UnixListener::bind(&socket)?;
    first.machine.console().type_text("o")?;
    first.ends_well()?;
    check!(socket.exists(), "another program's socket is gone");
    Ok(())
}
