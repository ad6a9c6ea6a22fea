//! What clients see of a service on the kit: answers, problems, bounds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod support;

use reqwest::StatusCode;
use serde_json::{Value, json};
use service::Service;
use support::{Gates, Running, body_of, service, tight};
use tokio::io::AsyncWriteExt;

async fn running() -> Running {
    Running::new(service(Gates::new())).await
}

/// That this is a problem with this status; its body.
#[track_caller]
fn problem(status: u16, text: &str) -> Value {
    let head = text.split("\r\n\r\n").next().unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    assert!(head.contains("content-type: application/problem+json"), "{text}");
    let body = body_of(text);
    assert_eq!(body["status"], status, "{text}");
    assert!(head.contains(&format!("x-request-id: {}", body["request_id"].as_str().unwrap())), "{text}");
    body
}

#[tokio::test]
async fn operations_answer_for_the_service() {
    let service = service(Gates::new()).check("database", || async { Ok(()) }).check("cache", || async { Ok(()) });
    let running = Running::new(service).await;
    let json = |path: &'static str| {
        let url = running.url(path);
        async move { reqwest::get(url).await.unwrap().json::<Value>().await.unwrap() }
    };
    assert_eq!(json("/health").await, json!({"status": "ok"}));
    let ready = json("/ready").await;
    assert_eq!(ready["status"], "ready");
    assert_eq!(ready["checks"]["database"]["status"], "ok");
    assert_eq!(ready["checks"]["cache"]["status"], "ok");
    let info = json("/info").await;
    assert_eq!((&info["service"], &info["version"]), (&json!("tested"), &json!("1.2.3")));
    info["started"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let page = reqwest::get(running.url("/docs")).await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("swagger-ui"));
}

