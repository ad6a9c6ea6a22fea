//! Datagrams: UDP listeners, and the cluster addresses of UDP Services.
//!
//! UDP has no connections, so the proxy makes up sessions: all that comes from one client's address goes to one endpoint, through a
//! socket of its own, until neither has said anything for a while; what the endpoint answers there goes back from the address that
//! the client had asked. The kernel gives a client's datagrams to the same worker, by the hash of their addresses.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{net::UdpSocket, task::AbortHandle, time::MissedTickBehavior};

use super::{
    addressed::{Addressed, Client},
    upstream,
    worker::{Slot, Worker},
};
use crate::{
    balance::{Picked, hash},
    table::{Cluster, ListenerService, Split},
};

/// Sessions of one listener in one worker. At this number a new one takes the place of one that has been quiet.
const MAX_SESSIONS: usize = 4096;
/// How often sessions are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// What is received or sent in one go before others have their turn.
const BURST: usize = 64;
/// The longest datagram there can be.
const LARGEST: usize = 65_535;

/// One listener's socket in one worker, and its sessions.
struct Served {
    worker: Rc<Worker>,
    socket: Rc<Addressed>,
    buffer: Rc<RefCell<Box<[u8]>>>,
    sessions: HashMap<Client, Rc<Session>>,
    /// Clients in the order in which their sessions were made, or last spared.
    order: VecDeque<Client>,
}

/// What a client's address stands for.
struct Session {
    cluster: Arc<Cluster>,
    /// Counts as a request of the endpoint's for as long as the session lives.
    picked: RefCell<Picked>,
    endpoint: SocketAddr,
    socket: UdpSocket,
    used: Cell<Instant>,
    /// Used since it was last looked at for its place.
    busy: Cell<bool>,
    /// Nobody receives at the endpoint.
    dead: Cell<bool>,
    answering: RefCell<Option<AbortHandle>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(task) = self.answering.take() {
            task.abort();
        }
    }
}

/// Receives until the slot is stopped.
pub(super) async fn serve(worker: Rc<Worker>, socket: std::net::UdpSocket, slot: Arc<Slot>) {
    let socket = match Addressed::new(socket) {
        Ok(socket) => Rc::new(socket),
        Err(error) => return tracing::error!(error = %error, "a socket could not be registered"),
    };
    let buffer = Rc::new(RefCell::new(vec![0; LARGEST].into_boxed_slice()));
    let mut served =
        Served { worker, socket: socket.clone(), buffer, sessions: HashMap::new(), order: VecDeque::new() };
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = slot.stop.cancelled() => return,
            _ = sweep.tick(), if !served.sessions.is_empty() => served.sweep(&slot),
            readable = socket.readable() => match readable {
                Ok(()) => served.receive(&slot),
                Err(_) => return,
            },
        }
        tokio::task::yield_now().await;
    }
}

impl Served {
    /// Sends on what has arrived.
    fn receive(&mut self, slot: &Slot) {
        let listener = slot.listener.load();
        let ListenerService::Udp(split) = &listener.service else { return };
        let buffer = self.buffer.clone();
        let mut buffer = buffer.borrow_mut();
        for _ in 0..BURST {
            match self.socket.receive(&mut buffer) {
                Ok((length, client)) => self.forward(split, client, buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Of an earlier datagram, and of no use to anybody.
                Err(_) => {}
            }
        }
    }

    fn forward(&mut self, split: &Split, client: Client, datagram: &[u8]) {
        let mut tried = Vec::new();
        loop {
            let session = match self.sessions.get(&client).filter(|session| !session.dead.get()) {
                Some(session) => session.clone(),
                None => match self.open(split, client, &tried) {
                    Some(session) => session,
                    None => return,
                },
            };
            session.used.set(Instant::now());
            session.busy.set(true);
            // Not through the runtime, which does not know yet that a new socket can send.
            match SockRef::from(&session.socket).send(datagram) {
                // A full queue loses datagrams, as everywhere on their way.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock && tried.is_empty() => {
                    session.failed(&error);
                    tried.push(session.endpoint);
                }
                _ => return,
            }
        }
    }

