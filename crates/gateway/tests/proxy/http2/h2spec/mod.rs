//! The cases of h2spec, under its numbers (`http2/5.1/1` is the first of section 5.1), each as what a client sends to the running
//! proxy and what RFC 9113 wants to happen. Where h2spec is content with a connection that closes, the error's code is asked for
//! as well. `docs/conformance-http2.md` lists them.

mod connection;
mod frames;
mod generic;
mod hpack;
mod list;
mod messages;

use std::{
    io::{ErrorKind, Read},
    time::Duration,
};

use super::{
    super::support::{Endpoint, Gateway},
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, Raw, SETTINGS,
        block, frame,
    },
};

const PRIORITY: u8 = 2;
const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const PADDED: u8 = 8;
/// HEADERS with a dependency and a weight.
const PRIORITISED: u8 = 0x20;
/// All of a request.
const WHOLE: u8 = END_HEADERS | END_STREAM;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const CANCEL: u32 = 8;
const COMPRESSION: u32 = 9;

const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
/// The largest window there may be (RFC 9113, 6.9.1).
const LARGEST: u32 = 0x7fff_ffff;

/// A case.
struct Case {
    name: &'static str,
    /// Whether client and server have said their settings, and acknowledged them, before the first step.
    begun: bool,
    steps: Vec<Step>,
    expected: Expected,
}

/// What a client does, one after the other.
enum Step {
    Send(Vec<u8>),
    /// Waits until its settings are acknowledged.
    Acknowledged,
    /// Waits until the response on stream 1 has ended.
    Ended,
    /// Waits for DATA.
    Data,
}

/// What must come of it.
#[derive(Debug)]
enum Expected {
    /// The first frame is the server's SETTINGS.
    Settings,
    /// SETTINGS with ACK.
    Acknowledged,
    /// PING with ACK and [`PAYLOAD`], and no other.
    Pong,
    /// A whole response on stream 1, after a request in which the endpoint saw this.
    Answer(&'static str),
    /// The next DATA has so many bytes.
    Data(usize),
    /// RST_STREAM with one of these errors, or GOAWAY and the end.
    StreamError(&'static [u32]),
    /// GOAWAY with one of these errors, and the end.
    ConnectionError(&'static [u32]),
    /// This error is asked for, of the stream or the connection; the `h2` crate ends the connection with PROTOCOL_ERROR instead.
    Instead(u32),
    /// RST_STREAM with this error, and a connection that goes on.
    Reset(u32),
    /// The connection ends, with or without a word.
    Closed,
}

/// What is heard from the server.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Frame(Frame),
    Closed,
    /// Nothing, for far longer than anything takes.
    Silence,
}

const SILENCE: Duration = Duration::from_secs(10);
const PAYLOAD: &[u8] = b"a  case.";

fn listen(raw: &mut Raw) -> Heard {
    let mut head = [0; 9];
    let read = raw.0.read_exact(&mut head).and_then(|()| {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        raw.0.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    });
    match read {
        Ok(frame) => Heard::Frame(frame),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Heard::Silence,
        Err(_) => Heard::Closed,
    }
}

/// The first frame that is wanted, or what comes instead of it.
fn wait_for(raw: &mut Raw, mut wanted: impl FnMut(&Frame) -> bool) -> Heard {
    loop {
        match listen(raw) {
            Heard::Frame(frame) if !wanted(&frame) => {}
            heard => return heard,
        }
    }
}

fn acknowledged(raw: &mut Raw) -> Result<(), Heard> {
    found(wait_for(raw, |frame| frame.kind == SETTINGS && frame.flags == ACK)).map(drop)
}

fn found(heard: Heard) -> Result<Frame, Heard> {
    match heard {
        Heard::Frame(frame) => Ok(frame),
        other => Err(other),
    }
}

/// Does what a case says; what came instead of what was expected.
fn run(gateway: &Gateway, case: &Case) -> Result<(), Heard> {
    let mut raw = Raw(std::net::TcpStream::connect(gateway.address).unwrap());
    raw.0.set_read_timeout(Some(SILENCE)).unwrap();
    raw.0.set_nodelay(true).unwrap();
    if case.begun {
        raw.send([PREFACE, &settings(&[])].concat());
        acknowledged(&mut raw)?;
        raw.send(frame(SETTINGS, ACK, 0, &[]));
    }
    for step in &case.steps {
        match step {
            // The server may have had enough already.
            Step::Send(bytes) => _ = raw.send_some(bytes),
            Step::Acknowledged => acknowledged(&mut raw)?,
            Step::Ended => {
                _ = found(wait_for(&mut raw, |frame| {
                    frame.stream == 1 && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0
                }))?;
            }
            Step::Data => _ = found(wait_for(&mut raw, |frame| frame.kind == DATA))?,
        }
    }
    expect(&mut raw, &case.expected)
}

fn expect(raw: &mut Raw, expected: &Expected) -> Result<(), Heard> {
    let is_error = |frame: &Frame| matches!(frame.kind, RST_STREAM | GOAWAY);
    match expected {
        Expected::Settings => match listen(raw) {
            Heard::Frame(Frame { kind: SETTINGS, flags: 0, stream: 0, .. }) => Ok(()),
            other => Err(other),
        },
        Expected::Acknowledged => acknowledged(raw),
        Expected::Pong => match wait_for(raw, |frame| frame.kind == PING || is_error(frame)) {
            Heard::Frame(Frame { kind: PING, flags: ACK, stream: 0, payload }) if payload == PAYLOAD => Ok(()),
            other => Err(other),
        },
        Expected::Answer(seen) => answer(raw, seen),
        Expected::Data(length) => match wait_for(raw, |frame| frame.kind == DATA || is_error(frame)) {
            Heard::Frame(Frame { kind: DATA, payload, .. }) if payload.len() == *length => Ok(()),
            other => Err(other),
        },
        Expected::StreamError(errors) => match wait_for(raw, is_error) {
            Heard::Frame(frame) if frame.kind == RST_STREAM && errors.contains(&frame.error()) => Ok(()),
            Heard::Frame(frame) if frame.kind == GOAWAY && errors.contains(&frame.error()) => closed(raw),
            other => Err(other),
        },
        Expected::ConnectionError(errors) => match wait_for(raw, |frame| frame.kind == GOAWAY) {
            Heard::Frame(frame) if errors.contains(&frame.error()) => closed(raw),
            other => Err(other),
        },
        Expected::Instead(error) => match wait_for(raw, is_error) {
            Heard::Frame(frame) if frame.error() == *error => Ok(()),
            Heard::Frame(frame) if frame.kind == GOAWAY && frame.error() == PROTOCOL => closed(raw),
            other => Err(other),
        },
        Expected::Reset(error) => match wait_for(raw, is_error) {
            Heard::Frame(frame) if frame.kind == RST_STREAM && frame.error() == *error => {
                raw.send(ping());
                expect(raw, &Expected::Pong)
            }
            other => Err(other),
        },
        Expected::Closed => closed(raw),
    }
}

/// A response of 200 on stream 1, and in its body, which says what the endpoint got, this.
fn answer(raw: &mut Raw, seen: &str) -> Result<(), Heard> {
    let wanted = |frame: &Frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY);
    let head = found(wait_for(raw, wanted))?;
    // Indexed `:status: 200` (RFC 7541, appendix A).
    if (head.kind, head.stream, head.payload.first()) != (HEADERS, 1, Some(&0x88)) {
        return Err(Heard::Frame(head));
    }
    let (mut ended, mut body) = (head.flags & END_STREAM != 0, Vec::new());
    while !ended {
        let data = found(wait_for(raw, |frame| matches!(frame.kind, DATA | RST_STREAM | GOAWAY)))?;
        if data.kind != DATA {
            return Err(Heard::Frame(data));
        }
        ended = data.flags & END_STREAM != 0;
        body.extend(data.payload);
    }
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains(seen), "the endpoint did not see {seen:?} but {text:?}");
    Ok(())
}