#[tokio::test]
async fn a_failing_dependency_is_named_but_not_why_it_fails() {
    let service = service(Gates::new())
        .check("cache", || async { Ok(()) })
        .check("database", || async { Err("connect to db.internal: password hunter2".to_owned()) });
    let running = Running::new(service).await;
    let answer = reqwest::get(running.url("/ready")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let text = answer.text().await.unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["detail"], "unavailable: database");
    assert_eq!(body["checks"]["database"]["status"], "failed");
    assert_eq!(body["checks"]["cache"]["status"], "ok");
    // It lives nevertheless.
    assert_eq!(reqwest::get(running.url("/health")).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_a_service_does_less_without_is_named_and_does_not_take_it_from_its_clients() {
    let service = service(Gates::new())
        .check("database", || async { Ok(()) })
        .watch("pictures", || async { Err("they are away".to_owned()) });
    let running = Running::new(service).await;
    let answer = reqwest::get(running.url("/ready")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["checks"]["database"]["status"], "ok");
    assert_eq!(body["checks"]["pictures"]["status"], "failed");
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_says_what_is_wrong() {
    let running = running().await;
    let post = |kind: &str, body: &[u8]| {
        let head = format!(
            "POST /items HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").into_bytes();
    let json = "application/json";
    for (status, detail, request) in [
        (404, "there is nothing at this path", get("/nowhere")),
        (404, "there is no item 7", get("/items/7")),
        (400, "", get("/items/seven")),
        (400, "paths and queries must not contain the character U+0000", get("/items/%00")),
        (400, "", get("/items/%ff")),
        (400, "", get("/items?limit=many")),
        (400, "", get("/items?lmit=1")),
        (400, "", get("/items?limit=1&limit=2")),
        (422, "limit: greater than 50", get("/items?limit=51")),
        (415, "the body must be application/json", post("text/plain", b"{}")),
        (400, "", post(json, b"{")),
        (400, "", post(json, b"")),
        (400, "", post(json, b"\xff")),
        (400, "", post(json, b"{\"name\":\"\xc3\x28\",\"count\":1}")),
        (400, "", post(json, br#"{"name":"a","count":1} trailing"#)),
        (422, "missing field `count`", post(json, br#"{"name":"a"}"#)),
        (422, "", post(json, br#"{"name":"a","count":1,"more":1}"#)),
        (422, "", post(json, br#"{"name":"a","count":99999999999999999999999999}"#)),
        (422, "", post(json, br#"{"name":"a","count":-1}"#)),
        (422, "", post(json, br#"{"name":"","count":1}"#)),
        (422, "strings must not contain the character U+0000", post(json, br#"{"name":"a\u0000","count":1}"#)),
        (500, "the request failed; its id leads to the cause in the log", get("/fail")),
    ] {
        let answer = running.raw(&request).await;
        let body = problem(status, &answer);
        let said = body["detail"].as_str().unwrap();
        assert!(if detail.is_empty() { !said.is_empty() } else { said == detail }, "{detail:?}: {answer}");
        assert!(!answer.contains("hunter2"), "{answer}");
    }
}

#[tokio::test]
async fn each_broken_rule_names_its_field() {
    let running = running().await;
    let request = reqwest::Client::new().post(running.url("/items"));
    let answer = request.json(&json!({"name": "x".repeat(21), "count": 101})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body: Value = answer.json().await.unwrap();
    let fields: Vec<&str> = body["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["count", "name"]);
    assert_eq!(body["detail"], "2 fields are not as they must be");
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_told_those_that_it_does() {
    let running = running().await;
    let answer = reqwest::Client::new().delete(running.url("/items")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let allowed = answer.headers()["allow"].to_str().unwrap().to_owned();
    assert!(["GET", "HEAD", "POST"].iter().all(|m| allowed.split(',').any(|a| a.trim() == *m)), "{allowed}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn answers_carry_the_headers_that_keep_browsers_from_misusing_them() {
    let running = running().await;
    for path in ["/health", "/nowhere", "/docs/"] {
        let answer = reqwest::get(running.url(path)).await.unwrap();
        let headers = answer.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert!(headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    }
}

#[tokio::test]
async fn a_giant_body_is_refused_announced_or_not() {
    let running = Running::new(service(Gates::new()).limits(tight())).await;
    let announced =
        "POST /items HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9999999999\r\n\r\n";
    let body = problem(413, &running.raw(announced.as_bytes()).await);
    assert_eq!(body["detail"], "the body has more than 65536 bytes");
    let mut chunked =
        b"POST /items HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..5 {
        chunked.extend_from_slice(b"4000\r\n");
        chunked.extend_from_slice(&[b' '; 0x4000]);
        chunked.extend_from_slice(b"\r\n");
    }
    problem(413, &running.raw(&chunked).await);
}

#[tokio::test]
async fn a_slow_head_and_a_slow_body_are_cut() {
    let running = Running::new(service(Gates::new()).limits(tight())).await;
    let head = running.raw(b"GET / HTTP/1.1\r\nHos").await;
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    let body = "POST /items HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"na";
    let told = problem(408, &running.raw(body.as_bytes()).await);
    assert_eq!(told["detail"], "the body did not arrive in time");
    let idle = running.raw(b"").await;
    assert_eq!(idle, "");
}

#[tokio::test]
async fn a_body_that_drips_is_refused_in_time_and_its_connection_given_back() {
    let limits = service::Limits { connections: 1, ..tight() };
    let time = limits.body_time;
    let running = Running::new(service(Gates::new()).limits(limits)).await;
    for _ in 0..3 {
        let (mut reader, mut writer) = running.connect().await.into_split();
        let head = "POST /items HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n";
        let began = std::time::Instant::now();
        writer.write_all(head.as_bytes()).await.unwrap();
        // Never silent for long: a bound on silence would not catch it.
        let drip = async {
            let mut ticks = tokio::time::interval(time / 10);
            loop {
                ticks.tick().await;
                if writer.write_all(b" ").await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        let answer = tokio::select! {
            answer = support::read_to_end(&mut reader) => answer,
            () = drip => unreachable!(),
        };
        assert_eq!(problem(408, &answer)["detail"], "the body did not arrive in time");
        assert!(began.elapsed() >= time, "not before its time");
        // There is one connection: whoever comes next has it, since the client that drips does not any more.
        let next = running.raw(b"GET /items HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(next.starts_with("HTTP/1.1 200"), "{next}");
    }
}

#[tokio::test]
async fn a_route_may_have_more_time_than_the_others() {
    let limits = service::Limits { request_time: std::time::Duration::from_millis(50), ..tight() };
    let gates = Gates::new();
    let long = service(gates.clone()).limits(limits).request_time("/wait/longer", std::time::Duration::from_secs(60));
    let running = Running::new(long).await;
    let request = tokio::spawn(reqwest::get(running.url("/wait/longer")));
    gates.entered.notified().await;
    let brief = reqwest::get(running.url("/wait")).await.unwrap();
    assert_eq!(brief.status(), StatusCode::SERVICE_UNAVAILABLE, "begun later, and given up by now");
    gates.leave.add_permits(1);
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused_while_probes_are_answered() {
    let gates = Gates::new();
    let running = Running::new(service(gates.clone()).limits(tight())).await;
    let client = reqwest::Client::new();
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(client.get(running.url("/wait")).send())).collect();
    for _ in 0..2 {
        gates.entered.notified().await;
    }
    let refused = client.get(running.url("/items")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(client.get(running.url(path)).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    gates.leave.add_permits(2);
    for request in waiting {
        assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(client.get(running.url("/items")).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_given_up() {
    let limits = service::Limits { request_time: std::time::Duration::from_millis(50), ..tight() };
    let running = Running::new(service(Gates::new()).limits(limits)).await;
    let answer = running.raw(b"GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(problem(503, &answer)["detail"], "the request took too long");
}

#[tokio::test]
async fn a_panic_is_one_requests_trouble() {
    let running = running().await;
    let mut stream = running.connect().await;
    stream
        .write_all(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\nGET /panic HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let both = support::read_to_end(&mut stream).await;
    assert_eq!(both.matches("HTTP/1.1 500").count(), 2, "{both}");
    assert!(!both.contains("on purpose"), "{both}");
    let metrics = reqwest::get(running.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("http_panics_total 2"), "{metrics}");
}

#[tokio::test]
async fn a_request_keeps_its_id_and_its_trace() {
    let running = running().await;
    let client = reqwest::Client::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = client.get(running.url("/who")).header("x-request-id", "mine-1").header("traceparent", parent);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    let said = answer.text().await.unwrap();
    let [id, client_address, handed_on] = said.split(' ').collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert_eq!((id, client_address), ("mine-1", "127.0.0.1"));
    assert!(handed_on.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && handed_on.ends_with("-01"), "{said}");
    assert!(!handed_on.contains("00f067aa0ba902b7"), "the span handed on is the service's own: {said}");
    let forged = client.get(running.url("/who")).header("x-request-id", "a b").send().await.unwrap();
    assert_eq!(uuid::Uuid::parse_str(forged.headers()["x-request-id"].to_str().unwrap()).unwrap().get_version_num(), 7);
}

#[tokio::test]
async fn labels_of_metrics_are_bounded_whatever_clients_send() {
    let running = running().await;
    let client = reqwest::Client::new();
    for n in 0..50 {
        let method = reqwest::Method::from_bytes(format!("METHOD{n}").as_bytes()).unwrap();
        client.request(method, running.url("/items")).send().await.unwrap();
        client.get(running.url(&format!("/made/up/{n}"))).send().await.unwrap();
        client.get(running.url(&format!("/items/{n}"))).send().await.unwrap();
    }
    let metrics = client.get(running.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let requests: Vec<&str> = metrics.lines().filter(|l| l.starts_with("http_requests_total{")).collect();
    assert_eq!(
        requests,
        [
            r#"http_requests_total{method="GET",route="/items/{id}",status="404"} 50"#,
            r#"http_requests_total{method="GET",route="unmatched",status="404"} 50"#,
            r#"http_requests_total{method="OTHER",route="/items",status="405"} 50"#,
        ]
    );
    for name in ["http_request_duration_seconds_bucket", "http_requests_in_flight", "process_resident_memory_bytes"] {
        assert!(metrics.contains(name), "{name}");
    }
}

/// Says what became of a handler, which may be dropped before it says so itself.
struct Fate(tokio::sync::mpsc::UnboundedSender<String>, String);

impl Drop for Fate {
    fn drop(&mut self) {
        let _ = self.0.send(std::mem::take(&mut self.1));
    }
}

#[tokio::test]
async fn a_change_that_has_begun_is_made_though_its_client_goes_away() {
    let (gates, (tell, mut told)) = (Gates::new(), tokio::sync::mpsc::unbounded_channel());
    let handler = {
        let gates = gates.clone();
        async move || {
            let mut fate = Fate(tell.clone(), "dropped".to_owned());
            gates.entered.notify_one();
            gates.leave.acquire().await.unwrap().forget();
            fate.1 = format!("done for {}", service::trace::request_id().unwrap_or_default());
        }
    };
    let changes = axum::Router::new()
        .route("/changes", axum::routing::post(handler.clone()).get(handler))
        .route_layer(axum::middleware::from_fn(service::to_the_end));
    let running = Running::new(Service::new("tested", "1.2.3").routes(changes.into())).await;
    for (method, fate) in [("POST", "done for ann"), ("GET", "dropped")] {
        let mut client = running.connect().await;
        let request =
            format!("{method} /changes HTTP/1.1\r\nHost: a\r\nX-Request-Id: ann\r\nContent-Length: 0\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        gates.entered.notified().await;
        drop(client);
        // Once the service knows, there is only the connection that asks.
        while !running
            .raw(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .contains("http_connections 1\n")
        {}
        gates.leave.add_permits(1);
        assert_eq!(told.recv().await.unwrap(), fate, "{method}");
    }
}
