//! Connections to endpoints, encrypted where the cluster's are.

use std::{fmt, io, net::SocketAddr};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, TlsStream};

use super::{
    side::{Side, Stream},
    worker::Worker,
};
use crate::{
    observe::Connected,
    table::{BackendTls, Cluster, Upstream},
};

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Unconnected {
    /// Nobody takes connections there.
    Tcp(io::Error),
    /// Somebody does, but no TLS connection came about: whom the cluster trusts is not there, and nothing is said to anybody
    /// else.
    Tls(io::Error),
}

impl fmt::Display for Unconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(error) => write!(f, "no connection: {error}"),
            Self::Tls(error) => write!(f, "no TLS connection: {error}"),
        }
    }
}

/// Opens a connection to an endpoint of a cluster, on which the cluster's protocol can be spoken at once.
///
/// # Errors
/// What the operating system or TLS says, or that it took too long.
pub(super) async fn connect(worker: &Worker, endpoint: SocketAddr, cluster: &Cluster) -> Result<Side, Unconnected> {
    let connected = try_connect(worker, endpoint, cluster).await;
    let how = match &connected {
        Ok(_) => Connected::Yes,
        Err(Unconnected::Tls(_)) => Connected::NotSecured,
        Err(Unconnected::Tcp(error)) if error.kind() == io::ErrorKind::TimedOut => Connected::TimedOut,
        Err(Unconnected::Tcp(_)) => Connected::Refused,
    };
    worker.observe.connected(&cluster.name, how);
    connected
}

async fn try_connect(worker: &Worker, endpoint: SocketAddr, cluster: &Cluster) -> Result<Side, Unconnected> {
    let limit = worker.timeouts.connect;
    let connecting = timeout(limit, TcpStream::connect(endpoint)).await;
    let tcp = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Unconnected::Tcp)?;
    tcp.set_nodelay(true).map_err(Unconnected::Tcp)?;
    let Some(tls) = &cluster.tls else { return Ok(Side::new(Stream::Plain(tcp))) };
    // Boxed: a handshake is large, and most connections have none.
    let securing = Box::pin(timeout(limit, secure(tcp, tls, cluster.protocol))).await;
    let stream = securing.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Unconnected::Tls)?;
    Ok(Side::new(stream))
}

async fn secure(tcp: TcpStream, tls: &BackendTls, protocol: Upstream) -> io::Result<Stream> {
    let stream = TlsConnector::from(tls.config.clone()).connect(tls.name.clone(), tcp).await?;
    // HTTP/1.1 is understood without being agreed upon, HTTP/2 is not (RFC 9113, 3.2).
    if protocol == Upstream::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("the endpoint does not agree to HTTP/2"));
    }
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}