fn closed(raw: &mut Raw) -> Result<(), Heard> {
    match wait_for(raw, |_| false) {
        Heard::Closed => Ok(()),
        other => Err(other),
    }
}

/// Every case of a table against one proxy.
fn check(cases: Vec<Case>) {
    let endpoint = endpoint();
    let gateway = Gateway::to(&[&endpoint]);
    let failed: Vec<_> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {:?}, but {:?}", case.name, case.expected, run(&gateway, case).err()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Answers with the head that it got, when it has the body.
fn endpoint() -> Endpoint {
    Endpoint::new(|peer| {
        loop {
            let (mut text, _) = peer.message();
            if text.is_empty() {
                return;
            }
            if text.to_lowercase().contains("transfer-encoding: chunked") {
                let mut line = String::new();
                while line != "0\r\n" {
                    line = peer.line();
                    if line.is_empty() {
                        return;
                    }
                }
                while line != "\r\n" {
                    line = peer.line();
                    text.push_str(&line);
                }
            }
            let body = if text.starts_with("HEAD ") { "" } else { &text };
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", text.len()));
        }
    })
}

fn case(name: &'static str, steps: Vec<Step>, expected: Expected) -> Case {
    Case { name, begun: true, steps, expected }
}

/// One whose frames are sent at once.
fn sending(name: &'static str, frames: &[Vec<u8>], expected: Expected) -> Case {
    case(name, vec![Step::Send(frames.concat())], expected)
}

/// The block of a good request.
fn get() -> Vec<u8> {
    pseudo("GET", "/")
}

fn post() -> Vec<u8> {
    pseudo("POST", "/")
}

fn pseudo(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":path", path), (":authority", "example.com")])
}

fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

fn continuation(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(CONTINUATION, flags, stream, block)
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, bytes)
}

/// A weight of 0 stands for 1.
fn priority(stream: u32, depends_on: u32, exclusive: bool, weight: u8) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &dependency(depends_on, exclusive, weight))
}

fn dependency(on: u32, exclusive: bool, weight: u8) -> Vec<u8> {
    [(on | u32::from(exclusive) << 31).to_be_bytes().as_slice(), &[weight]].concat()
}

fn reset(stream: u32, error: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &error.to_be_bytes())
}

fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let setting = |(name, value): &(u16, u32)| [name.to_be_bytes().as_slice(), &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &settings.iter().flat_map(setting).collect::<Vec<_>>())
}

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, PAYLOAD)
}

fn goaway(error: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[0_u32.to_be_bytes(), error.to_be_bytes()].concat())
}

fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// A field of some length, for continuations.
fn dummy() -> Vec<u8> {
    block(&[("x-dummy", &"y".repeat(100))])
}
