//! A worker: one thread with its own runtime, its own listening sockets and its own connections to endpoints. Workers share
//! nothing that is locked while requests pass.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    sync::{Notify, mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::{
    Timeouts,
    buffer::Buffers,
    clock::Clock,
    datagrams,
    hold::Holding,
    http2,
    kept::Ledger,
    mirror::{self, Mirrors},
    pool::Pool,
    serve,
    side::{Side, Stream},
    tls, tunnel,
};
use crate::{
    observe::{Caller, Feed, Live, Observe, WorkerFigures},
    table::{Listener, ListenerService},
};

/// Between attempts to accept when the machine has no file descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// One open address, as its connections see it.
#[derive(Debug)]
pub(super) struct Slot {
    /// What is served now; swapped under live connections.
    pub listener: ArcSwap<Listener>,
    /// The address is not served any more: connections end after their request.
    pub closed: AtomicBool,
    /// Ends accepting.
    pub stop: CancellationToken,
}

impl Slot {
    pub fn new(listener: &Listener) -> Self {
        Self { listener: ArcSwap::from_pointee(listener.clone()), closed: false.into(), stop: CancellationToken::new() }
    }
}

/// What a worker is told.
pub(super) enum Command {
    /// Accept connections here.
    Accept(std::net::TcpListener, Arc<Slot>),
    /// Receive datagrams here.
    Receive(std::net::UdpSocket, Arc<Slot>),
    /// Look at what has changed: a slot was closed.
    Look,
    /// Say what has been counted; forget what is not there any more.
    Tell(Arc<Live>, oneshot::Sender<WorkerFigures>),
    /// Tell clients with their next response that their connection ends, but close none that waits for a request.
    Retire,
    /// Say when there is no connection left, or after this long.
    Emptied(Duration, oneshot::Sender<()>),
    /// Accept nothing more, finish what has begun, for at most this long; then say so.
    Drain(Duration, oneshot::Sender<()>),
}

/// What all connections of a worker share.
#[derive(Debug)]
pub(super) struct Worker {
    pub clock: Clock,
    pub buffers: RefCell<Buffers>,
    pub pool: Pool,
    pub http2: http2::Pool,
    pub random: RefCell<fastrand::Rng>,
    /// Copies of bodies.
    pub kept: Ledger,
    pub mirrors: Mirrors,
    /// Everything that waits for a Service that sleeps.
    pub holding: Arc<Holding>,
    pub observe: Rc<Observe>,
    /// Connections end after their request.
    retiring: Cell<bool>,
    /// Those that wait for a request end as well.
    draining: Cell<bool>,
    /// Sockets that are accepted from, or have not been emptied yet.
    accepting: Cell<usize>,
    connections: Cell<usize>,
    max_connections: usize,
    pub timeouts: Timeouts,
    /// A connection has ended.
    ended: Notify,
}

impl Worker {
    /// Whether a connection of this slot must end after its request.
    pub fn closing(&self, slot: &Slot) -> bool {
        self.retiring.get() || self.closing_idle(slot)
    }

    /// Whether a connection of this slot must end although it waits for a request.
    pub fn closing_idle(&self, slot: &Slot) -> bool {
        self.draining.get() || slot.closed.load(Ordering::Relaxed)
    }
}

/// Counts a connection for as long as it lives.
struct Counted(Rc<Worker>);

impl Counted {
    fn new(worker: Rc<Worker>) -> Self {
        worker.connections.set(worker.connections.get() + 1);
        Self(worker)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.ended.notify_waiters();
    }
}

/// Starts a worker's thread.
///
/// # Errors
/// What the machine refuses: a thread, an epoll instance.
pub(super) fn start(
    index: usize,
    max_connections: usize,
    timeouts: Timeouts,
    holding: Arc<Holding>,
    log: Option<Feed>,
) -> io::Result<mpsc::UnboundedSender<Command>> {
    let (sender, commands) = mpsc::unbounded_channel();
    let (started, result) = std::sync::mpsc::sync_channel(1);
    let run = move || match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => {
            _ = started.send(Ok(()));
            runtime.block_on(run(commands, max_connections, timeouts, holding, log));
        }
        Err(error) => _ = started.send(Err(error)),
    };
    std::thread::Builder::new().name(format!("proxy-{index}")).spawn(run)?;
    result.recv().map_err(|_| io::Error::other("the thread ended"))??;
    Ok(sender)
}

