//! Payments whose answers come late, twice, or after the order was called off.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use jiff::Timestamp;
use zapora::{
    engine::{
        Rules,
        order::{OrderState, Party},
    },
    jobs::{Payments, Task},
    store::{
        Reader, Store,
        jobs::BATCH,
        orders::{Change, Changed, Placement},
    },
};

use crate::{
    jobs::{Working, all_done, quick},
    support::{backends, count, open_restaurant, order, request, until},
};

/// A provider that keeps its word on keys: the same key gets the same answer, whatever has happened since. Before it reserves
/// anything, it lets the order move as `meanwhile` says.
#[derive(Clone)]
struct Provider {
    store: Store,
    meanwhile: &'static [(OrderState, Party)],
    answers: Arc<Mutex<HashMap<String, StatusCode>>>,
    reserved: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    async fn start(store: &Store, meanwhile: &'static [(OrderState, Party)]) -> (Self, Payments) {
        let (answers, reserved) = (Arc::default(), Arc::default());
        let provider = Self { store: store.clone(), meanwhile, answers, reserved };
        let app = Router::new()
            .route("/authorisations", post(Self::authorise))
            .route("/voids", post(Self::void))
            .with_state(provider.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (provider, Payments::http(&url, None).unwrap())
    }

    async fn authorise(
        State(this): State<Self>,
        Json(body): Json<serde_json::Value>,
    ) -> (StatusCode, Json<serde_json::Value>) {
        let order = body["order"].as_str().unwrap().to_owned();
        for (to, party) in this.meanwhile {
            advance(&this.store, &order, *to, *party).await;
        }
        this.reserved.lock().unwrap().push(order);
        (StatusCode::CREATED, Json(serde_json::json!({"id": "payment", "approved": true})))
    }

    async fn void(State(this): State<Self>, headers: HeaderMap, Json(body): Json<serde_json::Value>) -> StatusCode {
        let (key, order) = (headers["idempotency-key"].to_str().unwrap().to_owned(), body["order"].as_str().unwrap());
        let void = || {
            let mut reserved = this.reserved.lock().unwrap();
            let before = reserved.len();
            reserved.retain(|reserved| reserved != order);
            if reserved.len() < before { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
        };
        *this.answers.lock().unwrap().entry(key).or_insert_with(void)
    }
}

async fn advance(store: &Store, order: &str, to: OrderState, party: Party) {
    let change = Change { order, to, party, actor: "ann", reason: "" };
    assert!(matches!(store.change_order(change, Timestamp::now()).await.unwrap(), Changed::Done(_)));
}

const VOIDS: &str = "SELECT COUNT(*) FROM jobs WHERE kind = 'void_payment'";
const VOIDED: &str = "SELECT COUNT(*) FROM jobs WHERE kind = 'void_payment' AND state = 'done'";

#[tokio::test]
async fn what_is_reserved_after_the_order_was_voided_is_voided_too() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let order = order(store, "ann").await;
        let (provider, payments) = Provider::start(store, &[(OrderState::Cancelled, Party::Owner)]).await;
        // The order was called off, and voided with nothing reserved yet.
        payments.void(&order.id, "an earlier job").await.unwrap();
        let working = Working::start(store, payments, None, quick());
        all_done(store).await;
        assert!(provider.reserved.lock().unwrap().is_empty(), "{}: nobody pays for what was called off", backend.name);
        working.stop().await;
    }
}

#[tokio::test]
async fn an_attempt_that_was_not_answered_may_have_reserved_something_after_the_order_was_voided() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let order = order(store, "ann").await;
        let (provider, payments) = Provider::start(store, &[]).await;
        let working = Working::start(store, payments.clone(), None, quick());
        all_done(store).await;
        advance(store, &order.id, OrderState::Cancelled, Party::Owner).await;
        all_done(store).await;
        assert!(provider.reserved.lock().unwrap().is_empty());
        // What an earlier attempt asked for arrives only now.
        payments.authorise(&order.id, 1, "EUR").await.unwrap();
        let task = Task::AuthorisePayment { order: order.id.clone() };
        working.tools.run("a job", &task, 2, Timestamp::now()).await.unwrap();
        all_done(store).await;
        assert!(provider.reserved.lock().unwrap().is_empty(), "{}", backend.name);
        working.stop().await;
    }
}

#[tokio::test]
async fn an_attempt_that_another_overtook_does_not_give_back_what_the_kitchen_works_for() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let order = order(store, "ann").await;
        let meanwhile = &[(OrderState::Authorised, Party::System), (OrderState::Accepted, Party::Staff)];
        let (provider, payments) = Provider::start(store, meanwhile).await;
        let working = Working::start(store, payments, None, quick());
        all_done(store).await;
        assert_eq!(count(store, VOIDS).await, 0, "{}", backend.name);
        assert_eq!(*provider.reserved.lock().unwrap(), [order.id]);
        working.stop().await;
    }
}

#[tokio::test]
async fn an_attempt_before_somebody_had_a_dead_job_tried_again_may_have_reserved_something_too() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let order = order(store, "ann").await;
        let (provider, payments) = Provider::start(store, &[]).await;
        // Of the first series no attempt was answered.
        let (now, lease) = (Timestamp::now(), Duration::from_secs(60));
        let jobs = store.claim_jobs(BATCH, lease, now).await.unwrap();
        let begun = store.begin_jobs(&jobs, lease, now).await.unwrap();
        let [job] = begun.as_slice() else { panic!("{begun:?}") };
        store.fail_job(&job.id, "no answer", None, now).await.unwrap();
        advance(store, &order.id, OrderState::Cancelled, Party::Owner).await;
        let working = Working::start(store, payments.clone(), None, quick());
        until("the order is voided", || async { (count(store, VOIDED).await == 1).then_some(()) }).await;
        // What one of them asked for arrives only now, and somebody has the job tried again.
        payments.authorise(&order.id, 1, "EUR").await.unwrap();
        assert!(store.requeue_job(&job.id, Timestamp::now()).await.unwrap());
        all_done(store).await;
        assert!(provider.reserved.lock().unwrap().is_empty(), "{}: nobody pays for what was called off", backend.name);
        working.stop().await;
    }
}

#[tokio::test]
async fn nobody_is_asked_for_a_payment_of_nothing() {
    let backend = backends().await.remove(0);
    let store = &backend.store;
    open_restaurant(store).await;
    let discount = r#"{"name": "birthday", "cut": {"percent": 10000}}"#;
    let rules = Rules { discounts: vec![serde_json::from_str(discount).unwrap()], ..Rules::default() };
    let placed = store.place_order(&rules, &request("ann", None, &[("pizza", 1)]), Timestamp::now()).await.unwrap();
    let Placement::Placed(order) = placed else { panic!("{placed:?}") };
    assert_eq!(order.total_cents, 0);
    let (provider, payments) = Provider::start(store, &[]).await;
    let working = Working::start(store, payments, None, quick());
    all_done(store).await;
    assert!(provider.reserved.lock().unwrap().is_empty(), "a provider refuses an amount of zero");
    let state = store.order(Reader::Newest, &order.id).await.unwrap().unwrap().state;
    assert_eq!(state, OrderState::Authorised, "the kitchen makes it");
    working.stop().await;
}
