//! Connections that begin with TLS: whose they are, and what becomes of them.

use std::{fmt, future::poll_fn, io, rc::Rc, sync::Arc};

use rustls::{
    AlertDescription, CipherSuite, ServerConfig,
    server::{Accepted, AcceptedAlert, Acceptor},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsStream, server::StartHandshake};

use super::{
    hello::{self, Hello, MAX_HELLO},
    serve,
    side::{Side, Stream},
    tunnel,
    worker::{Slot, Worker},
};
use crate::{
    observe::{Caller, Session, TlsFault},
    table::{Secured, Split, TlsService},
};

/// Why no TLS connection came about.
#[derive(Debug)]
enum Failed {
    /// The client took too long.
    TimedOut,
    /// What the client sent is not TLS.
    NotTls(&'static str),
    /// No listener has the name.
    UnknownName(Box<str>),
    /// Client and listener could not agree, or one of them went away.
    Handshake(io::Error),
}

impl Failed {
    /// As it is counted.
    fn fault(&self) -> TlsFault {
        match self {
            Self::TimedOut => TlsFault::Timeout,
            Self::NotTls(_) => TlsFault::NotTls,
            Self::UnknownName(_) => TlsFault::NoCertificate,
            Self::Handshake(error) => TlsFault::of(error),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the TLS handshake took too long"),
            Self::NotTls(why) => f.write_str(why),
            Self::UnknownName(name) => write!(f, "no listener has the server name {name:?}"),
            Self::Handshake(error) => write!(f, "the TLS handshake failed: {error}"),
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Handshake(error)
    }
}

/// What a connection has turned out to be.
enum Opened {
    /// HTTP is inside.
    Https(Stream),
    /// Bytes for an endpoint.
    Bytes(Side, Arc<Split>),
}

/// Serves a connection until it ends.
pub(super) async fn connection(
    worker: &Rc<Worker>,
    slot: &Arc<Slot>,
    tcp: TcpStream,
    caller: Rc<Caller>,
    secured: Arc<Secured>,
) {
    // Boxed: a handshake is large, and over when the connection begins to idle.
    let opened = Box::pin(timeout(worker.timeouts.head, open(worker, &caller, tcp, secured))).await;
    match opened.unwrap_or(Err(Failed::TimedOut)) {
        Ok(Opened::Https(stream)) => serve::connection(worker, slot, stream, caller).await,
        Ok(Opened::Bytes(client, split)) => {
            Box::pin(tunnel::to_split(worker, client, &caller, &split)).await;
        }
        // The one place where it is known why a TLS connection did not come about.
        Err(failed) => {
            caller.not_secured(failed.fault());
            tracing::debug!(listener = %slot.listener.load().name, peer = %caller.peer(), "{failed}");
        }
    }
}

/// Reads the client's hello, and ends TLS if that is for the proxy to do.
async fn open(worker: &Worker, caller: &Caller, tcp: TcpStream, secured: Arc<Secured>) -> Result<Opened, Failed> {
    let mut client = Side::new(Stream::Plain(tcp));
    let read = read_hello(worker, &mut client).await;
    let service = read.and_then(|name| match secured.find(&name) {
        Some((_, service)) => Ok((name, service.clone())),
        None => Err(Failed::UnknownName(name)),
    });
    // From here on only this connection's own service is held, not the whole port's.
    drop(secured);
    let (name, service) = match service {
        Ok(service) => service,
        Err(failed) => {
            refuse(worker, client, &failed);
            return Err(failed);
        }
    };
    match service {
        TlsService::Passthrough(split) => Ok(Opened::Bytes(client, split)),
        TlsService::Https(config) => accept(worker, caller, client, config, &name).await.map(Opened::Https),
        TlsService::Terminate(config, split) => {
            let stream = accept(worker, caller, client, config, &name).await?;
            Ok(Opened::Bytes(Side::new(stream), split))
        }
    }
}

/// Waits for a whole hello, which stays in the client's buffer, and says what the client calls the server.
async fn read_hello(worker: &Worker, client: &mut Side) -> Result<Box<str>, Failed> {
    let mut needed = 1;
    loop {
        while client.filled().len() < needed {
            if !client.has_room() {
                client.grow(worker);
            }
            if poll_fn(|cx| client.poll_fill(cx, worker)).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        match hello::parse(client.filled()).map_err(Failed::NotTls)? {
            Hello::Whole(name) => return Ok(name),
            Hello::Partial(_) if client.filled().len() > MAX_HELLO => {
                return Err(Failed::NotTls("the ClientHello is too long"));
            }
            Hello::Partial(more) => needed = more,
        }
    }
}

/// Tells a client why it gets no connection, where TLS has a word for it.
fn refuse(worker: &Worker, client: Side, failed: &Failed) {
    let alert = match failed {
        Failed::UnknownName(_) => AlertDescription::UnrecognisedName,
        Failed::NotTls(_) => AlertDescription::DecodeError,
        _ => return client.close(&mut worker.buffers.borrow_mut()),
    };
    if let Stream::Plain(tcp) = client.into_stream(&mut worker.buffers.borrow_mut()) {
        // A fatal alert in a record of its own (RFC 8446, 6.2), as it is before anything is agreed.
        send(&tcp, &[21, 3, 3, 0, 2, 2, u8::from(alert)]);
    }
}

/// Sends the first bytes of a connection that has no future: the kernel's buffer has room for them, and nobody waits for the
/// client to read them.
fn send(tcp: &TcpStream, bytes: &[u8]) {
    _ = tcp.try_write(bytes);
}

/// Whether a client would rather have AES, in TLS 1.3, than ChaCha20: then it has instructions for it, and which of the suites with
/// AES is chosen makes no difference to it.
fn prefers_aes(accepted: &Accepted) -> bool {
    let hello = accepted.client_hello();
    let mut of_tls13 = hello.cipher_suites().iter().filter(|suite| {
        use CipherSuite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256};
        matches!(suite, TLS13_AES_128_GCM_SHA256 | TLS13_AES_256_GCM_SHA384 | TLS13_CHACHA20_POLY1305_SHA256)
    });
    of_tls13.next().is_some_and(|first| *first != CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)
}

/// The same, but with the client's order of suites instead of ours.
fn in_clients_order(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.ignore_client_order = false;
    Arc::new(config)
}

/// Ends TLS with a client whose hello is in its buffer.
async fn accept(
    worker: &Worker,
    caller: &Caller,
    client: Side,
    config: Arc<ServerConfig>,
    name: &str,
) -> Result<Stream, Failed> {
    let (mut acceptor, mut hello) = (Acceptor::default(), client.filled());
    let accepted = loop {
        let read = acceptor.read_tls(&mut hello).map_err(|_| Failed::NotTls("the ClientHello is too long"))?;
        match acceptor.accept() {
            Ok(Some(accepted)) if hello.is_empty() => break Ok(accepted),
            Ok(None) if read > 0 => {}
            Ok(_) => break Err((Failed::NotTls("bytes follow the ClientHello"), None)),
            Err((error, alert)) => break Err((io::Error::other(error).into(), Some(alert))),
        }
    };
    let Stream::Plain(tcp) = client.into_stream(&mut worker.buffers.borrow_mut()) else {
        return Err(Failed::NotTls("TLS within TLS"));
    };
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err((failed, alert)) => {
            let mut bytes = Vec::new();
            // Writing to a vector cannot fail.
            _ = alert.map(|mut alert: AcceptedAlert| alert.write_all(&mut bytes));
            send(&tcp, &bytes);
            return Err(failed);
        }
    };
    let config = if prefers_aes(&accepted) { config } else { in_clients_order(&config) };
    let stream = StartHandshake::from_parts(accepted, tcp).into_stream(config).await?;
    // What was agreed must be what was chosen by: the two readers of the hello are not to be played off against each other.
    let agreed = stream.get_ref().1.server_name().unwrap_or_default();
    if !agreed.trim_end_matches('.').eq_ignore_ascii_case(name) {
        return Err(Failed::NotTls("the server name can be read in two ways"));
    }
    caller.secured(Session::of(stream.get_ref().1));
    Ok(Stream::Tls(Box::new(TlsStream::Server(stream))))
}
