//! What every server must be able to do.

use super::{
    Case, END_HEADERS, END_STREAM, Expected, INITIAL_WINDOW_SIZE, PADDED, PREFACE, PRIORITISED, Step, WHOLE, block,
    case, continuation, data, dependency, goaway, headers, ping, post, priority, pseudo, reset, sending, settings,
    window_update,
};
use Expected::{Acknowledged, Answer, Data, Pong};

pub fn cases() -> Vec<Case> {
    [streams(), kinds_of_frames(), messages(), compression()].into_iter().flatten().collect()
}

#[test]
fn every_server_can_do_this() {
    super::check(cases());
}

fn get() -> Vec<u8> {
    headers(1, WHOLE, &super::get())
}

/// A request whose response cannot be sent before the window is opened.
fn held() -> Vec<u8> {
    [settings(&[(INITIAL_WINDOW_SIZE, 0)]), get()].concat()
}

fn streams() -> Vec<Case> {
    let preface = Step::Send([PREFACE, &settings(&[(INITIAL_WINDOW_SIZE, 65_535)])].concat());
    vec![
        Case { name: "generic/1/1", begun: false, steps: vec![preface], expected: Expected::Settings },
        sending("generic/2/1", &[priority(1, 0, false, 255), ping()], Pong),
        sending("generic/2/2", &[held(), window_update(1, 1)], Data(1)),
        sending("generic/2/3", &[held(), priority(1, 0, false, 255), window_update(1, 1)], Data(1)),
        sending("generic/2/4", &[get(), reset(1, super::CANCEL), ping()], Pong),
        case(
            "generic/2/5",
            vec![Step::Send(get()), Step::Ended, Step::Send([priority(1, 0, false, 255), ping()].concat())],
            Pong,
        ),
    ]
}

fn kinds_of_frames() -> Vec<Case> {
    let asked = headers(1, END_HEADERS, &post());
    let block = super::get();
    let padded = [&[8], block.as_slice(), &[0; 8]].concat();
    let prioritised = [dependency(0, false, 255), block.clone()].concat();
    let two = settings(&[(1, 4096), (2, 1), (3, 100), (INITIAL_WINDOW_SIZE, 65_535), (5, 16_384), (6, 100)]);
    vec![
        sending("generic/3.1/1", &[asked.clone(), data(1, END_STREAM, b"test")], Answer("POST / ")),
        sending(
            "generic/3.1/2",
            &[asked.clone(), data(1, 0, b"test"), data(1, END_STREAM, b"test")],
            Answer("POST / "),
        ),
        sending(
            "generic/3.1/3",
            &[asked.clone(), data(1, END_STREAM | PADDED, b"\x05test\0\0\0\0\0")],
            Answer("POST / "),
        ),
        sending("generic/3.2/1", &[get()], Answer("GET / ")),
        sending("generic/3.2/2", &[headers(1, WHOLE | PADDED, &padded)], Answer("GET / ")),
        sending("generic/3.2/3", &[headers(1, WHOLE | PRIORITISED, &prioritised)], Answer("GET / ")),
        sending("generic/3.3/1", &[priority(1, 0, false, 0), get()], Answer("GET / ")),
        sending("generic/3.3/2", &[priority(1, 0, false, 255), get()], Answer("GET / ")),
        sending("generic/3.3/3", &[priority(3, 1, false, 0), get()], Answer("GET / ")),
        sending("generic/3.3/4", &[priority(1, 0, true, 0), get()], Answer("GET / ")),
        sending("generic/3.3/5", &[priority(3, 0, false, 255), get()], Answer("GET / ")),
        sending("generic/3.4/1", &[headers(1, END_HEADERS, &block), reset(1, super::CANCEL), ping()], Pong),
        sending("generic/3.5/1", &[two], Acknowledged),
        sending("generic/3.7/1", &[ping()], Pong),
        sending("generic/3.8/1", &[goaway(0), ping()], Pong),
        sending("generic/3.9/1", &[window_update(0, 1), ping()], Pong),
        sending("generic/3.9/2", &[get(), window_update(1, 1)], Answer("GET / ")),
        sending(
            "generic/3.10/1",
            &[headers(1, END_STREAM, &block[..5]), continuation(1, END_HEADERS, &block[5..])],
            Answer("GET / "),
        ),
        sending(
            "generic/3.10/2",
            &[
                headers(1, END_STREAM, &block[..5]),
                continuation(1, 0, &block[5..10]),
                continuation(1, END_HEADERS, &block[10..]),
            ],
            Answer("GET / "),
        ),
    ]
}

fn messages() -> Vec<Case> {
    let asked = headers(1, END_HEADERS, &post());
    let announced = [post(), block(&[("trailer", "x-test")])].concat();
    let trailers = headers(1, WHOLE, &block(&[("x-test", "ok")]));
    vec![
        sending("generic/4/1", &[get()], Answer("GET / ")),
        sending("generic/4/2", &[headers(1, WHOLE, &pseudo("HEAD", "/"))], Answer("")),
        sending("generic/4/3", &[asked, data(1, END_STREAM, b"test")], Answer("POST / ")),
        sending(
            "generic/4/4",
            &[headers(1, END_HEADERS, &announced), data(1, 0, b"test"), trailers],
            Answer("x-test: ok"),
        ),
    ]
}

/// `user-agent` and `x-test` in Huffman code, and `h2spec` (RFC 7541, appendix B).
const AGENT: &[u8] = b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93";
const TEST: &[u8] = b"\x85\xf2\xb2\x4a\x84\xff";
const VALUE: &[u8] = b"\x84\x9c\x48\xac\xa4";

/// Every representation of a field (RFC 7541, 6), which arrives as what it stands for.
fn compression() -> Vec<Case> {
    let with = |name, representation: &[&[u8]], seen| {
        let block = [super::get(), representation.concat()].concat();
        sending(name, &[headers(1, WHOLE, &block)], Answer(seen))
    };
    let after =
        |name, update: &[u8]| sending(name, &[headers(1, WHOLE, &[update, &super::get()].concat())], Answer("GET / "));
    let (agent, test) = ("user-agent: h2spec\r\n", "x-test: h2spec\r\n");
    vec![
        // The static table's entry 58, whose value is empty.
        with("generic/5/1", &[b"\xba"], "user-agent: \r\n"),
        with("generic/5/2", &[b"\x40", AGENT, VALUE], agent),
        with("generic/5/3", &[b"\x40\x0auser-agent\x06h2spec"], agent),
        with("generic/5/4", &[b"\x40\x06x-test\x06h2spec"], test),
        with("generic/5/5", &[b"\x40", TEST, VALUE], test),
        with("generic/5/6", &[b"\x00\x0auser-agent\x06h2spec"], agent),
        with("generic/5/7", &[b"\x00", AGENT, VALUE], agent),
        with("generic/5/8", &[b"\x00\x06x-test\x06h2spec"], test),
        with("generic/5/9", &[b"\x00", TEST, VALUE], test),
        with("generic/5/10", &[b"\x10\x0auser-agent\x06h2spec"], agent),
        with("generic/5/11", &[b"\x10", AGENT, VALUE], agent),
        with("generic/5/12", &[b"\x10\x06x-test\x06h2spec"], test),
        with("generic/5/13", &[b"\x10", TEST, VALUE], test),
        // To 128, and to 128 and back to 4,096.
        after("generic/5/14", b"\x3f\x61"),
        after("generic/5/15", b"\x3f\x61\x3f\xe1\x1f"),
    ]
}
