//! One client's connection: requests one after the other, each answered before the next is read.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::StatusCode;

use super::{
    Timeouts,
    answer::Answer,
    clock::Watch,
    end::End,
    head::{MAX_HEAD, Refusal, Storage, Version},
    http1::request,
    http2,
    message::{Changes, Connection, Origin},
    route::{Decision, Facts, Request, route},
    side::{Side, Stream},
    tunnel,
    upstream::{Sender, Sent},
    worker::{Slot, Worker},
};
use crate::{
    observe::{Caller, Flag, Recording},
    table::Rule,
};

/// For a client to take an answer of the proxy's own.
const ANSWER: Duration = Duration::from_secs(30);
/// For a client to close after the last response. Closing first would destroy what it has not read yet.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a connection until it ends.
pub(super) async fn connection(worker: &Rc<Worker>, slot: &Arc<Slot>, stream: Stream, caller: Rc<Caller>) {
    let server_name = stream.server_name();
    let scheme = if server_name.is_some() { "https" } else { "http" };
    let origin = Origin::new(scheme, caller.peer().ip(), slot.listener.load().edge);
    let is_http2 = stream.is_http2();
    let client = Side::new(stream);
    if is_http2 {
        return Box::pin(http2::connection(worker, slot, client, (caller, origin, server_name))).await;
    }
    let watch = worker.clock.watch();
    let mut served = Served { worker, slot, caller, client, origin, server_name, watch, seen: 0, fresh: true };
    served.run().await;
    let Served { caller, client, origin, server_name, fresh, .. } = served;
    if fresh && client.filled().starts_with(http2::PREFACE) {
        return Box::pin(http2::connection(worker, slot, client, (caller, origin, server_name))).await;
    }
    client.close(&mut worker.buffers.borrow_mut());
}

struct Served<'a> {
    worker: &'a Worker,
    slot: &'a Slot,
    caller: Rc<Caller>,
    client: Side,
    origin: Origin,
    /// What the client called the server in its TLS handshake, if there was one.
    server_name: Option<Box<str>>,
    watch: Watch,
    /// Bytes of a head that is known not to be whole.
    seen: usize,
    /// Nothing has been asked yet.
    fresh: bool,
}

/// What comes next on a connection.
#[expect(
    clippy::large_enum_variant,
    reason = "it goes into the box of what serves it: one of its own would be one more allocation for each request"
)]
enum Next {
    /// A request.
    Request(Decision, Facts, Recording),
    /// Something that cannot be taken for one.
    Refused(Refusal),
    /// Nothing.
    End,
}

/// Whether a connection goes on.
#[derive(PartialEq, Eq)]
enum After {
    Next,
    /// The client has been told that it ends here.
    Close,
    /// There is nobody left to talk to.
    Gone,
}

