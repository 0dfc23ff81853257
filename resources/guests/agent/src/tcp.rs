//! Streams to TCP ports of the guest's loopback.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::request::{Empty, Tcp};

use crate::connection::Connection;
use crate::operations::answer;
use crate::processes::SMALL_STACK;

/// The bytes of one read.
const READ_BYTES: usize = 32 << 10;

/// Connects to the port and, after the answer, passes bytes both ways until both have ended.
///
/// # Errors
///
/// Nobody listens on the port.
pub fn proxy(mut connection: Connection, request: Tcp) -> Result<(), (Connection, Failure)> {
    let server = match connect(request.port) {
        Ok(server) => server,
        Err(failure) => return Err((connection, failure)),
    };
    if let Err(failure) = answer(&mut connection, &Empty {}) {
        return Err((connection, failure));
    }
    let _ = connection.set_patience(None);
    // Without it, small messages wait for acknowledgements.
    let _ = server.set_nodelay(true);
    if let Err(error) = pass(connection, &server) {
        crate::kernel_log::say(&format!("cannot pass a connection on: {error}"));
    }
    Ok(())
}

fn connect(port: u16) -> Result<TcpStream, Failure> {
    let addresses = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ];
    TcpStream::connect(&addresses[..]).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable => {
                format!("nothing in the guest listens on TCP port {port}")
            }
            _ => format!("cannot connect to TCP port {port} in the guest: {error}"),
        };
        Failure::new(FailureKind::Refused, why)
    })
}

/// Passes bytes both ways. The end of one direction is passed on, too.
fn pass(client: Connection, server: &TcpStream) -> io::Result<()> {
    let (mut client_writer, mut from_server) = (client.try_clone()?, server.try_clone()?);
    let thread = thread::Builder::new()
        .name("tcp".into())
        .stack_size(SMALL_STACK);
    let back = thread.spawn(move || {
        let is_well = transfer(&mut from_server, &mut client_writer).is_ok();
        if is_well {
            let _ = client_writer.finish();
        } else {
            // The client is gone.
            let _ = from_server.shutdown(Shutdown::Both);
        }
    })?;
    let mut client = client;
    let is_well = transfer(&mut client, &mut &*server).is_ok();
    let _ = server.shutdown(if is_well {
        Shutdown::Write
    } else {
        Shutdown::Both
    });
    let _ = back.join();
    Ok(())
}

fn transfer(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
