//! The test harness of the end-to-end tests, the benchmarks and `cargo xtask`.
//!
//! From the bottom up: [`packages`], [`kernel`] and [`initramfs`] build the images that [`guest`] and [`lab`] keep
//! under `target/`; [`host`] probes whether this machine runs Linux guests itself or needs the lab; [`client`] and
//! [`guest_shell`] drive one VMM and its guest, whose process [`faultvisor_harness`] owns; [`suite`] defines, runs and
//! reports end-to-end tests.

pub mod artifact;
pub mod bare;
pub mod build;
pub mod client;
pub mod debian;
pub mod guest;
pub mod guest_shell;
pub mod host;
pub mod initramfs;
pub mod kernel;
pub mod lab;
pub mod microvm;
pub mod packages;
pub mod qemu_schema;
pub mod readme;
pub mod resident;
pub mod stock_kernel;
pub mod suite;
pub mod threads;
pub mod tool;
mod userland;
pub mod wire;
pub mod workspace;
