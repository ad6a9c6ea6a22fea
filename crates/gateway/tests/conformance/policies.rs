//! Retries, cross-origin requests, and what is changed for one backend.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{ask::get, support::Endpoint, world::World};

/// A route with these rules at the Gateway `edge`.
fn rules(rules: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: infra}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
{rules}
"
    )
}

/// Fails the first requests for a target as its path says, `/…/COUNT/HOW`: with that status, by `reset`ting the connection, or by
/// saying nothing (`slow`).
fn flaky() -> Endpoint {
    let counts = Mutex::new(HashMap::<String, usize>::new());
    Endpoint::new(move |peer| {
        loop {
            let (head, _) = peer.message();
            let Some(target) = head.split(' ').nth(1).map(str::to_owned) else { return };
            let mut parts = target.rsplit('/');
            let (how, count) = (parts.next().unwrap().to_owned(), parts.next().unwrap().parse::<usize>().unwrap());
            let tries = {
                let mut counts = counts.lock().unwrap();
                let tries = counts.entry(target).or_default();
                *tries += 1;
                *tries
            };
            let answer =
                |status: &str| format!("HTTP/1.1 {status} It\r\nX-Tries: {tries}\r\nContent-Length: 0\r\n\r\n");
            if tries > count {
                peer.send_some(answer("200"));
            } else if how == "reset" {
                return;
            } else if how == "slow" {
                // Nobody wakes it.
                std::thread::park_timeout(Duration::from_secs(3));
                return;
            } else {
                peer.send_some(answer(&how));
            }
        }
    })
}

#[test]
fn httproute_retry() {
    let mut world = World::new(&rules(
        "  - {matches: [{path: {value: /three}}], retry: {codes: [500], attempts: 3, backoff: 1ms}, backendRefs: [{name: flaky, port: 8080}]}
  - {matches: [{path: {value: /two}}], retry: {codes: [500, 502, 503, 504], attempts: 2, backoff: 1ms}, backendRefs: [{name: flaky, port: 8080}]}",
    ));
    world.backend("infra/flaky", None, flaky());
    world.apply();
    assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted");
    let mut all = vec![
        get("/three/2/500").answers(200).with("x-tries", "3"),
        get("/three/4/500").answers(500),
        get("/three/2/503").answers(503).with("x-tries", "1"),
    ];
    for (good, bad) in [
        ("/two/1/500", "/two/3/500"),
        ("/two/1/502", "/two/3/502"),
        ("/two/1/503", "/two/3/503"),
        ("/two/1/504", "/two/3/504"),
    ] {
        all.push(get(good).answers(200).with("x-tries", "2"));
        let code = bad.rsplit('/').next().unwrap().parse().unwrap();
        all.push(get(bad).answers(code));
    }
    world.check(&all);
}

#[test]
fn httproute_retry_connection_error() {
    let mut world =
        World::new(&rules("  - {retry: {attempts: 3, backoff: 1ms}, backendRefs: [{name: flaky, port: 8080}]}"));
    world.backend("infra/flaky", None, flaky());
    world.apply();
    world.check(&[get("/2/reset").answers(200).with("x-tries", "3"), get("/9/reset").answers(503)]);
}

#[test]
fn httproute_retry_with_timeouts() {
    let mut world = World::new(&rules(
        "  - {matches: [{path: {value: /try}}], retry: {attempts: 2, backoff: 1ms}, timeouts: {backendRequest: 300ms}, backendRefs: [{name: flaky, port: 8080}]}
  - {matches: [{path: {value: /all}}], retry: {codes: [500], attempts: 5, backoff: 1ms}, timeouts: {backendRequest: 300ms, request: 600ms}, backendRefs: [{name: flaky, port: 8080}]}",
    ));
    world.backend("infra/flaky", None, flaky());
    world.apply();
    world.check(&[
        get("/try/1/slow").answers(200).with("x-tries", "2"),
        get("/try/5/slow").answers(504),
        get("/all/1/500").answers(200).with("x-tries", "2"),
    ]);
    let begun = Instant::now();
    world.check(&[get("/all/9/slow").answers(504)]);
    // Far less than five tries of 300 ms take.
    assert!(begun.elapsed() < Duration::from_millis(1400), "{:?}", begun.elapsed());
}

