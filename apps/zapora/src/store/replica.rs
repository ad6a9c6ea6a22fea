//! Which server is written to, and whether the replica is fresh enough to be read from.
//!
//! Freshness is measured in the primary's own terms, not by anybody's clock: from time to time the primary is asked how far its
//! log has got, and the replica how far it has replayed. Once the replica has replayed what the primary had written at some
//! moment, whatever was committed before that moment can be read there. (`pg_last_xact_replay_timestamp` alone would call the
//! replica of a primary that nobody writes to ever staler.) The same comparison gives read-your-writes: a writer reads from the
//! primary until the replica has replayed a position that was taken after the write.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{AnyPool, Row};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Reader, StoreSettings};

/// The most positions of the primary that are remembered; at ten a bound, the oldest is long past it.
const POSITIONS: usize = 64;
/// The most writers that are remembered; beyond, everybody reads from the primary until the bound has passed.
const WRITERS: usize = 10_000;
/// How long a server may take to say how far it is.
const PROBE: Duration = Duration::from_secs(1);
/// How long the shared store of marks may take to answer before the primary is read instead.
const SHARED: Duration = Duration::from_millis(100);

/// The server or two behind a store.
#[derive(Debug)]
pub struct Servers {
    pools: Vec<AnyPool>,
    /// A connection to each server that only asks how far it is, so that a busy pool is not taken for a dead server.
    probes: Vec<AnyPool>,
    /// The index of the server that is written to.
    leader: AtomicUsize,
    /// SQLite's readers see every commit at once.
    always_fresh: bool,
    freshness: Mutex<Freshness>,
    shared: OnceLock<redis::aio::ConnectionManager>,
    look: Notify,
    max_lag: Duration,
    promote_after: Option<Duration>,
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    standby: bool,
    timeline: i64,
    /// Bytes into the log: written by a primary, replayed by a standby.
    log: u64,
}

impl Servers {
    /// One server, or two pools on one file.
    pub(super) fn single(writer: AnyPool, readers: Option<AnyPool>) -> Self {
        let pools = std::iter::once(writer).chain(readers).collect();
        Self::new(pools, Vec::new(), true, Duration::ZERO, None)
    }

    /// A primary and perhaps its replica.
    pub(super) fn replicated(primary: [AnyPool; 2], replica: Option<[AnyPool; 2]>, settings: &StoreSettings) -> Self {
        let (pools, probes) = std::iter::once(primary).chain(replica).map(|[pool, probe]| (pool, probe)).unzip();
        Self::new(pools, probes, false, settings.replica_max_lag, settings.promote_after)
    }

    fn new(
        pools: Vec<AnyPool>,
        probes: Vec<AnyPool>,
        always_fresh: bool,
        max_lag: Duration,
        promote_after: Option<Duration>,
    ) -> Self {
        Self {
            pools,
            probes,
            leader: AtomicUsize::new(0),
            always_fresh,
            freshness: Mutex::default(),
            shared: OnceLock::new(),
            look: Notify::new(),
            max_lag,
            promote_after,
        }
    }

    /// Several replicas of the service share through Redis who has just written.
    pub fn share_writers(&self, redis: redis::aio::ConnectionManager) {
        // A second call changes nothing: it would be the same Redis.
        let _ = self.shared.set(redis);
    }

    /// Whether there is a second server.
    pub fn has_replica(&self) -> bool {
        self.probes.len() > 1
    }

    /// Whether `Reader::Anyone` would be sent to the replica now.
    pub fn replica_is_fresh(&self) -> bool {
        self.has_replica() && self.freshness().readable(Instant::now(), self.max_lag, None)
    }

    /// Whether the primary is away, and `Reader::Anyone` would be sent to the replica all the same.
    pub(super) fn reads_without_primary(&self) -> bool {
        self.replica_is_fresh() && self.freshness().leader_away
    }

