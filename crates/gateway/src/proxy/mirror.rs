//! Copies of requests for backends that only watch (Gateway API, `HTTPRequestMirrorFilter`). Nobody waits for them and
//! nobody reads what they are answered; what there is no room for is not sent.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, Write},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fastrand::Rng;
use http::Request;
use tokio::{sync::mpsc, time::timeout};

use super::{
    connect::{Unconnected, connect},
    head::{Body, Request as Head, Storage},
    http1::{self, body::Decoder},
    http2::{Piece, Said, to_io},
    message::{self, Changes, Origin},
    side::Side,
    upstream::{is_open, next_endpoint},
    worker::Worker,
};
use crate::{
    balance::Picked,
    table::{Cluster, Mirror, Rewrite, Upstream},
};

/// Under way at a time in one worker.
const MAX_ACTIVE: usize = 256;
/// For a connection, the request and the response.
const LIMIT: Duration = Duration::from_secs(15);
/// A response is read up to here, so that its connection can be used again.
const MAX_DISCARDED: usize = 1024 * 1024;

/// A request for a backend that watches.
#[derive(Debug)]
pub(super) struct Copy {
    cluster: Arc<Cluster>,
    lines: Lines,
    to_head: bool,
}

/// A head, as the cluster's protocol has it.
#[derive(Debug)]
enum Lines {
    Http1 {
        head: Vec<u8>,
        /// The body follows in chunks.
        chunked: bool,
    },
    Http2(Box<Request<()>>),
}

/// The copies that chance wants. They are written with `random` as it is left, as the request itself is after them: all have
/// the same ids.
pub(super) fn copies<'m>(
    mirrors: impl Iterator<Item = &'m Mirror>,
    head: &Head<'_, '_>,
    (rewrite, changes): (Option<&Rewrite>, Changes<'_>),
    origin: &Origin,
    random: &mut Rng,
) -> Vec<Copy> {
    // What follows a change of protocol is no request.
    let mirrors = mirrors.filter(|_| head.upgrade.is_none());
    let chosen = mirrors.filter(|mirror| mirror.part >= mirror.whole || random.u32(..mirror.whole) < mirror.part);
    let chosen: Vec<_> = chosen.collect();
    let copy = |mirror: &Mirror| {
        let (cluster, mut random) = (mirror.cluster.clone(), random.clone());
        let lines = match cluster.protocol {
            Upstream::Http1 => {
                let mut lines = Vec::new();
                message::http1_request(&mut lines, head, rewrite, changes, origin, &mut random);
                Lines::Http1 { head: lines, chunked: head.body == Body::Chunked }
            }
            Upstream::Http2 => {
                let request = message::http2_request(head, rewrite, changes, origin, cluster.scheme(), &mut random);
                Lines::Http2(Box::new(request.ok()?.0))
            }
        };
        Some(Copy { cluster, lines, to_head: head.method == "HEAD" })
    };
    chosen.into_iter().filter_map(copy).collect()
}

/// Where a worker's copies wait for their turn, which comes at once.
#[derive(Debug)]
pub(super) struct Mirrors {
    jobs: mpsc::UnboundedSender<Job>,
    active: Rc<Cell<usize>>,
}

/// A copy with its body.
#[derive(Debug)]
pub(super) struct Job {
    copy: Copy,
    body: Vec<Bytes>,
    _active: Active,
}

/// Counts a job for as long as it lives.
#[derive(Debug)]
struct Active(Rc<Cell<usize>>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Mirrors {
    /// And what [`run`] works on.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Job>) {
        let (jobs, waiting) = mpsc::unbounded_channel();
        (Self { jobs, active: Rc::default() }, waiting)
    }

    /// Sends copies, if there is room for them.
    pub fn send(&self, copies: Vec<Copy>, body: &[Bytes]) {
        for copy in copies {
            if self.active.get() >= MAX_ACTIVE {
                tracing::debug!(cluster = %copy.cluster.name, "a request is not mirrored: too many are under way");
                continue;
            }
            self.active.set(self.active.get() + 1);
            let job = Job { copy, body: body.to_vec(), _active: Active(self.active.clone()) };
            // It fails only when the worker ends.
            _ = self.jobs.send(job);
        }
    }
}

/// Runs for as long as the worker does.
pub(super) async fn run(worker: Rc<Worker>, mut waiting: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = waiting.recv().await {
        let worker = worker.clone();
        tokio::task::spawn_local(async move {
            let cluster = &job.copy.cluster.name;
            match timeout(LIMIT, job.send(&worker)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%cluster, error = %error, "a request was not mirrored"),
                Err(_) => tracing::debug!(%cluster, "a mirrored request took too long"),
            }
        });
    }
}

