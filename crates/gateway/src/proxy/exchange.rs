//! One try of a request on one connection to an endpoint: both messages move at the same time, each as fast as its receiver
//! takes it.

use std::{
    io,
    task::{Context, Poll, ready},
    time::Instant,
};

use super::{
    Timeouts,
    clock::Watch,
    http1::{Body, Storage, fields::joined, response},
    message::{self, Connection},
    pump::{Broken, Pump},
    route::{Facts, Request},
    side::Side,
    worker::Worker,
};
use crate::{
    balance::Picked,
    observe::{Flag, Recording},
};

/// More interim responses than this are no service to anybody.
const MAX_INTERIM: u8 = 16;

/// How a try ended without a whole response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The endpoint's connection failed before any byte of a response: another endpoint may be asked.
    Untouched(io::Error),
    /// The endpoint's response cannot be understood or ended in its head.
    BadResponse(&'static str),
    /// The endpoint is silent.
    EndpointStalled,
    /// The client does not send its body.
    ClientStalled,
    /// The client's body is not coded as it should be.
    BadRequest(&'static str),
    /// The client is gone, or its response broke off, for this reason: there is nobody to answer.
    Over(Flag),
}

impl Failure {
    /// Whether it was the endpoint that failed.
    pub fn is_endpoints(&self) -> bool {
        matches!(self, Self::Untouched(_) | Self::BadResponse(_) | Self::EndpointStalled)
    }
}

/// How a try ended.
#[derive(Debug)]
pub(super) enum Done {
    /// The client has the whole response.
    Responded {
        /// The endpoint's connection can be used again.
        reusable: bool,
        /// The client's connection can be used again, and has not been told otherwise.
        keeps_alive: bool,
    },
    /// The client has the response that changes the protocol.
    Upgraded,
}

/// See the module.
pub(super) struct Exchange<'a> {
    pub worker: &'a Worker,
    pub watch: &'a Watch,
    pub client: &'a mut Side,
    pub server: &'a mut Side,
    /// Who is told that the response has begun.
    pub picked: &'a mut Picked,
    pub request: &'a mut Request,
    pub facts: &'a Facts,
    pub record: &'a mut Recording,
    /// The client's connection ends after this response.
    pub closing: bool,
    /// The client has been sent, or is being sent, a final response.
    pub began: &'a mut bool,
    pub progress: Progress,
}

/// How far an exchange is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    request_done: bool,
    /// The endpoint takes no more of the request; it may have responded all the same.
    request_failed: Option<io::Error>,
    response: Option<Pump>,
    interims: u8,
    final_response: Option<Final>,
    moved: u64,
}

/// What a final response's head said.
#[derive(Debug, Clone, Copy)]
struct Final {
    upgraded: bool,
    server_keeps_alive: bool,
    client_keeps_alive: bool,
}

