//! Requests to a service: one and its answer, and as many as go.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::sides::{EMAIL, Kind, PASSWORD, Side};
use crate::http::{Client, code};

/// The answer to one request.
///
/// # Errors
/// The connection fails, or the answer is no success.
pub fn ask(address: SocketAddr, method: &str, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect(address)?;
    let more = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    stream.write_all(request(method, path, &format!("{more}Connection: close\r\n"), body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    ensure!((200..300).contains(&code(head)), "{method} {path}: {answer}");
    Ok(serde_json::from_str(body).unwrap_or_default())
}

fn request(method: &str, path: &str, more: &str, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    )
}

/// Asks on so many connections for so long; how many answers came.
///
/// # Errors
/// The first answer that is no success.
pub fn load(side: &Side, kind: Kind, connections: usize, time: Duration) -> anyhow::Result<u64> {
    // No request of another measurement may be the same.
    let (stop, number) = (AtomicBool::new(false), AtomicU64::new(fastrand::u64(..) >> 24));
    let first = number.load(Ordering::Relaxed);
    let one = || -> anyhow::Result<()> {
        let mut client = Client::connect(side.address, None)?;
        while !stop.load(Ordering::Relaxed) {
            let number = number.fetch_add(1, Ordering::Relaxed);
            let head = client.send(build(side, kind, number).as_bytes())?;
            ensure!((200..300).contains(&code(&head)), "the answer is {head}");
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(number.into_inner() - first)
}

fn build(side: &Side, kind: Kind, number: u64) -> String {
    match kind {
        Kind::Cached => request("GET", "/menu-items?limit=50", "", &Value::Null),
        Kind::Fresh => {
            let price = 100_000 + number % 900_000;
            request("GET", &format!("/menu-items?limit=50&max_price={price}"), "", &Value::Null)
        }
        Kind::Order => {
            let more = format!("Authorization: Bearer {}\r\nIdempotency-Key: order-{number}\r\n", side.token);
            request("POST", "/orders", &more, &json!({"items": [{"item_id": side.item, "quantity": 1}]}))
        }
        Kind::Login => request("POST", "/auth/login", "", &json!({"email": EMAIL, "password": PASSWORD})),
    }
}
