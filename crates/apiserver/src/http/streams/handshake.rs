//! What a client speaks: WebSocket or SPDY, which protocol in it, and the answer that agrees to it. Upstream's tables and words.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Empty;

use super::super::{Answer, full};

/// The names under which SPDY's protocols are agreed.
const VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
/// The `Upgrade` of SPDY.
const SPDY: &str = "SPDY/3.1";

/// How the client carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    WebSocket,
    Spdy,
}

impl Transport {
    /// What a request asks for; `None` if it asks for no upgrade that there is.
    pub fn asked(headers: &HeaderMap) -> Option<Self> {
        let upgrades = list(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
        let protocol = headers.get(header::UPGRADE)?.to_str().ok().filter(|_| upgrades)?;
        match protocol {
            _ if protocol.eq_ignore_ascii_case("websocket") => Some(Self::WebSocket),
            _ if protocol.eq_ignore_ascii_case(SPDY) => Some(Self::Spdy),
            _ => None,
        }
    }
}

/// The elements of a header's lists.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

/// A protocol inside of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    /// Its name; empty for what is spoken when none is named.
    pub name: &'static str,
    /// Whether messages are text, in base 64.
    pub base64: bool,
    /// Whether a session ends with a `Status`; otherwise with the text of a failure.
    pub status: bool,
    /// Whether a channel can be closed by itself.
    pub closes: bool,
}

const PLAIN: Protocol = Protocol { name: "", base64: false, status: false, closes: false };

/// `exec` and `attach` over SPDY, the best first.
pub(super) const REMOTE_SPDY: &[Protocol] = &[
    Protocol { name: "v4.channel.k8s.io", status: true, ..PLAIN },
    Protocol { name: "v3.channel.k8s.io", ..PLAIN },
    Protocol { name: "v2.channel.k8s.io", ..PLAIN },
    Protocol { name: "channel.k8s.io", ..PLAIN },
];
/// `exec` and `attach` over WebSocket.
pub(super) const REMOTE_WEBSOCKET: &[Protocol] = &[
    Protocol { name: "v5.channel.k8s.io", status: true, closes: true, ..PLAIN },
    Protocol { name: "v4.channel.k8s.io", status: true, ..PLAIN },
    Protocol { name: "v4.base64.channel.k8s.io", status: true, base64: true, ..PLAIN },
    Protocol { name: "channel.k8s.io", ..PLAIN },
    Protocol { name: "base64.channel.k8s.io", base64: true, ..PLAIN },
    PLAIN,
];
/// Forwarded ports over SPDY.
pub(super) const FORWARD_SPDY: &[Protocol] = &[Protocol { name: "portforward.k8s.io", ..PLAIN }];
/// The tunnel of SPDY through a WebSocket.
pub(super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Forwarded ports over WebSocket.
pub(super) const FORWARD_WEBSOCKET: &[Protocol] = &[
    Protocol { name: TUNNEL, ..PLAIN },
    Protocol { name: "v4.channel.k8s.io", ..PLAIN },
    Protocol { name: "v4.base64.channel.k8s.io", base64: true, ..PLAIN },
    PLAIN,
];

/// A refusal as plain text, where upstream's is.
pub(super) fn refused(status: StatusCode, why: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(full(why));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn switching(upgrade: &'static str) -> Answer {
    let mut answer = Response::new(crate::http::whole(Empty::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(upgrade));
    answer
}

/// The protocol and the answer that agrees to it, or the answer that refuses.
pub(super) type Agreed = Result<(Protocol, Answer), Box<Answer>>;

/// Agrees on one of these protocols: the first of the client's that there is.
pub(super) fn agree(transport: Transport, headers: &HeaderMap, protocols: &[Protocol]) -> Agreed {
    match transport {
        Transport::WebSocket => websocket(headers, protocols),
        Transport::Spdy => spdy(headers, protocols),
    }
}

fn spdy(headers: &HeaderMap, protocols: &[Protocol]) -> Agreed {
    let asked: Vec<&str> = list(headers, &VERSION).collect();
    if asked.is_empty() {
        let why = "unable to upgrade: X-Stream-Protocol-Version is required";
        return Err(Box::new(refused(StatusCode::BAD_REQUEST, why)));
    }
    if let Some(protocol) = asked.iter().find_map(|name| protocols.iter().find(|known| known.name == *name)) {
        let mut answer = switching(SPDY);
        answer.headers_mut().insert(VERSION, HeaderValue::from_static(protocol.name));
        return Ok((*protocol, answer));
    }
    let names: Vec<&str> = protocols.iter().map(|known| known.name).collect();
    let why = format!(
        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
        asked.join(" "),
        names.join(" ")
    );
    let mut answer = refused(StatusCode::FORBIDDEN, why);
    for name in names {
        answer.headers_mut().append(ACCEPTED, HeaderValue::from_static(name));
    }
    Err(Box::new(answer))
}

fn websocket(headers: &HeaderMap, protocols: &[Protocol]) -> Agreed {
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut answer = refused(StatusCode::BAD_REQUEST, "the version of WebSocket must be 13");
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(answer));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let Some(key) = key.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16)) else {
        let why = "Sec-WebSocket-Key must be 16 bytes in base 64";
        return Err(Box::new(refused(StatusCode::BAD_REQUEST, why)));
    };
    let asked: Vec<&str> = list(headers, &header::SEC_WEBSOCKET_PROTOCOL).collect();
    let find = |name: &str| protocols.iter().find(|known| known.name == name);
    let found = if asked.is_empty() { find("") } else { asked.iter().find_map(|name| find(name)) };
    let Some(protocol) = found else {
        let why = format!("none of the protocols [{}] is spoken here", asked.join(" "));
        return Err(Box::new(refused(StatusCode::FORBIDDEN, why)));
    };
    let mut answer = switching("websocket");
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key);
    if let Ok(accept) = HeaderValue::try_from(accept) {
        answer.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if !protocol.name.is_empty() {
        answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name));
    }
    Ok((*protocol, answer))
}

