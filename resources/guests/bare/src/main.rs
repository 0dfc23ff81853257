//! A guest without an operating system, for tests and measurements of Faultvisor.
//!
//! It executes the script in its initrd in ring 3, and reports each step in a line on COM1. README.md describes the
//! script.
#![no_std]
#![no_main]

mod boot;
mod disk;
mod histogram;
mod machine;
mod measurement;
mod memory;
mod pattern;
mod requests;
mod ring;
mod script;
mod steps;

use core::fmt::Write;

use boot::{BootParameters, Protocol};
use disk::{BlockDriver, DISKS};
use machine::{End, Serial};
use script::Words;
use steps::{Guest, Next};

/// Entry in ring 3.
#[unsafe(no_mangle)]
extern "C" fn guest_main(boot_parameters: u64, protocol: u32) -> ! {
    let protocol = Protocol::from_register(protocol);
    // SAFETY: the boot protocol places them there, and src/boot.rs passes the register on.
    let parameters = unsafe { BootParameters::at(boot_parameters, protocol) };
    let mut guest = Guest::default();
    for word in parameters.command_line.split_ascii_whitespace() {
        if let Some(address) = window_address(word)
            && guest.count < DISKS
            && BlockDriver::new(guest.count, address).is_there()
        {
            guest.disks[guest.count] = BlockDriver::new(guest.count, address);
            guest.count += 1;
        }
    }
    report(0, format_args!("start disks={}", guest.count));
    for (number, line) in (1..).zip(parameters.initrd.lines()) {
        match guest.step(number, line.trim()) {
            Ok(Next::Go) => {}
            Ok(Next::End(how)) => machine::end(how),
            Err(wrong) => {
                report(number, format_args!("error why={wrong}"));
                break;
            }
        }
    }
    report(0, format_args!("end"));
    machine::end(End::Off)
}

/// Parses the address of `virtio_mmio.device=4K@0xd0000000:5`. QEMU's microvm announces empty windows, too.
fn window_address(word: &str) -> Option<u64> {
    let device = word.strip_prefix("virtio_mmio.device=")?;
    let (_, place) = device.split_once('@')?;
    script::number(place.split(':').next()?)
}

/// Writes a line `FV <step> ...`.
fn report(step: usize, what: core::fmt::Arguments<'_>) {
    // Assembled first: each write costs one exit or several.
    let mut line = Line::default();
    // What does not fit is truncated.
    let _ = writeln!(line, "FV {step} {what}\r");
    Serial::write(&line.bytes[..line.length]);
}

struct Line {
    bytes: [u8; 400],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; 400],
            length: 0,
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            let room = self.bytes.get_mut(self.length).ok_or(core::fmt::Error)?;
            *room = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// The rest of a line's words, separated by single spaces.
fn text(words: &mut Words<'_>) {
    let mut first = true;
    while let Some(word) = words.rest() {
        if !core::mem::take(&mut first) {
            Serial::write(b" ");
        }
        Serial::write(word.as_bytes());
    }
    Serial::write(b"\r\n");
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    report(0, format_args!("panic {}", info.message()));
    machine::end(End::Off)
}
