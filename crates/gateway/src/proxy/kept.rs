//! Copies of requests' bodies, for those that may have to be sent again or to somebody else as well.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;
use http::HeaderMap;

use super::{head::Body, http2::Piece};

/// Of one body; a longer one is not kept.
pub(super) const MAX_KEPT: usize = 64 * 1024;
/// Of all bodies in one worker.
const MAX_ALL: usize = 32 * 1024 * 1024;

/// Counts what a worker keeps.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Rc<Cell<usize>>);

/// What has arrived of one body.
#[derive(Debug)]
pub(super) struct Kept {
    pieces: Vec<Bytes>,
    length: usize,
    trailers: Option<HeaderMap>,
    /// Nothing follows.
    ended: bool,
    /// There was too much of it.
    lost: bool,
    /// The piece that is sent next when the body is sent again.
    next: usize,
    ledger: Ledger,
}

impl Ledger {
    /// An empty copy of a body that arrives as `body`, unless it is known to be too long.
    pub fn keep(&self, body: Body) -> Option<Kept> {
        let short = !matches!(body, Body::Length(length) if length > MAX_KEPT as u64);
        let ledger = self.clone();
        let (pieces, trailers) = (Vec::new(), None);
        short.then(|| Kept { pieces, length: 0, trailers, ended: false, lost: false, next: 0, ledger })
    }
}

impl Kept {
    /// Takes in a piece that has just arrived.
    pub fn add(&mut self, piece: &Piece) {
        match piece {
            Piece::End(trailers) => (self.ended, self.trailers) = (true, trailers.clone()),
            Piece::Data(data, last) => {
                let all = self.ledger.0.get() + data.len();
                if self.lost || self.length + data.len() > MAX_KEPT || all > MAX_ALL {
                    self.give_up();
                    return;
                }
                self.ledger.0.set(all);
                self.length += data.len();
                self.ended = *last;
                // HTTP/2 ends many a body with an empty piece.
                if !data.is_empty() {
                    self.pieces.push(data.clone());
                }
            }
        }
        self.next = self.pieces.len() + usize::from(self.ended);
    }

    fn give_up(&mut self) {
        self.ledger.0.set(self.ledger.0.get().saturating_sub(self.length));
        (self.lost, self.length) = (true, 0);
        self.pieces = Vec::new();
    }

    /// Whether all that has arrived is here.
    pub fn is_here(&self) -> bool {
        !self.lost
    }

    /// Whether nothing of it waits to be sent again.
    pub fn is_caught_up(&self) -> bool {
        self.lost || self.next >= self.pieces.len() + usize::from(self.ended)
    }

    /// Begins anew.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// The next piece of what arrived before.
    pub fn replay(&mut self) -> Option<Piece> {
        if self.is_caught_up() {
            return None;
        }
        self.next += 1;
        match self.pieces.get(self.next - 1) {
            Some(data) => Some(Piece::Data(data.clone(), false)),
            None => Some(Piece::End(self.trailers.clone())),
        }
    }

    /// The whole body, without trailers.
    pub fn whole(&self) -> Option<&[Bytes]> {
        (self.ended && !self.lost).then_some(self.pieces.as_slice())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(length: usize, last: bool) -> Piece {
        Piece::Data(vec![b'x'; length].into(), last)
    }

    #[test]
    fn a_body_is_replayed_from_its_beginning_as_often_as_needed() {
        let mut kept = Ledger::default().keep(Body::Chunked).unwrap();
        kept.add(&data(3, false));
        assert!(kept.replay().is_none() && kept.whole().is_none());
        for _ in 0..2 {
            kept.rewind();
            assert!(matches!(kept.replay(), Some(Piece::Data(data, false)) if data.len() == 3));
            assert!(kept.replay().is_none());
        }
        kept.add(&data(4, true));
        kept.rewind();
        assert!(matches!(kept.replay(), Some(Piece::Data(data, false)) if data.len() == 3));
        assert!(matches!(kept.replay(), Some(Piece::Data(data, false)) if data.len() == 4));
        assert!(matches!(kept.replay(), Some(Piece::End(None))));
        assert!(kept.replay().is_none());
    }

    #[test]
    fn an_empty_piece_only_ends_a_body() {
        let mut kept = Ledger::default().keep(Body::Chunked).unwrap();
        kept.add(&data(3, false));
        kept.add(&data(0, true));
        assert_eq!(kept.whole().unwrap().len(), 1);
    }

    #[test]
    fn what_is_too_long_is_not_kept_and_gives_its_room_back() {
        let ledger = Ledger::default();
        assert!(ledger.keep(Body::Length(MAX_KEPT as u64 + 1)).is_none());
        let mut kept = ledger.keep(Body::Length(10)).unwrap();
        kept.add(&data(MAX_KEPT, false));
        assert_eq!((kept.is_here(), ledger.0.get()), (true, MAX_KEPT));
        kept.add(&data(1, true));
        assert_eq!((kept.is_here(), ledger.0.get()), (false, 0));
        kept.rewind();
        assert!(kept.replay().is_none());
    }

    #[test]
    fn a_worker_keeps_no_more_than_its_share() {
        let ledger = Ledger::default();
        let mut all = Vec::new();
        for _ in 0..MAX_ALL / MAX_KEPT + 1 {
            let mut kept = ledger.keep(Body::Chunked).unwrap();
            kept.add(&data(MAX_KEPT, true));
            all.push(kept);
        }
        assert_eq!(all.iter().filter(|kept| kept.is_here()).count(), MAX_ALL / MAX_KEPT);
        drop(all);
        assert_eq!(ledger.0.get(), 0);
    }
}
