//! Plain numbers: what a worker counts, how the numbers of several are summed.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use super::{
    flags::{FLAGS, Fault},
    load::Loads,
};
use crate::table::{Listener, Table};

/// Upper bounds of the durations' buckets, in nanoseconds; the last bucket has none.
pub(super) const BOUNDS: [u64; 16] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Classes of status: none at all, 1xx to 5xx.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why no TLS connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TlsFault {
    /// It took too long.
    Timeout,
    /// The client closed its connection.
    Closed,
    /// What the client sent is not TLS: HTTP in the clear, more often than not.
    NotTls,
    /// No listener has a certificate for the name that the client asked for.
    NoCertificate,
    /// Client and proxy share no version, cipher, group or application protocol.
    NothingInCommon,
    /// The client refuses the certificate.
    Refused,
    /// The client's own certificate is missing or not good.
    ClientCertificate,
    /// Something else.
    Other,
}

/// The faults as labels, in the order of their numbers.
pub(super) const TLS_FAULTS: [&str; 8] = [
    "timeout",
    "closed",
    "not_tls",
    "no_certificate",
    "nothing_in_common",
    "certificate_refused",
    "client_certificate",
    "other",
];

impl TlsFault {
    /// What kind of failure of a handshake this is.
    pub fn of(error: &std::io::Error) -> Self {
        use rustls::{AlertDescription as Alert, Error, InvalidMessage};
        let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else { return Self::Closed };
        match error {
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::NothingInCommon,
            // This is how rustls says that nothing was found to present.
            Error::General(text) if text.contains("no server certificate") => Self::NoCertificate,
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Self::ClientCertificate,
            Error::AlertReceived(
                Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA,
            ) => Self::Refused,
            Error::AlertReceived(Alert::ProtocolVersion | Alert::HandshakeFailure) => Self::NothingInCommon,
            Error::AlertReceived(Alert::CloseNotify | Alert::UserCanceled) => Self::Closed,
            _ => Self::Other,
        }
    }
}

/// What is counted of requests that were answered with one class of status.
#[derive(Debug, Clone, Default)]
pub(super) struct ClassFigures {
    pub requests: [u64; Fault::ALL.len()],
    /// How many took at most so long, each in one bucket.
    pub buckets: [u64; BOUNDS.len() + 1],
    pub nanoseconds: u64,
}

/// What is counted of the requests, or the connections, that took one way.
#[derive(Debug, Clone, Default)]
pub(super) struct RouteFigures {
    /// By class of status, once there is a request of it: few ways have all of them.
    pub classes: [Option<Box<ClassFigures>>; CLASSES.len()],
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub retries: u64,
    /// Connections whose bytes mean nothing to the proxy, by fault.
    pub connections: [u64; Fault::ALL.len()],
    pub loads: Loads,
}

impl RouteFigures {
    /// Counts one request.
    pub fn count(&mut self, status: u16, fault: Fault, nanoseconds: u64) {
        let class = usize::from(status / 100).min(CLASSES.len() - 1);
        let Some(class) = self.classes.get_mut(class) else { return };
        let class = class.get_or_insert_default();
        increment(&mut class.requests, fault as usize);
        increment(&mut class.buckets, BOUNDS.partition_point(|bound| *bound < nanoseconds));
        class.nanoseconds = class.nanoseconds.wrapping_add(nanoseconds);
    }

    /// Whether something has ended.
    pub fn is_used(&self) -> bool {
        self.classes.iter().any(Option::is_some) || self.connections.iter().any(|count| *count > 0)
    }

    /// The classes that there are requests of, with their names.
    pub fn classes(&self) -> impl Iterator<Item = (&'static str, &ClassFigures)> {
        CLASSES.iter().zip(&self.classes).filter_map(|(name, class)| Some((*name, class.as_deref()?)))
    }

    fn add(&mut self, other: &Self) {
        for (mine, others) in self.classes.iter_mut().zip(&other.classes) {
            let Some(others) = others else { continue };
            let mine = mine.get_or_insert_default();
            add(&mut mine.requests, &others.requests);
            add(&mut mine.buckets, &others.buckets);
            mine.nanoseconds = mine.nanoseconds.wrapping_add(others.nanoseconds);
        }
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.retries += other.retries;
        add(&mut self.connections, &other.connections);
        self.loads.add(&other.loads);
    }
}

/// What came of connecting to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Connected {
    /// There is a connection.
    Yes,
    /// Nobody takes connections there.
    Refused,
    /// It took too long.
    TimedOut,
    /// There is one, but TLS did not come about on it.
    NotSecured,
}

