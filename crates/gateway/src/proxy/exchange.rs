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
    end::End,
    head::{Response, Storage, fields::joined},
    http1, http2,
    pump::Broken,
    reply::{Final, Passed, Reply},
    route::{Facts, Request},
    transfer::Transfer,
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
    /// The endpoint says that it has done nothing with the request (RFC 9113, 8.7): another may be asked, whatever it is.
    Refused(h2::Error),
    /// The endpoint's response cannot be understood or ended in its head.
    BadResponse(&'static str),
    /// The endpoint is silent.
    EndpointStalled,
    /// The client does not send its body.
    ClientStalled,
    /// The client's body is not coded as it should be.
    BadRequest(&'static str),
    /// The endpoint responded, with a status that its route does not take for an answer: another try has been reserved.
    Unwanted(u16),
    /// The client is gone, or its response broke off, for this reason: there is nobody to answer.
    Over(Flag),
}

impl Failure {
    /// Whether it was the endpoint that failed.
    pub fn is_endpoints(&self) -> bool {
        !matches!(self, Self::ClientStalled | Self::BadRequest(_) | Self::Over(_))
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
    pub client: End<'a>,
    pub server: End<'a>,
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
    response: Option<Transfer>,
    interims: u8,
    final_response: Option<Final>,
    /// What had moved when the deadline was set.
    moved: Option<u64>,
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
                return self.poll_left(cx);
            };
            let polled = response.poll(cx, self.worker, &mut self.server, &mut self.client);
            self.record.sent(response.moved());
            let Poll::Ready(sent) = polled else {
                // Between events nothing is written that would tell. Other responses are soon written to.
                let quiet = response.is_pausing() && matches!(self.client, End::Http1(_));
                return if quiet { self.poll_left(cx) } else { Poll::Pending };
            };
            self.finish_response();
            if let Err(broken) = sent {
                return Poll::Ready(Err(match (broken, &self.server) {
                    (Broken::Source, End::Http1(_)) => Failure::Over(Flag::UpstreamGone),
                    (Broken::Source, End::Http2(_)) => Failure::Over(Flag::UpstreamReset),
                    (Broken::Malformed(_), _) => Failure::Over(Flag::UpstreamProtocol),
                    (Broken::Sink(_), _) => self.client_gone(),
                }));
            }
            if let Some(last) = self.progress.final_response {
                return Poll::Ready(Ok(self.done(last)));
            }
        }
    }

    /// Nothing moves: whether anybody waits for the endpoint.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Failure>> {
        let left = self.progress.request_done && self.client.poll_left(cx, self.worker).is_ready();
        if left { Poll::Ready(Err(self.client_gone())) } else { Poll::Pending }
    }

    fn client_gone(&self) -> Failure {
        Failure::Over(match self.client {
            End::Http1(_) => Flag::DownstreamGone,
            End::Http2(_) => Flag::DownstreamReset,
        })
    }

    fn finish_response(&mut self) {
        if let Some(mut transfer) = self.progress.response.take() {
            self.worker.buffers.borrow_mut().give_back_head(transfer.take_head());
        }
    }

    fn done(&self, last: Final) -> Done {
        if last.upgraded {
            return Done::Upgraded;
        }
        let whole = self.progress.request_done;
        let quiet = !matches!(&self.server, End::Http1(side) if !side.filled().is_empty());
        Done::Responded {
            reusable: whole && last.server_keeps_alive && quiet,
            keeps_alive: whole && last.client_keeps_alive,
        }
    }

    /// Sends on what there is of the request.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.progress.request_done || self.progress.request_failed.is_some() {
            return Ok(());
        }
        let polled = self.request.message.poll(cx, self.worker, &mut self.client, &mut self.server);
        self.record.received(self.request.message.moved());
        match polled {
            Poll::Ready(Ok(())) => {
                self.progress.request_done = true;
                self.request.mirror(self.worker);
            }
            Poll::Ready(Err(Broken::Sink(error))) => self.progress.request_failed = Some(error),
            Poll::Ready(Err(Broken::Source)) => return Err(self.client_gone()),
            Poll::Ready(Err(Broken::Malformed(reason))) => return Err(Failure::BadRequest(reason)),
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Waits for the head of a response, and prepares what is sent to the client.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let said = match &mut self.server {
            End::Http1(_) => return self.poll_lines(cx),
            End::Http2(stream) => ready!(stream.poll_said(cx)),
        };
        let (response, end) = match said {
            Ok(http2::Said::Interim(response)) => (response, true),
            Ok(http2::Said::Response(response, end)) => (response, end),
            Err(error) if http2::is_refusal(&error) => return Poll::Ready(Err(Failure::Refused(error))),
            Err(error) => return Poll::Ready(Err(self.unsaid(http2::to_io(error)))),
        };
        let (parts, ()) = response.into_parts();
        let mut storage = Storage::new();
        let head = http2::response(&parts, end, self.facts.is_head, &mut storage).map_err(Failure::BadResponse)?;
        refuse(self.request, head.status)?;
        let reply = Reply::new(self.worker, self.request, self.facts, self.closing, false);
        let passed = reply.pass_on(&head, &mut self.client)?;
        note(self.record, &passed, &head);
        Poll::Ready(self.take(passed))
    }

    /// Reads the head of a response of HTTP/1.
    fn poll_lines(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            if self.take_lines()? {
                return Poll::Ready(Ok(()));
            }
            let End::Http1(server) = &mut self.server else { return Poll::Pending };
            if !server.filled().is_empty() && !server.has_room() {
                server.grow(self.worker);
            }
            let failed = match ready!(server.poll_fill(cx, self.worker)) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(error) => error,
            };
            return Poll::Ready(Err(if server.filled().is_empty() {
                self.unsaid(failed)
            } else {
                Failure::BadResponse("the endpoint closed its connection within a response's head")
            }));
        }
    }

    /// Takes a whole head from the buffer, if there is one.
    fn take_lines(&mut self) -> Result<bool, Failure> {
        let End::Http1(server) = &self.server else { return Ok(false) };
        if server.filled().is_empty() {
            return Ok(false);
        }
        let mut storage = Storage::new();
        let head = http1::response::parse(server.filled(), self.facts.is_head, &mut storage);
        let Some((length, head)) = head.map_err(Failure::BadResponse)? else { return Ok(false) };
        refuse(self.request, head.status)?;
        let reply = Reply::new(self.worker, self.request, self.facts, self.closing, true);
        let passed = reply.pass_on(&head, &mut self.client)?;
        note(self.record, &passed, &head);
        if let End::Http1(server) = &mut self.server {
            server.consume(length);
        }
        self.take(passed)?;
        Ok(true)
    }

    /// An endpoint that is there and cannot serve is no better than one that is not there.
    fn report(&mut self, status: u16) {
        match status {
            502..=504 => self.picked.failed(Instant::now),
            _ => self.picked.responded(Instant::now),
        }
    }

    /// The endpoint failed before it responded.
    fn unsaid(&mut self, error: io::Error) -> Failure {
        if self.progress.interims > 0 {
            return Failure::BadResponse("the endpoint broke off before its response");
        }
        Failure::Untouched(self.progress.request_failed.take().unwrap_or(error))
    }

    fn take(&mut self, passed: Passed) -> Result<(), Failure> {
        self.progress.response = Some(passed.transfer);
        if let Some(last) = passed.last {
            *self.began = true;
            self.request.answered();
            self.report(last.status);
            self.progress.final_response = passed.last;
            return Ok(());
        }
        self.progress.interims += 1;
        if self.progress.interims > MAX_INTERIM {
            return Err(Failure::BadResponse("the endpoint sent too many interim responses"));
        }
        Ok(())
    }

    /// Gives up when nothing has moved for too long.
    fn poll_stalled(&mut self) -> Poll<Result<Done, Failure>> {
        let moved = self.client.moved() + self.server.moved();
        let starved = !self.progress.request_done && self.request.message.is_starved() && !*self.began;
        if self.progress.moved != Some(moved) {
            self.progress.moved = Some(moved);
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
            (_, true) if self.progress.response.as_ref().is_none_or(Transfer::is_starved) => {
                Failure::Over(Flag::UpstreamTimeout)
            }
            (_, true) => Failure::Over(Flag::Idle),
            (_, false) => Failure::EndpointStalled,
        }))
    }
}

/// Takes a response for a failure, if the route says so and the request can be sent again.
fn refuse(request: &mut Request, status: u16) -> Result<(), Failure> {
    let refused = request.rule.retry.as_ref().is_some_and(|retry| retry.is_for(status));
    if refused && request.reserve_retry() { Err(Failure::Unwanted(status)) } else { Ok(()) }
}

/// Records the final response.
fn note(record: &mut Recording, passed: &Passed, head: &Response<'_, '_>) {
    if passed.last.is_some() {
        record.responded(head.status, true);
        record.response_fields(|name| joined(head.headers, name));
    }
}
