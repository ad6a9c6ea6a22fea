//! Section 6: the kinds of frames.

use super::{
    ACK, CANCEL, Case, ENABLE_PUSH, END_HEADERS, END_STREAM, Expected, FLOW_CONTROL, FRAME_SIZE, GOAWAY,
    INITIAL_WINDOW_SIZE, LARGEST, MAX_FRAME_SIZE, PADDED, PAYLOAD, PING, PRIORITY, PROTOCOL, RST_STREAM, SETTINGS,
    STREAM_CLOSED, Step, WHOLE, WINDOW_UPDATE, block, case, continuation, data, dummy, frame, get, headers, ping, post,
    priority, reset, sending, settings, window_update,
};
use Expected::{Acknowledged, Answer, ConnectionError, Data, Instead, Pong, Reset, StreamError};

pub fn cases() -> Vec<Case> {
    [requests(), priorities_and_resets(), settings_frames(), pings(), windows(), initial_windows(), continuations()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn frames_are_what_they_must_be() {
    super::check(cases());
}

fn whole() -> Vec<u8> {
    headers(1, WHOLE, &get())
}

fn requests() -> Vec<Case> {
    let asked = headers(1, END_HEADERS, &[post(), block(&[("content-length", "4")])].concat());
    let block = get();
    // A byte more than there is.
    let padded = [&[u8::try_from(block.len() + 2).unwrap()], block.as_slice()].concat();
    vec![
        sending("http2/6.1/1", &[data(0, END_STREAM, b"test")], ConnectionError(&[PROTOCOL])),
        sending("http2/6.1/2", &[headers(1, WHOLE, &post()), data(1, END_STREAM, b"test")], Instead(STREAM_CLOSED)),
        sending("http2/6.1/3", &[asked, data(1, END_STREAM | PADDED, b"\x06Test")], ConnectionError(&[PROTOCOL])),
        sending(
            "http2/6.2/1",
            &[headers(1, 0, &block), priority(1, 0, false, 255), continuation(1, END_HEADERS, &dummy())],
            ConnectionError(&[PROTOCOL]),
        ),
        sending(
            "http2/6.2/2",
            &[headers(1, 0, &block), headers(3, WHOLE, &block), continuation(1, END_HEADERS, &dummy())],
            ConnectionError(&[PROTOCOL]),
        ),
        sending("http2/6.2/3", &[headers(0, WHOLE, &block)], ConnectionError(&[PROTOCOL])),
        sending("http2/6.2/4", &[headers(1, WHOLE | PADDED, &padded)], ConnectionError(&[PROTOCOL])),
    ]
}

fn priorities_and_resets() -> Vec<Case> {
    vec![
        sending("http2/6.3/1", &[priority(0, 0, false, 255)], ConnectionError(&[PROTOCOL])),
        sending("http2/6.3/2", &[whole(), frame(PRIORITY, 0, 1, b"\x80\0\0\x01")], Instead(FRAME_SIZE)),
        sending("http2/6.4/1", &[reset(0, CANCEL)], ConnectionError(&[PROTOCOL])),
        sending("http2/6.4/2", &[reset(1, CANCEL)], ConnectionError(&[PROTOCOL])),
        sending("http2/6.4/3", &[whole(), frame(RST_STREAM, 0, 1, &[0; 3])], Instead(FRAME_SIZE)),
    ]
}

fn settings_frames() -> Vec<Case> {
    let refused = |name, setting, error| sending(name, &[settings(&[setting])], ConnectionError(error));
    let twice = settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)]);
    vec![
        sending("http2/6.5/1", &[frame(SETTINGS, ACK, 0, &[0])], Instead(FRAME_SIZE)),
        sending("http2/6.5/2", &[frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])], ConnectionError(&[PROTOCOL])),
        sending("http2/6.5/3", &[frame(SETTINGS, 0, 0, &[0, 3, 0])], Instead(FRAME_SIZE)),
        refused("http2/6.5.2/1", (ENABLE_PUSH, 2), &[PROTOCOL]),
        sending("http2/6.5.2/2", &[settings(&[(INITIAL_WINDOW_SIZE, LARGEST + 1)])], Instead(FLOW_CONTROL)),
        refused("http2/6.5.2/3", (MAX_FRAME_SIZE, 16_383), &[PROTOCOL]),
        refused("http2/6.5.2/4", (MAX_FRAME_SIZE, 1 << 24), &[PROTOCOL]),
        sending("http2/6.5.2/5", &[settings(&[(0xff, 1)]), ping()], Pong),
        case("http2/6.5.3/1", vec![Step::Send(twice), Step::Acknowledged, Step::Send(whole())], Data(1)),
        sending("http2/6.5.3/2", &[settings(&[(ENABLE_PUSH, 0)])], Acknowledged),
    ]
}

