//! The test harness of the end-to-end tests, the benchmarks and `cargo xtask`.
//!
//! From the bottom up: [`packages`] installs programs; [`guest`] and [`lab`] build images under `target/` by
//! [`faultvisor_harness::image`] and [`faultvisor_harness::kernel`]; [`host`] probes whether this machine runs Linux
//! guests itself or needs the lab; [`client`] and [`guest_shell`] drive one VMM and its guest, whose process
//! [`faultvisor_harness`] owns; [`suite`] defines, runs and reports end-to-end tests.

pub mod bare;
pub mod build;
pub mod client;
pub mod debian;
pub mod guest;
pub mod guest_shell;
pub mod host;
pub mod lab;
pub mod microvm;
pub mod packages;
pub mod qemu_schema;
pub mod readme;
pub mod resident;
pub mod suite;
pub mod threads;
pub mod wire;
pub mod workspace;

pub use faultvisor_harness::cache::artifact;
pub use faultvisor_harness::tool;
