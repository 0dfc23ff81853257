//! The 16550A UART (PC COM1), from vm-superio, and the bytes waiting for its FIFO.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use vm_superio::serial::NoEvents;
use vm_superio::{Serial as Uart, Trigger};
use vmm_sys_util::eventfd::EventFd;

use crate::bus::BusDevice;
use crate::console::ConsoleOutput;
use crate::interrupt::InterruptLine;
use crate::sync::lock;

/// First I/O port of COM1.
pub const COM1_BASE: u64 = 0x3f8;
/// Number of ports of a UART.
pub const COM_PORTS: u64 = 8;
/// The ISA interrupt of COM1.
pub const COM1_INTERRUPT: u32 = 4;

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
/// In the interrupt identification register: nothing is pending.
const NOTHING_PENDING: u8 = 1;
/// In the interrupt identification register: there is received data.
const RECEIVED_DATA: u8 = 1 << 2;
/// In the line control register: the first registers are the divisor's.
const DIVISOR_LATCH: u8 = 1 << 7;
/// In the line status register: there is received data.
const DATA_READY: u8 = 1;

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

    /// Input that the guest has not read is gone.
    fn reset(&self) {
        let mut state = lock(&self.state);
        let output = state.uart.writer().clone();
        state.uart = Uart::new(Line(self.line.clone()), output);
        state.waiting.clear();
        let _ = self.room.write(1);
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;

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
        serial.reset();
        assert_eq!(read(&serial, 7), 0);
        assert_eq!(read(&serial, LINE_STATUS) & DATA_READY, 0);
    }
}
