//! The compiled routing table: immutable, built by `control` from objects, read by `proxy` on every request.
//!
//! Only plain data is public here; the indices that make a look-up cheap are private to `lookup` and built by
//! [`Routes::new`]. Endpoints change far more often than routes, so each [`Cluster`] holds them behind its own swap.

mod cluster;
mod consumers;
mod lookup;
mod names;
mod sleeper;
mod split;
mod tls;
mod weighted;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::policy::{Cors, Persistence, Retry};

pub use cluster::Cluster;
pub use consumers::{Callers, Consumers};
pub(crate) use lookup::{Asked, Unmet, Verdict};
pub use names::Names;
pub use sleeper::Sleeper;
pub(crate) use sleeper::Turn;
pub use split::{Share, Split};
pub use tls::{BackendTls, Certificates, Secured, TlsService};
pub(crate) use weighted::weighted;

/// Everything the proxy serves.
#[derive(Debug, Default)]
pub struct Table {
    /// One entry per address to listen on.
    pub listeners: Vec<Listener>,
}

impl Table {
    /// Every cluster that a Gateway's routes lead to, some perhaps more than once.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        let edges = self.listeners.iter().filter(|listener| listener.edge);
        let splits = edges.clone().flat_map(Listener::splits).flat_map(Split::clusters);
        rules(edges).flat_map(|rule| rule.clusters()).chain(splits)
    }

    /// Every rule of every listener, some perhaps more than once.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        rules(self.listeners.iter())
    }
}

fn rules<'a>(listeners: impl Iterator<Item = &'a Listener>) -> impl Iterator<Item = &'a Arc<Rule>> {
    let routes = listeners.flat_map(Listener::services).filter_map(ListenerService::hosts).flat_map(Names::values);
    routes.flat_map(|routes| routes.entries()).map(|entry| &entry.rule)
}

/// One address and what is served there.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The address to bind (already mapped from the Gateway's port to the published host port).
    pub bind: SocketAddr,
    /// Shown in logs: `namespace/gateway` or `namespace/service`.
    pub name: Arc<str>,
    /// What is spoken there.
    pub service: ListenerService,
    /// Whether strangers connect here (a Gateway), so that what they say of the client's address, the scheme or the
    /// request's id is not believed; pods calling a Service are.
    pub edge: bool,
    /// Who is served something else there.
    pub consumers: Option<Arc<Consumers>>,
}

impl Listener {
    /// What a caller is served.
    pub(crate) fn service_for(&self, caller: IpAddr) -> &ListenerService {
        let own = self.consumers.as_ref().and_then(|consumers| consumers.service(caller));
        own.unwrap_or(&self.service)
    }

    /// Everything that anybody is served.
    fn services(&self) -> impl Iterator<Item = &ListenerService> {
        let consumers = self.consumers.iter().flat_map(|consumers| consumers.services());
        std::iter::once(&self.service).chain(consumers.map(|(_, service)| service))
    }

    /// Where connections and datagrams go that are not HTTP.
    pub(crate) fn splits(&self) -> impl Iterator<Item = &Split> {
        self.services().flat_map(ListenerService::splits)
    }

    /// What its address is bound for.
    pub fn transport(&self) -> Transport {
        match self.service {
            ListenerService::Udp(_) => Transport::Udp,
            ListenerService::Http(_) | ListenerService::Tls(_) | ListenerService::Tcp(_) => Transport::Tcp,
        }
    }
}

/// What an address is bound for: one port may have a listener of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What a listener speaks.
#[derive(Debug, Clone)]
pub enum ListenerService {
    /// HTTP, routed by host and request.
    Http(Arc<Hosts>),
    /// TLS, which ends here or goes on, by the name that the client gives the server.
    Tls(Arc<Secured>),
    /// Bytes (a TCP listener, or a Service port that does not say it is HTTP).
    Tcp(Arc<Split>),
    /// Datagrams.
    Udp(Arc<Split>),
}

impl ListenerService {
    /// The routes, where requests are routed.
    pub fn hosts(&self) -> Option<&Hosts> {
        match self {
            Self::Http(hosts) => Some(hosts),
            Self::Tls(secured) => Some(&secured.hosts),
            Self::Tcp(_) | Self::Udp(_) => None,
        }
    }

    /// Where connections go that are not HTTP.
    fn splits(&self) -> Vec<&Split> {
        match self {
            Self::Http(_) => Vec::new(),
            Self::Tcp(split) | Self::Udp(split) => vec![split],
            Self::Tls(secured) => secured.splits().collect(),
        }
    }
}

/// Routes by host name.
pub type Hosts = Names<Arc<Routes>>;

/// The rules of one host name, in order of precedence.
#[derive(Debug)]
pub struct Routes {
    entries: Vec<Entry>,
    index: lookup::Index,
}

impl Routes {
    /// Routes over entries that are already in order of precedence (HTTPRoute's; `control` sorts): within one kind of path
    /// match, the first that holds is taken.
    pub fn new(entries: Vec<Entry>) -> Self {
        let index = lookup::Index::new(&entries);
        Self { entries, index }
    }

    /// Every match of every rule, most specific first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// One match and the rule it leads to.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The condition.
    pub matches: Match,
    /// What to do.
    pub rule: Arc<Rule>,
}

