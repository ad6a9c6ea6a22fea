//! Paths in their normal form, so that routes and the application behind them judge the same path.

use std::borrow::Cow;

use super::Refusal;

/// The path with unreserved characters decoded (RFC 3986, 6.2.2.2), `.` and `..` resolved (5.2.4) and repeated slashes made
/// one, as Envoy Gateway has it by default. Other escapes stay as they are.
///
/// # Errors
/// An escape that is none, `%00`, and `..` above the root.
pub(in crate::proxy) fn normalise(path: &str) -> Result<Cow<'_, str>, Refusal> {
    if !needs_work(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path)?;
    let mut kept: Vec<&str> = Vec::new();
    let mut directory = false;
    for segment in decoded.split('/') {
        directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop().ok_or(Refusal::bad("the path leads above the root"))?;
            }
            other => kept.push(other),
        }
    }
    let mut normal = String::with_capacity(decoded.len());
    for segment in &kept {
        normal.push('/');
        normal.push_str(segment);
    }
    if directory {
        normal.push('/');
    }
    Ok(Cow::Owned(normal))
}

/// Whether a path may not be in its normal form.
fn needs_work(path: &[u8]) -> bool {
    path.contains(&b'%') || path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

fn decode_unreserved(path: &str) -> Result<String, Refusal> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let byte =
            after.get(..2).and_then(hex).ok_or(Refusal::bad("the path has a percent sign that escapes nothing"))?;
        match byte {
            0 => return Err(Refusal::bad("the path has an escaped NUL")),
            b'-' | b'.' | b'_' | b'~' => decoded.push(char::from(byte)),
            b if b.is_ascii_alphanumeric() => decoded.push(char::from(b)),
            _ => {
                decoded.push('%');
                decoded.push_str(after.get(..2).unwrap_or_default());
            }
        }
        rest = after.get(2..).unwrap_or_default();
    }
    decoded.push_str(rest);
    Ok(decoded)
}

fn hex(digits: &str) -> Option<u8> {
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// A query's key or value, decoded: `+` is a space, an escape that is none stays as it is.
pub(super) fn decode_query(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let (mut decoded, mut bytes) = (Vec::with_capacity(text.len()), text.bytes().enumerate());
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => match text.get(at + 1..at + 3).and_then(hex) {
                Some(byte) => {
                    decoded.push(byte);
                    bytes.nth(1);
                }
                None => decoded.push(b'%'),
            },
            other => decoded.push(other),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_take_their_normal_form() {
        let cases = [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("//a///b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/%61dmin", "/admin"),
            ("/a/%2e%2E/b", "/b"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%20b", "/a%20b"),
            ("/.well-known/x", "/.well-known/x"),
            ("/..a/...", "/..a/..."),
        ];
        for (path, normal) in cases {
            assert_eq!(normalise(path).unwrap(), normal, "{path}");
        }
    }

    #[test]
    fn paths_that_mean_nothing_are_refused() {
        for path in ["/..", "/a/../..", "/%", "/%4", "/%zz", "/%00", "/%+1"] {
            assert!(normalise(path).is_err(), "{path}");
        }
    }

    #[test]
    fn query_parameters_are_decoded() {
        assert_eq!(decode_query("a+b%20c%zz%"), "a b c%zz%");
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_normal_form(path in "/[a-c./%0-9]{0,20}") {
            if let Ok(normal) = normalise(&path) {
                prop_assert_eq!(normalise(&normal).unwrap(), normal.clone());
                prop_assert!(normal.starts_with('/') && !normal.contains("//") && !normal.contains("/../"));
            }
        }
    }
}
