//! Filters of one backend: they hold for its share of requests alone.

use gateway::table::{Action, Backend, PathChange, Redirect, Rewrite};
use http::StatusCode;

use super::support::{Endpoint, Gateway, cluster, everything, field, rule, status};

#[test]
fn a_backend_rewrites_in_the_place_of_its_rule() {
    let (one, two) = (Endpoint::mirror(), Endpoint::mirror());
    let mut own = Backend::new(1, Ok(cluster(&[one.address])));
    let path = PathChange::Prefix { matched: "/old".to_owned(), replacement: "/new".to_owned() };
    own.rewrite = Some(Rewrite { hostname: Some("own.example".parse().unwrap()), path: Some(path) });
    let mut rule = rule(Action::Forward(vec![own, Backend::new(1, Ok(cluster(&[two.address])))]));
    rule.rewrite = Some(Rewrite { hostname: Some("rule.example".parse().unwrap()), path: None });
    let gateway = Gateway::new(everything(rule));
    let mut client = gateway.client();
    let mut seen = [0, 0];
    for _ in 0..50 {
        let (_, got) = client.get("/old/x");
        let (line, host) = (got.lines().next().unwrap(), field(&got, "host").unwrap());
        match (line, host) {
            ("GET /new/x HTTP/1.1", "own.example") => seen[0] += 1,
            ("GET /old/x HTTP/1.1", "rule.example") => seen[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn a_backend_redirects_its_share() {
    let endpoint = Endpoint::mirror();
    let mut moved = Backend::new(1, Ok(cluster(&[endpoint.address])));
    let path = Some(PathChange::Full("/moved".to_owned()));
    let status_308 = StatusCode::PERMANENT_REDIRECT;
    moved.redirect = Some(Redirect { scheme: None, hostname: None, path, port: None, status: status_308 });
    let gateway = Gateway::new(everything(rule(Action::Forward(vec![moved]))));
    let (head, _) = gateway.client().get("/x");
    assert_eq!((status(&head), field(&head, "location")), ("308", Some("http://example.com/moved")));
    assert_eq!(endpoint.connections(), 0);
}
