//! Where requests end: endpoints that answer as they should, and those that do not.

mod broken;
mod broken_http2;
mod good;
mod tunnels;

use std::{future::Future, io, net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
};

use super::site::ADDRESSES;
pub use broken::KINDS;
pub use good::send;
pub use tunnels::{BINARY, CLOSE, frame as ws_frame, read_frame as ws_read};

/// Connections of one endpoint at a time; further ones wait.
const MAX_CONNECTIONS: usize = 4096;

/// After an error of a listening socket.
const PAUSE: Duration = Duration::from_millis(10);

/// The running endpoints; they end with this value.
pub struct Endpoints {
    good: u16,
    good_http2: u16,
    websockets: u16,
    broken: u16,
    broken_http2: u16,
    tcp: u16,
    broken_tcp: u16,
    udp: u16,
    /// A port that nobody listens at.
    pub dead: u16,
    _dead: Vec<tokio::net::TcpSocket>,
    _tasks: JoinSet<()>,
}

impl Endpoints {
    /// Starts them.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start() -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let (dead, held) = dead_port()?;
        Ok(Self {
            good: listen(&mut tasks, good::http1).await?,
            good_http2: listen(&mut tasks, good::http2).await?,
            websockets: listen(&mut tasks, tunnels::websocket).await?,
            broken: listen(&mut tasks, broken::http1).await?,
            broken_http2: listen(&mut tasks, broken_http2::connection).await?,
            tcp: listen(&mut tasks, tunnels::tcp).await?,
            broken_tcp: listen(&mut tasks, tunnels::broken_tcp).await?,
            udp: receive(&mut tasks).await?,
            dead,
            _dead: held,
            _tasks: tasks,
        })
    }

    /// Services by name, with port, protocol and application protocol.
    pub fn services(&self) -> [(&'static str, u16, &'static str, &'static str); 11] {
        [
            ("good", self.good, "TCP", "http"),
            ("good-h2", self.good_http2, "TCP", "kubernetes.io/h2c"),
            ("grpc", self.good_http2, "TCP", "kubernetes.io/h2c"),
            ("ws", self.websockets, "TCP", "kubernetes.io/ws"),
            ("broken", self.broken, "TCP", "http"),
            ("broken-h2", self.broken_http2, "TCP", "kubernetes.io/h2c"),
            ("coming", self.good, "TCP", "http"),
            ("tcp", self.tcp, "TCP", ""),
            ("broken-tcp", self.broken_tcp, "TCP", ""),
            ("udp", self.udp, "UDP", ""),
            ("broken-udp", self.dead, "UDP", ""),
        ]
    }
}

/// The address of an endpoint.
fn address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 1 + index)
}

/// Listens at the same port of every address, and handles each connection.
async fn listen<F>(tasks: &mut JoinSet<()>, handle: fn(TcpStream) -> F) -> anyhow::Result<u16>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let (port, listeners) = everywhere(TcpListener::bind, |listener| Ok(listener.local_addr()?.port())).await?;
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    for listener in listeners {
        let permits = permits.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok(permit) = permits.clone().acquire_owned().await else { return };
                let Ok((stream, _)) = listener.accept().await else {
                    // Also at the end of everything, where without a pause this would never end.
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                connections.spawn(async move {
                    let _permit = permit;
                    _ = stream.set_nodelay(true);
                    // What went wrong is seen by whoever asked.
                    _ = handle(stream).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
    }
    Ok(port)
}

/// Sends every datagram back.
async fn receive(tasks: &mut JoinSet<()>) -> anyhow::Result<u16> {
    let (port, sockets) = everywhere(UdpSocket::bind, |socket| Ok(socket.local_addr()?.port())).await?;
    for socket in sockets {
        tasks.spawn(async move {
            let mut datagram = vec![0; 65_535];
            loop {
                match socket.recv_from(&mut datagram).await {
                    Ok((length, from)) => {
                        // Whoever asked may have gone.
                        _ = socket.send_to(datagram.get(..length).unwrap_or_default(), from).await;
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
    }
    Ok(port)
}

/// Binds one port at every address: the first is any that is free, and another if somebody has it elsewhere.
async fn everywhere<T, F>(
    bind: impl Fn((Ipv4Addr, u16)) -> F,
    port_of: impl Fn(&T) -> io::Result<u16>,
) -> anyhow::Result<(u16, Vec<T>)>
where
    F: Future<Output = io::Result<T>>,
{
    for _ in 0..20 {
        let first = bind((address(0), 0)).await.context("listen")?;
        let port = port_of(&first)?;
        let mut all = vec![first];
        for index in 1..ADDRESSES {
            if let Ok(bound) = bind((address(index), port)).await {
                all.push(bound);
            }
        }
        if all.len() == usize::from(ADDRESSES) {
            return Ok((port, all));
        }
    }
    bail!("no port is free at 127.0.0.1 to 127.0.0.{ADDRESSES}")
}

/// A port of every address that is taken but not listened at.
fn dead_port() -> anyhow::Result<(u16, Vec<tokio::net::TcpSocket>)> {
    for _ in 0..20 {
        let mut held = vec![tokio::net::TcpSocket::new_v4()?];
        let port = match held.first() {
            Some(first) => {
                first.bind((address(0), 0).into())?;
                first.local_addr()?.port()
            }
            None => continue,
        };
        for index in 1..ADDRESSES {
            let socket = tokio::net::TcpSocket::new_v4()?;
            if socket.bind((address(index), port).into()).is_ok() {
                held.push(socket);
            }
        }
        if held.len() == usize::from(ADDRESSES) {
            return Ok((port, held));
        }
    }
    bail!("no port can be held")
}
