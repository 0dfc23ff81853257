//! The program on a terminal: raw while it runs, and restored at every end.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Instant;

use faultvisor_harness::child::Guarded;
use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{InputModes, LocalModes, Termios, tcgetattr};

use super::pty::Pty;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    keys_reach_the_guest_one_by_one_and_control_a_x_quits,
    the_terminal_is_restored_when_the_guest_powers_off,
    the_terminal_is_restored_after_quit,
    the_terminal_is_restored_after_sigterm,
    the_terminal_is_restored_after_sighup,
    the_terminal_is_restored_after_a_fatal_signal,
    the_terminal_is_restored_when_the_machine_cannot_start,
];

/// A program on a terminal, with the terminal's other end.
struct OnTerminal {
    process: Guarded,
    pty: Pty,
    before: Settings,
}

/// The output of `stty -a`.
#[derive(Debug, PartialEq)]
struct Settings(String);

impl Settings {
    fn of(terminal: &OwnedFd) -> Result<Self, Failure> {
        Ok(Self(format!("{:?}", tcgetattr(terminal)?)))
    }
}

fn is_raw(termios: &Termios) -> bool {
    let local = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
    let input = InputModes::ICRNL | InputModes::IXON;
    !termios.local_modes.intersects(local) && !termios.input_modes.intersects(input)
}

fn start(plan: Plan<'_>) -> Result<OnTerminal, Failure> {
    let pty = Pty::open()?;
    let before = Settings::of(&pty.terminal)?;
    check!(!is_raw(&tcgetattr(&pty.terminal)?), "a new terminal is raw");
    let mut command = plan.options(&["--serial", "stdio"]).into_command();
    pty.give(&mut command)?;
    Ok(OnTerminal {
        process: Guarded::spawn(&mut command)?,
        pty,
        before,
    })
}

impl OnTerminal {
    fn sees(&self, text: &str) -> Result<(), Failure> {
        self.pty.sees(text)
    }

    /// The guest runs: the terminal must be raw now.
    fn runs(&self, text: &str) -> Result<(), Failure> {
        self.sees(text)?;
        check!(
            is_raw(&tcgetattr(&self.pty.terminal)?),
            "the terminal is not raw"
        );
        Ok(())
    }

    fn types(&mut self, keys: &str) -> Result<(), Failure> {
        self.pty.types(keys)
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        Ok(kill_process(
            pid.ok_or_else(|| Failure::new("no process id"))?,
            signal,
        )?)
    }

    /// Waits for the end, after which the terminal must be restored.
    fn ends(mut self) -> Result<ExitStatus, Failure> {
        let status = self.process.wait_until(Instant::now() + SOON)?;
        let status = status.ok_or_else(|| Failure::new("the program still runs"))?;
        check_eq!(Settings::of(&self.pty.terminal)?, self.before);
        Ok(status)
    }

    fn ends_well(self) -> Result<(), Failure> {
        check_eq!(self.ends()?.code(), Some(0));
        Ok(())
    }
}

fn keys_reach_the_guest_one_by_one_and_control_a_x_quits(context: &Context) -> Result<(), Failure> {
    let mut terminal = start(Plan::new(
        context,
        "await\nawait\nawait\nawait\necho 4\nexit off",
    )?)?;
    // Without an end of line; Ctrl-C, carriage return and Ctrl-A itself are ordinary keys.
    for (step, (key, byte)) in [("y", 0x79), ("\x03", 3), ("\r", 13), ("\x01\x01", 1)]
        .iter()
        .enumerate()
    {
        terminal.runs(&format!("FV {} await", step + 1))?;
        terminal.types(key)?;
        terminal.sees(&format!("FV {} came byte={byte:#04x}", step + 1))?;
    }
    terminal.sees("FV 5 echo")?;
    // Ctrl-A C is reserved and does nothing.
    terminal.types("\x01cplain\r\n")?;
    terminal.sees("plain")?;
    terminal.types("\x01x")?;
    terminal.ends_well()
}

fn the_terminal_is_restored_when_the_guest_powers_off(context: &Context) -> Result<(), Failure> {
    let mut terminal = start(Plan::new(context, "choose")?)?;
    terminal.runs("choose")?;
    terminal.types("o")?;
    terminal.ends_well()
}

fn the_terminal_is_restored_after_quit(context: &Context) -> Result<(), Failure> {
    let terminal = start(Plan::new(context, "spin")?)?;
    terminal.runs("spin")?;
    let client = Client::connect(&context.path("qmp"), SOON)?;
    client.quit()?;
    terminal.ends_well()
}

fn after_signal(context: &Context, signal: Signal) -> Result<ExitStatus, Failure> {
    let terminal = start(Plan::new(context, "spin")?)?;
    terminal.runs("spin")?;
    terminal.signal(signal)?;
    terminal.ends()
}

fn the_terminal_is_restored_after_sigterm(context: &Context) -> Result<(), Failure> {
    check_eq!(after_signal(context, Signal::TERM)?.code(), Some(0));
    Ok(())
}

fn the_terminal_is_restored_after_sighup(context: &Context) -> Result<(), Failure> {
    check_eq!(after_signal(context, Signal::HUP)?.code(), Some(0));
    Ok(())
}

fn the_terminal_is_restored_after_a_fatal_signal(context: &Context) -> Result<(), Failure> {
    for signal in [
        Signal::SEGV,
        Signal::ABORT,
        Signal::BUS,
        Signal::ILL,
        Signal::QUIT,
    ] {
        let status = after_signal(context, signal)?;
        check_eq!(status.signal(), Some(signal.as_raw()));
    }
    Ok(())
}

fn the_terminal_is_restored_when_the_machine_cannot_start(
    context: &Context,
) -> Result<(), Failure> {
    let plan = Plan::new(context, "spin")?.disk(&context.path("no-such-disk"), "");
    check_eq!(start(plan)?.ends()?.code(), Some(1));
    Ok(())
}
