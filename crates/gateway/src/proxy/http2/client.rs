//! Connections to endpoints that speak HTTP/2: few, each for many requests at a time.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use foldhash::fast::FixedState;
use h2::client::{Builder, SendRequest};
use http::Request;
use tokio::sync::Notify;

use super::{
    SEND_BUFFER, STREAM_WINDOW, Stream,
    io::{Io, Outs},
    to_io,
};
use crate::proxy::{connect::Unconnected, head::MAX_HEAD, side::Side};

/// Per worker and endpoint; beyond it requests wait in a connection's queue.
const MAX_CONNECTIONS: usize = 8;
/// Requests at a time on one connection, if the endpoint allows as many.
const MAX_STREAMS: usize = 100;
/// What a connection may have on its way: as much as all of its streams, which belong to different clients. With less, those who do
/// not read their responses would keep the others from theirs.
const WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;
/// As for connections of HTTP/1.
const IDLE: Duration = Duration::from_secs(45);

/// An endpoint, and how the connections to it are encrypted.
type Place = (SocketAddr, u64);

/// A worker's connections, by endpoint.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Pool {
    endpoints: RefCell<HashMap<Place, Rc<Endpoint>, FixedState>>,
    /// For these connections and those of clients.
    pub outs: Outs,
}

#[derive(Debug, Default)]
struct Endpoint {
    connections: RefCell<Vec<Rc<Connection>>>,
    /// Somebody is opening a connection: the others wait, or a burst would open one each.
    opening: Cell<bool>,
    opened: Notify,
    /// How often none could be opened, and whether TLS was the reason the last time.
    failures: Cell<(u64, bool)>,
}

#[derive(Debug)]
struct Connection {
    send: SendRequest<Bytes>,
    streams: Cell<usize>,
    last_used: Cell<Instant>,
    /// It takes no more requests.
    over: Cell<bool>,
}

impl Connection {
    fn has_room(&self) -> bool {
        self.streams.get() < MAX_STREAMS.min(self.send.current_max_send_streams())
    }
}

/// A place for one request on a connection.
#[derive(Debug)]
pub(in crate::proxy) struct Lease {
    connection: Rc<Connection>,
    /// The connection has served other requests before.
    pub reused: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.streams.set(self.connection.streams.get() - 1);
    }
}

impl Lease {
    fn new(connection: Rc<Connection>, reused: bool, now: Instant) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        connection.last_used.set(now);
        Self { connection, reused }
    }

    /// Sends a request's head; `end` says that no body follows.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn send(&self, request: Request<()>, end: bool) -> io::Result<Stream> {
        let ready = self.connection.send.clone().ready().await;
        let sent = ready.and_then(|mut send| send.send_request(request, end));
        match sent {
            Ok((response, sent)) => Ok(Stream::of_endpoint(sent, response)),
            Err(error) => {
                self.give_up();
                Err(to_io(error))
            }
        }
    }

    /// The connection is not used for further requests.
    pub fn give_up(&self) {
        self.connection.over.set(true);
    }
}

impl Pool {
    /// A place on a connection to the endpoint, opened by `connect` if there is none with room.
    ///
    /// # Errors
    /// What `connect` says, or that the endpoint does not speak HTTP/2.
    pub async fn lease(
        &self,
        place: Place,
        now: Instant,
        connect: impl AsyncFnOnce() -> Result<Side, Unconnected>,
    ) -> Result<Lease, Unconnected> {
        let endpoint = self.endpoints.borrow_mut().entry(place).or_default().clone();
        let before = endpoint.failures.get();
        loop {
            let opened = endpoint.opened.notified();
            if let Some(connection) = endpoint.choose() {
                return Ok(Lease::new(connection, true, now));
            }
            if !endpoint.opening.get() {
                break;
            }
            opened.await;
            // Who has waited for a connection in vain need not wait once more, after all the others who do.
            let (failures, by_tls) = endpoint.failures.get();
            if failures != before.0 && endpoint.choose().is_none() {
                let error = io::Error::other("it has just been tried in vain");
                return Err(if by_tls { Unconnected::Tls(error) } else { Unconnected::Tcp(error) });
            }
        }
        let _opening = Opening::new(&endpoint);
        let opened = match connect().await {
            Ok(side) => open(side, now, &self.outs).await.map_err(Unconnected::Tcp),
            Err(error) => Err(error),
        };
        let connection = opened.inspect_err(|error| {
            endpoint.failures.set((endpoint.failures.get().0.wrapping_add(1), matches!(error, Unconnected::Tls(_))));
        })?;
        endpoint.connections.borrow_mut().push(connection.clone());
        Ok(Lease::new(connection, false, now))
    }

    /// Closes connections that were not used for long; says whether any are left.
    pub fn sweep(&self, now: Instant) -> bool {
        let mut endpoints = self.endpoints.borrow_mut();
        endpoints.retain(|_, endpoint| {
            let mut connections = endpoint.connections.borrow_mut();
            let fresh = |c: &Connection| c.streams.get() > 0 || now.duration_since(c.last_used.get()) < IDLE;
            connections.retain(|connection| !connection.over.get() && fresh(connection));
            !connections.is_empty() || endpoint.opening.get()
        });
        !endpoints.is_empty()
    }
}

impl Endpoint {
    /// A connection with room; when there may be no more connections, the one with the fewest requests.
    fn choose(&self) -> Option<Rc<Connection>> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| !connection.over.get());
        if let Some(found) = connections.iter().find(|connection| connection.has_room()) {
            return Some(found.clone());
        }
        let full = connections.len() >= MAX_CONNECTIONS;
        connections.iter().filter(|_| full).min_by_key(|connection| connection.streams.get()).cloned()
    }
}

/// Lets the others go on when a connection has been opened or could not be.
struct Opening<'a>(&'a Endpoint);

impl<'a> Opening<'a> {
    fn new(endpoint: &'a Endpoint) -> Self {
        endpoint.opening.set(true);
        Self(endpoint)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.opened.notify_waiters();
    }
}

/// Begins to speak HTTP/2 on a connection, and drives it until its end.
async fn open(side: Side, now: Instant, outs: &Outs) -> io::Result<Rc<Connection>> {
    let io = Io::new(side, outs.clone());
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .initial_max_send_streams(MAX_STREAMS);
    let (send, mut driven) = builder.handshake(io.clone()).await.map_err(to_io)?;
    let (streams, last_used, over) = (Cell::new(0), Cell::new(now), Cell::new(false));
    let connection = Rc::new(Connection { send, streams, last_used, over });
    let known = Rc::downgrade(&connection);
    tokio::task::spawn_local(async move {
        let ended = poll_fn(|cx| {
            let polled = Pin::new(&mut driven).poll(cx);
            match io.poll_write_out(cx) {
                Poll::Ready(Err(_)) if polled.is_pending() => Poll::Ready(Ok(())),
                _ => polled,
            }
        });
        if let Err(error) = ended.await {
            tracing::debug!(error = %error, "a connection to an endpoint has ended");
        }
        if let Some(connection) = known.upgrade() {
            connection.over.set(true);
        }
    });
    Ok(connection)
}
