//! The head of an endpoint's response, as the client gets it.

use http::{StatusCode, header::SEC_WEBSOCKET_ACCEPT};

use super::{
    end::End,
    exchange::Failure,
    head::{Body, Response, Version},
    message::{self, Connection},
    route::{Facts, Request},
    transfer::Transfer,
    worker::Worker,
};
use crate::observe::Flag;

/// What a response is answered to.
pub(super) struct Reply<'a> {
    worker: &'a Worker,
    request: &'a Request,
    facts: &'a Facts,
    closing: bool,
    from_http1: bool,
}

/// A head that is on its way to the client.
#[derive(Debug)]
pub(super) struct Passed {
    /// What is left to send, with the body.
    pub transfer: Transfer,
    /// What it said, if it is not one of several.
    pub last: Option<Final>,
}

/// What a final response's head said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Final {
    pub status: u16,
    pub upgraded: bool,
    pub server_keeps_alive: bool,
    pub client_keeps_alive: bool,
}

impl<'a> Reply<'a> {
    /// `closing`: the client's connection ends after this response. `from_http1`: the endpoint speaks HTTP/1.
    pub fn new(worker: &'a Worker, request: &'a Request, facts: &'a Facts, closing: bool, from_http1: bool) -> Self {
        Self { worker, request, facts, closing, from_http1 }
    }

    /// Says it to the client, or prepares to.
    ///
    /// # Errors
    /// The response makes no sense here, or the client is gone.
    pub fn pass_on(&self, head: &Response<'_, '_>, client: &mut End<'_>) -> Result<Passed, Failure> {
        let interim = matches!(head.status, 100 | 102..=199);
        let upgraded = head.status == 101;
        if upgraded && !self.facts.upgrade {
            return Err(Failure::BadResponse("the endpoint changed the protocol without being asked"));
        }
        let last = Final {
            status: head.status,
            upgraded,
            server_keeps_alive: head.keeps_alive,
            client_keeps_alive: self.client_keeps_alive(head.body),
        };
        let transfer = match client {
            End::Http1(_) => self.to_http1(head, interim, last),
            End::Http2(stream) => {
                let date = self.worker.clock.date();
                let mut response = message::http2_response(head, self.request.changes(), date.as_bytes());
                if interim {
                    stream.inform(response);
                    Transfer::new(false, Vec::new(), Body::None, false)
                } else {
                    if upgraded {
                        *response.status_mut() = StatusCode::OK;
                        // It answers a key that the client has not sent.
                        response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
                    }
                    let end = head.body == Body::None && !upgraded;
                    stream.respond(response, end).map_err(|_| Failure::Over(Flag::DownstreamGone))?;
                    Transfer::new(false, Vec::new(), head.body, false)
                }
            }
        };
        Ok(Passed { transfer, last: (!interim).then_some(last) })
    }

    fn to_http1(&self, head: &Response<'_, '_>, interim: bool, last: Final) -> Transfer {
        let new = self.facts.version != Version::Http10;
        let chunked = new && matches!(head.body, Body::Chunked | Body::UntilClose);
        let connection = match (interim, last.upgraded) {
            (true, _) => Connection::Unsaid,
            (_, true) => Connection::Upgrade,
            _ => Connection::after(last.client_keeps_alive, self.facts.version),
        };
        let mut out = self.worker.buffers.borrow_mut().take_head();
        if !interim || new {
            let date = self.worker.clock.date();
            message::http1_response(&mut out, head, self.request.changes(), connection, chunked, date.as_bytes());
        }
        Transfer::new(self.from_http1, out, head.body, chunked)
    }

    /// Whether the client can use its connection again after a response with this body. If some of the request is still to
    /// come, the endpoint has made up its mind without it: the rest is not worth waiting for.
    fn client_keeps_alive(&self, body: Body) -> bool {
        let delimited = self.facts.version != Version::Http10 || matches!(body, Body::None | Body::Length(_));
        delimited && self.facts.keeps_alive && !self.closing && self.request.message.source_done()
    }
}
