//! Readers of the program's output that are slow, stuck or gone: neither the machine nor its end waits for them.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use faultvisor_harness::child::Guarded;
use faultvisor_harness::transcript::Transcript;
use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::injection::{self, Argument, Call};
use super::limit_file_size;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    an_unread_log_blocks_neither_clients_nor_the_end,
    a_log_that_is_never_read_blocks_nothing,
    the_program_ends_in_time_whatever_its_readers_do,
    a_refused_call_ends_the_program_in_time_though_nobody_reads_its_log,
    complaints_about_a_client_are_limited_and_counted,
    a_console_file_on_a_full_disk_resumes_and_reports_the_loss,
    a_non_blocking_console_loses_nothing,
    a_client_of_the_console_waits_while_there_are_no_descriptors,
    a_fifo_without_a_reader_is_refused,
    a_fifo_with_a_reader_is_written,
    a_log_is_replayed_from_a_pipe_and_a_signal_ends_the_wait_for_it,
];

/// Most time for the end with stuck readers: one second each for the monitor and the console, half a second for the
/// log, and slack for a busy machine.
const IN_TIME: Duration = Duration::from_secs(8);

/// A FIFO with an open reading end, which is never read, and a writing end for the program.
struct Fifo {
    path: PathBuf,
    reader: File,
}

