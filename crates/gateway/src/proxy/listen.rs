//! Listening sockets: one per worker for each address, between which the kernel spreads connections.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::OwnedFd,
};

use socket2::{Domain, SockRef, Socket, Type};

/// Connections the kernel completes before the proxy takes them.
const BACKLOG: i32 = 4096;

/// An address that is held but not listened on.
#[derive(Debug)]
pub(super) struct Held {
    socket: Socket,
    pub address: SocketAddr,
}

/// Takes an address, so that no other process can have it. Port 0 takes a free one.
///
/// # Errors
/// The address is in use, or not of this machine, or its port needs privileges.
pub(super) fn hold(address: SocketAddr) -> io::Result<Held> {
    let socket = new_socket(address)?;
    // Connections of an earlier process that wait for their last packets must not stand in the way; a process that
    // listens does, because this socket does not share its port yet.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.set_reuse_address(false)?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(Held { socket, address })
}

/// `count` sockets that listen on a held address.
///
/// # Errors
/// What the operating system says.
pub(super) fn group(held: Held, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let Held { socket: first, address } = held;
    first.set_reuse_port(count > 1)?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 1..count {
        let socket = new_socket(address)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        sockets.push(socket);
    }
    sockets.insert(0, first);
    for socket in &sockets {
        // Its connections inherit it, so that the next process can take the address although some of them wait for their last
        // packets.
        socket.set_reuse_address(true)?;
        socket.listen(BACKLOG)?;
    }
    Ok(sockets.into_iter().map(Into::into).collect())
}

/// `count` sockets, or more, that listen where these listen already: connections that wait at each of them are still accepted.
/// Those that are missing join the group.
///
/// # Errors
/// What the operating system says.
pub(super) fn regroup(mut sockets: Vec<std::net::TcpListener>, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let Some(first) = sockets.first() else { return Ok(sockets) };
    let address = first.local_addr()?;
    if sockets.len() < count {
        sockets.iter().try_for_each(|socket| SockRef::from(socket).set_reuse_port(true))?;
    }
    for _ in sockets.len()..count {
        let socket = new_socket(address)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

/// What another process held or listened on, as it is.
///
/// # Errors
/// It is not the socket of an address.
pub(super) fn inherited(sockets: Vec<OwnedFd>) -> io::Result<Inherited> {
    let sockets: Vec<Socket> = sockets.into_iter().map(Socket::from).collect();
    let first = sockets.first().ok_or(io::ErrorKind::InvalidInput)?;
    let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    if first.r#type()? == Type::DGRAM {
        return Ok(Inherited::Datagrams(address, sockets.into_iter().map(Into::into).collect()));
    }
    if first.is_listener()? {
        return Ok(Inherited::Group(address, sockets.into_iter().map(Into::into).collect()));
    }
    let socket = sockets.into_iter().next().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Inherited::Held(Held { socket, address }))
}

/// What has come from another process.
pub(super) enum Inherited {
    /// An address that is held.
    Held(Held),
    /// Sockets that receive datagrams.
    Datagrams(SocketAddr, Vec<UdpSocket>),
    /// Sockets that listen.
    Group(SocketAddr, Vec<std::net::TcpListener>),
}

impl Held {
    /// The same socket once more.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone().map(Into::into)
    }
}

/// `count` sockets, or more, that receive datagrams at an address, between which the kernel spreads clients: those that are given,
/// and what is missing.
///
/// # Errors
/// The address is in use, or not of this machine, or its port needs privileges.
pub(super) fn datagrams(address: SocketAddr, mut sockets: Vec<UdpSocket>, count: usize) -> io::Result<Vec<UdpSocket>> {
    for _ in sockets.len()..count {
        let socket = socket(address, Type::DGRAM)?;
        // Another process that receives there already must stand in the way of the first, which shares its port only then.
        if let Some(first) = sockets.first() {
            SockRef::from(first).set_reuse_port(true)?;
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    socket(address, Type::STREAM)
}

fn socket(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_held_address_is_refused_to_others() {
        let held = hold(ANY_PORT).unwrap();
        assert_eq!(hold(held.address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn sockets_for_datagrams_share_their_address_with_nobody_else() {
        let first = datagrams(ANY_PORT, Vec::new(), 1).unwrap();
        let address = first[0].local_addr().unwrap();
        let group = datagrams(address, first, 3).unwrap();
        assert_eq!(group.len(), 3);
        assert_eq!(datagrams(address, Vec::new(), 3).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_group_keeps_its_address_from_others() {
        let held = hold(ANY_PORT).unwrap();
        let address = held.address;
        let _group = group(held, 3).unwrap();
        assert_eq!(hold(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn connections_that_wait_for_their_last_packets_do_not_stand_in_the_way_of_the_next_process() {
        let held = hold(ANY_PORT).unwrap();
        let address = held.address;
        let group = group(held, 2).unwrap();
        for _ in 0..32 {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            let accepted = loop {
                if let Some(stream) = group.iter().find_map(|socket| socket.accept().ok()) {
                    break stream.0;
                }
            };
            // Who closes first waits.
            drop(accepted);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        }
        drop(group);
        hold(address).unwrap();
    }

    #[test]
    fn a_group_that_is_taken_over_by_more_workers_grows() {
        let held = hold(ANY_PORT).unwrap();
        let address = held.address;
        let group = regroup(group(held, 1).unwrap(), 3).unwrap();
        let clients: Vec<_> = (0..96).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let accepted = group.iter().map(|socket| std::iter::from_fn(|| socket.accept().ok()).count());
        let accepted: Vec<_> = accepted.collect();
        assert_eq!(accepted.iter().sum::<usize>(), clients.len());
        assert!(accepted.len() == 3 && accepted.iter().all(|count| *count > 0), "{accepted:?}");
    }

    #[test]
    fn every_socket_of_a_group_is_given_connections() {
        let held = hold(ANY_PORT).unwrap();
        let address = held.address;
        let group = group(held, 2).unwrap();
        let clients: Vec<_> = (0..64).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let accepted = group.iter().map(|socket| std::iter::from_fn(|| socket.accept().ok()).count());
        let accepted: Vec<_> = accepted.collect();
        assert_eq!(accepted.iter().sum::<usize>(), clients.len());
        assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
    }
}
