//! What one worker counts. Nothing here is shared with other threads: counting is adding to a plain number.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;

use super::{
    figures::{
        CONNECTED, Connected, Held, HeldFigures, Listened, ListenerFigures, ListenerKey, Live, RouteFigures, RouteKey,
        TlsFault, WorkerFigures, increment,
    },
    load::Loads,
    log::{Feed, Texts, WorkerLog},
};
use crate::table::Listener;

/// Ways of requests that a worker counts apart; further ones are counted together, as [`OTHERS`].
const MAX_ROUTES: usize = 4096;
/// The name of what is over the bound.
const OTHERS: &str = "(others)";
/// Figures of a rule, cluster or listener that is gone are kept for so long after their last request, for a scraper to see
/// them.
const KEPT: Duration = Duration::from_secs(300);

/// Everything that a worker observes.
#[derive(Debug)]
pub(crate) struct Observe {
    listeners: RefCell<HashMap<ListenerKey, Rc<ListenerSeen>>>,
    /// How many ways are counted apart.
    routes: Cell<usize>,
    max_routes: usize,
    /// Connections to endpoints, by the name of their cluster.
    connected: RefCell<HashMap<Arc<str>, Connects>>,
    /// Endpoints that were asked for something; not those over the bound.
    endpoints: RefCell<HashMap<SocketAddr, Rc<EndpointSeen>, FixedState>>,
    /// Who waits for an endpoint, by the name of the cluster, and when it was last looked for one.
    held: RefCell<HashMap<Arc<str>, (HeldFigures, Instant)>>,
    log: Option<WorkerLog>,
    /// What moments are counted from.
    began: Instant,
}

/// What came of connections, and when the last was asked for.
type Connects = ([u64; CONNECTED.len()], Instant);

/// A listener's figures.
#[derive(Debug)]
pub(super) struct ListenerSeen {
    key: ListenerKey,
    pub figures: RefCell<ListenerFigures>,
    /// By the rule's name; each has few clusters.
    routes: RefCell<HashMap<Arc<str>, Vec<Rc<Route>>, FixedState>>,
    /// Requests that came to no rule.
    unrouted: Rc<Route>,
    /// When a connection was last seen.
    last: Cell<Instant>,
}

/// The figures of one way: a rule and a cluster.
#[derive(Debug)]
pub(super) struct Route {
    pub key: RouteKey,
    pub figures: RefCell<RouteFigures>,
    /// When a request last ended.
    pub last: Cell<Instant>,
}

/// What one endpoint has to do for this worker.
#[derive(Debug)]
pub(super) struct EndpointSeen {
    pub address: SocketAddr,
    pub loads: RefCell<Loads>,
    /// When something of its ended.
    pub last: Cell<Instant>,
}

impl Route {
    fn new(rule: Arc<str>, cluster: Arc<str>) -> Rc<Self> {
        Rc::new(Self { key: (rule, cluster), figures: RefCell::default(), last: Cell::new(Instant::now()) })
    }
}

impl Observe {
    /// Counts, and writes to the access log if there is one.
    pub fn new(log: Option<Feed>) -> Rc<Self> {
        Self::bounded(MAX_ROUTES, log)
    }

    fn bounded(max_routes: usize, log: Option<Feed>) -> Rc<Self> {
        let log = log.map(WorkerLog::new);
        Rc::new(Self {
            listeners: RefCell::default(),
            routes: Cell::new(0),
            max_routes,
            connected: RefCell::default(),
            held: RefCell::default(),
            endpoints: RefCell::default(),
            log,
            began: Instant::now(),
        })
    }

    /// A moment as it is counted.
    pub(super) fn moment(&self, at: Instant) -> u64 {
        nanoseconds(at.saturating_duration_since(self.began))
    }

    /// Where what an endpoint has to do is counted.
    pub(super) fn endpoint(&self, address: SocketAddr) -> Rc<EndpointSeen> {
        let mut endpoints = self.endpoints.borrow_mut();
        if let Some(known) = endpoints.get(&address) {
            return known.clone();
        }
        let seen = EndpointSeen { address, loads: RefCell::default(), last: Cell::new(Instant::now()) };
        let seen = Rc::new(seen);
        if endpoints.len() < self.max_routes {
            endpoints.insert(address, seen.clone());
        }
        seen
    }

    pub(super) fn log(&self) -> Option<&WorkerLog> {
        self.log.as_ref()
    }

    /// Hands the lines of the access log over; `true` if there were some.
    pub fn flush(&self) -> bool {
        self.log.as_ref().is_some_and(WorkerLog::flush)
    }

