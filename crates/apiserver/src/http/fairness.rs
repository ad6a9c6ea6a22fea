//! How many requests are served at once, and whose turn it is (upstream's max-requests-inflight, and what its priority and
//! fairness is for).
//!
//! Requests on objects are refused with 429 past a number, so that what is being served is served well. Large lists cost far more
//! than anything else: they take one of a few seats, and who waits for one is served in turn with the others who wait, however
//! many lists each of them asks for. What happens in this process waits for nobody.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use crate::status::Failure;

/// Reading and changing requests served at once, as upstream's defaults.
const READS: usize = 400;
const WRITES: usize = 200;
/// Lists of one connection that may wait for a seat, and of all.
const WAITING_EACH: usize = 16;
const WAITING: usize = 512;
/// How long a list may wait for a seat.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may keep one.
const LEASE: Duration = Duration::from_secs(1);
/// Upper bounds of how many turns others had while a list waited for its own.
pub const TURNS: [f64; 7] = [0.0, 2.0, 4.0, 8.0, 32.0, 128.0, 512.0];

/// The connection that a request came by; requests from this process have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection(u64);

impl Connection {
    /// The next one.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Lets requests in.
pub struct Gate {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    seats: Arc<Mutex<Seats>>,
    /// Requests that were refused.
    pub refused: AtomicU64,
}

#[derive(Debug)]
struct Seats {
    free: usize,
    /// Who waits: in the order of their turns, each with its lists in theirs.
    waiting: VecDeque<(Connection, VecDeque<Waits>)>,
    waited: Turns,
}

/// A list that waits.
#[derive(Debug)]
struct Waits {
    give: oneshot::Sender<Seat>,
    /// Turns that there had been when it came.
    before: u64,
}

/// How long lists have waited, in turns of others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    /// Lists by how many turns they waited: [`TURNS`], and one more for those that waited longer.
    pub buckets: [u64; TURNS.len() + 1],
    /// Turns that they waited, together.
    pub waited: u64,
    /// Turns that there have been.
    given: u64,
}

impl Turns {
    fn note(&mut self, before: u64) {
        let waited = self.given.saturating_sub(before);
        self.given += 1;
        self.waited += waited;
        let at = TURNS.iter().position(|bound| waited as f64 <= *bound).unwrap_or(TURNS.len());
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
    }
}

/// The right to make one large list; given on when it is dropped.
#[derive(Debug)]
pub struct Seat(Option<Arc<Mutex<Seats>>>);

/// A seat for the time that a list may keep it.
#[derive(Debug)]
pub struct Lease(
    #[expect(dead_code, reason = "whoever gives the seat back waits for this to be dropped")] oneshot::Sender<()>,
);

impl Seat {
    /// The seat until this is dropped, and a second at most: a client that is slow to take its list takes no time of the
    /// machine's, and must not keep the seat from the others.
    pub fn lease(self) -> Lease {
        let (held, dropped) = oneshot::channel();
        if self.0.is_some() {
            tokio::spawn(async move {
                let _ = timeout(LEASE, dropped).await;
                drop(self);
            });
        }
        Lease(held)
    }
}

/// The right to be served.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it is given back when this is dropped")] OwnedSemaphorePermit);

impl Default for Gate {
    fn default() -> Self {
        // Half of the machine at most makes large lists; the other half has time for everybody else.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(READS, WRITES, (cores / 2).max(1))
    }
}

impl Gate {
    /// A gate for so many reading and changing requests, and large lists, at once.
    pub fn new(reads: usize, writes: usize, seats: usize) -> Self {
        let seats = Arc::new(Mutex::new(Seats { free: seats, waiting: VecDeque::new(), waited: Turns::default() }));
        let (reads, writes) = (Arc::new(Semaphore::new(reads)), Arc::new(Semaphore::new(writes)));
        Self { reads, writes, seats, refused: AtomicU64::new(0) }
    }

    /// Lets a request in, if there is room.
    ///
    /// # Errors
    /// 429.
    pub fn enter(&self, changes: bool) -> Result<Place, Failure> {
        let places = if changes { &self.writes } else { &self.reads };
        places.clone().try_acquire_owned().map(Place).map_err(|_| self.refuse())
    }

