//! `qmp`, the command-line client of QMP servers.

mod arguments;
mod introspection;
mod suggestion;