    fn listener(&self, listener: &Listener) -> Rc<ListenerSeen> {
        let key = ListenerKey::of(listener);
        let mut listeners = self.listeners.borrow_mut();
        let new = |key: ListenerKey| ListenerSeen {
            key,
            figures: RefCell::default(),
            routes: RefCell::default(),
            unrouted: Route::new("".into(), "".into()),
            last: Cell::new(Instant::now()),
        };
        listeners.entry(key.clone()).or_insert_with(|| Rc::new(new(key))).clone()
    }

    /// Where requests of a listener are counted that go by this rule to this cluster.
    pub(super) fn route(&self, listener: &ListenerSeen, rule: &Arc<str>, cluster: &str) -> Rc<Route> {
        let mut routes = listener.routes.borrow_mut();
        let of_rule = routes.get(rule).map(Vec::as_slice).unwrap_or_default();
        if let Some(known) = of_rule.iter().find(|route| *route.key.1 == *cluster) {
            return known.clone();
        }
        let (rule, cluster): RouteKey = if self.routes.get() < self.max_routes {
            self.routes.set(self.routes.get() + 1);
            (rule.clone(), cluster.into())
        } else {
            if let Some(others) = routes.get(OTHERS).and_then(|routes| routes.first()) {
                return others.clone();
            }
            (OTHERS.into(), OTHERS.into())
        };
        let route = Route::new(rule.clone(), cluster);
        routes.entry(rule).or_default().push(route.clone());
        route
    }

    /// A connection to an endpoint of a cluster was asked for.
    pub fn connected(&self, cluster: &Arc<str>, how: Connected) {
        let mut connected = self.connected.borrow_mut();
        let known = connected.len() < self.max_routes || connected.contains_key(cluster);
        let name = if known { cluster.clone() } else { OTHERS.into() };
        let (counts, last) = connected.entry(name).or_insert_with(|| ([0; CONNECTED.len()], Instant::now()));
        increment(counts, how as usize);
        *last = Instant::now();
    }

    fn of_held(&self, cluster: &Arc<str>, count: impl FnOnce(&mut HeldFigures)) -> Arc<str> {
        let mut held = self.held.borrow_mut();
        let known = held.len() < self.max_routes || held.contains_key(cluster);
        let name = if known { cluster.clone() } else { OTHERS.into() };
        let (figures, last) = held.entry(name.clone()).or_insert_with(|| (HeldFigures::default(), Instant::now()));
        count(figures);
        *last = Instant::now();
        name
    }

    /// A request or a connection begins to wait for an endpoint of a cluster; returns the name that it is counted under.
    pub fn holds(&self, cluster: &Arc<str>) -> Arc<str> {
        self.of_held(cluster, |figures| figures.now += 1)
    }

    /// Under the name that [`Observe::holds`] gave: the wait is over.
    pub fn held(&self, counted: &Arc<str>, how: Held, waited: Duration) {
        self.of_held(counted, |figures| {
            figures.now = figures.now.saturating_sub(1);
            increment(&mut figures.ended, how as usize);
            figures.nanoseconds = figures.nanoseconds.wrapping_add(nanoseconds(waited));
        });
    }

    /// A request or a connection may not wait.
    pub fn not_held(&self, cluster: &Arc<str>) {
        self.of_held(cluster, |figures| increment(&mut figures.ended, Held::Full as usize));
    }

    /// The numbers now. What `live` does not have any more is forgotten, if it has not been used for a while.
    pub fn figures(&self, live: &Live, now: Instant) -> WorkerFigures {
        let is_old = |last: &Cell<Instant>| now.saturating_duration_since(last.get()) >= KEPT;
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|key, seen| {
            live.has_listener(key) || seen.figures.borrow().open_connections > 0 || !is_old(&seen.last)
        });
        let log_lines = self.log.as_ref().map(WorkerLog::counts).unwrap_or_default();
        let mut all = WorkerFigures { log_lines, ..WorkerFigures::default() };
        let mut counted = 0;
        for seen in listeners.values() {
            let mut listened = Listened { figures: seen.figures.borrow().clone(), ..Listened::default() };
            let mut routes = seen.routes.borrow_mut();
            routes.retain(|_, routes| {
                routes.retain(|route| *route.key.0 == *OTHERS || live.has_route(&route.key) || !is_old(&route.last));
                counted += routes.len();
                !routes.is_empty()
            });
            for route in routes.values().flatten().chain([&seen.unrouted]) {
                let figures = route.figures.borrow();
                if figures.is_used() || figures.loads.is_used() {
                    let loads = figures.loads.until(self.moment(now));
                    listened.routes.insert(route.key.clone(), RouteFigures { loads, ..figures.clone() });
                }
            }
            all.listeners.insert(seen.key.clone(), listened);
        }
        self.routes.set(counted);
        let mut connected = self.connected.borrow_mut();
        connected.retain(|cluster, (_, last)| {
            **cluster == *OTHERS || live.has(cluster) || now.saturating_duration_since(*last) < KEPT
        });
        let mut endpoints = self.endpoints.borrow_mut();
        endpoints
            .retain(|address, seen| live.has_endpoint(address) || Rc::strong_count(seen) > 1 || !is_old(&seen.last));
        let told = endpoints.iter().map(|(address, seen)| (*address, seen.loads.borrow().until(self.moment(now))));
        all.endpoints = told.collect();
        let mut held = self.held.borrow_mut();
        held.retain(|cluster, (figures, last)| {
            figures.now > 0 || **cluster == *OTHERS || live.has(cluster) || now.saturating_duration_since(*last) < KEPT
        });
        all.held = held.iter().map(|(cluster, (figures, _))| (cluster.clone(), *figures)).collect();
        all.connected = connected.iter().map(|(cluster, (counts, _))| (cluster.clone(), *counts)).collect();
        all
    }
}

