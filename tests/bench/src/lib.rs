//! Measurements of guests in several VMMs side by side, each with its samples as lines of text: `bench-guests` takes them
//! where the guests run, which may be the lab, and `bench` reads and compares them.

pub mod boot_time;
pub mod contender;
pub mod cpu_time;
pub mod guest_fio;
pub mod idle_cost;
