//! What is added to, taken from and changed in the heads that pass.

use gateway::table::{Action, HeaderChange, PathChange, Redirect, Rewrite, Rule};
use http::{HeaderName, HeaderValue, StatusCode};

use super::support::{Endpoint, Gateway, Peer, cluster, everything, field, forward, rule, status};

/// The head that an endpoint behind `rule` gets for these fields of a request for `/a/b?q=1`.
fn sent(gateway: &Gateway, fields: &str) -> String {
    let mut client = gateway.client();
    client.send(format!("GET /a/b?q=1 HTTP/1.1\r\nHost: example.com:80\r\n{fields}\r\n"));
    client.message().1
}

fn mirrored(change: impl FnOnce(&mut Rule)) -> Gateway {
    let mut rule = forward(cluster(&[Endpoint::mirror().address]));
    change(&mut rule);
    Gateway::new(everything(rule))
}

#[test]
fn the_endpoint_learns_who_asked_and_how() {
    let gateway = mirrored(|_| {});
    let seen = sent(&gateway, "X-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n");
    assert!(seen.starts_with("GET /a/b?q=1 HTTP/1.1\r\nhost: example.com:80\r\n"), "{seen}");
    assert_eq!(field(&seen, "x-forwarded-for"), Some("10.1.1.1, 127.0.0.1"));
    assert_eq!(field(&seen, "x-forwarded-proto"), Some("http"));
    let id = field(&seen, "x-request-id").unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'4', "{id}");
    let again = sent(&gateway, "");
    assert_eq!(field(&again, "x-forwarded-for"), Some("127.0.0.1"));
    assert_ne!(field(&again, "x-request-id"), Some(id));
}

#[test]
fn on_a_services_address_what_other_proxies_said_is_kept() {
    let gateway = mirrored(|_| {});
    gateway.serve_inside(everything(forward(cluster(&[Endpoint::mirror().address]))));
    let seen = sent(&gateway, "X-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n");
    let fields = ["x-forwarded-for", "x-forwarded-proto", "x-request-id"].map(|name| field(&seen, name));
    assert_eq!(fields, [Some("10.1.1.1"), Some("https"), Some("mine")]);
    assert!(field(&sent(&gateway, ""), "x-forwarded-for").is_none());
}

#[test]
fn a_trace_is_continued_or_begun() {
    let gateway = mirrored(|_| {});
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen = sent(&gateway, &format!("Tracestate: a=1\r\nTraceparent: {trace}\r\n"));
    assert_eq!((field(&seen, "traceparent"), field(&seen, "tracestate")), (Some(trace), Some("a=1")));
    for wrong in [
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "nothing",
    ] {
        let seen = sent(&gateway, &format!("Traceparent: {wrong}\r\nTracestate: a=1\r\n"));
        let begun = field(&seen, "traceparent").unwrap();
        assert!(begun.len() == 55 && begun != wrong, "{begun}");
        assert_eq!(field(&seen, "tracestate"), None);
    }
}

#[test]
fn a_trace_in_b3_is_passed_on_and_no_other_begun() {
    let gateway = mirrored(|_| {});
    let (trace, span) = ("80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1");
    let seen = sent(&gateway, &format!("b3: {trace}-{span}-1\r\n"));
    assert_eq!((field(&seen, "b3"), field(&seen, "traceparent")), (Some(&*format!("{trace}-{span}-1")), None));
    let seen = sent(&gateway, &format!("X-B3-TraceId: {trace}\r\nX-B3-SpanId: {span}\r\nX-B3-Sampled: 1\r\n"));
    assert_eq!((field(&seen, "x-b3-traceid"), field(&seen, "x-b3-spanid")), (Some(trace), Some(span)));
    assert_eq!((field(&seen, "x-b3-sampled"), field(&seen, "traceparent")), (Some("1"), None));
    assert_eq!(field(&sent(&gateway, "b3: 0\r\n"), "traceparent"), None);

    let both = format!("00-{trace}-{span}-01");
    let seen = sent(&gateway, &format!("b3: {trace}-{span}-1\r\nTraceparent: {both}\r\n"));
    assert_eq!((field(&seen, "traceparent"), field(&seen, "b3").is_some()), (Some(&*both), true));

    let seen = sent(&gateway, "b3: nonsense\r\nX-B3-TraceId: 0\r\n");
    assert_eq!((field(&seen, "b3"), field(&seen, "x-b3-traceid")), (None, None));
    assert!(field(&seen, "traceparent").is_some());
}

#[test]
fn what_is_meant_for_the_next_hop_stays_there() {
    let gateway = mirrored(|_| {});
    let seen = sent(
        &gateway,
        "Connection: keep-alive, X-Private, Host\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
         Proxy-Connection: close\r\nUpgrade: websocket\r\nX-Kept: 1\r\n",
    );
    for gone in ["connection", "x-private", "keep-alive", "te", "proxy-connection", "upgrade"] {
        assert_eq!(field(&seen, gone), None, "{gone} in {seen}");
    }
    assert_eq!((field(&seen, "x-kept"), field(&seen, "host")), (Some("1"), Some("example.com:80")));

    let hops = "HTTP/1.1 200 OK\r\nConnection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n";
    let gateway = Gateway::to(&[&Endpoint::answering(hops)]);
    let (head, _) = gateway.client().get("/");
    assert_eq!(["connection", "x-private", "keep-alive"].map(|name| field(&head, name)), [None; 3], "{head}");
    assert!(field(&head, "date").is_some_and(|date| date.ends_with(" GMT")), "{head}");
}

