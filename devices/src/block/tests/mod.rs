//! A disk with a backend and memory for tests, and which backend is chosen.

pub mod bench;
mod fallback;
