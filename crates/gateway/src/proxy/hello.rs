//! The first message of a TLS connection (ClientHello, RFC 8446, 4.1.2), read for one thing: what the client calls the server.
//! Nothing is decrypted or answered, so that a connection can be sent on as it came.

use std::borrow::Cow;

/// A hello that is longer than this is refused; common ones have less than 2 KiB.
pub(super) const MAX_HELLO: usize = 64 * 1024;

/// A record's type, version and length.
const RECORD_HEADER: usize = 5;
/// A record's payload (RFC 8446, 5.1).
const MAX_RECORD: usize = 1 << 14;
/// A handshake message's type and length.
const MESSAGE_HEADER: usize = 4;

/// How much of a hello has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// Not all; looking again is worth it when there are this many bytes.
    Partial(usize),
    /// All of it. The name is in lower case, without a dot at its end, and empty if the client gave none.
    Whole(Box<str>),
}

/// Reads what a client has sent so far.
///
/// # Errors
/// Why it is not a ClientHello, however much more arrives.
pub(super) fn parse(data: &[u8]) -> Result<Hello, &'static str> {
    let Arrived { message, record_left, header } = message(data)?;
    if message.first().is_some_and(|kind| *kind != 1) {
        return Err("the first message is not a ClientHello");
    }
    let wanted = wanted(&message);
    if wanted > MAX_HELLO {
        return Err("the ClientHello is too long");
    }
    match message.get(MESSAGE_HEADER..wanted) {
        Some(hello) if wanted > MESSAGE_HEADER => server_name(hello).map(Hello::Whole),
        _ => {
            // If the current record does not have it all, at least one more does.
            let left = wanted.saturating_sub(message.len()).max(1);
            let further = if left > record_left { RECORD_HEADER - header } else { 0 };
            Ok(Hello::Partial(data.len() + left + further))
        }
    }
}

/// The length of a message that begins like this, as far as that is known.
fn wanted(message: &[u8]) -> usize {
    match message.first_chunk::<MESSAGE_HEADER>() {
        Some([_, length @ ..]) => {
            let [a, b, c] = length.map(usize::from);
            MESSAGE_HEADER + (a << 16 | b << 8 | c)
        }
        None => MESSAGE_HEADER,
    }
}

/// The handshake bytes of the leading records.
struct Arrived<'a> {
    /// At least the first message, if it is whole.
    message: Cow<'a, [u8]>,
    /// What is missing of the last record's payload.
    record_left: usize,
    /// Bytes of a record's header that is not whole.
    header: usize,
}

fn message(data: &[u8]) -> Result<Arrived<'_>, &'static str> {
    let (mut message, mut rest) = (Cow::Borrowed(&[][..]), data);
    loop {
        let begins_well = [22, 3].iter().zip(rest).all(|(expected, byte)| expected == byte);
        if !begins_well {
            return Err("this is not a TLS handshake");
        }
        let Some(([_, _, _, high, low], payload)) = rest.split_first_chunk::<RECORD_HEADER>() else {
            return Ok(Arrived { message, record_left: 0, header: rest.len() });
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > MAX_RECORD {
            return Err("a record has a length that no record may have");
        }
        let (here, next) = payload.split_at(length.min(payload.len()));
        if message.is_empty() {
            message = Cow::Borrowed(here);
        } else {
            message.to_mut().extend_from_slice(here);
        }
        if message.len() >= wanted(&message).max(MESSAGE_HEADER + 1) || message.len() > MAX_HELLO || here.len() < length
        {
            return Ok(Arrived { message, record_left: length - here.len(), header: 0 });
        }
        rest = next;
    }
}

/// The `host_name` of a hello's `server_name` extension (RFC 6066, 3).
fn server_name(hello: &[u8]) -> Result<Box<str>, &'static str> {
    let cut = "the ClientHello is cut short";
    let mut hello = Reader(hello);
    // Version and random.
    hello.take(2 + 32).ok_or(cut)?;
    hello.vector8().ok_or("the session's id is cut short")?;
    hello.vector16().ok_or("the cipher suites are cut short")?;
    hello.vector8().ok_or("the compression methods are cut short")?;
    if hello.0.is_empty() {
        return Ok("".into());
    }
    let mut extensions = Reader(hello.vector16().ok_or("the extensions are cut short")?);
    if !hello.0.is_empty() {
        return Err("bytes follow the extensions");
    }
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number16().ok_or("an extension is cut short")?;
        let body = extensions.vector16().ok_or("an extension is cut short")?;
        if kind == 0 && name.replace(host_name(body)?).is_some() {
            return Err("there are two server names");
        }
    }
    Ok(name.unwrap_or_default())
}

