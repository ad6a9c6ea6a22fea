//! Placing orders and moving them, by many at once.

use jiff::Timestamp;
use tokio::task::JoinSet;
use zapora::{
    engine::{
        RefusalCode, Rules,
        order::{OrderState, Party, TransitionError},
    },
    store::{
        Reader, Store, StoreSettings,
        orders::{Change, Changed, OrderFilter, Placement},
    },
};

use crate::support::{backends, count, open_restaurant, order, patient, request};

#[tokio::test]
async fn many_orders_at_once_never_sell_more_than_there_is() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        store.set_stock("pizza", Some(25), Timestamp::now()).await.unwrap();
        store.set_stock("beer", Some(40), Timestamp::now()).await.unwrap();
        let mut orders = JoinSet::new();
        for n in 0..60_i64 {
            let store = store.clone();
            // In either order, so that two transactions would wait for each other if the rows were locked as they were listed.
            let lines =
                if n % 2 == 0 { [("pizza", 1), ("beer", 1 + n % 3)] } else { [("beer", 1 + n % 3), ("pizza", 1)] };
            orders.spawn(async move {
                store.place_order(&Rules::default(), &request("ann", None, &lines), Timestamp::now()).await.unwrap()
            });
        }
        let (mut pizzas, mut beers) = (0, 0);
        while let Some(placement) = orders.join_next().await {
            match placement.unwrap() {
                Placement::Placed(order) => {
                    let sold = |item: &str| order.lines.iter().find(|l| l.item_id == item).unwrap().quantity;
                    pizzas += sold("pizza");
                    beers += sold("beer");
                }
                Placement::Refused { refusals, .. } => assert_eq!(refusals[0].code, RefusalCode::OutOfStock),
                other => panic!("{other:?}"),
            }
        }
        let left = |item| async move { store.stock(Reader::Newest, item).await.unwrap().unwrap() };
        assert_eq!((left("pizza").await, left("beer").await), (25 - pizzas, 40 - beers), "{}", backend.name);
        assert!(pizzas == 25 || beers >= 38, "{}: {pizzas} {beers}", backend.name);
        let orphans = "SELECT COUNT(*) FROM orders o WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.payload LIKE '%' || o.id || '%')";
        assert_eq!(count(store, orphans).await, 0);
        assert_eq!(count(store, "SELECT COUNT(*) FROM jobs").await, count(store, "SELECT COUNT(*) FROM orders").await);
    }
}

#[tokio::test]
async fn the_same_key_places_one_order_however_often_it_comes() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let mut attempts = JoinSet::new();
        for _ in 0..20 {
            let store = store.clone();
            attempts.spawn(async move {
                store
                    .place_order(&Rules::default(), &request("ann", Some("k"), &[("pizza", 2)]), Timestamp::now())
                    .await
                    .unwrap()
            });
        }
        let (mut placed, mut answers) = (0, Vec::new());
        while let Some(placement) = attempts.join_next().await {
            match placement.unwrap() {
                Placement::Placed(order) => {
                    placed += 1;
                    answers.push(order);
                }
                Placement::Repeated(order) => answers.push(order),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(placed, 1, "{}", backend.name);
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{}: {answers:?}", backend.name);
        let place =
            |request| async move { store.place_order(&Rules::default(), &request, Timestamp::now()).await.unwrap() };
        assert_eq!(place(request("ann", Some("k"), &[("pizza", 3)])).await, Placement::KeyReused);
        // Keys are each customer's own.
        assert!(matches!(place(request("bob", Some("k"), &[("pizza", 3)])).await, Placement::Placed(_)));
        // The answer stays what it was, whatever becomes of the order.
        cancel(store, &answers[0].id, "ann").await;
        assert_eq!(place(request("ann", Some("k"), &[("pizza", 2)])).await, Placement::Repeated(answers[0].clone()));
    }
}

async fn cancel(store: &Store, order: &str, actor: &str) -> Changed {
    let change = Change { order, to: OrderState::Cancelled, party: Party::Owner, actor, reason: "changed my mind" };
    store.change_order(change, Timestamp::now()).await.unwrap()
}

#[tokio::test]
async fn a_refused_order_leaves_nothing_behind_and_may_be_accepted_later() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        store.set_stock("pizza", Some(1), Timestamp::now()).await.unwrap();
        let request = request("ann", Some("k"), &[("pizza", 2), ("beer", 1)]);
        let place = || async { store.place_order(&Rules::default(), &request, Timestamp::now()).await.unwrap() };
        assert!(matches!(place().await, Placement::Refused { .. }));
        for table in
            ["SELECT COUNT(*) FROM orders", "SELECT COUNT(*) FROM jobs", "SELECT COUNT(*) FROM idempotency_keys"]
        {
            assert_eq!(count(store, table).await, 0, "{}: {table}", backend.name);
        }
        store.set_stock("pizza", Some(2), Timestamp::now()).await.unwrap();
        assert!(matches!(place().await, Placement::Placed(_)));
    }
}

