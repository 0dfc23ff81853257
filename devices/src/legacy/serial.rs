//! The 16550A UART (PC COM1), from vm-superio, and the bytes waiting for its FIFO.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use acpi_tables::AmlSink;
use acpi_tables::aml::{EISAName, Name, ResourceTemplate};
use serde::{Deserialize, Serialize};
use vm_superio::serial::NoEvents;
use vm_superio::{Serial as Uart, SerialState, Trigger};
use vmm_sys_util::eventfd::EventFd;

use super::aml::{PRESENT, edge, on_system_bus, ports};
use crate::bus::BusDevice;
use crate::console::ConsoleOutput;
use crate::interrupt::InterruptLine;
use crate::life_cycle::{self, Done, LifeCycle, Placement, RestoreError, SaveError};
use crate::sync::lock;

/// Receive buffer register.
const DATA: u8 = 0;
/// Interrupt enable register.
const INTERRUPT_ENABLE: u8 = 1;
/// Interrupt identification register.
const INTERRUPT_IDENTIFICATION: u8 = 2;
/// Line control register.
const LINE_CONTROL: u8 = 3;
/// Line status register.
const LINE_STATUS: u8 = 5;

/// In the interrupt enable register: received data interrupts.
const ENABLE_RECEIVED_DATA: u8 = 1;
/// In the interrupt enable register: every interrupt of a 16550A.
const ENABLE_ALL: u8 = 0x0f;
/// In the interrupt identification register: nothing is pending.
const NOTHING_PENDING: u8 = 1;
/// In the interrupt identification register: the transmitter is empty.
const TRANSMITTER_EMPTY: u8 = 1 << 1;
/// In the interrupt identification register: there is received data.
const RECEIVED_DATA: u8 = 1 << 2;
/// In the line control register: the first registers are the divisor's.
const DIVISOR_LATCH: u8 = 1 << 7;
/// In the line status register: there is received data.
const DATA_READY: u8 = 1;

/// Bytes of the UART's FIFO (vm-superio keeps more than a 16550A's 16).
const FIFO_SIZE: usize = 64;

/// Input that is kept for the guest beyond the UART's FIFO. More is not read from the host until
/// the guest has taken some.
const INPUT_CAPACITY: usize = 4096;

/// A UART whose output goes to a console and whose input comes from [`Serial::receive`].
pub struct Serial {
    state: Mutex<State>,
    line: Arc<dyn InterruptLine>,
    /// Signalled when there is room for input again.
    room: EventFd,
}

struct State {
    uart: Uart<Line, NoEvents, ConsoleOutput>,
    /// Input behind the FIFO.
    waiting: VecDeque<u8>,
}

struct Line(Arc<dyn InterruptLine>);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.raise()
    }
}

impl Serial {
    /// Number of ports.
    pub const PORTS: u64 = 8;

    /// A UART on an interrupt line. `room` is written to whenever input fits again after
    /// [`Serial::receive`] took less than it was given.
    pub fn new(line: Arc<dyn InterruptLine>, output: ConsoleOutput, room: EventFd) -> Self {
        Self {
            state: Mutex::new(State {
                uart: Uart::new(Line(line.clone()), output),
                waiting: VecDeque::new(),
            }),
            line,
            room,
        }
    }

    /// Bytes that [`Serial::receive`] takes now.
    pub fn room(&self) -> usize {
        INPUT_CAPACITY - lock(&self.state).waiting.len()
    }

    /// Gives input to the guest and says how many bytes were taken.
    pub fn receive(&self, input: &[u8]) -> usize {
        let mut state = lock(&self.state);
        let count = input.len().min(INPUT_CAPACITY - state.waiting.len());
        state.waiting.extend(&input[..count]);
        state.refill();
        count
    }
}

