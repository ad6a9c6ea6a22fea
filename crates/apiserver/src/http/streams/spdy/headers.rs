//! Header blocks: names and values, compressed with zlib as one stream for each direction of a connection (SPDY/3, section 2.6.10).

use std::sync::LazyLock;

use flate2::{Decompress, FlushDecompress};

use super::Error;

/// The most bytes that a block may have once it is unpacked.
const LARGEST: usize = 64 * 1024;
/// How much is unpacked at once.
const PIECE: usize = 4096;

/// The words of the dictionary that both sides begin with (section 2.6.10.1): each stands there behind its length.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age \
    allow authorization cache-control connection content-base content-encoding content-language content-length content-location \
    content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range \
    if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer \
    retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status \
    200_OK version HTTP/1.1 url public set-cookie keep-alive origin";
/// What follows the words.
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 \
    Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, \
    Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,\
    text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for word in WORDS.split_whitespace().map(|word| word.replace('_', " ")) {
        all.extend(u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
        all.extend(word.bytes());
    }
    all.extend(REST.bytes());
    all
});

/// Names, in lower case, and values.
pub(super) type Headers = Vec<(String, String)>;

/// Unpacks the blocks of one direction.
pub(super) struct Unpacker(Decompress);

impl Unpacker {
    pub fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// The headers of the next block.
    ///
    /// # Errors
    /// When it is no such block, or too large.
    pub fn read(&mut self, block: &[u8]) -> Result<Headers, Error> {
        let mut text = Vec::new();
        let start = self.0.total_in();
        loop {
            let consumed = usize::try_from(self.0.total_in() - start).unwrap_or(usize::MAX);
            let rest = block.get(consumed..).unwrap_or_default();
            let (before, had) = (text.len(), text.capacity());
            text.reserve(PIECE);
            match self.0.decompress_vec(rest, &mut text, FlushDecompress::Sync) {
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| Error::Headers("another dictionary"))?;
                    continue;
                }
                Err(_) => return Err(Error::Headers("they cannot be unpacked")),
            }
            if text.len() > LARGEST {
                return Err(Error::Headers("they are too large"));
            }
            let now = usize::try_from(self.0.total_in() - start).unwrap_or(usize::MAX);
            // What is unpacked fills the room there is, unless there is no more.
            let stuck = now == consumed && text.len() == before && text.capacity() == had.max(text.capacity());
            if now >= block.len() && text.len() < text.capacity() {
                return parse(&text);
            }
            if stuck {
                return Err(Error::Headers("they cannot be unpacked"));
            }
        }
    }
}

/// Reads a number of pairs, each part of which stands behind its length.
fn parse(mut text: &[u8]) -> Result<Headers, Error> {
    let wrong = || Error::Headers("they are cut off");
    let count = number(&mut text).ok_or_else(wrong)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let mut part = || {
            let length = number(&mut text)?;
            let (part, rest) = text.split_at_checked(length)?;
            text = rest;
            Some(String::from_utf8_lossy(part).into_owned())
        };
        headers.push((part().ok_or_else(wrong)?, part().ok_or_else(wrong)?));
    }
    Ok(headers)
}

fn number(text: &mut &[u8]) -> Option<usize> {
    let (head, rest) = text.split_first_chunk::<4>()?;
    *text = rest;
    usize::try_from(u32::from_be_bytes(*head)).ok()
}

/// Packs the blocks of one direction. They are stored rather than compressed: there is hardly anything in them.
pub(super) struct Packer {
    begun: bool,
}

impl Packer {
    pub fn new() -> Self {
        Self { begun: false }
    }

    /// The next block.
    pub fn write(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let length = |text: &str| u32::try_from(text.len()).unwrap_or_default().to_be_bytes();
        let mut text = Vec::from(u32::try_from(headers.len()).unwrap_or_default().to_be_bytes());
        for part in headers.iter().flat_map(|(name, value)| [name, value]) {
            text.extend(length(part));
            text.extend(part.bytes());
        }
        // The head of a zlib stream (RFC 1950) without a dictionary, then blocks of kind 0 (RFC 1951, section 3.2.4).
        let mut block = if self.begun { Vec::new() } else { vec![0x78, 0x01] };
        self.begun = true;
        // Readers give away what they have when they come to the empty block that ends each (what zlib calls a sync flush).
        for piece in text.chunks(usize::from(u16::MAX)).chain([&[][..]]) {
            let length = u16::try_from(piece.len()).unwrap_or_default();
            block.push(0);
            block.extend(length.to_le_bytes());
            block.extend((!length).to_le_bytes());
            block.extend(piece);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    #[test]
    fn the_dictionary_is_the_one_of_the_draft() {
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in DICTIONARY.iter() {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!((DICTIONARY.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    /// Blocks as clients pack them.
    struct Client(Compress);

    impl Client {
        fn new() -> Self {
            let mut compress = Compress::new(Compression::best(), true);
            compress.set_dictionary(&DICTIONARY).unwrap();
            Self(compress)
        }

        fn write(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
            let stored = Packer { begun: true }.write(headers);
            let mut out = Vec::with_capacity(stored.len() + 1024);
            self.0.compress_vec(&stored[5..stored.len() - 5], &mut out, FlushCompress::Sync).unwrap();
            out
        }
    }

    #[test]
    fn blocks_share_one_stream_that_begins_with_the_dictionary() {
        let (mut client, mut unpacker) = (Client::new(), Unpacker::new());
        for id in ["0", "1"] {
            let headers = [("streamtype", "data"), ("port", "8080"), ("requestid", id)];
            let expected: Headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(unpacker.read(&client.write(&headers)).unwrap(), expected);
        }
        let long = "x".repeat(30_000);
        assert_eq!(unpacker.read(&client.write(&[("a", &long)])).unwrap()[0].1, long);
    }

    #[test]
    fn what_is_packed_here_is_read_here_too() {
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
        assert_eq!(unpacker.read(&packer.write(&[])).unwrap(), Headers::new());
        assert_eq!(unpacker.read(&packer.write(&[("a", "b")])).unwrap(), [("a".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn a_block_that_unpacks_to_too_much_or_is_none_is_refused() {
        let huge = "x".repeat(1 << 20);
        assert!(Unpacker::new().read(&Client::new().write(&[("a", &huge)])).is_err());
        assert!(Unpacker::new().read(b"nonsense").is_err());
        assert!(Unpacker::new().read(b"").is_err());
        let mut cut = Packer::new().write(&[("a", "b")]);
        cut.truncate(12);
        assert!(Unpacker::new().read(&cut).is_err());
    }
}
