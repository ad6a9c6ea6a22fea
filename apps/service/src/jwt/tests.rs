use serde_json::json;

use super::*;

const NEW: &str = "b:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const OLD: &str = "a:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn tokens(keys: &str) -> Tokens {
    Tokens::new(&Secret::new(keys), "issuer", "audience").unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn minute(tokens: &Tokens) -> String {
    tokens.sign(&json!({"sub": "ann"}), at(0), Duration::from_secs(60)).unwrap()
}

fn verify(tokens: &Tokens, token: &str, second: i64) -> Result<Value, TokenError> {
    tokens.verify(token, at(second))
}

/// A token signed by hand, with whatever header and claims.
fn forged(header: &Header, claims: &Value, secret: &str) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

#[test]
fn a_token_lives_as_long_as_it_says_and_half_a_minute_more() {
    let tokens = tokens(NEW);
    let token = minute(&tokens);
    assert_eq!(verify(&tokens, &token, 0).unwrap()["sub"], "ann");
    assert!(verify(&tokens, &token, 89).is_ok());
    assert_eq!(verify(&tokens, &token, 90), Err(TokenError::Expired));
    assert!(verify(&tokens, &token, -30).is_ok());
    assert_eq!(verify(&tokens, &token, -31), Err(TokenError::Early));
}

#[test]
fn a_new_key_signs_while_the_old_one_still_verifies() {
    let before = tokens(OLD);
    let during = tokens(&format!("{NEW},{OLD}"));
    let after = tokens(NEW);
    let (old, new) = (minute(&before), minute(&during));
    assert!(verify(&during, &old, 1).is_ok() && verify(&during, &new, 1).is_ok());
    assert!(verify(&after, &new, 1).is_ok());
    assert_eq!(verify(&after, &old, 1), Err(TokenError::Invalid));
    assert_eq!(verify(&before, &new, 1), Err(TokenError::Invalid));
}

#[test]
fn no_other_algorithm_key_or_audience_is_trusted() {
    let tokens = tokens(&format!("{NEW},{OLD}"));
    let claims = json!({"iss": "issuer", "aud": "audience", "exp": at(60).as_second()});
    let header = |alg, kid: Option<&str>| Header { kid: kid.map(str::to_owned), ..Header::new(alg) };
    let (a, b) = ("a".repeat(32), "b".repeat(32));
    assert!(verify(&tokens, &forged(&header(Algorithm::HS256, Some("a")), &claims, &a), 0).is_ok());
    for (wrong, token) in [
        ("another algorithm", forged(&header(Algorithm::HS512, Some("a")), &claims, &a)),
        ("another's key", forged(&header(Algorithm::HS256, Some("a")), &claims, &b)),
        ("no key", forged(&header(Algorithm::HS256, None), &claims, &a)),
        ("an unknown key", forged(&header(Algorithm::HS256, Some("../a")), &claims, &a)),
        ("no expiry", forged(&header(Algorithm::HS256, Some("a")), &json!({"iss": "issuer", "aud": "audience"}), &a)),
        ("text as expiry", {
            let claims = json!({"iss": "issuer", "aud": "audience", "exp": "9999999999"});
            forged(&header(Algorithm::HS256, Some("a")), &claims, &a)
        }),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("a novel", "x".repeat(TOKEN_BYTES + 1)),
    ] {
        assert_eq!(verify(&tokens, &token, 0), Err(TokenError::Invalid), "{wrong}");
    }
    for (issuer, audience) in [("issuer", "other"), ("other", "audience")] {
        let claims = json!({"iss": issuer, "aud": audience, "exp": at(60).as_second()});
        let token = forged(&header(Algorithm::HS256, Some("a")), &claims, &a);
        assert_eq!(verify(&tokens, &token, 0), Err(TokenError::Claims));
    }
}

#[test]
fn a_token_without_a_signature_is_not_trusted() {
    let tokens = tokens(OLD);
    let token = minute(&tokens);
    let mut parts = token.split('.');
    let (head, claims) = (parts.next().unwrap(), parts.next().unwrap());
    // {"alg":"none","typ":"JWT","kid":"a"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoiYSJ9";
    for unsigned in [format!("{head}.{claims}."), format!("{none}.{claims}."), format!("{head}.{claims}")] {
        assert_eq!(verify(&tokens, &unsigned, 0), Err(TokenError::Invalid));
    }
}

#[test]
fn a_token_issued_in_the_future_is_not_trusted() {
    let tokens = tokens(OLD);
    let claims = json!({"iss": "issuer", "aud": "audience", "exp": at(9000).as_second(), "iat": at(600).as_second()});
    let header = Header { kid: Some("a".to_owned()), ..Header::new(Algorithm::HS256) };
    assert_eq!(verify(&tokens, &forged(&header, &claims, &"a".repeat(32)), 0), Err(TokenError::Early));
}

#[test]
fn keys_are_checked_and_never_shown() {
    let new = |keys: &str| Tokens::new(&Secret::new(keys), "i", "a");
    assert_eq!(new("nocolon").unwrap_err(), KeysError::Malformed(1));
    assert_eq!(new(&format!("{NEW},")).unwrap_err(), KeysError::Malformed(2));
    assert_eq!(new("k:short").unwrap_err(), KeysError::Short("k".to_owned()));
    assert_eq!(new(&format!("{NEW},{NEW}")).unwrap_err(), KeysError::Twice("b".to_owned()));
    assert!(!format!("{:?}", tokens(NEW)).contains("bbbb"));
}
