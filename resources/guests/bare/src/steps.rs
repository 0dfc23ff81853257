//! The steps of a script.

use core::str;

use crate::disk::{self, BlockDriver, DISKS, Kind, QUEUES, Setup, register};
use crate::machine::{self, End, Serial};
use crate::measurement::{Measured, MeasurementOf};
use crate::pattern::{self, SECTOR};
use crate::requests::{self, Burst, StormOf};
use crate::ring::{Descriptor, SLOTS};
use crate::script::{Words, Wrong, number};
use crate::{report, text};

/// What follows a step.
#[derive(Debug, Clone, Copy)]
pub enum Next {
    /// The next step.
    Go,
    /// The script's end.
    End(End),
}

/// The guest's disks, and the requests that it left in flight.
#[derive(Debug)]
pub struct Guest {
    /// The disks; the first `count` exist.
    pub disks: [BlockDriver; DISKS],
    /// Number of disks.
    pub count: usize,
    /// Requests left in flight by queue number, whichever the disk.
    started: [Option<Burst>; QUEUES],
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            disks: [BlockDriver::new(0, 0); DISKS],
            count: 0,
            started: [None; QUEUES],
        }
    }
}

impl Guest {
    /// Executes a step. Empty lines and lines that begin with `#` are skipped.
    pub fn step(&mut self, number: usize, line: &str) -> Result<Next, Wrong> {
        let mut words = Words::of(line);
        let Some(name) = words.rest() else {
            return Ok(Next::Go);
        };
        match name {
            "#" => {}
            "print" => text(&mut words),
            "flood" => flood(number, words.number()?),
            "await" => {
                report(number, format_args!("await"));
                let byte = Serial::read();
                report(number, format_args!("came byte={byte:#04x}"));
            }
            "choose" => {
                report(number, format_args!("choose"));
                match Serial::read() {
                    b'o' => return Ok(Next::End(End::Off)),
                    b'r' => return Ok(Next::End(End::Reset)),
                    b'f' => return Ok(Next::End(End::TripleFault)),
                    b'l' => return Ok(Next::End(End::Lost)),
                    _ => {}
                }
            }
            "echo" => {
                let last: u8 = words.number()?;
                report(number, format_args!("echo"));
                let mut count = 0u64;
                loop {
                    let byte = Serial::read();
                    if byte == last {
                        break;
                    }
                    Serial::write(&[byte]);
                    count += 1;
                }
                report(number, format_args!("echoed count={count}"));
            }
            "delay" => {
                let cycles: u64 = words.number()?;
                let start = machine::cycles();
                while machine::cycles().wrapping_sub(start) < cycles {}
            }
            "spin" => {
                report(number, format_args!("spin"));
                machine::spin();
            }
            "panic" => {
                report(number, format_args!("panicking"));
                machine::panicked(words.number()?);
                report(number, format_args!("unmoved"));
            }
            "exit" => {
                return Ok(Next::End(match words.word()? {
                    "off" => End::Off,
                    "reset" => End::Reset,
                    "fault" => End::TripleFault,
                    "lost" => End::Lost,
                    _ => return Err("not-off-reset-fault-or-lost"),
                }));
            }
            _ => self.disk_step(number, name, &mut words)?,
        }
        Ok(Next::Go)
    }

    fn disk_step(&mut self, step: usize, name: &str, words: &mut Words<'_>) -> Result<(), Wrong> {
        let index: usize = words.number()?;
        let disk = self.disks[..self.count]
            .get_mut(index)
            .ok_or("no-such-disk")?;
        match name {
            "setup" => {
                let setup = setup(disk, words)?;
                let status = disk.start(&setup);
                let (offered, sectors) = (disk.offered(), disk.capacity());
                report(
                    step,
                    format_args!(
                        "setup status={status:#x} offered={offered:#x} sectors={sectors} queues={}",
                        disk.offered_queues()
                    ),
                );
            }
            "reset" => {
                disk.reset();
                let status = disk.get(register::STATUS);
                report(step, format_args!("reset status={status:#x}"));
            }
            "register" => {
                let offset = words.number()?;
                if let Some(value) = words.rest() {
                    disk.set(offset, number(value).ok_or("not-a-number")? as u32);
                }
                report(step, format_args!("register value={:#x}", disk.get(offset)));
            }
            "byte" => {
                let offset = words.number()?;
                if let Some(value) = words.rest() {
                    disk.set_byte(offset, number(value).ok_or("not-a-number")? as u8);
                }
                report(step, format_args!("byte value={}", disk.get_byte(offset)));
            }
            "changed" => changed(step, disk),
            "queue" => {
                if !disk.select(words.number()?) {
                    return Err("no-such-queue");
                }
            }
            "id" => identify(step, disk),
            "discard" => ranges(step, disk, Kind::Discard, words)?,
            "zero" => ranges(step, disk, Kind::Zero, words)?,
            "read" | "write" | "flush" => {
                let burst = burst(name, 1, words)?;
                run(step, disk, &burst)?;
            }
            "burst" => {
                let (name, count) = (words.word()?, words.number()?);
                run(step, disk, &burst(name, count, words)?)?;
            }
            "start" => {
                let (name, count) = (words.word()?, words.number()?);
                let burst = burst(name, count, words)?;
                if !burst.fits(disk) {
                    return Err("too-much-at-once");
                }
                burst.start(disk);
                self.started[disk.queue()] = Some(burst);
                report(step, format_args!("started count={count}"));
            }
            "wait" => {
                let burst = self.started[disk.queue()]
                    .take()
                    .ok_or("nothing-was-started")?;
                finish(step, disk, &burst);
            }
            "storm" => {
                let storm = StormOf {
                    first: words.number()?,
                    sectors_each: words.number()?,
                    count: words.number()?,
                    depth: words.number()?,
                    seed: words.number()?,
                };
                if !storm.fits(disk) {
                    return Err("too-much-at-once");
                }
                report(step, format_args!("storming"));
                let tally = storm.run(disk);
                report_tally(step, "stormed", disk, tally, 0);
            }
            "measure" => measure(step, disk, &MeasurementOf::parse(words)?)?,
            _ => chain_step(step, disk, name, words)?,
        }
        Ok(())
    }
}

