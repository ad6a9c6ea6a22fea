//! Sections 3 to 5: the preface, frames in general, the states of streams.

use super::{
    CANCEL, COMPRESSION, Case, END_HEADERS, END_STREAM, Expected, FRAME_SIZE, INITIAL_WINDOW_SIZE, PAYLOAD, PING,
    PREFACE, PRIORITISED, PROTOCOL, REFUSED, STREAM_CLOSED, Step, WHOLE, case, continuation, data, dependency, dummy,
    frame, get, headers, ping, post, priority, reset, sending, settings, window_update,
};
use Expected::{Answer, Closed, ConnectionError, Instead, Pong, StreamError};

pub fn cases() -> Vec<Case> {
    [beginning(), formats(), states(), identifiers(), errors()].into_iter().flatten().collect()
}

#[test]
fn the_preface_and_the_states_of_streams_are_kept() {
    super::check(cases());
}

fn whole() -> Vec<u8> {
    headers(1, WHOLE, &get())
}

fn beginning() -> Vec<Case> {
    let preface = Step::Send([PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, 65_535)])].concat());
    let none = Step::Send(b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec());
    vec![
        Case { name: "http2/3.5/1", begun: false, steps: vec![preface], expected: Expected::Settings },
        // To the proxy this is HTTP/1.1, and refused as such.
        Case { name: "http2/3.5/2", begun: false, steps: vec![none], expected: Closed },
    ]
}

fn formats() -> Vec<Case> {
    let asked = headers(1, END_HEADERS, &post());
    let (first, rest) = (get(), dummy());
    vec![
        sending("http2/4.1/1", &[frame(0x16, 0, 0, &[0; 8]), ping()], Pong),
        sending("http2/4.1/2", &[frame(PING, 0x16, 0, PAYLOAD)], Pong),
        sending("http2/4.1/3", &[frame(PING, 0x16, 1 << 31, PAYLOAD)], Pong),
        sending("http2/4.2/1", &[asked.clone(), data(1, END_STREAM, &[b'x'; 16_384])], Answer("POST / ")),
        sending("http2/4.2/2", &[asked, data(1, END_STREAM, &[b'x'; 16_385])], StreamError(&[FRAME_SIZE])),
        sending(
            "http2/4.2/3",
            &[headers(1, WHOLE, &[first.clone(), rest.repeat(160)].concat())],
            ConnectionError(&[FRAME_SIZE]),
        ),
        sending("http2/4.3/1", &[headers(1, WHOLE, &[0x40])], Instead(COMPRESSION)),
        sending(
            "http2/4.3/2",
            &[headers(1, 0, &first), priority(1, 0, false, 255), continuation(1, END_HEADERS, &rest)],
            ConnectionError(&[PROTOCOL]),
        ),
        sending(
            "http2/4.3/3",
            &[headers(1, 0, &first), headers(3, WHOLE, &first), continuation(1, END_HEADERS, &rest)],
            ConnectionError(&[PROTOCOL]),
        ),
    ]
}

fn states() -> Vec<Case> {
    let cancelled = [headers(1, END_HEADERS, &get()), reset(1, CANCEL)].concat();
    // The stream is closed when both ends have said that they are done.
    let after_all =
        |name, bytes, expected| case(name, vec![Step::Send(whole()), Step::Ended, Step::Send(bytes)], expected);
    vec![
        sending("http2/5.1/1", &[data(1, END_STREAM, b"test")], StreamError(&[PROTOCOL, STREAM_CLOSED])),
        sending("http2/5.1/2", &[reset(1, CANCEL)], ConnectionError(&[PROTOCOL])),
        sending("http2/5.1/3", &[window_update(1, 100)], ConnectionError(&[PROTOCOL])),
        sending("http2/5.1/4", &[continuation(1, END_HEADERS, &get())], ConnectionError(&[PROTOCOL])),
        sending("http2/5.1/5", &[whole(), data(1, END_STREAM, b"test")], Instead(STREAM_CLOSED)),
        sending("http2/5.1/6", &[whole(), whole()], Instead(STREAM_CLOSED)),
        sending(
            "http2/5.1/7",
            &[whole(), continuation(1, END_HEADERS, &get())],
            StreamError(&[STREAM_CLOSED, PROTOCOL]),
        ),
        sending("http2/5.1/8", &[cancelled.clone(), data(1, END_STREAM, b"test")], StreamError(&[STREAM_CLOSED])),
        sending("http2/5.1/9", &[cancelled.clone(), whole()], Instead(STREAM_CLOSED)),
        sending(
            "http2/5.1/10",
            &[cancelled, continuation(1, END_HEADERS, &dummy())],
            StreamError(&[STREAM_CLOSED, PROTOCOL]),
        ),
        after_all("http2/5.1/11", data(1, END_STREAM, b"test"), StreamError(&[STREAM_CLOSED])),
        after_all("http2/5.1/12", whole(), Instead(STREAM_CLOSED)),
        after_all("http2/5.1/13", continuation(1, END_HEADERS, &dummy()), ConnectionError(&[STREAM_CLOSED, PROTOCOL])),
    ]
}

fn identifiers() -> Vec<Case> {
    let opened = |count: u32| (0..count).map(|number| headers(number * 2 + 1, WHOLE, &get()));
    let too_many: Vec<_> = [settings(&[(INITIAL_WINDOW_SIZE, 0)])].into_iter().chain(opened(129)).collect();
    let own = [dependency(1, false, 255), get()].concat();
    vec![
        sending("http2/5.1.1/1", &[headers(2, WHOLE, &get())], ConnectionError(&[PROTOCOL])),
        sending("http2/5.1.1/2", &[headers(5, WHOLE, &get()), headers(3, WHOLE, &get())], ConnectionError(&[PROTOCOL])),
        sending("http2/5.1.2/1", &too_many, StreamError(&[PROTOCOL, REFUSED])),
        sending("http2/5.3.1/1", &[headers(1, WHOLE | PRIORITISED, &own)], StreamError(&[PROTOCOL])),
        sending("http2/5.3.1/2", &[priority(1, 1, false, 255)], StreamError(&[PROTOCOL])),
    ]
}

fn errors() -> Vec<Case> {
    let unknown = || frame(0x16, 0, 0, &[0; 8]);
    vec![
        sending("http2/5.4.1/1", &[frame(PING, 0, 3, PAYLOAD)], Closed),
        sending("http2/5.4.1/2", &[frame(PING, 0, 3, PAYLOAD)], ConnectionError(&[PROTOCOL])),
        sending("http2/5.5/1", &[unknown(), ping()], Pong),
        sending("http2/5.5/2", &[headers(1, END_STREAM, &get()), unknown()], ConnectionError(&[PROTOCOL])),
    ]
}
