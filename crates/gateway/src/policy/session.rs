//! Sessions: a client's requests go to the endpoint that had its first (Gateway API, GEP-1619, `sessionPersistence`).
//!
//! The token that a client keeps is sealed (AES-GCM): it tells nothing of the endpoints' addresses, and one that was made up
//! or changed is none. An address in it counts only as long as it is one of the rule's endpoints.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    error::Unspecified,
    rand,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, header::SET_COOKIE};

/// An address, a port and two times.
const PLAIN: usize = 16 + 2 + 4 + 4;
/// A session in use is told anew when this part of its idle time has passed, not with every response.
const REFRESH: u32 = 8;

/// `sessionPersistence` of a rule.
#[derive(Debug)]
pub struct Persistence {
    /// Where the token is.
    pub carrier: Carrier,
    /// The longest life of a session.
    pub absolute: Option<Duration>,
    /// The longest time between two requests of a session.
    pub idle: Option<Duration>,
    key: LessSafeKey,
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// In a cookie.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// Whether it outlives the browser's session, for as long as the session may last.
        permanent: bool,
    },
    /// In a header of the response, which the client sends back in its requests.
    Header(HeaderName),
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Where the requests go.
    pub endpoint: SocketAddr,
    /// When it began, in seconds of Unix time.
    pub created: u32,
    /// When its last token was made.
    pub used: u32,
}

impl Persistence {
    /// Sessions whose tokens are sealed with what only those know who may read the route. It is the same after a restart
    /// and for all who serve the route, so that sessions outlast one and are shared by the other.
    ///
    /// # Errors
    /// The cipher cannot be had.
    pub fn new(carrier: Carrier, secret: &str) -> Result<Self, Unspecified> {
        let hashed = digest(&SHA256, format!("coracle session {secret}").as_bytes());
        let key = hashed.as_ref().get(..AES_128_GCM.key_len()).unwrap_or_default();
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key)?);
        Ok(Self { carrier, absolute: None, idle: None, key })
    }

    /// The session that a token is of, unless it is over.
    pub fn open(&self, token: &[u8], now: u32) -> Option<Session> {
        let mut sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, rest) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::empty(), rest).ok()?;
        let session = Session::read(plain)?;
        let over = |since: u32, limit: Option<Duration>| {
            limit.is_some_and(|limit| u64::from(now.saturating_sub(since)) >= limit.as_secs().max(1))
        };
        (!over(session.created, self.absolute) && !over(session.used, self.idle)).then_some(session)
    }

    /// Whether a session's token must be renewed, lest it be taken for idle.
    pub fn is_due(&self, session: &Session, now: u32) -> bool {
        let idle = self.idle.map(|idle| u32::try_from(idle.as_secs()).unwrap_or(u32::MAX));
        idle.is_some_and(|idle| now.saturating_sub(session.used) > idle / REFRESH)
    }

    /// The field that tells a client its session; `secure` if it came by TLS. `None` if there is no randomness to be had.
    pub fn tell(&self, session: &Session, secure: bool) -> Option<(HeaderName, HeaderValue)> {
        let token = self.seal(session).ok()?;
        match &self.carrier {
            Carrier::Header(name) => Some((name.clone(), HeaderValue::from_str(&token).ok()?)),
            Carrier::Cookie { name, permanent } => {
                let mut cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict");
                if secure {
                    cookie.push_str("; Secure");
                }
                if let Some(absolute) = self.absolute.filter(|_| *permanent) {
                    let left = absolute.as_secs().saturating_sub(session.used.saturating_sub(session.created).into());
                    // Writing to a string cannot fail.
                    _ = write!(cookie, "; Max-Age={left}");
                }
                Some((SET_COOKIE, HeaderValue::from_str(&cookie).ok()?))
            }
        }
    }

    fn seal(&self, session: &Session) -> Result<String, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce)?;
        let mut sealed = nonce.to_vec();
        let mut plain = session.bytes();
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut plain)?;
        sealed.append(&mut plain);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }
}

