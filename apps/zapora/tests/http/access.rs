//! Who may do what: every route of the table, tried as everybody.

use std::collections::BTreeSet;

use crate::support::{Person, Zapora, body};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zapora::auth::access::{Role, TABLE, Verdict, Who};

/// A body that says what the route wants to know, where it wants to know something.
fn sent(method: &Method, path: &str, id: &str) -> Option<Value> {
    Some(match (method.as_str(), path) {
        ("POST", "/auth/register") => json!({"email": "x@example.com", "name": "x", "password": "long enough"}),
        ("POST", "/auth/login") => json!({"email": "x@example.com", "password": "wrong"}),
        ("POST", "/auth/refresh") => json!({"refresh_token": "none"}),
        ("PATCH", _) => json!({}),
        ("POST", "/me/password") => json!({"current": "wrong", "new": "long enough"}),
        ("POST", "/menus") => json!({"name": "Starters"}),
        ("POST", "/menu-items") => json!({"menu_id": id, "name": "Olives", "price_cents": 1}),
        ("POST", "/orders" | "/orders/quote") => json!({"items": [{"item_id": id, "quantity": 1}]}),
        ("POST", "/staff/orders/{id}/advance") => json!({"to": "accepted"}),
        ("PUT", "/menu-items/{id}/stock") => json!({"left": 1}),
        ("PUT", "/admin/rules") => json!({"currency": "EUR"}),
        _ => return None,
    })
}

async fn status(zapora: &Zapora, person: Option<&Person>, (method, path): (&Method, &str), id: &str) -> StatusCode {
    let concrete = path.replace("{id}", id).replace("{name}", "none.png");
    let mut request = match person {
        Some(person) => zapora.by(person, method.clone(), &concrete),
        None => zapora.request(method.clone(), &concrete),
    };
    if let Some(json) = sent(method, path, id) {
        request = request.json(&json);
    }
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn every_route_answers_exactly_whom_the_table_names() {
    let zapora = Zapora::start(&[("LOGIN_TRIES_PER_ACCOUNT", "1000")]).await;
    let people = [
        (None, None),
        (Some(Role::Customer), Some(zapora.customer("ann").await)),
        (Some(Role::Staff), Some(zapora.staff("stella").await)),
        (Some(Role::Admin), Some(zapora.admin().await)),
    ];
    // An id that nothing has: whoever may, is told that it is not there.
    let id = "01890000-0000-7000-8000-000000000000";
    for (method, path, who) in TABLE {
        // Ends the session that the next rows need; tried below.
        if *path == "/auth/logout" {
            continue;
        }
        for (role, person) in &people {
            let status = status(&zapora, person.as_ref(), (method, path), id).await;
            let seen = match (status, who) {
                // The route itself says 401 to a wrong password, and that is not about who asks.
                (StatusCode::UNAUTHORIZED, Who::Anyone) => Verdict::Allowed,
                (StatusCode::UNAUTHORIZED, _) => Verdict::SignIn,
                (StatusCode::FORBIDDEN, _) => Verdict::Forbidden,
                (other, _) => {
                    assert!(!other.is_server_error(), "{method} {path} as {role:?}: {other}");
                    assert_ne!(
                        other,
                        StatusCode::METHOD_NOT_ALLOWED,
                        "{method} {path} is in the table and not in the router"
                    );
                    Verdict::Allowed
                }
            };
            assert_eq!(seen, who.verdict(*role), "{method} {path} as {role:?}: {status}");
        }
    }
    assert_eq!(status(&zapora, None, (&Method::POST, "/auth/logout"), id).await, StatusCode::UNAUTHORIZED);
    for (_, person) in &people[1..] {
        assert_eq!(status(&zapora, person.as_ref(), (&Method::POST, "/auth/logout"), id).await, StatusCode::NO_CONTENT);
        assert_eq!(status(&zapora, person.as_ref(), (&Method::GET, "/me"), id).await, StatusCode::UNAUTHORIZED);
    }
    zapora.stop().await;
}

#[tokio::test]
async fn the_table_the_router_and_the_document_have_the_same_routes() {
    let zapora = Zapora::start(&[]).await;
    let document = zapora.get("/openapi.json").await;
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["tags"] == json!(["operations"]) {
                continue;
            }
            documented.insert(format!("{} {path}", method.to_uppercase()));
            let who = zapora::auth::access::who(&method.to_uppercase().parse().unwrap(), path).unwrap();
            assert_eq!(operation.get("security").is_some(), who != Who::Anyone, "{method} {path}");
        }
    }
    let table: BTreeSet<String> = TABLE.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(documented, table);
    zapora.stop().await;
}

#[tokio::test]
async fn an_order_is_its_owners_and_the_staffs_and_to_others_it_does_not_exist() {
    let zapora = Zapora::start(&[]).await;
    let (ann, ben) = (zapora.customer("ann").await, zapora.customer("ben").await);
    let (staff, admin) = (zapora.staff("stella").await, zapora.admin().await);
    let item = zapora.item("Margherita").await;
    let order = body(zapora.order(&ann, "k", &item, 1), StatusCode::CREATED).await;
    let path = format!("/orders/{}", order["id"].as_str().unwrap());
    for (person, expected) in [(&ann, 200), (&ben, 404), (&staff, 200), (&admin, 200)] {
        let status = zapora.by(person, Method::GET, &path).send().await.unwrap().status();
        assert_eq!(status, expected);
    }
    let theirs = body(zapora.by(&ben, Method::GET, "/orders"), StatusCode::OK).await;
    assert_eq!(theirs["orders"], json!([]));
    crate::support::problem(zapora.by(&ben, Method::POST, &format!("{path}/cancel")), 404).await;
    let mine = body(zapora.by(&ann, Method::GET, "/orders"), StatusCode::OK).await;
    assert_eq!(mine["orders"][0]["id"], order["id"]);
    let all = body(zapora.by(&staff, Method::GET, "/staff/orders"), StatusCode::OK).await;
    assert_eq!(all["orders"][0]["id"], order["id"]);
    zapora.stop().await;
}

#[tokio::test]
async fn whoever_is_dismissed_is_out_at_once_and_the_last_admin_stays() {
    let zapora = Zapora::start(&[]).await;
    let (staff, admin) = (zapora.staff("stella").await, zapora.admin().await);
    let path = format!("/admin/users/{}", staff.id);
    body(zapora.by(&admin, Method::PATCH, &path).json(&json!({"disabled": true})), StatusCode::OK).await;
    crate::support::problem(zapora.by(&staff, Method::GET, "/staff/orders"), 401).await;
    let again = json!({"email": "stella@example.com", "password": "password of mine"});
    crate::support::problem(zapora.request(Method::POST, "/auth/login").json(&again), 401).await;
    let refresh = json!({"refresh_token": staff.refresh});
    crate::support::problem(zapora.request(Method::POST, "/auth/refresh").json(&refresh), 401).await;
    let last =
        zapora.by(&admin, Method::PATCH, &format!("/admin/users/{}", admin.id)).json(&json!({"role": "customer"}));
    crate::support::problem(last, 409).await;
    let entries = body(zapora.by(&admin, Method::GET, "/admin/audit"), StatusCode::OK).await;
    let actions: Vec<&str> =
        entries["entries"].as_array().unwrap().iter().filter_map(|e| e["action"].as_str()).collect();
    assert!(actions.contains(&"account.appoint") && actions.contains(&"session.begin"), "{actions:?}");
    zapora.stop().await;
}
