//! A storm: two clients stop, continue and reset a machine that is using its disk, at random moments; nothing is lost,
//! and nothing leaks.

use std::fs;
use std::thread;
use std::time::Duration;

use faultvisor_tests::client::Event;
use faultvisor_tests::guest::Tools;
use faultvisor_tests::guest_shell::{self, GuestShell, PATIENCE};
use faultvisor_tests::suite::{Context, Failure, Needs, Size, Test};
use faultvisor_tests::{check, check_eq, resident, threads};

use libqmp::QueryBlockstatsArguments;

use crate::client::Client;
use crate::linux;

pub const TESTS: &[Test] = &[Test::new(
    "stops_conts_and_resets_by_two_clients_under_load_lose_nothing",
    Needs::Linux,
    stops_conts_and_resets_by_two_clients_under_load_lose_nothing,
)
.with_sizes()
.limit(Duration::from_secs(900))];

/// Number of rounds. Each resets the machine once, at a moment that its number determines. The full size has a thousand
/// pairs of stop and cont in all.
const fn rounds(size: Size) -> u64 {
    size.choose(10, 50)
}
/// Pairs of stop and cont per round, of each of the two clients.
const PAIRS: u64 = 10;
/// In one of this many rounds the guest is up and uses its disk; the others strike at any point.
const UNDER_LOAD: u64 = 5;
/// The length of the files that are written.
const DATA: usize = 256 << 10;
/// The guest's memory, in KiB and as `-m` takes it.
const MEMORY_KIB: u64 = 192 << 10;

/// Mounts the disk if it has a file system, and from then on writes one file after the other: each is complete and
/// synced before it is renamed to its final name. Meanwhile another is written, and the disk is read, with direct I/O.
/// It reports when the first file exists.
const LOAD: &str = r#"
if mount -t ext4 /dev/vda /mnt 2> /dev/null; then
    mkdir -p /mnt/files
    (
        n=0
        while [ ! -f /tmp/enough ]; do
            n=$(((n + 1) % 50))
            dd if=/test/data of=/mnt/files/new bs=4k conv=fsync 2> /dev/null
            mv /mnt/files/new /mnt/files/$n
            [ $n = 1 ] && echo FV-LOAD
        done
    ) &
    while [ ! -f /tmp/enough ]; do
        dd if=/test/data of=/mnt/direct bs=4k oflag=direct conv=notrunc 2> /dev/null
    done &
    while [ ! -f /tmp/enough ]; do
        dd if=/dev/vda of=/dev/null bs=4k count=2000 iflag=direct 2> /dev/null
    done &
fi
"#;

/// Resources of the program that could leak.
#[derive(Debug)]
struct Usage {
    descriptors: usize,
    /// The names of the program's threads, in order.
    threads: Vec<String>,
    /// Resident beside the guest's memory.
    resident_kib: u64,
}

impl Usage {
    fn of(process: u32) -> Result<Self, Failure> {
        let threads = threads::of(process)?;
        let mut threads: Vec<_> = threads.into_iter().map(|thread| thread.name).collect();
        threads.sort_unstable();
        let mappings = fs::read_to_string(format!("/proc/{process}/smaps"))?;
        Ok(Self {
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
            threads,
            resident_kib: resident::beside_guest(&mappings, MEMORY_KIB),
        })
    }
}

fn stops_conts_and_resets_by_two_clients_under_load_lose_nothing(
    context: &Context,
) -> Result<(), Failure> {
    let image = context.path("disk");
    linux::image(&image, 64, b"")?;
    let data = linux::pattern(1, DATA);
    let script = guest_shell::script_after(LOAD)
        .file("data", data)
        .with(Tools::E2fsprogs);
    let mut command = linux::command_of_size(context, &script, "192M", 2)?;
    linux::add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, observer) = linux::boot(context, &mut command)?;
    guest.run("mkfs.ext4 -q /dev/vda && sync")?;
    let clients = [connect(context)?, connect(context)?];
    restart(&mut guest, &observer)?;
    let before = Usage::of(guest.machine().id())?;

    let mut events = Vec::new();
    let rounds = rounds(context.size());
    for round in 0..rounds {
        if is_under_load(round) {
            let console = guest.machine().console();
            console.wait_for_line("FV-LOAD", PATIENCE)?;
        }
        storm(&clients, round)?;
        // Whichever command was last, the machine runs.
        observer.cont()?;
        events.extend(observer.events_until_now()?);
    }
    check_pairs(&events, rounds)?;

    restart(&mut guest, &observer)?;
    let after = Usage::of(guest.machine().id())?;
    check_eq!(after.threads, before.threads);
    check_eq!(after.descriptors, before.descriptors);
    check!(
        after.resident_kib < before.resident_kib + 1024,
        "{} KiB were resident before the storm, and {} KiB after it",
        before.resident_kib,
        after.resident_kib
    );
    check_work(&observer, context.size())?;
    check_disk(&mut guest)?;
    guest.power_off()?;
    guest.expect_exit(0)?;
    check_eq!(guest.machine().messages().text(), "");
    Ok(())
}

