//! Orders: placed once, explained, moved on, called off; and what hostile requests come to.

use std::time::Duration;

use crate::support::{Person, Zapora, body, problem};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Waits until an order is in a state: its jobs run beside the requests.
async fn until(zapora: &Zapora, person: &Person, id: &str, state: &str) -> Value {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        let shown = body(zapora.by(person, Method::GET, &format!("/orders/{id}")), StatusCode::OK).await;
        if shown["order"]["state"] == state {
            return shown;
        }
    }
}

#[tokio::test]
async fn an_order_with_one_key_is_placed_once() {
    let zapora = Zapora::start(&[]).await;
    let ann = zapora.customer("ann").await;
    let item = zapora.item("Margherita").await;
    let first = zapora.order(&ann, "a key", &item, 2).send().await.unwrap();
    assert_eq!(first.status(), 400, "a key has no blanks");
    let first = zapora.order(&ann, "key-1", &item, 2).send().await.unwrap();
    let location = first.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let order = crate::support::json_of(first, StatusCode::CREATED).await;
    assert_eq!((&order["total_cents"], &order["state"]), (&json!(1900), &json!("placed")));
    assert_eq!(location, format!("/orders/{}", order["id"].as_str().unwrap()));
    let again = zapora.order(&ann, "key-1", &item, 2).send().await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(crate::support::json_of(again, StatusCode::CREATED).await["id"], order["id"]);
    problem(zapora.order(&ann, "key-1", &item, 3), 422).await;
    let unnamed = json!({"items": [{"item_id": item["id"], "quantity": 1}]});
    problem(zapora.by(&ann, Method::POST, "/orders").json(&unnamed), 400).await;
    // Another customer's key is another key.
    let ben = zapora.customer("ben").await;
    assert_ne!(body(zapora.order(&ben, "key-1", &item, 2), StatusCode::CREATED).await["id"], order["id"]);
    let mine = body(zapora.by(&ann, Method::GET, "/orders"), StatusCode::OK).await;
    assert_eq!(mine["orders"].as_array().unwrap().len(), 1);
    zapora.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_explained() {
    let zapora = Zapora::start(&[]).await;
    let ann = zapora.customer("ann").await;
    let item = zapora.item("Tiramisù").await;
    let refused = problem(zapora.order(&ann, "k", &item, 13), 409).await;
    assert_eq!(refused["refusals"][0]["code"], "out_of_stock");
    assert!(refused["decisions"].is_array());
    let wish = json!({"items": [{"item_id": item["id"], "quantity": 2}], "coupon": "NOPE"});
    let estimate = body(zapora.by(&ann, Method::POST, "/orders/quote").json(&wish), StatusCode::OK).await;
    assert_eq!((&estimate["accepted"], &estimate["refusals"][0]["code"]), (&json!(false), &json!("coupon")));
    let wish = json!({"items": [{"item_id": item["id"], "quantity": 4}], "coupon": "WELCOME5"});
    let estimate = body(zapora.by(&ann, Method::POST, "/orders/quote").json(&wish), StatusCode::OK).await;
    assert_eq!((&estimate["accepted"], &estimate["quote"]["total_cents"]), (&json!(true), &json!(4 * 590 - 500)));
    for bad in [
        json!({"items": []}),
        json!({"items": [{"item_id": item["id"], "quantity": 0}]}),
        json!({"items": [], "extra": 1}),
    ] {
        problem(zapora.by(&ann, Method::POST, "/orders/quote").json(&bad), 422).await;
    }
    zapora.stop().await;
}

#[tokio::test]
async fn an_order_goes_through_the_kitchen_and_is_counted() {
    let zapora = Zapora::start(&[]).await;
    let (ann, staff) = (zapora.customer("ann").await, zapora.staff("stella").await);
    let item = zapora.item("Margherita").await;
    let order = body(zapora.order(&ann, "k", &item, 1), StatusCode::CREATED).await;
    let id = order["id"].as_str().unwrap();
    until(&zapora, &ann, id, "authorised").await;
    let advance =
        |to: &str| zapora.by(&staff, Method::POST, &format!("/staff/orders/{id}/advance")).json(&json!({"to": to}));
    problem(advance("completed"), 409).await;
    let waiting = body(zapora.by(&staff, Method::GET, "/staff/orders?state=authorised"), StatusCode::OK).await;
    assert_eq!(waiting["orders"][0]["id"], order["id"]);
    for to in ["accepted", "preparing", "ready", "completed"] {
        assert_eq!(body(advance(to), StatusCode::OK).await["state"], to);
        assert_eq!(body(advance(to), StatusCode::OK).await["state"], to, "twice is once");
    }
    let cancel = zapora.by(&ann, Method::POST, &format!("/orders/{id}/cancel"));
    problem(cancel, 409).await;
    let shown = until(&zapora, &ann, id, "completed").await;
    let steps: Vec<&str> = shown["history"].as_array().unwrap().iter().filter_map(|step| step["to"].as_str()).collect();
    assert_eq!(steps, ["placed", "authorised", "accepted", "preparing", "ready", "completed"]);
    let metrics = zapora.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "orders_total{state=\"placed\"} 1",
        "orders_total{state=\"completed\"} 1",
        "order_revenue_cents_total{currency=\"EUR\"} 950",
        "users 3",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    zapora.stop().await;
}

#[tokio::test]
async fn what_is_called_off_is_in_stock_again() {
    let zapora = Zapora::start(&[]).await;
    let (ann, staff) = (zapora.customer("ann").await, zapora.staff("stella").await);
    let item = zapora.item("Tiramisù").await;
    let stock = format!("/menu-items/{}/stock", item["id"].as_str().unwrap());
    let order = body(zapora.order(&ann, "k", &item, 5), StatusCode::CREATED).await;
    assert_eq!(body(zapora.by(&staff, Method::GET, &stock), StatusCode::OK).await["left"], 7);
    let cancel = || zapora.by(&ann, Method::POST, &format!("/orders/{}/cancel", order["id"].as_str().unwrap()));
    assert_eq!(body(cancel(), StatusCode::OK).await["state"], "cancelled");
    assert_eq!(body(cancel(), StatusCode::OK).await["state"], "cancelled");
    assert_eq!(body(zapora.by(&staff, Method::GET, &stock), StatusCode::OK).await["left"], 12);
    zapora.stop().await;
}

#[tokio::test]
async fn many_who_want_the_last_ones_get_no_more_than_there_are() {
    let zapora = Zapora::start(&[]).await;
    let ann = zapora.customer("ann").await;
    let item = zapora.item("Tiramisù").await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..20 {
        let request = zapora.order(&ann, &format!("k{number}"), &item, 1);
        tries.spawn(async move { request.send().await.unwrap().status() });
    }
    let statuses = tries.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::CREATED).count(), 12, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status.as_u16(), 201 | 409)), "{statuses:?}");
    zapora.stop().await;
}

