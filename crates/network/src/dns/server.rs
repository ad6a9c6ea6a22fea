//! The sockets of cluster DNS: UDP and TCP in, answers from the zone or from a resolver of the machine.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::op::{Message, ResponseCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{
    answer::{Reply, answer, failure},
    zone::Zone,
};

/// Questions being forwarded at once; past that clients are told SERVFAIL at once rather than queued.
const FORWARDED: usize = 256;
/// TCP clients at once.
const CONNECTIONS: usize = 64;
/// How long a resolver may take before the next is asked.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a TCP client may stay silent.
const IDLE: Duration = Duration::from_secs(10);
/// How many free ports are tried.
const FREE_PORTS: u32 = 16;
/// The largest answer sent over UDP to a client that did not say that it takes more (RFC 1035).
const PLAIN_UDP: usize = 512;
/// The largest UDP message that we take or send.
const LARGEST_UDP: usize = 4096;

/// Where questions come in.
pub struct Sockets {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
}

struct Resolver {
    zone: watch::Receiver<Zone>,
    upstreams: Vec<SocketAddr>,
    forwarded: Semaphore,
}

impl Sockets {
    /// Listens on one address for both protocols; with port 0 both get the same free port.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("listen for DNS on {address}: {e}"));
        let mut tries = if address.port() == 0 { FREE_PORTS } else { 1 };
        loop {
            let udp = UdpSocket::bind(address).await.map_err(named)?;
            tries -= 1;
            match TcpListener::bind(udp.local_addr()?).await {
                Ok(tcp) => return Ok(Self { udp: Arc::new(udp), tcp }),
                // A port that is free for one protocol may not be for the other.
                Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(named(error)),
            }
        }
    }

    /// The address bound.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Answers until it is dropped.
    pub async fn serve(self, zone: watch::Receiver<Zone>, upstreams: Vec<SocketAddr>) {
        let resolver = Arc::new(Resolver { zone, upstreams, forwarded: Semaphore::new(FORWARDED) });
        tokio::join!(serve_udp(self.udp, resolver.clone()), serve_tcp(self.tcp, resolver));
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, resolver: Arc<Resolver>) {
    let mut buffer = vec![0; LARGEST_UDP];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(Ok(question)) = buffer.get(..length).map(Message::from_vec) else { continue };
        let limit = question.edns.as_ref().map_or(PLAIN_UDP, |_| usize::from(question.max_payload()).min(LARGEST_UDP));
        let (socket, resolver) = (socket.clone(), resolver.clone());
        let send = async move {
            let Some(reply) = resolver.resolve(&question).await else { return };
            // A client that went away is no concern of ours.
            let _ = socket.send_to(&fit(reply, limit), from).await;
        };
        tokio::spawn(send);
    }
}

async fn serve_tcp(listener: TcpListener, resolver: Arc<Resolver>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let resolver = resolver.clone();
        tokio::spawn(async move {
            // An error is the client's: it went away, stayed silent or did not speak DNS.
            let _ = serve_stream(stream, &resolver).await;
            drop(place);
        });
    }
}

async fn serve_stream(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    loop {
        let bytes = timeout(IDLE, read_framed(&mut stream)).await??;
        let question = Message::from_vec(&bytes).map_err(io::Error::other)?;
        if let Some(reply) = resolver.resolve(&question).await {
            write_framed(&mut stream, &fit(reply, usize::from(u16::MAX))).await?;
        }
    }
}

async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write_framed(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await
}

/// The message in at most `limit` bytes: cut, and marked as cut, if need be.
fn fit(reply: Message, limit: usize) -> Vec<u8> {
    let whole = reply.to_vec().unwrap_or_default();
    if whole.len() <= limit { whole } else { reply.truncate().to_vec().unwrap_or_default() }
}

impl Resolver {
    async fn resolve(&self, question: &Message) -> Option<Message> {
        let reply = answer(question, &self.zone.borrow());
        match reply {
            Reply::Answer(message) => Some(message),
            Reply::Drop => None,
            Reply::Forward => Some(self.forward(question).await),
        }
    }

    async fn forward(&self, question: &Message) -> Message {
        if let (Ok(_place), Ok(bytes)) = (self.forwarded.try_acquire(), question.to_vec()) {
            for upstream in &self.upstreams {
                match timeout(UPSTREAM_TIMEOUT, ask(*upstream, &bytes)).await {
                    Ok(Ok(reply)) if reply.metadata.id == question.metadata.id => return reply,
                    _ => tracing::debug!("cluster DNS: resolver {upstream} did not answer"),
                }
            }
        }
        failure(question, ResponseCode::ServFail)
    }
}

/// Asks one resolver over UDP, and over TCP when the answer did not fit.
async fn ask(upstream: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let any = if upstream.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; LARGEST_UDP];
    let length = socket.recv(&mut buffer).await?;
    buffer.truncate(length);
    let reply = Message::from_vec(&buffer).map_err(io::Error::other)?;
    if !reply.metadata.truncation {
        return Ok(reply);
    }
    let mut stream = TcpStream::connect(upstream).await?;
    write_framed(&mut stream, question).await?;
    Message::from_vec(&read_framed(&mut stream).await?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{MessageType, OpCode, Query},
        rr::{Name, RecordType},
    };

    use super::*;

    fn question(name: &str) -> Message {
        let mut message = Message::new(9, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message
    }

    async fn start(zone: Zone, upstreams: Vec<SocketAddr>) -> SocketAddr {
        let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = sockets.local_addr().unwrap();
        let (publish, zone) = watch::channel(zone);
        tokio::spawn(async move {
            sockets.serve(zone, upstreams).await;
            drop(publish);
        });
        address
    }

    #[tokio::test]
    async fn both_transports_answer() {
        let address = start(Zone::new("cluster.local"), vec![]).await;
        let bytes = question("1-2-3-4.x.pod.cluster.local.").to_vec().unwrap();
        assert_eq!(ask(address, &bytes).await.unwrap().answers.len(), 1);
        let mut stream = TcpStream::connect(address).await.unwrap();
        write_framed(&mut stream, &bytes).await.unwrap();
        let reply = Message::from_vec(&read_framed(&mut stream).await.unwrap()).unwrap();
        assert_eq!(reply.answers.len(), 1);
    }

    #[tokio::test]
    async fn names_outside_the_cluster_come_from_the_machines_resolver() {
        // Another of our own servers stands in for the machine's resolver.
        let outside = start(Zone::new("example.com"), vec![]).await;
        let address = start(Zone::new("cluster.local"), vec![outside]).await;
        let reply = ask(address, &question("4-3-2-1.x.pod.example.com.").to_vec().unwrap()).await.unwrap();
        assert_eq!(reply.answers.len(), 1);
    }

    #[tokio::test]
    async fn without_a_resolver_the_client_is_told_so() {
        let address = start(Zone::new("cluster.local"), vec![]).await;
        let reply = ask(address, &question("example.com.").to_vec().unwrap()).await.unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    }
}
