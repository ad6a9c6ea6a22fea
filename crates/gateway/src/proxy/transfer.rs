//! One direction of an exchange.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::{
    end::End,
    head::Body,
    kept::Kept,
    pump::{Broken, Pump},
    relay::Relay,
    worker::Worker,
};

/// How a message gets from one end to the other.
#[derive(Debug)]
pub(super) enum Transfer {
    /// Between two ends of HTTP/1: what is read is written, without a copy.
    Direct(Pump),
    /// With HTTP/2 at either end.
    Relayed(Box<Relay>),
}

impl Transfer {
    /// Sends `head`, then a body that arrives as `body`, in chunks if `chunked`; `direct` if both ends speak HTTP/1.
    pub fn new(direct: bool, head: Vec<u8>, body: Body, chunked: bool) -> Self {
        if direct {
            Self::Direct(Pump::new(head, body, chunked))
        } else {
            Self::Relayed(Box::new(Relay::new(head, body, chunked)))
        }
    }

    /// Sends bytes as they arrive, until the source closes.
    pub fn raw(direct: bool) -> Self {
        Self::new(direct, Vec::new(), Body::UntilClose, false)
    }

    /// Prepares to send the same message once more, to another sink; `false` if some of the body is gone.
    pub fn rewind(&mut self) -> bool {
        match self {
            Self::Direct(pump) => pump.rewind(),
            Self::Relayed(relay) => relay.rewind(),
        }
    }

    /// Whether it could be sent once more.
    pub fn is_here(&self) -> bool {
        match self {
            Self::Direct(pump) => pump.is_here(),
            Self::Relayed(relay) => relay.is_here(),
        }
    }

    /// It will not be sent again.
    pub fn forget(&mut self) {
        if let Self::Relayed(relay) = self {
            relay.forget();
        }
    }

    /// The whole body, if it has arrived and was kept, or there is none.
    pub fn whole(&self) -> Option<&[Bytes]> {
        match self {
            Self::Direct(pump) => (pump.source_done() && pump.is_here()).then_some(&[]),
            Self::Relayed(relay) => relay.whole(),
        }
    }

    /// Sends `head`, then a body of which a copy is kept.
    pub fn keeping(head: Vec<u8>, body: Body, chunked: bool, kept: Option<Kept>) -> Self {
        let mut relay = Relay::new(head, body, chunked);
        relay.keep(kept);
        Self::Relayed(Box::new(relay))
    }

    /// Whether everything has arrived at the proxy.
    pub fn source_done(&self) -> bool {
        match self {
            Self::Direct(pump) => pump.source_done(),
            Self::Relayed(relay) => relay.source_done(),
        }
    }

    /// Whether it is the source that is waited for.
    pub fn is_starved(&self) -> bool {
        match self {
            Self::Direct(pump) => pump.is_starved(),
            Self::Relayed(relay) => relay.is_starved(),
        }
    }

    /// Whether the source is waited for, which may pause for as long as it likes.
    pub fn is_pausing(&self) -> bool {
        self.is_starved()
            && match self {
                Self::Direct(pump) => pump.is_open_ended(),
                Self::Relayed(relay) => relay.is_open_ended(),
            }
    }

    /// How many bytes of the body the sink has, without what frames them.
    pub fn moved(&self) -> u64 {
        match self {
            Self::Direct(pump) => pump.moved(),
            Self::Relayed(relay) => relay.moved(),
        }
    }

    /// Bytes of the head.
    pub fn head_length(&self) -> usize {
        match self {
            Self::Direct(pump) => pump.head.len(),
            Self::Relayed(relay) => relay.head.len(),
        }
    }

    /// The head's memory, to be used again when the message has been sent.
    pub fn take_head(&mut self) -> Vec<u8> {
        match self {
            Self::Direct(pump) => std::mem::take(&mut pump.head),
            Self::Relayed(relay) => std::mem::take(&mut relay.head),
        }
    }

    /// Moves what can be moved; ready when the sink has all of the message.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        source: &mut End<'_>,
        sink: &mut End<'_>,
    ) -> Poll<Result<(), Broken>> {
        match (self, source, sink) {
            (Self::Direct(pump), End::Http1(source), End::Http1(sink)) => pump.poll(cx, worker, source, sink),
            (Self::Relayed(relay), source, sink) => relay.poll(cx, worker, source, sink),
            // Only ends of HTTP/1 are joined directly.
            (Self::Direct(_), ..) => Poll::Ready(Err(Broken::Source)),
        }
    }
}
