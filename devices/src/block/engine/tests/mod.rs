//! What every backend must do, asked of each of them.

mod backends;
mod ranges;
mod step;
