//! Which endpoint gets a request, over which connection, and what happens when that fails.

use std::{future::poll_fn, io, net::SocketAddr, time::Instant};

use http::StatusCode;
use tokio::time::timeout;

use super::{
    answer::Answer,
    buffer::Buffers,
    clock::Watch,
    connect::{Unconnected, connect},
    end::End,
    exchange::{Done, Exchange, Failure, Progress},
    hold::{Denied, Place},
    http2::{self, Lease},
    route::{Facts, Request},
    side::Side,
    worker::Worker,
};
use crate::{
    balance::{Ask, Picked},
    observe::{Flag, Recording},
    table::Cluster,
};

/// Endpoints that are tried for a connection.
const MAX_CONNECTS: usize = 3;

/// What a client is told whose request an endpoint took and did not answer.
const BROKEN_OFF: &str = "the endpoint closed its connection before it responded";

/// What the client's connection has come to.
pub(super) enum Sent {
    /// The client has its response.
    Responded {
        /// Its connection can be used again.
        keeps_alive: bool,
    },
    /// Client and endpoint speak another protocol from now on.
    Upgraded(Box<Link>),
    /// The proxy must answer.
    Unanswered(Answer),
    /// There is nobody to answer.
    Over,
}

/// Sends a request to an endpoint of its cluster, and the response back.
pub(super) struct Sender<'a> {
    pub worker: &'a Worker,
    pub watch: &'a Watch,
    pub client: End<'a>,
    pub request: &'a mut Request,
    pub facts: &'a Facts,
    pub record: &'a mut Recording,
    /// The client's connection ends after this response.
    pub closing: bool,
    /// The client is being sent a final response.
    pub began: bool,
    tried: Vec<SocketAddr>,
    /// Of these, the one of which no more is known than that a connection which had served others came to its end.
    doubtful: Option<SocketAddr>,
    /// Something has failed that should not have: only a new connection shows whether an endpoint is there.
    failed: bool,
    /// It has been sent again for its method's sake.
    retried: bool,
}

/// A connection to an endpoint that was chosen.
pub(super) struct Link {
    /// Counts as a request of the endpoint's.
    picked: Picked,
    /// How it is encrypted.
    tls: u64,
    carrier: Carrier,
    /// It has served other requests before.
    reused: bool,
}

/// Why there is no connection to an endpoint.
struct Unlinked {
    flag: Flag,
    /// What the proxy answers, if there is anybody to answer.
    answer: Option<Answer>,
}

/// What carries a request to an endpoint.
enum Carrier {
    /// A connection for this request alone.
    Http1(Side),
    /// A stream among others.
    Http2(http2::Stream, Lease),
}

impl Carrier {
    fn end(&mut self) -> End<'_> {
        match self {
            Self::Http1(side) => End::Http1(side),
            Self::Http2(stream, _) => End::Http2(stream),
        }
    }
}

