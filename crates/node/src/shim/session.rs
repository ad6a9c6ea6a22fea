//! A program's streams at the other end of a socket: what `exec` and `attach` are made of. The socket speaks the frames of
//! [`objects::session`].

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{Mutex, PoisonError},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use objects::session;
use serde_json::Value;

/// How much is read at once.
pub(super) const PIECE: usize = 32 * 1024;
/// What a pipe takes whole as soon as it takes anything (PIPE_BUF).
const ATOM: usize = 4096;
/// How long a program may leave its input alone before the client is asked whether it is still there, in milliseconds.
const QUIET: u16 = 10_000;

/// One frame.
pub(super) struct Frame {
    pub channel: u8,
    pub data: Vec<u8>,
}

/// Reads the next frame; `None` when the other side is gone.
pub(super) fn read(mut from: &UnixStream) -> Option<Frame> {
    let mut head = [0; session::HEAD];
    from.read_exact(&mut head).ok()?;
    let (channel, length) = session::parse_head(head)?;
    let mut data = vec![0; length];
    from.read_exact(&mut data).ok()?;
    Some(Frame { channel, data })
}

/// The writing side of a session, which several threads share.
pub(super) struct Outlet(Mutex<UnixStream>);

impl Outlet {
    pub fn new(socket: UnixStream) -> Self {
        Self(Mutex::new(socket))
    }

    /// Writes a frame; waits while the other side is slow.
    pub fn send(&self, channel: u8, data: &[u8]) -> io::Result<()> {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        socket.write_all(&session::head(channel, data.len()))?;
        socket.write_all(data)
    }

    /// Writes the last frame.
    pub fn end(&self, status: &Value) {
        // Whoever is gone does not need to know.
        let _ = self.send(session::STATUS, status.to_string().as_bytes());
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).shutdown(std::net::Shutdown::Both);
    }
}

/// Writes to a program's input for as long as the session's client is there; `quiet` is called while the program does not read.
///
/// # Errors
/// [`io::ErrorKind::ConnectionAborted`] when the client is gone; whatever the program's input says when it takes no more.
pub(super) fn feed(mut stdin: &File, mut data: &[u8], client: &UnixStream, quiet: impl Fn()) -> io::Result<()> {
    while !data.is_empty() {
        // That a client is gone is told unasked, and even where something of it has not been read.
        let (input, client) =
            (PollFd::new(stdin.as_fd(), PollFlags::POLLOUT), PollFd::new(client.as_fd(), PollFlags::empty()));
        let mut ready = [input, client];
        match poll(&mut ready, PollTimeout::from(QUIET)) {
            Ok(0) => {
                quiet();
                continue;
            }
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let [program, other] = ready.map(|one| one.revents().unwrap_or(PollFlags::empty()));
        if other.contains(PollFlags::POLLHUP) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if !program.is_empty() {
            let written = stdin.write(data.get(..data.len().min(ATOM)).unwrap_or_default())?;
            data = data.get(written..).unwrap_or_default();
        }
    }
    Ok(())
}