impl State {
    /// Whether there is input that the guest wants to be interrupted for.
    ///
    /// A 16550 says so for as long as it has any; vm-superio only until the first byte is read. A
    /// driver may take a part of a long input and look here for whether there is more, as Linux
    /// does after each 256 bytes.
    fn has_input_to_announce(&mut self) -> bool {
        self.uart.read(LINE_STATUS) & DATA_READY != 0
            && self.uart.read(LINE_CONTROL) & DIVISOR_LATCH == 0
            && self.uart.read(INTERRUPT_ENABLE) & ENABLE_RECEIVED_DATA != 0
    }

    /// Moves waiting input into the FIFO while it has room.
    fn refill(&mut self) {
        while self.uart.fifo_capacity() > 0 && !self.waiting.is_empty() {
            let (front, _) = self.waiting.as_slices();
            match self.uart.enqueue_raw_bytes(front) {
                // In loop-back mode the UART takes nothing from outside.
                Ok(0) => return,
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) => {
                    tracing::warn!(%error, "serial: input interrupt");
                    return;
                }
            }
        }
    }
}

impl BusDevice for Serial {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let Ok(offset) = u8::try_from(offset) else {
            return;
        };
        let mut state = lock(&self.state);
        // A string instruction arrives as several bytes for one port.
        for byte in data {
            *byte = state.uart.read(offset);
            if offset == INTERRUPT_IDENTIFICATION && state.has_input_to_announce() {
                *byte = *byte & !NOTHING_PENDING | RECEIVED_DATA;
            }
            if offset == DATA {
                let was_full = state.waiting.len() == INPUT_CAPACITY;
                state.refill();
                if was_full && state.waiting.len() < INPUT_CAPACITY {
                    let _ = self.room.write(1);
                }
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let Ok(offset) = u8::try_from(offset) else {
            return;
        };
        let mut state = lock(&self.state);
        for byte in data {
            if let Err(error) = state.uart.write(offset, *byte) {
                tracing::warn!(%error, "serial: write");
            }
            // Input that was there before the guest wanted to know.
            if offset == INTERRUPT_ENABLE
                && state.has_input_to_announce()
                && let Err(error) = self.line.raise()
            {
                tracing::warn!(%error, "serial: input interrupt");
            }
        }
    }
}

/// The state of the UART. The line and modem status registers follow from it, and output is the console's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    divisor_low: u8,
    divisor_high: u8,
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    /// Received bytes, the oldest first.
    fifo: Vec<u8>,
    /// Input behind the FIFO.
    waiting: Vec<u8>,
}

impl Saved {
    fn of(state: &State) -> Self {
        let uart = state.uart.state();
        Self {
            divisor_low: uart.baud_divisor_low,
            divisor_high: uart.baud_divisor_high,
            interrupt_enable: uart.interrupt_enable,
            interrupt_identification: uart.interrupt_identification,
            line_control: uart.line_control,
            modem_control: uart.modem_control,
            scratch: uart.scratch,
            fifo: uart.in_buffer,
            waiting: state.waiting.iter().copied().collect(),
        }
    }

    /// Refuses what a UART never has.
    fn check(&self) -> Result<(), RestoreError> {
        let refused = |member, value| Err(RestoreError::OutOfRange { member, value });
        let pending = self.interrupt_identification;
        if self.interrupt_enable & !ENABLE_ALL != 0 {
            return refused("interrupt_enable", self.interrupt_enable.into());
        }
        if pending != NOTHING_PENDING
            && (pending == 0 || pending & !(TRANSMITTER_EMPTY | RECEIVED_DATA) != 0)
        {
            return refused("interrupt_identification", pending.into());
        }
        if self.fifo.len() > FIFO_SIZE {
            return refused("fifo", self.fifo.len() as u64);
        }
        if self.waiting.len() > INPUT_CAPACITY {
            return refused("waiting", self.waiting.len() as u64);
        }
        Ok(())
    }