/// A client's connection, as long as it lives.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(super) observe: Rc<Observe>,
    pub(super) listener: Rc<ListenerSeen>,
    pub(super) edge: bool,
    pub(super) peer: SocketAddr,
    /// Where the client connected to.
    pub(super) local: SocketAddr,
    /// Both as text; empty without a log.
    pub(super) texts: Texts,
    pub(super) session: RefCell<Option<Box<Session>>>,
}

/// What a TLS handshake has come to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    /// What the client called the server; empty if it did not say.
    pub server_name: Box<str>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite.
    pub cipher: &'static str,
}

impl Session {
    /// Of a handshake that is over.
    pub fn of(tls: &rustls::ServerConnection) -> Self {
        let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Self {
            server_name: tls.server_name().unwrap_or_default().to_ascii_lowercase().into(),
            version: if tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2) {
                "TLSv1.2"
            } else {
                "TLSv1.3"
            },
            cipher: cipher.unwrap_or_default(),
        }
    }
}

impl Caller {
    /// Counts a connection from `peer` until it is dropped; `local` says where it was made to, if somebody wants to know.
    pub fn open(
        observe: &Rc<Observe>,
        listener: &Listener,
        peer: SocketAddr,
        local: impl FnOnce() -> io::Result<SocketAddr>,
    ) -> Rc<Self> {
        let seen = observe.listener(listener);
        {
            let mut figures = seen.figures.borrow_mut();
            figures.connections += 1;
            figures.open_connections += 1;
        }
        let asked = observe.log.is_some() && listener.bind.ip().is_unspecified();
        let local = if asked { local().unwrap_or(listener.bind) } else { listener.bind };
        let texts = if observe.log.is_some() { Texts::new(peer, local) } else { Texts::default() };
        let session = RefCell::new(None);
        Rc::new(Self { observe: observe.clone(), listener: seen, edge: listener.edge, peer, local, texts, session })
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// A handshake is over.
    pub fn secured(&self, session: Session) {
        increment(&mut self.listener.figures.borrow_mut().handshakes, usize::from(session.version != "TLSv1.2"));
        self.session.replace(Some(Box::new(session)));
    }

    /// No TLS connection came about.
    pub fn not_secured(&self, fault: TlsFault) {
        increment(&mut self.listener.figures.borrow_mut().tls_faults, fault as usize);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.listener.figures.borrow_mut().open_connections -= 1;
        self.listener.last.set(Instant::now());
    }
}

/// A duration as it is counted; one of centuries is as long as all others of that sort.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl ListenerSeen {
    pub fn name(&self) -> &str {
        &self.key.name
    }

    pub fn unrouted(&self) -> Rc<Route> {
        self.unrouted.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Protocol, Recording};
    use crate::table::{Hosts, ListenerService, Table};

    fn listener() -> Listener {
        Listener {
            bind: "127.0.0.1:80".parse().unwrap(),
            name: "a/b".into(),
            service: ListenerService::Http(Arc::new(Hosts::default())),
            edge: true,
            consumers: None,
        }
    }

    fn peer() -> SocketAddr {
        "127.0.0.1:1".parse().unwrap()
    }

    fn request(caller: &Rc<Caller>, rule: &str) {
        let mut recording = Recording::start(caller, Protocol::Http11);
        recording.routed(&rule.into(), Some("cluster"));
        recording.responded(200, true);
        recording.done();
    }

