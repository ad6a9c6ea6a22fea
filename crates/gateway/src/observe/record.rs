//! One request, from its head to its end.

use std::{
    borrow::Cow,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderName;

use super::{
    figures::increment,
    flags::{Fault, Flag, Flags},
    local::{Caller, EndpointSeen, Route, nanoseconds},
    log::Captured,
};
use crate::table::Asked;

/// What the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// What is known of a request so far.
#[derive(Debug)]
pub(super) struct Record {
    pub started: Instant,
    /// The same as it is counted.
    began: u64,
    /// `None`: not a request, but a connection whose bytes mean nothing to the proxy.
    pub protocol: Option<Protocol>,
    /// 0 while no response has begun.
    pub status: u16,
    /// The response is the endpoint's.
    pub by_endpoint: bool,
    /// The client has all of its response.
    pub done: bool,
    pub flags: Flags,
    /// Endpoints that were asked.
    pub tries: u8,
    /// The last of these, and the moment when it was asked.
    tried: Option<(Rc<EndpointSeen>, u64)>,
    /// Bytes of the request's body that were taken, and of the response's that were sent.
    pub received: u64,
    pub sent: u64,
    /// The one that the proxy gave it.
    pub request_id: Option<[u8; 36]>,
    pub trace: Option<u128>,
    /// When the response began, if somebody wants to know.
    pub response_began: Option<Instant>,
    pub route: Rc<Route>,
}

impl Record {
    /// Whose fault it was that something went wrong.
    pub fn fault(&self) -> Fault {
        self.flags.fault(self.status, self.by_endpoint)
    }

    /// The endpoint that was asked last.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.tried.as_ref().map(|(endpoint, _)| endpoint.address)
    }

    fn is_request(&self) -> bool {
        self.protocol.is_some()
    }

    /// Whether how long it took says something of who serves it: an endpoint answered, or did not in time. Not of what the
    /// proxy answers at once, lest failing look quick; nor of another protocol's connection, which lasts as long as it likes.
    fn is_timed(&self) -> bool {
        let answered = self.by_endpoint || self.tried.is_some() && self.flags.waited_in_vain();
        self.is_request() && answered && self.status / 100 != 1
    }
}

/// A request while it is on its way; counted, and written to the access log, when it is dropped.
#[derive(Debug)]
pub(crate) struct Recording {
    caller: Rc<Caller>,
    record: Record,
    /// What the access log needs of the messages, if there is one.
    captured: Option<Box<Captured>>,
}

impl Recording {
    /// A request's head has arrived, or something that cannot be taken for one.
    pub fn start(caller: &Rc<Caller>, protocol: Protocol) -> Self {
        caller.listener.figures.borrow_mut().open_requests += 1;
        Self::new(caller, Some(protocol))
    }

    /// A connection is to be joined to an endpoint, whatever its bytes mean.
    pub fn connection(caller: &Rc<Caller>) -> Self {
        Self::new(caller, None)
    }

    fn new(caller: &Rc<Caller>, protocol: Option<Protocol>) -> Self {
        let started = Instant::now();
        let began = caller.observe.moment(started);
        let record = Record {
            started,
            began,
            protocol,
            status: 0,
            by_endpoint: false,
            done: false,
            flags: Flags::default(),
            tries: 0,
            tried: None,
            received: 0,
            sent: 0,
            request_id: None,
            trace: None,
            response_began: None,
            route: caller.listener.unrouted(),
        };
        record.route.figures.borrow_mut().loads.of(record.is_request()).begin(began);
        Self { caller: caller.clone(), record, captured: None }
    }

    /// What the request asks for; `query` is what follows its question mark. Copied only if there is a log to write it to.
    pub fn asked(&mut self, head: &impl Asked, query: Option<&str>) {
        self.captured = self.caller.observe.log().map(|log| log.capture(head, query));
    }

    /// The rule that was found, and the cluster that it leads to, if it leads to one.
    pub fn routed(&mut self, rule: &Arc<str>, cluster: Option<&str>) {
        let Caller { observe, listener, .. } = &*self.caller;
        let record = &mut self.record;
        let (began, is_request) = (record.began, record.is_request());
        let route = observe.route(listener, rule, cluster.unwrap_or_default());
        record.route.figures.borrow_mut().loads.of(is_request).withdraw(began);
        route.figures.borrow_mut().loads.of(is_request).begin(began);
        record.route = route;
    }

