//! The whole service on PostgreSQL and Redis: every query of the HTTP side, replicas that share what they know, and Redis away.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    people::{Person, Zapora, body, problem},
    support::{Postgres, Redis, postgres, redis, until},
};

async fn start(postgres: Option<&Postgres>, redis: Option<&Redis>) -> Zapora {
    let urls = (postgres.map(Postgres::url), redis.map(Redis::url));
    let mut settings = vec![("DATABASE_TIMEOUT_SECONDS", "60")];
    settings.extend(urls.0.as_deref().map(|url| ("DATABASE_URL", url)));
    settings.extend(urls.1.as_deref().map(|url| ("REDIS_URL", url)));
    Zapora::start(&settings).await
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// The life of an account, wherever its sessions are.
async fn sessions(zapora: &Zapora) {
    let ann = zapora.customer("ann").await;
    let refresh = |token: &str| zapora.request(Method::POST, "/auth/refresh").json(&json!({"refresh_token": token}));
    let next = body(refresh(&ann.refresh), StatusCode::OK).await;
    problem(refresh(&ann.refresh), 401).await;
    problem(refresh(next["refresh_token"].as_str().unwrap()), 401).await;
    problem(zapora.by(&ann, Method::GET, "/me"), 401).await;
    let login = || zapora.login("ann@example.com", "password of mine");
    let (first, second) = (login().await, login().await);
    body(zapora.by(&first, Method::POST, "/auth/logout"), StatusCode::NO_CONTENT).await;
    problem(zapora.by(&first, Method::GET, "/me"), 401).await;
    let change = json!({"current": "password of mine", "new": "password of mine"});
    let third = login().await;
    body(zapora.by(&second, Method::POST, "/me/password").json(&change), StatusCode::NO_CONTENT).await;
    problem(zapora.by(&third, Method::GET, "/me"), 401).await;
    body(zapora.by(&second, Method::GET, "/me"), StatusCode::OK).await;
    for _ in 0..zapora::auth::sessions::MOST {
        login().await;
    }
    problem(zapora.by(&second, Method::GET, "/me"), 401).await;
    let last = login().await;
    body(zapora.by(&last, Method::POST, "/auth/logout?everywhere=true"), StatusCode::NO_CONTENT).await;
    problem(zapora.by(&last, Method::GET, "/me"), 401).await;
}

async fn menu(zapora: &Zapora, staff: &Person) {
    for sort in ["name", "-name", "price", "-price", "created", "-created"] {
        let all = zapora.get(&format!("/menu-items?limit=100&sort={sort}")).await;
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = zapora.get(&format!("/menu-items?limit=4&sort={sort}{after}")).await;
            seen.extend(names(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(seen, names(&all), "{sort}");
        assert_eq!(seen.len(), 11);
    }
    let found = zapora.get("/menu-items?tag=pizza&q=MOZZA&min_price=1000&max_price=1200&available=true").await;
    assert_eq!(names(&found), ["Diavola"]);
    let menu = zapora.get("/menus").await["menus"][0]["id"].clone();
    let new = json!({"menu_id": menu, "name": "Éclair", "price_cents": 350});
    let made = body(zapora.by(staff, Method::POST, "/menu-items").json(&new), StatusCode::CREATED).await;
    for rest in ["clair", "CLAIR", ""] {
        let found = zapora.get(&format!("/menu-items?q=%C3%89{rest}")).await;
        assert_eq!(names(&found), ["Éclair"], "É{rest}");
    }
    let path = format!("/menu-items/{}", made["id"].as_str().unwrap());
    let gone = zapora.by(staff, Method::DELETE, &path).header(header::IF_MATCH, "\"1\"");
    body(gone, StatusCode::NO_CONTENT).await;
    let new = json!({"menu_id": menu, "name": "Calzone", "price_cents": 1100, "tags": ["pizza"], "stock": 3});
    let made = body(zapora.by(staff, Method::POST, "/menu-items").json(&new), StatusCode::CREATED).await;
    let path = format!("/menu-items/{}", made["id"].as_str().unwrap());
    let change = |tag: &str| {
        zapora.by(staff, Method::PATCH, &path).header(header::IF_MATCH, tag).json(&json!({"name": "Calzone!"}))
    };
    body(change("\"1\""), StatusCode::OK).await;
    problem(change("\"1\""), 412).await;
    let mut picture = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(20, 20).write_to(&mut picture, image::ImageFormat::Png).unwrap();
    let put = zapora.by(staff, Method::PUT, &format!("{path}/image")).header(header::CONTENT_TYPE, "image/png");
    let shown = body(put.body(picture.into_inner()), StatusCode::OK).await;
    assert_eq!(shown["image"]["width"], 20);
    body(zapora.by(staff, Method::DELETE, &format!("{path}/image")), StatusCode::NO_CONTENT).await;
    let gone = zapora.by(staff, Method::DELETE, &path).header(header::IF_MATCH, "\"4\"");
    body(gone, StatusCode::NO_CONTENT).await;
    let menus = zapora.by(staff, Method::POST, "/menus").json(&json!({"name": "Soups"}));
    let menu = format!("/menus/{}", body(menus, StatusCode::CREATED).await["id"].as_str().unwrap());
    let change = zapora.by(staff, Method::PATCH, &menu).json(&json!({"position": 7, "name": "Soup"}));
    assert_eq!(body(change, StatusCode::OK).await["position"], 7);
    body(zapora.by(staff, Method::DELETE, &menu), StatusCode::NO_CONTENT).await;
}

async fn orders(zapora: &Zapora, admin: &Person) {
    let ben = zapora.customer("ben").await;
    let item = zapora.item("Margherita").await;
    let order = body(zapora.order(&ben, "k", &item, 1), StatusCode::CREATED).await;
    let again = body(zapora.order(&ben, "k", &item, 1), StatusCode::CREATED).await;
    assert_eq!(again["id"], order["id"]);
    let path = format!("/orders/{}", order["id"].as_str().unwrap());
    until("the payment", || async {
        let shown = body(zapora.by(&ben, Method::GET, &path), StatusCode::OK).await;
        (shown["order"]["state"] == "authorised").then_some(())
    })
    .await;
    for list in [
        "/staff/orders?state=authorised",
        "/admin/users?role=customer&email=BEN",
        "/admin/audit?limit=1",
        "/admin/dead-letters",
    ] {
        body(zapora.by(admin, Method::GET, list), StatusCode::OK).await;
    }
    let users = body(zapora.by(admin, Method::GET, "/admin/users?email=ben&limit=1"), StatusCode::OK).await;
    assert_eq!(users["users"][0]["id"], ben.id.as_str());
    body(zapora.by(&ben, Method::POST, &format!("{path}/cancel")), StatusCode::OK).await;
    let rename = zapora.by(&ben, Method::PATCH, "/me").json(&json!({"name": "Benno"}));
    assert_eq!(body(rename, StatusCode::OK).await["name"], "Benno");
    let last = zapora.by(admin, Method::PATCH, &format!("/admin/users/{}", admin.id)).json(&json!({"disabled": true}));
    problem(last, 409).await;
}

#[tokio::test]
async fn everything_works_on_postgresql_and_redis_as_it_does_on_sqlite() {
    let (Some(postgres), Some(redis)) = (postgres(), redis()) else { return };
    for redis in [None, Some(&redis)] {
        let zapora = start(redis.map(|_| &postgres), redis).await;
        let (staff, admin) = (zapora.staff("stella").await, zapora.admin().await);
        sessions(&zapora).await;
        menu(&zapora, &staff).await;
        orders(&zapora, &admin).await;
        zapora.stop().await;
    }
}

#[tokio::test]
async fn replicas_of_the_service_share_sessions_and_see_each_others_menu() {
    let (Some(postgres), Some(redis)) = (postgres(), redis()) else { return };
    // Both fill the empty menu and make the first admin: once.
    let (one, two) = tokio::join!(start(Some(&postgres), Some(&redis)), start(Some(&postgres), Some(&redis)));
    assert_eq!(names(&two.get("/menu-items?limit=100").await).len(), 11);
    let staff = one.staff("stella").await;
    body(two.by(&staff, Method::GET, "/staff/orders"), StatusCode::OK).await;
    let item = two.item("Diavola").await;
    let path = format!("/menu-items/{}", item["id"].as_str().unwrap());
    let change =
        one.by(&staff, Method::PATCH, &path).header(header::IF_MATCH, "\"1\"").json(&json!({"price_cents": 1}));
    body(change, StatusCode::OK).await;
    until("the other replica's menu", || async { (two.item("Diavola").await["price_cents"] == 1).then_some(()) }).await;
    body(two.by(&staff, Method::POST, "/auth/logout"), StatusCode::NO_CONTENT).await;
    problem(one.by(&staff, Method::GET, "/staff/orders"), 401).await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn while_redis_is_away_food_is_ordered_and_staff_wait() {
    let Some(mut redis) = redis() else { return };
    let zapora = start(None, Some(&redis)).await;
    let (ann, staff) = (zapora.customer("ann").await, zapora.staff("stella").await);
    let item = zapora.item("Margherita").await;
    redis.kill().unwrap();
    body(zapora.order(&ann, "k1", &item, 1), StatusCode::CREATED).await;
    zapora.get("/menu-items?limit=7").await;
    problem(zapora.by(&staff, Method::GET, "/staff/orders"), 503).await;
    let login = json!({"email": "ann@example.com", "password": "password of mine"});
    problem(zapora.request(Method::POST, "/auth/login").json(&login), 503).await;
    let ready = zapora.request(Method::GET, "/ready").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK, "without Redis it does less, but it does its work");
    redis.restart().unwrap();
    // It has forgotten who was signed in; whoever signs in again goes on.
    let ann = until("a login", || async {
        let again = zapora.request(Method::POST, "/auth/login").json(&login).send().await.unwrap();
        if again.status() == StatusCode::OK {
            Some(zapora.login("ann@example.com", "password of mine").await)
        } else {
            None
        }
    })
    .await;
    let orders = body(zapora.by(&ann, Method::GET, "/orders"), StatusCode::OK).await;
    assert_eq!(orders["orders"].as_array().unwrap().len(), 1);
    zapora.stop().await;
}

#[tokio::test]
async fn passwords_are_tried_so_often_whichever_replica_is_asked() {
    let Some(redis) = redis() else { return };
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str()), ("LOGIN_TRIES_PER_ACCOUNT", "4"), ("REGISTRATIONS_PER_ADDRESS", "3")];
    let (one, two) = tokio::join!(Zapora::start(&settings), Zapora::start(&settings));
    // Each has an Ann of its own; whose tries they are goes by the address that she signs in with.
    let (here, _) = (one.customer("ann").await, two.customer("ann").await);
    let wrong = json!({"email": "Ann@example.com", "password": "password of yours"});
    let attempt = |zapora: &Zapora| zapora.request(Method::POST, "/auth/login").json(&wrong);
    for replica in [&one, &two, &one, &two] {
        problem(attempt(replica), 401).await;
    }
    for replica in [&one, &two] {
        let refused = attempt(replica).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = refused.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=960).contains(&wait), "{wait}");
    }
    let change = json!({"current": "password of mine", "new": "another one of mine"});
    problem(one.by(&here, Method::POST, "/me/password").json(&change), 429).await;
    let new =
        |name: &str| json!({"email": format!("{name}@example.com"), "name": name, "password": "password of mine"});
    let register = |zapora: &Zapora, name: &str| zapora.request(Method::POST, "/auth/register").json(&new(name));
    body(register(&one, "bob"), StatusCode::CREATED).await;
    problem(register(&two, "cat"), 429).await;
    one.stop().await;
    two.stop().await;
}