impl Fifo {
    fn new(context: &Context, name: &str) -> Result<Self, Failure> {
        let path = context.path(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let reader = File::options()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(&path)?;
        Ok(Self { path, reader })
    }

    fn writer(&self) -> Result<File, Failure> {
        Ok(File::options().write(true).open(&self.path)?)
    }

    /// Fills it completely.
    fn fill(&self) -> Result<(), Failure> {
        let mut writer = File::options()
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(&self.path)?;
        loop {
            match writer.write(b".") {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Its contents.
    fn contents(&mut self) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A loopback address without a listener.
fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A browser's request, which waits for an answer.
fn get(port: u16) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => Ok(()),
        // The server closed the connection before reading everything.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn signal(process: &Guarded, signal: Signal) -> Result<(), Failure> {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    Ok(kill_process(
        pid.ok_or_else(|| Failure::new("no process id"))?,
        signal,
    )?)
}

/// Fails unless the program ends in time, with this status.
fn ends(process: &mut Guarded, status: i32) -> Result<(), Failure> {
    let ended = process.wait_until(Instant::now() + IN_TIME)?;
    let ended = ended.ok_or_else(|| Failure::new(format!("it still runs after {IN_TIME:?}")))?;
    check_eq!(ended.code(), Some(status));
    Ok(())
}

/// Starts a machine whose log goes there, and whose console is not read.
fn start(plan: Plan<'_>, messages: impl Into<Stdio>) -> Result<Guarded, Failure> {
    let mut command = plan.options(&["--serial", "null"]).into_command();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(Guarded::spawn(command.stderr(messages))?)
}

fn an_unread_log_blocks_neither_clients_nor_the_end(context: &Context) -> Result<(), Failure> {
    let mut fifo = Fifo::new(context, "log")?;
    let port = free_port()?;
    let address = format!("tcp:127.0.0.1:{port}");
    let plan = Plan::new(context, "spin")?.options(&["--qmp", &address]);
    let mut process = start(plan, fifo.writer()?)?;
    let client = Client::connect(&context.path("qmp"), SOON)?;
    for _ in 0..900 {
        get(port)?;
    }
    check!(client.query_status()?.running, "it does not run");
    signal(&process, Signal::TERM)?;
    ends(&mut process, 0)?;
    let log = fifo.contents()?;
    check!(
        log.contains("was disconnected"),
        "the log says nothing: {log}"
    );
    Ok(())
}

fn a_log_that_is_never_read_blocks_nothing(context: &Context) -> Result<(), Failure> {
    let mut fifo = Fifo::new(context, "log")?;
    let messages = fifo.writer()?;
    fifo.fill()?;
    let port = free_port()?;
    let address = format!("tcp:127.0.0.1:{port}");
    let plan = Plan::new(context, "spin")?.options(&["--qmp", &address]);
    let mut process = start(plan, messages)?;
    let client = Client::connect(&context.path("qmp"), SOON)?;
    for _ in 0..40 {
        get(port)?;
    }
    check!(client.query_status()?.running, "it does not run");
    // Now it is read, and delivers everything that was kept.
    let mut log = fifo.contents()?;
    client.quit()?;
    ends(&mut process, 0)?;
    log.push_str(&fifo.contents()?);
    check_eq!(log.matches("was disconnected").count(), 11);
    check!(log.contains("30 more like this"), "{log}");
    Ok(())
}

fn the_program_ends_in_time_whatever_its_readers_do(context: &Context) -> Result<(), Failure> {
    let fifo = Fifo::new(context, "log")?;
    let messages = fifo.writer()?;
    fifo.fill()?;
    for way in ["signal", "quit", "guest"] {
        let script = match way {
            "guest" => "flood 20000\nexit off",
            _ => "flood 100000000",
        };
        let plan = Plan::new(context, script)?.options(&["--serial", "stdio"]);
        let mut command = plan.into_command();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Guarded::spawn(command.stderr(messages.try_clone()?))?;
        let mut output = process
            .child()
            .stdout
            .take()
            .ok_or_else(|| Failure::new("no output"))?;
        let client = Client::connect(&context.path("qmp"), SOON)?;
        rustix::pipe::fcntl_setpipe_size(&output, 4096)?;
        // From here on neither the console nor a client is read.
        output.read_exact(&mut [0; 9])?;
        let silent = UnixStream::connect(context.path("qmp"))?;
        match way {
            "signal" => signal(&process, Signal::TERM)?,
            "quit" => client.quit()?,
            // More than the pipe holds is left.
            _ => drop(client.wait_for_event("SHUTDOWN")?),
        }
        ends(&mut process, 0).map_err(|error| Failure::new(format!("{way}: {error:?}")))?;
        check!(!context.path("qmp").exists(), "{way}: a socket is left");
        drop(silent);
    }
    Ok(())
}

fn a_refused_call_ends_the_program_in_time_though_nobody_reads_its_log(
    context: &Context,
) -> Result<(), Failure> {
    let fifo = Fifo::new(context, "log")?;
    let messages = fifo.writer()?;
    fifo.fill()?;
    let plan = Plan::new(context, "spin")?.options(&["-S"]);
    let mut process = start(plan, messages)?;
    Client::connect(&context.path("qmp"), SOON)?.query_status()?;
    let thread = injection::thread(process.id(), "vcpu0")?;
    let socket = Call {
        name: "socket",
        number: 41,
        arguments: [1, 1, 0].map(Argument::Number).to_vec(),
    };
    // The call's result is not seen: the program ends before.
    let process_id = process.id();
    let injected =
        std::thread::spawn(move || injection::perform(process_id, thread, &socket).is_ok());
    ends(&mut process, 159)?;
    drop(injected);
    Ok(())
}

fn complaints_about_a_client_are_limited_and_counted(context: &Context) -> Result<(), Failure> {
    let port = free_port()?;
    let address = format!("tcp:127.0.0.1:{port}");
    let plan = Plan::new(context, "spin")?.options(&["--qmp", &address]);
    let mut machine = plan.start()?;
    let client = machine.client()?;
    for _ in 0..60 {
        get(port)?;
    }
    client.quit()?;
    machine.ends_well()?;
    let deadline = Instant::now() + SOON;
    let log = machine.machine.messages().wait_for_end(deadline);
    let log = log.map_err(|_| Failure::new("the log does not end"))?;
    // Ten, and the messages about the others, at once or after ten seconds each.
    let lines = log.lines().count();
    check!((11..60).contains(&lines), "{lines} lines: {log}");
    check!(log.contains(" more like this within 10 s: "), "{log}");
    Ok(())
}

fn a_console_file_on_a_full_disk_resumes_and_reports_the_loss(
    context: &Context,
) -> Result<(), Failure> {
    let file = context.path("console");
    let script = "flood 20000\nawait\nprint more\nexit off";
    let serial = format!("file:{}", file.display());
    let plan = Plan::new(context, script)?.options(&["--serial", &serial, "-S"]);
    let mut machine = context.start(&mut plan.into_command())?;
    let client = Client::connect(&context.path("qmp"), SOON)?;
    limit_file_size(&machine, Some(1000))?;
    client.cont()?;
    // The host reports that the limit was reached.
    let limited = machine.messages().find(0, Instant::now() + SOON, |line| {
        line.contains("console output cannot be written, and is tried again: File too large")
    });
    limited.map_err(|why| Failure::new(format!("no word of the limit: {why}")))?;
    check_eq!(fs::metadata(&file)?.len(), 1000);
    check!(client.query_status()?.running, "it does not run");
    limit_file_size(&machine, None)?;
    let again = machine.messages().find(0, Instant::now() + SOON, |line| {
        line.contains("console output is written again; 0 bytes were lost")
    });
    again.map_err(|why| Failure::new(format!("it is not written again: {why}")))?;
    client.quit()?;
    machine.expect_exit(0, SOON)?;
    let text = fs::read_to_string(&file)?;
    check!(text.contains("flooding\r\n"), "{}", &text[..100]);
    check!(text.len() > 1000, "only {} bytes", text.len());
    Ok(())
}

fn a_non_blocking_console_loses_nothing(context: &Context) -> Result<(), Failure> {
    let plan = Plan::new(context, "flood 20000\nexit off")?;
    let options = ["--serial", "stdio", "--no-shutdown", "-S"];
    let mut command = plan.options(&options).into_command();
    let (mut reader, writer) = std::io::pipe()?;
    rustix::io::ioctl_fionbio(writer.as_fd(), true)?;
    rustix::pipe::fcntl_setpipe_size(&writer, 4096)?;
    let (input, _typed) = std::io::pipe()?;
    rustix::io::ioctl_fionbio(input.as_fd(), true)?;
    command.stdin(OwnedFd::from(input));
    command.stdout(OwnedFd::from(writer));
    let mut process = Guarded::spawn(&mut command)?;
    drop(command);
    let client = Client::connect(&context.path("qmp"), SOON)?;
    client.cont()?;
    // The guest has printed everything, and the pipe holds a fifth of it.
    client.wait_for_event("SHUTDOWN")?;
    client.quit()?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    ends(&mut process, 0)?;
    check!(
        text.ends_with("FV 1 flooded bytes=20000\r\n"),
        "the output ends in '{}'",
        &text[text.len().saturating_sub(100)..]
    );
    check!(!text.contains("lost"), "something was lost");
    Ok(())
}

/// Sets the limit on the numbers of the program's descriptors.
fn limit_descriptors(process: &Guarded, limit: u64) -> Result<(), Failure> {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: Some(limit),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(pid, Resource::Nofile, limit)?;
    Ok(())
}

fn a_client_of_the_console_waits_while_there_are_no_descriptors(
    context: &Context,
) -> Result<(), Failure> {
    let path = context.path("console");
    let serial = format!("unix:{}", path.display());
    let plan = Plan::new(context, "await\nexit off")?.options(&["--serial", &serial]);
    let mut command = plan.into_command();
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = Guarded::spawn(&mut command)?;
    let messages = process.child().stderr.take();
    let messages = messages.ok_or_else(|| Failure::new("no messages"))?;
    let messages = Transcript::record(messages)?;
    let client = Client::connect(&context.path("qmp"), SOON)?;
    client.query_status()?;
    limit_descriptors(&process, 3)?;
    let mut console = UnixStream::connect(&path)?;
    console.set_read_timeout(Some(SOON))?;
    let told = messages.find(0, Instant::now() + SOON, |line| {
        line.contains("a client of the console waits")
    });
    told.map_err(|why| Failure::new(format!("no word of the want: {why}")))?;
    check!(client.query_status()?.running, "it does not run");
    limit_descriptors(&process, 1024)?;
    let mut read = Vec::new();
    while !read.ends_with(b"await\r\n") {
        let mut byte = [0];
        console.read_exact(&mut byte)?;
        read.extend(byte);
    }
    console.write_all(b"x")?;
    ends(&mut process, 0)
}

fn a_fifo_without_a_reader_is_refused(context: &Context) -> Result<(), Failure> {
    let fifo = Fifo::new(context, "fifo")?;
    let path = fifo.path.clone();
    drop(fifo);
    let name = path.display();
    for (option, line) in [
        (
            format!("--serial=file:{name}"),
            format!("--serial: cannot open '{name}': it is a FIFO that nobody reads"),
        ),
        (
            format!("--fault-log={name}"),
            format!("--fault-log: cannot create '{name}': it is a FIFO that nobody reads"),
        ),
        (
            format!("--pidfile={name}"),
            format!("--pidfile: '{name}' is no regular file, and no file of this machine's own"),
        ),
        (
            format!("--drive=file={name},format=raw"),
            format!("'{name}' is a pipe, not a file"),
        ),
        (format!("--initrd={name}"), "not a regular file".to_owned()),
        (format!("--kernel={name}"), "not a regular file".to_owned()),
    ] {
        let mut command = context.command();
        if !option.starts_with("--kernel") {
            command.arg("--kernel").arg(context.bare_guest());
        }
        command.args(["-m", "48M", "-S", &option]);
        if !option.starts_with("--serial") {
            command.args(["--serial", "null"]);
        }
        let said = crate::wrong_use::refused(&mut command)?;
        check!(said.contains(&line), "{option}: {said}");
        check_eq!(said.lines().count(), 1);
    }
    Ok(())
}

fn a_fifo_with_a_reader_is_written(context: &Context) -> Result<(), Failure> {
    let mut fifo = Fifo::new(context, "fifo")?;
    let serial = format!("file:{}", fifo.path.display());
    let plan = Plan::new(context, "print seen\nexit off")?.options(&["--serial", &serial]);
    context
        .start(&mut plan.into_command())?
        .expect_exit(0, SOON)?;
    check_eq!(fifo.contents()?, "FV 0 start disks=0\r\nseen\r\n");
    Ok(())
}

fn a_log_is_replayed_from_a_pipe_and_a_signal_ends_the_wait_for_it(
    context: &Context,
) -> Result<(), Failure> {
    let disk = super::image(context, "disk", 1, 64)?;
    let pipe = context.path("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let replaying = |path: &Path| {
        let plan = Plan::new(context, "setup 0\nread 0 8 8\nexit off")?;
        let plan = plan.disk(&disk, "id=d0,rerror=report");
        let option = format!("--fault-replay={}", path.display());
        Ok::<_, Failure>(plan.options(&[&option, "--serial", "stdio"]).into_command())
    };
    let mut command = replaying(&pipe)?;
    let mut process = Guarded::spawn(command.stdin(Stdio::null()))?;
    // Opened when the program waits for the other end.
    let mut writer = File::options().write(true).open(&pipe)?;
    signal(&process, Signal::TERM)?;
    let ended = process.wait_until(Instant::now() + IN_TIME)?;
    let ended = ended.ok_or_else(|| Failure::new("a signal is not heard"))?;
    check!(!ended.success(), "{ended}");
    drop(writer);

    let mut machine = context.start(&mut replaying(&pipe)?)?;
    writer = File::options().write(true).open(&pipe)?;
    let decision = "{\"device\":\"d0\",\"ordinal\":1,\"attempt\":0,\"operation\":\"read\",\"sector\":8,\
                    \"sectors\":8,\"id\":\"rule\",\"action\":\"error\",\"errno\":5,\"after\":false}\n";
    writer.write_all(decision.as_bytes())?;
    drop(writer);
    let done = machine.console().wait_for_line(" done ", SOON)?;
    check!(done.text.contains("ioerr=1"), "{}", done.text);
    Ok(machine.expect_exit(0, SOON)?)
}
