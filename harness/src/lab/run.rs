//! One run of the lab.

use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Images, Payload};
use crate::cache::artifact::ArtifactError;
use crate::child::Guarded;
use crate::tool::{self, ToolError};
use crate::transcript::{NoLine, Transcript};

/// The mount point of the lab's own disk.
pub const SCRATCH: &str = "/scratch";
/// The pause between two looks at whether the run is cancelled.
const LOOK: Duration = Duration::from_secs(1);
const UP_MARKER: &str = "FV-LAB-UP";
const EXIT_MARKER: &str = "FV-LAB-EXIT ";

/// Parameters of one run of the lab.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The wall time of the run; the lab is killed after it.
    pub limit: Duration,
    /// The longest time without a line of its console; the lab is killed after it.
    pub silence: Duration,
    /// The lab's memory.
    pub memory_mib: u32,
    /// The image of the lab's disk, with a file system, which is mounted at [`SCRATCH`].
    pub scratch_disk: Option<PathBuf>,
    /// The images of further disks, which follow that one and may be identical. Writes to them are discarded.
    pub disks: Vec<PathBuf>,
    /// Unix sockets that listen: the lab's further serial ports, `/dev/ttyS1` and following, at most three.
    pub serial_ports: Vec<PathBuf>,
    /// Ends the run, within a second, when it becomes true.
    pub cancelled: Arc<AtomicBool>,
    /// TCP ports of this machine's loopback, and the lab's ports that they are forwarded to.
    pub forwarded_ports: Vec<(u16, u16)>,
}

impl Settings {
    /// The default memory, and no network.
    pub fn with_limit(limit: Duration) -> Self {
        Self {
            limit,
            silence: limit,
            memory_mib: 2000,
            scratch_disk: None,
            disks: Vec::new(),
            serial_ports: Vec::new(),
            cancelled: Arc::default(),
            forwarded_ports: Vec::new(),
        }
    }
}

/// How a run of the lab ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status of the payload's script.
    pub status: i32,
    /// From QEMU's start until /dev/kvm existed.
    pub up_after: Duration,
    /// From QEMU's start until its end.
    pub total: Duration,
}

/// Why a run of the lab has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The payload cannot be written.
    #[error(transparent)]
    Payload(#[from] ArtifactError),
    /// There is no QEMU.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// QEMU cannot be started or waited for.
    #[error("cannot run the lab")]
    Process(#[from] io::Error),
    /// It took too long and was killed.
    #[error("the lab was killed after {limit:?}; its console ended with:\n{tail}")]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// The last lines of its console.
        tail: String,
    },
    /// It printed nothing for too long, and was killed.
    #[error("the lab was killed after {silence:?} without a line; its console ended with:\n{tail}")]
    Silent {
        /// The limit.
        silence: Duration,
        /// The last lines of its console.
        tail: String,
    },
    /// Its user ended it.
    #[error("the lab was cancelled")]
    Cancelled,
    /// It ended before the payload's script did.
    #[error("the lab ended before its payload did; its console ended with:\n{tail}")]
    Died {
        /// The last lines of its console and of QEMU's messages.
        tail: String,
    },
}

