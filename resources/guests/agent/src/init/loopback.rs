//! The loopback interface, by a message of rtnetlink(7).

use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};

use crate::kernel_log;

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const IFF_UP: u32 = 1;
/// The loopback is the first interface of every network namespace.
const LOOPBACK: i32 = 1;
/// The bytes of `struct nlmsghdr` with `struct ifinfomsg`.
const MESSAGE_BYTES: u32 = 32;

/// Brings it up.
pub fn up() {
    if let Err(error) = request() {
        kernel_log::say(&format!("cannot bring the loopback up: {error}"));
    }
}

fn request() -> rustix::io::Result<()> {
    let socket: OwnedFd = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is the first protocol.
        None,
    )?;
    sendto(
        &socket,
        &message(),
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    Ok(())
}

fn message() -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(MESSAGE_BYTES.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // The sequence and the port.
    message.extend([0; 8]);
    // The family, a gap, and the type.
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    // What of the flags changes.
    message.extend(IFF_UP.to_ne_bytes());
    message
}