#[tokio::test]
async fn rules_are_replaced_by_whoever_has_seen_them() {
    let zapora = Zapora::start(&[]).await;
    let (ann, admin) = (zapora.customer("ann").await, zapora.admin().await);
    let shown = zapora.by(&admin, Method::GET, "/admin/rules").send().await.unwrap();
    let etag = shown.headers()[header::ETAG].clone();
    let mut rules = crate::support::json_of(shown, StatusCode::OK).await;
    rules["limits"]["quantity"] = 1.into();
    let set = |tag: &str, rules: &Value| {
        zapora.by(&admin, Method::PUT, "/admin/rules").header(header::IF_MATCH, tag).json(rules)
    };
    problem(set("\"9\"", &rules), 412).await;
    let mut wrong = rules.clone();
    wrong["currency"] = "euro".into();
    problem(set(etag.to_str().unwrap(), &wrong), 422).await;
    body(set(etag.to_str().unwrap(), &rules), StatusCode::NO_CONTENT).await;
    let refused = problem(zapora.order(&ann, "k", &zapora.item("Marinara").await, 2), 409).await;
    assert_eq!(refused["refusals"][0]["code"], "quantity");
    zapora.stop().await;
}

#[tokio::test]
async fn what_looks_like_sql_or_a_header_is_text() {
    let zapora = Zapora::start(&[]).await;
    let (ann, staff) = (zapora.customer("ann").await, zapora.staff("stella").await);
    let item = zapora.item("Marinara").await;
    let evil = "'); DROP TABLE orders; -- \" OR 1=1 /*\r\nSet-Cookie: a=b\r\n\r\n*/";
    let wish = json!({"items": [{"item_id": item["id"], "quantity": 1}], "note": evil});
    let request =
        zapora.by(&ann, Method::POST, "/orders").header("idempotency-key", "';DROP/**/TABLE/**/orders;--").json(&wish);
    assert_eq!(body(request, StatusCode::CREATED).await["note"], evil);
    for search in ["' OR '1'='1", "%' OR 1=1 --", "x'; DROP TABLE menu_items; --"] {
        let url = reqwest::Url::parse_with_params("http://x/menu-items", [("q", search)]).unwrap();
        let found = zapora.request(Method::GET, &format!("/menu-items?{}", url.query().unwrap()));
        assert_eq!(body(found, StatusCode::OK).await["items"], json!([]));
    }
    let login = json!({"email": "admin@example.com' OR 1=1 --", "password": "x"});
    problem(zapora.request(Method::POST, "/auth/login").json(&login), 422).await;
    for path in ["/orders/1%20OR%201=1", "/menu-items/'%20OR%201=1"] {
        problem(zapora.by(&staff, Method::GET, path), 400).await;
    }
    let split = zapora.by(&staff, Method::POST, "/menus").json(&json!({"name": "a\r\nSet-Cookie: b"}));
    problem(split, 422).await;
    assert_eq!(
        zapora.get("/menu-items?limit=100").await["items"].as_array().unwrap().len(),
        11,
        "everything is still there"
    );
    zapora.stop().await;
}

