//! Listening TCP sockets: on every address of a host name, as in QEMU.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::transport::address::{Family, ListenAddress, host_port};
use crate::transport::error::BindError;

/// The backlog of listen(2).
const BACKLOG: i32 = 128;

/// The maximum number of attempts to find a port that is free on all addresses.
const ATTEMPTS: usize = 16;

/// Listens on a port of a host: on each of its addresses of the chosen family, and in a range of ports on the first
/// free one. An address that this host does not have is skipped, as long as another is available.
pub(crate) fn bind(
    host: &str,
    port: u16,
    address: &ListenAddress,
) -> Result<Vec<TcpListener>, BindError> {
    let name = host_port(host, port);
    let addresses = addresses_of(host, address.family).map_err(|source| BindError::Host {
        host: host.to_owned(),
        source,
    })?;
    let is_loopback = |address: &IpAddr| address.is_loopback();
    if !address.allow_remote && !addresses.iter().all(is_loopback) {
        return Err(BindError::Remote(name));
    }
    let mut bound = listen(&addresses, port);
    for next in port..address.last_port.unwrap_or(port) {
        if !bound
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
        {
            break;
        }
        bound = listen(&addresses, next + 1);
    }
    bound.map_err(|source| BindError::Tcp {
        address: name,
        source,
    })
}

/// The addresses of a host, each once. An empty name stands for every address of this host.
fn addresses_of(host: &str, family: Family) -> io::Result<Vec<IpAddr>> {
    let found: Vec<IpAddr> = if host.is_empty() {
        vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()]
    } else {
        let found = (host, 0).to_socket_addrs()?;
        found.map(|address| address.ip()).collect()
    };
    let mut addresses = Vec::new();
    for address in found {
        if family.contains(address) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(
            ErrorKind::AddrNotAvailable,
            "it has no address of that family",
        ));
    }
    Ok(addresses)
}

/// Listens on `port` of each address; port 0 chooses one that is free on all of them.
fn listen(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    for _ in 1..ATTEMPTS {
        match listen_once(addresses, port) {
            Err(error) if port == 0 && error.kind() == ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    listen_once(addresses, port)
}

fn listen_once(addresses: &[IpAddr], mut port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut absent = None;
    // A dual-stack socket would accept the clients of both.
    let separate = addresses.iter().any(IpAddr::is_ipv4);
    for &address in addresses {
        match listen_on(SocketAddr::new(address, port), separate) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if is_absent(&error) => absent = Some(error),
            Err(error) => return Err(error),
        }
    }
    match absent {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

/// Whether an error means that this host lacks the address or its family.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn listen_on(address: SocketAddr, ipv6_only: bool) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Allows a port whose last listener left connections in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, ipv6_only)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn loopbacks() -> Vec<IpAddr> {
        // A host may lack IPv6, and has all of 127.0.0.0/8.
        let all = [
            IpAddr::from(Ipv6Addr::LOCALHOST),
            Ipv4Addr::LOCALHOST.into(),
        ];
        let there = |address: &IpAddr| TcpListener::bind((*address, 0)).is_ok();
        let mut found: Vec<IpAddr> = all.into_iter().filter(there).collect();
        found.push(Ipv4Addr::new(127, 0, 0, 2).into());
        found
    }

    #[test]
    fn each_address_of_a_host_is_listened_on_at_the_same_port() {
        let addresses = loopbacks();
        let listeners = listen(&addresses, 0).unwrap();
        assert_eq!(listeners.len(), addresses.len());
        let port = listeners[0].local_addr().unwrap().port();
        for (address, listener) in addresses.iter().zip(&listeners) {
            TcpStream::connect((*address, port)).unwrap();
            assert_eq!(
                listener.local_addr().unwrap(),
                SocketAddr::new(*address, port)
            );
        }
        let both = listen(
            &[Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
            0,
        );
        assert!(both.is_ok(), "{both:?}");
    }

    #[test]
    fn an_address_that_the_host_does_not_have_is_left_out() {
        let nobodys = IpAddr::from([192, 0, 2, 1]);
        let listeners = listen(&[nobodys, Ipv4Addr::LOCALHOST.into()], 0).unwrap();
        assert_eq!(listeners.len(), 1);
        let error = listen(&[nobodys], 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn a_port_in_use_on_one_address_is_in_use() {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let addresses = [
            Ipv4Addr::new(127, 0, 0, 2).into(),
            Ipv4Addr::LOCALHOST.into(),
        ];
        let error = listen(&addresses, port).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        // Other programs may use the next ports: some port is free.
        let range: ListenAddress = format!("tcp:127.0.0.1:{port},to=65535").parse().unwrap();
        let next = bind("127.0.0.1", port, &range).unwrap();
        assert!(next[0].local_addr().unwrap().port() > port);
    }

    #[test]
    fn a_host_has_each_address_once_and_only_of_the_family_asked_for() {
        let ipv4 = Family {
            ipv4: Some(true),
            ipv6: None,
        };
        assert_eq!(
            addresses_of("127.0.0.1", ipv4).unwrap(),
            [Ipv4Addr::LOCALHOST]
        );
        assert_eq!(addresses_of("", ipv4).unwrap(), [Ipv4Addr::UNSPECIFIED]);
        assert!(addresses_of("::1", ipv4).is_err());
        assert_eq!(addresses_of("", Family::default()).unwrap().len(), 2);
    }
}
