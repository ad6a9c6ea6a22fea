//! The chunked transfer coding (RFC 9112, 7.1), read strictly.

use std::mem;

use crate::proxy::head::fields::{self, Known};

/// More bytes of chunk extensions in one body than this are refused: they carry nothing, so a sender of many means ill.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Trailers longer than this are refused.
const MAX_TRAILERS: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first digit of a chunk's size.
    Start,
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer line.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

/// Reads chunks as they arrive, in pieces of any size.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// Of the current chunk, still to come.
    left: u64,
    extensions: usize,
    trailers: Vec<u8>,
}

/// What one call took in.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Taken {
    /// Bytes of input that are done with.
    pub consumed: usize,
    /// Bytes of body, moved to the front of the input.
    pub payload: usize,
}

impl Chunked {
    pub fn new() -> Self {
        Self { state: State::Start, left: 0, extensions: 0, trailers: Vec::new() }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// Whether there is a trailer section.
    pub fn has_trailers(&self) -> bool {
        !self.trailers.is_empty()
    }

    /// The trailer section's lines, each with its CRLF. Complete when the body is.
    pub fn take_trailers(&mut self) -> Vec<u8> {
        mem::take(&mut self.trailers)
    }

    /// Takes in what has arrived, and moves the body's bytes to the front of `input`.
    ///
    /// # Errors
    /// What is not chunked coding.
    pub fn decode(&mut self, input: &mut [u8]) -> Result<Taken, &'static str> {
        let (mut at, mut payload) = (0, 0);
        while self.state != State::End && at < input.len() {
            if self.state == State::Data {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                if at != payload {
                    input.copy_within(at..at + here, payload);
                }
                (at, payload, self.left) = (at + here, payload + here, self.left - here as u64);
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            let Some(byte) = input.get(at).copied() else { break };
            self.state = self.step(byte)?;
            at += 1;
        }
        Ok(Taken { consumed: at, payload })
    }

    /// One byte outside the data.
    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        match (self.state, byte) {
            (State::Start | State::Size, digit) if digit.is_ascii_hexdigit() => self.digit(digit),
            (State::Size | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Size, b';' | b' ' | b'\t') => Ok(State::Extension),
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extensions += 1;
                if self.extensions > MAX_EXTENSIONS { Err("too many chunk extensions") } else { Ok(State::Extension) }
            }
            (State::SizeLf, b'\n') if self.left > 0 => Ok(State::Data),
            (State::SizeLf, b'\n') => Ok(State::TrailerStart),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Start),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart | State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => {
                self.keep_trailer(byte)?;
                Ok(State::Trailer)
            }
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerLf, b'\n') => {
                self.trailers.extend_from_slice(b"\r\n");
                Ok(State::TrailerStart)
            }
            (State::EndLf, b'\n') => {
                check_trailers(&self.trailers)?;
                Ok(State::End)
            }
            (State::Start | State::Size, _) => Err("a chunk's size is not a number"),
            (State::Extension, _) => Err("a chunk extension has a control character"),
            (State::DataCr | State::DataLf, _) => Err("a chunk is longer than its size"),
            _ => Err("a line does not end in CRLF"),
        }
    }

    fn digit(&mut self, digit: u8) -> Result<State, &'static str> {
        let value = char::from(digit).to_digit(16).unwrap_or_default();
        let shifted = self.left.checked_mul(16).ok_or("a chunk's size is too large")?;
        self.left = shifted + u64::from(value);
        Ok(State::Size)
    }

    fn keep_trailer(&mut self, byte: u8) -> Result<(), &'static str> {
        if self.trailers.len() >= MAX_TRAILERS {
            return Err("trailers of more than 16 KiB");
        }
        self.trailers.push(byte);
        Ok(())
    }
}

/// Trailers are fields; those that would change how the message is read may not come late (RFC 9110, 6.5.1).
fn check_trailers(lines: &[u8]) -> Result<(), &'static str> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut section = lines.to_vec();
    section.extend_from_slice(b"\r\n");
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let parsed = httparse::parse_headers(&section, &mut fields).map_err(|_| "a trailer is not a header field")?;
    let httparse::Status::Complete((_, fields)) = parsed else { return Err("a trailer is not a header field") };
    let framing = |name: &str| !matches!(fields::known(name), Known::Other);
    if fields.iter().any(|f| framing(f.name) || f.name.eq_ignore_ascii_case("authorization")) {
        return Err("a trailer that may only be a header");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes pieces of at most `size` bytes.
    fn decode(input: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>, bool), &'static str> {
        let (mut chunked, mut body) = (Chunked::new(), Vec::new());
        for piece in input.chunks(size) {
            let mut piece = piece.to_vec();
            let taken = chunked.decode(&mut piece)?;
            body.extend_from_slice(&piece[..taken.payload]);
        }
        Ok((body, chunked.take_trailers(), chunked.is_done()))
    }

    #[test]
    fn chunks_trailers_and_extensions_are_read_whatever_the_pieces() {
        let input = b"5\r\nhello\r\n6;name=\"v\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n";
        for size in 1..=input.len() {
            assert_eq!(decode(input, size).unwrap(), (b"hello world".to_vec(), b"X-Sum: 1\r\n".to_vec(), true));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let cases: [&[u8]; 13] = [
            b"5\nhello\r\n",
            b"5;a\nhello\r\n",
            b"5;a\rb\nhello",
            b"\r\nhello",
            b"+5\r\nhello",
            b"0x5\r\nhello",
            b" 5\r\nhello",
            b"5\r\nhello!\r\n",
            b"5\r\nhello\n",
            b"fffffffffffffffff\r\n",
            b"0\r\nContent-Length: 5\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\nA: b\n\r\n",
        ];
        for case in cases {
            assert!(decode(case, case.len()).is_err(), "{}", String::from_utf8_lossy(case));
        }
    }

    proptest! {
        #[test]
        fn any_split_of_any_input_reads_the_same(input in "[0-9a-f;\r\n x:]{0,60}", size in 1..20usize) {
            prop_assert_eq!(decode(input.as_bytes(), size).ok(), decode(input.as_bytes(), 100).ok());
        }
    }
}