#[tokio::test]
async fn bodies_that_are_broken_giant_or_slow_are_refused_and_nothing_is_lost() {
    let zapora = Zapora::start(&[("IMAGE_MAX_BYTES", "200000")]).await;
    let ann = zapora.customer("ann").await;
    let item = zapora.item("Marinara").await;
    let post = |kind: &'static str, body: Vec<u8>| {
        zapora
            .by(&ann, Method::POST, "/orders")
            .header("idempotency-key", "k")
            .header(header::CONTENT_TYPE, kind)
            .body(body)
    };
    for (kind, text, expected) in [
        ("application/json", b"{".to_vec(), 400),
        ("application/json", b"\xff\xfe".to_vec(), 400),
        ("application/json", b"".to_vec(), 400),
        ("application/json", b"[]".to_vec(), 422),
        ("application/json", b"{\"items\":[{\"item_id\":\"\\u0000\",\"quantity\":1}]}".to_vec(), 422),
        ("application/json", format!("{}1{}", "[".repeat(5000), "]".repeat(5000)).into_bytes(), 422),
        ("application/xml", b"<a/>".to_vec(), 415),
        ("text/plain", b"{}".to_vec(), 415),
        ("application/json", vec![b' '; 2_000_000], 413),
    ] {
        let status = post(kind, text).send().await.map(|response| response.status().as_u16());
        assert_eq!(status.unwrap(), expected, "{kind}");
    }
    let huge = json!({"items": [{"item_id": item["id"], "quantity": 1}], "note": "x".repeat(1001)});
    problem(post("application/json", huge.to_string().into_bytes()), 422).await;
    // Somebody sends the beginning of an order and goes away; somebody else orders meanwhile.
    let mut slow = TcpStream::connect(zapora.address()).await.unwrap();
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: s\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{\"items\":",
        ann.access
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    body(zapora.order(&ann, "k", &item, 1), StatusCode::CREATED).await;
    slow.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest).await;
    let orders = body(zapora.by(&ann, Method::GET, "/orders"), StatusCode::OK).await;
    assert_eq!(orders["orders"].as_array().unwrap().len(), 1);
    zapora.stop().await;
}
