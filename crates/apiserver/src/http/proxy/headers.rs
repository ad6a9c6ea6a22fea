//! What of a request's and an answer's headers is passed on. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::links::Place;

/// Headers of one connection, which concern nobody behind it (RFC 9110, section 7.6.1).
const OF_A_CONNECTION: &[HeaderName] = &[
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A WebSocket's way of carrying a bearer token to the API server.
const TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// The request's headers as they are passed on: without those of the connection, and without what the client shows to prove to the
/// API server who it is, which a program in the cluster must never see.
pub(super) fn of_request(parts: &Parts, upgrades: bool) -> HeaderMap {
    let mut headers = parts.headers.clone();
    let upgrade = headers.get(header::UPGRADE).cloned().filter(|_| upgrades);
    remove_connections(&mut headers);
    headers.remove(header::AUTHORIZATION);
    let shown: Vec<HeaderName> = headers.keys().filter(|name| is_identity(name.as_str())).cloned().collect();
    for name in shown {
        headers.remove(name);
    }
    without_token(&mut headers);
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepts.into_iter().any(|accepts| accepts.contains("text/html")) {
        // Links of a page that is packed would lead nowhere.
        headers.remove(header::ACCEPT_ENCODING);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
    let host = headers.get(header::HOST).cloned();
    let host = host.or_else(|| HeaderValue::try_from(parts.uri.authority()?.as_str()).ok());
    let forwarded = [
        ("x-forwarded-uri", HeaderValue::try_from(parts.uri.path()).ok()),
        ("x-forwarded-host", host.clone()),
        ("x-forwarded-proto", Some(HeaderValue::from_static("https"))),
    ];
    for (name, value) in forwarded.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        headers.insert(name, value);
    }
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    headers
}

/// Whether an answer is a page whose links can be rewritten: one that leads elsewhere is not read, and what is packed is not unpacked.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let packed = headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    media == "text/html" && !packed && !headers.contains_key(header::LOCATION)
}

/// The answer's headers as they are passed back. What it names on its own host is below the proxy for the client.
pub(super) fn of_answer(mut headers: HeaderMap, place: &Place) -> HeaderMap {
    remove_connections(&mut headers);
    let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
    let moved = location.and_then(|location| place.moved(location));
    if let Some(moved) = moved.and_then(|moved| HeaderValue::try_from(moved).ok()) {
        headers.insert(header::LOCATION, moved);
    }
    headers
}

fn remove_connections(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<HeaderName> =
        named.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    for name in OF_A_CONNECTION.iter().chain(&named) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// Headers that name a user, or ask to act as one.
fn is_identity(name: &str) -> bool {
    ["x-remote-user", "x-remote-group", "x-remote-uid", "x-remote-extra-", "impersonate-"]
        .iter()
        .any(|known| name.starts_with(known))
}

/// Takes a token out of the list of a WebSocket's protocols.
fn without_token(headers: &mut HeaderMap) {
    let listed = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = listed.flat_map(|list| list.split(',')).map(str::trim).collect();
    if !all.iter().any(|protocol| protocol.starts_with(TOKEN)) {
        return;
    }
    let left: Vec<&str> = all.into_iter().filter(|protocol| !protocol.starts_with(TOKEN)).collect();
    let left = HeaderValue::try_from(left.join(", ")).ok().filter(|left| !left.is_empty());
    match left {
        Some(left) => drop(headers.insert(header::SEC_WEBSOCKET_PROTOCOL, left)),
        None => drop(headers.remove(header::SEC_WEBSOCKET_PROTOCOL)),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn what_proves_who_asks_goes_no_further() {
        let request = Request::get("https://api/x?y")
            .header("authorization", "Bearer secret")
            .header("x-remote-extra-scopes", "a")
            .header("impersonate-user", "b")
            .header("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0, chat")
            .header("connection", "upgrade, x-hop")
            .header("upgrade", "websocket")
            .header("x-hop", "1")
            .header("cookie", "kept=1");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let sent = of_request(&parts, true);
        let text = format!("{sent:?}");
        for secret in ["secret", "c2VjcmV0", "remote", "impersonate", "x-hop"] {
            assert!(!text.contains(secret), "{text}");
        }
        let get = |name: &str| sent.get(name).map(|value| value.to_str().unwrap());
        assert_eq!((get("cookie"), get("sec-websocket-protocol")), (Some("kept=1"), Some("chat")));
        assert_eq!((get("connection"), get("upgrade")), (Some("Upgrade"), Some("websocket")));
        assert_eq!((get("host"), get("x-forwarded-uri")), (Some("api"), Some("/x")));
        assert_eq!(of_request(&parts, false).get("upgrade"), None);
    }

    #[test]
    fn where_an_answer_leads_on_its_own_host_is_below_the_proxy() {
        let moved = |location: &'static str| {
            let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(location))]);
            let place = Place { prefix: "/p".into(), authority: "10.0.0.1:80".into(), host: None };
            of_answer(headers, &place)[header::LOCATION].to_str().unwrap().to_owned()
        };
        assert_eq!(moved("/a?b"), "/p/a?b");
        assert_eq!(moved("http://10.0.0.1:80/a"), "/p/a");
        for other in ["//example.com/a", "https://example.com/", "a", "http://10.0.0.1:8080/"] {
            assert_eq!(moved(other), other);
        }
    }
}