    /// Waits for a seat.
    ///
    /// # Errors
    /// 429 when too many wait, or it takes too long.
    pub async fn seat(&self, flow: Option<Connection>) -> Result<Seat, Failure> {
        let Some(flow) = flow else { return Ok(Seat(None)) };
        let waits = {
            let mut seats = lock(&self.seats);
            if seats.free > 0 {
                seats.free -= 1;
                let now = seats.waited.given;
                seats.waited.note(now);
                return Ok(Seat(Some(self.seats.clone())));
            }
            seats.wait(flow)
        };
        let waits = waits.ok_or_else(|| self.refuse())?;
        match timeout(PATIENCE, waits).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(self.refuse()),
        }
    }

    /// How long lists have waited for seats.
    pub fn turns(&self) -> Turns {
        lock(&self.seats).waited
    }

    fn refuse(&self) -> Failure {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Failure::overloaded()
    }
}

fn lock(seats: &Mutex<Seats>) -> MutexGuard<'_, Seats> {
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seats {
    /// Where the next seat of a flow arrives; `None` if too many wait.
    fn wait(&mut self, flow: Connection) -> Option<oneshot::Receiver<Seat>> {
        // Those who have given up keep nobody out.
        for (_, lists) in &mut self.waiting {
            lists.retain(|list| !list.give.is_closed());
        }
        self.waiting.retain(|(_, lists)| !lists.is_empty());
        if self.waiting.iter().map(|(_, lists)| lists.len()).sum::<usize>() >= WAITING {
            return None;
        }
        let (give, given) = oneshot::channel();
        let waits = Waits { give, before: self.waited.given };
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == flow) {
            Some((_, lists)) if lists.len() >= WAITING_EACH => return None,
            Some((_, lists)) => lists.push_back(waits),
            None => self.waiting.push_back((flow, VecDeque::from([waits]))),
        }
        Some(given)
    }

    /// Who is next; its flow goes to the end of the row.
    fn next(&mut self) -> Option<oneshot::Sender<Seat>> {
        let (flow, mut lists) = self.waiting.pop_front()?;
        let next = lists.pop_front();
        if !lists.is_empty() {
            self.waiting.push_back((flow, lists));
        }
        // Who has given up has no turn.
        let next = next.filter(|next| !next.give.is_closed())?;
        self.waited.note(next.before);
        Some(next.give)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        loop {
            // The lock is let go before anything that is sent may be dropped again.
            let next = {
                let mut seats = lock(&shared);
                let next = seats.next();
                if next.is_none() && seats.waiting.is_empty() {
                    seats.free += 1;
                    return;
                }
                next
            };
            let Some(next) = next else { continue };
            match next.send(Self(Some(shared.clone()))) {
                Ok(()) => return,
                // It has given up; the seat that comes back is still ours to give.
                Err(mut seat) => drop(seat.0.take()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[test]
    fn requests_past_the_number_are_refused_until_one_ends() {
        let gate = Gate::new(1, 1, 1);
        let first = gate.enter(false).unwrap();
        assert_eq!(gate.enter(false).unwrap_err().code.as_u16(), 429);
        assert!(gate.enter(true).is_ok(), "changes have places of their own");
        drop(first);
        assert!(gate.enter(false).is_ok());
        assert_eq!(gate.refused.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_asks_for_many_lists_is_served_in_turn_with_one_who_asks_for_one() {
        let gate = Gate::new(1, 1, 1);
        let (greedy, modest) = (Connection::next(), Connection::next());
        let held = gate.seat(Some(greedy)).await.unwrap();
        let served = Mutex::new(Vec::new());
        let list = async |who: &'static str, flow| {
            let seat = gate.seat(Some(flow)).await.unwrap();
            served.lock().unwrap().push(who);
            sleep(Duration::from_millis(1)).await;
            drop(seat);
        };
        let all = async {
            tokio::join!(
                list("greedy", greedy),
                list("greedy", greedy),
                list("greedy", greedy),
                list("modest", modest),
                async { drop(held) }
            )
        };
        all.await;
        assert_eq!(*served.lock().unwrap(), ["greedy", "modest", "greedy", "greedy"]);
        assert!(gate.seat(Some(modest)).await.is_ok(), "the seat is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_among_too_many_is_refused() {
        let gate = Gate::new(1, 1, 1);
        let flow = Connection::next();
        let held = gate.seat(Some(flow)).await.unwrap();
        assert_eq!(gate.seat(Some(flow)).await.unwrap_err().code.as_u16(), 429, "after its patience");
        let many = futures::future::join_all((0..=WAITING_EACH).map(async |_| gate.seat(Some(flow)).await.map(drop)));
        let (many, ()) = tokio::join!(many, async {
            sleep(Duration::from_secs(1)).await;
            drop(held);
        });
        assert_eq!(many.iter().filter(|seat| seat.is_err()).count(), 1);
        drop(many);
        assert!(gate.seat(Some(flow)).await.is_ok());
        assert!(gate.seat(None).await.is_ok(), "this process waits for nobody");
    }
}
