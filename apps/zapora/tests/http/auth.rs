//! Accounts, sessions and tokens, as a client and as somebody who forges them.

use std::time::Duration;

use crate::support::{ADMIN, KEYS, Person, Zapora, body, keys, problem};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use service::jwt;
use zapora::{
    auth::password::Passwords,
    store::{Store, StoreSettings},
};

#[tokio::test]
async fn an_account_is_made_once_whatever_the_case_of_its_address() {
    let zapora = Zapora::start(&[]).await;
    let new = |email: &str| {
        zapora
            .request(Method::POST, "/auth/register")
            .json(&json!({"email": email, "name": "Ann", "password": "password of mine"}))
    };
    let made = new("Ann@Example.com").send().await.unwrap();
    assert_eq!(made.headers()[header::LOCATION], "/me");
    let made = crate::support::json_of(made, StatusCode::CREATED).await;
    assert_eq!((&made["email"], &made["role"]), (&json!("ann@example.com"), &json!("customer")));
    assert!(made.get("password").is_none() && made.get("password_hash").is_none());
    problem(new("ann@example.COM"), 409).await;
    let told = problem(new("no address"), 422).await;
    assert_eq!(told["errors"][0]["field"], "email");
    let person = zapora.login("ANN@example.com", "password of mine").await;
    let renamed = zapora.by(&person, Method::PATCH, "/me").json(&json!({"name": "Anna"}));
    assert_eq!(body(renamed, StatusCode::OK).await["name"], "Anna");
    let sneaky = zapora.by(&person, Method::PATCH, "/me").json(&json!({"role": "admin"}));
    problem(sneaky, 422).await;
    zapora.stop().await;
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_copy_ends_the_session() {
    let zapora = Zapora::start(&[]).await;
    let ann = zapora.customer("ann").await;
    let refresh = |token: &str| zapora.request(Method::POST, "/auth/refresh").json(&json!({"refresh_token": token}));
    let answer = refresh(&ann.refresh).send().await.unwrap();
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let next = crate::support::json_of(answer, StatusCode::OK).await;
    let next = Person {
        access: next["access_token"].as_str().unwrap().to_owned(),
        refresh: next["refresh_token"].as_str().unwrap().to_owned(),
        ..ann.clone()
    };
    assert_ne!(next.refresh, ann.refresh);
    body(zapora.by(&next, Method::GET, "/me"), StatusCode::OK).await;
    // Somebody comes with the copy: neither the thief nor the owner goes on.
    problem(refresh(&ann.refresh), 401).await;
    problem(refresh(&next.refresh), 401).await;
    problem(zapora.by(&next, Method::GET, "/me"), 401).await;
    problem(refresh("garbage"), 401).await;
    let metrics = zapora.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("refresh_token_reuses_total 1"), "{metrics}");
    zapora.stop().await;
}

#[tokio::test]
async fn of_many_who_refresh_at_once_with_one_token_at_most_one_succeeds() {
    let zapora = Zapora::start(&[]).await;
    let ann = zapora.customer("ann").await;
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let request = zapora.request(Method::POST, "/auth/refresh").json(&json!({"refresh_token": ann.refresh}));
        tries.spawn(async move { request.send().await.unwrap().status() });
    }
    let statuses = tries.join_all().await;
    assert!(statuses.iter().filter(|status| **status == StatusCode::OK).count() <= 1, "{statuses:?}");
    problem(zapora.by(&ann, Method::GET, "/me"), 401).await;
    zapora.stop().await;
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_logout_ends_its_own_or_all() {
    let zapora = Zapora::start(&[]).await;
    let ann = zapora.customer("ann").await;
    let phone = zapora.login("ann@example.com", "password of mine").await;
    let change = |current: &str| json!({"current": current, "new": "another password"});
    problem(zapora.by(&ann, Method::POST, "/me/password").json(&change("wrong")), 409).await;
    let changed = zapora.by(&ann, Method::POST, "/me/password").json(&change("password of mine"));
    body(changed, StatusCode::NO_CONTENT).await;
    problem(zapora.by(&phone, Method::GET, "/me"), 401).await;
    body(zapora.by(&ann, Method::GET, "/me"), StatusCode::OK).await;
    let phone = zapora.login("ann@example.com", "another password").await;
    body(zapora.by(&phone, Method::POST, "/auth/logout"), StatusCode::NO_CONTENT).await;
    problem(zapora.by(&phone, Method::GET, "/me"), 401).await;
    body(zapora.by(&ann, Method::GET, "/me"), StatusCode::OK).await;
    let phone = zapora.login("ann@example.com", "another password").await;
    body(zapora.by(&ann, Method::POST, "/auth/logout?everywhere=true"), StatusCode::NO_CONTENT).await;
    problem(zapora.by(&phone, Method::GET, "/me"), 401).await;
    zapora.stop().await;
}

