//! Trace contexts: W3C's, which the proxy begins where there is none, and B3 (Zipkin's), which it passes on.

use uuid::Uuid;

/// The trace's id of `version-traceid-parentid-flags` (W3C Trace Context, 3.2); `None` if that is not what it is.
pub(super) fn traceparent(value: &[u8]) -> Option<u128> {
    let hex = |from: usize, to: usize| {
        value.get(from..to).filter(|digits| digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')))
    };
    let dash = |at: usize| value.get(at) == Some(&b'-');
    let version = hex(0, 2);
    // Later versions may be longer.
    let long_enough = value.len() == 55 || (value.len() > 55 && version != Some(b"00".as_slice()) && dash(55));
    let valid = version.is_some_and(|version| version != b"ff")
        && [2, 35, 52].into_iter().all(dash)
        && hex(36, 52).and_then(id).is_some()
        && hex(53, 55).is_some()
        && long_enough;
    hex(3, 35).and_then(id).filter(|_| valid)
}

/// The `traceparent` of a sampled request in this trace, whose caller is this span. Written by table: with format strings it was
/// one of the largest single costs of a head.
pub(super) fn sampled(trace: u128, span: u64) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    let mut write = |at: usize, digits: &str| {
        if let Some(room) = text.get_mut(at..at + digits.len()) {
            room.copy_from_slice(digits.as_bytes());
        }
    };
    let mut room = Uuid::encode_buffer();
    write(3, Uuid::from_u128(trace).simple().encode_lower(&mut room));
    let digits = Uuid::from_u64_pair(span, 0).simple().encode_lower(&mut room);
    write(36, digits.get(..16).unwrap_or_default());
    text
}

/// What a field of B3 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum B3 {
    /// Which trace the request belongs to.
    Trace(u128),
    /// Whether it is to be recorded.
    Sampling,
    /// More about the trace that another field names.
    More,
}

/// Reads a field of B3, in one (`b3: TRACE-SPAN-SAMPLED-PARENT`, `b3: SAMPLED`) or in several (`x-b3-traceid`, ...); `None` if
/// it is not what its name says.
pub(super) fn b3(name: &str, value: &[u8]) -> Option<B3> {
    match name.to_ascii_lowercase().as_str() {
        "b3" => single(value),
        "x-b3-traceid" => trace(value).map(B3::Trace),
        "x-b3-sampled" => matches!(value, b"0" | b"1" | b"true" | b"false").then_some(B3::Sampling),
        "x-b3-flags" => matches!(value, b"0" | b"1").then_some(B3::Sampling),
        _ => span(value).map(|()| B3::More),
    }
}

fn single(value: &[u8]) -> Option<B3> {
    let is_sampling = |value: &[u8]| matches!(value, b"0" | b"1" | b"d");
    let mut parts = value.split(|byte| *byte == b'-');
    let (first, second, third, parent) = (parts.next()?, parts.next(), parts.next(), parts.next());
    let Some(second) = second else { return is_sampling(first).then_some(B3::Sampling) };
    let valid = span(second).is_some()
        && third.is_none_or(is_sampling)
        && parent.is_none_or(|parent| span(parent).is_some())
        && parts.next().is_none();
    trace(first).filter(|_| valid).map(B3::Trace)
}

/// 64 or 128 bits.
fn trace(value: &[u8]) -> Option<u128> {
    id(value).filter(|_| matches!(value.len(), 16 | 32))
}

fn span(value: &[u8]) -> Option<()> {
    id(value).filter(|_| value.len() == 16).map(drop)
}

/// A number in hexadecimal that is not zero.
fn id(digits: &[u8]) -> Option<u128> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u128::from_str_radix(text, 16).ok().filter(|id| *id != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_trace_is_written_as_it_is_read() {
        let text = sampled(0x1234, 0xab);
        assert_eq!(text, *b"00-00000000000000000000000000001234-00000000000000ab-01");
        assert_eq!(traceparent(&sampled(u128::MAX - 1, u64::MAX)), Some(u128::MAX - 1));
    }

    #[test]
    fn b3_is_read_in_one_field_and_in_several() {
        let (trace, span) = ("80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1");
        let whole = Some(B3::Trace(0x80f1_98ee_5634_3ba8_64fe_8b2a_57d3_eff7));
        let one = |text: String| b3("B3", text.as_bytes());
        for text in
            [format!("{trace}-{span}"), format!("{trace}-{span}-1"), format!("{trace}-{span}-d-05e3ac9a4f6e3b90")]
        {
            assert_eq!(one(text), whole);
        }
        assert_eq!(one("0".to_owned()), Some(B3::Sampling));
        for wrong in [trace.to_owned(), format!("{trace}-{trace}"), format!("{trace}-{span}-x"), "-".to_owned()] {
            assert_eq!(one(wrong.clone()), None, "{wrong}");
        }
        assert_eq!(b3("X-B3-TraceId", trace.as_bytes()), whole);
        assert_eq!(b3("x-b3-traceid", b"0000000000000000"), None);
        assert_eq!(b3("x-b3-spanid", span.as_bytes()), Some(B3::More));
        assert_eq!(b3("x-b3-sampled", b"1"), Some(B3::Sampling));
        assert_eq!(b3("x-b3-flags", b"7"), None);
    }
}