fn measure(step: usize, disk: &mut BlockDriver, measurement: &MeasurementOf) -> Result<(), Wrong> {
    if !measurement.fits(disk) {
        return Err("too-much-at-once");
    }
    report(step, format_args!("measuring"));
    let Measured {
        tally,
        sum,
        kicks,
        latencies,
    } = measurement.run(disk);
    report_tally(step, "measured", disk, tally, sum);
    let (p50, p99) = (latencies.permille(500), latencies.permille(990));
    let longest = latencies.longest();
    report(
        step,
        format_args!("latencies p50={p50} p99={p99} max={longest} kicks={kicks}"),
    );
    Ok(())
}

/// Steps that build chains by hand.
fn chain_step(
    step: usize,
    disk: &mut BlockDriver,
    name: &str,
    words: &mut Words<'_>,
) -> Result<(), Wrong> {
    match name {
        "header" => disk.raw_header(words.number()?, words.number()?),
        "descriptor" => {
            let table = words.word()?;
            let descriptor = Descriptor {
                index: words.number()?,
                address: disk.address(words.word()?).ok_or("not-an-address")?,
                length: words.number()?,
                flags: words.number()?,
                next: words.number()?,
            };
            disk.raw_descriptor(table, descriptor);
        }
        "offer" => disk.offer(words.number()?),
        "available" => disk.set_available(words.number()?),
        "kick" => disk.notify(),
        "used" => {
            let used = loop {
                if let Some(used) = disk.poll() {
                    break used;
                }
                core::hint::spin_loop();
            };
            let data = pattern::sum(disk.buffer(0, SECTOR as u64));
            report(
                step,
                format_args!(
                    "used head={} length={} status={:#04x} sum={data:#018x}",
                    used.head,
                    used.length,
                    disk.raw_status()
                ),
            );
        }
        "broken" => {
            while disk.get(register::STATUS) & disk::NEEDS_RESET == 0 {
                core::hint::spin_loop();
            }
            let (status, cause) = (
                disk.get(register::STATUS),
                disk.get(register::INTERRUPT_STATUS),
            );
            let used = u8::from(disk.poll().is_some());
            report(
                step,
                format_args!("broken status={status:#x} interrupt={cause:#x} used={used}"),
            );
        }
        _ => return Err("no-such-step"),
    }
    Ok(())
}

fn setup(disk: &BlockDriver, words: &mut Words<'_>) -> Result<Setup, Wrong> {
    let mut setup = Setup::default();
    while let Some(word) = words.rest() {
        let (key, value) = word.split_once('=').ok_or("not-key=value")?;
        let address = disk.address(value).ok_or("not-an-address")?;
        match key {
            "size" => setup.size = address as u32,
            "queues" if (1..=QUEUES as u64).contains(&address) => setup.queues = address as usize,
            "features" => setup.features = address,
            "table" => setup.table = Some(address),
            "available" => setup.available = Some(address),
            "used" => setup.used = Some(address),
            _ => return Err("no-such-key"),
        }
    }
    Ok(setup)
}

