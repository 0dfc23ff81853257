//! The handling of failed requests: QEMU's `werror` and `rerror`, and the disk's io-status.

use std::str::FromStr;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::block::model::errno::Errno;
use crate::life_cycle::Run;
use crate::sync::lock;

/// What to do about a failed write or flush (QEMU `werror`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnWriteError {
    /// The guest gets an error.
    Report,
    /// The request succeeds for the guest.
    Ignore,
    /// [`Self::Stop`] when the host is out of space, otherwise [`Self::Report`].
    #[default]
    Enospc,
    /// The request is held and the machine stops.
    Stop,
}

/// What to do about a failed read (QEMU `rerror`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnReadError {
    /// The guest gets an error.
    #[default]
    Report,
    /// The request succeeds for the guest; its buffer keeps its old contents.
    Ignore,
    /// The request is held and the machine stops.
    Stop,
}

/// A word that is not an error action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not one of {expected}", expected = .1.join(", "))]
pub struct UnknownAction(String, &'static [&'static str]);

impl FromStr for OnWriteError {
    type Err = UnknownAction;

    fn from_str(word: &str) -> Result<Self, UnknownAction> {
        match word {
            "report" => Ok(Self::Report),
            "ignore" => Ok(Self::Ignore),
            "enospc" => Ok(Self::Enospc),
            "stop" => Ok(Self::Stop),
            _ => Err(UnknownAction(
                word.to_owned(),
                &["report", "ignore", "enospc", "stop"],
            )),
        }
    }
}

impl FromStr for OnReadError {
    type Err = UnknownAction;

    fn from_str(word: &str) -> Result<Self, UnknownAction> {
        match word {
            "report" => Ok(Self::Report),
            "ignore" => Ok(Self::Ignore),
            "stop" => Ok(Self::Stop),
            _ => Err(UnknownAction(
                word.to_owned(),
                &["report", "ignore", "stop"],
            )),
        }
    }
}

/// The action on one failure (QEMU `BlockErrorAction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorAction {
    /// Complete with an error.
    Report,
    /// Complete with success.
    Ignore,
    /// Hold the request and stop the machine.
    Stop,
}

/// One disk's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorPolicy {
    /// For writes and flushes.
    pub on_write: OnWriteError,
    /// For reads.
    pub on_read: OnReadError,
}

impl ErrorPolicy {
    /// The action for a failed read, or for a failed write or flush.
    pub fn action(self, is_read: bool, errno: Errno) -> ErrorAction {
        if is_read {
            match self.on_read {
                OnReadError::Report => ErrorAction::Report,
                OnReadError::Ignore => ErrorAction::Ignore,
                OnReadError::Stop => ErrorAction::Stop,
            }
        } else {
            match self.on_write {
                OnWriteError::Enospc if errno == Errno::ENOSPC => ErrorAction::Stop,
                OnWriteError::Report | OnWriteError::Enospc => ErrorAction::Report,
                OnWriteError::Ignore => ErrorAction::Ignore,
                OnWriteError::Stop => ErrorAction::Stop,
            }
        }
    }

    /// Whether some error can stop the machine, so that the disk has an io-status (QEMU's
    /// `query-block` shows one only then).
    pub fn may_stop(self) -> bool {
        matches!(self.on_write, OnWriteError::Enospc | OnWriteError::Stop)
            || self.on_read == OnReadError::Stop
    }
}

/// Whether an error of the disk stopped the machine since it last ran (QEMU `BlockDeviceIoStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IoStatus {
    /// No error has stopped the machine.
    #[default]
    Ok,
    /// An error other than [`IoStatus::NoSpace`] has.
    Failed,
    /// Lack of space on the host has.
    NoSpace,
}

/// A disk's io-status, set by its thread and cleared by the machine when it continues.
#[derive(Debug, Default)]
pub struct IoStatusCell(Mutex<IoStatusState>);

/// A disk's io-status as plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IoStatusState {
    /// The run that it belongs to.
    run: Run,
    status: IoStatus,
    /// Whether the disk stops the machine in this run.
    stops: bool,
}

impl IoStatusCell {
    /// The current status.
    pub fn get(&self) -> IoStatus {
        lock(&self.0).status
    }

    /// Whether the disk stops the machine in this run, also before the machine is notified.
    pub fn stops(&self) -> bool {
        lock(&self.0).stops
    }

    /// Notes a stop without an error. A stop of an earlier run is ignored.
    pub fn set_stop(&self, run: Run) {
        let mut state = lock(&self.0);
        state.stops |= state.run <= run;
    }

