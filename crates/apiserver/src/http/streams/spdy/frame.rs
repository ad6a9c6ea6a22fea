//! SPDY/3.1's frames, out of bytes and into them. Data comes in pieces, so that no frame is held whole.

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::{
    Error,
    headers::{Headers, Packer, Unpacker},
};

/// The largest control frame taken, in bytes.
const LARGEST: usize = 64 * 1024;
/// The most data that is given or sent at once.
pub(super) const PIECE: usize = 32 * 1024;
/// The bytes in front of every frame.
const HEAD: usize = 8;
/// The flag that nothing follows on a stream.
const FIN: u8 = 1;
/// The setting of a stream's first window.
const INITIAL_WINDOW: u32 = 7;

/// Kinds of control frames.
mod kind {
    pub const SYN_STREAM: u16 = 1;
    pub const SYN_REPLY: u16 = 2;
    pub const RST_STREAM: u16 = 3;
    pub const SETTINGS: u16 = 4;
    pub const PING: u16 = 6;
    pub const GOAWAY: u16 = 7;
    pub const HEADERS: u16 = 8;
    pub const WINDOW_UPDATE: u16 = 9;
}

/// Why a stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    ProtocolError = 1,
    RefusedStream = 3,
    Cancel = 5,
}

/// What a peer sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// It opens a stream.
    Open { id: u32, headers: Headers, fin: bool },
    /// It sends further headers, or answers a stream that was never opened to it.
    Headers { id: u32, fin: bool },
    /// A piece of a stream.
    Data { id: u32, data: Bytes, fin: bool },
    /// It gives a stream up.
    Reset { id: u32 },
    /// How much it takes on each stream before it says more.
    Window(u32),
    /// It takes so much more, on a stream or (0) in all.
    Update { id: u32, more: u32 },
    /// It wants this back.
    Ping(u32),
    /// It opens no more streams.
    GoAway,
    /// Nothing that matters here.
    Other,
}

/// Data of which more is to come.
#[derive(Debug)]
struct Rest {
    id: u32,
    left: usize,
    fin: bool,
}

/// Reads frames.
pub(super) struct Frames {
    unpacker: Unpacker,
    rest: Option<Rest>,
}

impl Frames {
    pub fn new() -> Self {
        Self { unpacker: Unpacker::new(), rest: None }
    }

    fn data(&mut self, from: &mut BytesMut) -> Option<Frame> {
        let Rest { id, left, fin } = self.rest.as_mut()?;
        let count = from.len().min(*left).min(PIECE);
        if count == 0 && *left > 0 {
            return None;
        }
        *left -= count;
        let (id, last) = (*id, *left == 0);
        let frame = Frame::Data { id, data: from.split_to(count).freeze(), fin: last && *fin };
        if last {
            self.rest = None;
        }
        Some(frame)
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: &[u8]) -> Result<Frame, Error> {
        let fin = flags & FIN != 0;
        let mut number = || {
            let (head, rest) = body.split_first_chunk::<4>().ok_or(Error::Short)?;
            body = rest;
            Ok::<_, Error>(u32::from_be_bytes(*head))
        };
        Ok(match kind {
            kind::SYN_STREAM => {
                let (id, _associated) = (stream(number()?), number()?);
                // Priority and credentials.
                let block = body.get(2..).ok_or(Error::Short)?;
                Frame::Open { id, headers: self.unpacker.read(block)?, fin }
            }
            // Their headers mean nothing here, but the blocks behind them need what these leave behind.
            kind::SYN_REPLY | kind::HEADERS => {
                let id = stream(number()?);
                self.unpacker.read(body)?;
                Frame::Headers { id, fin }
            }
            kind::RST_STREAM => Frame::Reset { id: stream(number()?) },
            kind::SETTINGS => settings(body)?,
            kind::PING => Frame::Ping(number()?),
            kind::GOAWAY => Frame::GoAway,
            kind::WINDOW_UPDATE => Frame::Update { id: stream(number()?), more: stream(number()?) },
            _ => Frame::Other,
        })
    }
}

/// A number without its highest bit.
fn stream(number: u32) -> u32 {
    number & 0x7FFF_FFFF
}

fn settings(body: &[u8]) -> Result<Frame, Error> {
    let (count, entries) = body.split_first_chunk::<4>().ok_or(Error::Short)?;
    let count = usize::try_from(u32::from_be_bytes(*count)).unwrap_or(usize::MAX);
    let (entries, _) = entries.as_chunks::<8>();
    if entries.len() < count {
        return Err(Error::Short);
    }
    let window = entries.iter().take(count).rev().find_map(|[_flags, a, b, c, value @ ..]| {
        (u32::from_be_bytes([0, *a, *b, *c]) == INITIAL_WINDOW).then(|| stream(u32::from_be_bytes(*value)))
    });
    Ok(window.map_or(Frame::Other, Frame::Window))
}

impl Decoder for Frames {
    type Item = Frame;
    type Error = Error;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if self.rest.is_some() {
            return Ok(self.data(from));
        }
        let Some(&[a, b, c, d, flags, e, f, g]) = from.first_chunk::<HEAD>() else { return Ok(None) };
        let first = u32::from_be_bytes([a, b, c, d]);
        let length = usize::try_from(u32::from_be_bytes([0, e, f, g])).unwrap_or(usize::MAX);
        if first >> 31 == 0 {
            from.advance(HEAD);
            self.rest = Some(Rest { id: first, left: length, fin: flags & FIN != 0 });
            return Ok(self.data(from));
        }
        let [version, kind] = [first >> 16 & 0x7FFF, first & 0xFFFF];
        if version != 3 {
            return Err(Error::Version(version));
        }
        if length > LARGEST {
            return Err(Error::Large(length));
        }
        if from.len() < HEAD + length {
            from.reserve(HEAD + length - from.len());
            return Ok(None);
        }
        from.advance(HEAD);
        let body = from.split_to(length);
        self.control(u16::try_from(kind).unwrap_or_default(), flags, &body).map(Some)
    }
}

