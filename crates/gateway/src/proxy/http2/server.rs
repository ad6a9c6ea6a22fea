//! A client's connection: its requests are served at the same time, each in a task of its own while it lasts.

use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, SendResponse},
};
use http::Request;

use super::{CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW, Stream, head, io::Io, lanes::Lanes};
use crate::observe::{Caller, Flag, Recording};
use crate::proxy::{
    answer::Answer,
    clock::Watch,
    end::End,
    head::{MAX_HEAD, Storage, Version},
    message::{Changes, Origin},
    route::{Decision, Facts, Request as Routed, route},
    side::Side,
    tunnel,
    upstream::{Sender, Sent},
    worker::{Slot, Worker},
};

/// How a client that knows says that it will speak HTTP/2 (RFC 9113, 3.4).
pub(in crate::proxy) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests of one client at a time, as nginx has it.
const MAX_STREAMS: u32 = 128;
/// A client that has given up this many requests before their response, and more than half of all, means ill (CVE-2023-44487).
const MAX_GIVEN_UP: u64 = 100;
/// For the last frames of a connection that ends.
const LINGER: Duration = Duration::from_secs(2);

/// What the requests of a connection share.
pub(super) struct Shared {
    pub worker: Rc<Worker>,
    pub lanes: Lanes,
    slot: Arc<Slot>,
    caller: Rc<Caller>,
    origin: Origin,
    server_name: Option<Box<str>>,
    requests: Cell<u64>,
    given_up: Cell<u64>,
}

/// Serves a connection until it ends.
pub(in crate::proxy) async fn connection(
    worker: &Rc<Worker>,
    slot: &Arc<Slot>,
    side: Side,
    (caller, origin, server_name): (Rc<Caller>, Origin, Option<Box<str>>),
) {
    let io = Io::new(side, worker.http2.outs.clone());
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    let watch = worker.clock.watch();
    worker.clock.set(&watch, worker.timeouts.head);
    let mut handshake = std::pin::pin!(builder.handshake::<_, Bytes>(io.clone()));
    let begun = poll_fn(|cx| {
        watch.arm(cx);
        let polled = handshake.as_mut().poll(cx);
        match io.poll_write_out(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(None),
            _ if polled.is_pending() && worker.clock.expired(&watch) => return Poll::Ready(None),
            _ => {}
        }
        polled.map(Result::ok)
    });
    let Some(connection) = begun.await else { return };
    let shared = Shared {
        worker: worker.clone(),
        lanes: Lanes::default(),
        slot: slot.clone(),
        caller,
        origin,
        server_name,
        requests: Cell::new(0),
        given_up: Cell::new(0),
    };
    let (shared, idle, ending) = (Rc::new(shared), false, false);
    let mut served = Served { connection, io, watch, shared, idle, ending };
    poll_fn(|cx| served.poll(cx)).await;
    served.shared.lanes.close();
}

struct Served {
    connection: h2::server::Connection<Io, Bytes>,
    io: Io,
    watch: Watch,
    shared: Rc<Shared>,
    /// There is no request, since the deadline was set.
    idle: bool,
    /// The client has been told that no more requests are taken.
    ending: bool,
}

impl Served {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch.arm(cx);
        let Shared { worker, slot, .. } = &*self.shared;
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let count = &self.shared.requests;
                    count.set(count.get() + 1);
                    Lanes::serve(&self.shared, (request, respond));
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(error = %error, "a client's connection has failed");
                    return self.poll_last(cx);
                }
                Poll::Ready(None) => return self.poll_last(cx),
                Poll::Pending => break,
            }
        }
        if !self.ending && (worker.closing(slot) || self.shared.means_ill()) {
            self.ending = true;
            if self.shared.means_ill() {
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            } else {
                self.connection.graceful_shutdown();
            }
            cx.waker().wake_by_ref();
        }
        if self.io.poll_write_out(cx).map_err(drop) == Poll::Ready(Err(())) {
            return Poll::Ready(());
        }
        self.poll_idle()
    }

    /// Ends a connection without requests after a time.
    fn poll_idle(&mut self) -> Poll<()> {
        let worker = &self.shared.worker;
        if self.connection.has_streams() {
            self.idle = false;
            self.watch.clear();
            return Poll::Pending;
        }
        if !self.idle {
            self.idle = true;
            worker.clock.set(&self.watch, if self.ending { LINGER } else { worker.timeouts.idle });
        }
        if !worker.clock.expired(&self.watch) {
            return Poll::Pending;
        }
        if self.ending {
            return Poll::Ready(());
        }
        self.ending = true;
        self.connection.graceful_shutdown();
        worker.clock.set(&self.watch, LINGER);
        self.watch.wake();
        Poll::Pending
    }

    /// Writes what the library had to say at the end, if the client takes it.
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        _ = self.io.poll_write_out(cx);
        Poll::Ready(())
    }
}