impl Session {
    fn bytes(&self) -> Vec<u8> {
        let address = match self.endpoint.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut bytes = address.octets().to_vec();
        bytes.extend_from_slice(&self.endpoint.port().to_be_bytes());
        bytes.extend_from_slice(&self.created.to_be_bytes());
        bytes.extend_from_slice(&self.used.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (address, rest) = bytes.split_first_chunk::<16>().filter(|_| bytes.len() == PLAIN)?;
        let (port, rest) = rest.split_first_chunk::<2>()?;
        let (created, rest) = rest.split_first_chunk::<4>()?;
        let address = Ipv6Addr::from(*address).to_canonical();
        let endpoint = SocketAddr::new(address, u16::from_be_bytes(*port));
        let (created, used) = (u32::from_be_bytes(*created), u32::from_be_bytes(*rest.first_chunk()?));
        Some(Self { endpoint, created, used })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn header(secret: &str) -> Persistence {
        Persistence::new(Carrier::Header(HeaderName::from_static("x-session")), secret).unwrap()
    }

    fn cookie(permanent: bool) -> Persistence {
        Persistence::new(Carrier::Cookie { name: "s".into(), permanent }, "secret").unwrap()
    }

    fn session(created: u32, used: u32) -> Session {
        Session { endpoint: "10.0.0.1:8080".parse().unwrap(), created, used }
    }

    proptest! {
        #[test]
        fn a_token_says_what_it_was_made_of_and_only_with_its_secret(
            address in any::<IpAddr>(), port in any::<u16>(), created in any::<u32>(), used in any::<u32>(),
        ) {
            let (persistence, address) = (header("secret"), address.to_canonical());
            let session = Session { endpoint: SocketAddr::new(address, port), created, used };
            let token = persistence.seal(&session).unwrap();
            prop_assert_eq!(persistence.open(token.as_bytes(), used), Some(session));
            prop_assert_eq!(header("other").open(token.as_bytes(), used), None);
            prop_assert!(persistence.seal(&session).unwrap() != token);
        }

        #[test]
        fn whatever_a_client_makes_up_is_no_token(token in any::<Vec<u8>>(), flip in 0_usize..72) {
            let persistence = header("secret");
            prop_assert_eq!(persistence.open(&token, 0), None);
            let mut changed = persistence.seal(&session(1, 1)).unwrap().into_bytes();
            changed[flip] = if changed[flip] == b'A' { b'B' } else { b'A' };
            prop_assert_eq!(persistence.open(&changed, 1), None);
        }
    }

    #[test]
    fn a_session_ends_with_its_time() {
        let mut persistence = header("secret");
        (persistence.absolute, persistence.idle) = (Some(Duration::from_secs(100)), Some(Duration::from_secs(10)));
        let token = persistence.seal(&session(1000, 1050)).unwrap();
        assert!(persistence.open(token.as_bytes(), 1059).is_some());
        assert!(persistence.open(token.as_bytes(), 1060).is_none(), "idle");
        let token = persistence.seal(&session(1000, 1095)).unwrap();
        assert!(persistence.open(token.as_bytes(), 1099).is_some());
        assert!(persistence.open(token.as_bytes(), 1100).is_none(), "too old");
        assert!(!persistence.is_due(&session(1000, 1000), 1001) && persistence.is_due(&session(1000, 1000), 1002));
        assert!(!header("secret").is_due(&session(0, 0), 1_000_000));
    }

    #[test]
    fn a_cookie_is_out_of_reach_of_scripts_and_lasts_as_asked_for() {
        let told = |persistence: &Persistence, secure| {
            let (name, value) = persistence.tell(&session(1000, 1040), secure).unwrap();
            assert_eq!(name, "set-cookie");
            value.to_str().unwrap().split_once("; ").unwrap().1.to_owned()
        };
        let mut persistence = cookie(false);
        persistence.absolute = Some(Duration::from_secs(100));
        assert_eq!(told(&persistence, false), "Path=/; HttpOnly; SameSite=Strict");
        let mut persistence = cookie(true);
        persistence.absolute = Some(Duration::from_secs(100));
        assert_eq!(told(&persistence, true), "Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=60");
    }
}
