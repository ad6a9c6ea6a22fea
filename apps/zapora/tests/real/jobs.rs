//! From an accepted order to everything that follows from it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use jiff::Timestamp;
use service::config::Secret;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zapora::{
    engine::order::{OrderState, Party},
    jobs::{Background, JobMetrics, Limits, Mail, Payments, Task, Tools, schedule_once},
    queue::{Redis, RedisSettings},
    store::{
        Reader, Store,
        orders::{Change, Changed},
    },
};

use crate::support::{self, backends, count, execute, open_restaurant, order, until};

/// Workers that run, and what they work with.
pub struct Working {
    pub tools: Tools,
    pub mails: TempDir,
    pub registry: prometheus::Registry,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Working {
    pub fn start(store: &Store, payments: Payments, redis: Option<&str>, limits: Limits) -> Self {
        let mails = TempDir::new().unwrap();
        let mail_from = "Zapora <kitchen@example.org>".parse().unwrap();
        let tools = Tools { store: store.clone(), payments, mail: Mail::Folder(mails.path().to_owned()), mail_from };
        let settings = RedisSettings { visibility: limits.lease, ..RedisSettings::default() };
        let shared = redis.map(|url| Arc::new(Redis::new(&Secret::new(url), settings).unwrap()));
        let registry = prometheus::Registry::new();
        let metrics = JobMetrics::new(&registry).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(Background { tools: tools.clone(), shared, limits, metrics }.run(stop.clone()));
        Self { tools, mails, registry, stop, running }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

/// Short times, so that a test need not wait for long ones.
pub fn quick() -> Limits {
    Limits { lease: Duration::from_secs(5), ..Limits::default() }
}

/// Waits until nothing but what lies ahead in time is left in the outbox.
pub async fn all_done(store: &Store) {
    until("all jobs are done", || async {
        let (ready, dead) = store.count_jobs().await.ok()?;
        assert_eq!(dead, 0, "a job was given up");
        (ready == 0).then_some(())
    })
    .await;
}

async fn state(store: &Store, id: &str) -> OrderState {
    store.order(Reader::Newest, id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn an_accepted_order_is_paid_and_reaches_the_kitchen_and_the_customer() {
    let redis = support::redis();
    for backend in backends().await {
        for redis in [None, redis.as_ref()] {
            let store = &backend.store;
            if count(store, "SELECT COUNT(*) FROM users").await == 0 {
                open_restaurant(store).await;
            }
            let url = redis.map(support::Redis::url);
            let working = Working::start(store, Payments::BuiltIn, url.as_deref(), quick());
            let order = order(store, "ann").await;
            all_done(store).await;
            assert_eq!(state(store, &order.id).await, OrderState::Authorised, "{}", backend.name);
            let mails: Vec<_> = std::fs::read_dir(working.mails.path()).unwrap().map(|e| e.unwrap().path()).collect();
            let [mail] = mails.as_slice() else { panic!("{mails:?}") };
            let mail = std::fs::read_to_string(mail).unwrap();
            assert!(mail.contains("To: ann@example.org") && mail.contains("12.50 EUR"), "{mail}");
            working.stop().await;
        }
        let store = &backend.store;
        assert_eq!(
            count(store, "SELECT COUNT(*) FROM kitchen_tickets").await,
            count(store, "SELECT COUNT(*) FROM orders").await
        );
        assert_eq!(
            count(store, "SELECT COUNT(*) FROM payments").await,
            count(store, "SELECT COUNT(*) FROM orders").await
        );
    }
}

/// A payment provider that answers what it is told to, and remembers what it did under which key.
#[derive(Clone, Default)]
pub struct Provider {
    authorised: Arc<Mutex<HashMap<String, String>>>,
    voided: Arc<Mutex<Vec<String>>>,
    /// Answers to give before it does its work.
    failures: Arc<Mutex<Vec<StatusCode>>>,
}

impl Provider {
    pub async fn start(failures: &[StatusCode]) -> (Self, Payments) {
        let provider = Self { failures: Arc::new(Mutex::new(failures.to_vec())), ..Self::default() };
        let app = Router::new()
            .route("/authorisations", post(Self::authorise))
            .route("/voids", post(Self::void))
            .with_state(provider.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (provider, Payments::http(&url, Some("secret".to_owned())).unwrap())
    }

    async fn authorise(
        State(this): State<Self>,
        headers: HeaderMap,
        Json(body): Json<serde_json::Value>,
    ) -> (StatusCode, Json<serde_json::Value>) {
        assert_eq!(headers["authorization"], "Bearer secret");
        if let Some(status) = this.failures.lock().unwrap().pop() {
            return (status, Json(serde_json::Value::Null));
        }
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        let order = body["order"].as_str().unwrap().to_owned();
        this.authorised.lock().unwrap().insert(key, order.clone());
        (StatusCode::CREATED, Json(serde_json::json!({"id": format!("pay-{order}"), "approved": true})))
    }

    async fn void(State(this): State<Self>, Json(body): Json<serde_json::Value>) -> StatusCode {
        this.voided.lock().unwrap().push(body["order"].as_str().unwrap().to_owned());
        StatusCode::NO_CONTENT
    }
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again_until_it_answers() {
    let backend = backends().await.remove(0);
    let store = &backend.store;
    open_restaurant(store).await;
    let (provider, payments) = Provider::start(&[StatusCode::BAD_GATEWAY, StatusCode::INTERNAL_SERVER_ERROR]).await;
    let working = Working::start(store, payments, None, quick());
    let order = order(store, "ann").await;
    all_done(store).await;
    assert_eq!(state(store, &order.id).await, OrderState::Authorised);
    assert_eq!(provider.authorised.lock().unwrap().len(), 1);
    assert_eq!(count(store, "SELECT attempts FROM jobs WHERE kind = 'authorise_payment'").await, 3);
    working.stop().await;
}

#[tokio::test]
async fn a_refused_payment_ends_the_order_and_gives_the_stock_back() {
    let backend = backends().await.remove(0);
    let store = &backend.store;
    open_restaurant(store).await;
    store.set_stock("pizza", Some(1), Timestamp::now()).await.unwrap();
    let (_provider, payments) = Provider::start(&[StatusCode::PAYMENT_REQUIRED]).await;
    let working = Working::start(store, payments, None, quick());
    let order = order(store, "ann").await;
    all_done(store).await;
    assert_eq!(state(store, &order.id).await, OrderState::PaymentFailed);
    assert_eq!(store.stock(Reader::Newest, "pizza").await.unwrap(), Some(1));
    working.stop().await;
}

#[tokio::test]
async fn a_job_that_keeps_failing_waits_for_somebody_to_look_and_can_be_tried_again() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let (_provider, payments) = Provider::start(&[StatusCode::BAD_GATEWAY; 2]).await;
        let working = Working::start(store, payments, None, Limits { attempts: 1, ..quick() });
        let order = order(store, "ann").await;
        let dead = until("the job is dead", || async { store.dead_jobs(None, 10).await.unwrap().pop() }).await;
        assert_eq!((dead.kind.as_str(), dead.attempts), ("authorise_payment", 1), "{}", backend.name);
        assert!(dead.last_error.contains("502") && dead.payload.contains(&order.id), "{dead:?}");
        assert!(store.requeue_job(&dead.id, Timestamp::now()).await.unwrap());
        let again = until("it is dead again", || async { store.dead_jobs(None, 10).await.unwrap().pop() }).await;
        assert_eq!((again.id.as_str(), again.attempts), (dead.id.as_str(), 2), "{}: tried twice in all", backend.name);
        assert!(store.requeue_job(&dead.id, Timestamp::now()).await.unwrap());
        assert!(!store.requeue_job(&dead.id, Timestamp::now()).await.unwrap(), "only once: this time it is done");
        all_done(store).await;
        assert_eq!(state(store, &order.id).await, OrderState::Authorised);
        working.stop().await;
    }
}

#[tokio::test]
async fn an_order_that_is_cancelled_while_it_is_paid_is_not_paid() {
    let backend = backends().await.remove(0);
    let store = &backend.store;
    open_restaurant(store).await;
    let order = order(store, "ann").await;
    let change = Change { order: &order.id, to: OrderState::Cancelled, party: Party::Owner, actor: "ann", reason: "" };
    assert!(matches!(store.change_order(change, Timestamp::now()).await.unwrap(), Changed::Done(_)));
    let (provider, payments) = Provider::start(&[]).await;
    let working = Working::start(store, payments, None, quick());
    all_done(store).await;
    assert_eq!(provider.authorised.lock().unwrap().len(), 0);
    assert_eq!(*provider.voided.lock().unwrap(), std::slice::from_ref(&order.id));
    assert_eq!(state(store, &order.id).await, OrderState::Cancelled);
    working.stop().await;
}

#[tokio::test]
async fn a_job_that_is_done_twice_has_one_effect() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let (provider, payments) = Provider::start(&[]).await;
        let working = Working::start(store, payments, None, quick());
        let order = order(store, "ann").await;
        all_done(store).await;
        let id = || order.id.clone();
        let day = "2026-01-01".to_owned();
        for task in [
            Task::AuthorisePayment { order: id() },
            Task::KitchenTicket { order: id() },
            Task::TellCustomer { order: id(), state: OrderState::Authorised },
            Task::DailyReport { day: day.clone() },
        ] {
            for _ in 0..2 {
                working.tools.run("the-same-job", &task, 1, Timestamp::now()).await.unwrap();
            }
        }
        assert_eq!(provider.authorised.lock().unwrap().len(), 1, "{}", backend.name);
        for table in ["payments", "kitchen_tickets", "daily_reports"] {
            let text = [
                "SELECT COUNT(*) FROM payments",
                "SELECT COUNT(*) FROM kitchen_tickets",
                "SELECT COUNT(*) FROM daily_reports",
            ];
            let text = text.into_iter().find(|text| text.ends_with(table)).unwrap();
            let expected = if table == "daily_reports" {
                "SELECT COUNT(*) FROM daily_reports"
            } else {
                "SELECT COUNT(*) FROM orders"
            };
            assert_eq!(count(store, text).await, count(store, expected).await, "{}: {table}", backend.name);
        }
        // One from the order itself, one under the name that was done twice.
        assert_eq!(std::fs::read_dir(working.mails.path()).unwrap().count(), 2);
        working.stop().await;
    }
}

#[tokio::test]
async fn several_replicas_write_one_report_of_a_day() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let now: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
        for (id, state, cents, at) in [
            ("o1", "completed", "1000", "2026-03-01T00:00:00Z"),
            ("o2", "cancelled", "9999", "2026-03-01T12:00:00Z"),
            ("o3", "placed", "500", "2026-03-01T23:59:59Z"),
            ("o4", "placed", "700", "2026-03-02T00:00:00Z"),
        ] {
            let at = at.parse::<Timestamp>().unwrap().as_microsecond().to_string();
            let insert = "INSERT INTO orders (id, user_id, state, currency, subtotal_cents, discount_cents, tax_cents, total_cents, \
                 decisions, created_at, updated_at) VALUES ($1, 'ann', $2, 'EUR', 0, 0, 0, CAST($3 AS BIGINT), '[]', \
                 CAST($4 AS BIGINT), 0)";
            execute(store, insert, &[id, state, cents, &at]).await;
        }
        let replicas: Vec<_> = (0..5)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { schedule_once(&store, now).await.map(|_| ()) })
            })
            .collect();
        for replica in replicas {
            replica.await.unwrap().unwrap();
        }
        assert_eq!(count(store, "SELECT COUNT(*) FROM jobs").await, 1, "{}", backend.name);
        let working = Working::start(store, Payments::BuiltIn, None, quick());
        until("the report", || async { store.has_report("2026-03-01").await.unwrap().then_some(()) }).await;
        all_done(store).await;
        schedule_once(store, now).await.unwrap();
        all_done(store).await;
        let reports = store.daily_reports(None, 100).await.unwrap();
        let report = reports.iter().find(|report| report.day == "2026-03-01").unwrap();
        assert_eq!((report.orders, report.revenue_cents), (2, 1500), "{}: {report:?}", backend.name);
        working.stop().await;
    }
}

