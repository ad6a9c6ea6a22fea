//! What must hold for any bytes that a stranger sends, as one function for fuzz targets and property tests.

use fastrand::Rng;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, uri};

use super::{
    head::{self, Body, Storage},
    hello::{self, Hello},
    http1::{body::Decoder, request, response},
    http2,
    message::{self, Changes, Origin},
};
use crate::table::HeaderChange;

/// Reads the bytes as a request, a response and a chunked body.
///
/// # Panics
/// When something does not hold.
#[doc(hidden)]
pub fn http1(data: &[u8]) {
    reads_the_same_when_sent_on(data);
    for to_head in [true, false] {
        let mut storage = Storage::new();
        if let Ok(Some((length, _))) = response::parse(data, to_head, &mut storage) {
            assert!(length <= data.len(), "a head is longer than what was sent");
        }
    }
    let whole = chunks(data, data.len().max(1));
    assert_eq!(whole, chunks(data, 1), "a body depends on how it is cut");
}

/// Reads the bytes as the first message of a TLS connection: reading ends, and waits for no less than there is already.
///
/// # Panics
/// When that does not hold.
#[doc(hidden)]
pub fn hello(data: &[u8]) {
    if let Ok(Hello::Partial(needed)) = hello::parse(data) {
        assert!(needed > data.len(), "what has arrived is waited for");
    }
    // What is whole stays what it is, whatever follows.
    if let Ok(whole @ Hello::Whole(_)) = hello::parse(data) {
        assert_eq!(hello::parse(&[data, &[0; 9]].concat()), Ok(whole), "a name depends on what follows it");
    }
}

/// Reads lines as the fields that a client or an endpoint of HTTP/2 sends: method, path, authority, then `name: value`. What the
/// library would refuse is left out.
///
/// # Panics
/// When something does not hold.
#[doc(hidden)]
pub fn http2(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (method, path, authority) = (lines.next(), lines.next(), lines.next());
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
        Some((HeaderName::from_lowercase(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    let fields: http::HeaderMap = fields.collect();
    for end in [true, false] {
        let mut storage = Storage::new();
        let mut response = Response::new(());
        response.headers_mut().clone_from(&fields);
        // Whatever it says, it is read without harm.
        _ = http2::response(&response.into_parts().0, end, !end, &mut storage);
        let mut parts = uri::Parts::default();
        parts.scheme = Some(uri::Scheme::HTTP);
        parts.authority = authority.and_then(|authority| authority.try_into().ok());
        parts.path_and_query = path.and_then(|path| path.try_into().ok());
        let (Ok(uri), Some(Ok(method))) = (Uri::from_parts(parts), method.map(Method::from_bytes)) else { return };
        let mut request = Request::new(());
        (*request.uri_mut(), *request.method_mut()) = (uri, method);
        request.headers_mut().clone_from(&fields);
        let (request, mut storage) = (request.into_parts().0, Storage::new());
        if let Ok(head) = http2::request(&request, end, &mut storage) {
            means_the_same_to_the_next_reader(&head);
        }
    }
}

/// What the proxy lets through means the same to the next reader as to the proxy: this keeps one client's bytes from becoming
/// another's request.
fn reads_the_same_when_sent_on(data: &[u8]) {
    let mut storage = Storage::new();
    if let Ok(Some((_, head))) = request::parse(data, &mut storage) {
        means_the_same_to_the_next_reader(&head);
    }
}

#[expect(clippy::panic, reason = "a fuzz target says by a panic what does not hold")]
fn means_the_same_to_the_next_reader(head: &head::Request<'_, '_>) {
    let (origin, change) = (Origin::new("http", [192, 0, 2, 1].into(), true), HeaderChange::default());
    let mut out = Vec::new();
    _ = message::http1_request(&mut out, head, None, Changes::new(&change, None), &origin, &mut Rng::with_seed(1));
    let mut storage = Storage::new();
    let (length, again) = match request::parse(&out, &mut storage) {
        Ok(Some(again)) => again,
        // What is added may make a head that just fits one that does not.
        Err(refusal) if refusal.status.as_u16() == 431 => return,
        other => panic!("what is sent on is not one head: {other:?}: {}", out.escape_ascii()),
    };
    assert_eq!(length, out.len(), "bytes follow the head that is sent on");
    assert_eq!((&again.path, again.authority, again.body), (&head.path, head.authority, head.body));
    assert_eq!((again.method, again.query), (head.method, head.query));
}

/// Payload, bytes consumed and trailers of a chunked body that arrives in pieces; `None` if it is refused.
fn chunks(data: &[u8], size: usize) -> Option<(Vec<u8>, usize, Vec<u8>)> {
    let (mut decoder, mut payload, mut consumed) = (Decoder::new(Body::Chunked), Vec::new(), 0);
    for piece in data.chunks(size) {
        let mut piece = piece.to_vec();
        let taken = decoder.decode(&mut piece).ok()?;
        payload.extend_from_slice(piece.get(..taken.payload).unwrap_or_default());
        consumed += taken.consumed;
        if decoder.is_done() {
            break;
        }
    }
    Some((payload, consumed, decoder.take_trailers()))
}
