//! Requests and connections that wait for an endpoint of a Service that sleeps.
//!
//! Nothing of a request's body is read meanwhile: what the client sends of it stays in the kernel's buffers, or in the window of
//! its stream, and then with the client. When an endpoint comes, those who wait have their turns in about the order in which they
//! came; each chooses its endpoint then, by the cluster's policy. An endpoint that takes no connections yet (a pod without a
//! readiness probe that is still starting), or no longer (one that is ending), is waited for as well.

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{answer::Answer, end::End, worker::Worker};
use crate::{
    observe::{Flag, Held, Observe},
    table::{Cluster, Sleeper, Turn},
};

/// How soon an endpoint that takes no connections is asked again: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));
/// How often it is looked whether a client has left that has sent more than can be told without reading it.
const LOOK: Duration = Duration::from_secs(1);
/// What is longer is as good as for ever.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// When a client whose request could not wait, or waited in vain, may ask again: `Retry-After`, in seconds.
const LATER: HeaderValue = HeaderValue::from_static("5");

/// How many requests wait for Services that sleep, and for how long; past a bound they are answered 503 with `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldLimits {
    /// For each request.
    pub time: Duration,
    /// Requests and connections for one Service.
    pub per_service: usize,
    /// For all Services together.
    pub all: usize,
    /// Bytes of them that are kept in memory, for all Services together.
    pub bytes: usize,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), per_service: 1_000, all: 10_000, bytes: 64 * 1024 * 1024 }
    }
}

/// Everything that waits, in all workers.
#[derive(Debug)]
pub(super) struct Holding {
    limits: HoldLimits,
    waiting: AtomicUsize,
    bytes: AtomicUsize,
    /// Nobody waits any more: the proxy ends.
    closed: CancellationToken,
}

impl Holding {
    pub fn new(limits: HoldLimits) -> Self {
        let limits = HoldLimits { time: limits.time.min(LONGEST), ..limits };
        let (waiting, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { limits, waiting, bytes, closed: CancellationToken::new() }
    }

    /// Ends the waiting, of those who begin it later as well.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Why there is no endpoint in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// No more may wait.
    Full,
    /// None came in time.
    Late,
    /// The client has left.
    Gone,
    /// The Service does not sleep, or not any more.
    Off,
}

impl Denied {
    /// What is recorded of a request from this end.
    pub fn flag(self, client: &End<'_>) -> Flag {
        match (self, client) {
            (Self::Full, _) => Flag::UpstreamOverflow,
            (Self::Late | Self::Off, _) => Flag::NoEndpoint,
            (Self::Gone, End::Http1(_)) => Flag::DownstreamGone,
            (Self::Gone, End::Http2(_)) => Flag::DownstreamReset,
        }
    }

    /// What a client that is still there is told.
    pub fn answer(self) -> Answer {
        let text = match self {
            Self::Full => "no endpoint is ready, and no more requests may wait for one",
            _ => "no endpoint has become ready in time",
        };
        Answer::new(StatusCode::SERVICE_UNAVAILABLE, text).with(vec![(RETRY_AFTER, LATER)])
    }
}

/// Something that is counted for as long as this lives.
#[derive(Debug)]
struct Counted {
    holding: Arc<Holding>,
    bytes: usize,
}

impl Counted {
    /// Counts it, if there is room.
    fn new(holding: &Arc<Holding>, bytes: usize) -> Option<Self> {
        let (limits, holding) = (holding.limits, holding.clone());
        let waiting = holding.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        let all = holding.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        // One too many is counted down again by its drop.
        let counted = Self { holding, bytes };
        (waiting <= limits.all && all <= limits.bytes).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.holding.waiting.fetch_sub(1, Ordering::Relaxed);
        self.holding.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A place among those who wait, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    sleeper: Arc<Sleeper>,
    counted: Counted,
    observe: Rc<Observe>,
    /// What it is counted as in the metrics.
    cluster: Arc<str>,
    since: Instant,
    deadline: Instant,
    /// For the next time that endpoints take no connections.
    pause: Duration,
    /// How the wait ends; a route's time limit says nothing.
    ended: Held,
}

impl Place {
    /// Takes a place for something that has so many bytes in memory.
    ///
    /// # Errors
    /// There is no place, or no use in waiting.
    pub fn take(worker: &Worker, cluster: &Cluster, bytes: usize) -> Result<Box<Self>, Denied> {
        let Some(sleeper) = cluster.sleeper() else { return Err(Denied::Off) };
        let limits = worker.holding.limits;
        let counted = Counted::new(&worker.holding, bytes).filter(|_| sleeper.enter(limits.per_service));
        let Some(counted) = counted else {
            // It is wanted all the same.
            sleeper.knock();
            worker.observe.not_held(&cluster.name);
            return Err(Denied::Full);
        };
        let since = Instant::now();
        Ok(Box::new(Self {
            sleeper,
            counted,
            cluster: worker.observe.holds(&cluster.name),
            observe: worker.observe.clone(),
            since,
            deadline: since + limits.time,
            pause: AGAIN.0,
            ended: Held::Late,
        }))
    }

    /// Waits for a turn to ask an endpoint. `refused` says that those of now take no connections; `halves` that a client which
    /// sends nothing more may still be there, as on a connection whose bytes mean nothing to the proxy.
    ///
    /// # Errors
    /// Why there will be none.
    pub async fn wait(
        &mut self,
        cluster: &Cluster,
        refused: bool,
        client: &mut End<'_>,
        halves: bool,
    ) -> Result<Turn, Denied> {
        let turn = self.wait_for_turn(cluster, refused, client, halves).await;
        self.ended = match &turn {
            Ok(_) => Held::Released,
            Err(Denied::Gone) => Held::Gone,
            Err(Denied::Off) => Held::Off,
            Err(Denied::Late | Denied::Full) => Held::Late,
        };
        turn
    }

    async fn wait_for_turn(
        &mut self,
        cluster: &Cluster,
        mut refused: bool,
        client: &mut End<'_>,
        halves: bool,
    ) -> Result<Turn, Denied> {
        let (mut deadline, mut again) = (pin!(sleep_until(self.deadline)), pin!(sleep(self.pause)));
        if refused {
            self.pause = AGAIN.1.min(self.pause * 2);
        }
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (mut changed, mut free) = (pin!(self.sleeper.changed()), pin!(self.sleeper.free()));
            // From here on no change is missed.
            changed.as_mut().enable();
            if !cluster.sleeps() {
                return Err(Denied::Off);
            }
            if !refused && let Some(turn) = self.sleeper.turn(cluster.count()) {
                return Ok(turn);
            }
            tokio::select! {
                biased;
                () = &mut changed => refused = false,
                () = &mut free, if !refused => {}
                () = poll_fn(|cx| client.poll_closed(cx)) => return Err(Denied::Gone),
                () = &mut deadline => return Err(Denied::Late),
                () = self.counted.holding.closed.cancelled() => return Err(Denied::Late),
                () = &mut again, if refused => refused = false,
                _ = look.tick() => if client.has_left(halves) {
                    return Err(Denied::Gone);
                },
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sleeper.leave();
        self.observe.held(&self.cluster, self.ended, self.since.elapsed());
    }
}
