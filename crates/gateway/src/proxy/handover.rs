//! Handing the sockets of a running proxy to the next one, in another process or in this one.
//!
//! A connection waits at the socket where the kernel completed it, and is lost when that socket closes. So it is the open
//! sockets themselves that change hands, all of each group: the next proxy accepts from the queues of this one.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::Duration,
};

use super::{Proxy, listen, worker::Command};

/// The sockets of one address.
#[derive(Debug)]
pub struct Handed {
    /// Where they are bound.
    pub address: SocketAddr,
    /// Those that listen, or the one that only holds the address.
    pub sockets: Vec<OwnedFd>,
}

impl Proxy {
    /// Everything that is held or listened on, once more; this proxy goes on with it until [`Proxy::retire`].
    ///
    /// # Errors
    /// The machine has no file descriptors left.
    pub fn share(&self) -> io::Result<Vec<Handed>> {
        let open = self.open();
        let group = |(address, sockets): (&SocketAddr, &Vec<TcpListener>)| {
            let sockets = sockets.iter().map(|socket| socket.try_clone().map(OwnedFd::from));
            Ok(Handed { address: *address, sockets: sockets.collect::<io::Result<_>>()? })
        };
        let held = open.held.values().map(|held| Ok(Handed { address: held.address, sockets: vec![held.share()?] }));
        let listening = open.listening.iter().chain(&open.inherited).map(group);
        listening.chain(held).chain(open.receivers.share()).collect()
    }

    /// Takes what another proxy shared. Tables and [`Proxy::hold`] find it there instead of binding; what the first table
    /// has no listener for is closed then.
    ///
    /// # Errors
    /// Something that is not a socket of an address.
    pub fn adopt(&self, handed: Vec<Handed>) -> io::Result<()> {
        let mut open = self.open();
        for Handed { sockets, .. } in handed {
            match listen::inherited(sockets)? {
                listen::Inherited::Held(held) => _ = open.held.insert(held.address, held),
                listen::Inherited::Datagrams(address, sockets) => open.receivers.adopt(address, sockets),
                // A large group may come in parts.
                listen::Inherited::Group(address, sockets) => {
                    open.inherited.entry(address).or_default().extend(sockets);
                }
            }
        }
        Ok(())
    }

    /// Accepts nothing more, because another proxy does, and asks clients to open new connections: with the next response
    /// for at most `patience`, so that no request crosses with the end of its connection. Then as [`Proxy::shutdown`].
    pub async fn retire(&self, patience: Duration, limit: Duration) {
        self.close();
        self.workers.iter().for_each(|worker| _ = worker.send(Command::Retire));
        self.each(|done| Command::Emptied(patience, done)).await;
        self.shutdown(limit).await;
    }
}
