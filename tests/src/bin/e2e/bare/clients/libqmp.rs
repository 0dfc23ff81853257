//! libqmp with Faultvisor's monitor and with QEMU's, which has no accessors and no fault commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ::libqmp::{
    AccessorArguments, BlockDeviceIoStatus, BlockErrorAction, BlockResizeArguments, Error,
    ErrorClass, IoOperationType, RunState, Session, ShutdownCause,
};
use faultvisor_harness::child::Guarded;
use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, chain};
use faultvisor_tests::tool;
use faultvisor_tests::{check, check_eq};

use super::failing;

/// QEMU with only a monitor.
pub struct Qemu {
    process: Guarded,
    socket: PathBuf,
}

impl Qemu {
    /// Starts QEMU. Skips the test if it is not installed.
    pub fn start(context: &Context) -> Result<Self, Failure> {
        let command = tool::command("qemu-system-x86_64");
        let mut command: Command = command.map_err(|error| Failure::skip(error.to_string()))?;
        let socket = context.path("qemu");
        command.args([
            "-M",
            "none",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ]);
        command.args([
            "-qmp",
            &format!("unix:{},server=on,wait=off", socket.display()),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self {
            process: Guarded::spawn(&mut command)?,
            socket,
        })
    }

    /// The path of its monitor's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits for its end.
    pub fn ends(mut self) -> Result<(), Failure> {
        let status = self.process.wait_until(std::time::Instant::now() + SOON)?;
        check!(status.is_some_and(|status| status.success()), "{status:?}");
        Ok(())
    }
}

/// Calls, errors and event objects, on a server without accessors.
pub fn the_typed_client_drives_qemu(context: &Context) -> Result<(), Failure> {
    let qemu = Qemu::start(context)?;
    let options = Session::options().within(SOON).timeout(SOON);
    let session = options.connect(&format!("unix:{}", qemu.socket().display()))?;
    check!(!session.has_accessors(), "QEMU has learnt it");
    check!(
        session.greeting().has_capability("oob"),
        "{:?}",
        session.greeting()
    );
    let version = session.query_version()?;
    check_eq!(version, session.greeting().version);
    check_eq!(session.query_status()?.status, RunState::Running);
    check_eq!(session.query_block()?, []);
    let resize = BlockResizeArguments {
        device: Some("none".to_owned()),
        ..BlockResizeArguments::new(4096)
    };
    let refused = session.block_resize(&resize);
    let refused = refused
        .err()
        .ok_or_else(|| Failure::new("there is no such disk"))?;
    check_eq!(refused.class(), Some(&ErrorClass::GenericError));
    check!(
        refused.desc().is_some_and(|desc| desc.contains("none")),
        "{refused}"
    );

    let (stops, resumes) = (session.get_stop_event()?, session.get_resume_event()?);
    let errors = session.get_block_io_error_event_with(&AccessorArguments {
        device: Some("disk0".to_owned()),
        initial: false,
    })?;
    let everything = session.any_event()?;
    session.stop()?;
    session.cont()?;
    let stop = stops.recv_timeout(SOON)?;
    let resume = resumes.recv_timeout(SOON)?;
    check!(stop.timestamp <= resume.timestamp, "{stop:?}, {resume:?}");
    let both = [
        everything.recv_timeout(SOON)?,
        everything.recv_timeout(SOON)?,
    ];
    check_eq!(
        both.each_ref().map(|event| event.name.as_str()),
        ["STOP", "RESUME"]
    );
    check_eq!(errors.try_recv()?, None);
    // Dropping one object leaves the others connected.
    drop(stops);
    session.stop()?;
    check_eq!(everything.recv_timeout(SOON)?.name, "STOP");

    let missing = session.get_block_fault_injected_event();
    check!(
        matches!(missing, Err(Error::EventNotFound { .. })),
        "{missing:?}"
    );
    let unknown = session.query_block_faults().err();
    let class = unknown.as_ref().and_then(Error::class);
    check_eq!(class, Some(&ErrorClass::CommandNotFound));
    // Events outside our schema are delivered, too.
    let machine = session.execute_raw("query-current-machine", None)?;
    check!(machine.is_object(), "{machine}");

    let ends = session.get_shutdown_event()?;
    session.quit()?;
    let end = ends.recv_timeout(SOON)?;
    check_eq!((end.guest, end.reason), (false, ShutdownCause::HostQmpQuit));
    let after = ends.recv_timeout(SOON);
    check!(matches!(after, Err(Error::Closed { .. })), "{after:?}");
    qemu.ends()
}

/// The exchange of docs/protocol.md, section 5, with objects.
pub fn the_typed_client_drives_the_exchange(context: &Context) -> Result<(), Failure> {
    let machine = failing(context)?;
    let options = Session::options().within(SOON).timeout(SOON);
    let session = options.connect(&format!("unix:{}", machine.socket().display()))?;
    check!(session.has_accessors(), "{:?}", session.greeting());
    let (errors, stops) = (
        session.get_block_io_error_event()?,
        session.get_stop_event()?,
    );
    let (heard, told) = std::sync::mpsc::channel();
    let ends = session.get_shutdown_event()?;
    ends.connect(move |end| {
        // The test may have failed before.
        let _ = heard.send(end.reason);
    })?;
    for _ in 0..2 {
        session.cont()?;
        let error = errors.recv_timeout(SOON)?;
        check_eq!(error.device, "d0");
        check_eq!(error.operation, IoOperationType::Write);
        check_eq!(error.action, BlockErrorAction::Stop);
        check_eq!(error.reason, "File too large");
        let stop = stops.recv_timeout(SOON)?;
        check!(error.timestamp <= stop.timestamp, "{error:?}, {stop:?}");
        check_eq!(session.query_status()?.status, RunState::IoError);
        let disks = session.query_block()?;
        check_eq!(disks[0].io_status, Some(BlockDeviceIoStatus::Failed));
    }
    // The current state is replayed to late subscribers.
    let initial = AccessorArguments {
        device: Some("d0".to_owned()),
        initial: true,
    };
    let late = session.get_block_io_error_event_with(&initial)?;
    check!(late.recv_timeout(SOON)?.initial, "no present state");
    errors.put()?;
    session.cont()?;
    stops.recv_timeout(SOON)?;
    check!(!late.recv_timeout(SOON)?.initial, "no error");
    session.quit()?;
    check_eq!(told.recv_timeout(SOON)?, ShutdownCause::HostQmpQuit);
    let mut machine = machine;
    machine.ends_well()
}

/// The C library's test program, which queries, stops and continues the machine and receives events of it.
pub fn the_c_library_drives_faultvisor_and_qemu(context: &Context) -> Result<(), Failure> {
    let program = context.example("c-client")?;
    let run = |socket: &Path, arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg(socket).args(arguments);
        tool::run(&mut command).map_err(|error| Failure::new(chain(&error)))
    };
    let mut machine = Plan::new(context, "spin")?.start()?;
    // Wait for the listener: the client does not retry.
    machine.client()?;
    run(machine.socket(), &[])?;
    machine.client()?.quit()?;
    machine.ends_well()?;
    let qemu = Qemu::start(context)?;
    let options = Session::options().within(SOON).timeout(SOON);
    let session = options.connect(&format!("unix:{}", qemu.socket().display()))?;
    // It serves one client at a time.
    drop(session);
    run(qemu.socket(), &["--without-accessors"])
}

/// Parses the header with a C parser that has no preprocessor.
const CFFI: &str = r#"
import re, subprocess, sys
import cffi
header = re.sub(r"(?m)^#include.*$", "", open(sys.argv[1]).read())
preprocessor = ["cc", "-E", "-P", "-"]
declarations = subprocess.run(preprocessor, input=header, capture_output=True, text=True, check=True).stdout
ffi = cffi.FFI()
ffi.cdef(declarations)
print(ffi.sizeof("QmpBlockInfo"), ffi.typeof("QmpStopEvent").kind)
"#;

pub fn pythons_cffi_reads_the_librarys_header(context: &Context) -> Result<(), Failure> {
    let header = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../client/capi/include/libqmp.h"
    );
    let script = context.path("header.py");
    std::fs::write(&script, CFFI)?;
    let mut python = Command::new(super::python(context)?);
    let said = tool::output(python.arg(script).arg(header))?;
    check_eq!(String::from_utf8_lossy(&said), "48 struct\n");
    Ok(())
}