#[tokio::test]
async fn guessing_is_slowed_down_and_tells_nothing() {
    let zapora = Zapora::start(&[("LOGIN_TRIES_PER_ACCOUNT", "3")]).await;
    zapora.customer("ann").await;
    let login = |email: &str, password: &str| {
        zapora.request(Method::POST, "/auth/login").json(&json!({"email": email, "password": password}))
    };
    for email in ["ann@example.com", "nobody@example.com"] {
        let mut told = Vec::new();
        for _ in 0..3 {
            told.push(problem(login(email, "guess"), 401).await["detail"].clone());
        }
        assert!(
            told.iter()
                .all(|detail| *detail == told[0] && detail == "there is no such account, or it has another password")
        );
        let throttled = login(email, "password of mine").send().await.unwrap();
        assert_eq!(throttled.status(), StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = throttled.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=1000).contains(&wait), "{wait}");
    }
    zapora.admin().await;
    zapora.stop().await;
}

fn base64url(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = text.bytes().map(|byte| format!("{byte:08b}")).collect();
    let digit = |chunk: &[char]| {
        let six: String = chunk.iter().copied().chain(std::iter::repeat('0')).take(6).collect();
        char::from(DIGITS[usize::from_str_radix(&six, 2).unwrap()])
    };
    bits.chars().collect::<Vec<_>>().chunks(6).map(digit).collect()
}