fn burst(name: &str, count: usize, words: &mut Words<'_>) -> Result<Burst, Wrong> {
    let kind = match name {
        "read" => Kind::Read,
        "write" => Kind::Write,
        "flush" => Kind::Flush,
        _ => return Err("not-read-write-or-flush"),
    };
    let mut burst = Burst {
        kind,
        first: 0,
        sectors_each: 0,
        count,
        seed: 0,
    };
    if kind != Kind::Flush {
        (burst.first, burst.sectors_each) = (words.number()?, words.number()?);
    }
    if kind == Kind::Write {
        burst.seed = words.number()?;
    }
    Ok(burst)
}

fn run(step: usize, disk: &mut BlockDriver, burst: &Burst) -> Result<(), Wrong> {
    if !burst.fits(disk) {
        return Err("too-much-at-once");
    }
    burst.start(disk);
    finish(step, disk, burst);
    Ok(())
}

fn finish(step: usize, disk: &mut BlockDriver, burst: &Burst) {
    let tally = requests::wait(disk, burst.count);
    let sum = if burst.kind == Kind::Read {
        burst.sum(disk)
    } else {
        0
    };
    report_tally(step, "done", disk, tally, sum);
}

fn report_tally(step: usize, word: &str, disk: &mut BlockDriver, tally: requests::Tally, sum: u64) {
    // Catches duplicate completions that have arrived by now.
    while disk.completed().is_some() {}
    let requests::Tally {
        ok,
        io_error,
        unsupported,
        bad,
        cycles,
    } = tally;
    report(
        step,
        format_args!(
            "{word} ok={ok} ioerr={io_error} unsupp={unsupported} bad={bad} doubled={} sum={sum:#018x} cycles={cycles}",
            disk.doubled
        ),
    );
}

/// Waits for a configuration change interrupt, and acknowledges it.
fn changed(step: usize, disk: &BlockDriver) {
    const CHANGED: u32 = 2;
    let cause = loop {
        let cause = disk.get(register::INTERRUPT_STATUS);
        if cause & CHANGED != 0 {
            break cause;
        }
        core::hint::spin_loop();
    };
    disk.set(register::INTERRUPT_ACK, cause);
    // Repeats until both halves of the size are from one generation (virtio 1.2 §2.5).
    let (generation, sectors) = loop {
        let before = disk.get(register::CONFIG_GENERATION);
        let sectors = disk.capacity();
        if disk.get(register::CONFIG_GENERATION) == before {
            break (before, sectors);
        }
    };
    let left = disk.get(register::INTERRUPT_STATUS) & CHANGED;
    report(
        step,
        format_args!(
            "changed interrupt={cause:#x} left={left:#x} generation={generation} sectors={sectors}"
        ),
    );
}

/// One request about ranges of the disk: flags, common to all, then first sector and sectors of each.
fn ranges(
    step: usize,
    disk: &mut BlockDriver,
    kind: Kind,
    words: &mut Words<'_>,
) -> Result<(), Wrong> {
    const LENGTH: usize = 16;
    let flags: u32 = words.number()?;
    let room = disk.longest();
    let mut list = disk.buffer(0, room).chunks_exact_mut(LENGTH);
    let mut length = 0;
    while let Some(first) = words.rest() {
        let first = number(first).ok_or("not-a-number")?;
        let sectors: u32 = words.number()?;
        let range = list.next().ok_or("too-many-ranges")?;
        range[..8].copy_from_slice(&first.to_le_bytes());
        range[8..12].copy_from_slice(&sectors.to_le_bytes());
        range[12..].copy_from_slice(&flags.to_le_bytes());
        length += LENGTH;
    }
    disk.submit(0, kind, 0, length as u64);
    disk.kick();
    let tally = requests::wait(disk, 1);
    report_tally(step, "done", disk, tally, 0);
    Ok(())
}

fn identify(step: usize, disk: &mut BlockDriver) {
    disk.buffer(0, 20).fill(0xee);
    disk.submit(0, Kind::Identify, 0, 20);
    disk.kick();
    let tally = requests::wait(disk, 1);
    let bytes = disk.buffer(0, 20);
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(20);
    let name = str::from_utf8(&bytes[..end]).unwrap_or("?");
    report(step, format_args!("id ok={} text={name}", tally.ok));
}

/// Prints that many bytes, letters that depend on their position; fewer if input arrives meanwhile.
fn flood(step: usize, bytes: u64) {
    const PIECE: usize = 1024;
    let mut piece = [0; PIECE];
    let mut at = 0;
    report(step, format_args!("flooding"));
    while at < bytes && !Serial::has_input() {
        let count = (bytes - at).min(PIECE as u64);
        for (place, byte) in (at..at + count).zip(&mut piece) {
            *byte = b'a' + (pattern::mix(place) % 26) as u8;
        }
        Serial::write(&piece[..count as usize]);
        at += count;
    }
    Serial::write(b"\r\n");
    report(step, format_args!("flooded bytes={at}"));
}

const _: () = assert!(SLOTS <= u16::MAX as usize);
