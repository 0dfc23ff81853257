//! Faultvisor: a virtual machine monitor whose disk errors are signals.

mod boot;
mod cli;
mod cpu;
mod memory;

fn main() {
    let _ = cli::parse(std::env::args_os());
    let _ = memory::allocate(1);
}