/// These as labels, in the order of their numbers.
pub(super) const CONNECTED: [&str; 4] = ["opened", "refused", "timeout", "tls"];

/// How the wait for an endpoint of a Service that sleeps has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Held {
    /// There was one to ask.
    Released,
    /// None came in time.
    Late,
    /// It did not begin: no more may wait.
    Full,
    /// The client went away.
    Gone,
    /// The Service does not sleep any more.
    Off,
}

/// These as labels, in the order of their numbers.
pub(super) const HELD: [&str; 5] = ["released", "timeout", "overflow", "client_gone", "off"];

/// What is counted of the wait for one cluster's endpoints.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HeldFigures {
    /// Those who wait now.
    pub now: u64,
    pub ended: [u64; HELD.len()],
    pub nanoseconds: u64,
}

impl HeldFigures {
    fn add(&mut self, other: &Self) {
        self.now += other.now;
        add(&mut self.ended, &other.ended);
        self.nanoseconds = self.nanoseconds.wrapping_add(other.nanoseconds);
    }
}

/// What is counted of a listener.
#[derive(Debug, Clone, Default)]
pub(super) struct ListenerFigures {
    pub connections: u64,
    pub open_connections: u64,
    pub open_requests: u64,
    /// Whole TLS handshakes: of version 1.2, of 1.3.
    pub handshakes: [u64; 2],
    pub tls_faults: [u64; TLS_FAULTS.len()],
    pub flags: [u64; FLAGS],
}

impl ListenerFigures {
    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.open_connections += other.open_connections;
        self.open_requests += other.open_requests;
        add(&mut self.handshakes, &other.handshakes);
        add(&mut self.tls_faults, &other.tls_faults);
        add(&mut self.flags, &other.flags);
    }
}

fn add(sums: &mut [u64], others: &[u64]) {
    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
}

/// Adds one to the number at `index`.
pub(super) fn increment(counts: &mut [u64], index: usize) {
    if let Some(count) = counts.get_mut(index) {
        *count += 1;
    }
}

/// Which listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListenerKey {
    /// `namespace/gateway` or `namespace/service`.
    pub name: Arc<str>,
    /// Where it is bound.
    pub port: u16,
    /// Whether it is a Gateway's: a Service may have the same name.
    pub edge: bool,
}

impl ListenerKey {
    /// That of a listener of a table.
    pub fn of(listener: &Listener) -> Self {
        Self { name: listener.name.clone(), port: listener.bind.port(), edge: listener.edge }
    }
}

/// Which way: the rule and the cluster, empty where a request came to none.
pub(crate) type RouteKey = (Arc<str>, Arc<str>);

/// A listener and the ways from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Listened {
    pub figures: ListenerFigures,
    pub routes: BTreeMap<RouteKey, RouteFigures>,
}

impl Listened {
    fn add(&mut self, other: Self) {
        self.figures.add(&other.figures);
        for (key, figures) in other.routes {
            self.routes.entry(key).or_default().add(&figures);
        }
    }
}

/// Everything that a worker has counted, or several together.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkerFigures {
    pub(super) listeners: BTreeMap<ListenerKey, Listened>,
    /// Connections to endpoints, by the name of their cluster.
    pub(super) connected: BTreeMap<Arc<str>, [u64; CONNECTED.len()]>,
    /// What endpoints have to do.
    pub(super) endpoints: BTreeMap<SocketAddr, Loads>,
    /// Requests and connections that wait for an endpoint, by the name of their cluster.
    pub(super) held: BTreeMap<Arc<str>, HeldFigures>,
    /// Lines that were given to the access log's writer, and lines that it could not take.
    pub(super) log_lines: [u64; 2],
}

impl WorkerFigures {
    /// So many of the lines could not be written after all.
    pub fn log_failed(&mut self, lines: u64) {
        let [written, dropped] = self.log_lines;
        self.log_lines = [written.saturating_sub(lines), dropped + lines];
    }

    /// The same with listeners of one name and port together, whatever they are of: that is all that labels say.
    pub fn by_name(mut self) -> Self {
        for (key, listened) in std::mem::take(&mut self.listeners) {
            self.listeners.entry(ListenerKey { edge: true, ..key }).or_default().add(listened);
        }
        self
    }

