//! Connecting to a port inside a pod's network namespace: also to programs that listen at 127.0.0.1 or ::1 there.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as Blocking},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use tokio::{net::TcpStream, sync::oneshot};

/// How long a program may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to `localhost` in the namespace of this file, or in the machine's own.
///
/// # Errors
/// What the kernel says; of the two addresses that of IPv4.
pub(super) async fn localhost(network: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    let (tell, told) = oneshot::channel();
    // The namespace is the thread's, which ends with it; the socket stays in it.
    thread::Builder::new().name("dial".to_owned()).spawn(move || {
        // Whoever asked may have gone.
        let _ = tell.send(connect(network.as_deref(), port));
    })?;
    let stream = told.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

fn connect(network: Option<&Path>, port: u16) -> io::Result<Blocking> {
    if let Some(network) = network {
        setns(File::open(network)?, CloneFlags::CLONE_NEWNET)?;
    }
    let [four, six] = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)]
        .map(|ip| move || Blocking::connect_timeout(&SocketAddr::new(ip, port), PATIENCE));
    four().or_else(|error| six().map_err(|_| error))
}
