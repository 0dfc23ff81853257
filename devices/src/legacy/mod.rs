//! What a Linux kernel expects of a PC and finds slow or fatal to miss.

mod cmos;
mod keyboard_controller;
mod power;
mod pvpanic;
mod serial;

pub use cmos::Cmos;
pub use keyboard_controller::KeyboardController;
pub use power::PowerControl;
pub use pvpanic::{GuestPanic, Pvpanic};
pub use serial::{COM_PORTS, COM1_BASE, COM1_INTERRUPT, Serial};