fn host_name(extension: &[u8]) -> Result<Box<str>, &'static str> {
    let mut extension = Reader(extension);
    let mut list = Reader(extension.vector16().ok_or("the server name is cut short")?);
    if !extension.0.is_empty() {
        return Err("bytes follow the server name");
    }
    // A list of one in practice; no kind of name but this one has ever been defined.
    let [kind] = *list.take(1).and_then(|kind| kind.first_chunk()).ok_or("the list of server names is empty")?;
    let name = list.vector16().ok_or("the server name is cut short")?;
    if kind != 0 || !list.0.is_empty() {
        return Err("the server name is not one host name");
    }
    let name = std::str::from_utf8(name).map_err(|_| "the server name is not ASCII")?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.parse::<std::net::IpAddr>().is_ok() {
        // Not allowed as a name, but sent by some: as good as none.
        return Ok("".into());
    }
    if name.is_empty() || name.len() > 253 || !name.bytes().all(plain) {
        return Err("the server name is not a host name");
    }
    Ok(name.to_ascii_lowercase().into())
}

/// Takes the front off some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    fn number16(&mut self) -> Option<u16> {
        self.take(2).and_then(|bytes| bytes.first_chunk()).map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Bytes behind a length of one byte.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let [length] = *self.take(1)?.first_chunk()?;
        self.take(usize::from(length))
    }

    /// Bytes behind a length of two bytes.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};

    use super::*;

    /// What a real client begins with.
    fn hello(name: &str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut bytes = Vec::new();
        ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message in records of at most `size` bytes.
    fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[22, 3, 1], length.as_slice(), part].concat()
        };
        hello[RECORD_HEADER..].chunks(size).flat_map(record).collect()
    }

    fn whole(name: &str) -> Hello {
        Hello::Whole(name.into())
    }

    #[test]
    fn a_clients_name_for_the_server_is_found_in_lower_case() {
        assert_eq!(parse(&hello("WWW.Example.com")), Ok(whole("www.example.com")));
        assert_eq!(parse(&hello("127.0.0.1")), Ok(whole("")), "an address is no name");
    }

    #[test]
    fn a_hello_may_come_in_any_number_of_records() {
        let hello = hello("a.example");
        for size in [1, 2, 3, 5, 100, 10_000] {
            assert_eq!(parse(&in_records(&hello, size)), Ok(whole("a.example")), "{size}");
        }
    }

    #[test]
    fn a_part_says_how_much_to_wait_for_and_never_too_much() {
        let hello = hello("a.example");
        for size in [1, 7, 100, 10_000] {
            let bytes = in_records(&hello, size);
            let (mut looks, mut at) = (0, 0);
            loop {
                match parse(&bytes[..at]).unwrap() {
                    Hello::Whole(name) => break assert_eq!(&*name, "a.example"),
                    Hello::Partial(needed) => {
                        assert!(at < needed && needed <= bytes.len(), "{at} {needed} of {}", bytes.len());
                        at = needed;
                    }
                }
                looks += 1;
            }
            assert!(looks < 8 || size < 100, "{looks} looks at records of {size}");
        }
    }

    #[test]
    fn what_is_not_a_hello_is_refused_at_once() {
        let good = hello("a.example");
        assert!(parse(b"GET / HTTP/1.1\r\n").is_err());
        assert!(parse(&[22, 3, 1, 0, 0]).is_err(), "an empty record");
        assert!(parse(&[22, 3, 1, 0xff, 0xff]).is_err(), "a record that is too long");
        assert!(parse(&[22, 3, 1, 0, 4, 2, 0, 0, 0]).is_err(), "another message");
        assert!(parse(&[22, 3, 1, 0, 4, 1, 2, 0, 0]).is_err(), "a hello that is too long");
        let mut other = good.clone();
        let at = other.windows(9).position(|window| window == b"a.example").unwrap();
        other[at] = b'/';
        assert!(parse(&other).is_err(), "a name that is none");
        other[at - 3] = 1;
        assert!(parse(&other).is_err(), "a name of another kind");
    }

    proptest! {
        #[test]
        fn however_a_hello_is_changed_reading_it_ends(at in 0usize..300, to: u8, cut in 0usize..300, size in 1usize..50) {
            let mut bytes = in_records(&hello("a.example"), size);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
            if let Ok(Hello::Partial(needed)) = parse(bytes.get(..cut).unwrap_or(&bytes)) {
                prop_assert!(needed > cut.min(bytes.len()));
            }
        }
    }
}
