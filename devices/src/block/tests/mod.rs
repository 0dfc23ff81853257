//! What every backend must do, asked of each of them.

mod backends;
mod bench;
mod fallback;
mod progress;
mod ranges;
