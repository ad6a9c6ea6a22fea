//! E-mail through a real mail server: what arrives, how often, and what becomes of what it does not take.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use zapora::jobs::{JobError, Mail};

use crate::{
    people::{Zapora, body, problem},
    python::Server,
    support::until,
};

/// A mail server that gives these answers first, and its URL.
fn smtp(answers: &[&str]) -> Option<(Server, String)> {
    let (server, told) = Server::start("smtp.py", "aiosmtpd.smtp", answers)?;
    Some((server, format!("smtp://127.0.0.1:{}", told["port"])))
}

/// The values of a message's header.
fn header<'a>(message: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = message["headers"].as_array().unwrap().iter();
    headers.filter(|header| header[0] == name).map(|header| header[1].as_str().unwrap()).collect()
}

async fn order(zapora: &Zapora, name: &str) -> String {
    let person = zapora.customer(name).await;
    let item = zapora.item("Margherita").await;
    body(zapora.order(&person, "k", &item, 2), StatusCode::CREATED).await["id"].as_str().unwrap().to_owned()
}

async fn dead_letters(zapora: &Zapora) -> Vec<Value> {
    let admin = zapora.admin().await;
    let page = body(zapora.by(&admin, Method::GET, "/admin/dead-letters"), StatusCode::OK).await;
    page["dead_letters"].as_array().unwrap().clone()
}