    fn registers(&self) -> SerialState {
        let initial = SerialState::default();
        let data_ready = match self.fifo.is_empty() {
            true => 0,
            false => DATA_READY,
        };
        SerialState {
            baud_divisor_low: self.divisor_low,
            baud_divisor_high: self.divisor_high,
            interrupt_enable: self.interrupt_enable,
            interrupt_identification: self.interrupt_identification,
            line_control: self.line_control,
            line_status: initial.line_status | data_ready,
            modem_control: self.modem_control,
            modem_status: initial.modem_status,
            scratch: self.scratch,
            in_buffer: self.fifo.clone(),
        }
    }
}

impl LifeCycle for Serial {
    /// Drops input that the guest has not read.
    fn reset(&self, done: Done) {
        let mut state = lock(&self.state);
        let output = state.uart.writer().clone();
        state.uart = Uart::new(Line(self.line.clone()), output);
        state.waiting.clear();
        let _ = self.room.write(1);
        drop(state);
        done();
    }

    fn save(&self) -> Result<life_cycle::State, SaveError> {
        life_cycle::State::of(&Saved::of(&lock(&self.state)))
    }

    /// Raises the line where an interrupt is pending and enabled: an edge that came before is not part of the state.
    fn restore(&self, state: &life_cycle::State) -> Result<(), RestoreError> {
        let saved: Saved = state.decode()?;
        saved.check()?;
        let mut state = lock(&self.state);
        let output = state.uart.writer().clone();
        let line = Line(self.line.clone());
        state.uart = Uart::from_state(&saved.registers(), line, NoEvents, output)
            .map_err(|error| RestoreError::Host(io::Error::other(error.to_string())))?;
        state.waiting = saved.waiting.into();
        let _ = self.room.write(1);
        Ok(())
    }