/// A conjunction of conditions on a request.
#[derive(Debug, Clone)]
pub struct Match {
    /// On the path, without the query.
    pub path: PathMatch,
    /// On the method.
    pub method: Option<Method>,
    /// All must hold.
    pub headers: Vec<(HeaderName, ValueMatch)>,
    /// All must hold; the first value of a repeated parameter counts.
    pub queries: Vec<(String, ValueMatch)>,
}

/// A condition on the path.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole path elements; stored without a trailing slash, so `/` is the empty string.
    Prefix(String),
    /// A regular expression that must match the whole path.
    Regex(regex::Regex),
    /// The second of exactly two elements: a gRPC method, of whatever service.
    Method(String),
}

/// A condition on a header or query parameter.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// The whole value.
    Exact(String),
    /// A regular expression that must match the whole value.
    Regex(regex::Regex),
}

/// One rule of a route.
#[derive(Debug)]
pub struct Rule {
    /// `namespace/route/rule`, for logs and metrics.
    pub name: Arc<str>,
    /// Changes to the request's headers.
    pub request_headers: HeaderChange,
    /// Changes to the response's headers.
    pub response_headers: HeaderChange,
    /// `URLRewrite`.
    pub rewrite: Option<Rewrite>,
    /// `timeouts.request`: for the whole exchange; zero or `None` is none.
    pub request_timeout: Option<Duration>,
    /// `timeouts.backendRequest`: for one try.
    pub backend_timeout: Option<Duration>,
    /// `CORS`.
    pub cors: Option<Cors>,
    /// `sessionPersistence`.
    pub persistence: Option<Persistence>,
    /// `retry`.
    pub retry: Option<Retry>,
    /// `RequestMirror`: who gets copies.
    pub mirrors: Vec<Mirror>,
    /// What answers.
    pub action: Action,
}

impl Rule {
    /// A rule that changes nothing and has no limits.
    pub fn new(name: Arc<str>, action: Action) -> Self {
        Self {
            name,
            request_headers: HeaderChange::default(),
            response_headers: HeaderChange::default(),
            rewrite: None,
            request_timeout: None,
            backend_timeout: None,
            cors: None,
            persistence: None,
            retry: None,
            mirrors: Vec::new(),
            action,
        }
    }

    /// The clusters that it leads to.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        let backends = match &self.action {
            Action::Forward(backends) => backends.as_slice(),
            Action::Redirect(_) | Action::Respond(_) => &[],
        };
        backends.iter().filter_map(|backend| backend.target.as_ref().ok())
    }
}

/// Header changes, applied in the order set, add, remove.
#[derive(Debug, Clone, Default)]
pub struct HeaderChange {
    /// Replace.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Append.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Remove.
    pub remove: Vec<HeaderName>,
}

impl HeaderChange {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// `URLRewrite`.
#[derive(Debug, Clone, Default)]
pub struct Rewrite {
    /// The new Host header.
    pub hostname: Option<HeaderValue>,
    /// The new path.
    pub path: Option<PathChange>,
}

/// `HTTPPathModifier`.
#[derive(Debug, Clone)]
pub enum PathChange {
    /// The whole path.
    Full(String),
    /// Replace the matched prefix (given without trailing slash) with this.
    Prefix {
        /// What matched.
        matched: String,
        /// What takes its place.
        replacement: String,
    },
}

/// What answers a request.
#[derive(Debug)]
pub enum Action {
    /// One of these backends, by weight.
    Forward(Vec<Backend>),
    /// `RequestRedirect`.
    Redirect(Redirect),
    /// A fixed status: 500 for a rule whose backends are all invalid or which has none.
    Respond(StatusCode),
}

/// One weighted backend of a rule.
#[derive(Debug)]
pub struct Backend {
    /// Its share; 0 receives nothing.
    pub weight: u32,
    /// Where to send, or the status to answer this share of requests with (an invalid backendRef: 500).
    pub target: Result<Arc<Cluster>, StatusCode>,
    /// Changes to the request's headers for this backend alone.
    pub request_headers: HeaderChange,
    /// Changes to the response's headers for this backend alone.
    pub response_headers: HeaderChange,
    /// `URLRewrite` for this backend, in the place of the rule's.
    pub rewrite: Option<Rewrite>,
    /// `RequestRedirect` for this backend's share of requests.
    pub redirect: Option<Redirect>,
    /// `RequestMirror` for this backend's share of requests.
    pub mirrors: Vec<Mirror>,
}

impl Backend {
    /// A backend that changes nothing.
    pub fn new(weight: u32, target: Result<Arc<Cluster>, StatusCode>) -> Self {
        let (request_headers, response_headers) = (HeaderChange::default(), HeaderChange::default());
        Self { weight, target, request_headers, response_headers, rewrite: None, redirect: None, mirrors: Vec::new() }
    }
}

/// `RequestMirror`.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Who gets copies.
    pub cluster: Arc<Cluster>,
    /// Of so many...
    pub part: u32,
    /// ...of so many requests; above 0.
    pub whole: u32,
}

/// `RequestRedirect`; what is `None` is taken from the request.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Host.
    pub hostname: Option<String>,
    /// Path.
    pub path: Option<PathChange>,
    /// Port; `None` is the one that the client asked at, or the scheme's well-known port if there is a `scheme`. The
    /// specification says the listener's port, which is not the one clients see where it is published at another.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// What is spoken with endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Upstream {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 by prior knowledge (`appProtocol: kubernetes.io/h2c`, and whatever a GRPCRoute leads to).
    Http2,
}