fn change(
    set: &[(&'static str, &'static str)],
    add: &[(&'static str, &'static str)],
    remove: &[&'static str],
) -> HeaderChange {
    let pairs = |list: &[(&'static str, &'static str)]| {
        list.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    };
    let remove = remove.iter().map(|name| HeaderName::from_static(name)).collect();
    HeaderChange { set: pairs(set), add: pairs(add), remove }
}

fn backend_changes(rule: &mut Rule, request: HeaderChange, response: HeaderChange) {
    let Action::Forward(backends) = &mut rule.action else { panic!("a rule that forwards") };
    (backends[0].request_headers, backends[0].response_headers) = (request, response);
}

#[test]
fn a_rules_header_changes_are_made_and_then_its_backends() {
    let gateway = mirrored(|rule| {
        rule.request_headers = change(&[("x-a", "rule"), ("x-b", "rule")], &[("x-c", "rule")], &["x-gone"]);
        backend_changes(
            rule,
            change(&[("x-b", "backend")], &[("x-c", "backend")], &["x-request-id"]),
            change(&[], &[], &[]),
        );
    });
    let seen = sent(&gateway, "X-A: client\r\nX-B: client\r\nX-C: client\r\nX-Gone: client\r\n");
    let all = |name: &str| {
        seen.lines().filter(|l| l.to_ascii_lowercase().starts_with(name)).map(|l| &l[5..]).collect::<Vec<_>>()
    };
    assert_eq!((all("x-a"), all("x-b")), (vec!["rule"], vec!["backend"]));
    assert_eq!(all("x-c"), ["client", "rule", "backend"]);
    assert_eq!((field(&seen, "x-gone"), field(&seen, "x-request-id")), (None, None));

    let mut rule =
        forward(cluster(&[Endpoint::answering("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n").address]));
    rule.response_headers = change(&[("x-a", "rule")], &[], &["server"]);
    backend_changes(&mut rule, change(&[], &[], &[]), change(&[], &[], &["x-a"]));
    let (head, _) = Gateway::new(everything(rule)).client().get("/");
    assert_eq!((field(&head, "server"), field(&head, "x-a")), (None, None), "{head}");
}

#[test]
fn urls_are_rewritten() {
    let prefix = |matched: &str, replacement: &str| PathChange::Prefix {
        matched: matched.into(),
        replacement: replacement.into(),
    };
    for (path, expected) in [
        (PathChange::Full("/new".into()), "/new?q=1"),
        (prefix("/a", "/x"), "/x/b?q=1"),
        (prefix("/a", "/x/"), "/x/b?q=1"),
        (prefix("/a", "/"), "/b?q=1"),
        (prefix("/a/b", "/"), "/?q=1"),
        (prefix("", "/x"), "/x/a/b?q=1"),
    ] {
        let gateway = mirrored(|rule| {
            let hostname = Some(HeaderValue::from_static("inside"));
            rule.rewrite = Some(Rewrite { hostname, path: Some(path.clone()) });
        });
        let seen = sent(&gateway, "");
        assert!(seen.starts_with(&format!("GET {expected} HTTP/1.1\r\nhost: inside\r\n")), "{path:?}: {seen}");
    }
}

#[test]
fn redirects_name_what_the_client_must_ask_for() {
    let none = Redirect { scheme: None, hostname: None, path: None, port: None, status: StatusCode::FOUND };
    let cases = [
        (none.clone(), "http://example.com:8080/a/b?q=1"),
        (Redirect { scheme: Some("https".into()), ..none.clone() }, "https://example.com/a/b?q=1"),
        (
            Redirect { scheme: Some("https".into()), port: Some(8443), ..none.clone() },
            "https://example.com:8443/a/b?q=1",
        ),
        (
            Redirect { hostname: Some("new.example".into()), port: Some(80), ..none.clone() },
            "http://new.example/a/b?q=1",
        ),
        (Redirect { path: Some(PathChange::Full("/x".into())), ..none.clone() }, "http://example.com:8080/x?q=1"),
    ];
    for (redirect, expected) in cases {
        let gateway = Gateway::new(everything(rule(Action::Redirect(redirect))));
        let mut client = gateway.client();
        client.send("GET /a/b?q=1 HTTP/1.1\r\nHost: example.com:8080\r\n\r\n");
        let (head, _) = client.message();
        assert_eq!((status(&head), field(&head, "location")), ("302", Some(expected)));
        assert_eq!(client.get("/").0.split(' ').nth(1), Some("302"));
    }
}

#[test]
fn the_host_of_an_absolute_target_counts() {
    let gateway = mirrored(|_| {});
    let mut client = Peer::connect(gateway.address);
    client.send("GET http://target.example/x HTTP/1.1\r\nHost: other\r\n\r\n");
    let (_, seen) = client.message();
    assert!(seen.starts_with("GET /x HTTP/1.1\r\nhost: target.example\r\n"), "{seen}");
}
