//! The test harness: what the end-to-end tests, the benchmarks and `cargo xtask` are made of.
//!
//! From the bottom up: [`packages`], [`kernel`] and [`initramfs`] make the images that [`guest`] and [`lab`] keep under
//! `target/`; [`host`] says whether this machine can run Linux guests itself or needs the lab; [`client`] and [`guest_shell`]
//! drive one VMM and the guest in it, whose process is the business of [`faultvisor_harness`]; [`suite`] is how an
//! end-to-end test is written, run and reported.

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
