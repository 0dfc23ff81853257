//! Starts a program with its pipes or its terminal.

#![allow(
    unsafe_code,
    reason = "what a child does between fork and exec has no safe interface"
)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::run::{Run, RunId, TerminalSize};
use faultvisor_agent_protocol::text::Text;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::cgroup::Cgroup;
use super::group::{Group, MARK};
use super::mailbox::Mailbox;
use super::program;
use super::registry::Entry;
use crate::agent::Agent;

/// Where programs are searched, unless the environment says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program without input reads.
const NULL: &str = "/dev/null";

/// A program that has been started.
#[derive(Debug)]
pub struct Spawned {
    /// Its run.
    pub entry: Arc<Entry>,
    /// Its stdin, or its terminal.
    pub input: Option<OwnedFd>,
    /// Its stdout, or its terminal.
    pub output: Option<OwnedFd>,
    /// Its stderr, unless it has a terminal.
    pub errors: Option<OwnedFd>,
    /// When it was started.
    pub started: Instant,
}

/// The agent's ends of what a program reads and writes, which do not block.
#[derive(Debug, Default)]
struct Ends {
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

/// Starts a program.
///
/// # Errors
///
/// It is not there or cannot be executed, or the system refuses what it needs.
pub fn start(agent: &Agent, request: &Run) -> Result<Spawned, Failure> {
    let id = agent.runs.next()?;
    let mark = format!("{}-{}", agent.boot, id.0);
    let (path, mut command) = command(request, &mark)?;
    let ends = connect(&mut command, request).map_err(|error| refused(&error))?;
    let mailbox = Arc::new(Mailbox::new().map_err(|error| refused(&error))?);
    let cgroup = Cgroup::make(id.0);
    let members = cgroup.as_ref().and_then(|cgroup| cgroup.members().ok());
    prepare(&mut command, members, request.terminal.is_some());
    let started = Instant::now();
    let told = Arc::clone(&mailbox);
    let spawned = agent.processes.spawn(
        || {
            let child = command.spawn()?;
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            pid.ok_or_else(|| io::Error::other("a child without an ID"))
        },
        move |ending| told.ended(ending),
    );
    // Its ends of the pipes close with the command.
    drop(command);
    let first = match spawned {
        Ok(first) => first,
        Err(error) => {
            if let Some(cgroup) = cgroup {
                cgroup.remove();
            }
            return Err(program::explain(&path, &error));
        }
    };
    let group = Group::new(agent.processes.clone(), first, cgroup, mark);
    Ok(enter(agent, id, group, mailbox, ends, started))
}

fn enter(
    agent: &Agent,
    id: RunId,
    group: Group,
    mailbox: Arc<Mailbox>,
    ends: Ends,
    started: Instant,
) -> Spawned {
    let entry = Arc::new(Entry {
        id,
        group,
        mailbox,
        terminal: ends.terminal,
    });
    agent.runs.add(Arc::clone(&entry));
    Spawned {
        entry,
        input: ends.input,
        output: ends.output,
        errors: ends.errors,
        started,
    }
}

/// The command, and the path of its program.
fn command(request: &Run, mark: &str) -> Result<(PathBuf, Command), Failure> {
    let mut environment: BTreeMap<OsString, OsString> = BTreeMap::new();
    if !request.clear_environment {
        environment.insert("PATH".into(), PATH.into());
        environment.extend(std::env::vars_os());
        if std::process::id() == 1 {
            // The kernel's is /.
            environment.insert("HOME".into(), "/root".into());
        }
    }
    for (name, value) in &request.environment {
        environment.insert(name.clone().into(), value.clone().into());
    }
    let directory = request
        .directory
        .clone()
        .map_or_else(|| "/".into(), PathBuf::from);
    if !directory.is_dir() {
        let message = format!("there is no directory '{}'", directory.display());
        return Err(Failure::new(FailureKind::NoSuchDirectory, message));
    }
    let (name, arguments) = match request.arguments.split_first() {
        Some((name, arguments)) => (name.as_os_str(), arguments),
        None => (OsStr::new(""), [].as_slice()),
    };
    let search = environment.get(OsStr::new("PATH"));
    let search = search.cloned().unwrap_or_else(|| PATH.into());
    let path = program::find(name, &search, Path::new(&directory))?;
    program::read_ahead(&path, &directory);
    let mut command = Command::new(&path);
    command.arg0(name);
    command.args(arguments.iter().map(Text::as_os_str));
    command.env_clear().envs(environment).env(MARK, mark);
    command.current_dir(directory);
    Ok((path, command))
}

fn connect(command: &mut Command, request: &Run) -> io::Result<Ends> {
    if let Some(size) = request.terminal {
        return connect_terminal(command, size);
    }
    let mut ends = Ends::default();
    if request.input {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        command.stdin(Stdio::from(reader));
        ends.input = Some(nonblocking(writer)?);
    } else {
        let null = File::open(NULL);
        let null = null.map_err(|error| {
            io::Error::new(error.kind(), format!("{NULL}: {}", program::what(&error)))
        })?;
        command.stdin(Stdio::from(null));
    }
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    command.stdout(Stdio::from(writer));
    ends.output = Some(nonblocking(reader)?);
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    command.stderr(Stdio::from(writer));
    ends.errors = Some(nonblocking(reader)?);
    Ok(ends)
}

fn connect_terminal(command: &mut Command, size: TerminalSize) -> io::Result<Ends> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    let terminal = ioctl_tiocgptpeer(&controller, flags)?;
    set_size(&terminal, size)?;
    command.stdin(Stdio::from(terminal.try_clone()?));
    command.stdout(Stdio::from(terminal.try_clone()?));
    command.stderr(Stdio::from(terminal));
    let controller = nonblocking(controller)?;
    Ok(Ends {
        input: Some(controller.try_clone()?),
        output: Some(controller.try_clone()?),
        errors: None,
        terminal: Some(controller),
    })
}

/// Sets the size of a terminal.
pub fn set_size(terminal: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

fn nonblocking(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    Ok(descriptor)
}

/// What the child does before it executes the program: it leads a session, and joins its group.
fn prepare(command: &mut Command, members: Option<File>, has_terminal: bool) {
    let join = move || {
        setsid()?;
        if has_terminal {
            ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        if let Some(members) = &members {
            // Its tree is found without a group, too.
            let _ = rustix::io::write(members, b"0");
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls, which are async-signal-safe, and allocates nothing.
    unsafe {
        command.pre_exec(join);
    }
}

fn refused(error: &io::Error) -> Failure {
    let message = format!("cannot start a program: {}", program::what(error));
    Failure::new(FailureKind::System, message)
}
