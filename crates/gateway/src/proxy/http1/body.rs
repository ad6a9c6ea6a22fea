//! Bodies: how one arrives and how it is sent on.

use super::chunked::{Chunked, Taken};
use crate::proxy::head::Body;

/// Reads a body as it arrives.
#[derive(Debug)]
pub(in crate::proxy) enum Decoder {
    /// This many bytes are still to come.
    Length(u64),
    /// Chunks.
    Chunked(Box<ChunkedBody>),
    /// Until the sender closes.
    UntilClose,
}

/// See [`Decoder::Chunked`]; boxed because few bodies need it.
#[derive(Debug)]
pub(in crate::proxy) struct ChunkedBody(Chunked);

impl Decoder {
    pub fn new(body: Body) -> Self {
        match body {
            Body::None => Self::Length(0),
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunked(Box::new(ChunkedBody(Chunked::new()))),
            Body::UntilClose => Self::UntilClose,
        }
    }

    /// Whether all of it has arrived. A body that ends with its connection is never done by itself.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.0.is_done(),
            Self::UntilClose => false,
        }
    }

    /// Whether the sender may close now.
    pub fn may_end(&self) -> bool {
        matches!(self, Self::UntilClose) || self.is_done()
    }

    /// Takes in what has arrived; the body's bytes are at the front of `input` afterwards.
    ///
    /// # Errors
    /// What is wrong with the coding.
    pub fn decode(&mut self, input: &mut [u8]) -> Result<Taken, &'static str> {
        match self {
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= here as u64;
                Ok(Taken { consumed: here, payload: here })
            }
            Self::Chunked(chunked) => chunked.0.decode(input),
            Self::UntilClose => Ok(Taken { consumed: input.len(), payload: input.len() }),
        }
    }

    /// The trailers of a body that is done: lines with their CRLFs.
    pub fn take_trailers(&mut self) -> Vec<u8> {
        match self {
            Self::Chunked(chunked) => chunked.0.take_trailers(),
            Self::Length(_) | Self::UntilClose => Vec::new(),
        }
    }

    /// Whether trailers have followed the body.
    pub fn has_trailers(&self) -> bool {
        matches!(self, Self::Chunked(chunked) if chunked.0.has_trailers())
    }

    /// Bytes known to be still to come.
    pub fn left(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(_) | Self::UntilClose => 0,
        }
    }
}