/// Whether a transport can come with this method: a WebSocket is opened with GET.
pub(super) fn allows(transport: Transport, method: &Method) -> bool {
    transport == Transport::Spdy || method == Method::GET
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn name(agreed: Agreed) -> Result<&'static str, u16> {
        agreed.map(|(protocol, _)| protocol.name).map_err(|answer| answer.status().as_u16())
    }

    #[test]
    fn a_request_says_what_it_upgrades_to() {
        let asked =
            |connection, upgrade| Transport::asked(&headers(&[("connection", connection), ("upgrade", upgrade)]));
        assert_eq!(asked("Upgrade", "SPDY/3.1"), Some(Transport::Spdy));
        assert_eq!(asked("keep-alive, upgrade", "WebSocket"), Some(Transport::WebSocket));
        assert_eq!((asked("close", "websocket"), asked("Upgrade", "h2c")), (None, None));
    }

    #[test]
    fn the_first_of_the_clients_protocols_that_is_known_is_spoken_over_spdy() {
        let agreed = |asked: &[(&'static str, &'static str)]| spdy(&headers(asked), REMOTE_SPDY);
        let version = "x-stream-protocol-version";
        assert_eq!(
            name(agreed(&[(version, "v9"), (version, "v3.channel.k8s.io, v4.channel.k8s.io")])),
            Ok("v3.channel.k8s.io")
        );
        assert_eq!(name(agreed(&[])), Err(400));
        let refused = agreed(&[(version, "v9")]).unwrap_err();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(refused.headers().get_all(ACCEPTED).iter().count(), REMOTE_SPDY.len());
    }

    #[test]
    fn a_websocket_is_accepted_with_its_key_and_protocol() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let version = ("sec-websocket-version", "13");
        let agreed = |protocol| {
            let all = [key, version, ("sec-websocket-protocol", protocol)];
            websocket(&headers(&all), REMOTE_WEBSOCKET)
        };
        let (protocol, answer) = agreed("v5.channel.k8s.io, v4.channel.k8s.io").unwrap();
        assert!(protocol.closes && protocol.status);
        // The example of RFC 6455, section 1.3.
        assert_eq!(answer.headers()[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(name(agreed("v4.base64.channel.k8s.io")), Ok("v4.base64.channel.k8s.io"));
        assert_eq!(name(agreed("chat")), Err(403));
        assert_eq!(name(websocket(&headers(&[key, version]), REMOTE_WEBSOCKET)), Ok(""));
        assert_eq!(name(websocket(&headers(&[version]), REMOTE_WEBSOCKET)), Err(400));
        assert_eq!(name(websocket(&headers(&[key]), REMOTE_WEBSOCKET)), Err(400));
    }
}