    fn freshness(&self) -> MutexGuard<'_, Freshness> {
        self.freshness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(
        clippy::indexing_slicing,
        reason = "there is at least one pool, and the leader is set to an existing one only"
    )]
    pub(super) fn to_write(&self) -> &AnyPool {
        // There is at least one, and the leader is set to one that exists.
        &self.pools[self.leader.load(Ordering::Relaxed)]
    }

    pub(super) async fn to_read(&self, reader: Reader<'_>) -> &AnyPool {
        let leader = self.leader.load(Ordering::Relaxed);
        let Some(other) = self.pools.get(1 - leader) else { return self.to_write() };
        let fresh = match reader {
            _ if self.always_fresh => true,
            Reader::Newest => false,
            Reader::Anyone => self.freshness().readable(Instant::now(), self.max_lag, None),
            Reader::Writer(writer) => {
                let now = Instant::now();
                let (readable, away) = {
                    let freshness = self.freshness();
                    let wrote = freshness.wrote_at(writer, now, self.max_lag);
                    (freshness.readable(now, self.max_lag, wrote), freshness.leader_away)
                };
                // With the primary away there is nothing fresher to go to.
                readable && (away || !self.wrote_elsewhere(writer).await)
            }
        };
        if fresh { other } else { self.to_write() }
    }

    pub(super) async fn wrote(&self, writer: &str) {
        if !self.has_replica() {
            return;
        }
        self.freshness().mark(writer, Instant::now(), self.max_lag);
        if let Some(redis) = self.shared.get() {
            let mut redis = redis.clone();
            let mut command = redis::cmd("SET");
            command.arg(mark_key(writer)).arg(1).arg("PX").arg(self.max_lag.as_millis() as u64);
            // Should this fail, other replicas of the service find out that Redis is away, and read from the primary.
            let _ = tokio::time::timeout(SHARED, command.query_async::<()>(&mut redis)).await;
        }
    }

    /// Whether another replica of the service may have written for `writer`; yes when that cannot be found out.
    async fn wrote_elsewhere(&self, writer: &str) -> bool {
        let Some(redis) = self.shared.get() else { return false };
        let mut redis = redis.clone();
        let mut command = redis::cmd("EXISTS");
        command.arg(mark_key(writer));
        match tokio::time::timeout(SHARED, command.query_async::<bool>(&mut redis)).await {
            Ok(Ok(wrote)) => wrote,
            _ => true,
        }
    }

    /// Asks for a look at the servers at once: something went wrong.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    /// Watches the servers until `stop`; returns at once where there is only one.
    pub async fn watch(&self, stop: CancellationToken) {
        if !self.has_replica() {
            return;
        }
        let every = (self.max_lag / 10).clamp(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            self.look_now().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look.notified() => tokio::time::sleep(Duration::from_millis(20)).await,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    /// Looks at both servers once: which leads, and how fresh the other is.
    pub async fn look_now(&self) {
        let [first, second] = self.probes.as_slice() else { return };
        let asked = Instant::now();
        let (first, second) = tokio::join!(position(first), position(second));
        let positions = [first, second];
        let old = self.leader.load(Ordering::Relaxed);
        if let Some(leader) = elect(old, positions)
            && leader != old
        {
            tracing::warn!(from = old, to = leader, "the database's primary is another server now");
            self.leader.store(leader, Ordering::Relaxed);
            self.freshness().forget();
        }
        let leader = self.leader.load(Ordering::Relaxed);
        let of = |index: usize| positions.get(index).copied().flatten();
        let led = of(leader).filter(|position| !position.standby);
        let followed = of(1 - leader).filter(|position| position.standby);
        let away = self.freshness().observe(asked, led.map(|p| p.log), followed.map(|p| p.log));
        if let (Some(away), Some(limit), Some(_)) = (away, self.promote_after, followed)
            && asked.duration_since(away) >= limit
        {
            self.promote(1 - leader).await;
        }
    }

    async fn promote(&self, index: usize) {
        let Some(pool) = self.probes.get(index) else { return };
        tracing::warn!(server = index, "the primary has been away for too long: promoting its replica");
        if let Err(error) = sqlx::query("SELECT 1 FROM pg_promote(true, 10)").execute(pool).await {
            // Another replica of the service may have been quicker.
            tracing::warn!(%error, "the replica did not accept its promotion");
        }
        self.look();
    }

    pub(super) async fn close(&self) {
        for pool in self.pools.iter().chain(&self.probes) {
            pool.close().await;
        }
    }
}

fn mark_key(writer: &str) -> String {
    format!("zapora:wrote:{writer}")
}

/// Asks a server how far it is; `None` when it does not say so in time.
async fn position(pool: &AnyPool) -> Option<Position> {
    let query = sqlx::query(
        "SELECT CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END::bigint AS standby, \
         CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline, \
         COALESCE(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text, '0/0') AS log",
    );
    let row = tokio::time::timeout(PROBE, query.fetch_one(pool)).await.ok()?.ok()?;
    let timeline: String = row.try_get("timeline").ok()?;
    let log: String = row.try_get("log").ok()?;
    Some(Position {
        standby: row.try_get::<i64, _>("standby").ok()? == 1,
        timeline: i64::from_str_radix(&timeline, 16).unwrap_or(0),
        log: parse_lsn(&log)?,
    })
}

/// PostgreSQL writes a position in its log as two hexadecimal halves: `16/B374D848`.
fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
}

