//! A guest under Faultvisor, for a test.

pub mod child;
pub mod command_line;
pub mod console;
mod error;
pub mod process;
mod spawner;
pub mod transcript;

pub use console::Console;
pub use error::Error;
pub use process::Process;
pub use transcript::{Line, NoLine, Transcript};