#[tokio::test]
async fn a_coupon_is_used_as_often_as_it_may_be_and_comes_back_with_a_cancelled_order() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let mut rules = Rules::default();
        rules.discounts[1].max_uses = Some(3);
        let mut orders = JoinSet::new();
        let place = |store: Store, rules: Rules| async move {
            let mut request = request("ann", None, &[("pizza", 2)]);
            request.basket.coupon = Some("WELCOME5".to_owned());
            store.place_order(&rules, &request, Timestamp::now()).await.unwrap()
        };
        for _ in 0..10 {
            orders.spawn(place(store.clone(), rules.clone()));
        }
        let mut placed = Vec::new();
        while let Some(placement) = orders.join_next().await {
            match placement.unwrap() {
                Placement::Placed(order) => placed.push(order),
                Placement::Refused { refusals, .. } => assert_eq!(refusals[0].code, RefusalCode::Coupon),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(placed.len(), 3, "{}", backend.name);
        assert!(placed.iter().all(|order| order.discount_cents == 500));
        cancel(store, &placed[0].id, "ann").await;
        assert!(matches!(place(store.clone(), rules.clone()).await, Placement::Placed(_)), "{}", backend.name);
    }
}

#[tokio::test]
async fn an_order_is_moved_once_by_whoever_may() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        store.set_stock("pizza", Some(5), Timestamp::now()).await.unwrap();
        let order = order(store, "ann").await;
        assert_eq!(cancel(store, &order.id, "bob").await, Changed::NotFound, "not bob's");
        let accept = Change { order: &order.id, to: OrderState::Accepted, party: Party::Staff, actor: "s", reason: "" };
        let refused = store.change_order(accept, Timestamp::now()).await.unwrap();
        let impossible = TransitionError::Impossible { from: OrderState::Placed, to: OrderState::Accepted };
        assert_eq!(refused, Changed::Refused(impossible));
        let mut moves = JoinSet::new();
        for _ in 0..10 {
            let (store, id) = (store.clone(), order.id.clone());
            moves.spawn(async move { cancel(&store, &id, "ann").await });
        }
        let mut done = 0;
        while let Some(changed) = moves.join_next().await {
            match changed.unwrap() {
                Changed::Done(order) => {
                    assert_eq!((order.state, order.version), (OrderState::Cancelled, 2));
                    done += 1;
                }
                Changed::Already(order) => assert_eq!(order.state, OrderState::Cancelled),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(done, 1, "{}", backend.name);
        assert_eq!(store.stock(Reader::Newest, "pizza").await.unwrap(), Some(5), "given back once");
        let events = store.order_events(Reader::Newest, &order.id).await.unwrap();
        let states: Vec<_> = events.iter().map(|event| (event.from_state, event.to_state)).collect();
        assert_eq!(states, [(None, OrderState::Placed), (Some(OrderState::Placed), OrderState::Cancelled)]);
    }
}

#[tokio::test]
async fn orders_are_listed_newest_first_page_by_page() {
    for backend in backends().await {
        let store = &backend.store;
        open_restaurant(store).await;
        let mut placed = Vec::new();
        for user in ["ann", "ann", "bob", "ann"] {
            placed.push(order(store, user).await);
        }
        let list = |filter| async move { store.orders(Reader::Newest, &filter).await.unwrap() };
        let anns = OrderFilter { user_id: Some("ann".to_owned()), limit: 2, ..OrderFilter::default() };
        let page = list(anns.clone()).await;
        assert_eq!(page, [placed[3].clone(), placed[1].clone()], "{}", backend.name);
        let rest = list(OrderFilter { before: Some(page[1].id.clone()), ..anns }).await;
        assert_eq!(rest, [placed[0].clone()]);
        let ready = OrderFilter { state: Some(OrderState::Ready), limit: 10, ..OrderFilter::default() };
        assert_eq!(list(ready).await, []);
    }
}

#[tokio::test]
async fn replicas_that_start_at_once_migrate_once() {
    for backend in backends().await.into_iter().filter(|backend| backend.name != "SQLite in memory") {
        let store = &backend.store;
        if backend.name == "PostgreSQL" {
            crate::support::execute(store, "DROP SCHEMA public CASCADE", &[]).await;
            crate::support::execute(store, "CREATE SCHEMA public", &[]).await;
        }
        let mut starts = JoinSet::new();
        for _ in 0..6 {
            let settings = backend.settings.clone();
            starts.spawn(async move { Store::open(&settings).await.map(|_| ()) });
        }
        while let Some(started) = starts.join_next().await {
            started.unwrap().unwrap();
        }
        assert_eq!(count(store, "SELECT COUNT(*) FROM schema_versions").await, 4, "{}", backend.name);
    }
}