/// Who leads: of the servers that are no standby, the one on the highest timeline, because a promotion begins a new one. So an old
/// primary that comes back after its replica was promoted is not written to again. Nobody else than before when none answers.
fn elect(current: usize, positions: [Option<Position>; 2]) -> Option<usize> {
    let primaries = positions.iter().enumerate().filter_map(|(i, p)| p.filter(|p| !p.standby).map(|p| (i, p)));
    primaries.max_by_key(|(index, position)| (position.timeline, *index == current)).map(|(index, _)| index)
}

/// How far the replica is behind, and who has written of late.
#[derive(Debug, Default)]
struct Freshness {
    /// When the primary was asked, and how far it was at least, oldest first.
    positions: VecDeque<(Instant, u64)>,
    /// Everything committed before this moment can be read on the replica.
    complete_to: Option<Instant>,
    replica_away: bool,
    leader_away: bool,
    leader_away_since: Option<Instant>,
    /// The replica has all that the primary is known to have had.
    complete: bool,
    writers: HashMap<String, Instant>,
    /// More writers than can be remembered: until the bound has passed after this, everyone counts as one.
    everyone_wrote: Option<Instant>,
}

impl Freshness {
    /// Takes down what both servers said when asked at `asked`; returns since when the primary has been away, if it is.
    fn observe(&mut self, asked: Instant, leader: Option<u64>, replica: Option<u64>) -> Option<Instant> {
        if let Some(log) = leader {
            if self.positions.len() == POSITIONS {
                self.positions.pop_front();
            }
            self.positions.push_back((asked, log));
        }
        self.leader_away = leader.is_none();
        self.leader_away_since = if leader.is_none() { self.leader_away_since.or(Some(asked)) } else { None };
        self.replica_away = replica.is_none();
        if let Some(replayed) = replica {
            if let Some((at, _)) = self.positions.iter().rev().find(|(_, log)| *log <= replayed) {
                self.complete_to = Some(*at);
            }
            self.complete = self.positions.back().is_some_and(|(_, log)| *log <= replayed);
        }
        self.leader_away_since
    }

    /// Another server leads: positions in the old one's log mean nothing for it.
    fn forget(&mut self) {
        *self =
            Self { writers: std::mem::take(&mut self.writers), everyone_wrote: self.everyone_wrote, ..Self::default() };
    }

    /// Whether the replica may be read from `now`, by someone who last wrote at `wrote`.
    fn readable(&self, now: Instant, max_lag: Duration, wrote: Option<Instant>) -> bool {
        if self.replica_away {
            return false;
        }
        let Some(complete_to) = self.complete_to else { return false };
        if self.leader_away && self.complete {
            return true;
        }
        now.duration_since(complete_to) <= max_lag && wrote.is_none_or(|wrote| wrote <= complete_to)
    }

    fn mark(&mut self, writer: &str, now: Instant, max_lag: Duration) {
        if self.writers.len() >= WRITERS {
            self.writers.retain(|_, at| now.duration_since(*at) <= max_lag);
        }
        if self.writers.len() >= WRITERS {
            self.everyone_wrote = Some(now);
        } else {
            self.writers.insert(writer.to_owned(), now);
        }
    }