impl Exchange<'_> {
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Failure>> {
        self.watch.arm(cx);
        let polled = self.poll_both(cx);
        if polled.is_pending() {
            return self.poll_stalled();
        }
        polled
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Failure>> {
        self.poll_request(cx)?;
        loop {
            let Some(response) = &mut self.progress.response else {
                match self.poll_head(cx) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                    Poll::Pending => {}
                }
                let waits = self.progress.request_done && self.client.poll_closed(cx).is_ready();
                return if waits { Poll::Ready(Err(Failure::Over(Flag::DownstreamGone))) } else { Poll::Pending };
            };
            let polled = response.poll(cx, self.worker, self.server, self.client);
            self.record.sent(response.moved());
            let sent = ready!(polled);
            self.finish_response();
            if let Err(broken) = sent {
                return Poll::Ready(Err(Failure::Over(match broken {
                    Broken::Source => Flag::UpstreamGone,
                    Broken::Malformed(_) => Flag::UpstreamProtocol,
                    Broken::Sink(_) => Flag::DownstreamGone,
                })));
            }
            if let Some(last) = self.progress.final_response {
                return Poll::Ready(Ok(self.done(last)));
            }
        }
    }

    fn finish_response(&mut self) {
        if let Some(pump) = self.progress.response.take() {
            self.worker.buffers.borrow_mut().give_back_head(pump.head);
        }
    }

    fn done(&self, last: Final) -> Done {
        if last.upgraded {
            return Done::Upgraded;
        }
        let whole = self.progress.request_done;
        Done::Responded {
            reusable: whole && last.server_keeps_alive && self.server.filled().is_empty(),
            keeps_alive: whole && last.client_keeps_alive,
        }
    }

    /// Sends on what there is of the request.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.progress.request_done || self.progress.request_failed.is_some() {
            return Ok(());
        }
        let polled = self.request.message.poll(cx, self.worker, self.client, self.server);
        self.record.received(self.request.message.moved());
        match polled {
            Poll::Ready(Ok(())) => self.progress.request_done = true,
            Poll::Ready(Err(Broken::Sink(error))) => self.progress.request_failed = Some(error),
            Poll::Ready(Err(Broken::Source)) => return Err(Failure::Over(Flag::DownstreamGone)),
            Poll::Ready(Err(Broken::Malformed(reason))) => return Err(Failure::BadRequest(reason)),
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Reads the head of the response, and prepares what is sent to the client.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            if !self.server.filled().is_empty() {
                if self.take_head()? {
                    return Poll::Ready(Ok(()));
                }
                if !self.server.has_room() {
                    self.server.grow(self.worker);
                }
            }
            let failed = match ready!(self.server.poll_fill(cx, self.worker)) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(error) => error,
            };
            let untouched = self.server.filled().is_empty() && self.progress.interims == 0;
            return Poll::Ready(Err(if untouched {
                Failure::Untouched(self.progress.request_failed.take().unwrap_or(failed))
            } else {
                Failure::BadResponse("the endpoint closed its connection within a response's head")
            }));
        }
    }

    /// Takes a whole head from the buffer, if there is one.
    fn take_head(&mut self) -> Result<bool, Failure> {
        let mut storage = Storage::new();
        let head = response::parse(self.server.filled(), self.facts.is_head, &mut storage);
        let Some(head) = head.map_err(Failure::BadResponse)? else { return Ok(false) };
        let (length, body, status) = (head.length, head.body, head.status);
        let interim = matches!(status, 100 | 102..=199);
        if head.status == 101 && !self.facts.upgrade {
            return Err(Failure::BadResponse("the endpoint changed the protocol without being asked"));
        }
        let last = Final {
            upgraded: head.status == 101,
            server_keeps_alive: head.keeps_alive,
            client_keeps_alive: self.client_keeps_alive(body),
        };
        let chunked = self.facts.version == 1 && matches!(body, Body::Chunked | Body::UntilClose);
        let connection = match (interim, last.upgraded) {
            (true, _) => Connection::Unsaid,
            (_, true) => Connection::Upgrade,
            _ => Connection::after(last.client_keeps_alive, self.facts.version),
        };
        let mut out = self.worker.buffers.borrow_mut().take_head();
        if !interim || self.facts.version == 1 {
            let date = self.worker.clock.date();
            message::response(&mut out, &head, self.request.changes(), connection, chunked, date.as_bytes());
        }
        if !interim {
            self.record.responded(status, true);
            self.record.response_fields(|name| joined(head.headers, name));
        }
        self.server.consume(length);
        self.progress.response = Some(Pump::new(out, body, chunked));
        if interim {
            self.progress.interims += 1;
            if self.progress.interims > MAX_INTERIM {
                return Err(Failure::BadResponse("the endpoint sent too many interim responses"));
            }
        } else {
            *self.began = true;
            self.report(status);
            self.progress.final_response = Some(last);
        }
        Ok(true)
    }

    /// An endpoint that is there and cannot serve is no better than one that is not there.
    fn report(&mut self, status: u16) {
        match status {
            502..=504 => self.picked.failed(Instant::now),
            _ => self.picked.responded(Instant::now),
        }
    }

    /// Whether the client can use its connection again after a response with this body. If some of the request is still to
    /// come, the endpoint has made up its mind without it: the rest is not worth waiting for.
    fn client_keeps_alive(&self, body: Body) -> bool {
        let delimited = self.facts.version == 1 || matches!(body, Body::None | Body::Length(_));
        delimited && self.facts.keeps_alive && !self.closing && self.request.message.source_done()
    }

    /// Gives up when nothing has moved for too long.
    fn poll_stalled(&mut self) -> Poll<Result<Done, Failure>> {
        let moved = self.client.moved + self.server.moved;
        let starved = !self.progress.request_done && self.request.message.is_starved() && !*self.began;
        if moved != self.progress.moved {
            self.progress.moved = moved;
            let Timeouts { body, exchange, .. } = self.worker.timeouts;
            self.worker.clock.set(self.watch, if starved { body } else { exchange });
            return Poll::Pending;
        }
        if !self.worker.clock.expired(self.watch) {
            return Poll::Pending;
        }
        Poll::Ready(Err(match (starved, *self.began) {
            (true, _) => Failure::ClientStalled,
            // The response is waited for, or the client does not take it.
            (_, true) if self.progress.response.as_ref().is_none_or(Pump::is_starved) => {
                Failure::Over(Flag::UpstreamTimeout)
            }
            (_, true) => Failure::Over(Flag::Idle),
            (_, false) => Failure::EndpointStalled,
        }))
    }
}
