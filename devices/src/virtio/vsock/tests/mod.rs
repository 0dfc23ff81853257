//! The vsock device behind its transport, with a driver, and clients and listeners on the host.

mod closing;
mod credit;
mod driver;
mod garbage;
mod hostile;
mod opening;
mod state;
