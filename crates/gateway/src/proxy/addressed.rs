//! Datagrams and the addresses of this machine that they were sent to. A socket that is bound to every address would answer from
//! whichever the kernel likes, and clients take only answers from where they asked.

use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
};

use nix::{
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg,
        setsockopt, sockopt,
    },
};
use socket2::SockRef;
use tokio::{io::Interest, net::UdpSocket};

/// A socket that answers from where it was asked.
#[derive(Debug)]
pub(super) struct Addressed {
    socket: UdpSocket,
    /// Room for what the kernel says beside a datagram, if the socket is bound to every address.
    beside: Option<RefCell<Vec<u8>>>,
}

/// Who has sent a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub address: SocketAddr,
    /// Which of this machine's addresses it was sent to, where that could be any.
    asked: Option<IpAddr>,
}

impl Addressed {
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let address = socket.local_addr()?;
        match address.ip() {
            ip if !ip.is_unspecified() => {}
            IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            IpAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        let beside = address.ip().is_unspecified().then(|| RefCell::new(nix::cmsg_space!(in6_pktinfo)));
        Ok(Self { socket: UdpSocket::from_std(socket)?, beside })
    }

    /// Waits for a datagram.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes a datagram: its length, and whose it is.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Client)> {
        let Some(beside) = &self.beside else {
            let (length, address) = self.socket.try_recv_from(buffer)?;
            return Ok((length, Client { address, asked: None }));
        };
        let mut beside = beside.borrow_mut();
        self.socket.try_io(Interest::READABLE, || {
            let (fd, mut parts) = (self.socket.as_raw_fd(), [IoSliceMut::new(buffer)]);
            let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut beside), MsgFlags::empty())?;
            let address = message.address.as_ref().and_then(address_of).ok_or(io::ErrorKind::InvalidData)?;
            let asked = message.cmsgs()?.find_map(|beside| match beside {
                ControlMessageOwned::Ipv4PacketInfo(info) => Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())),
                ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
                _ => None,
            });
            Ok((message.bytes, Client { address, asked }))
        })
    }

    /// Answers from where the client had asked.
    pub fn answer(&self, datagram: &[u8], client: Client) -> io::Result<()> {
        let Client { address, asked } = client;
        let (fd, parts, flags) = (self.socket.as_raw_fd(), [IoSlice::new(datagram)], MsgFlags::empty());
        match (asked, address) {
            (Some(IpAddr::V4(from)), SocketAddr::V4(to)) => {
                let own = in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
                let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: own, ipi_addr: in_addr { s_addr: 0 } };
                sendmsg(fd, &parts, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&SockaddrIn::from(to)))?;
            }
            (Some(IpAddr::V6(from)), SocketAddr::V6(to)) => {
                let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 };
                sendmsg(fd, &parts, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&SockaddrIn6::from(to)))?;
            }
            _ => _ = SockRef::from(&self.socket).send_to(datagram, &address.into())?,
        }
        Ok(())
    }
}

fn address_of(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddrV4::from(*address).into());
    v4.or_else(|| Some(SocketAddrV6::from(*storage.as_sockaddr_in6()?).into()))
}
