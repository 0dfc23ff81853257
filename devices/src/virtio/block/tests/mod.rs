//! The device with its thread, from the registers to the backend and back.

mod completions;
mod contents;
mod driver;
mod fakes;
mod faults;
mod framing;
mod garbage;
mod life_cycle;
mod limits;
mod malformed;
mod multi_queue;
mod notifications;
mod policies;
mod power;
mod ranges;
mod resize;
mod saving;
mod space;
mod state;
mod statistics;
mod strategies;
mod threshold;