#[tokio::test]
async fn forged_tokens_open_nothing() {
    let zapora = Zapora::start(&[]).await;
    let ann = zapora.customer("ann").await;
    let mut parts = ann.access.split('.');
    let (head, claims, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let now = Timestamp::now();
    let minutes = Duration::from_secs(900);
    // What a thief of nothing but the account's id would write.
    let admin = json!({"sub": ann.id, "sid": ann.refresh.split('.').next().unwrap(), "role": "admin"});
    let sign = |key: &str, issuer: &str, audience: &str, at: Timestamp| {
        jwt::Tokens::new(&keys(key), issuer, audience).unwrap().sign(&admin, at, minutes).unwrap()
    };
    let ago = now.checked_sub(SignedDuration::from_hours(2)).unwrap();
    let later = now.checked_add(SignedDuration::from_hours(2)).unwrap();
    let header = |text: &str| format!("{}.{claims}.{signature}", base64url(text));
    let forged = [
        ("no signature", format!("{}.{claims}.", base64url(r#"{"alg":"none","typ":"JWT","kid":"new"}"#))),
        ("no algorithm", header(r#"{"alg":"none","kid":"new"}"#)),
        ("NoNe", header(r#"{"alg":"nOnE","kid":"new"}"#)),
        ("RS256 with the secret as public key", header(r#"{"alg":"RS256","kid":"new"}"#)),
        ("HS512", header(r#"{"alg":"HS512","kid":"new"}"#)),
        ("a key that is a path", header(r#"{"alg":"HS256","kid":"../../dev/null"}"#)),
        ("a key that is SQL", header(r#"{"alg":"HS256","kid":"x' UNION SELECT 'y"}"#)),
        ("a key of the token's own", header(r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#)),
        ("a key from elsewhere", header(r#"{"alg":"HS256","jku":"http://127.0.0.1/keys"}"#)),
        ("another secret", sign("new:ffffffffffffffffffffffffffffffff", "zapora", "zapora", now)),
        ("another issuer", sign(KEYS, "elsewhere", "zapora", now)),
        ("another audience", sign(KEYS, "zapora", "sample", now)),
        ("expired", sign(KEYS, "zapora", "zapora", ago)),
        ("from the future", sign(KEYS, "zapora", "zapora", later)),
        ("other claims", format!("{head}.{}.{signature}", base64url(&admin.to_string()))),
        ("a refresh token", ann.refresh.clone()),
        ("nothing like it", "a.b.c".to_owned()),
        ("a novel", "a".repeat(6000)),
    ];
    for (name, token) in forged {
        let told = problem(zapora.request(Method::GET, "/me").bearer_auth(&token), 401).await;
        let refused = zapora.request(Method::GET, "/admin/users").bearer_auth(&token).send().await.unwrap();
        assert_eq!(refused.status(), 401, "{name}: {told}");
        let challenge = refused.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert_eq!(challenge, "Bearer error=\"invalid_token\"", "{name}");
    }
    // Even a token that is signed well is worth no more than its session and the account behind it.
    let elsewhere = json!({"sub": zapora.admin().await.id, "sid": admin["sid"], "role": "admin"});
    let tokens = jwt::Tokens::new(&keys(KEYS), "zapora", "zapora").unwrap();
    let mixed = tokens.sign(&elsewhere, now, minutes).unwrap();
    problem(zapora.request(Method::GET, "/admin/users").bearer_auth(mixed), 401).await;
    zapora.stop().await;
}

#[tokio::test]
async fn tokens_of_the_key_before_still_count_after_a_rotation() {
    let zapora = Zapora::start(&[]).await;
    let ann = zapora.customer("ann").await;
    let claims = json!({"sub": ann.id, "sid": ann.refresh.split('.').next().unwrap(), "role": "customer"});
    let (_, old) = KEYS.split_once(',').unwrap();
    let before = jwt::Tokens::new(&keys(old), "zapora", "zapora").unwrap();
    let token = before.sign(&claims, Timestamp::now(), Duration::from_secs(60)).unwrap();
    body(zapora.request(Method::GET, "/me").bearer_auth(token), StatusCode::OK).await;
    zapora.stop().await;
}

#[tokio::test]
async fn the_first_admin_keeps_the_password_that_was_chosen() {
    let zapora = Zapora::start(&[]).await;
    let admin = zapora.admin().await;
    let change = json!({"current": ADMIN.1, "new": "chosen by the admin"});
    body(zapora.by(&admin, Method::POST, "/me/password").json(&change), StatusCode::NO_CONTENT).await;
    let database = format!("sqlite:{}/zapora.db", zapora.folder.path().display());
    let again = Zapora::start(&[("DATABASE_URL", &database)]).await;
    let first = json!({"email": ADMIN.0, "password": ADMIN.1});
    problem(again.request(Method::POST, "/auth/login").json(&first), 401).await;
    again.login(ADMIN.0, "chosen by the admin").await;
    again.stop().await;
    zapora.stop().await;
}

#[tokio::test]
async fn a_login_that_a_change_of_the_account_overtakes_begins_no_session() {
    let zapora = Zapora::start(&[]).await;
    let ann = zapora.customer("ann").await;
    let url = format!("sqlite:{}", zapora.folder.path().join("zapora.db").display());
    let store = Store::open(&StoreSettings::new(url)).await.unwrap();
    let hash = Passwords::new(4).hash("another password").await.unwrap();
    // What a change of the password does, and is not over with: whoever looks sees the old one, and whoever writes waits.
    let mut changing = store.begin().await.unwrap();
    sqlx::query("UPDATE users SET password_hash = $1 WHERE id = $2")
        .bind(hash)
        .bind(ann.id.as_str())
        .execute(&mut *changing)
        .await
        .unwrap();
    sqlx::query("UPDATE sessions SET revoked_at = 1 WHERE user_id = $1")
        .bind(ann.id.as_str())
        .execute(&mut *changing)
        .await
        .unwrap();
    let old = json!({"email": "ann@example.com", "password": "password of mine"});
    let login = tokio::spawn(zapora.request(Method::POST, "/auth/login").json(&old).send());
    // Long enough for the login to have checked the password; should it not have been, it is wrong by now.
    for _ in 0..100 {
        zapora.get("/menus").await;
    }
    changing.commit().await.unwrap();
    assert_eq!(login.await.unwrap().unwrap().status(), 401);
    let mut connection = store.writing().await.unwrap();
    let on = sqlx::query_scalar("SELECT COUNT(*) FROM sessions WHERE user_id = $1 AND revoked_at IS NULL");
    let on: i64 = on.bind(ann.id.as_str()).fetch_one(&mut *connection).await.unwrap();
    assert_eq!(on, 0, "no session is left of the old password");
    drop(connection);
    store.close().await;
    zapora.stop().await;
}

#[tokio::test]
async fn sessions_that_did_not_end_with_an_appointment_end_when_it_is_made_again() {
    let zapora = Zapora::start(&[]).await;
    let (ann, admin) = (zapora.customer("ann").await, zapora.admin().await);
    let appoint = |change| zapora.by(&admin, Method::PATCH, &format!("/admin/users/{}", ann.id)).json(&change);
    body(appoint(json!({})), StatusCode::OK).await;
    body(zapora.by(&ann, Method::GET, "/me"), StatusCode::OK).await;
    // As if the same had been said before, and the sessions could not be ended then.
    body(appoint(json!({"role": "customer"})), StatusCode::OK).await;
    problem(zapora.by(&ann, Method::GET, "/me"), 401).await;
    zapora.stop().await;
}

#[tokio::test]
async fn an_admin_who_appoints_themselves_what_they_are_keeps_this_session_and_no_other() {
    let zapora = Zapora::start(&[]).await;
    let (other, admin) = (zapora.admin().await, zapora.admin().await);
    let own = format!("/admin/users/{}", admin.id);
    body(zapora.by(&admin, Method::PATCH, &own).json(&json!({"role": "admin"})), StatusCode::OK).await;
    body(zapora.by(&admin, Method::GET, "/me"), StatusCode::OK).await;
    problem(zapora.by(&other, Method::GET, "/me"), 401).await;
    zapora.stop().await;
}
