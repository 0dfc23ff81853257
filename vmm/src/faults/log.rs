//! The log of what the rules decided, and its repetition.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use faultvisor_devices::block::fault::{Record, Replay};
use faultvisor_devices::sync::lock;

/// Longest log that is repeated, in bytes.
const MAX_REPLAY: u64 = 1 << 30;

/// A file that hears of every rule that fires: a line of JSON for each, which names no time. Lines
/// of one disk are in the order of its requests.
#[derive(Debug)]
pub struct FaultLog {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    has_failed: bool,
}

/// Why there is no log, or why one cannot be repeated.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file to write.
    #[error("--fault-log: cannot create '{}': {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the host says.
        source: io::Error,
    },
    /// The file to repeat.
    #[error("--fault-replay: cannot read '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the host says.
        source: io::Error,
    },
    /// Something in it.
    #[error("--fault-replay: {}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

impl FaultLog {
    /// A new, empty file.
    ///
    /// # Errors
    ///
    /// [`LogError::Create`].
    pub fn create(path: &Path) -> Result<Self, LogError> {
        let file = File::create(path).map_err(|source| LogError::Create {
            path: path.to_owned(),
            source,
        })?;
        let has_failed = false;
        Ok(Self {
            path: path.to_owned(),
            state: Mutex::new(State { file, has_failed }),
        })
    }

    /// Writes a line. A log that cannot be written to is complained of once: the guest goes on.
    pub fn write(&self, record: &Record) {
        let mut state = lock(&self.state);
        let line = serde_json::to_vec(record).map_err(io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            state.file.write_all(&line)
        });
        if let Err(error) = written
            && !std::mem::replace(&mut state.has_failed, true)
        {
            tracing::error!("fault log '{}': {error}", self.path.display());
        }
    }
}

/// What a log says, by disk.
///
/// # Errors
///
/// When the file cannot be read, is no fault log, or tells of a disk that `has_disk` does not know.
pub fn read(
    path: &Path,
    has_disk: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Replay>, LogError> {
    let failed = |source| LogError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > MAX_REPLAY {
        let message = format!("more than {MAX_REPLAY} bytes");
        return Err(failed(io::Error::other(message)));
    }
    let mut records: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for (line, text) in (1..).zip(BufReader::new(file.take(MAX_REPLAY)).lines()) {
        let wrong = |message| LogError::Line {
            path: path.to_owned(),
            line,
            message,
        };
        let text = text.map_err(failed)?;
        if text.is_empty() {
            continue;
        }
        let record: Record =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if !has_disk(&record.device) {
            return Err(wrong(format!("there is no disk '{}'", record.device)));
        }
        records
            .entry(record.device.clone())
            .or_default()
            .push(record);
    }
    let replay = |(device, records)| (device, Replay::new(records));
    Ok(records.into_iter().map(replay).collect())
}

#[cfg(test)]
mod tests {
    use faultvisor_devices::block::Errno;
    use faultvisor_devices::block::fault::{Decision, RecordedOperation};

    use super::*;

    fn record(ordinal: u64) -> Record {
        Record {
            device: "d0".to_owned(),
            ordinal,
            attempt: 0,
            operation: RecordedOperation::Read,
            sector: 8,
            sectors: 1,
            id: "rule".to_owned(),
            decision: Decision::Error {
                errno: Errno::EIO,
                after: false,
            },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = FaultLog::create(&path).unwrap();
        log.write(&record(1));
        log.write(&record(7));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next(),
            Some(
                "{\"device\":\"d0\",\"ordinal\":1,\"attempt\":0,\"operation\":\"read\",\"sector\":8,\
                 \"sectors\":1,\"id\":\"rule\",\"action\":\"error\",\"errno\":5,\"after\":false}"
            )
        );
        let replays = read(&path, |device| device == "d0").unwrap();
        assert_eq!(replays.keys().collect::<Vec<_>>(), ["d0"]);
    }

    #[test]
    fn what_is_no_log_is_refused_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let good = serde_json::to_string(&record(1)).unwrap();
        for (bad, expected) in [
            ("{}", "missing field"),
            ("rubbish", "expected value"),
            (&good.replace("read", "reed"), "unknown variant `reed`"),
            (&good.replace("d0", "d1"), "there is no disk 'd1'"),
            (
                &good.replace("\"error\"", "\"eror\""),
                "unknown variant `eror`",
            ),
        ] {
            std::fs::write(&path, format!("{good}\n\n{bad}\n")).unwrap();
            let error = read(&path, |device| device == "d0")
                .unwrap_err()
                .to_string();
            let place = format!("--fault-replay: {}:3: ", path.display());
            assert!(error.starts_with(&place), "{error}");
            assert!(error.contains(expected), "{error}");
        }
        let error = read(&directory.path().join("none"), |_| true).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("No such file or directory (os error 2)")
        );
    }

    #[test]
    fn a_log_without_a_place_is_refused() {
        let error = FaultLog::create(Path::new("/nowhere/log")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("--fault-log: cannot create '/nowhere/log'")
        );
    }
}
