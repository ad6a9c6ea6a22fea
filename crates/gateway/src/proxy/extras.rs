//! What a rule's policies make of one request: few rules have any, and the others' requests do not pay for them.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{answer::Answer, head::Request as Head, mirror::Copy};
use crate::{
    policy::{Carrier, Cors, OWNED, Persistence, Preflight, Retrying, Session},
    table::{Asked, HeaderChange, Rule, Turn},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Changes to this response alone.
    pub response: HeaderChange,
    /// Where the session's requests go, until that endpoint turns out to be gone.
    pub wanted: Option<SocketAddr>,
    session: Option<Sticky>,
    /// For backends that watch.
    pub copies: Vec<Copy>,
    /// How often it has been sent again.
    pub retries: u32,
    /// For as long as it is being sent again.
    pub retrying: Option<Retrying>,
    /// Of a request that has waited for an endpoint, until that answers.
    pub turn: Option<Turn>,
}

/// A request of a rule with sessions.
#[derive(Debug)]
struct Sticky {
    /// What it said.
    known: Option<Session>,
    now: u32,
    secure: bool,
}

impl Extras {
    /// `None` for a rule without policies.
    pub fn of(rule: &Rule, head: &Head<'_, '_>, secure: bool) -> Option<Box<Self>> {
        if rule.cors.is_none() && rule.persistence.is_none() && rule.retry.is_none() {
            return None;
        }
        let mut extras = Box::new(Self::default());
        if let Some(cors) = &rule.cors {
            extras.response = change(cors, head.header(&header::ORIGIN).as_deref());
        }
        if let Some(persistence) = &rule.persistence {
            let now = unix_time();
            let known = token(persistence, head).and_then(|token| persistence.open(&token, now));
            extras.wanted = known.map(|session| session.endpoint);
            extras.session = Some(Sticky { known, now, secure });
        }
        Some(extras)
    }

    /// The fields that an answer of the proxy's own gets.
    pub fn fields(extras: Option<Box<Self>>) -> Vec<(HeaderName, HeaderValue)> {
        let change = extras.map(|extras| extras.response).unwrap_or_default();
        change.set.into_iter().chain(change.add).collect()
    }

    /// Tells the client its session, if it is another than it said: a response of this endpoint's is about to come.
    pub fn sent_to(&mut self, rule: &Rule, endpoint: SocketAddr) {
        let (Some(persistence), Some(sticky)) = (&rule.persistence, &self.session) else { return };
        let now = sticky.now;
        let session = match sticky.known.filter(|known| known.endpoint == endpoint) {
            Some(known) if !persistence.is_due(&known, now) => return,
            Some(known) => Session { used: now, ..known },
            None => Session { endpoint, created: now, used: now },
        };
        let told = persistence.tell(&session, sticky.secure);
        // Of an earlier try, another endpoint.
        self.response.add.retain(|(name, _)| told.as_ref().is_none_or(|(told, _)| told != name));
        self.response.add.extend(told);
    }
}

/// In seconds.
fn unix_time() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// A session's token, if the request has one.
fn token(persistence: &Persistence, head: &Head<'_, '_>) -> Option<Vec<u8>> {
    match &persistence.carrier {
        Carrier::Header(name) => head.header(name).map(|value| value.to_vec()),
        Carrier::Cookie { name, .. } => {
            let cookies = head.header(&header::COOKIE)?;
            cookie(&cookies, name).map(<[u8]>::to_vec)
        }
    }
}

/// The value of a cookie (RFC 6265, 4.2.1). Of HTTP/2, cookies may arrive in several fields, joined by commas here.
pub(super) fn cookie<'c>(cookies: &'c [u8], name: &str) -> Option<&'c [u8]> {
    let mut pairs = cookies.split(|byte| matches!(byte, b';' | b',')).map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// What the filter makes of the backend's response: who may share it is the filter's to say.
fn change(cors: &Cors, origin: Option<&[u8]>) -> HeaderChange {
    let (add, set): (Vec<_>, Vec<_>) = cors.response(origin).into_iter().partition(|(name, _)| *name == header::VARY);
    let remove = OWNED.into_iter().filter(|owned| set.iter().all(|(name, _)| name != owned)).collect();
    HeaderChange { set, add, remove }
}

/// The answer to a preflight request (Fetch standard, "CORS-preflight request"); `None` if the request is none.
pub(super) fn preflight(cors: &Cors, head: &Head<'_, '_>) -> Option<Answer> {
    if head.method() != "OPTIONS" {
        return None;
    }
    let (origin, method) = (head.header(&header::ORIGIN)?, head.header(&header::ACCESS_CONTROL_REQUEST_METHOD)?);
    let headers = head.header(&header::ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = Preflight { method: &method, headers: headers.as_deref() };
    Some(match cors.preflight(&origin, asked) {
        Some(fields) => Answer::new(StatusCode::NO_CONTENT, "").with(fields),
        None => Answer::new(StatusCode::FORBIDDEN, "this origin may not share the response"),
    })
}
