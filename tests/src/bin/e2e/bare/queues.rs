//! Several queues, and non-default queue sizes.

use std::fs;

use faultvisor_tests::bare::{Plan, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use super::image;
use super::statistics::go;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    requests_on_each_of_four_queues_are_answered_on_it,
    requests_on_four_queues_are_answered_once_however_often_the_machine_stops,
    a_driver_without_multiqueue_uses_the_first_queue,
    a_queue_of_1024_has_as_many_requests_in_flight,
    a_queue_of_four_works_and_is_the_longest_there_is,
];

/// VIRTIO_BLK_F_MQ.
const MQ: u64 = 1 << 12;

/// Sectors that each queue writes.
const EACH: usize = 800;

/// Steps for each of four queues.
fn each(steps: &dyn Fn(usize) -> String) -> String {
    let lines = (0..4).map(|queue| format!("queue 0 {queue}\n{}\n", steps(queue)));
    lines.collect()
}

fn requests_on_each_of_four_queues_are_answered_on_it(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 4 * EACH)?;
    let write = |queue| format!("start 0 write 100 {} 8 {}", queue * EACH, 20 + queue);
    // Each queue reads another one's writes.
    let read = |queue| format!("burst 0 read 100 {} 8", (3 - queue) * EACH);
    let script = format!(
        "setup 0 queues=4\n{}{}{}exit off",
        each(&write),
        each(&|_| "wait 0".to_owned()),
        each(&read)
    );
    let plan = Plan::new(context, &script)?.disk(&disk, "num-queues=4");
    let mut machine = plan.start()?;
    let setup = machine.report("setup")?;
    check_eq!((setup.number("status")?, setup.number("queues")?), (0xf, 4));
    check!(setup.number("offered")? & MQ != 0, "{}", setup.line);
    for _ in 0..4 {
        machine.report("done")?.expect(100, 0, 0)?;
    }
    for writer in [3, 2, 1, 0] {
        let read = machine.report("done")?;
        read.expect(100, 0, 0)?;
        let written = content(20 + writer, writer * EACH as u64, EACH);
        check_eq!(read.number("sum")?, pattern::sum(&written));
    }
    machine.ends_well()?;
    let expected: Vec<u8> = (0..4)
        .flat_map(|queue| content(20 + queue, queue * EACH as u64, EACH))
        .collect();
    check!(fs::read(&disk)? == expected, "the image has other bytes");
    Ok(())
}

fn requests_on_four_queues_are_answered_once_however_often_the_machine_stops(
    context: &Context,
) -> Result<(), Failure> {
    const ROUNDS: usize = 20;
    for aio in ["io_uring", "threads"] {
        let disk = image(context, "disk", 1, 4 * EACH)?;
        let round = |round: usize| {
            let write = |queue| format!("start 0 write 100 {} 8 {}", queue * EACH, 20 + round % 2);
            each(&write) + &each(&|_| "wait 0".to_owned())
        };
        let rounds: String = (0..ROUNDS).map(round).collect();
        let script = format!("setup 0 queues=4\nchoose\n{rounds}exit off");
        let options = format!("num-queues=4,aio={aio}");
        let mut machine = Plan::new(context, &script)?.disk(&disk, &options).start()?;
        machine.report("choose")?;
        let client = machine.client()?;
        go(&mut machine)?;
        let mut stops = 0;
        // While the guest is busy.
        while machine.machine.serial().text().matches(" done ").count() < 4 * ROUNDS - 20 {
            client.stop()?;
            client.cont()?;
            stops += 1;
        }
        check!(stops >= ROUNDS / 4, "only {stops} stops");
        for _ in 0..4 * ROUNDS {
            machine.report("done")?.expect(100, 0, 0)?;
        }
        machine.ends_well()?;
        let written = content(20 + (ROUNDS as u64 - 1) % 2, 0, 4 * EACH);
        check!(fs::read(&disk)? == written, "the image has other bytes");
    }
    Ok(())
}

fn a_driver_without_multiqueue_uses_the_first_queue(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 2048)?;
    // It also kicks queues that are not set up, or do not exist.
    let script = "setup 0 features=0x130000200\nburst 0 write 256 0 8 5\n\
                  register 0 0x50 3\nregister 0 0x50 4\nburst 0 read 256 0 8\nexit off";
    let plan = Plan::new(context, script)?.disk(&disk, "num-queues=4");
    let mut machine = plan.start()?;
    check_eq!(machine.report("setup")?.number("status")?, 0xf);
    machine.report("done")?.expect(256, 0, 0)?;
    let read = machine.report("done")?;
    read.expect(256, 0, 0)?;
    check_eq!(read.number("sum")?, pattern::sum(&content(5, 0, 2048)));
    machine.ends_well()?;
    check!(fs::read(&disk)? == content(5, 0, 2048), "other bytes");
    Ok(())
}

/// QueueNumMax, and the configuration space's seg_max.
const LIMITS: &str = "register 0 0x34\nregister 0 0x10c\n";

fn a_queue_of_1024_has_as_many_requests_in_flight(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 3, 4096)?;
    let script = format!(
        "setup 0 size=1024\n{LIMITS}burst 0 read 1024 0 4\nburst 0 write 1024 0 4 4\n\
         burst 0 flush 1024\nexit off"
    );
    let plan = Plan::new(context, &script)?.disk(&disk, "queue-size=1024");
    let mut machine = plan.start()?;
    check_eq!(machine.report("setup")?.number("status")?, 0xf);
    check_eq!(machine.report("register")?.number("value")?, 1024);
    check_eq!(machine.report("register")?.number("value")?, 254);
    let read = machine.report("done")?;
    read.expect(1024, 0, 0)?;
    check_eq!(read.number("sum")?, pattern::sum(&content(3, 0, 4096)));
    machine.report("done")?.expect(1024, 0, 0)?;
    machine.report("done")?.expect(1024, 0, 0)?;
    machine.ends_well()?;
    check!(fs::read(&disk)? == content(4, 0, 4096), "other bytes");
    Ok(())
}

fn a_queue_of_four_works_and_is_the_longest_there_is(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 3, 2048)?;
    // Chains in indirect tables; chains in the queue's table, one at a time; and a queue longer than offered.
    let script = format!(
        "setup 0 size=4\n{LIMITS}storm 0 0 4 500 4 77\n\
         setup 0 size=4 features=0x120000200\nstorm 0 0 4 200 1 78\n\
         setup 0 size=8\nsetup 0 size=4\nread 0 0 8\nexit off"
    );
    let plan = Plan::new(context, &script)?.disk(&disk, "queue-size=4");
    let mut machine = plan.start()?;
    check_eq!(machine.report("setup")?.number("status")?, 0xf);
    check_eq!(machine.report("register")?.number("value")?, 4);
    check_eq!(machine.report("register")?.number("value")?, 2);
    machine.report("stormed")?.expect(500, 0, 0)?;
    check_eq!(machine.report("setup")?.number("status")?, 0xf);
    machine.report("stormed")?.expect(200, 0, 0)?;
    let status = machine.report("setup")?.number("status")?;
    check!(
        status & !0x40 == 0xf,
        "status {status:#x} with a queue of 8"
    );
    check_eq!(machine.report("setup")?.number("status")?, 0xf);
    machine.report("done")?.expect(1, 0, 0)?;
    machine.ends_well()
}
