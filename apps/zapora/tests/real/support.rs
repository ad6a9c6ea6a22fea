//! Servers for tests, and what every test needs of a restaurant.

use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
pub use testkit::databases::{Postgres, Redis};
use zapora::{
    engine::{Basket, BasketLine, Rules},
    store::{
        Store, StoreSettings,
        orders::{Order, Placement, Request},
    },
};

/// How long something may take to come about, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        loop {
            ticks.tick().await;
            if let Some(found) = condition().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// A PostgreSQL of the test's own, unless none is installed.
pub fn postgres() -> Option<Postgres> {
    let started = Postgres::start().unwrap();
    if started.is_none() {
        eprintln!("skipped: PostgreSQL is not installed (apt-get install postgresql)");
    }
    started
}

/// A Redis of the test's own, unless none is installed.
pub fn redis() -> Option<Redis> {
    let started = Redis::start().unwrap();
    if started.is_none() {
        eprintln!("skipped: Redis is not installed (apt-get install redis-server)");
    }
    started
}

/// A store, and what it stands on, in the order in which they are to go.
pub struct Backend {
    pub name: &'static str,
    pub store: Store,
    pub settings: StoreSettings,
    _postgres: Option<Postgres>,
    _folder: Option<TempDir>,
}

/// A fresh store on each database that is here.
pub async fn backends() -> Vec<Backend> {
    let file = TempDir::new().unwrap();
    let in_file = StoreSettings::new(format!("sqlite://{}?mode=rwc", file.path().join("zapora.db").display()));
    let mut all = vec![
        ("SQLite in memory", StoreSettings::new("sqlite::memory:"), None, None),
        ("SQLite in a file", in_file, None, Some(file)),
    ];
    if let Some(postgres) = postgres() {
        all.push(("PostgreSQL", StoreSettings::new(postgres.url()), Some(postgres), None));
    }
    let mut backends = Vec::new();
    for (name, settings, postgres, folder) in all {
        let settings = patient(settings);
        let store = Store::open(&settings).await.unwrap();
        backends.push(Backend { name, store, settings, _postgres: postgres, _folder: folder });
    }
    backends
}

/// A busy machine is not a dead database.
pub fn patient(settings: StoreSettings) -> StoreSettings {
    StoreSettings { acquire_timeout: Duration::from_secs(60), timeout: Duration::from_secs(60), ..settings }
}

pub async fn execute(store: &Store, statement: &'static str, values: &[&str]) {
    let mut connection = store.writing().await.unwrap();
    let mut query = sqlx::query(statement);
    for value in values {
        query = query.bind((*value).to_owned());
    }
    query.execute(&mut *connection).await.unwrap();
}

pub async fn count(store: &Store, statement: &'static str) -> i64 {
    let mut connection = store.writing().await.unwrap();
    sqlx::query_scalar(statement).fetch_one(&mut *connection).await.unwrap()
}

/// A customer `ann`, a customer `bob`, and a menu: `pizza` (1250 cents) and `beer` (420 cents).
pub async fn open_restaurant(store: &Store) {
    for user in ["ann", "bob"] {
        execute(
            store,
            "INSERT INTO users (id, email, name, password_hash, role, created_at, updated_at) \
             VALUES ($1, $2, $1, '', 'customer', 0, 0)",
            &[user, &format!("{user}@example.org")],
        )
        .await;
    }
    for (category, item, price) in [("food", "pizza", "1250"), ("drink", "beer", "420")] {
        execute(
            store,
            "INSERT INTO menu_categories (id, name, tax_category, created_at, updated_at) VALUES ($1, $1, $1, 0, 0)",
            &[category],
        )
        .await;
        execute(
            store,
            "INSERT INTO menu_items (id, category_id, name, price_cents, created_at, updated_at) \
             VALUES ($1, $2, $1, CAST($3 AS BIGINT), 0, 0)",
            &[item, category, price],
        )
        .await;
    }
}

pub fn request(user: &str, key: Option<&str>, lines: &[(&str, i64)]) -> Request {
    let lines =
        lines.iter().map(|(item, quantity)| BasketLine { item: (*item).to_owned(), quantity: *quantity }).collect();
    Request {
        user_id: user.to_owned(),
        key: key.map(str::to_owned),
        basket: Basket { lines, coupon: None },
        note: "no onions".to_owned(),
    }
}

/// Places an order that nothing speaks against.
pub async fn order(store: &Store, user: &str) -> Order {
    let placed =
        store.place_order(&Rules::default(), &request(user, None, &[("pizza", 1)]), Timestamp::now()).await.unwrap();
    let Placement::Placed(order) = placed else { panic!("{placed:?}") };
    order
}
