//! Terminals: making one in a container, handing it to the shim outside, its size and its end.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use nix::{
    cmsg_space,
    fcntl::{FcntlArg, FdFlag, fcntl},
    pty::openpty,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg},
    unistd::{Uid, fchown},
};
use objects::session::Size;

nix::ioctl_write_ptr_bad!(
    /// Sets the size of a terminal.
    set_size,
    libc::TIOCSWINSZ,
    libc::winsize
);

nix::ioctl_write_int_bad!(
    /// Makes a terminal that of the caller's session.
    set_controlling,
    libc::TIOCSCTTY
);

/// A new terminal: the side that reads the program, and the side that the program has, which belongs to this user.
pub(super) fn terminal(uid: u32) -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = openpty(None, None)?;
    for fd in [&pair.master, &pair.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    // A terminal that stays root's works all the same, except for a program that opens it by name.
    let _ = fchown(&pair.slave, Some(Uid::from_raw(uid)), None);
    Ok((pair.master, pair.slave))
}

/// Makes standard input the terminal of this process's session, which it leads.
pub(super) fn take() -> io::Result<()> {
    // SAFETY: the call takes two plain numbers; the descriptor is this process's own standard input.
    unsafe { set_controlling(0, 0) }?;
    Ok(())
}

/// Gives a terminal the client's size; what cannot be read as one is left alone.
pub(super) fn resize(terminal: BorrowedFd<'_>, data: &[u8]) {
    let Ok(Size { width, height }) = serde_json::from_slice(data) else { return };
    let size = libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open while it is borrowed, and the kernel only reads the size, which outlives the call.
    let _ = unsafe { set_size(terminal.as_raw_fd(), &raw const size) };
}

/// Reads a terminal: its end is an error of its own, when nobody has it open any more.
pub(super) struct Terminal(pub File);

impl Read for Terminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(0),
            other => other,
        }
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Hands a descriptor to the process at the other end.
pub(super) fn hand_over(to: &UnixStream, fd: &OwnedFd) -> io::Result<()> {
    let rights = [fd.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&rights)];
    sendmsg::<UnixAddr>(to.as_raw_fd(), &[IoSlice::new(b"t")], &control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Takes what was handed over.
pub(super) fn taken(from: &UnixStream) -> io::Result<OwnedFd> {
    let (mut text, mut control) = ([0; 1], cmsg_space!([RawFd; 1]));
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(from.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut files = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = message {
            // SAFETY: the kernel has just made these descriptors for us, and nobody else knows of them.
            files.extend(descriptors.into_iter().map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }));
        }
    }
    files.pop().ok_or_else(|| io::Error::other("no terminal was handed over"))
}