#[tokio::test]
async fn what_is_scheduled_for_later_is_not_done_now() {
    let backend = backends().await.remove(0);
    let store = &backend.store;
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    store.enqueue(&[Task::DailyReport { day: "2026-01-01".to_owned() }], later).await.unwrap();
    assert_eq!(store.claim_jobs(10, Duration::from_secs(1), Timestamp::now()).await.unwrap().len(), 0);
    let due = store.next_job_at().await.unwrap().unwrap();
    assert_eq!(due.as_microsecond(), later.as_microsecond());
    assert_eq!(store.claim_jobs(10, Duration::from_secs(9), later).await.unwrap().len(), 1);
    assert_eq!(store.claim_jobs(10, Duration::from_secs(9), later).await.unwrap().len(), 0, "hidden");
    let shown = later + jiff::SignedDuration::from_secs(9);
    assert_eq!(store.claim_jobs(10, Duration::from_secs(9), shown).await.unwrap().len(), 1, "lost by its queue");
}

#[tokio::test]
async fn a_job_that_is_delivered_twice_is_begun_once_and_one_that_was_put_off_not_before_its_time() {
    for backend in backends().await {
        let store = &backend.store;
        let (now, lease) = (Timestamp::now(), Duration::from_secs(9));
        let after = |seconds| now + jiff::SignedDuration::from_secs(seconds);
        let attempts = |ids: Vec<String>, now| async move {
            let begun = store.begin_jobs(&ids, lease, now).await.unwrap();
            begun.first().map(|job| job.attempts)
        };
        store.enqueue(&[Task::DailyReport { day: "2026-01-01".to_owned() }], now).await.unwrap();
        let ids = store.claim_jobs(10, lease, now).await.unwrap();
        assert_eq!(attempts(ids.clone(), now).await, Some(1), "{}", backend.name);
        assert_eq!(attempts(ids.clone(), now).await, None, "a second delivery while a worker is at it");
        assert!(store.claim_jobs(10, lease, after(8)).await.unwrap().is_empty(), "it is leased");
        store.fail_job(&ids[0], "not now", Some(after(60)), now).await.unwrap();
        assert_eq!(attempts(ids.clone(), after(9)).await, None, "a third one, long before it is due again");
        assert_eq!(store.next_job_at().await.unwrap().map(|at| at.as_second()), Some(after(60).as_second()));
        // Claimed twice, because the queue was slow: the first delivery counts.
        assert_eq!(store.claim_jobs(10, lease, after(60)).await.unwrap(), ids);
        assert_eq!(store.claim_jobs(10, lease, after(70)).await.unwrap(), ids);
        assert_eq!(attempts(ids.clone(), after(70)).await, Some(2));
        assert_eq!(attempts(ids.clone(), after(70)).await, None);
        // Its worker dies.
        assert_eq!(store.claim_jobs(10, lease, after(79)).await.unwrap(), ids);
        assert_eq!(attempts(ids.clone(), after(79)).await, Some(3));
        store.finish_jobs(&ids, now).await.unwrap();
        assert_eq!(store.next_job_at().await.unwrap(), None);
    }
}

