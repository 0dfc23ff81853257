//! Opens addresses, early enough that errors are reported before a guest runs.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::RawFd;

use crate::transport::address::{Endpoint, ListenAddress};
use crate::transport::error::BindError;
use crate::transport::inherited;
use crate::transport::socket::{Bound, LocalAddress, Socket};
use crate::transport::tcp;
use crate::transport::unix_socket;

/// Opens an address, and returns the local address of each part.
pub(crate) fn open(address: &ListenAddress) -> Result<Vec<(Bound, Vec<LocalAddress>)>, BindError> {
    let inherited = |fd: RawFd| {
        let bound = inherited::take(fd, address.allow_remote)?;
        Ok((bound, vec![LocalAddress::Descriptor(fd)]))
    };
    match &address.endpoint {
        Endpoint::Stdio => Ok(vec![(Bound::Stdio, vec![LocalAddress::Stdio])]),
        Endpoint::Descriptor(fd) => Ok(vec![inherited(*fd)?]),
        Endpoint::Systemd(name) => inherited::from_systemd(name.as_deref())?
            .into_iter()
            .map(inherited)
            .collect(),
        Endpoint::Unix(path) => {
            let (listener, file) = unix_socket::bind(path)?;
            let local = LocalAddress::Unix(file.path().to_owned());
            Ok(vec![(
                Bound::Listening(vec![Socket::Unix {
                    listener,
                    _file: Some(file),
                }]),
                vec![local],
            )])
        }
        Endpoint::Tcp { host, port } => {
            let listeners = tcp::bind(host, *port, address)?;
            let locals = listeners.iter().map(TcpListener::local_addr);
            let locals: io::Result<Vec<SocketAddr>> = locals.collect();
            let locals = locals.map_err(BindError::Setup)?;
            Ok(vec![(
                Bound::Listening(listeners.into_iter().map(Socket::Tcp).collect()),
                locals.into_iter().map(LocalAddress::Tcp).collect(),
            )])
        }
    }
}
