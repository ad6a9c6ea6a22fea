//! The proxy: listeners, HTTP/1.1, balancing and the connections to endpoints.
//!
//! A request's way: `worker` accepts its connection, `serve` reads its head and asks the table for the rule, `message` writes
//! the head that the endpoint gets, `exchange` moves both messages, and `serve` waits for the next request. Requests of HTTP/2 take
//! the same way from `http2`, many at a time.

mod addressed;
mod answer;
mod buffer;
mod clock;
mod connect;
mod datagrams;
mod end;
mod exchange;
pub mod explain;
mod extras;
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod head;
mod hello;
mod hold;
mod http1;
mod http2;
mod kept;
mod listen;
mod message;
mod mirror;
mod pool;
mod pump;
mod receivers;
mod relay;
mod reply;
mod route;
mod serve;
mod side;
mod tls;
mod transfer;
mod tunnel;
mod upstream;
mod worker;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    control::{BindError, Sink},
    observe::{AccessLog, Live, Metrics, WorkerFigures, Writer},
    table::{Listener, Table, Transport},
};
pub use handover::Handed;
pub use hold::HoldLimits;
use hold::Holding;
use receivers::Receivers;
use worker::{Command, Slot};

/// For the last lines of the access log to be written.
const WRITTEN: Duration = Duration::from_secs(2);

/// How the proxy is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads; each has its own sockets and connections.
    pub workers: usize,
    /// Connections from clients over all workers. At this number the others wait in the kernel's queue.
    pub max_connections: usize,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How many requests wait for Services that sleep, over all workers.
    pub hold: HoldLimits,
    /// A line for every request, if it is wanted.
    pub access_log: Option<AccessLog>,
}

/// How long the proxy waits. They are looked at four times a second.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Between a client's requests.
    pub idle: Duration,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// For more of a request's body, when the client has begun to send it.
    pub body: Duration,
    /// For any byte of an exchange, in either direction.
    pub exchange: Duration,
    /// For a connection to an endpoint.
    pub connect: Duration,
    /// For another datagram between a client and an endpoint.
    pub datagrams: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            exchange: Duration::from_secs(300),
            connect: Duration::from_secs(5),
            datagrams: Duration::from_secs(60),
        }
    }
}

impl Default for Options {
    /// One worker per core.
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (timeouts, hold) = (Timeouts::default(), HoldLimits::default());
        Self { workers, max_connections: 50_000, timeouts, hold, access_log: None }
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    workers: Vec<mpsc::UnboundedSender<Command>>,
    open: Mutex<Open>,
    holding: Arc<Holding>,
    log: Mutex<Option<Writer>>,
}

#[derive(Debug, Default)]
struct Open {
    slots: HashMap<SocketAddr, Arc<Slot>>,
    held: HashMap<SocketAddr, listen::Held>,
    /// The sockets of `slots`, for the next process.
    listening: HashMap<SocketAddr, Vec<std::net::TcpListener>>,
    /// Those of the last process that no table has asked for yet.
    inherited: HashMap<SocketAddr, Vec<std::net::TcpListener>>,
    /// Where datagrams are received.
    receivers: Receivers,
    /// What has a name in the newest table.
    table: Arc<Table>,
    ended: bool,
}

