//! What every backend must do, asked of each of them.

mod backends;
pub mod bench;
mod fallback;
mod progress;
mod ranges;
