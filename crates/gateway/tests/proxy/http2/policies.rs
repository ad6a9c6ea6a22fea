//! What routes ask for besides a place to send requests to, with HTTP/2 on either side.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use gateway::{
    policy::{Carrier, Cors, Origins, Persistence, Retry},
    table::{Cluster, Mirror, Rule, Upstream},
};
use http::{HeaderMap, HeaderValue, Request, Response};

use super::{
    super::support::{self, Gateway, cluster, everything, forward},
    Endpoint, PATIENCE, ask, connect, get, post, receive, run, send_whole,
};

fn speaking_http2(endpoint: &Endpoint) -> Arc<Cluster> {
    let cluster = Cluster::new("default/test:80".into()).speaking(Upstream::Http2);
    cluster.set_addresses(&[endpoint.address], Instant::now());
    Arc::new(cluster)
}

/// Refuses the first two requests with 503, then echoes the body; tells a test the trailers that it got.
fn failing_twice() -> (Endpoint, mpsc::Receiver<Option<HeaderMap>>) {
    let asked = Arc::<AtomicUsize>::default();
    let (sender, got) = mpsc::channel();
    let endpoint = Endpoint::new(move |request, mut respond| {
        let (asked, sender) = (asked.clone(), sender.clone());
        async move {
            let (body, trailers) = receive(&mut request.into_body()).await.unwrap();
            let failed = asked.fetch_add(1, Ordering::SeqCst) < 2;
            let status = if failed { 503 } else { 200 };
            sender.send(trailers).unwrap();
            let response = Response::builder().status(status).body(()).unwrap();
            respond.send_response(response, false).unwrap().send_data(Bytes::from(body), true).unwrap();
        }
    });
    (endpoint, got)
}

fn retrying(mut rule: Rule) -> Rule {
    rule.retry = Some(Retry { codes: [503].into(), attempts: 2, backoff: Duration::from_millis(1) });
    rule
}

#[test]
fn a_request_is_sent_again_with_its_body_and_trailers() {
    let (endpoint, got) = failing_twice();
    let gateway = Gateway::new(everything(retrying(forward(speaking_http2(&endpoint)))));
    run(async {
        let client = connect(gateway.address).await;
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("42"))]);
        let response = send_whole(&client, post("/"), b"hello".to_vec(), Some(trailers.clone())).await.unwrap();
        assert_eq!((response.head.status.as_u16(), response.text()), (200, "hello"));
        for _ in 0..3 {
            assert_eq!(got.recv().unwrap(), Some(trailers.clone()));
        }
    });
}

#[test]
fn a_request_to_an_endpoint_of_http_1_1_is_sent_again_as_well() {
    let asked = AtomicUsize::new(0);
    let endpoint = support::Endpoint::new(move |peer| {
        while !peer.message().0.is_empty() {
            let status = if asked.fetch_add(1, Ordering::SeqCst) < 2 { "503 No" } else { "200 Yes" };
            peer.send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok"));
        }
    });
    let gateway = Gateway::new(everything(retrying(forward(cluster(&[endpoint.address])))));
    run(async {
        let client = connect(gateway.address).await;
        let request = Request::post("http://example.com/").header("content-length", 3).body(()).unwrap();
        let response = send_whole(&client, request, b"abc".to_vec(), None).await.unwrap();
        assert_eq!((response.head.status.as_u16(), response.text()), (200, "ok"));
    });
}