    /// What every way has to do: by its listener, rule and cluster.
    pub fn ways(&self) -> impl Iterator<Item = (&ListenerKey, &RouteKey, &Loads)> {
        self.listeners.iter().flat_map(|(listener, listened)| {
            listened.routes.iter().map(move |(route, figures)| (listener, route, &figures.loads))
        })
    }

    /// What every endpoint has to do.
    pub fn endpoints(&self) -> impl Iterator<Item = (SocketAddr, &Loads)> {
        self.endpoints.iter().map(|(endpoint, loads)| (*endpoint, loads))
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: Self) {
        for (key, listened) in other.listeners {
            self.listeners.entry(key).or_default().add(listened);
        }
        for (endpoint, loads) in other.endpoints {
            self.endpoints.entry(endpoint).or_default().add(&loads);
        }
        for (cluster, counts) in other.connected {
            add(self.connected.entry(cluster).or_default(), &counts);
        }
        for (cluster, held) in other.held {
            self.held.entry(cluster).or_default().add(&held);
        }
        add(&mut self.log_lines, &other.log_lines);
    }
}

/// The names that a table has: what has another name is not counted for much longer.
#[derive(Debug, Default)]
pub(crate) struct Live {
    listeners: HashSet<ListenerKey>,
    names: HashSet<Arc<str>>,
    endpoints: HashSet<SocketAddr>,
}

impl Live {
    pub fn new(table: &Table) -> Self {
        let mut live = Self::default();
        live.listeners.extend(table.listeners.iter().map(ListenerKey::of));
        let of_splits = table.listeners.iter().flat_map(Listener::splits).flat_map(|split| split.clusters());
        for rule in table.rules() {
            live.name(&rule.name);
        }
        for cluster in table.rules().flat_map(|rule| rule.clusters()).chain(of_splits) {
            // Most are led to from many places.
            if live.name(&cluster.name) {
                live.endpoints.extend(cluster.addresses());
            }
        }
        live
    }

    /// Whether it is new.
    fn name(&mut self, name: &Arc<str>) -> bool {
        !self.names.contains(name) && self.names.insert(name.clone())
    }

    pub(super) fn has_endpoint(&self, address: &SocketAddr) -> bool {
        self.endpoints.contains(address)
    }

    pub(super) fn has_listener(&self, key: &ListenerKey) -> bool {
        self.listeners.contains(key)
    }

    /// Whether both the rule and the cluster are there still; an empty name is that of none.
    pub(super) fn has_route(&self, (rule, cluster): &RouteKey) -> bool {
        [rule, cluster].into_iter().all(|name| name.is_empty() || self.has(name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let mut figures = RouteFigures::default();
        for nanoseconds in [0, 500_000, 500_001, 60_000_000_000, 60_000_000_001] {
            figures.count(200, Fault::None, nanoseconds);
        }
        let [(name, class)] = figures.classes().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((class.buckets[..2].to_vec(), class.buckets[15..].to_vec()), (vec![2, 1], vec![1, 1]));
        assert_eq!((name, class.requests), ("2xx", [5, 0, 0, 0]));
    }

    #[test]
    fn the_figures_of_workers_are_summed_by_what_they_are_of() {
        let figures = |port| {
            let mut listened = Listened::default();
            listened.figures.connections = 1;
            let mut route = RouteFigures::default();
            route.count(404, Fault::Client, 1);
            listened.routes.insert(("rule".into(), "cluster".into()), route);
            let connected = [("cluster".into(), [1, 0, 0, 0])].into();
            let held = [("cluster".into(), HeldFigures { now: 1, ..HeldFigures::default() })].into();
            let key = ListenerKey { name: "listener".into(), port, edge: true };
            let endpoints = [(SocketAddr::from(([127, 0, 0, 1], 80)), Loads::default())].into();
            WorkerFigures { listeners: [(key, listened)].into(), connected, endpoints, held, log_lines: [1, 0] }
        };
        let mut sum = figures(1);
        sum.add(figures(1));
        sum.add(figures(2));
        let connections: Vec<_> = sum.listeners.values().map(|listened| listened.figures.connections).collect();
        assert_eq!((connections, sum.log_lines), (vec![2, 1], [3, 0]));
        let route = sum.listeners.values().next().unwrap().routes.values().next().unwrap();
        let [(name, class)] = route.classes().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((name, class.requests, class.buckets[0]), ("4xx", [0, 2, 0, 0], 2));
        assert_eq!((sum.connected["cluster"], sum.endpoints.len()), ([3, 0, 0, 0], 1));
        assert_eq!(sum.held["cluster"].now, 3);
    }
}
