//! Certificates that are renewed while they are used: the next handshake after two thirds of a certificate's time has a new one.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::aws_lc_rs::sign::any_supported_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Pair, Pki, PkiError, USED, failed};

/// How soon it is tried again.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);

#[derive(Debug)]
enum Who {
    Server(Vec<String>),
    Client(String, Vec<String>),
}

/// A certificate that stays valid.
pub(super) struct Renewed {
    pki: Pki,
    who: Who,
    current: Mutex<(Arc<CertifiedKey>, Timestamp)>,
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewed").field("who", &self.who).finish_non_exhaustive()
    }
}

impl Renewed {
    /// For a server known by these names.
    pub(super) fn server(pki: Pki, names: &[String]) -> Result<Self, PkiError> {
        Self::new(pki, Who::Server(names.to_vec()))
    }

    /// For a client.
    pub(super) fn client(pki: Pki, user: &str, groups: &[&str]) -> Result<Self, PkiError> {
        Self::new(pki, Who::Client(user.to_owned(), groups.iter().map(|group| (*group).to_owned()).collect()))
    }

    fn new(pki: Pki, who: Who) -> Result<Self, PkiError> {
        let first = issue(&pki, &who)?;
        let until = pki.now().checked_add(USED).unwrap_or(Timestamp::MAX);
        Ok(Self { pki, who, current: Mutex::new((first, until)) })
    }

    /// The certificate to show now.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.pki.now();
        if now >= current.1 {
            match issue(&self.pki, &self.who) {
                Ok(next) => *current = (next, now.checked_add(USED).unwrap_or(Timestamp::MAX)),
                Err(error) => {
                    tracing::warn!("the certificate of {:?} is used on: {error}", self.who);
                    current.1 = now.checked_add(AGAIN).unwrap_or(Timestamp::MAX);
                }
            }
        }
        current.0.clone()
    }
}

fn issue(pki: &Pki, who: &Who) -> Result<Arc<CertifiedKey>, PkiError> {
    let pair: Pair = match who {
        Who::Server(names) => pki.issue_server(names)?,
        Who::Client(user, groups) => pki.issue_client(user, &groups.iter().map(String::as_str).collect::<Vec<_>>())?,
    };
    let (chain, key) = pair.into_der()?;
    let key = any_supported_type(&key).map_err(failed("use a key"))?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Renewed {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn a_certificate_is_valid_whenever_it_is_shown_however_long_the_server_runs() {
        let dir = tempfile::tempdir().unwrap();
        let day = Arc::new(AtomicI64::new(0));
        let start = Timestamp::now();
        let now = move |day: i64| start + SignedDuration::from_hours(24 * day);
        let clock = {
            let day = day.clone();
            Arc::new(move || now(day.load(Ordering::Relaxed)))
        };
        let pki = Pki::open(dir.path()).unwrap().with_clock(clock);
        for own in [
            Renewed::server(pki.clone(), &["localhost".to_owned()]).unwrap(),
            Renewed::client(pki.clone(), "somebody", &["a"]).unwrap(),
        ] {
            let mut shown = std::collections::BTreeSet::new();
            for today in 0..1_500 {
                day.store(today, Ordering::Relaxed);
                let certificate = own.current();
                let der = certificate.cert.first().unwrap().to_vec();
                let (_, parsed) = X509Certificate::from_der(&der).unwrap();
                let (from, to) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
                let now = now(today).as_second();
                assert!(from <= now && now + 60 * 24 * 3600 < to, "day {today}: {from} {to}");
                shown.insert(der);
            }
            assert!((6..=8).contains(&shown.len()), "{} certificates in four years", shown.len());
            day.store(0, Ordering::Relaxed);
        }
    }
}