    /// Notes an error that stops the machine. The first since `cont` determines the status, as in
    /// QEMU. An error of an earlier run is ignored.
    pub fn set(&self, run: Run, errno: Errno) {
        let mut state = lock(&self.0);
        if state.run > run {
            return;
        }
        state.stops = true;
        if state.status == IoStatus::Ok {
            state.status = if errno == Errno::ENOSPC {
                IoStatus::NoSpace
            } else {
                IoStatus::Failed
            };
        }
    }

    /// The status, as plain data.
    pub fn save(&self) -> IoStatusState {
        *lock(&self.0)
    }

    /// Restores a saved status.
    pub fn restore(&self, state: IoStatusState) {
        *lock(&self.0) = state;
    }

    /// Begins a new run, with status `ok`.
    pub fn begin(&self, run: Run) {
        *lock(&self.0) = IoStatusState {
            run,
            ..IoStatusState::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_decides_as_qemu_does() {
        let action = |werror: &str, rerror: &str, is_read, errno| {
            let policy = ErrorPolicy {
                on_write: werror.parse().unwrap(),
                on_read: rerror.parse().unwrap(),
            };
            policy.action(is_read, errno)
        };
        for errno in [Errno::EIO, Errno::ENOSPC] {
            assert_eq!(action("report", "stop", false, errno), ErrorAction::Report);
            assert_eq!(action("ignore", "stop", false, errno), ErrorAction::Ignore);
            assert_eq!(action("stop", "report", false, errno), ErrorAction::Stop);
            assert_eq!(action("stop", "report", true, errno), ErrorAction::Report);
            assert_eq!(action("stop", "ignore", true, errno), ErrorAction::Ignore);
            assert_eq!(action("report", "stop", true, errno), ErrorAction::Stop);
        }
        assert_eq!(
            action("enospc", "report", false, Errno::EIO),
            ErrorAction::Report
        );
        assert_eq!(
            action("enospc", "report", false, Errno::ENOSPC),
            ErrorAction::Stop
        );
    }

    #[test]
    fn the_defaults_are_enospc_for_writes_and_report_for_reads() {
        let policy = ErrorPolicy::default();
        assert_eq!(policy.action(false, Errno::ENOSPC), ErrorAction::Stop);
        assert_eq!(policy.action(false, Errno::EFBIG), ErrorAction::Report);
        assert_eq!(policy.action(true, Errno::ENOSPC), ErrorAction::Report);
        assert!(policy.may_stop());
    }

    #[test]
    fn enospc_is_no_policy_for_reads() {
        let error = "enospc".parse::<OnReadError>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "'enospc' is not one of report, ignore, stop"
        );
    }

    #[test]
    fn the_first_error_since_cont_decides_the_status() {
        let cell = IoStatusCell::default();
        cell.set(Run(0), Errno::ENOSPC);
        cell.set(Run(0), Errno::EIO);
        assert_eq!(cell.get(), IoStatus::NoSpace);
        cell.begin(Run(1));
        assert_eq!(cell.get(), IoStatus::Ok);
        cell.set(Run(1), Errno::EIO);
        assert_eq!(cell.get(), IoStatus::Failed);
    }

    #[test]
    fn an_error_of_an_earlier_run_does_not_mark_the_disk() {
        let cell = IoStatusCell::default();
        cell.begin(Run(3));
        cell.set(Run(2), Errno::EIO);
        assert_eq!(cell.get(), IoStatus::Ok);
    }

    #[test]
    fn a_restored_status_is_the_one_that_was_saved_until_the_next_run() {
        let cell = IoStatusCell::default();
        cell.begin(Run(3));
        cell.set(Run(3), Errno::ENOSPC);
        let text = serde_json::to_string(&cell.save()).unwrap();
        let other = IoStatusCell::default();
        other.restore(serde_json::from_str(&text).unwrap());
        assert_eq!((other.get(), other.stops()), (IoStatus::NoSpace, true));
        other.set(Run(2), Errno::EIO);
        other.begin(Run(4));
        assert_eq!((other.get(), other.stops()), (IoStatus::Ok, false));
    }

    #[test]
    fn a_stop_is_pending_until_the_machine_continues() {
        let cell = IoStatusCell::default();
        cell.begin(Run(1));
        assert!(!cell.stops());
        cell.set_stop(Run(1));
        assert_eq!((cell.stops(), cell.get()), (true, IoStatus::Ok));
        cell.begin(Run(2));
        cell.set_stop(Run(1));
        cell.set(Run(1), Errno::EIO);
        assert!(!cell.stops());
        cell.set(Run(2), Errno::EIO);
        assert!(cell.stops());
    }
}
