//! Messages with open files, between two processes of one machine: JSON over a UNIX socket that keeps their boundaries.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
};

use nix::{
    cmsg_space,
    sys::socket::{
        AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, accept4,
        bind, connect, getsockopt, listen, recvmsg, sendmsg, socket, sockopt::PeerCredentials,
    },
    unistd::Uid,
};
use tokio::io::unix::AsyncFd;

use super::Message;

/// The largest message.
const LIMIT: usize = 64 * 1024;
/// What the kernel takes with one message (SCM_MAX_FD).
const MOST_FILES: usize = 253;

/// Where connections arrive.
#[derive(Debug)]
pub(super) struct Door(AsyncFd<OwnedFd>);

impl Door {
    /// Listens at a path, whatever an earlier process has left there.
    pub fn open(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = new_socket()?;
        bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        listen(&socket, Backlog::new(4)?)?;
        watched(socket).map(Self)
    }

    pub async fn accept(&self) -> io::Result<Channel> {
        let accept = |door: &OwnedFd| {
            let accepted = accept4(door.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
            Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
        };
        Channel::new(self.0.async_io(tokio::io::Interest::READABLE, accept).await?)
    }
}

/// A connection to one process.
#[derive(Debug)]
pub(super) struct Channel(AsyncFd<OwnedFd>);

impl Channel {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        watched(socket).map(Self)
    }

    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = new_socket()?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        Self::new(socket)
    }

    /// Whom the other process acts for.
    pub fn peer_uid(&self) -> io::Result<Uid> {
        Ok(Uid::from_raw(getsockopt(self.0.get_ref(), PeerCredentials)?.uid()))
    }

    /// Sends a message with copies of these files.
    pub async fn send(&self, message: &Message, files: &[OwnedFd]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let files: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&files)];
        let control = if files.is_empty() { &[][..] } else { &rights };
        let send = |socket: &OwnedFd| {
            // Whoever is gone is found out by the error, not by a signal.
            let flags = MsgFlags::MSG_NOSIGNAL;
            Ok(sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(&text)], control, flags, None)?)
        };
        self.0.async_io(tokio::io::Interest::WRITABLE, send).await.map(drop)
    }

    /// The next message and the files that came with it.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the other process is gone.
    pub async fn receive(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let (text, files) = self.0.async_io(tokio::io::Interest::READABLE, receive).await?;
        if text.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other process is gone"));
        }
        Ok((serde_json::from_slice(&text)?, files))
    }
}

fn receive(socket: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let (mut text, mut control) = (vec![0; LIMIT], cmsg_space!([RawFd; MOST_FILES]));
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut files = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = message {
            // SAFETY: the kernel has just made these descriptors for us, and nobody else knows of them.
            files.extend(descriptors.into_iter().map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }));
        }
    }
    let length = received.bytes;
    text.truncate(length);
    Ok((text, files))
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?)
}

/// A socket that tasks can wait for.
fn watched(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` owns an open descriptor, and only `get_ref` is used of the result: it is never replaced or closed
    // while it is registered.
    Ok(unsafe { AsyncFd::register(socket) }?)
}
