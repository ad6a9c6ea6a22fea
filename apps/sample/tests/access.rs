//! Who is let in where: every route with every kind of caller.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod support;

use std::time::Duration;

use reqwest::Method;
use sample::access::{ACCESS, Access, Claims};
use serde_json::{Value, json};
use service::{config::Secret, jwt::Tokens};
use support::{KEYS, Sample, Who, config};

fn lets_in(access: Access, who: &str) -> bool {
    match access {
        Access::Public => true,
        Access::Caller => ["user", "admin", "key", "admin's key"].contains(&who),
        Access::User => ["user", "admin"].contains(&who),
        Access::Admin => who == "admin",
        Access::ApiKey => ["key", "admin's key"].contains(&who),
    }
}

#[tokio::test]
async fn every_route_lets_in_whom_the_table_says() {
    let mut documented: Vec<_> = Vec::new();
    for (path, methods) in sample::service(&config()).await.unwrap().operations() {
        let kits = ["/health", "/ready", "/info", "/metrics"].contains(&path.as_str());
        documented.extend(methods.into_iter().filter(|_| !kits).map(|method| (method, path.clone())));
    }
    let mut table: Vec<_> = ACCESS.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    documented.sort();
    table.sort();
    assert_eq!(table, documented, "the table and the document have the same routes");

    let sample = Sample::start().await;
    let (user, admin) = (sample.user("ann").await, sample.admin().await);
    let callers = [
        ("nobody", Who::Nobody),
        ("forged", Who::Token("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIiwicm9sZSI6ImFkbWluIn0.".to_owned())),
        ("wrong key", Who::Key("sk_wrong".to_owned())),
        ("key", sample.key(&user).await.0),
        ("admin's key", sample.key(&admin).await.0),
        ("user", user),
        ("admin", admin),
    ];
    for (method, path, access) in ACCESS {
        let path = path.replace("{id}", "0198c0de-0000-7000-8000-000000000000").replace("{key}", "some");
        for (name, who) in &callers {
            let method: Method = method.parse().unwrap();
            let response = sample.request(method.clone(), &path, who).json(&json!({})).send().await.unwrap();
            let (status, kind) = (response.status().as_u16(), response.headers().get("content-type").cloned());
            let known = !["nobody", "forged", "wrong key"].contains(name);
            let expected = if lets_in(*access, name) {
                0
            } else if known {
                403
            } else {
                401
            };
            let refused = if [401, 403].contains(&status) { status } else { 0 };
            assert_eq!(refused, expected, "{method} {path} by {name}: {status}");
            if status >= 400 {
                assert_eq!(kind.unwrap(), "application/problem+json", "{method} {path} by {name}");
            }
        }
    }
}

#[tokio::test]
async fn tokens_are_trusted_only_in_their_time_and_by_a_known_key() {
    let sample = Sample::start().await;
    let claims =
        Claims { sub: "1".to_owned(), name: "eve".to_owned(), role: serde_json::from_value(json!("admin")).unwrap() };
    let now = jiff::Timestamp::now();
    let hour = Duration::from_secs(3600);
    let with = |keys: &str, audience: &str, at: jiff::Timestamp| {
        Who::Token(Tokens::new(&Secret::new(keys), "sample", audience).unwrap().sign(&claims, at, hour).unwrap())
    };
    let old = KEYS.split(',').next_back().unwrap();
    for (who, status, why) in [
        (with(KEYS, "sample", now), 200, "good"),
        (with(old, "sample", now), 200, "signed with the key before"),
        (with(KEYS, "sample", now - hour * 2), 401, "expired"),
        (with(KEYS, "sample", now + hour), 401, "of the future"),
        (with(KEYS, "other", now), 401, "for somebody else"),
        (with("new:a-key-that-is-of-somebody-else-altogether", "sample", now), 401, "forged"),
    ] {
        let response = sample.request(Method::GET, "/protected/admin", &who).send().await.unwrap();
        assert_eq!(response.status(), status, "{why}");
        assert_eq!(status == 401, response.headers().contains_key("www-authenticate"), "{why}");
    }
}

#[tokio::test]
async fn passwords_are_not_to_be_guessed() {
    let sample = Sample::with(&sample::Config { logins: 3, ..config() }).await;
    let guess = json!({"username": "admin", "password": "wrong password"});
    let unknown = json!({"username": "nobody", "password": "wrong password"});
    assert_eq!(
        sample.post("/auth/login", &Who::Nobody, &guess).await.1["detail"],
        sample.post("/auth/login", &Who::Nobody, &unknown).await.1["detail"]
    );
    assert_eq!(sample.post("/auth/login", &Who::Nobody, &guess).await.0, 401);
    let request = sample.request(Method::POST, "/auth/login", &Who::Nobody).json(&guess);
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().contains_key("retry-after")), (429, true));
}