    fn rules(figures: &WorkerFigures) -> Vec<&str> {
        figures.listeners.values().flat_map(|l| l.routes.keys()).map(|(rule, _)| &**rule).collect()
    }

    #[test]
    fn ways_over_the_bound_are_counted_together() {
        let observe = Observe::bounded(2, None);
        let caller = Caller::open(&observe, &listener(), peer(), || Ok(peer()));
        for rule in ["1", "2", "3", "4", "1"] {
            request(&caller, rule);
        }
        let figures = observe.figures(&Live::default(), Instant::now());
        assert_eq!(rules(&figures), [OTHERS, "1", "2"]);
        let classes = figures.listeners.values().flat_map(|l| l.routes.values()).flat_map(RouteFigures::classes);
        let counts = classes.map(|(_, class)| class.requests[0]);
        assert_eq!(counts.collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[test]
    fn what_is_gone_and_unused_for_a_while_is_forgotten_and_makes_room() {
        let observe = Observe::bounded(1, None);
        let caller = Caller::open(&observe, &listener(), peer(), || Ok(peer()));
        request(&caller, "1");
        let now = Instant::now();
        let live = Live::new(&Table { listeners: vec![listener()] });
        assert_eq!(rules(&observe.figures(&live, now + KEPT / 2)), ["1"]);
        assert!(rules(&observe.figures(&live, now + KEPT * 2)).is_empty());
        request(&caller, "2");
        assert_eq!(rules(&observe.figures(&live, Instant::now())), ["2"]);
    }

    #[test]
    fn an_endpoint_is_known_for_as_long_as_it_is_there_or_has_something_to_do() {
        let observe = Observe::bounded(1, None);
        let caller = Caller::open(&observe, &listener(), peer(), || Ok(peer()));
        let told = |later| observe.figures(&Live::default(), Instant::now() + later).endpoints;
        let mut recording = Recording::start(&caller, Protocol::Http11);
        recording.tried(peer(), Instant::now());
        assert_eq!(told(KEPT * 2)[&peer()].requests.open, 1);
        recording.responded(500, true);
        recording.done();
        drop(recording);
        let requests = told(KEPT / 2)[&peer()].requests.clone();
        assert_eq!((requests.begun, requests.open, requests.failed), (1, 0, 1));
        // Over the bound.
        Recording::start(&caller, Protocol::Http11).tried("127.0.0.1:2".parse().unwrap(), Instant::now());
        assert_eq!(told(KEPT / 2).len(), 1);
        assert!(told(KEPT * 2).is_empty());
    }

    #[test]
    fn a_try_of_another_endpoint_is_a_failure_of_the_first() {
        let observe = Observe::new(None);
        let caller = Caller::open(&observe, &listener(), peer(), || Ok(peer()));
        let (first, second) = (peer(), "127.0.0.1:2".parse().unwrap());
        let mut recording = Recording::start(&caller, Protocol::Http11);
        recording.tried(first, Instant::now());
        recording.tried(second, Instant::now());
        recording.responded(200, true);
        recording.done();
        drop(recording);
        let endpoints = observe.figures(&Live::default(), Instant::now()).endpoints;
        let counts = |address| {
            let requests = &endpoints[&address].requests;
            (requests.begun, requests.open, requests.failed, requests.took().is_some())
        };
        assert_eq!((counts(first), counts(second)), ((1, 0, 1, false), (1, 0, 0, true)));
    }

    #[test]
    fn a_request_that_is_on_its_way_is_its_routes_and_nobody_elses() {
        let observe = Observe::new(None);
        let caller = Caller::open(&observe, &listener(), peer(), || Ok(peer()));
        let mut recording = Recording::start(&caller, Protocol::Http11);
        recording.routed(&"rule".into(), Some("cluster"));
        let now = Instant::now() + Duration::from_secs(1);
        let figures = observe.figures(&Live::default(), now);
        let [(_, (rule, _), loads)] = figures.ways().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((&**rule, loads.requests.open, loads.requests.begun), ("rule", 1, 1));
        assert!(loads.requests.busy() >= 1_000_000_000, "{loads:?}");
    }

    #[test]
    fn a_listener_that_is_gone_is_kept_while_it_has_connections() {
        let observe = Observe::new(None);
        let caller = Caller::open(&observe, &listener(), peer(), || Ok(peer()));
        let later = Instant::now() + KEPT * 2;
        assert_eq!(observe.figures(&Live::default(), later).listeners.len(), 1);
        drop(caller);
        assert!(observe.figures(&Live::default(), later + KEPT).listeners.is_empty());
    }
}
