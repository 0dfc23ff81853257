//! The host's side of the guest's first serial port.

mod escape;
mod input;
mod retry;
mod socket;

use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use event_manager::MutEventSubscriber;
use faultvisor_devices::blocking::Blocking;
use faultvisor_devices::console::{ConsoleOutput, OnFailure};
use faultvisor_devices::legacy::Serial;
use faultvisor_devices::thread::ThreadStart;
use vmm_sys_util::eventfd::EventFd;

use crate::cli::SerialPort;
use crate::inbox::Sender;
use crate::output_file::{self, OutputFileError};
use crate::terminal::RawTerminal;
use faultvisor_monitor::unix_socket::{self, SocketFile, UnixSocketError};

/// The console cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The output file cannot be opened.
    #[error("--serial: cannot open '{}': {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        source: OutputFileError,
    },
    /// The socket cannot be made.
    #[error("--serial: {0}")]
    Socket(#[from] UnixSocketError),
    /// A terminal, a thread or a descriptor fails.
    #[error("--serial: {0}")]
    Setup(#[from] io::Error),
}

/// The open console, before there is a UART to connect it to.
pub struct Console {
    output: ConsoleOutput,
    input: Input,
    terminal: Option<RawTerminal>,
}

/// A console in use.
pub struct ConnectedConsole {
    /// Its input, for the main loop.
    pub subscriber: Option<Box<dyn MutEventSubscriber>>,
    /// The raw terminal, held until the end.
    pub terminal: Option<RawTerminal>,
}

enum Input {
    None,
    Stdin,
    Unix(UnixListener, SocketFile),
}

impl Console {
    /// Opens what the command line names. The writing thread first calls `threads`.
    ///
    /// # Errors
    ///
    /// [`ConsoleError`] names what fails.
    pub fn open(port: &SerialPort, threads: &ThreadStart) -> Result<Self, ConsoleError> {
        let mut terminal = None;
        let (output, input) = match port {
            SerialPort::Null => (ConsoleOutput::null(), Input::None),
            SerialPort::Stdio => {
                terminal = RawTerminal::enter()?;
                let output = ConsoleOutput::new(threads.clone())?;
                // Not `std::io::stdout`, which buffers what follows the last newline.
                let stdout = rustix::io::dup(rustix::stdio::stdout()).map_err(io::Error::from)?;
                output.attach(Box::new(Blocking(File::from(stdout))), OnFailure::Retry);
                (output, Input::Stdin)
            }
            SerialPort::File(path) => {
                let file = output_file::create(path).map_err(|source| ConsoleError::File {
                    path: path.clone(),
                    source,
                })?;
                let output = ConsoleOutput::new(threads.clone())?;
                output.attach(Box::new(Blocking(file)), OnFailure::Retry);
                (output, Input::None)
            }
            SerialPort::Unix(path) => {
                let (listener, bound) = unix_socket::bind(path)?;
                (
                    ConsoleOutput::new(threads.clone())?,
                    Input::Unix(listener, bound),
                )
            }
        };
        Ok(Self {
            output,
            input,
            terminal,
        })
    }

    /// The UART's sink.
    pub fn output(&self) -> &ConsoleOutput {
        &self.output
    }

    /// Connects the input to the UART, which signals `room` when it can take more.
    ///
    /// # Errors
    ///
    /// If the host has no descriptor left.
    pub fn connect(
        self,
        serial: Arc<Serial>,
        room: EventFd,
        inbox: Sender,
    ) -> io::Result<ConnectedConsole> {
        let subscriber: Option<Box<dyn MutEventSubscriber>> = match self.input {
            Input::None => None,
            Input::Stdin => Some(Box::new(input::StandardInput::new(serial, room, inbox)?)),
            Input::Unix(listener, bound) => Some(Box::new(socket::SocketConsole::new(
                listener,
                bound,
                self.output,
                serial,
                room,
            )?)),
        };
        Ok(ConnectedConsole {
            subscriber,
            terminal: self.terminal,
        })
    }
}