    fn describe(&self, placement: &Placement, dsdt: &mut dyn AmlSink) {
        let id = EISAName::new("PNP0501");
        let (ports, interrupt) = (ports(placement), edge(placement));
        let resources = ResourceTemplate::new(vec![&ports, &interrupt]);
        on_system_bus(
            "COM1",
            vec![
                &Name::new("_HID".into(), &id),
                &Name::new("_UID".into(), &0u8),
                &Name::new("_STA".into(), &PRESENT),
                &Name::new("_CRS".into(), &resources),
            ],
            dsdt,
        );
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;
    use crate::life_cycle::testing::{assert_refuses, assert_survives_a_reset, reset};

    const LINE_STATUS: u64 = super::LINE_STATUS as u64;
    const INTERRUPT_ENABLE: u64 = super::INTERRUPT_ENABLE as u64;
    const INTERRUPT_IDENTIFICATION: u64 = super::INTERRUPT_IDENTIFICATION as u64;

    fn serial() -> (Serial, EventFd, EventFd) {
        let (line, room) = (
            EventFd::new(EFD_NONBLOCK).unwrap(),
            EventFd::new(EFD_NONBLOCK).unwrap(),
        );
        let serial = Serial::new(
            Arc::new(line.try_clone().unwrap()),
            ConsoleOutput::null(),
            room.try_clone().unwrap(),
        );
        (serial, line, room)
    }

    fn read(serial: &Serial, offset: u64) -> u8 {
        let mut data = [0];
        serial.read(offset, &mut data);
        data[0]
    }

    #[test]
    fn input_longer_than_the_fifo_arrives_whole_and_in_order() {
        let (serial, line, room) = serial();
        serial.write(INTERRUPT_ENABLE, &[1]);
        let input: Vec<u8> = (0..=255u8).cycle().take(5000).collect();
        let first = serial.receive(&input);
        assert_eq!(first, INPUT_CAPACITY);
        assert!(line.read().is_ok());
        assert!(room.read().is_err());
        let mut output = Vec::new();
        let mut left = &input[first..];
        while read(&serial, LINE_STATUS) & DATA_READY != 0 {
            output.push(read(&serial, 0));
            left = &left[serial.receive(left)..];
        }
        assert_eq!(output, input);
        assert_eq!(serial.room(), INPUT_CAPACITY);
    }

    #[test]
    fn input_is_announced_until_all_of_it_is_read() {
        let (serial, line, _room) = serial();
        assert_eq!(serial.receive(&[b'x'; 3]), 3);
        assert!(line.read().is_err());
        serial.write(INTERRUPT_ENABLE, &[ENABLE_RECEIVED_DATA]);
        assert!(line.read().is_ok());
        for _ in 0..3 {
            // Asked more than once, it says the same.
            for _ in 0..2 {
                let pending = read(&serial, INTERRUPT_IDENTIFICATION) & 0xf;
                assert_eq!(pending, RECEIVED_DATA);
            }
            read(&serial, 0);
        }
        let pending = read(&serial, INTERRUPT_IDENTIFICATION) & 0xf;
        assert_eq!(pending, NOTHING_PENDING);
    }

    #[test]
    fn room_is_announced_when_a_full_buffer_is_read_from() {
        let (serial, _line, room) = serial();
        while serial.receive(&[b'x'; 512]) > 0 {}
        assert!(room.read().is_err());
        read(&serial, 0);
        assert_eq!(room.read().unwrap(), 1);
    }

    #[test]
    fn a_reset_forgets_input_and_registers() {
        let (serial, _line, _room) = serial();
        serial.write(7, &[0x5a]);
        serial.receive(b"typed before the reset");
        reset(&serial);
        assert_eq!(read(&serial, 7), 0);
        assert_eq!(read(&serial, LINE_STATUS) & DATA_READY, 0);
    }

    /// A UART whose registers are all different from those after power-on, with input in and behind its FIFO.
    fn serial_in_use() -> Serial {
        let (serial, _line, _room) = serial();
        serial.write(3, &[DIVISOR_LATCH]);
        serial.write(0, &[0x12]);
        serial.write(1, &[0x34]);
        serial.write(3, &[0x1b]);
        serial.write(INTERRUPT_ENABLE, &[3]);
        serial.write(7, &[0x5a]);
        let input: Vec<u8> = (0..200).collect();
        assert_eq!(serial.receive(&input), input.len());
        // In loop-back mode, from now on.
        serial.write(4, &[0x13]);
        serial
    }

    #[test]
    fn registers_and_input_read_the_same_after_reset_and_restore() {
        assert_survives_a_reset(&serial_in_use(), |serial| {
            let mut all: Vec<u8> = (1..8).map(|offset| read(serial, offset)).collect();
            let line_control = read(serial, 3);
            serial.write(3, &[line_control | DIVISOR_LATCH]);
            all.extend([read(serial, 0), read(serial, 1)]);
            serial.write(3, &[line_control]);
            serial.write(4, &[0]);
            while read(serial, LINE_STATUS) & DATA_READY != 0 {
                all.push(read(serial, 0));
            }
            all
        });
    }

    #[test]
    fn a_restore_raises_the_line_for_input_that_is_pending() {
        let saved = serial_in_use().save().unwrap();
        let (serial, line, room) = serial();
        serial.restore(&saved).unwrap();
        assert!(line.read().is_ok());
        assert!(room.read().is_ok());
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let saved = serde_json::to_value(serial_in_use().save().unwrap()).unwrap();
        let damaged = |member: &str, value: serde_json::Value| {
            let mut damaged = saved.clone();
            damaged[member] = value;
            damaged.to_string()
        };
        let (serial, _line, _room) = serial();
        assert_refuses(
            &serial,
            &[
                "{}",
                &damaged("interrupt_enable", 0x10.into()),
                &damaged("interrupt_identification", 0.into()),
                &damaged("interrupt_identification", 3.into()),
                &damaged("interrupt_identification", 0xc1.into()),
                &damaged("line_control", 256.into()),
                &damaged("fifo", vec![0; FIFO_SIZE + 1].into()),
                &damaged("waiting", vec![0; INPUT_CAPACITY + 1].into()),
                &damaged("line_status", 0x61.into()),
            ],
        );
    }
}