impl<'a> Sender<'a> {
    pub fn new(
        worker: &'a Worker,
        watch: &'a Watch,
        client: End<'a>,
        (request, facts, record): (&'a mut Request, &'a Facts, &'a mut Recording),
        closing: bool,
    ) -> Self {
        let (began, tried, doubtful, failed, retried) = (false, Vec::new(), None, false, false);
        Self { worker, watch, client, request, facts, record, closing, began, tried, doubtful, failed, retried }
    }

    /// Within `timeouts.request`, if the rule has one.
    pub async fn send(&mut self) -> Sent {
        let Some(limit) = self.request.rule.request_timeout.filter(|limit| !limit.is_zero()) else {
            return self.send_to_some().await;
        };
        // Boxed: few rules have one, and every request would pay for its size.
        match Box::pin(timeout(limit, self.send_to_some())).await {
            Ok(sent) => sent,
            Err(_) => self.timed_out("the request took longer than its route allows"),
        }
    }

    fn timed_out(&mut self, text: &'static str) -> Sent {
        self.record.flag(Flag::UpstreamTimeout);
        if self.began { Sent::Over } else { Sent::Unanswered(Answer::new(StatusCode::GATEWAY_TIMEOUT, text)) }
    }

    async fn send_to_some(&mut self) -> Sent {
        loop {
            let mut link = match self.link().await {
                Ok(link) => link,
                Err(Unlinked { answer: Some(_), .. }) if !self.tried.is_empty() && self.request.reserve_retry() => {
                    self.tried.clear();
                    self.back_off().await;
                    continue;
                }
                Err(Unlinked { flag, answer }) => {
                    self.record.flag(flag);
                    return answer.map_or(Sent::Over, Sent::Unanswered);
                }
            };
            self.request.sent_to(link.picked.address());
            let done = match self.request.rule.backend_timeout.filter(|limit| !limit.is_zero()) {
                None => self.try_once(&mut link).await,
                Some(limit) => match Box::pin(timeout(limit, self.try_once(&mut link))).await {
                    Ok(done) => done,
                    Err(_) => {
                        link.picked.failed(Instant::now);
                        if !self.began && self.request.reserve_retry() {
                            self.try_another(link).await;
                            continue;
                        }
                        return self.timed_out("the backend took longer than its route allows");
                    }
                },
            };
            match done {
                Ok(Done::Upgraded) => return Sent::Upgraded(Box::new(link)),
                Ok(Done::Responded { reusable, keeps_alive }) => {
                    self.note_retries();
                    self.keep(link, reusable);
                    return Sent::Responded { keeps_alive };
                }
                Err(Failure::Unwanted(_)) => self.try_another(link).await,
                Err(Failure::Untouched(_)) if self.request.reserve_retry() => {
                    link.failed();
                    self.failed = true;
                    self.try_another(link).await;
                }
                Err(Failure::Untouched(error)) if self.may_retry() => {
                    let endpoint = link.failed();
                    tracing::debug!(%endpoint, error = %error, "trying another connection");
                    // The end of a connection that has served others need not have to do with this request: once, it does
                    // not count.
                    let at_its_end = link.reused && !self.failed;
                    (self.failed, self.retried) = (true, !at_its_end);
                    self.pass_over(endpoint, at_its_end);
                }
                Err(Failure::Refused(error)) if self.request.message.rewind() => {
                    let endpoint = link.failed();
                    tracing::debug!(%endpoint, error = %error, "trying another endpoint");
                    // A connection that has served others may merely have come to its end.
                    let at_its_end = link.reused && error.is_go_away();
                    if let (true, Carrier::Http2(_, lease)) = (at_its_end, &link.carrier) {
                        lease.give_up();
                    }
                    self.pass_over(endpoint, at_its_end);
                }
                Err(failure) => {
                    if let (Failure::EndpointStalled, Carrier::Http2(_, lease)) = (&failure, &link.carrier) {
                        // The others on this connection may fare as badly.
                        lease.give_up();
                    }
                    let endpoint = if failure.is_endpoints() { link.failed() } else { link.picked.address() };
                    return self.failed(&failure, endpoint);
                }
            }
        }
    }

    async fn try_once(&mut self, link: &mut Link) -> Result<Done, Failure> {
        let mut exchange = Exchange {
            worker: self.worker,
            watch: self.watch,
            client: self.client.reborrow(),
            server: link.carrier.end(),
            picked: &mut link.picked,
            request: self.request,
            facts: self.facts,
            record: self.record,
            closing: self.closing,
            began: &mut self.began,
            progress: Progress::default(),
        };
        poll_fn(|cx| exchange.poll(cx)).await
    }

    /// A request is sent once more if that cannot do harm (RFC 9110, 9.2.2) and all of it is still here, unless its route has
    /// said how often and that is over. The end of a kept connection is not counted.
    fn may_retry(&mut self) -> bool {
        self.facts.is_idempotent && !self.retried && self.request.message.rewind() && self.request.count_retry()
    }

    /// Another endpoint is next. `at_its_end` says that nothing has failed but a connection that had served others: then this
    /// endpoint may be as good as any, and is asked again if no other takes the request. If it is being killed it is not: it
    /// may take connections for a while that it will never serve, so others come first, unless the request belongs to it.
    fn pass_over(&mut self, endpoint: SocketAddr, at_its_end: bool) {
        if at_its_end {
            if self.request.key.is_some() || self.request.wanted() == Some(endpoint) {
                return;
            }
            self.doubtful = Some(endpoint);
        }
        self.tried.push(endpoint);
    }

    /// After a reserved retry: another endpoint is next, if there is one, when some time has passed.
    async fn try_another(&mut self, link: Link) {
        let endpoint = link.picked.address();
        link.close(&mut self.worker.buffers.borrow_mut());
        let count = self.request.cluster().map_or(0, Cluster::count);
        if self.tried.len() + 1 >= count.min(MAX_CONNECTS) {
            self.tried.clear();
        }
        if count > 1 {
            self.tried.push(endpoint);
        }
        tracing::debug!(rule = %self.request.rule.name, %endpoint, "a retry");
        self.back_off().await;
    }

    async fn back_off(&mut self) {
        self.request.message.rewind();
        let retries = self.request.extras.as_ref().map_or(0, |extras| extras.retries);
        if let Some(retry) = &self.request.rule.retry {
            let delay = retry.delay(retries.saturating_sub(1), self.worker.random.borrow_mut().f32());
            // Boxed: every request would pay for its size.
            Box::pin(tokio::time::sleep(delay)).await;
        }
    }

    /// Records if the response is one that the route would rather not have passed on, even after it was asked for again.
    fn note_retries(&mut self) {
        let retried = self.request.extras.as_ref().is_some_and(|extras| extras.retries > 0);
        if retried && self.request.rule.retry.as_ref().is_some_and(|retry| retry.is_for(self.record.status())) {
            self.record.flag(Flag::RetriesSpent);
        }
    }

    fn keep(&self, link: Link, reusable: bool) {
        let Carrier::Http1(mut side) = link.carrier else { return };
        let mut buffers = self.worker.buffers.borrow_mut();
        side.release(&mut buffers);
        if reusable {
            self.worker.pool.put((link.picked.address(), link.tls), side, self.worker.clock.instant());
        } else {
            side.close(&mut buffers);
        }
    }

    /// A connection to the endpoint whose turn it is, or to another if that cannot be had.
    async fn link(&mut self) -> Result<Link, Unlinked> {
        let (mut distrusted, mut place) = (false, None);
        loop {
            let next = self.request.cluster().and_then(|cluster| {
                let since = self.record.untried_since().filter(|_| place.is_none());
                let now = since.unwrap_or_else(|| time_to_pick(self.worker, cluster));
                let wanted = self.request.wanted().filter(|wanted| !self.tried.contains(wanted));
                let wanted = wanted.and_then(|wanted| cluster.pick_at(wanted, now));
                let next = wanted.or_else(|| pick(self.worker, cluster, &self.tried, self.request.key, now));
                Some((cluster, next?, now))
            });
            let Some((cluster, mut picked, now)) = next else {
                if let Some(doubtful) = self.doubtful.take() {
                    self.tried.retain(|tried| *tried != doubtful);
                    continue;
                }
                if !distrusted && self.request.cluster().is_some_and(Cluster::sleeps) {
                    // Boxed: it is seldom waited.
                    match Box::pin(self.hold(&mut place)).await {
                        Ok(()) => continue,
                        Err(Denied::Off) => {}
                        Err(denied) => {
                            let answer = (denied != Denied::Gone).then(|| denied.answer());
                            return Err(Unlinked { flag: denied.flag(&self.client), answer });
                        }
                    }
                }
                let (flag, status, text) = self.why_unlinked(distrusted);
                return Err(Unlinked { flag, answer: Some(Answer::new(status, text)) });
            };
            let (endpoint, tls) = (picked.address(), cluster.tls_id());
            self.record.tried(endpoint, now);
            if self.request.head.is_none()
                && !self.failed
                && let Some(side) = self.worker.pool.take((endpoint, tls))
                && (self.facts.is_idempotent || is_open(&side))
            {
                return Ok(Link { picked, tls, carrier: Carrier::Http1(side), reused: true });
            }
            let carrier = match &self.request.head {
                None => self.connect(endpoint, cluster).await,
                Some(head) => Box::pin(self.open_stream((endpoint, tls), cluster, head)).await,
            };
            match carrier {
                Ok((carrier, reused)) => return Ok(Link { picked, tls, carrier, reused }),
                Err(error) => {
                    picked.failed(Instant::now);
                    tracing::debug!(%endpoint, cluster = %cluster.name, "{error}");
                    distrusted |= matches!(error, Unconnected::Tls(_));
                    self.tried.push(endpoint);
                }
            }
        }
    }

    /// Why there is no endpoint to ask; `distrusted` says that one was there which is not whom it should be.
    fn why_unlinked(&self, distrusted: bool) -> (Flag, StatusCode, &'static str) {
        match (self.tried.is_empty(), distrusted) {
            (true, _) => (Flag::NoEndpoint, StatusCode::SERVICE_UNAVAILABLE, "no endpoint is ready"),
            (_, true) => {
                (Flag::UpstreamConnect, StatusCode::BAD_GATEWAY, "no TLS connection to an endpoint came about")
            }
            // One took it, which is worth more to whoever looks for the reason than that others take nothing.
            _ if self.retried => (self.broken_off(), StatusCode::SERVICE_UNAVAILABLE, BROKEN_OFF),
            _ => (Flag::UpstreamConnect, StatusCode::SERVICE_UNAVAILABLE, "no endpoint takes connections"),
        }
    }

    /// That an endpoint did not answer but closed its connection, or reset its stream.
    fn broken_off(&self) -> Flag {
        if self.request.head.is_some() { Flag::UpstreamReset } else { Flag::UpstreamGone }
    }

    /// Waits until there is an endpoint to ask.
    async fn hold(&mut self, place: &mut Option<Box<Place>>) -> Result<(), Denied> {
        // Others may have it while this one waits.
        drop(self.request.extras.as_mut().and_then(|extras| extras.turn.take()));
        let Some(cluster) = self.request.cluster() else { return Err(Denied::Off) };
        let place = match place {
            Some(place) => place,
            None => {
                let bytes = self.request.kept() + self.client.unread(self.facts.has_body);
                place.insert(Place::take(self.worker, cluster, bytes)?)
            }
        };
        let turn = place.wait(cluster, !self.tried.is_empty(), &mut self.client, false).await?;
        self.request.extras.get_or_insert_default().turn = Some(turn);
        self.tried.clear();
        Ok(())
    }

    async fn connect(&self, endpoint: SocketAddr, cluster: &Cluster) -> Result<(Carrier, bool), Unconnected> {
        Ok((Carrier::Http1(connect(self.worker, endpoint, cluster).await?), false))
    }

    /// Sends the request's head on a connection of HTTP/2; says whether that has served others before.
    async fn open_stream(
        &self,
        place: (SocketAddr, u64),
        cluster: &Cluster,
        head: &http::Request<()>,
    ) -> Result<(Carrier, bool), Unconnected> {
        let (now, pool) = (self.worker.clock.instant(), &self.worker.http2);
        loop {
            let lease = pool.lease(place, now, async || connect(self.worker, place.0, cluster).await).await?;
            let reused = lease.reused;
            match lease.send(head.clone(), self.request.message.source_done()).await {
                Ok(stream) => return Ok((Carrier::Http2(stream, lease), reused)),
                // It takes no more requests, which nobody had noticed, and has been given up: another takes its place.
                Err(_) if reused => {}
                Err(error) => return Err(Unconnected::Tcp(error)),
            }
        }
    }

    fn failed(&mut self, failure: &Failure, endpoint: SocketAddr) -> Sent {
        let (status, flag, text) = match failure {
            Failure::Over(flag) => {
                self.record.flag(*flag);
                return Sent::Over;
            }
            Failure::Untouched(_) | Failure::Refused(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, self.broken_off(), BROKEN_OFF)
            }
            Failure::BadResponse(reason) => (StatusCode::BAD_GATEWAY, Flag::UpstreamProtocol, *reason),
            Failure::Unwanted(status) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
                (status, Flag::RetriesSpent, "the endpoint cannot serve")
            }
            Failure::EndpointStalled => {
                (StatusCode::GATEWAY_TIMEOUT, Flag::UpstreamTimeout, "the endpoint does not respond")
            }
            Failure::ClientStalled => (StatusCode::REQUEST_TIMEOUT, Flag::Idle, "the request's body does not arrive"),
            Failure::BadRequest(reason) => (StatusCode::BAD_REQUEST, Flag::DownstreamProtocol, *reason),
        };
        self.record.flag(flag);
        let rule = &self.request.rule.name;
        tracing::debug!(%rule, %endpoint, ?failure, status = status.as_u16(), "a request failed");
        if self.began { Sent::Over } else { Sent::Unanswered(Answer::new(status, text)) }
    }
}

