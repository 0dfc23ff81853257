//! `qmp`, the command-line client of QMP servers.

mod arguments;
mod completion;
mod introspection;
mod output;
mod shell;
mod suggestion;
