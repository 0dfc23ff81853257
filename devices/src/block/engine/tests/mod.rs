//! The requirements on a backend, tested on each of them.

mod backends;
mod ranges;
mod step;