impl Proxy {
    /// Starts the workers; nothing is listened on before the first table.
    ///
    /// # Errors
    /// What the machine refuses: threads, file descriptors, the access log's file.
    pub fn start(options: Options) -> io::Result<Self> {
        let count = options.workers.max(1);
        let log = options.access_log.as_ref().map(Writer::start).transpose()?;
        let holding = Arc::new(Holding::new(options.hold));
        let start = |index| {
            let feed = log.as_ref().map(Writer::feed);
            let connections = options.max_connections.div_ceil(count);
            worker::start(index, connections, options.timeouts, holding.clone(), feed)
        };
        let workers = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { workers, open: Mutex::default(), holding, log: Mutex::new(log) })
    }

    /// Opens the access log's file again: what moves it away asks for this, unless it is content with the next look.
    pub fn reopen_access_log(&self) {
        if let Some(log) = &*self.log() {
            log.reopen();
        }
    }

    fn log(&self) -> MutexGuard<'_, Option<Writer>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an address before a table asks for it, so that nobody else can have it; port 0 takes a free one. Connections
    /// are refused until a table has a listener there.
    ///
    /// # Errors
    /// What the operating system says: in use, not permitted, not of this machine.
    pub fn hold(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        {
            let open = self.open();
            if open.held.contains_key(&address) || open.inherited.contains_key(&address) {
                return Ok(address);
            }
        }
        let held = listen::hold(address)?;
        let address = held.address;
        self.open().held.insert(address, held);
        Ok(address)
    }

    /// The addresses that are listened on now.
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.open().slots.keys().copied().collect()
    }

    /// How many requests and connections wait for Services that sleep, now.
    pub fn held(&self) -> usize {
        self.holding.waiting()
    }

    /// What has been counted since the start, as text.
    pub async fn metrics(&self) -> Metrics {
        Metrics::new(self.figures().await)
    }

    /// What has been counted since the start.
    pub(crate) async fn figures(&self) -> WorkerFigures {
        let live = {
            let table = self.open().table.clone();
            Arc::new(Live::new(&table))
        };
        let told = self.workers.iter().filter_map(|worker| {
            let (tell, told) = oneshot::channel();
            worker.send(Command::Tell(live.clone(), tell)).ok().map(|()| told)
        });
        let mut sum = WorkerFigures::default();
        for told in told.collect::<Vec<_>>() {
            // A worker that is gone, or goes meanwhile, has nothing to tell.
            if let Ok(figures) = told.await {
                sum.add(figures);
            }
        }
        sum.log_failed(self.log().as_ref().map_or(0, Writer::failed));
        sum
    }

    /// Closes the listeners, lets requests that have begun finish for at most `limit`, and ends the workers. Those that wait for a
    /// first endpoint are answered at once.
    pub async fn shutdown(&self, limit: Duration) {
        self.close();
        self.holding.close();
        self.each(|done| Command::Drain(limit, done)).await;
        let log = self.log().take();
        if let Some(log) = log {
            log.finish(WRITTEN).await;
        }
    }

    /// Stops accepting.
    fn close(&self) {
        let mut open = self.open();
        open.ended = true;
        open.held.clear();
        open.inherited.clear();
        // A worker that stops takes what the kernel has completed by then: its socket must be the last.
        open.listening.clear();
        open.receivers.close();
        open.slots.drain().for_each(|(_, slot)| slot.stop.cancel());
    }

    /// Tells every worker something, and waits until each has done it.
    async fn each(&self, command: impl Fn(oneshot::Sender<()>) -> Command) {
        let told = self.workers.iter().filter_map(|worker| {
            let (done, told) = oneshot::channel();
            worker.send(command(done)).ok().map(|()| told)
        });
        for told in told.collect::<Vec<_>>() {
            // A worker that is gone has nothing left to finish.
            _ = told.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, open: &mut Open, listener: &Listener) -> io::Result<()> {
        let count = self.workers.len();
        let sockets = match (open.inherited.remove(&listener.bind), open.held.remove(&listener.bind)) {
            (Some(sockets), _) => listen::regroup(sockets, count)?,
            (None, Some(held)) => listen::group(held, count)?,
            (None, None) => listen::group(listen::hold(listener.bind)?, count)?,
        };
        let shared = sockets.iter().map(std::net::TcpListener::try_clone).collect::<io::Result<_>>()?;
        let slot = Arc::new(Slot::new(listener));
        // The last process may have had more workers.
        for (worker, socket) in self.workers.iter().cycle().zip(sockets) {
            // A worker ends only with the proxy.
            _ = worker.send(Command::Accept(socket, slot.clone()));
        }
        open.listening.insert(listener.bind, shared);
        open.slots.insert(listener.bind, slot);
        Ok(())
    }
}

impl Sink for Proxy {
    /// Opens what is new, closes what is gone, and swaps what is served elsewhere; connections stay.
    fn apply(&self, table: Arc<Table>) -> Vec<BindError> {
        let mut open = self.open();
        if open.ended {
            return Vec::new();
        }
        open.table = table.clone();
        let of = |transport| table.listeners.iter().filter(move |listener| listener.transport() == transport);
        let mut errors = open.receivers.apply(&self.workers, of(Transport::Udp));
        let wanted: HashMap<_, _> = of(Transport::Tcp).map(|listener| (listener.bind, listener)).collect();
        let gone: Vec<_> = open.slots.extract_if(|address, _| !wanted.contains_key(address)).collect();
        for (address, slot) in &gone {
            // First: see `close`.
            open.listening.remove(address);
            slot.closed.store(true, Ordering::Relaxed);
            slot.stop.cancel();
        }
        if !gone.is_empty() {
            self.workers.iter().for_each(|worker| _ = worker.send(Command::Look));
        }
        for listener in of(Transport::Tcp) {
            match open.slots.get(&listener.bind) {
                Some(slot) => slot.listener.store(Arc::new(listener.clone())),
                None => {
                    if let Err(error) = self.listen(&mut open, listener) {
                        errors.push(BindError::new(listener, &error));
                    }
                }
            }
        }
        open.inherited.clear();
        errors
    }
}
