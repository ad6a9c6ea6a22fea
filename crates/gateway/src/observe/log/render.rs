//! A line of the access log.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    Captured,
    escape::{self, decimal},
    format::{Format, Part, Style},
    operators::{Field, Operator, Simple},
    time::{Cache, Wall},
};
use crate::observe::{local::Caller, record::Record};

/// A request that has ended.
pub(super) struct Ended<'a> {
    pub caller: &'a Caller,
    pub record: &'a Record,
    pub captured: &'a Captured,
    pub took: Duration,
}

/// Writes the line of a request.
pub(super) fn line(out: &mut Vec<u8>, format: &Format, times: &mut [Cache], wall: &Wall, ended: &Ended<'_>) {
    for part in format.parts() {
        match part {
            Part::Literal(bytes) => out.extend_from_slice(bytes),
            Part::Value(Operator::Simple(operator), style) => {
                let mut value = Value { out, style: *style };
                simple(&mut value, *operator, ended);
            }
            Part::Value(Operator::Field { first, second, most }, style) => {
                let mut value = Value { out, style: *style };
                let written = field(&mut value, *first, *most, ended)
                    || second.is_some_and(|second| field(&mut value, second, *most, ended));
                if !written {
                    value.absent();
                }
            }
            Part::Value(Operator::StartTime(index), style) => {
                let (Some(format), Some(cache)) = (format.times().get(*index), times.get_mut(*index)) else { continue };
                let mut value = Value { out, style: *style };
                value.quoted(|out| format.write(out, cache, wall.at(ended.record.started)));
            }
        }
    }
}

/// A value that is being written.
struct Value<'a> {
    out: &'a mut Vec<u8>,
    style: Style,
}

impl Value<'_> {
    fn absent(&mut self) {
        self.out.extend_from_slice(if self.style == Style::Json { b"null" } else { b"-" });
    }

    fn number(&mut self, number: u64) {
        decimal(self.out, number);
    }

    /// Text that needs no escaping.
    fn quoted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.style == Style::Json {
            self.out.push(b'"');
        }
        write(self.out);
        if self.style == Style::Json {
            self.out.push(b'"');
        }
    }

    /// Text of our own, that needs no escaping either.
    fn plain(&mut self, text: &str) {
        self.quoted(|out| out.extend_from_slice(text.as_bytes()));
    }

    /// Text of anybody's.
    fn text(&mut self, bytes: &[u8]) {
        let style = self.style;
        self.quoted(|out| match style {
            Style::Text => escape::text(out, bytes),
            Style::Json | Style::JsonInside => escape::json(out, bytes),
        });
    }

    /// Text that is absent when it is empty.
    fn some(&mut self, text: &str) {
        if text.is_empty() { self.absent() } else { self.text(text.as_bytes()) }
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.absent(),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn simple(value: &mut Value<'_>, operator: Simple, ended: &Ended<'_>) {
    let (record, caller) = (ended.record, ended.caller);
    let since = |moment: Instant| moment.saturating_duration_since(record.started);
    let session = caller.session.borrow();
    match operator {
        Simple::Absent => value.absent(),
        Simple::BytesReceived => value.number(record.received),
        Simple::BytesSent => value.number(record.sent),
        Simple::Code => value.number(record.status.into()),
        Simple::Details => value.plain(details(record)),
        Simple::Duration => value.number(milliseconds(ended.took)),
        Simple::Fault => value.plain(record.fault().name()),
        Simple::Flags => flags(value, record, |meaning| meaning.short),
        Simple::FlagsLong => flags(value, record, |meaning| meaning.long),
        Simple::Listener => value.text(caller.listener.name().as_bytes()),
        Simple::LocalAddress => value.plain(caller.texts.local()),
        Simple::LocalHost => value.quoted(|out| host(out, caller.local.ip())),
        Simple::LocalPort => value.number(caller.local.port().into()),
        Simple::Protocol => value.optional(record.protocol, |value, protocol| value.plain(protocol.name())),
        Simple::RemoteAddress => value.plain(caller.texts.peer()),
        Simple::RemoteHost => value.plain(caller.texts.peer_host()),
        Simple::RemotePort => value.number(caller.peer.port().into()),
        Simple::ResponseDuration => {
            value.optional(record.response_began, |value, began| value.number(milliseconds(since(began))));
        }
        Simple::ResponseTxDuration => value.optional(record.response_began, |value, began| {
            value.number(milliseconds(ended.took.saturating_sub(since(began))));
        }),
        Simple::Route => value.some(&record.route.key.0),
        Simple::ServerName => value.some(session.as_ref().map_or("", |session| &session.server_name)),
        Simple::TlsCipher => value.some(session.as_ref().map_or("", |session| session.cipher)),
        Simple::TlsVersion => value.some(session.as_ref().map_or("", |session| session.version)),
        Simple::TraceId => value.optional(record.trace, |value, trace| {
            value.quoted(|out| trace.to_be_bytes().iter().for_each(|byte| escape::hex(out, *byte)));
        }),
        Simple::Tries => value.number(record.tries.into()),
        Simple::UpstreamCluster => value.some(&record.route.key.1),
        Simple::UpstreamHost => value.optional(record.endpoint(), |value, it| value.quoted(|out| address(out, it))),
        Simple::UpstreamHostOnly => {
            value.optional(record.endpoint(), |value, it| value.quoted(|out| host(out, it.ip())));
        }
        Simple::UpstreamPort => value.optional(record.endpoint(), |value, it| value.number(it.port().into())),
    }
}

fn details(record: &Record) -> &'static str {
    match record.flags.meanings().next() {
        Some(meaning) => meaning.details,
        None if record.by_endpoint => "via_upstream",
        None => "direct_response",
    }
}

