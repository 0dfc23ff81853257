//! How the host performs requests: in the kernel, through io_uring, or in threads that block.
//!
//! Both drive each request by the same steps (`step`), so that a request has the same result on
//! either.

pub mod blocking;
pub(in crate::block) mod step;
#[cfg(test)]
mod tests;
pub mod thread_pool;
pub mod uring;