    /// The ids that the endpoint is told: the request's, if it is the proxy that gave it, and the trace's.
    pub fn identified(&mut self, request_id: Option<[u8; 36]>, trace: Option<u128>) {
        (self.record.request_id, self.record.trace) = (request_id, trace);
    }

    /// When it began, as long as no endpoint has been asked: reading the clock again would tell nothing more.
    pub fn untried_since(&self) -> Option<Instant> {
        (self.record.tries == 0).then_some(self.record.started)
    }

    /// An endpoint is asked, for the first time or once more, since this moment. If it is another one's turn, the one before
    /// has failed.
    pub fn tried(&mut self, endpoint: SocketAddr, since: Instant) {
        let (record, observe) = (&mut self.record, &self.caller.observe);
        let since = if since == record.started { record.began } else { observe.moment(since) };
        let is_request = record.is_request();
        record.tries = record.tries.saturating_add(1);
        let endpoint = observe.endpoint(endpoint);
        endpoint.loads.borrow_mut().of(is_request).begin(since);
        if let Some((failed, _)) = record.tried.replace((endpoint, since)) {
            failed.loads.borrow_mut().of(is_request).end(since, true, None);
        }
    }

    /// The status of the final response; 0 while it has not begun.
    pub fn status(&self) -> u16 {
        self.record.status
    }

    /// Something went wrong.
    pub fn flag(&mut self, flag: Flag) {
        self.record.flags.add(flag);
    }

    /// The final response begins: the endpoint's or the proxy's own.
    pub fn responded(&mut self, status: u16, by_endpoint: bool) {
        (self.record.status, self.record.by_endpoint) = (status, by_endpoint);
        if self.caller.observe.log().is_some_and(|log| log.is_timed()) {
            self.record.response_began = Some(Instant::now());
        }
    }

    /// The fields of the response that the client gets; asked for only if there is a log that wants some.
    pub fn response_fields<'v>(&mut self, header: impl Fn(&HeaderName) -> Option<Cow<'v, [u8]>>) {
        if let Some(log) = self.caller.observe.log() {
            log.capture_response(&mut self.captured, header);
        }
    }

    /// How much of the request's body has been taken so far.
    pub fn received(&mut self, bytes: u64) {
        self.record.received = bytes;
    }

    /// How much of the response's body has been sent so far.
    pub fn sent(&mut self, bytes: u64) {
        self.record.sent = bytes;
    }

    /// The client has all that it was to have. A request that ends without this or a flag was given up by the proxy.
    pub fn done(&mut self) {
        self.record.done = true;
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let (record, caller, now) = (&mut self.record, &*self.caller, Instant::now());
        if !record.done && record.flags.is_empty() {
            record.flags.add(Flag::LocalReset);
        }
        {
            let mut figures = caller.listener.figures.borrow_mut();
            figures.open_requests -= u64::from(record.protocol.is_some());
            record.flags.meanings().for_each(|meaning| increment(&mut figures.flags, meaning.flag as usize));
        }
        let took = now.saturating_duration_since(record.started);
        record.route.last.set(now);
        count(record, took, caller.observe.moment(now));
        if let Some((endpoint, _)) = &record.tried {
            endpoint.last.set(now);
        }
        if let Some(log) = caller.observe.log() {
            log.write(caller, record, self.captured.take(), took);
        }
    }
}

/// Counts a request, or connection, that took so long and ends at this moment.
fn count(record: &Record, took: Duration, at: u64) {
    let (fault, took) = (record.fault(), nanoseconds(took));
    let (is_request, is_timed) = (record.is_request(), record.is_timed());
    let mut figures = record.route.figures.borrow_mut();
    if is_request {
        figures.count(record.status, fault, took);
    } else {
        increment(&mut figures.connections, fault as usize);
    }
    let failed = matches!(fault, Fault::Proxy | Fault::Upstream);
    figures.loads.of(is_request).end(at, failed, is_timed.then_some(took));
    if let Some((endpoint, since)) = &record.tried {
        let took = is_timed.then(|| at.saturating_sub(*since));
        endpoint.loads.borrow_mut().of(is_request).end(at, fault == Fault::Upstream, took);
    }
    figures.bytes_in += record.received;
    figures.bytes_out += record.sent;
    figures.retries += u64::from(record.tries.saturating_sub(1));
}