impl Images {
    /// Boots the lab, runs `script` in it, and passes on each line of its console as it arrives.
    pub fn run(
        &self,
        payload: Payload,
        script: &str,
        settings: &Settings,
        mut on_line: impl FnMut(&str),
    ) -> Result<Outcome, RunError> {
        let initramfs = payload.finish(script)?;
        let mut command = self.command(settings)?;
        command.arg("-initrd").arg(initramfs.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());

        let started = Instant::now();
        let deadline = started + settings.limit;
        let mut process = Guarded::spawn(&mut command)?;
        let missing = || io::Error::other("a child without its pipes");
        let console = Transcript::record(process.child().stdout.take().ok_or_else(missing)?)?;
        let messages = Transcript::record(process.child().stderr.take().ok_or_else(missing)?)?;

        let mut up_after = None;
        let mut status = None;
        let mut index = 0;
        let mut silent = started + settings.silence;
        loop {
            let look = Instant::now() + LOOK;
            let line = match console.line(index, silent.min(deadline).min(look)) {
                Ok(line) => {
                    index += 1;
                    silent = Instant::now() + settings.silence;
                    line
                }
                Err(NoLine::Ended) => break,
                Err(NoLine::TimedOut) if settings.cancelled.load(Ordering::Relaxed) => {
                    process.kill()?;
                    return Err(RunError::Cancelled);
                }
                Err(NoLine::TimedOut) if look < silent.min(deadline) => continue,
                Err(NoLine::TimedOut) if silent < deadline => {
                    process.kill()?;
                    return Err(RunError::Silent {
                        silence: settings.silence,
                        tail: console.tail(20),
                    });
                }
                Err(NoLine::TimedOut | NoLine::Forgotten) => {
                    process.kill()?;
                    return Err(RunError::TimedOut {
                        limit: settings.limit,
                        tail: console.tail(20),
                    });
                }
            };
            if line.text.contains(UP_MARKER) {
                up_after = Some(line.at - started);
            } else if let Some((_, found)) = line.text.split_once(EXIT_MARKER) {
                status = found.trim().parse().ok();
            } else if status.is_none() {
                on_line(&line.text);
            }
        }
        // The console is closed: QEMU's exit takes no time worth a limit of its own.
        process.wait_until(deadline + Duration::from_secs(5))?;
        match (up_after, status) {
            (Some(up_after), Some(status)) => Ok(Outcome {
                status,
                up_after,
                total: started.elapsed(),
            }),
            _ => Err(RunError::Died {
                tail: format!(
                    "{}\n{}",
                    console.tail(20),
                    without_warnings(&messages.text())
                ),
            }),
        }
    }

    fn command(&self, settings: &Settings) -> Result<Command, ToolError> {
        let mut command = tool::command("qemu-system-x86_64")?;
        // One CPU: with two, one run in eight hung.
        command.args([
            "-M",
            "q35",
            "-accel",
            "tcg",
            "-cpu",
            "EPYC,+svm,+npt",
            "-smp",
            "1",
        ]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        command.arg("-m").arg(settings.memory_mib.to_string());
        command.args([
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
        ]);
        for (index, socket) in settings.serial_ports.iter().enumerate() {
            let mut chardev = OsString::from(format!("socket,id=port{index},server=off,path="));
            chardev.push(socket);
            command.arg("-chardev").arg(chardev);
            command.args(["-serial", &format!("chardev:port{index}")]);
        }
        command.arg("-kernel").arg(self.vmlinux());
        // loglevel=1 leaves panics: a kernel message must not split a result.
        command.args([
            "-append",
            "console=ttyS0 panic=-1 reboot=t quiet loglevel=1",
        ]);
        if let Some(image) = &settings.scratch_disk {
            // Its data need not survive a crash of this machine.
            let mut drive = OsString::from("if=none,id=scratch,format=raw,cache=unsafe,file=");
            drive.push(image);
            command.arg("-drive").arg(drive);
            command.args(["-device", "virtio-blk-pci,drive=scratch"]);
        }
        for (index, image) in settings.disks.iter().enumerate() {
            let mut drive = OsString::from(format!("if=none,id=disk{index},format=raw,"));
            drive.push("cache=unsafe,snapshot=on,file=");
            drive.push(image);
            command.arg("-drive").arg(drive);
            let device = format!("virtio-blk-pci,drive=disk{index}");
            command.args(["-device", &device]);
        }
        if !settings.forwarded_ports.is_empty() {
            command.arg("-nic").arg(network(&settings.forwarded_ports));
        }
        Ok(command)
    }
}

fn network(forwarded: &[(u16, u16)]) -> OsString {
    let mut option = "user,model=virtio-net-pci,restrict=on".to_owned();
    for (outside, inside) in forwarded {
        // Writing to a string cannot fail.
        let _ = write!(option, ",hostfwd=tcp:127.0.0.1:{outside}-:{inside}");
    }
    option.into()
}

/// QEMU warns about each CPU feature that TCG lacks.
fn without_warnings(messages: &str) -> String {
    messages
        .lines()
        .filter(|line| !line.contains("warning: TCG doesn't support"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_ports_become_options_of_the_network() {
        let option = network(&[(4000, 4444), (4001, 22)]);
        let expected = "user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:4000-:4444,\
                        hostfwd=tcp:127.0.0.1:4001-:22";
        assert_eq!(option, expected);
    }

    #[test]
    fn warnings_about_emulation_are_left_out() {
        let messages =
            "q: warning: TCG doesn't support requested feature: CPUID.01H\nno such machine";
        assert_eq!(without_warnings(messages), "no such machine");
    }
}
