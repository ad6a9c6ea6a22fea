//! The sockets that receive datagrams: which there are, and whose they were before.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::OwnedFd,
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{
    handover::Handed,
    listen,
    worker::{Command, Slot},
};
use crate::{control::BindError, table::Listener};

/// Where datagrams are received; an address may be open for connections as well.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    /// With the sockets, for the next process.
    open: HashMap<SocketAddr, (Arc<Slot>, Vec<UdpSocket>)>,
    /// Those of the last process that no table has asked for yet.
    inherited: HashMap<SocketAddr, Vec<UdpSocket>>,
}

impl Receivers {
    /// Opens what is new, closes what is gone, and swaps what is served elsewhere; returns what could not be opened.
    pub fn apply<'l>(
        &mut self,
        workers: &[mpsc::UnboundedSender<Command>],
        listeners: impl Iterator<Item = &'l Listener> + Clone,
    ) -> Vec<BindError> {
        self.open.retain(|address, (slot, _)| {
            let wanted = listeners.clone().any(|listener| listener.bind == *address);
            if !wanted {
                slot.stop.cancel();
            }
            wanted
        });
        let mut errors = Vec::new();
        for listener in listeners {
            match self.open.get(&listener.bind) {
                Some((slot, _)) => slot.listener.store(Arc::new(listener.clone())),
                None => errors.extend(self.receive(workers, listener).err().map(|e| BindError::new(listener, &e))),
            }
        }
        self.inherited.clear();
        errors
    }

    fn receive(&mut self, workers: &[mpsc::UnboundedSender<Command>], listener: &Listener) -> io::Result<()> {
        let inherited = self.inherited.remove(&listener.bind).unwrap_or_default();
        let sockets = listen::datagrams(listener.bind, inherited, workers.len())?;
        let shared = sockets.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?;
        let slot = Arc::new(Slot::new(listener));
        // The last process may have had more workers.
        for (worker, socket) in workers.iter().cycle().zip(sockets) {
            // A worker ends only with the proxy.
            _ = worker.send(Command::Receive(socket, slot.clone()));
        }
        self.open.insert(listener.bind, (slot, shared));
        Ok(())
    }

    /// Receives nothing more.
    pub fn close(&mut self) {
        self.open.drain().for_each(|(_, (slot, _))| slot.stop.cancel());
        self.inherited.clear();
    }

    /// Every socket once more.
    pub fn share(&self) -> impl Iterator<Item = io::Result<Handed>> {
        let open = self.open.iter().map(|(address, (_, sockets))| (address, sockets));
        open.chain(&self.inherited).map(|(address, sockets)| {
            let sockets = sockets.iter().map(|socket| socket.try_clone().map(OwnedFd::from));
            Ok(Handed { address: *address, sockets: sockets.collect::<io::Result<_>>()? })
        })
    }

    /// Takes the sockets of another process.
    pub fn adopt(&mut self, address: SocketAddr, sockets: Vec<UdpSocket>) {
        self.inherited.insert(address, sockets);
    }
}
