//! `qmp`: the command-line client.

fn main() {}