fn flags(value: &mut Value<'_>, record: &Record, name: fn(&crate::observe::flags::Meaning) -> &'static str) {
    // Without flags it is a dash in JSON too: so Envoy has it.
    value.quoted(|out| {
        if record.flags.is_empty() {
            out.push(b'-');
        }
        for (index, meaning) in record.flags.meanings().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name(meaning).as_bytes());
        }
    });
}

/// Writes a field, if there is one.
fn field(value: &mut Value<'_>, field: Field, most: Option<usize>, ended: &Ended<'_>) -> bool {
    let (edge, captured) = (ended.caller.edge, ended.captured);
    let cut = |bytes: &[u8]| bytes.len().min(most.unwrap_or(usize::MAX));
    let write = |value: &mut Value<'_>, bytes: &[u8]| value.text(bytes.get(..cut(bytes)).unwrap_or_default());
    match field {
        Field::Captured(place) => captured.get(place).map(|bytes| write(value, bytes)).is_some(),
        // What strangers say of their request's id is not believed.
        Field::RequestId(place) => {
            let given = ended.record.request_id.as_ref().map(<[u8; 36]>::as_slice);
            let id = given.or_else(|| captured.get(place).filter(|_| !edge));
            id.map(|bytes| write(value, bytes)).is_some()
        }
        // Connections that are not HTTP have no fields.
        Field::ForwardedFor(place) if edge && ended.record.protocol.is_some() => {
            let before = captured.get(place).filter(|before| !before.is_empty());
            match (before, most) {
                (None, None) => value.plain(ended.caller.texts.peer_host()),
                (before, _) => {
                    let mut text = before.map(|before| [before, b", "].concat()).unwrap_or_default();
                    text.extend_from_slice(ended.caller.texts.peer_host().as_bytes());
                    write(value, &text);
                }
            }
            true
        }
        Field::ForwardedFor(place) => captured.get(place).map(|bytes| write(value, bytes)).is_some(),
        Field::Scheme if ended.record.protocol.is_none() => false,
        Field::Scheme => {
            let secure = ended.caller.session.borrow().is_some();
            write(value, if secure { b"https" } else { b"http" });
            true
        }
    }
}

fn host(out: &mut Vec<u8>, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                decimal(out, octet.into());
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(ip) => _ = write!(out, "{ip}"),
    }
}

/// The addresses of a connection as text, made once for all of its lines.
#[derive(Debug, Default)]
pub(in crate::observe) struct Texts {
    /// The peer's, then the local one.
    text: Box<str>,
    /// Where the peer's port and the local address begin.
    ends: (u8, u8),
}

impl Texts {
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let mut text = Vec::new();
        host(&mut text, peer.ip());
        let host = text.len();
        text.clear();
        address(&mut text, peer);
        let bracket = usize::from(text.first() == Some(&b'['));
        let whole = text.len();
        address(&mut text, local);
        let end = |at: usize| u8::try_from(at).unwrap_or_default();
        let ends = (end(host + bracket), end(whole));
        Self { text: String::from_utf8(text).unwrap_or_default().into(), ends }
    }

    fn peer(&self) -> &str {
        self.text.get(..self.ends.1.into()).unwrap_or_default()
    }

    /// Without the port, and without the brackets of an IPv6 address.
    fn peer_host(&self) -> &str {
        self.text.get(..self.ends.0.into()).unwrap_or_default().trim_start_matches('[')
    }

    fn local(&self) -> &str {
        self.text.get(self.ends.1.into()..).unwrap_or_default()
    }
}

fn address(out: &mut Vec<u8>, address: SocketAddr) {
    let v6 = address.ip().to_canonical().is_ipv6();
    if v6 {
        out.push(b'[');
    }
    host(out, address.ip());
    out.extend_from_slice(if v6 { b"]:" } else { b":" });
    decimal(out, address.port().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_usually() {
        for (peer, host) in [
            ("192.0.2.9:1", "192.0.2.9"),
            ("[2001:db8::1]:65535", "2001:db8::1"),
            ("[::ffff:10.0.100.7]:8080", "10.0.100.7"),
        ] {
            let texts = Texts::new(peer.parse().unwrap(), "127.0.0.1:80".parse().unwrap());
            let whole = if host.contains(':') {
                peer.to_owned()
            } else {
                format!("{host}:{}", peer.rsplit(':').next().unwrap())
            };
            assert_eq!((texts.peer(), texts.peer_host(), texts.local()), (&*whole, host, "127.0.0.1:80"));
        }
    }
}
