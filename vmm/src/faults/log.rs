//! The log of fault decisions, and its replay.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use faultvisor_devices::block::fault::record::Record;
use faultvisor_devices::block::fault::replay::Replay;
use faultvisor_devices::sync::lock;

use crate::output_file::{self, OutputFileError};

/// The longest log that is replayed, in bytes.
const MAX_REPLAY: u64 = 1 << 30;

/// The buffer for lines that cannot be written at the moment, in bytes.
const MAX_PENDING: usize = 1 << 20;

/// A file that receives a line of JSON for each fault decision, without a time. Lines of one disk are in the order of
/// its requests.
///
/// Lines that a full disk or a slow reader does not take are buffered and retried with the next line. Decisions that do
/// not fit into the buffer are counted, and a line in their place says so.
#[derive(Debug)]
pub struct FaultLog {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Not yet written: the rest of a line, and further lines.
    pending: Vec<u8>,
    /// Decisions that did not fit.
    lost: u64,
    is_failing: bool,
}

/// The line in the place of lost decisions.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    lost: u64,
}

/// There is no log, or one cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log cannot be created.
    #[error("--fault-log: cannot create '{}': {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The error.
        source: OutputFileError,
    },
    /// The log to replay cannot be read.
    #[error("--fault-replay: cannot read '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// A line of it is invalid.
    #[error("--fault-replay: {}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The error.
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
        let file = output_file::create(path).map_err(|source| LogError::Create {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::to(path, file))
    }

    fn to(path: &Path, file: File) -> Self {
        let state = State {
            file,
            pending: Vec::new(),
            lost: 0,
            is_failing: false,
        };
        Self {
            path: path.to_owned(),
            state: Mutex::new(state),
        }
    }

    /// Writes a line without blocking. The guest continues in any case.
    pub fn write(&self, record: &Record) {
        let mut state = lock(&self.state);
        state.add(record);
        let path = self.path.display();
        match (state.flush(), state.is_failing) {
            (Err(error), false) => {
                state.is_failing = true;
                tracing::warn!("fault log '{path}': {error}; tried again with the next decision");
            }
            (Ok(()), true) => {
                state.is_failing = false;
                tracing::warn!("fault log '{path}': written again");
            }
            _ => {}
        }
    }
}

impl Drop for FaultLog {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.add_gap();
        if let Err(error) = state.flush() {
            let lines = state.pending.iter().filter(|byte| **byte == b'\n').count();
            tracing::error!(
                "fault log '{}': its last {lines} lines could not be written: {error}",
                self.path.display()
            );
        }
    }
}

impl State {
    fn add(&mut self, record: &Record) {
        match serde_json::to_vec(record) {
            Ok(line) if self.pending.len() + line.len() < MAX_PENDING => {
                self.add_gap();
                self.pending.extend(line);
                self.pending.push(b'\n');
            }
            _ => self.lost += 1,
        }
    }

    fn add_gap(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0
            && let Ok(line) = serde_json::to_vec(&Gap { lost })
        {
            self.pending.extend(line);
            self.pending.push(b'\n');
        }
    }

    /// Writes what the file takes, and keeps the rest.
    fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The decisions of a log, by disk.
///
/// # Errors
///
/// If the file cannot be read, is not a fault log, or names a disk that `has_disk` does not know.
pub fn read(
    path: &Path,
    has_disk: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Replay>, LogError> {
    let failed = |source| LogError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut records: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let mut length = 0;
    // It may be a pipe, whose length is unknown.
    for (line, text) in (1..).zip(BufReader::new(file.take(MAX_REPLAY + 1)).lines()) {
        let wrong = |message| LogError::Line {
            path: path.to_owned(),
            line,
            message,
        };
        let text = text.map_err(failed)?;
        length += text.len() as u64 + 1;
        if length > MAX_REPLAY {
            let message = format!("more than {MAX_REPLAY} bytes");
            return Err(failed(io::Error::other(message)));
        }
        if text.is_empty() {
            continue;
        }
        if let Ok(Gap { lost }) = serde_json::from_str(&text) {
            return Err(wrong(format!(
                "{lost} decisions are missing here: the log could not be written"
            )));
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
    use faultvisor_devices::block::fault::action::Decision;
    use faultvisor_devices::block::fault::kinds::RecordedOperation;
    use faultvisor_devices::block::model::errno::Errno;

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
    fn written_records_are_read_back() {
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
    fn an_invalid_log_is_refused_with_its_line() {
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
    fn a_full_pipe_delays_records_and_losses_are_reported() {
        let (reader, writer) = std::io::pipe().unwrap();
        let writer = File::from(std::os::fd::OwnedFd::from(writer));
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let log = FaultLog::to(Path::new("log"), writer);
        // More than pipe and buffer hold.
        let count = 2 * (MAX_PENDING / 100) as u64;
        for ordinal in 0..count {
            log.write(&record(ordinal));
        }
        assert!(lock(&log.state).is_failing);
        let lost = lock(&log.state).lost;
        assert!(lost > 0 && lost < count);
        let mut text = Vec::new();
        let read = |text: &mut Vec<u8>| {
            // Until nothing is available at the moment.
            let _ = Read::read_to_end(&mut &reader, text);
        };
        while !lock(&log.state).pending.is_empty() {
            read(&mut text);
            let _ = lock(&log.state).flush();
        }
        read(&mut text);
        log.write(&record(count));
        assert!(!lock(&log.state).is_failing);
        drop(log);
        read(&mut text);
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len() as u64, count - lost + 2);
        assert_eq!(lines[lines.len() - 2], format!("{{\"lost\":{lost}}}"));
        for (ordinal, line) in (0..count - lost).zip(&lines) {
            let record: Record = serde_json::from_str(line).unwrap();
            assert_eq!(record.ordinal, ordinal);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, text).unwrap();
        let error = read_all(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!(
                ":{}: {lost} decisions are missing here",
                count - lost + 1
            )),
            "{error}"
        );
    }

    fn read_all(path: &Path) -> Result<BTreeMap<String, Replay>, LogError> {
        super::read(path, |_| true)
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
