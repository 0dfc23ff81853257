//! `fvctl ssh`: standard input and output on a stream of the guest's.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use faultvisor_harness::guest::connect::Address;

use crate::failure::Failure;
use crate::kept;
use crate::options::SshOptions;

/// The end of a name by which ssh knows that it is a guest's.
const SUFFIX: &str = ".fv";
/// How long the guest may take to accept the stream.
const ANSWER: Duration = Duration::from_secs(30);
/// The size of one read.
const PIECE: usize = 32 << 10;

/// Connects standard input and output to a vsock port of a guest, until the guest ends the stream.
///
/// # Errors
///
/// There is no such guest, or nothing listens on the port.
pub fn connect(options: &SshOptions) -> Result<u8, Failure> {
    let name = options.name.strip_suffix(SUFFIX).unwrap_or(&options.name);
    let vsock = kept::find(name)?.vsock;
    let stream = Address::Vsock(vsock, options.port).connect(ANSWER)?;
    stream
        .set_read_timeout(None)
        .and_then(|()| stream.set_write_timeout(None))
        .map_err(Failure::host("cannot use a socket"))?;
    let mut to = stream
        .try_clone()
        .map_err(Failure::host("cannot share a socket"))?;
    let thread = thread::Builder::new().name("input".to_owned());
    let input = move || {
        // The end of either side ends the stream, and with it the other thread.
        let _ = pass_on(&mut io::stdin().lock(), &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread
        .spawn(input)
        .map_err(Failure::host("cannot start a thread"))?;
    let mut from = stream;
    let passed = pass_on(&mut from, &mut io::stdout().lock());
    passed.map_err(Failure::host("the stream failed"))?;
    Ok(0)
}

fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                to.write_all(&piece[..read])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
