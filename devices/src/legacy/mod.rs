//! What a Linux kernel expects of a PC and finds slow or fatal to miss.

mod aml;
mod cmos;
mod keyboard_controller;
mod power;
mod power_button;
mod pvpanic;
mod serial;

pub use cmos::Cmos;
pub use keyboard_controller::KeyboardController;
pub use power::PowerControl;
pub use power_button::PowerButton;
pub use pvpanic::{GuestPanic, Pvpanic};
pub use serial::Serial;