impl Job {
    async fn send(&self, worker: &Worker) -> io::Result<()> {
        let Some(mut picked) = next_endpoint(worker, &self.copy.cluster, &[], None) else {
            return Err(io::Error::other("no endpoint is ready"));
        };
        let sent = match &self.copy.lines {
            Lines::Http1 { head, chunked } => self.send_lines(worker, &mut picked, head, *chunked).await,
            Lines::Http2(request) => self.send_stream(worker, &mut picked, request).await,
        };
        if sent.is_err() {
            picked.failed(Instant::now);
        }
        sent
    }

    async fn send_lines(&self, worker: &Worker, picked: &mut Picked, head: &[u8], chunked: bool) -> io::Result<()> {
        let place = (picked.address(), self.copy.cluster.tls_id());
        let pooled = worker.pool.take(place).filter(is_open);
        let mut side = match pooled {
            Some(side) => side,
            None => connect(worker, place.0, &self.copy.cluster).await.map_err(to_error)?,
        };
        let request = self.request(head, chunked);
        let mut sent = 0;
        poll_fn(|cx| {
            while sent < request.len() {
                match std::task::ready!(side.poll_write(cx, [&request, &[], &[], &[]], sent))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => sent += written,
                }
            }
            side.poll_flush(cx)
        })
        .await?;
        let reusable = discard(worker, &mut side, self.copy.to_head, picked).await?;
        let mut buffers = worker.buffers.borrow_mut();
        side.release(&mut buffers);
        if reusable {
            worker.pool.put(place, side, worker.clock.instant());
        } else {
            side.close(&mut buffers);
        }
        Ok(())
    }

    /// All of a request of HTTP/1.
    fn request(&self, head: &[u8], chunked: bool) -> Vec<u8> {
        let length: usize = self.body.iter().map(Bytes::len).sum();
        let mut request = head.to_vec();
        // Writing to a vector cannot fail.
        if chunked && length > 0 {
            _ = write!(request, "{length:x}\r\n");
        }
        self.body.iter().for_each(|piece| request.extend_from_slice(piece));
        if chunked {
            request.extend_from_slice(if length > 0 { b"\r\n0\r\n\r\n" } else { b"0\r\n\r\n" });
        }
        request
    }

    async fn send_stream(&self, worker: &Worker, picked: &mut Picked, request: &Request<()>) -> io::Result<()> {
        let (place, cluster) = ((picked.address(), self.copy.cluster.tls_id()), &self.copy.cluster);
        let connect = async || connect(worker, place.0, cluster).await;
        let lease = worker.http2.lease(place, worker.clock.instant(), connect).await.map_err(to_error)?;
        let mut stream = lease.send(request.clone(), self.body.is_empty()).await?;
        for (number, piece) in self.body.iter().enumerate() {
            let (mut piece, last) = (piece.clone(), number + 1 == self.body.len());
            poll_fn(|cx| stream.poll_send(cx, &mut piece, last)).await?;
        }
        while let Said::Interim(_) = poll_fn(|cx| stream.poll_said(cx)).await.map_err(to_io)? {}
        picked.responded(Instant::now);
        let mut read = 0;
        while let Piece::Data(data, false) = poll_fn(|cx| stream.poll_piece(cx)).await.map_err(to_io)? {
            read += data.len();
            stream.passed_on();
            if read > MAX_DISCARDED {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a response; says whether its connection can be used again.
async fn discard(worker: &Worker, side: &mut Side, to_head: bool, picked: &mut Picked) -> io::Result<bool> {
    let (body, keeps_alive) = loop {
        let mut storage = Storage::new();
        match http1::response::parse(side.filled(), to_head, &mut storage).map_err(io::Error::other)? {
            Some((length, head)) if matches!(head.status, 100 | 102..=199) => side.consume(length),
            Some((length, head)) => {
                let said = (head.body, head.keeps_alive);
                side.consume(length);
                break said;
            }
            None => fill(worker, side).await?,
        }
    };
    picked.responded(Instant::now);
    let (mut decoder, mut read) = (Decoder::new(body), 0);
    while !decoder.is_done() && keeps_alive && read <= MAX_DISCARDED {
        if side.filled().is_empty() {
            fill(worker, side).await?;
        }
        let taken = decoder.decode(side.filled_mut()).map_err(io::Error::other)?;
        side.consume(taken.consumed);
        read += taken.consumed;
    }
    Ok(keeps_alive && decoder.is_done() && side.filled().is_empty())
}

async fn fill(worker: &Worker, side: &mut Side) -> io::Result<()> {
    if !side.has_room() {
        side.grow(worker);
    }
    match poll_fn(|cx| side.poll_fill(cx, worker)).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn to_error(error: Unconnected) -> io::Error {
    io::Error::other(error.to_string())
}
