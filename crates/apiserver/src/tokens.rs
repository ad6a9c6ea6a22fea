//! Tokens of service accounts: JSON web tokens (RFC 7519), signed with a key of their own (ES256, RFC 7518).
//!
//! A token is as good as its signature, its times and its audiences; whether its account and the pod it is bound to are still
//! there is asked of the store by whoever takes it.

use std::{fs, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::pki::{PkiError, failed, write_private};

/// Who issues tokens, and for whom where nobody says: the API itself.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// How much clocks may differ.
const LEEWAY: i64 = 10;

/// An object by name, and which one of that name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// The claims of Kubernetes' own (`kubernetes.io`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub serviceaccount: Reference,
    /// The pod that the token ends with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<Reference>,
    /// The secret that the token ends with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secret: Option<Reference>,
    /// The node that the token ends with, or on which its pod runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<Reference>,
}

/// What a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom it is.
    pub aud: Vec<String>,
    /// Until when, in seconds since 1970.
    pub exp: i64,
    /// Since when it is.
    pub iat: i64,
    /// By whom.
    pub iss: String,
    /// Its own name.
    pub jti: String,
    /// About what.
    #[serde(rename = "kubernetes.io")]
    pub private: Private,
    /// From when it counts.
    pub nbf: i64,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: String,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no token of ours.
    #[error("invalid bearer token")]
    Malformed,
    /// Another key signed it, or none.
    #[error("invalid bearer token: the signature is not valid")]
    Signature,
    /// It is over, or not yet begun.
    #[error("invalid bearer token: service account token has expired")]
    Expired,
    /// It is for somebody else.
    #[error("invalid bearer token: token audiences are invalid for the target audiences")]
    Audience,
}

/// The key that signs tokens.
pub struct Tokens {
    key: EcdsaKeyPair,
    /// The name of the key in tokens' headers.
    id: String,
}

impl Tokens {
    /// Reads the key from `dir`, or makes one there.
    ///
    /// # Errors
    /// When the file cannot be read or written, or does not hold a key.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        let path = dir.join("sa.key");
        if !path.exists() {
            let made = rcgen::KeyPair::generate().map_err(failed("make the key of service accounts"))?;
            write_private(&path, &made.serialize_pem())?;
        }
        let text = fs::read(&path).map_err(failed(format!("read {}", path.display())))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(failed("read the key of service accounts"))?;
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der());
        let key = key.map_err(failed("use the key of service accounts"))?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key().as_ref());
        Ok(Self { id: URL_SAFE_NO_PAD.encode(digest.as_ref()), key })
    }

    /// The token that says this; `None` when the machine has no randomness to sign with.
    pub fn sign(&self, claims: &Claims) -> Option<String> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
        let body = format!("{}.{}", encode(header.to_string()), encode(serde_json::to_string(claims).ok()?));
        let signature = self.key.sign(&SystemRandom::new(), body.as_bytes()).ok()?;
        Some(format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// What a token says, if it is ours, counts now, and is for one of these audiences.
    ///
    /// # Errors
    /// Says why it does not count.
    pub fn verify(&self, token: &str, audiences: &[&str], now: Timestamp) -> Result<Claims, Refused> {
        let (body, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, payload) = body.split_once('.').ok_or(Refused::Malformed)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Refused::Malformed);
        let header: Value = serde_json::from_slice(&decode(header)?).map_err(|_| Refused::Malformed)?;
        // The header must not choose how it is checked.
        if header.get("alg").is_none_or(|algorithm| algorithm != "ES256") {
            return Err(Refused::Malformed);
        }
        let public = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, self.key.public_key());
        public.verify(body.as_bytes(), &decode(signature)?).map_err(|_| Refused::Signature)?;
        let claims: Claims = serde_json::from_slice(&decode(payload)?).map_err(|_| Refused::Malformed)?;
        let now = now.as_second();
        if claims.exp <= now - LEEWAY || claims.nbf > now + LEEWAY {
            return Err(Refused::Expired);
        }
        if claims.iss != ISSUER || !claims.aud.iter().any(|audience| audiences.contains(&audience.as_str())) {
            return Err(Refused::Audience);
        }
        Ok(claims)
    }

    /// The key by which others can check tokens (RFC 7517).
    pub fn key_set(&self) -> Value {
        // An uncompressed point: 4, then both coordinates.
        let point = self.key.public_key().as_ref();
        let coordinate = |at: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(point.get(at).unwrap_or_default());
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": coordinate(1..33), "y": coordinate(33..65)}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let private = Private { namespace: "ns".into(), ..Private::default() };
        Claims { aud: vec![ISSUER.into()], exp: 1000, nbf: 100, iss: ISSUER.into(), private, ..Claims::default() }
    }

    #[test]
    fn a_token_counts_for_its_time_and_audience_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        let token = tokens.sign(&claims()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(tokens.verify(&token, &[ISSUER], at(500)), Ok(claims()));
        assert_eq!(tokens.verify(&token, &["vault"], at(500)), Err(Refused::Audience));
        assert_eq!(tokens.verify(&token, &[ISSUER], at(2000)), Err(Refused::Expired));
        assert_eq!(tokens.verify(&token, &[ISSUER], at(1)), Err(Refused::Expired));
        let again = Tokens::open(dir.path()).unwrap();
        assert!(again.verify(&token, &[ISSUER], at(500)).is_ok(), "the key is kept");
    }

    #[test]
    fn a_token_that_somebody_changed_or_signed_otherwise_does_not_count() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (Tokens::open(dir.path()).unwrap(), Tokens::open(other.path()).unwrap());
        let now = Timestamp::from_second(500).unwrap();
        let refused = |token: &str| ours.verify(token, &[ISSUER], now).unwrap_err();
        assert_eq!(refused(&theirs.sign(&claims()).unwrap()), Refused::Signature);
        let token = ours.sign(&claims()).unwrap();
        let (body, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = body.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode(serde_json::to_string(&Claims { exp: 9999, ..claims() }).unwrap());
        assert_eq!(refused(&format!("{header}.{forged}.{signature}")), Refused::Signature);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        assert_eq!(refused(&format!("{none}.{forged}.")), Refused::Malformed);
        for garbage in ["", ".", "..", "a.b.c", "é.é.é"] {
            assert_eq!(refused(garbage), Refused::Malformed, "{garbage:?}");
        }
    }
}
