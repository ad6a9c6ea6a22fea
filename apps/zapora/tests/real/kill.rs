//! Killing PostgreSQL, Redis and the workers while orders come in: nothing that was accepted is lost or doubled.

use std::{
    collections::HashSet,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::task::JoinHandle;
use zapora::{
    engine::Rules,
    jobs::Payments,
    store::{Store, StoreSettings, orders::Placement},
};

use crate::{
    jobs::{Working, all_done, quick},
    support::{Redis, count, open_restaurant, patient, postgres, redis, request, until},
};

/// Customers who order until they are told to stop, each trying again with the same key until there is an answer.
struct Customers {
    stop: Arc<AtomicBool>,
    orders: Vec<JoinHandle<Vec<String>>>,
}

impl Customers {
    fn come(store: &Store, how_many: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let orders = (0..how_many).map(|n| tokio::spawn(Self::one(store.clone(), n, stop.clone()))).collect();
        Self { stop, orders }
    }

    async fn one(store: Store, number: usize, stop: Arc<AtomicBool>) -> Vec<String> {
        let mut accepted = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let request = request("ann", Some(&format!("{number}-{}", accepted.len())), &[("pizza", 1)]);
            let placed = until("an answer", || async {
                store.place_order(&Rules::default(), &request, Timestamp::now()).await.ok()
            })
            .await;
            match placed {
                Placement::Placed(order) | Placement::Repeated(order) => accepted.push(order.id),
                other => panic!("{other:?}"),
            }
        }
        accepted
    }

    /// Their accepted orders.
    async fn leave(self) -> HashSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut accepted = HashSet::new();
        for orders in self.orders {
            for order in orders.await.unwrap() {
                assert!(accepted.insert(order), "two keys gave one order");
            }
        }
        accepted
    }
}

/// Waits until so many more orders are in the database.
async fn more_orders(store: &Store, more: i64) {
    let before = until("a count", || async { orders(store).await }).await;
    until("more orders", || async { orders(store).await.filter(|now| *now >= before + more) }).await;
}

async fn orders(store: &Store) -> Option<i64> {
    let mut connection = store.writing().await.ok()?;
    sqlx::query_scalar("SELECT COUNT(*) FROM orders").fetch_one(&mut *connection).await.ok()
}

/// Every accepted order is there once, with everything that follows from it.
pub async fn nothing_is_lost(store: &Store, accepted: &HashSet<String>) {
    all_done(store).await;
    let accepted = accepted.len() as i64;
    for (what, found) in [
        ("orders", count(store, "SELECT COUNT(*) FROM orders").await),
        ("keys", count(store, "SELECT COUNT(*) FROM idempotency_keys").await),
        ("authorised", count(store, "SELECT COUNT(*) FROM orders WHERE state = 'authorised'").await),
        ("payments", count(store, "SELECT COUNT(*) FROM payments").await),
        ("tickets", count(store, "SELECT COUNT(*) FROM kitchen_tickets").await),
        ("mails", count(store, "SELECT COUNT(*) FROM jobs WHERE kind = 'tell_customer' AND state = 'done'").await),
    ] {
        assert_eq!(found, accepted, "{what}");
    }
}

fn short(settings: StoreSettings) -> StoreSettings {
    StoreSettings { acquire_timeout: Duration::from_secs(3), timeout: Duration::from_secs(10), ..settings }
}

#[tokio::test]
async fn postgresql_is_killed_under_load() {
    let Some(postgres) = postgres() else { return };
    let store = Store::open(&short(StoreSettings::new(postgres.url()))).await.unwrap();
    open_restaurant(&store).await;
    let working = Working::start(&store, Payments::BuiltIn, None, quick());
    let customers = Customers::come(&store, 6);
    for _ in 0..2 {
        more_orders(&store, 10).await;
        postgres.kill().unwrap();
        postgres.run().unwrap();
    }
    more_orders(&store, 10).await;
    let accepted = customers.leave().await;
    nothing_is_lost(&store, &accepted).await;
    working.stop().await;
}

#[tokio::test]
async fn redis_is_killed_under_load_and_forgets_everything() {
    let Some(mut redis) = redis() else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let url = match postgres() {
        Some(postgres) => (postgres.url(), Some(postgres)),
        None => (format!("sqlite://{}?mode=rwc", folder.path().join("zapora.db").display()), None),
    };
    let store = Store::open(&patient(StoreSettings::new(url.0.as_str()))).await.unwrap();
    open_restaurant(&store).await;
    let working = Working::start(&store, Payments::BuiltIn, Some(&redis.url()), quick());
    let customers = Customers::come(&store, 6);
    for _ in 0..2 {
        more_orders(&store, 10).await;
        redis.kill().unwrap();
        // Orders are accepted, and their jobs done, without it.
        more_orders(&store, 10).await;
        redis.restart().unwrap();
    }
    more_orders(&store, 10).await;
    let accepted = customers.leave().await;
    nothing_is_lost(&store, &accepted).await;
    working.stop().await;
}

/// What a worker process is told, in its environment.
const DATABASE: &str = "ZAPORA_TEST_DATABASE";
const REDIS: &str = "ZAPORA_TEST_REDIS";

/// Not a test, and over at once unless another one starts it: this program again, as a process that does jobs until it is killed.
#[tokio::test]
async fn a_worker_process() {
    let Ok(url) = std::env::var(DATABASE) else { return };
    let store = Store::open(&patient(StoreSettings::new(url))).await.unwrap();
    let redis = std::env::var(REDIS).ok();
    let _working = Working::start(&store, Payments::BuiltIn, redis.as_deref(), quick());
    std::future::pending::<()>().await;
}

fn worker(database: &str, redis: Option<&str>, folder: &Path) -> Child {
    let mut worker = Command::new(std::env::current_exe().unwrap());
    // What it leaves behind when it is killed goes with the folder.
    worker.args(["--exact", "kill::a_worker_process"]).env(DATABASE, database).env("TMPDIR", folder);
    if let Some(redis) = redis {
        worker.env(REDIS, redis);
    }
    worker.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn worker_processes_are_killed_under_load() {
    let Some(postgres) = postgres() else { return };
    let redis = redis();
    let redis = redis.as_ref().map(Redis::url);
    let store = Store::open(&patient(StoreSettings::new(postgres.url()))).await.unwrap();
    open_restaurant(&store).await;
    let folder = tempfile::TempDir::new().unwrap();
    let mut workers: Vec<Child> = (0..2).map(|_| worker(&postgres.url(), redis.as_deref(), folder.path())).collect();
    let customers = Customers::come(&store, 4);
    for round in 0..3 {
        let done = || async { count(&store, "SELECT COUNT(*) FROM jobs WHERE state = 'done'").await };
        let before = done().await;
        until("some jobs are done", || async { (done().await > before).then_some(()) }).await;
        let victim = &mut workers[round % 2];
        victim.kill().unwrap();
        victim.wait().unwrap();
        *victim = worker(&postgres.url(), redis.as_deref(), folder.path());
    }
    let accepted = customers.leave().await;
    nothing_is_lost(&store, &accepted).await;
    for mut worker in workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
}
