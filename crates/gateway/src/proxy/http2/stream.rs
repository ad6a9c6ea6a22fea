//! One stream: a request and its response among others on the same connection.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use http::{HeaderMap, Response};

/// A stream, seen from the client's end or from the endpoint's.
#[derive(Debug)]
pub(in crate::proxy) struct Stream {
    /// What the other party sends: the body, then trailers.
    received: Option<RecvStream>,
    /// What is sent to it.
    sent: Option<SendStream<Bytes>>,
    /// To a client: its response, until it has begun.
    respond: Option<SendResponse<Bytes>>,
    /// From an endpoint: its response, until it has begun.
    response: Option<ResponseFuture>,
    /// Bytes that were taken from the other party and are not yet passed on: it may send as many again when they are.
    owed: usize,
    /// Reads and writes that moved something.
    pub moved: u64,
}

/// What an endpoint says first.
#[derive(Debug)]
pub(in crate::proxy) enum Said {
    /// `1xx`: more will come.
    Interim(Response<()>),
    /// The response; `true` if it has no body.
    Response(Response<()>, bool),
}

/// A piece of a message's body.
#[derive(Debug)]
pub(in crate::proxy) enum Piece {
    /// Bytes; `true` if nothing follows them.
    Data(Bytes, bool),
    /// The end, perhaps with trailers.
    End(Option<HeaderMap>),
}

impl Stream {
    /// A client's request that is to be answered.
    pub fn of_client(received: RecvStream, respond: SendResponse<Bytes>) -> Self {
        let (received, respond) = (Some(received), Some(respond));
        Self { received, sent: None, respond, response: None, owed: 0, moved: 0 }
    }

    /// A request that has been sent to an endpoint.
    pub fn of_endpoint(sent: SendStream<Bytes>, response: ResponseFuture) -> Self {
        let (sent, response) = (Some(sent), Some(response));
        Self { received: None, sent, respond: None, response, owed: 0, moved: 0 }
    }

    /// Waits for what an endpoint says.
    pub fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<Result<Said, h2::Error>> {
        let Some(response) = &mut self.response else { return Poll::Pending };
        if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            self.moved += 1;
            return Poll::Ready(interim.map(Said::Interim));
        }
        let (head, received) = ready!(std::pin::Pin::new(response).poll(cx))?.into_parts();
        self.moved += 1;
        self.response = None;
        let empty = received.is_end_stream();
        self.received = Some(received);
        Poll::Ready(Ok(Said::Response(Response::from_parts(head, ()), empty)))
    }

    /// Sends a client an interim response; it may do without.
    pub fn inform(&mut self, response: Response<()>) {
        if let Some(respond) = &mut self.respond {
            _ = respond.send_informational(response);
        }
    }

    /// Sends a client its response's head.
    ///
    /// # Errors
    /// The client has gone away.
    pub fn respond(&mut self, response: Response<()>, end: bool) -> Result<(), h2::Error> {
        if let Some(mut respond) = self.respond.take() {
            self.sent = Some(respond.send_response(response, end)?);
            self.moved += 1;
        }
        Ok(())
    }

    /// The next piece of the other party's message.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, h2::Error>> {
        let Some(received) = &mut self.received else { return Poll::Ready(Ok(Piece::End(None))) };
        match ready!(received.poll_data(cx)) {
            Some(Ok(data)) => {
                self.moved += 1;
                self.owed += data.len();
                let last = received.is_end_stream();
                Poll::Ready(Ok(Piece::Data(data, last)))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(Piece::End(ready!(received.poll_trailers(cx))?))),
        }
    }

    /// What was taken has been passed on: the other party may send more.
    pub fn passed_on(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        if let Some(received) = self.received.as_mut().filter(|_| owed > 0) {
            // It fails only if the stream is over.
            _ = received.flow_control().release_capacity(owed);
        }
    }

    /// Sends as much of `data` as the other party takes; ready when that is all. `last` says that nothing follows.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes, last: bool) -> Poll<io::Result<()>> {
        while !data.is_empty() {
            let Some(sent) = &mut self.sent else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
            sent.reserve_capacity(data.len());
            let room = sent.capacity();
            if room == 0 {
                match ready!(sent.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            let piece = data.split_to(room.min(data.len()));
            sent.send_data(piece, last && data.is_empty()).map_err(to_io)?;
            self.moved += 1;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the message that is sent.
    ///
    /// # Errors
    /// The other party has gone away.
    pub fn end(&mut self, trailers: Option<HeaderMap>) -> io::Result<()> {
        let Some(sent) = &mut self.sent else { return Ok(()) };
        match trailers.filter(|trailers| !trailers.is_empty()) {
            Some(trailers) => sent.send_trailers(trailers).map_err(to_io),
            None => sent.send_data(Bytes::new(), true).map_err(to_io),
        }
    }

    /// Whether the other party has given up.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (&mut self.respond, &mut self.sent) {
            (Some(respond), _) => respond.poll_reset(cx).map(drop),
            (None, Some(sent)) => sent.poll_reset(cx).map(drop),
            (None, None) => Poll::Pending,
        }
    }

    /// Gives up: what has been sent is not all.
    pub fn reset(&mut self, reason: Reason) {
        if let Some(respond) = &mut self.respond {
            respond.send_reset(reason);
        } else if let Some(sent) = &mut self.sent {
            sent.send_reset(reason);
        }
    }
}

/// Whether an endpoint says that it has done nothing with a request (RFC 9113, 8.7).
pub(in crate::proxy) fn is_refusal(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

/// An error of HTTP/2 as one of the stream that carries it.
pub(in crate::proxy) fn to_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::other(error)
}