    /// When `writer` last wrote, unless that is so long ago that every readable replica has it.
    fn wrote_at(&self, writer: &str, now: Instant, max_lag: Duration) -> Option<Instant> {
        let recent = |at: &Instant| now.duration_since(*at) <= max_lag;
        let own = self.writers.get(writer).copied().filter(recent);
        own.max(self.everyone_wrote.filter(recent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_secs(5);

    fn primary(timeline: i64) -> Option<Position> {
        Some(Position { standby: false, timeline, log: 1 })
    }
    fn standby() -> Option<Position> {
        Some(Position { standby: true, timeline: 0, log: 1 })
    }

    #[test]
    fn the_server_on_the_newest_timeline_leads_and_a_returning_old_primary_does_not() {
        for (current, positions, leader) in [
            (0, [primary(1), standby()], Some(0)),
            (0, [None, standby()], None),
            (0, [None, primary(2)], Some(1)),
            (1, [primary(1), primary(2)], Some(1)),
            (0, [primary(1), primary(2)], Some(1)),
            (1, [primary(3), primary(3)], Some(1)),
            (0, [standby(), primary(1)], Some(1)),
            (0, [None, None], None),
        ] {
            assert_eq!(elect(current, positions), leader, "{current} {positions:?}");
        }
    }

    #[test]
    fn a_replica_of_an_idle_primary_stays_fresh() {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        assert!(!freshness.readable(start, LAG, None), "nothing is known yet");
        for second in 0..100 {
            freshness.observe(start + Duration::from_secs(second), Some(7), Some(7));
        }
        assert!(freshness.readable(start + Duration::from_secs(100), LAG, None));
    }

    #[test]
    fn a_replica_that_stops_replaying_is_left_when_the_bound_has_passed() {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        freshness.observe(start, Some(10), Some(10));
        for second in 1..20 {
            let now = start + Duration::from_secs(second);
            freshness.observe(now, Some(10 + second), Some(10));
            assert_eq!(freshness.readable(now, LAG, None), second <= 5, "{second}");
        }
        let now = start + Duration::from_secs(20);
        freshness.observe(now, Some(40), Some(40));
        assert!(freshness.readable(now, LAG, None), "it has caught up");
        freshness.observe(now, Some(40), None);
        assert!(!freshness.readable(now, LAG, None), "it is away");
    }

    #[test]
    fn a_writer_reads_from_the_primary_until_the_replica_has_the_write() {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        freshness.observe(at(0), Some(10), Some(10));
        freshness.mark("ann", at(100), LAG);
        let readable =
            |freshness: &Freshness, who, now| freshness.readable(now, LAG, freshness.wrote_at(who, now, LAG));
        assert!(!readable(&freshness, "ann", at(150)));
        assert!(readable(&freshness, "bob", at(150)));
        freshness.observe(at(200), Some(20), Some(10));
        assert!(!readable(&freshness, "ann", at(250)));
        freshness.observe(at(300), Some(20), Some(20));
        assert!(readable(&freshness, "ann", at(350)));
    }

    #[test]
    fn with_the_primary_away_a_complete_replica_goes_on_being_read() {
        let (mut freshness, start) = (Freshness::default(), Instant::now());
        freshness.observe(start, Some(10), Some(10));
        let later = start + Duration::from_secs(60);
        assert_eq!(
            freshness.observe(start + Duration::from_secs(1), None, Some(10)),
            Some(start + Duration::from_secs(1))
        );
        assert_eq!(freshness.observe(later, None, Some(10)), Some(start + Duration::from_secs(1)));
        assert!(freshness.readable(later, LAG, None));
        let mut behind = Freshness::default();
        behind.observe(start, Some(10), Some(10));
        behind.observe(start + Duration::from_secs(1), Some(30), Some(10));
        behind.observe(later, None, Some(10));
        assert!(!behind.readable(later, LAG, None), "it is known to lack something");
    }

    #[test]
    fn more_writers_than_can_be_remembered_count_as_everyone() {
        let (mut freshness, now) = (Freshness::default(), Instant::now());
        for n in 0..=WRITERS {
            freshness.mark(&n.to_string(), now, LAG);
        }
        assert_eq!(freshness.wrote_at("somebody else", now, LAG), Some(now));
        assert_eq!(freshness.wrote_at("somebody else", now + LAG * 2, LAG), None);
    }

    #[test]
    fn log_positions_are_two_halves() {
        assert_eq!(parse_lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(parse_lsn("0/0"), Some(0));
        assert_eq!(parse_lsn("nonsense"), None);
    }
}