impl Link {
    /// The endpoint's end.
    pub fn end(&mut self) -> End<'_> {
        self.carrier.end()
    }

    /// Closes what was for this request alone.
    pub fn close(self, buffers: &mut Buffers) {
        if let Carrier::Http1(side) = self.carrier {
            side.close(buffers);
        }
    }

    /// Reports the endpoint's failure; returns which it was.
    fn failed(&mut self) -> SocketAddr {
        self.picked.failed(Instant::now);
        self.picked.address()
    }
}

/// An endpoint by the cluster's policy, unless enough have been tried already.
pub(super) fn next_endpoint(
    worker: &Worker,
    cluster: &Cluster,
    tried: &[SocketAddr],
    key: Option<u64>,
) -> Option<Picked> {
    pick(worker, cluster, tried, key, time_to_pick(worker, cluster))
}

/// As exact as the cluster's policy needs it.
fn time_to_pick(worker: &Worker, cluster: &Cluster) -> Instant {
    if cluster.policy().measures() { Instant::now() } else { worker.clock.instant() }
}

fn pick(worker: &Worker, cluster: &Cluster, tried: &[SocketAddr], key: Option<u64>, now: Instant) -> Option<Picked> {
    if tried.len() >= MAX_CONNECTS {
        return None;
    }
    cluster.pick(&mut Ask { tried, key, now, random: &mut worker.random.borrow_mut() })
}

/// Asks the kernel whether the endpoint has closed a connection: a request that may not be sent twice is not risked on one
/// whose end has merely not been noticed yet.
pub(super) fn is_open(side: &Side) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let peeked = socket2::SockRef::from(side.tcp()).peek(&mut byte);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
