//! Bodies that are large, deep or made to hurt: they are refused, or cost what their size says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use apiserver::{ApiServer, Options};
use http::Request;
use kube::Client;
use serde_json::Value;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The largest body that is taken.
const LIMIT: usize = 3 * 1024 * 1024;

async fn open(dir: &std::path::Path) -> Client {
    let options = Options { data_dir: dir.to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
    ApiServer::open(options).await.unwrap().client("tester")
}

/// The code of an answer, and what it says.
async fn send(client: &Client, method: &str, path: &str, media: &str, body: String) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    let answer = client.send(request.body(kube::client::Body::from(body.into_bytes())).unwrap()).await.unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect_bytes().await.unwrap();
    let said: Value = serde_json::from_slice(&bytes).unwrap();
    (code, said["message"].as_str().unwrap_or_default().to_owned())
}

async fn post(client: &Client, media: &str, body: String) -> (u16, String) {
    send(client, "POST", MAPS, media, body).await
}

/// What the process holds, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// A list of lists by aliases: each of `levels` has ten of the one before.
fn laughs(levels: usize) -> String {
    let mut text = "metadata: {name: laughs}\ndata:\n  a0: &a0 [lol]\n".to_owned();
    for level in 1..levels {
        let ten = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("  a{level}: &a{level} [{ten}]\n"));
    }
    text
}

#[tokio::test]
async fn aliases_that_multiply_are_refused_before_they_do() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let before = resident();
    let (code, said) = post(&client, "application/yaml", laughs(30)).await;
    assert_eq!(code, 400, "{said}");
    assert!(said.starts_with("error converting YAML to JSON: "), "{said}");
    let patch = format!("{MAPS}/laughs?fieldManager=me");
    let (code, said) = send(&client, "PATCH", &patch, "application/apply-patch+yaml", laughs(30)).await;
    assert_eq!(code, 400, "{said}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 256 << 20, "{} MiB", grown >> 20);
    // An alias by itself is none of that.
    let few = "metadata: {name: few}\ndata: {a: &x text, b: *x}".to_owned();
    assert_eq!(post(&client, "application/yaml", few).await, (201, String::new()));
}

#[tokio::test]
async fn what_is_nested_too_deeply_is_refused_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let (lists, maps) =
        ("[".repeat(10_000) + &"]".repeat(10_000), "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000));
    let indented: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth + 2))).collect();
    for (media, body) in [
        ("application/json", format!("{{\"data\": {lists}}}")),
        ("application/json", maps.clone()),
        ("application/yaml", format!("data: {lists}")),
        ("application/yaml", maps.clone()),
        ("application/yaml", format!("data:\n{indented}")),
        ("application/yaml", format!("data:\n  {}x", "- ".repeat(10_000))),
    ] {
        let (code, said) = post(&client, media, body).await;
        assert_eq!(code, 400, "{media}: {said}");
        assert!(said.len() < 2_000, "{}", said.len());
    }
    assert_eq!(post(&client, "application/json", r#"{"metadata": {"name": "a"}}"#.to_owned()).await.0, 201);
    for media in [
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/json-patch+json",
        "application/apply-patch+yaml",
    ] {
        for body in [&lists, &maps] {
            let (code, said) = send(&client, "PATCH", &format!("{MAPS}/a?fieldManager=me"), media, body.clone()).await;
            assert_eq!(code, 400, "{media}: {said}");
        }
    }
}

#[tokio::test]
async fn what_is_large_is_taken_up_to_the_limit_and_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let key = "k".repeat(LIMIT - 200);
    // A key that is no key, as long as a body can be: it is said, and not said again at that length for ever.
    let (code, said) =
        post(&client, "application/json", format!(r#"{{"metadata": {{"name": "a"}}, "data": {{"{key}": "x"}}}}"#))
            .await;
    assert_eq!(code, 422, "{} bytes", said.len());
    let text = "x".repeat(LIMIT);
    let (code, said) =
        post(&client, "application/json", format!(r#"{{"metadata": {{"name": "a"}}, "data": {{"a": "{text}"}}}}"#))
            .await;
    assert_eq!((code, said.contains("too large")), (413, true), "{said}");
    let (code, _) = post(&client, "application/yaml", format!("data: {{a: {text}}}")).await;
    assert_eq!(code, 413);
    // Many small things: a number of fields that nobody needs, and all of them unknown.
    let many: Vec<String> = (0..100_000).map(|i| format!("\"f{i}\": {i}")).collect();
    let many = format!(r#"{{"metadata": {{"name": "many"}}, {}}}"#, many.join(","));
    assert_eq!(post(&client, "application/json", many.clone()).await.0, 201, "they are left out, and warned about");
    let strict = format!("{MAPS}?fieldValidation=Strict");
    let (code, said) = send(&client, "POST", &strict, "application/json", many).await;
    assert_eq!(code, 400);
    assert!(said.len() < LIMIT, "{}", said.len());
}

#[tokio::test]
async fn what_is_there_twice_is_found_however_often() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    let twice = r#"{"metadata": {"name": "a", "name": "b"}, "data": {"k": "1", "k": "2"}}"#;
    let strict = format!("{MAPS}?fieldValidation=Strict");
    let (code, said) = send(&client, "POST", &strict, "application/json", twice.to_owned()).await;
    assert_eq!(code, 400);
    assert!(
        said.contains("duplicate field \"metadata.name\"") && said.contains("duplicate field \"data.k\""),
        "{said}"
    );
    let (code, said) = post(&client, "application/yaml", "metadata: {name: a}\nmetadata: {name: b}\n".to_owned()).await;
    assert_eq!(code, 400, "{said}");
    let often = vec!["\"k\": \"x\""; 200_000].join(",");
    let often = format!(r#"{{"metadata": {{"name": "often"}}, "data": {{{often}}}}}"#);
    let (code, said) = send(&client, "POST", &strict, "application/json", often).await;
    assert_eq!(code, 400);
    assert!(said.len() < 1 << 20, "{}", said.len());
}