/// Whether the guest is up when the round starts.
fn is_under_load(round: u64) -> bool {
    round % UNDER_LOAD == 1
}

fn connect(context: &Context) -> Result<Client, Failure> {
    Client::connect(&linux::monitor(context))
}

/// Resets the guest while it is stopped, so that all later output is of the new start, and waits for its shell.
fn restart(guest: &mut GuestShell, client: &Client) -> Result<(), Failure> {
    client.stop()?;
    client.system_reset()?;
    client.wait_for_event("RESET")?;
    guest.machine().console().skip();
    client.cont()?;
    guest.wait()?;
    client.events_until_now()?;
    Ok(())
}

/// A round: both clients stop and continue the machine, and one of them resets it once.
fn storm(clients: &[Client; 2], round: u64) -> Result<(), Failure> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..)
            .zip(clients)
            .map(|(number, client)| scope.spawn(move || strike(client, round, number)))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            let panicked = |_| Failure::new("a client's thread panicked");
            worker.join().map_err(panicked)?
        })
    })
}

/// One client's part of a round.
fn strike(client: &Client, round: u64, number: u64) -> Result<(), Failure> {
    let bytes = linux::pattern(round << 1 | number, 64);
    let mut chance = bytes.iter().map(|byte| u64::from(*byte)).cycle();
    let mut next = |below: u64| chance.next().unwrap_or_default() % below;
    let resets = round & 1 == number;
    let moment = next(PAIRS);
    for pair in 0..PAIRS {
        client.stop()?;
        let_pass(client, next(3))?;
        if resets && pair == moment {
            client.system_reset()?;
            let_pass(client, next(3))?;
        }
        client.cont()?;
        let_pass(client, next(20))?;
    }
    if resets {
        // Awaited here, or the reset would fall into the next round.
        client.wait_for_event("RESET")?;
    }
    client.events_until_now()?;
    Ok(())
}

/// Waits for as long as that many commands take.
fn let_pass(client: &Client, commands: u64) -> Result<(), Failure> {
    for _ in 0..commands {
        client.query_block()?;
    }
    Ok(())
}

/// Each stop is followed by a continuation before the next, and each reset was reported.
fn check_pairs(events: &[Event], rounds: u64) -> Result<(), Failure> {
    let mut is_stopped = false;
    for event in events {
        match event.name.as_str() {
            "STOP" if !is_stopped => is_stopped = true,
            "RESUME" if is_stopped => is_stopped = false,
            "RESET" => {}
            other => {
                let state = if is_stopped { "is stopped" } else { "runs" };
                return Err(Failure::new(format!("{other} while the machine {state}")));
            }
        }
    }
    check!(!is_stopped, "the last STOP has no RESUME");
    let count = |name: &str| events.iter().filter(|event| event.name == name).count();
    check_eq!(count("RESET") as u64, rounds);
    // Both clients sometimes stop it at once; then one of the commands has no effect.
    let stops = count("STOP");
    check!(stops as u64 > rounds * PAIRS, "only {stops} stops");
    Ok(())
}

/// The disk completed a substantial number of requests.
fn check_work(client: &Client, size: Size) -> Result<(), Failure> {
    let disks = client.query_blockstats(&QueryBlockstatsArguments::default())?;
    let [disk] = disks.as_slice() else {
        return Err(Failure::new(format!("{disks:?} is not one disk")));
    };
    let stats = &disk.stats;
    let (read, written) = (stats.rd_operations, stats.wr_operations);
    // Fewer rounds send fewer requests.
    let least = size.choose(50, 500);
    check!(
        read > least && written > least,
        "{read} reads and {written} writes are no load"
    );
    check_eq!(stats.failed_rd_operations + stats.failed_wr_operations, 0);
    Ok(())
}

/// No request is in flight after the load, every file is intact as renamed, and the file system is consistent.
fn check_disk(guest: &mut GuestShell) -> Result<(), Failure> {
    guest.be_patient(PATIENCE * 3);
    // The first file of this start exists; then all three loads end.
    guest.run("until [ -f /mnt/files/1 ]; do sleep 1; done; : > /tmp/enough; wait; sync")?;
    let in_flight = guest.run("cat /sys/block/vda/inflight")?;
    let in_flight: Vec<_> = in_flight.split_whitespace().collect();
    check_eq!(in_flight, ["0", "0"]);
    check_eq!(guest.disk_errors()?, "");
    let complaints = "'EXT4-fs error|soft lockup|blocked for more'";
    check_eq!(
        guest.run(&format!("dmesg | grep -E {complaints} || true"))?,
        ""
    );
    guest.run("echo 3 > /proc/sys/vm/drop_caches")?;
    let wrong = guest
        .run("for f in /mnt/direct /mnt/files/[0-9]*; do cmp -s /test/data $f || echo $f; done")?;
    check_eq!(wrong, "");
    guest.run("umount /mnt")?;
    guest.run("e2fsck -fn /dev/vda")?;
    Ok(())
}