/// Waits until so many attempts at telling a customer ended so.
async fn attempts(zapora: &Zapora, outcome: &str, count: usize) {
    let line = format!("zapora_job_attempts_total{{kind=\"tell_customer\",outcome=\"{outcome}\"}} {count}");
    until(&line, || async {
        let metrics = zapora.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        metrics.contains(&line).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_order_is_told_of_in_one_mail_and_one_that_was_put_off_comes_later() {
    let Some((mut server, url)) = smtp(&["451 4.3.0 come back later", "250 OK"]) else { return };
    let zapora = Zapora::start(&[("SMTP_URL", &url), ("MAIL_FROM", "Zapora <kitchen@zapora.example>")]).await;
    let id = order(&zapora, "ann").await;
    attempts(&zapora, "done", 1).await;
    let (put_off, taken) = (server.line(), server.line());
    assert_eq!(put_off["answer"], "451 4.3.0 come back later");
    assert_eq!((&taken["from"], &taken["to"]), (&json!("kitchen@zapora.example"), &json!(["ann@example.com"])));
    assert_eq!(header(&taken, "From"), ["Zapora <kitchen@zapora.example>"]);
    assert_eq!(header(&taken, "To"), ["ann@example.com"]);
    assert_eq!(header(&taken, "Subject"), ["Your order has reached the kitchen"]);
    assert_eq!(
        header(&taken, "Message-ID"),
        header(&put_off, "Message-ID"),
        "the same message, to whoever counts them"
    );
    let text = taken["body"].as_str().unwrap();
    assert!(text.starts_with(&format!("Dear ann,\n\nyour order {id} has reached the kitchen.\n")), "{text:?}");
    assert!(text.contains("   2 x Margherita: ") && text.contains("\nTotal: ") && text.contains(" EUR\n"), "{text:?}");
    assert_eq!(dead_letters(&zapora).await, Vec::<Value>::new());
    zapora.stop().await;
    assert_eq!(server.end(), Vec::<Value>::new(), "nothing came twice");
}

#[tokio::test]
async fn a_mail_that_is_refused_is_a_dead_letter_until_somebody_has_it_tried_again() {
    let Some((mut server, url)) = smtp(&["554 5.7.1 not from you"]) else { return };
    let zapora = Zapora::start(&[("SMTP_URL", &url)]).await;
    order(&zapora, "ann").await;
    attempts(&zapora, "dead", 1).await;
    assert_eq!(server.line()["answer"], "554 5.7.1 not from you");
    let dead = dead_letters(&zapora).await;
    assert_eq!((dead.len(), &dead[0]["kind"], &dead[0]["attempts"]), (1, &json!("tell_customer"), &json!(1)));
    assert!(dead[0]["last_error"].as_str().unwrap().contains("not from you"), "{dead:?}");
    let again = format!("/admin/dead-letters/{}/requeue", dead[0]["id"].as_str().unwrap());
    let answer = zapora.by(&zapora.admin().await, Method::POST, &again).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    attempts(&zapora, "done", 1).await;
    assert_eq!(server.line()["to"], json!(["ann@example.com"]));
    zapora.stop().await;
    assert_eq!(server.end(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_mail_server_that_is_away_costs_no_order_and_gets_its_mail_later() {
    let Some((server, url)) = smtp(&[]) else { return };
    // Its port is free from here on, and nobody listens there.
    server.end();
    let zapora = Zapora::start(&[("SMTP_URL", &url)]).await;
    let id = order(&zapora, "ann").await;
    attempts(&zapora, "failed", 1).await;
    let admin = zapora.admin().await;
    let orders = body(zapora.by(&admin, Method::GET, "/staff/orders?state=authorised"), StatusCode::OK).await;
    assert_eq!(orders["orders"][0]["id"], id.as_str(), "{orders}");
    assert_eq!(dead_letters(&zapora).await, Vec::<Value>::new());
    zapora.stop().await;
}

#[tokio::test]
async fn no_name_address_or_text_gets_a_header_or_a_message_of_its_own() {
    let Some((mut server, url)) = smtp(&[]) else { return };
    let zapora = Zapora::start(&[("SMTP_URL", &url)]).await;
    let new = |email: &str, name: &str| {
        let account = json!({"email": email, "name": name, "password": "password of mine"});
        zapora.request(Method::POST, "/auth/register").json(&account)
    };
    for email in
        ["ann@example.com\r\nBcc: eve@example.com", "ann@example.com, eve@example.com", "Ann <ann@example.com>"]
    {
        problem(new(email, "Ann"), 422).await;
    }
    for name in ["Ann\r\nBcc: eve@example.com", "Ann\nBcc: eve@example.com", "Ann\rBcc: eve@example.com"] {
        problem(new("ann@example.com", name), 422).await;
    }
    let ann = zapora.customer("ann").await;
    let rename =
        zapora.by(&ann, Method::PATCH, "/me").json(&json!({"name": "Ann\r\n.\r\nMAIL FROM:<eve@example.com>"}));
    problem(rename, 422).await;
    // What is a name all the same stands in the text, and nowhere else.
    let odd = "=?utf-8?q?=0D=0ABcc:_eve@example.com?= <eve@example.com>, \"Bob\" ünïcode";
    body(zapora.by(&ann, Method::PATCH, "/me").json(&json!({"name": odd})), StatusCode::OK).await;
    let item = zapora.item("Margherita").await;
    body(zapora.order(&ann, "k", &item, 1), StatusCode::CREATED).await;
    attempts(&zapora, "done", 1).await;
    let message = server.line();
    assert_eq!(message["to"], json!(["ann@example.com"]));
    assert!(header(&message, "Bcc").is_empty() && header(&message, "To") == ["ann@example.com"], "{message}");
    assert!(message["body"].as_str().unwrap().starts_with(&format!("Dear {odd},\n")), "{message}");
    zapora.stop().await;

    // The same, had something got past the service's door into its database.
    let mail = Mail::smtp(&url).unwrap();
    let from = "Zapora <kitchen@zapora.example>".parse().unwrap();
    for to in
        ["ann@example.com\r\nBcc: eve@example.com", "ann@example.com>\r\nRCPT TO:<eve@example.com", "a b@example.com"]
    {
        let sent = mail.send("one", &from, to, "Your order", "text").await;
        assert!(matches!(sent, Err(JobError::Never(_))), "{to:?}: {sent:?}");
    }
    let text =
        "a\r\n.\r\nMAIL FROM:<eve@example.com>\r\nRCPT TO:<eve@example.com>\r\nDATA\r\nspam\r\n.\r\nb\n.\nc\n..\n";
    let subject = "Your order\r\nBcc: eve@example.com\r\n\r\nspam";
    mail.send("two", &from, "ann@example.com", subject, text).await.unwrap();
    let message = server.line();
    assert_eq!(message["to"], json!(["ann@example.com"]));
    assert!(header(&message, "Bcc").is_empty(), "{message}");
    let lines = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    assert_eq!(lines(message["body"].as_str().unwrap()), lines(text));
    assert_eq!(server.end(), Vec::<Value>::new());
}
