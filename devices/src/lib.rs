//! The devices of a Faultvisor machine: the buses, the legacy PC devices, the virtio transport,
//! virtio-blk, and the block layer under it.
//!
//! A device is a plain state machine behind the two methods of [`bus::BusDevice`]. Its outputs (an interrupt, console
//! bytes, a disk error) go through small traits, so that no device needs a virtual machine to be tested. Nothing here
//! depends on the monitor: `vmm` joins the two.

pub mod block;
pub mod blocking;
pub mod bus;
pub mod console;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod interrupt;
pub mod legacy;
pub mod life_cycle;
pub mod sync;
pub mod thread;
pub mod thread_id;
mod timer;
pub mod virtio;