fn pings() -> Vec<Case> {
    vec![
        sending("http2/6.7/1", &[ping()], Pong),
        sending("http2/6.7/2", &[frame(PING, ACK, 0, b"not this"), ping()], Pong),
        sending("http2/6.7/3", &[frame(PING, 0, 1, PAYLOAD)], ConnectionError(&[PROTOCOL])),
        sending("http2/6.7/4", &[frame(PING, 0, 0, &[0; 6])], Instead(FRAME_SIZE)),
        sending("http2/6.8/1", &[frame(GOAWAY, 0, 1, &[0; 8])], ConnectionError(&[PROTOCOL])),
    ]
}

fn windows() -> Vec<Case> {
    let open = headers(1, END_HEADERS, &get());
    let one = settings(&[(INITIAL_WINDOW_SIZE, 1)]);
    vec![
        sending("http2/6.9/1", &[window_update(0, 0)], ConnectionError(&[PROTOCOL])),
        sending("http2/6.9/2", &[open.clone(), window_update(1, 0)], StreamError(&[PROTOCOL])),
        sending("http2/6.9/3", &[frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])], Instead(FRAME_SIZE)),
        case("http2/6.9.1/1", vec![Step::Send(one), Step::Acknowledged, Step::Send(whole())], Data(1)),
        sending(
            "http2/6.9.1/2",
            &[window_update(0, LARGEST), window_update(0, LARGEST)],
            ConnectionError(&[FLOW_CONTROL]),
        ),
        sending("http2/6.9.1/3", &[open, window_update(1, LARGEST), window_update(1, LARGEST)], Reset(FLOW_CONTROL)),
    ]
}

fn initial_windows() -> Vec<Case> {
    let window = |size| Step::Send(settings(&[(INITIAL_WINDOW_SIZE, size)]));
    vec![
        case("http2/6.9.2/1", vec![window(0), Step::Acknowledged, Step::Send(whole()), window(1)], Data(1)),
        case(
            "http2/6.9.2/2",
            vec![
                window(3),
                Step::Acknowledged,
                Step::Send(whole()),
                Step::Data,
                // Now it is one less than nothing.
                window(2),
                Step::Acknowledged,
                Step::Send(window_update(1, 2)),
            ],
            Data(1),
        ),
        sending("http2/6.9.2/3", &[frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])], Instead(FLOW_CONTROL)),
    ]
}

fn continuations() -> Vec<Case> {
    let (begun, more) = (headers(1, END_STREAM, &get()), dummy());
    let open = headers(1, 0, &post());
    vec![
        sending(
            "http2/6.10/1",
            &[begun.clone(), continuation(1, 0, &more), continuation(1, END_HEADERS, &more)],
            Answer("x-dummy: "),
        ),
        sending(
            "http2/6.10/2",
            &[open.clone(), continuation(1, 0, &more), data(1, END_STREAM, b"test")],
            ConnectionError(&[PROTOCOL]),
        ),
        sending("http2/6.10/3", &[begun.clone(), continuation(0, END_HEADERS, &more)], ConnectionError(&[PROTOCOL])),
        sending("http2/6.10/4", &[whole(), continuation(1, END_HEADERS, &more)], ConnectionError(&[PROTOCOL])),
        sending(
            "http2/6.10/5",
            &[begun, continuation(1, END_HEADERS, &more), continuation(1, END_HEADERS, &more)],
            ConnectionError(&[PROTOCOL]),
        ),
        sending(
            "http2/6.10/6",
            &[open, data(1, END_STREAM, b"test"), continuation(1, 0, &more), continuation(0, END_HEADERS, &more)],
            ConnectionError(&[PROTOCOL]),
        ),
    ]
}
