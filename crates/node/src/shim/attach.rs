//! A container's own streams: its input, its terminal, and everybody who watches its output. Each attached session is one
//! connection to a socket in the run's directory.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use objects::session::{self as frames, Streams};

use super::{
    console,
    session::{Frame, Outlet, feed, read},
};
use crate::runtime::Stdio;

/// The socket's name in the directory of the run.
const SOCKET: &str = "attach";
/// Sessions at a time; another one is refused.
const SESSIONS: usize = 16;
/// How long a session may hold the container's output back before it is cut.
const PATIENCE: Duration = Duration::from_secs(30);

/// The path of the socket in an open directory: the directory's own may be longer than a socket's may be.
fn path(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

/// Connects to the container whose files are in `dir`.
///
/// # Errors
/// When nobody owns the container's streams any more.
pub(crate) fn connect(dir: &Path) -> io::Result<UnixStream> {
    let dir = File::open(dir)?;
    UnixStream::connect(path(&dir))
}

/// Who shares a container's streams.
pub(super) struct Hub {
    how: Stdio,
    stdin: Mutex<Option<File>>,
    terminal: Option<File>,
    sessions: Mutex<Vec<Session>>,
}

struct Session {
    streams: Streams,
    outlet: Arc<Outlet>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Nobody's yet.
    pub fn new(how: Stdio, stdin: Option<File>, terminal: Option<File>) -> Self {
        Self { how, stdin: Mutex::new(stdin), terminal, sessions: Mutex::default() }
    }

    /// Lets sessions come.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(self: &Arc<Self>, dir: &Path) -> io::Result<()> {
        let dir = File::open(dir)?;
        let path = path(&dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let hub = self.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let hub = hub.clone();
                thread::spawn(move || hub.serve(&client));
            }
        });
        Ok(())
    }

    /// One session, until its client is gone or closes the input.
    fn serve(&self, client: &UnixStream) {
        let Some(Frame { channel: frames::HELLO, data }) = read(client) else { return };
        let streams = Streams::of(&String::from_utf8_lossy(&data));
        let Ok(outlet) = client.set_write_timeout(Some(PATIENCE)).and_then(|()| client.try_clone()) else { return };
        let outlet = Arc::new(Outlet::new(outlet));
        {
            let mut sessions = locked(&self.sessions);
            if sessions.len() >= SESSIONS {
                return outlet.end(&frames::failed("too many sessions are attached to the container"));
            }
            sessions.push(Session { streams, outlet: outlet.clone() });
        }
        self.input(client, streams, &outlet);
        // A terminal cannot be closed from this side.
        if streams.stdin && self.how.stdin_once && !self.how.tty {
            *locked(&self.stdin) = None;
        }
        locked(&self.sessions).retain(|one| !Arc::ptr_eq(&one.outlet, &outlet));
        outlet.end(&frames::success());
    }

    fn input(&self, client: &UnixStream, streams: Streams, outlet: &Outlet) {
        while let Some(Frame { channel, data }) = read(client) {
            match (channel, &self.terminal) {
                (frames::STDIN, _) if streams.stdin => {
                    let mut stdin = locked(&self.stdin);
                    let quiet = || drop(outlet.send(frames::STDOUT, &[]));
                    match stdin.as_ref().map_or(Ok(()), |to| feed(to, &data, client, quiet)) {
                        Ok(()) => {}
                        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return,
                        Err(_) => *stdin = None,
                    }
                }
                (frames::CLOSE, _) if data == [frames::STDIN] && streams.stdin => {
                    // As container runtimes: the end of the input ends the session, except where it is the container's too.
                    if !self.how.stdin_once || self.how.tty {
                        return;
                    }
                    *locked(&self.stdin) = None;
                }
                (frames::RESIZE, Some(terminal)) => console::resize(terminal.as_fd(), &data),
                _ => {}
            }
        }
    }

    /// Shows output to everybody who wants it. Whoever is slow holds the container back, as far as [`PATIENCE`] goes.
    fn show(&self, channel: u8, data: &[u8]) {
        locked(&self.sessions).retain(|session| {
            let wanted = if channel == frames::STDOUT { session.streams.stdout } else { session.streams.stderr };
            !wanted || session.outlet.send(channel, data).is_ok()
        });
    }

    /// The container has ended, and with it every session.
    pub fn end(&self) {
        for session in locked(&self.sessions).drain(..) {
            session.outlet.end(&frames::success());
        }
    }
}

/// Reads output, and shows it to the sessions too.
pub(super) struct Shown<R> {
    pub from: R,
    pub channel: u8,
    pub hub: Arc<Hub>,
}

impl<R: Read> Read for Shown<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hub.show(self.channel, buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
