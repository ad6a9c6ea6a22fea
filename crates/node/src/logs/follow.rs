//! Sending a log, and then what is written later, as the kernel tells of it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::Path,
    pin::pin,
};

use bytes::Bytes;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::{io::unix::AsyncFd, sync::mpsc, task::spawn_blocking};

use super::{Query, Reader};

/// Tells of every change in one directory.
struct Changes(AsyncFd<Descriptor>);

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Changes {
    fn of(dir: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let wanted = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(dir, wanted)?;
        // SAFETY: the descriptor is owned by the `Inotify`, which lives in the `AsyncFd` and never changes it.
        let fd = unsafe { AsyncFd::register_with_interest(Descriptor(inotify), tokio::io::Interest::READABLE) };
        Ok(Self(fd.map_err(io::Error::from)?))
    }

    /// Resolves when something has changed since the last time.
    async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            // What changed does not matter, only that it did: the queue is emptied.
            let mut any = false;
            loop {
                match self.0.get_ref().0.read_events() {
                    Ok(_) => any = true,
                    Err(nix::errno::Errno::EAGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if any {
                return Ok(());
            }
        }
    }
}

/// A log in pieces: until its end or, when it is followed, until the run has `ended` and all that it wrote was sent. Nobody
/// reading ends it too.
///
/// # Errors
/// When the log cannot be opened, or the kernel cannot tell of its changes.
pub fn stream(
    path: &Path,
    query: Query,
    ended: impl Future<Output = ()> + Send + 'static,
) -> io::Result<mpsc::Receiver<Bytes>> {
    // Watched before it is read: what is written in between is not missed.
    let changes = query.follow.then(|| Changes::of(path.parent().unwrap_or(path))).transpose()?;
    let mut reader = Reader::open(path, query)?;
    let (sender, receiver) = mpsc::channel::<Bytes>(16);
    tokio::spawn(async move {
        let mut ended = pin!(ended);
        let mut over = changes.is_none();
        loop {
            loop {
                let work = spawn_blocking(move || {
                    let piece = reader.piece();
                    (reader, piece)
                });
                let Ok((back, piece)) = work.await else { return };
                reader = back;
                match piece {
                    Ok(piece) if piece.is_empty() => break,
                    Ok(piece) => {
                        if sender.send(piece.into()).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => return tracing::warn!("read a container's log: {error}"),
                }
            }
            if over || reader.is_done() {
                return;
            }
            let Some(changes) = &changes else { return };
            tokio::select! {
                changed = changes.next() => if let Err(error) = changed {
                    return tracing::warn!("follow a container's log: {error}");
                },
                () = &mut ended => over = true,
                () = sender.closed() => return,
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write, time::Duration};

    use super::*;

    async fn next(receiver: &mut mpsc::Receiver<Bytes>) -> Option<Bytes> {
        tokio::time::timeout(Duration::from_secs(30), receiver.recv()).await.unwrap()
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_until_the_run_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let append = |text: &str| {
            let line = format!("t stdout F {text}\n");
            File::options().create(true).append(true).open(&path).unwrap().write_all(line.as_bytes()).unwrap();
        };
        append("one");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let query = Query { follow: true, ..Query::default() };
        let mut lines = stream(&path, query, async move { drop(ended.await) }).unwrap();
        assert_eq!(next(&mut lines).await.unwrap(), "one\n");
        append("two");
        assert_eq!(next(&mut lines).await.unwrap(), "two\n");
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        append("three");
        assert_eq!(next(&mut lines).await.unwrap(), "three\n");
        end.send(()).unwrap();
        assert_eq!(next(&mut lines).await, None);
    }
}