#[tokio::test]
async fn days_over_which_nobody_was_there_have_their_reports_too() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let at: Timestamp = "2026-02-25T12:00:00Z".parse().unwrap();
        let insert = "INSERT INTO orders (id, user_id, state, currency, subtotal_cents, discount_cents, tax_cents, total_cents, \
             decisions, created_at, updated_at) VALUES ('o', 'ann', 'completed', 'EUR', 0, 0, 0, 1, '[]', CAST($1 AS BIGINT), 0)";
        execute(store, insert, &[&at.as_microsecond().to_string()]).await;
        let jobs = "SELECT COUNT(*) FROM jobs";
        schedule_once(store, "2026-02-28T09:00:00Z".parse().unwrap()).await.unwrap();
        assert_eq!(count(store, jobs).await, 3, "{}: from the first order's day to yesterday", backend.name);
        for day in ["2026-02-25", "2026-02-26", "2026-02-27"] {
            store.sum_up(day, (at, at), "EUR", at).await.unwrap();
        }
        execute(store, "DELETE FROM jobs", &[]).await;
        schedule_once(store, "2026-03-02T09:00:00Z".parse().unwrap()).await.unwrap();
        assert_eq!(count(store, jobs).await, 2, "{}: those since the last report", backend.name);
    }
}

