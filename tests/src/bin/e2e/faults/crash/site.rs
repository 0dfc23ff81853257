//! A machine with a volatile cache, and a guest that loads and checks its disk on command.

use std::time::Duration;

use faultvisor_tests::check;
use faultvisor_tests::guest::Tools;
use faultvisor_tests::guest_shell::{self, GuestShell};
use faultvisor_tests::suite::{Context, Failure};
use serde_json::Value;

use super::ledger::{Found, Ledger};
use crate::client::{Client, IO_ERRORS};
use crate::faults;
use crate::linux::{self, add_disk};

/// The guest's commands.
const SCRIPT: &str = include_str!("guest.sh");
/// Defines them in its shell.
const LEARN: &str = ". /test/crash.sh";
const DISK_MIB: usize = 48;
/// The timeout of a load or a check.
const PATIENCE: Duration = Duration::from_secs(120);

/// The initial contents of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// The previous contents of the disk, which must not have had a journal.
    Unwritten,
    Zeroes,
}

pub struct Site {
    guest: GuestShell,
    client: Client,
    /// The time, after each cut under load, from the guest's last output to its init.
    boots: Vec<Duration>,
}

impl Site {
    /// Boots a guest whose disk has been used, and has no file system.
    pub fn boot(context: &Context) -> Result<Self, Failure> {
        for tools in [Tools::Sqlite, Tools::E2fsprogs] {
            faults::need(context, tools)?;
        }
        let image = context.path("disk");
        linux::image(&image, DISK_MIB as u64, &linux::pattern(40, DISK_MIB << 20))?;
        let script = guest_shell::script()
            .with(Tools::Sqlite)
            .with(Tools::E2fsprogs)
            .file("crash.sh", SCRIPT);
        let mut command = linux::command_with(context, &script)?;
        add_disk(
            &mut command,
            &image,
            "format=raw,id=disk0,volatile-cache=on",
        );
        let (mut guest, _default) = linux::boot(context, &mut command)?;
        let events = [&IO_ERRORS[..], &["BLOCK_POWER_CUT", "RESET"]].concat();
        let client = Client::hearing(&linux::monitor(context), &events)?;
        guest.be_patient(PATIENCE);
        guest.run(LEARN)?;
        Ok(Self {
            guest,
            client,
            boots: Vec::new(),
        })
    }

    /// Creates the file system and the databases.
    pub fn format(&mut self, journal: Journal) -> Result<(), Failure> {
        let lazy = u8::from(journal == Journal::Unwritten);
        self.guest
            .run(&format!("format lazy_journal_init={lazy}"))?;
        Ok(())
    }

    /// Adds a rule.
    pub fn add(&mut self, rule: Value) -> Result<(), Failure> {
        faults::add(&self.client, rule)?;
        Ok(())
    }

    /// The guest's findings on its disk, or none if it has restarted before it reported them.
    pub fn look(&mut self) -> Result<Option<Found>, Failure> {
        self.guest.begin("look")?;
        let outcome = self.guest.finish_or_restart()?;
        let mut found = Found::default();
        outcome.lines.iter().for_each(|line| found.take(&line.text));
        Ok(outcome.status.map(|_| found))
    }

    /// Has the guest continue from its findings, with files numbered from there, until the power fails.
    pub fn load(
        &mut self,
        found: &Found,
        first_file: u64,
        ledger: &mut Ledger,
    ) -> Result<(), Failure> {
        let (wal, rollback) = (found.next("wal"), found.next("rollback"));
        self.guest
            .begin(&format!("load {wal} {rollback} {first_file}"))?;
        let outcome = self.guest.finish_or_restart()?;
        for line in &outcome.lines {
            ledger.take(&line.text);
        }
        check!(outcome.status.is_none(), "the load has ended by itself");
        if let Some(last) = outcome.lines.last() {
            self.boots.push(outcome.at - last.at);
        }
        Ok(())
    }

    /// After a power cut: removes all rules and waits until the guest obeys again. Returns the event's data.
    pub fn power_cut(&mut self) -> Result<Value, Failure> {
        let loss = self.client.expect("BLOCK_POWER_CUT")?;
        self.client.expect("RESET")?;
        self.client.execute("block-fault-clear")?;
        self.restarted()?;
        Ok(loss)
    }

    /// The median time of a guest's kernel, in seconds.
    pub fn boot_seconds(&mut self) -> f64 {
        self.boots.sort_unstable();
        let middle = self.boots.get(self.boots.len() / 2);
        middle.map_or(0.0, Duration::as_secs_f64)
    }

    /// Waits until a restarted guest obeys.
    pub fn restarted(&mut self) -> Result<(), Failure> {
        self.guest.wait_for_shell()?;
        self.guest.run(LEARN)?;
        Ok(())
    }

    /// Ends the machine.
    pub fn quit(mut self) -> Result<(), Failure> {
        self.client.quit()?;
        self.guest.expect_exit(0)?;
        Ok(())
    }
}