#[tokio::test]
async fn rules_are_replaced_by_whoever_knows_their_version() {
    for backend in backends().await {
        let store = &backend.store;
        assert_eq!(store.rules().await.unwrap().version, 0);
        let mut rules = Rules { currency: "CHF".to_owned(), ..Rules::default() };
        let set = |rules: Rules, expected| async move {
            store.set_rules(&rules, expected, "admin", Timestamp::now()).await.unwrap()
        };
        assert_eq!(set(rules.clone(), 0).await, Some(1), "{}", backend.name);
        assert_eq!(set(rules.clone(), 0).await, None, "{}: somebody else was quicker", backend.name);
        rules.limits.lines = 7;
        assert_eq!(set(rules.clone(), 1).await, Some(2));
        let in_force = store.rules().await.unwrap();
        assert_eq!((in_force.rules.as_ref(), in_force.version), (&rules, 2));
    }
}

#[tokio::test]
async fn an_order_gives_back_what_it_took_and_no_more() {
    for backend in backends().await {
        let (store, now) = (&backend.store, Timestamp::now());
        open_restaurant(store).await;
        let place = |lines: &'static [(&'static str, i64)]| async move {
            let request = request("ann", None, lines);
            match store.place_order(&Rules::default(), &request, now).await.unwrap() {
                Placement::Placed(order) => order.id,
                other => panic!("{other:?}"),
            }
        };
        store.set_stock("beer", Some(10), now).await.unwrap();
        let before = place(&[("pizza", 3), ("beer", 4)]).await;
        // Pizzas are counted from now on: there are two, and the three of the order are not among them.
        store.set_stock("pizza", Some(2), now).await.unwrap();
        assert!(matches!(cancel(store, &before, "ann").await, Changed::Done(_)));
        let left = |item| async move { store.stock(Reader::Newest, item).await.unwrap() };
        assert_eq!((left("pizza").await, left("beer").await), (Some(2), Some(10)), "{}", backend.name);
        let after = place(&[("pizza", 2)]).await;
        assert_eq!(left("pizza").await, Some(0));
        assert!(matches!(cancel(store, &after, "ann").await, Changed::Done(_)));
        assert_eq!(left("pizza").await, Some(2));
        // Coupons too: an order from before its uses were counted took none.
        let mut rules = Rules::default();
        let coupon = rules.discounts.iter().find_map(|d| d.coupon.clone()).unwrap();
        let limit = |rules: &mut Rules, most| {
            rules.discounts.iter_mut().filter(|d| d.coupon.is_some()).for_each(|d| d.max_uses = most);
        };
        let used = |rules: Rules, coupon: String| async move {
            let mut request = request("ann", None, &[("pizza", 2)]);
            request.basket.coupon = Some(coupon);
            match store.place_order(&rules, &request, now).await.unwrap() {
                Placement::Placed(order) => order.id,
                other => panic!("{}: {other:?}", backend.name),
            }
        };
        store.set_stock("pizza", None, now).await.unwrap();
        limit(&mut rules, None);
        let uncounted = used(rules.clone(), coupon.clone()).await;
        limit(&mut rules, Some(5));
        let counted = used(rules, coupon).await;
        let uses = "SELECT used FROM coupon_uses";
        assert_eq!(count(store, uses).await, 1);
        cancel(store, &uncounted, "ann").await;
        assert_eq!(count(store, uses).await, 1, "{}", backend.name);
        cancel(store, &counted, "ann").await;
        assert_eq!(count(store, uses).await, 0, "{}", backend.name);
    }
}

#[tokio::test]
async fn a_change_waits_for_the_one_before_it_and_is_decided_on_what_that_left() {
    let Some(backend) = backends().await.into_iter().find(|backend| backend.name == "PostgreSQL") else { return };
    let store = &backend.store;
    open_restaurant(store).await;
    let order = order(store, "ann").await;
    // The payment is authorised, and not committed yet.
    let mut authorising = store.begin().await.unwrap();
    sqlx::query("UPDATE orders SET state = 'authorised', version = version + 1 WHERE id = $1")
        .bind(order.id.as_str())
        .execute(&mut *authorising)
        .await
        .unwrap();
    let (store, id) = (store.clone(), order.id.clone());
    let cancelling = tokio::spawn(async move { cancel(&store, &id, "ann").await });
    let waits = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted";
    crate::support::until("it waits", || async { (count(&backend.store, waits).await == 1).then_some(()) }).await;
    authorising.commit().await.unwrap();
    let Changed::Done(cancelled) = cancelling.await.unwrap() else { panic!("an authorised order can be called off") };
    assert_eq!((cancelled.state, cancelled.version), (OrderState::Cancelled, order.version + 2));
}

#[tokio::test]
async fn whoever_writes_waits_for_whoever_does_and_not_for_less() {
    let folder = tempfile::TempDir::new().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("zapora.db").display());
    let brief = std::time::Duration::from_millis(20);
    let settings = StoreSettings { acquire_timeout: brief, ..patient(StoreSettings::new(url)) };
    let store = Store::open(&settings).await.unwrap();
    open_restaurant(&store).await;
    // A commit whose disk is slow.
    let slow = store.begin().await.unwrap();
    let mut waiting = std::pin::pin!(order(&store, "ann"));
    assert!(tokio::time::timeout(brief * 10, waiting.as_mut()).await.is_err(), "it waits");
    slow.commit().await.unwrap();
    waiting.await;
}