async fn run(
    mut commands: mpsc::UnboundedReceiver<Command>,
    max_connections: usize,
    timeouts: Timeouts,
    holding: Arc<Holding>,
    log: Option<Feed>,
) {
    let (mirrors, waiting) = Mirrors::new();
    let worker = Rc::new(Worker {
        clock: Clock::new(),
        buffers: RefCell::default(),
        pool: Pool::default(),
        http2: http2::Pool::default(),
        random: RefCell::new(fastrand::Rng::new()),
        kept: Ledger::default(),
        mirrors,
        holding,
        observe: Observe::new(log),
        retiring: Cell::new(false),
        draining: Cell::new(false),
        accepting: Cell::new(0),
        connections: Cell::new(0),
        max_connections,
        timeouts,
        ended: Notify::new(),
    });
    tokio::task::spawn_local(mirror::run(worker.clone(), waiting));
    let ticking = worker.clone();
    tokio::task::spawn_local(async move {
        let swept = |now| ticking.pool.sweep(now) | ticking.http2.sweep(now) | ticking.observe.flush();
        ticking.clock.run(swept).await;
    });
    while let Some(command) = commands.recv().await {
        match command {
            Command::Accept(listener, slot) => match TcpListener::from_std(listener) {
                Ok(listener) => {
                    worker.accepting.set(worker.accepting.get() + 1);
                    tokio::task::spawn_local(accept(worker.clone(), listener, slot));
                }
                Err(error) => tracing::error!(error = %error, "a listener could not be registered"),
            },
            Command::Receive(socket, slot) => {
                _ = tokio::task::spawn_local(datagrams::serve(worker.clone(), socket, slot));
            }
            Command::Look => worker.clock.wake_all(),
            // Whoever asked may have gone.
            Command::Tell(live, tell) => _ = tell.send(worker.observe.figures(&live, std::time::Instant::now())),
            Command::Retire => {
                worker.retiring.set(true);
                // HTTP/2 has a way of saying it at once.
                worker.clock.wake_all();
            }
            Command::Emptied(limit, done) => {
                _ = tokio::time::timeout(limit, drained(&worker)).await;
                _ = done.send(());
            }
            Command::Drain(limit, done) => {
                worker.draining.set(true);
                worker.clock.wake_all();
                _ = tokio::time::timeout(limit, drained(&worker)).await;
                _ = done.send(());
                return;
            }
        }
    }
}

async fn drained(worker: &Worker) {
    loop {
        let ended = worker.ended.notified();
        if worker.connections.get() == 0 && worker.accepting.get() == 0 {
            return;
        }
        ended.await;
    }
}

/// Accepts until the slot is stopped; connections that the kernel has completed by then are served as well.
async fn accept(worker: Rc<Worker>, listener: TcpListener, slot: Arc<Slot>) {
    let mut said = false;
    loop {
        let full = worker.connections.get() >= worker.max_connections;
        tokio::select! {
            biased;
            () = slot.stop.cancelled() => break,
            () = worker.ended.notified(), if full => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((stream, peer)) => {
                    said = false;
                    spawn(&worker, stream, peer, &slot);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(error = %error, "cannot accept connections; raise the limit of open files");
                    }
                    tokio::time::sleep(EXHAUSTED).await;
                }
            },
        }
    }
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, peer)) = listener.accept() {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                spawn(&worker, stream, peer, &slot);
            }
        }
    }
    worker.accepting.set(worker.accepting.get() - 1);
    worker.ended.notify_waiters();
}

/// The client was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted)
}

fn spawn(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, slot: &Arc<Slot>) {
    // Without it a small response may wait for the acknowledgement of the one before.
    _ = stream.set_nodelay(true);
    let (counted, worker, slot) = (Counted::new(worker.clone()), worker.clone(), slot.clone());
    let (service, seen) = {
        let listener = slot.listener.load();
        (
            listener.service_for(peer.ip().to_canonical()).clone(),
            Caller::open(&worker.observe, &listener, peer, || stream.local_addr()),
        )
    };
    // A panic ends its task alone; the hook has logged it. One task for each case: in one for all, the largest would be the size
    // of every connection.
    match service {
        ListenerService::Http(_) => {
            tokio::task::spawn_local(async move {
                let _counted = counted;
                serve::connection(&worker, &slot, Stream::Plain(stream), seen).await;
            });
        }
        ListenerService::Tls(secured) => {
            tokio::task::spawn_local(async move {
                let _counted = counted;
                tls::connection(&worker, &slot, stream, seen, secured).await;
            });
        }
        ListenerService::Tcp(split) => {
            tokio::task::spawn_local(async move {
                let _counted = counted;
                tunnel::to_split(&worker, Side::new(Stream::Plain(stream)), &seen, &split).await;
            });
        }
        // Datagrams have sockets of their own.
        ListenerService::Udp(_) => {}
    }
}
