//! What a guest acknowledged as durable, and what survives.

use std::collections::{BTreeMap, BTreeSet};

/// The databases' names in the guest.
pub const DATABASES: [&str; 2] = ["wal", "rollback"];
const FILES: &str = "files";

/// Acknowledgements before the power failed.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The last transaction of each database.
    transactions: BTreeMap<String, u64>,
    /// The files of the last load.
    files: BTreeSet<u64>,
    /// Total numbers of both.
    pub acknowledged: u64,
}

impl Ledger {
    /// Takes a line from the guest. Only complete lines count: power may fail within one.
    pub fn take(&mut self, line: &str) {
        let words = line
            .strip_prefix("A ")
            .and_then(|rest| rest.strip_suffix('.'));
        let Some((what, number)) = words.and_then(|words| words.split_once(' ')) else {
            return;
        };
        let Ok(number) = number.parse() else {
            return;
        };
        self.acknowledged += 1;
        if what == FILES {
            self.files.insert(number);
        } else {
            self.transactions.insert(what.to_owned(), number);
        }
    }

    /// Forgets the files: the next load begins with others, and deletes these.
    pub fn forget_files(&mut self) {
        self.files.clear();
    }

    /// The acknowledged data that is missing, and other violations.
    pub fn complaints(&self, found: &Found) -> Vec<String> {
        let mut complaints = Vec::new();
        for database in DATABASES {
            let acknowledged = self.transactions.get(database).copied().unwrap_or(0);
            match found.databases.get(database) {
                Some(entries) => entries.complain(database, acknowledged, &mut complaints),
                None => complaints.push(format!("{database} cannot be read")),
            }
            match found.integrity.get(database).map(Vec::as_slice) {
                Some([ok]) if ok == "ok" => {}
                other => complaints.push(format!("{database}: integrity_check says {other:?}")),
            }
        }
        for file in self.files.difference(&found.files) {
            complaints.push(format!("file {file} is not whole"));
        }
        if found.e2fsck != Some(0) {
            let status = found.e2fsck;
            complaints.push(format!("e2fsck ended with {status:?}"));
        }
        complaints
    }
}

/// The contents of a database.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Entries {
    count: u64,
    last: u64,
    total: u64,
    wrong: u64,
}

impl Entries {
    fn complain(&self, database: &str, acknowledged: u64, complaints: &mut Vec<String>) {
        let Self {
            count,
            last,
            total,
            wrong,
        } = *self;
        if last < acknowledged {
            complaints.push(format!(
                "{database}: transaction {acknowledged} was acknowledged, and the last is {last}"
            ));
        }
        // Rows are numbered from 1, and each transaction adds its own.
        if (count, total, wrong) != (last, last, 0) {
            complaints.push(format!("{database} is not whole: {self:?}"));
        }
    }
}

/// What a guest has found on its disk.
#[derive(Debug, Default)]
pub struct Found {
    databases: BTreeMap<String, Entries>,
    integrity: BTreeMap<String, Vec<String>>,
    files: BTreeSet<u64>,
    e2fsck: Option<i32>,
}

impl Found {
    /// Takes a line from the guest.
    pub fn take(&mut self, line: &str) {
        let words = line
            .strip_prefix("H ")
            .and_then(|rest| rest.strip_suffix('.'));
        let words: Vec<&str> = words.unwrap_or_default().split(' ').collect();
        let number = |word: &str| word.parse().unwrap_or(u64::MAX);
        match words.as_slice() {
            ["integrity", database, said @ ..] => {
                let said_of = self.integrity.entry((*database).to_owned());
                said_of.or_default().push(said.join(" "));
            }
            ["e2fsck", status] => self.e2fsck = status.parse().ok(),
            [FILES, file] => drop(self.files.insert(number(file))),
            [database, count, last, total, wrong] => {
                let entries = Entries {
                    count: number(count),
                    last: number(last),
                    total: number(total),
                    wrong: number(wrong),
                };
                self.databases.insert((*database).to_owned(), entries);
            }
            _ => {}
        }
    }

    /// The number with which a load can continue in a database.
    pub fn next(&self, database: &str) -> u64 {
        let entries = self.databases.get(database);
        entries.map_or(0, |entries| entries.last) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(lines: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        lines.iter().for_each(|line| ledger.take(line));
        ledger
    }

    fn found(lines: &[&str]) -> Found {
        let mut found = Found::default();
        lines.iter().for_each(|line| found.take(line));
        found
    }

    const WELL: &[&str] = &[
        "H wal 4 4 4 0.",
        "H integrity wal ok.",
        "H rollback 0 0 0 0.",
        "H integrity rollback ok.",
        "H files 7.",
        "H e2fsck 0.",
    ];

    #[test]
    fn unacknowledged_data_may_survive_and_acknowledged_data_must() {
        let well = found(WELL);
        let ledger_of = |lines| ledger(lines).complaints(&well);
        assert!(ledger_of(&["A wal 3.", "A files 7."]).is_empty());
        assert!(ledger_of(&["A wal 4."]).is_empty());
        assert_eq!(well.next("wal"), 5);
        assert_eq!(
            ledger_of(&["A wal 5.", "A files 8."]),
            [
                "wal: transaction 5 was acknowledged, and the last is 4",
                "file 8 is not whole"
            ]
        );
    }

    #[test]
    fn an_incomplete_line_acknowledges_nothing() {
        let ledger = ledger(&["A wal 4.", "A wal 5", "A wal 6.FV-INIT", "A wal"]);
        assert_eq!(ledger.acknowledged, 1);
        assert!(ledger.complaints(&found(WELL)).is_empty());
    }

    #[test]
    fn a_missing_finding_is_a_complaint() {
        for missing in 0..WELL.len() {
            let mut lines = WELL.to_vec();
            lines.remove(missing);
            let acknowledged = ledger(&["A files 7."]);
            assert_eq!(
                acknowledged.complaints(&found(&lines)).len(),
                1,
                "{missing}"
            );
        }
        let with = |line| {
            let mut lines = WELL.to_vec();
            lines.push(line);
            ledger(&[]).complaints(&found(&lines)).len()
        };
        assert_eq!(with("H integrity wal row 3 missing."), 1);
        assert_eq!(with("H wal 3 4 4 0."), 1);
        assert_eq!(with("H wal 4 4 3 0."), 1);
        assert_eq!(with("H wal 4 4 4 1."), 1);
        assert_eq!(with("H e2fsck 4."), 1);
    }
}
