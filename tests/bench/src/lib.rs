//! Measurements of guests in several VMMs side by side, with samples as lines of text: `bench-guests` takes them beside
//! the guests, which may be in the lab, and `bench` reads and compares them.

pub mod boot_time;
pub mod contender;
pub mod cpu_time;
pub mod guest_fio;
pub mod idle_cost;