#[test]
fn httproute_cors() {
    let world = World::new(&rules(
        "  - matches: [{path: {value: /exact}}]
    filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.test', 'https://*.bar.test'], allowMethods: [GET, OPTIONS], allowHeaders: [x-header-1, x-header-2], exposeHeaders: [x-header-3, x-header-4], allowCredentials: true, maxAge: 3600}}]
    backendRefs: [{name: v1, port: 8080}]
  - matches: [{path: {value: /methods}}]
    filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.test'], allowMethods: ['*']}}]
    backendRefs: [{name: v1, port: 8080}]
  - matches: [{path: {value: /origin}}]
    filters: [{type: CORS, cors: {allowOrigins: ['*'], allowMethods: [PUT]}}]
    backendRefs: [{name: v1, port: 8080}]
  - matches: [{path: {value: /any}}]
    filters: [{type: CORS, cors: {allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], allowCredentials: true}}]
    backendRefs: [{name: v1, port: 8080}]",
    ));
    assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted");
    let preflight = |path, origin, method| {
        get(path)
            .method("OPTIONS")
            .answers(204)
            .header("origin", origin)
            .header("access-control-request-method", method)
    };
    for origin in ["https://www.foo.test", "https://www.bar.test", "https://a.www.bar.test"] {
        world.check(&[
            preflight("/exact", origin, "GET")
                .header("access-control-request-headers", "x-header-1, x-header-2")
                .with("access-control-allow-origin", origin)
                .with("access-control-allow-methods", "GET, OPTIONS")
                .with("access-control-allow-headers", "x-header-1, x-header-2")
                .with("access-control-allow-credentials", "true")
                .with("access-control-max-age", "3600"),
            get("/exact")
                .header("origin", origin)
                .reaches("infra/v1")
                .with("access-control-allow-origin", origin)
                .with("access-control-expose-headers", "x-header-3, x-header-4"),
        ]);
    }
    world.check(&[
        preflight("/exact", "https://foobar.test", "GET").answers(403).without("access-control-allow-origin"),
        get("/exact").header("origin", "https://foobar.test").without("access-control-allow-origin"),
        preflight("/methods", "https://www.foo.test", "POST")
            .with("access-control-allow-origin", "https://www.foo.test")
            .without("access-control-allow-credentials"),
        preflight("/origin", "https://other.test", "PUT").with("access-control-allow-methods", "PUT"),
        get("/origin")
            .header("origin", "https://other.test")
            .reaches("infra/v1")
            .without("access-control-allow-credentials"),
        // With credentials nothing may be said by a star.
        preflight("/any", "https://other.test", "PUT")
            .header("access-control-request-headers", "x-some")
            .with("access-control-allow-origin", "https://other.test")
            .with("access-control-allow-methods", "PUT")
            .with("access-control-allow-headers", "x-some")
            .with("access-control-allow-credentials", "true"),
    ]);
}

#[test]
fn httproute_backend_url_rewrite_and_request_redirect() {
    let world = World::new(&rules(
        "  - matches: [{path: {value: /rewrite}}]
    backendRefs: [{name: v1, port: 8080, filters: [{type: URLRewrite, urlRewrite: {hostname: own.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]}]
  - matches: [{path: {value: /redirect}}]
    backendRefs: [{name: v1, port: 8080, filters: [{type: RequestRedirect, requestRedirect: {hostname: own.test, statusCode: 301}}]}]",
    ));
    assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted");
    world.check(&[
        get("/rewrite/x").reaches("infra/v1").forwards("host", "own.test").sends_target("/new/x"),
        get("/redirect/x").answers(301).with("location", "http://own.test/redirect/x"),
    ]);
}