fn control(kind: u16, flags: u8, body: &[u8]) -> Bytes {
    let [_, a, b, c] = u32::try_from(body.len()).unwrap_or_default().to_be_bytes();
    let [d, e] = kind.to_be_bytes();
    [&[0x80, 3, d, e, flags, a, b, c], body].concat().into()
}

/// The answer to a stream that was opened.
pub(super) fn reply(id: u32, packer: &mut Packer) -> Bytes {
    control(kind::SYN_REPLY, 0, &[&id.to_be_bytes()[..], &packer.write(&[])].concat())
}

/// A piece of a stream, of at most [`PIECE`] bytes.
pub(super) fn data(id: u32, data: &[u8], fin: bool) -> Bytes {
    let [_, a, b, c] = u32::try_from(data.len()).unwrap_or_default().to_be_bytes();
    [&stream(id).to_be_bytes()[..], &[u8::from(fin), a, b, c], data].concat().into()
}

/// A stream is given up.
pub(super) fn reset(id: u32, status: Status) -> Bytes {
    control(kind::RST_STREAM, 0, &[id.to_be_bytes(), (status as u32).to_be_bytes()].concat())
}

/// What the peer wanted back.
pub(super) fn ping(id: u32) -> Bytes {
    control(kind::PING, 0, &id.to_be_bytes())
}

/// No more streams are taken after this one.
pub(super) fn go_away(last: u32, wrong: bool) -> Bytes {
    control(kind::GOAWAY, 0, &[last.to_be_bytes(), u32::from(wrong).to_be_bytes()].concat())
}

/// So much more is taken on a stream, or (0) in all.
pub(super) fn update(id: u32, more: u32) -> Bytes {
    control(kind::WINDOW_UPDATE, 0, &[id.to_be_bytes(), more.to_be_bytes()].concat())
}

/// As a client opens a stream.
#[cfg(test)]
pub(super) fn open(id: u32, headers: &[(&str, &str)], packer: &mut Packer) -> Bytes {
    control(kind::SYN_STREAM, 0, &[&id.to_be_bytes()[..], &[0; 6], &packer.write(headers)].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Frame>, Error> {
        let (mut frames, mut buffer, mut found) = (Frames::new(), BytesMut::new(), Vec::new());
        let (mut bytes, mut cuts) = (bytes, cuts.iter().cycle());
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(cuts.next().copied().unwrap_or(1).clamp(1, bytes.len()));
            buffer.extend_from_slice(piece);
            bytes = rest;
            while let Some(frame) = frames.decode(&mut buffer)? {
                found.push(frame);
            }
        }
        Ok(found)
    }

    /// Pieces of data as one, since where they are cut does not matter.
    fn joined(frames: Vec<Frame>) -> Vec<Frame> {
        let mut all: Vec<Frame> = Vec::new();
        for frame in frames {
            match (all.last_mut(), frame) {
                (Some(Frame::Data { id, data, fin }), Frame::Data { id: next, data: more, fin: end })
                    if *id == next && !*fin =>
                {
                    *data = [&data[..], &more[..]].concat().into();
                    *fin = end;
                }
                (_, frame) => all.push(frame),
            }
        }
        all
    }

    #[test]
    fn every_frame_reads_as_it_is_written() {
        let mut packer = Packer::new();
        let settings = control(kind::SETTINGS, 0, &[&[0, 0, 0, 1][..], &[1, 0, 0, 7, 0, 1, 0, 0]].concat());
        let bytes = [
            open(1, &[("streamtype", "error")], &mut packer),
            data(1, b"abc", true),
            settings,
            update(1, 7),
            ping(5),
            reset(1, Status::Cancel),
            control(10, 0, b"?"),
            go_away(1, false),
        ]
        .concat();
        let headers = vec![("streamtype".to_owned(), "error".to_owned())];
        let expected = vec![
            Frame::Open { id: 1, headers, fin: false },
            Frame::Data { id: 1, data: "abc".into(), fin: true },
            Frame::Window(65536),
            Frame::Update { id: 1, more: 7 },
            Frame::Ping(5),
            Frame::Reset { id: 1 },
            Frame::Other,
            Frame::GoAway,
        ];
        assert_eq!(joined(read(&bytes, &[1]).unwrap()), expected);
        assert_eq!(joined(read(&bytes, &[bytes.len()]).unwrap()), expected);
    }

    #[test]
    fn what_is_too_large_cut_off_or_of_another_version_is_an_error() {
        assert_eq!(read(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1], &[99]), Err(Error::Version(2)));
        assert_eq!(read(&[0x80, 3, 0, 1, 0, 1, 0, 1], &[99]), Err(Error::Large(65537)));
        assert_eq!(read(&[0x80, 3, 0, 3, 0, 0, 0, 2, 0, 0], &[99]), Err(Error::Short));
        assert_eq!(read(&[0x80, 3, 0, 4, 0, 0, 0, 4, 0, 0, 0, 9], &[99]), Err(Error::Short));
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_does_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(1..40_usize, 1..9)) {
            let framed = [&data(3, &bytes, false)[..], &ping(1), &data(3, &bytes, true)].concat();
            prop_assert_eq!(joined(read(&framed, &cuts).unwrap()), joined(read(&framed, &[framed.len()]).unwrap()));
            prop_assert_eq!(read(&bytes, &cuts).is_ok(), read(&bytes, &[bytes.len().max(1)]).is_ok());
        }
    }
}