impl Shared {
    fn means_ill(&self) -> bool {
        self.given_up.get() > MAX_GIVEN_UP && self.given_up.get() > self.requests.get() / 2
    }
}

/// Serves one request; `watch` is for its deadlines.
pub(super) async fn serve(shared: &Shared, watch: &Watch, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let (parts, received) = request.into_parts();
    let end = received.is_end_stream();
    let mut client = Stream::of_client(received, respond);
    let mut record = Recording::start(&shared.caller, Version::Http2);
    let mut decided = shared.decide(&parts, end, &mut record);
    drop(parts);
    match &mut decided {
        None => client.reset(Reason::REFUSED_STREAM),
        Some((Decision::Answer(answer, rule), facts)) => {
            let changes = rule.as_deref().map(|rule| Changes::new(&rule.response_headers, None));
            shared.answer(&mut client, watch, answer, changes, facts, &mut record).await;
        }
        Some((Decision::Forward(request), facts)) => {
            shared.forward(&mut client, watch, request, facts, &mut record).await;
            shared.worker.buffers.borrow_mut().give_back_head(request.message.take_head());
        }
    }
}

impl Shared {
    /// What is done with a request; `None` if something else has come to be served at the address.
    fn decide(&self, parts: &http::request::Parts, end: bool, record: &mut Recording) -> Option<(Decision, Facts)> {
        let mut storage = Storage::new();
        match head::request(parts, end, &mut storage) {
            Ok(head) => {
                let listener = self.slot.listener.load();
                record.asked(&head, head.query);
                let server_name = self.server_name.as_deref();
                let decision = route(&head, &listener, server_name, &self.origin, &self.worker, record)?;
                Some((decision, Facts::new(&head)))
            }
            Err(refusal) => {
                record.flag(Flag::DownstreamProtocol);
                Some((Decision::Answer(refusal.into(), None), Facts::refused(parts)))
            }
        }
    }

    async fn forward(
        &self,
        client: &mut Stream,
        watch: &Watch,
        request: &mut Routed,
        facts: &Facts,
        record: &mut Recording,
    ) {
        let mut sender = Sender::new(&self.worker, watch, End::Http2(client), (request, facts, record), false);
        match sender.send().await {
            Sent::Responded { .. } => record.done(),
            Sent::Over => {
                if poll_fn(|cx| Poll::Ready(client.poll_reset(cx))).await.is_ready() {
                    self.given_up.set(self.given_up.get() + 1);
                }
                client.reset(Reason::INTERNAL_ERROR);
            }
            Sent::Unanswered(answer) => {
                self.answer(client, watch, &answer, Some(request.changes()), facts, record).await;
            }
            Sent::Upgraded(mut link) => {
                watch.clear();
                let (up, down) = tunnel::join(&self.worker, End::Http2(client), link.end()).await;
                record.received(up);
                record.sent(down);
                record.done();
                link.close(&mut self.worker.buffers.borrow_mut());
            }
        }
    }

    async fn answer(
        &self,
        client: &mut Stream,
        watch: &Watch,
        answer: &Answer,
        changes: Option<Changes<'_>>,
        facts: &Facts,
        record: &mut Recording,
    ) {
        record.responded(answer.status.as_u16(), false);
        let (response, mut body) = answer.to_http2(changes, facts, self.worker.clock.date().as_bytes());
        let (end, length) = (body.is_empty(), body.len() as u64);
        if client.respond(response, end).is_err() {
            return record.flag(Flag::DownstreamGone);
        }
        self.worker.clock.set(watch, self.worker.timeouts.idle);
        let sent = poll_fn(|cx| {
            watch.arm(cx);
            match client.poll_send(cx, &mut body, true) {
                Poll::Pending if !self.worker.clock.expired(watch) => Poll::Pending,
                polled => Poll::Ready(matches!(polled, Poll::Ready(Ok(())))),
            }
        });
        if sent.await {
            record.sent(length);
            record.done();
        } else {
            record.flag(Flag::DownstreamGone);
        }
    }
}