#[tokio::test]
async fn too_many_requests_from_one_address_are_put_off() {
    let sample = Sample::with(&sample::Config { requests: 5, ..config() }).await;
    for _ in 0..5 {
        assert_eq!(sample.get("/", &Who::Nobody).await.0, 200);
    }
    assert_eq!(sample.get("/items", &Who::Nobody).await.0, 429);
    assert_eq!(sample.get("/health", &Who::Nobody).await.0, 200, "probes are not counted");
}

#[tokio::test]
async fn roles_are_given_by_admins_and_count_from_the_next_login() {
    let sample = Sample::start().await;
    let (ann, admin) = (sample.user("ann").await, sample.admin().await);
    let users = sample.get("/admin/users", &admin).await.1;
    let id = |name: &str| {
        let list = users["users"].as_array().unwrap();
        list.iter().find(|user| user["username"] == name).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let role: Value = json!({"role": "admin"});
    let give = |id: String| format!("/admin/users/{id}/role");
    assert_eq!(sample.send(Method::PUT, &give(id("ann")), &admin, Some(&role)).await.0, 200);
    assert_eq!(sample.send(Method::PUT, &give(id("admin")), &admin, Some(&json!({"role": "user"}))).await.0, 409);
    assert_eq!(sample.get("/protected/admin", &ann).await.0, 403);
    assert_eq!(sample.get("/protected/admin", &sample.login("ann", "a good password").await).await.0, 200);
    assert!(!users.to_string().contains("$2"), "no hash of a password leaves the service: {users}");
}

#[tokio::test]
async fn the_last_admin_stays_even_if_somebody_is_one_by_an_old_token_only() {
    let sample = Sample::start().await;
    let admin = sample.admin().await;
    sample.user("ann").await;
    let users = sample.get("/admin/users", &admin).await.1;
    let path = |name: &str| {
        let list = users["users"].as_array().unwrap();
        let user = list.iter().find(|user| user["username"] == name).unwrap();
        format!("/admin/users/{}/role", user["id"].as_str().unwrap())
    };
    let sample = &sample;
    let put = |path: String, who: Who, role: &'static str| async move {
        sample.send(Method::PUT, &path, &who, Some(&json!({"role": role}))).await.0.as_u16()
    };
    assert_eq!(put(path("ann"), admin.clone(), "admin").await, 200);
    let ann = sample.login("ann", "a good password").await;
    assert_eq!(put(path("ann"), admin.clone(), "user").await, 200);
    // Ann's token says admin still.
    assert_eq!(put(path("admin"), ann.clone(), "user").await, 409);
    assert_eq!(put(path("admin"), ann.clone(), "admin").await, 200, "which is no change");
    assert_eq!(put(format!("/admin/users/{}/role", uuid::Uuid::nil()), ann, "user").await, 404);
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_address_and_a_throttled_one_uses_up_nobodys_name() {
    let sample = Sample::with_proxy(&sample::Config { logins: 3, ..config() }).await;
    let login = |address: &'static str, name: &'static str| {
        let request = sample.request(Method::POST, "/auth/login", &Who::Nobody);
        let request = request.json(&json!({"username": name, "password": "a wrong password"}));
        async move { request.header("x-forwarded-for", address).send().await.unwrap().status().as_u16() }
    };
    for address in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
        assert_eq!(login(address, "one").await, 401);
    }
    for _ in 0..3 {
        assert_eq!(login("2001:db8::4", "two").await, 429, "of the same network");
    }
    assert_eq!(login("2001:db8:0:1::1", "two").await, 401, "of another, and nobody has tried this name");
}

#[tokio::test]
async fn a_token_whose_user_is_gone_is_no_fault_of_the_service() {
    let (before, after) = (Sample::start().await, Sample::start().await);
    // The database in memory is another, the keys are the same.
    let ann = before.user("ann").await;
    for (path, body) in [("/items", json!({"name": "cup"})), ("/auth/api-keys", json!({"name": "laptop"}))] {
        assert_eq!(after.post(path, &ann, &body).await.0, 401, "{path}");
    }
    assert_eq!(after.get("/auth/me", &ann).await.0, 401);
}
