//! Reading from a streaming replica of PostgreSQL, and failing over to it.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use zapora::store::{Reader, Store, StoreError, StoreSettings};

use crate::support::{Postgres, execute, open_restaurant, order, postgres, until};

/// A primary, its replica, and a store over both that is watched.
struct Pair {
    primary: Postgres,
    replica: Postgres,
    store: Store,
    stop: CancellationToken,
}

impl Pair {
    async fn start(change: impl Fn(StoreSettings) -> StoreSettings) -> Option<Self> {
        let primary = postgres()?;
        let replica = primary.replicate().unwrap();
        let settings = StoreSettings { replica_url: Some(replica.url()), ..StoreSettings::new(primary.url()) };
        let store = Store::open(&change(settings)).await.unwrap();
        open_restaurant(&store).await;
        let stop = CancellationToken::new();
        let (watched, stopped) = (store.clone(), stop.clone());
        tokio::spawn(async move { watched.servers().watch(stopped).await });
        Some(Self { primary, replica, store, stop })
    }

    async fn fresh(&self, wanted: bool) {
        until("the replica's freshness", || async {
            (self.store.servers().replica_is_fresh() == wanted).then_some(())
        })
        .await;
    }

    /// Whether a read for `reader` goes to a standby.
    async fn reads_from_standby(&self, reader: Reader<'_>) -> Option<bool> {
        let mut connection = self.store.reading(reader).await.ok()?;
        let query = sqlx::query_scalar("SELECT CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END::bigint");
        query.fetch_one(&mut *connection).await.ok().map(|standby: i64| standby == 1)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn reads_go_to_a_fresh_replica_and_writers_see_what_they_wrote() {
    let Some(pair) = Pair::start(|settings| settings).await else { return };
    pair.fresh(true).await;
    assert_eq!(pair.reads_from_standby(Reader::Anyone).await, Some(true));
    assert_eq!(pair.reads_from_standby(Reader::Newest).await, Some(false));
    for _ in 0..20 {
        let order = order(&pair.store, "ann").await;
        let read = pair.store.order(Reader::Writer("ann"), &order.id).await.unwrap();
        assert_eq!(read, Some(order), "read your writes");
    }
    until("ann reads from the replica again", || async {
        pair.reads_from_standby(Reader::Writer("ann")).await.filter(|standby| *standby)
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_falls_behind_or_dies_is_not_read_from_until_it_is_back() {
    let bound = Duration::from_millis(600);
    let Some(pair) = Pair::start(|settings| StoreSettings { replica_max_lag: bound, ..settings }).await else { return };
    pair.fresh(true).await;
    // It goes on receiving, and replays nothing.
    let replica = Store::clone(&pair.store);
    let mut connection = replica.reading(Reader::Anyone).await.unwrap();
    sqlx::raw_sql("SELECT pg_wal_replay_pause()").execute(&mut *connection).await.unwrap();
    execute(&pair.store, "UPDATE menu_items SET price_cents = 1", &[]).await;
    pair.fresh(false).await;
    assert_eq!(pair.reads_from_standby(Reader::Anyone).await, Some(false));
    sqlx::raw_sql("SELECT pg_wal_replay_resume()").execute(&mut *connection).await.unwrap();
    drop(connection);
    pair.fresh(true).await;
    pair.replica.kill().unwrap();
    until("reads without the replica", || async {
        pair.store.order(Reader::Anyone, "none").await.ok()?;
        (!pair.store.servers().replica_is_fresh()).then_some(())
    })
    .await;
    pair.replica.run().unwrap();
    pair.fresh(true).await;
}

#[tokio::test]
async fn with_the_primary_away_reads_go_on_and_writes_are_unavailable_in_time() {
    let change = |settings| StoreSettings {
        acquire_timeout: Duration::from_secs(2),
        timeout: Duration::from_secs(4),
        ..settings
    };
    let Some(pair) = Pair::start(change).await else { return };
    let order = order(&pair.store, "ann").await;
    pair.fresh(true).await;
    pair.primary.kill().unwrap();
    until("a read from the replica", || async { pair.store.order(Reader::Anyone, &order.id).await.ok().flatten() })
        .await;
    let refused = pair.store.set_stock("pizza", Some(1), Timestamp::now()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    until("readiness for what goes on", || async { pair.store.ping().await.ok() }).await;
    pair.primary.run().unwrap();
    until("a write", || async { pair.store.set_stock("pizza", Some(1), Timestamp::now()).await.ok() }).await;
}

#[tokio::test]
async fn writes_follow_a_promotion_and_one_setting_makes_the_promotion_automatic() {
    for promote_after in [None, Some(Duration::from_secs(1))] {
        let change = |settings| StoreSettings { promote_after, ..settings };
        let Some(pair) = Pair::start(change).await else { return };
        // The primary answers for a commit once the replica has it: then nothing that was acknowledged is lost with it.
        pair.primary.configure("synchronous_standby_names = '*'").unwrap();
        pair.primary.reload().unwrap();
        let mut orders = Vec::new();
        for _ in 0..10 {
            orders.push(order(&pair.store, "ann").await);
        }
        pair.fresh(true).await;
        pair.primary.kill().unwrap();
        if promote_after.is_none() {
            pair.replica.promote().unwrap();
        }
        until("a write", || async { pair.store.set_stock("beer", Some(1), Timestamp::now()).await.ok() }).await;
        for order in &orders {
            assert_eq!(pair.store.order(Reader::Newest, &order.id).await.unwrap().as_ref(), Some(order));
        }
        // The old primary comes back, and believes that it still is one: nobody writes to it.
        pair.primary.configure("").unwrap();
        pair.primary.run().unwrap();
        pair.store.servers().look_now().await;
        pair.store.set_stock("beer", Some(77), Timestamp::now()).await.unwrap();
        let old = Store::open(&StoreSettings::new(pair.primary.url())).await.unwrap();
        assert_eq!(old.stock(Reader::Newest, "beer").await.unwrap(), None);
    }
}