#[test]
fn sessions_are_told_and_kept_whichever_version_is_spoken() {
    let names = ["one", "two", "three"].map(support::Endpoint::saying);
    let addresses: Vec<_> = names.iter().map(|endpoint| endpoint.address).collect();
    let mut rule = forward(cluster(&addresses));
    let carrier = Carrier::Cookie { name: "sid".into(), permanent: false };
    rule.persistence = Some(Persistence::new(carrier, "secret").unwrap());
    let gateway = Gateway::new(everything(rule));
    run(async {
        let client = connect(gateway.address).await;
        let first = ask(&client, get("/")).await.unwrap();
        let session = first.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        for _ in 0..10 {
            // Of HTTP/2, each cookie may have its own field.
            let request =
                Request::get("http://example.com/").header("cookie", "a=b").header("cookie", &session).body(());
            let again = ask(&client, request.unwrap()).await.unwrap();
            assert_eq!((again.text(), again.field("set-cookie")), (first.text(), None));
        }
    });
}

#[test]
fn a_preflight_request_is_answered_and_a_response_may_be_shared() {
    let endpoint = support::Endpoint::saying("ok");
    let mut rule = forward(cluster(&[endpoint.address]));
    let (origins, none) = (Origins::Listed(vec!["https://a.org".to_owned()]), Vec::new);
    let methods = vec!["PUT".to_owned()];
    rule.cors = Some(Cors { origins, credentials: false, methods, headers: none(), expose: none(), max_age: 5 });
    let gateway = Gateway::new(everything(rule));
    run(async {
        let client = connect(gateway.address).await;
        let preflight = Request::options("http://example.com/").header("origin", "https://a.org");
        let preflight = preflight.header("access-control-request-method", "PUT").body(()).unwrap();
        let answer = ask(&client, preflight).await.unwrap();
        assert_eq!((answer.head.status.as_u16(), answer.field("content-length")), (204, None));
        assert_eq!(answer.field("access-control-allow-methods"), Some("PUT"));
        let request = Request::get("http://example.com/").header("origin", "https://a.org").body(()).unwrap();
        let response = ask(&client, request).await.unwrap();
        assert_eq!(response.field("access-control-allow-origin"), Some("https://a.org"));
    });
}

#[test]
fn a_mirror_gets_its_copy_in_the_version_that_it_speaks() {
    let (sender, copies) = mpsc::channel();
    let watcher = Endpoint::new(move |request, mut respond| {
        let sender = sender.clone();
        async move {
            let (head, mut body) = request.into_parts();
            let (body, _) = receive(&mut body).await.unwrap();
            sender.send((head.method.to_string(), head.uri.path().to_owned(), body)).unwrap();
            respond.send_response(Response::new(()), true).unwrap();
        }
    });
    let (sender, lines) = mpsc::channel();
    let sender = Mutex::new(sender);
    let main = support::Endpoint::new(move |peer| {
        loop {
            let (head, body) = peer.message();
            if head.is_empty() {
                return;
            }
            sender.lock().unwrap().send((head, body)).unwrap();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmain");
        }
    });
    let watches = |cluster| Mirror { cluster, part: 1, whole: 1 };
    let mut rule = forward(cluster(&[main.address]));
    rule.mirrors = vec![watches(speaking_http2(&watcher)), watches(cluster(&[main.address]))];
    let gateway = Gateway::new(everything(rule));
    run(async {
        let client = connect(gateway.address).await;
        let request = Request::post("http://example.com/x").header("content-length", 3).body(()).unwrap();
        let response = send_whole(&client, request, b"abc".to_vec(), None).await.unwrap();
        assert_eq!(response.text(), "main");
        assert_eq!(ask(&client, get("/y")).await.unwrap().text(), "main");
    });
    let mut copied: Vec<_> = (0..2).map(|_| copies.recv_timeout(PATIENCE).unwrap()).collect();
    copied.sort();
    let copy = |method: &str, path: &str, body: &[u8]| (method.to_owned(), path.to_owned(), body.to_vec());
    assert_eq!(copied, [copy("GET", "/y", b""), copy("POST", "/x", b"abc")]);
    let mut seen: Vec<_> = (0..4).map(|_| lines.recv_timeout(PATIENCE).unwrap()).collect();
    seen.sort();
    assert_eq!((&seen[0], &seen[2]), (&seen[1], &seen[3]), "the copy is the same, ids included");
}