    /// A session with an endpoint by weight and by the cluster's policy.
    fn open(&mut self, split: &Split, client: Client, tried: &[SocketAddr]) -> Option<Rc<Session>> {
        let cluster = split.choose(|total| self.worker.random.borrow_mut().u64(..total))?.clone();
        // What hashing could go by other than the address is not to be seen here.
        let key = cluster.policy().hash_on().map(|_| hash(client.address.ip().to_canonical().to_string().as_bytes()));
        let Some(picked) = upstream::next_endpoint(&self.worker, &cluster, tried, key) else {
            tracing::debug!(cluster = %cluster.name, "no endpoint is ready");
            // Datagrams are not kept: whoever wants an answer asks again.
            if let Some(sleeper) = cluster.sleeper() {
                sleeper.knock();
            }
            return None;
        };
        let endpoint = picked.address();
        let socket = match connected(endpoint) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%endpoint, cluster = %cluster.name, error = %error, "no socket for a session");
                return None;
            }
        };
        let session = Rc::new(Session {
            cluster,
            picked: RefCell::new(picked),
            endpoint,
            socket,
            used: Cell::new(Instant::now()),
            busy: Cell::new(false),
            dead: Cell::new(false),
            answering: RefCell::new(None),
        });
        // The task must not keep the session: the session's end is the task's.
        let (weak, listener, buffer) = (Rc::downgrade(&session), self.socket.clone(), self.buffer.clone());
        let task = tokio::task::spawn_local(async move {
            while let Some(session) = weak.upgrade() {
                if !session.answer(&listener, client, &buffer) {
                    return;
                }
                drop(session);
                let ready = std::future::poll_fn(|cx| match weak.upgrade() {
                    Some(session) => session.socket.poll_recv_ready(cx).map(|_| ()),
                    None => std::task::Poll::Ready(()),
                });
                ready.await;
            }
        });
        session.answering.replace(Some(task.abort_handle()));
        self.make_room();
        if self.sessions.insert(client, session.clone()).is_none() {
            self.order.push_back(client);
        }
        Some(session)
    }

    /// Ends a session that has not been used since the last look at it, if there are too many.
    fn make_room(&mut self) {
        while self.sessions.len() >= MAX_SESSIONS {
            let Some(client) = self.order.pop_front() else { return };
            match self.sessions.get(&client) {
                Some(session) if session.busy.take() => self.order.push_back(client),
                _ => _ = self.sessions.remove(&client),
            }
        }
    }

    /// Ends the sessions that have been quiet for too long, and those with endpoints that are gone; these a look later, for an
    /// answer may be on its way.
    fn sweep(&mut self, slot: &Slot) {
        let (now, listener) = (Instant::now(), slot.listener.load());
        let ListenerService::Udp(split) = &listener.service else { return self.sessions.clear() };
        let idle = self.worker.timeouts.datagrams;
        self.sessions.retain(|_, session| {
            let wanted = split.clusters().any(|cluster| Arc::ptr_eq(cluster, &session.cluster))
                && session.cluster.has(session.endpoint);
            let ended = session.dead.replace(session.dead.get() || !wanted);
            !ended && now.duration_since(session.used.get()) < idle
        });
        self.order.retain(|client| self.sessions.contains_key(client));
    }
}

impl Session {
    fn failed(&self, error: &io::Error) {
        tracing::debug!(endpoint = %self.endpoint, cluster = %self.cluster.name, error = %error, "datagrams do not arrive");
        self.picked.borrow_mut().failed(Instant::now);
        self.dead.set(true);
    }

    /// Sends back what the endpoint has answered; `false` at the session's end.
    fn answer(&self, listener: &Addressed, client: Client, buffer: &RefCell<Box<[u8]>>) -> bool {
        let mut buffer = buffer.borrow_mut();
        for _ in 0..BURST {
            match self.socket.try_recv(&mut buffer) {
                Ok(length) => {
                    self.used.set(Instant::now());
                    self.busy.set(true);
                    self.picked.borrow_mut().responded(Instant::now);
                    // A full queue loses datagrams, as everywhere on their way.
                    _ = listener.answer(buffer.get(..length).unwrap_or_default(), client);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => {
                    self.failed(&error);
                    return false;
                }
            }
        }
        true
    }
}

fn connected(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match endpoint {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(endpoint)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}
