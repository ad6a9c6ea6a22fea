//! Cross-origin requests: who is told that a response may be shared, and what a browser learns beforehand.

use gateway::{
    policy::{Cors, Origins},
    table::{Action, Redirect, Rule},
};
use http::StatusCode;

use super::support::{Endpoint, Gateway, Peer, cluster, everything, field, forward, rule, status};

fn allowing(mut rule: Rule, credentials: bool) -> Rule {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    rule.cors = Some(Cors {
        origins: Origins::Listed(list(&["https://www.foo.com", "https://*.bar.com"])),
        credentials,
        methods: list(&["GET", "OPTIONS"]),
        headers: list(&["x-header-1", "x-header-2"]),
        expose: list(&["x-header-3"]),
        max_age: 3600,
    });
    rule
}

/// Answers as one who has opinions of its own.
fn endpoint() -> Endpoint {
    Endpoint::new(|peer| {
        while !peer.message().0.is_empty() {
            let fields = "Access-Control-Allow-Origin: *\r\nAccess-Control-Max-Age: 1\r\nVary: Accept\r\n";
            peer.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"));
        }
    })
}

fn ask(client: &mut Peer, method: &str, fields: &str) -> (String, String) {
    client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.message()
}

#[test]
fn the_proxy_answers_preflight_requests() {
    let endpoint = endpoint();
    let gateway = Gateway::new(everything(allowing(forward(cluster(&[endpoint.address])), true)));
    let mut client = gateway.client();
    for origin in ["https://www.foo.com", "https://a.b.bar.com"] {
        let asked = format!("Origin: {origin}\r\nAccess-Control-Request-Method: GET\r\n");
        client.send(format!("OPTIONS / HTTP/1.1\r\nHost: a\r\n{asked}\r\n"));
        let head = client.head();
        assert_eq!((status(&head), field(&head, "content-length")), ("204", None));
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET, OPTIONS"),
            ("access-control-allow-headers", "x-header-1, x-header-2"),
            ("access-control-expose-headers", "x-header-3"),
            ("access-control-max-age", "3600"),
        ] {
            assert_eq!(field(&head, name), Some(value));
        }
    }
    assert_eq!(endpoint.connections(), 0);
}

#[test]
fn other_origins_are_told_nothing() {
    let endpoint = endpoint();
    let gateway = Gateway::new(everything(allowing(forward(cluster(&[endpoint.address])), true)));
    let mut client = gateway.client();
    let asked = "Origin: https://foobar.com\r\nAccess-Control-Request-Method: GET\r\n";
    let (head, _) = ask(&mut client, "OPTIONS", asked);
    assert_eq!((status(&head), field(&head, "access-control-allow-origin")), ("403", None));
    let (head, body) = ask(&mut client, "GET", "Origin: https://foobar.com\r\n");
    assert_eq!((status(&head), body.as_str(), field(&head, "access-control-allow-origin")), ("200", "ok", None));
}

#[test]
fn a_response_to_an_allowed_origin_says_what_the_route_says_and_not_what_the_backend_says() {
    let endpoint = endpoint();
    let gateway = Gateway::new(everything(allowing(forward(cluster(&[endpoint.address])), false)));
    let mut client = gateway.client();
    let (head, _) = ask(&mut client, "GET", "Origin: https://www.foo.com\r\n");
    assert_eq!(field(&head, "access-control-allow-origin"), Some("https://www.foo.com"));
    assert_eq!(head.matches("ccess-").count(), 2, "{head}");
    assert_eq!(field(&head, "access-control-expose-headers"), Some("x-header-3"));
    let vary: Vec<_> = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("vary")).collect();
    assert_eq!(vary, ["Vary: Accept", "vary: Origin"]);
}

#[test]
fn a_request_with_options_that_is_no_preflight_is_the_backends() {
    let endpoint = endpoint();
    let gateway = Gateway::new(everything(allowing(forward(cluster(&[endpoint.address])), false)));
    let mut client = gateway.client();
    assert_eq!(ask(&mut client, "OPTIONS", "").1, "ok");
    assert_eq!(ask(&mut client, "OPTIONS", "Origin: https://www.foo.com\r\n").1, "ok");
}

#[test]
fn what_the_proxy_answers_itself_may_be_shared_as_well() {
    let none = Gateway::new(everything(allowing(forward(cluster(&[])), false)));
    let (head, _) = ask(&mut none.client(), "GET", "Origin: https://www.foo.com\r\n");
    assert_eq!((status(&head), field(&head, "access-control-allow-origin")), ("503", Some("https://www.foo.com")));
    let status_303 = StatusCode::SEE_OTHER;
    let redirect = Redirect { scheme: None, hostname: Some("b".into()), path: None, port: None, status: status_303 };
    let redirected = Gateway::new(everything(allowing(rule(Action::Redirect(redirect)), false)));
    let (head, _) = ask(&mut redirected.client(), "GET", "Origin: https://www.foo.com\r\n");
    assert_eq!((status(&head), field(&head, "access-control-allow-origin")), ("303", Some("https://www.foo.com")));
}