impl Served<'_> {
    async fn run(&mut self) {
        loop {
            self.seen = 0;
            let Timeouts { idle, head, .. } = self.worker.timeouts;
            self.worker.clock.set(&self.watch, if self.client.filled().is_empty() { idle } else { head });
            // Boxed: what a request needs is a multiple of what a connection needs that waits for one, and most of them wait.
            let after = match poll_fn(|cx| self.poll_next(cx)).await {
                Next::End => return,
                next => Box::pin(self.serve(next)).await,
            };
            match after {
                After::Next => {}
                After::Close => return Box::pin(self.linger()).await,
                After::Gone => return,
            }
        }
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "one would have room for its argument twice, and move it from one to the other"
    )]
    fn serve(&mut self, mut next: Next) -> impl Future<Output = After> {
        async move {
            match &mut next {
                Next::End => After::Gone,
                Next::Refused(refusal) => {
                    let mut record = Recording::start(&self.caller, Version::Http11);
                    let late = refusal.status == StatusCode::REQUEST_TIMEOUT;
                    record.flag(if late { Flag::Idle } else { Flag::DownstreamProtocol });
                    self.answer(&Answer::from(*refusal), None, (false, Version::Http11, false), &mut record).await;
                    After::Close
                }
                Next::Request(Decision::Answer(answer, rule), facts, record) => {
                    let keeps_alive = facts.keeps_alive && !facts.has_body && !self.worker.closing(self.slot);
                    let changes = rule.as_deref().map(|rule: &Rule| Changes::new(&rule.response_headers, None));
                    self.answer(answer, changes, (keeps_alive, facts.version, facts.is_head), record).await
                }
                Next::Request(Decision::Forward(request), facts, record) => self.forward(request, facts, record).await,
            }
        }
    }

    /// Whether the client begins to speak HTTP/2: perhaps when only a part of that has arrived, surely when all has.
    fn begins_http2(&self) -> bool {
        let filled = self.client.filled();
        let length = filled.len().min(http2::PREFACE.len());
        self.fresh && !filled.is_empty() && filled.get(..length) == http2::PREFACE.get(..length)
    }

    /// Waits for a whole head.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        self.watch.arm(cx);
        loop {
            let http2 = self.begins_http2();
            if http2 && self.client.filled().len() >= http2::PREFACE.len() {
                return Poll::Ready(Next::End);
            }
            if !http2
                && self.may_be_whole()
                && let Some(next) = self.take_head()
            {
                self.fresh = false;
                return Poll::Ready(next);
            }
            if !self.client.has_room() {
                self.client.grow(self.worker);
            }
            let first = self.client.filled().is_empty();
            match self.client.poll_fill(cx, self.worker) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Ready(Ok(_)) if first => self.worker.clock.set(&self.watch, self.worker.timeouts.head),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if first && self.worker.closing_idle(self.slot) => return Poll::Ready(Next::End),
                Poll::Pending if !self.worker.clock.expired(&self.watch) => return Poll::Pending,
                Poll::Pending if first => return Poll::Ready(Next::End),
                Poll::Pending => {
                    let refusal = Refusal::with(StatusCode::REQUEST_TIMEOUT, "the request's head does not arrive");
                    return Poll::Ready(Next::Refused(refusal));
                }
            }
        }
    }

    /// Whether parsing is worth it: a head that arrives byte by byte is not parsed for every byte.
    fn may_be_whole(&self) -> bool {
        let filled = self.client.filled();
        let new = filled.get(self.seen.saturating_sub(3)..).unwrap_or_default();
        let ends = || {
            memchr::memchr_iter(b'\n', new)
                .any(|at| matches!(new.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
        };
        !filled.is_empty() && (self.seen == 0 || filled.len() >= MAX_HEAD || ends())
    }

    /// Takes a whole head from the buffer, if there is one.
    fn take_head(&mut self) -> Option<Next> {
        let filled = self.client.filled();
        let mut storage = Storage::new();
        let (length, head) = match request::parse(filled, &mut storage) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                self.seen = filled.len();
                return None;
            }
            Err(refusal) => return Some(Next::Refused(refusal)),
        };
        let listener = self.slot.listener.load();
        let mut record = Recording::start(&self.caller, head.version);
        record.asked(&head, head.query);
        let server_name = self.server_name.as_deref();
        let decision = route(&head, &listener, server_name, &self.origin, self.worker, &mut record);
        let Some(decision) = decision else { return Some(Next::End) };
        let facts = Facts::new(&head);
        self.client.consume(length);
        Some(Next::Request(decision, facts, record))
    }

    async fn forward(&mut self, request: &mut Request, facts: &Facts, record: &mut Recording) -> After {
        let closing = self.worker.closing(self.slot);
        let client = End::Http1(&mut self.client);
        let mut sender = Sender::new(self.worker, &self.watch, client, (request, facts, record), closing);
        let sent = sender.send().await;
        let after = match sent {
            Sent::Responded { keeps_alive } => {
                record.done();
                if keeps_alive { After::Next } else { After::Close }
            }
            Sent::Over => After::Gone,
            Sent::Unanswered(answer) => {
                let keeps_alive = facts.keeps_alive && !closing && request.message.source_done();
                self.answer(&answer, Some(request.changes()), (keeps_alive, facts.version, facts.is_head), record).await
            }
            Sent::Upgraded(mut link) => {
                self.watch.clear();
                let client = End::Http1(&mut self.client);
                let (up, down) = tunnel::join(self.worker, client, link.end()).await;
                record.received(up);
                record.sent(down);
                record.done();
                link.close(&mut self.worker.buffers.borrow_mut());
                After::Gone
            }
        };
        self.client.release(&mut self.worker.buffers.borrow_mut());
        self.worker.buffers.borrow_mut().give_back_head(request.message.take_head());
        after
    }

    /// Sends an answer to a client that is kept or not, speaks this version, and asked with HEAD or not.
    async fn answer(
        &mut self,
        answer: &Answer,
        changes: Option<Changes<'_>>,
        (keeps_alive, version, to_head): (bool, Version, bool),
        record: &mut Recording,
    ) -> After {
        record.responded(answer.status.as_u16(), false);
        let mut out = self.worker.buffers.borrow_mut().take_head();
        let connection = Connection::after(keeps_alive, version);
        answer.write(&mut out, changes, connection, to_head, self.worker.clock.date().as_bytes());
        self.worker.clock.set(&self.watch, ANSWER);
        let mut sent = 0;
        let written = poll_fn(|cx| {
            self.watch.arm(cx);
            while sent < out.len() {
                match self.client.poll_write(cx, [&out, &[], &[], &[]], sent) {
                    Poll::Ready(Ok(written)) if written > 0 => sent += written,
                    Poll::Pending if !self.worker.clock.expired(&self.watch) => return Poll::Pending,
                    _ => return Poll::Ready(false),
                }
            }
            Poll::Ready(true)
        });
        let written = written.await;
        self.worker.buffers.borrow_mut().give_back_head(out);
        if written {
            record.sent(if to_head { 0 } else { answer.length() });
            record.done();
        } else {
            record.flag(Flag::DownstreamGone);
        }
        match (written, keeps_alive) {
            (false, _) => After::Gone,
            (true, true) => After::Next,
            (true, false) => After::Close,
        }
    }

    /// Says that nothing more comes, and waits a little for the client to close.
    async fn linger(&mut self) {
        self.worker.clock.set(&self.watch, LINGER);
        poll_fn(|cx| {
            self.watch.arm(cx);
            if ready!(self.client.poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            loop {
                let arrived = self.client.filled().len();
                self.client.consume(arrived);
                match self.client.poll_fill(cx, self.worker) {
                    Poll::Ready(Ok(read)) if read > 0 && !self.worker.clock.expired(&self.watch) => {}
                    Poll::Pending if !self.worker.clock.expired(&self.watch) => return Poll::Pending,
                    _ => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}