#[tokio::test]
async fn all_that_is_old_is_forgotten_however_much_it_is() {
    for backend in backends().await {
        let store = &backend.store;
        let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) ";
        let jobs = format!(
            "{many} INSERT INTO jobs (id, kind, payload, state, run_at, created_at, updated_at) \
             SELECT 'j' || i, 'x', '{{}}', CASE WHEN i % 500 = 0 THEN 'dead' ELSE 'done' END, 0, 0, 0 FROM n"
        );
        let keys = format!(
            "{many} INSERT INTO idempotency_keys (user_id, key, fingerprint, order_id, created_at) SELECT 'u', 'k' || i, '', '', i FROM n"
        );
        let mut connection = store.writing().await.unwrap();
        for text in [jobs, keys] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *connection).await.unwrap();
        }
        drop(connection);
        let at = |micros| Timestamp::from_microsecond(micros).unwrap();
        store.forget_before(at(1), at(2500)).await.unwrap();
        assert_eq!(count(store, "SELECT COUNT(*) FROM jobs").await, 5, "{}: dead letters stay", backend.name);
        assert_eq!(count(store, "SELECT COUNT(*) FROM idempotency_keys").await, 1, "{}", backend.name);
    }
}

#[tokio::test]
async fn a_job_that_ends_its_worker_each_time_is_given_up_in_the_end() {
    for backend in backends().await {
        let (store, now) = (&backend.store, Timestamp::now());
        store.enqueue(&[Task::DailyReport { day: "2026-01-01".to_owned() }], now).await.unwrap();
        for _ in 0..quick().attempts {
            let ids = store.claim_jobs(10, Duration::ZERO, now).await.unwrap();
            assert_eq!(store.begin_jobs(&ids, Duration::ZERO, now).await.unwrap().len(), 1, "{}", backend.name);
        }
        let working = Working::start(store, Payments::BuiltIn, None, quick());
        let dead = until("it is given up", || async { store.dead_jobs(None, 10).await.unwrap().pop() }).await;
        assert!(dead.last_error.contains("12 attempts"), "{}: {dead:?}", backend.name);
        assert!(!store.has_report("2026-01-01").await.unwrap(), "{}: it was not begun again", backend.name);
        working.stop().await;
    }
}

#[tokio::test]
async fn jobs_are_counted_while_there_is_always_one_to_do() {
    let backend = backends().await.remove(0);
    let store = &backend.store;
    open_restaurant(store).await;
    let working = Working::start(store, Payments::BuiltIn, None, quick());
    let dead = || {
        let families = working.registry.gather();
        let gauges = families.iter().find(|family| family.name() == "zapora_jobs")?.get_metric().to_vec();
        let dead = gauges.into_iter().find(|gauge| gauge.get_label().iter().any(|label| label.value() == "dead"))?;
        (dead.get_gauge().get_value() > 0.0).then_some(())
    };
    // Each of them is given up at once, for there is no such order.
    let busy = async {
        loop {
            store.enqueue(&[Task::KitchenTicket { order: "none".to_owned() }], Timestamp::now()).await.unwrap();
        }
    };
    tokio::select! {
        () = busy => {}
        () = until("dead letters are counted", async || dead()) => {}
    }
    working.stop().await;
}
