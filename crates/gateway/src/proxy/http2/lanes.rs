//! The tasks that serve a connection's requests, each one after another. A task for each request would be nearly three kilobytes that
//! are allocated, copied four times on their way there, freed, and no longer in the processor's cache when their turn comes again.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::Request;

use super::server::{Shared, serve};
use crate::proxy::clock::Watch;

/// For how long a lane waits for another request; it goes with the next tick of the clock after that.
const KEEP: Duration = Duration::from_secs(1);

/// A client's request, and how it is answered.
pub(super) type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// The lanes of a connection that wait. There are no more than the client has had requests at a time, which is bounded.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    idle: RefCell<Vec<Rc<Lane>>>,
    over: Cell<bool>,
}

#[derive(Debug)]
struct Lane {
    next: RefCell<Option<Asked>>,
    watch: Watch,
}

impl Lanes {
    /// Has a request served, by the lane that has waited least: what it needs is most likely to be in the cache.
    pub fn serve(shared: &Rc<Shared>, asked: Asked) {
        let idle = shared.lanes.idle.borrow_mut().pop();
        if let Some(lane) = idle {
            lane.next.replace(Some(asked));
            return lane.watch.wake();
        }
        let lane = Lane { next: RefCell::new(Some(asked)), watch: shared.worker.clock.watch() };
        tokio::task::spawn_local(run(shared.clone(), Rc::new(lane)));
    }

    /// The connection is over: nobody waits for another request.
    pub fn close(&self) {
        self.over.set(true);
        self.idle.take().iter().for_each(|lane| lane.watch.wake());
    }

    fn forget(&self, gone: &Rc<Lane>) {
        self.idle.borrow_mut().retain(|lane| !Rc::ptr_eq(lane, gone));
    }
}

async fn run(shared: Rc<Shared>, lane: Rc<Lane>) {
    while let Some((request, respond)) = poll_fn(|cx| lane.poll_next(cx, &shared)).await {
        serve(&shared, &lane.watch, request, respond).await;
        shared.worker.clock.set(&lane.watch, KEEP);
        shared.lanes.idle.borrow_mut().push(lane.clone());
    }
}

impl Lane {
    /// Waits for another request; `None` when there will be none, or has been none for some time.
    fn poll_next(self: &Rc<Self>, cx: &mut Context<'_>, shared: &Shared) -> Poll<Option<Asked>> {
        if let Some(asked) = self.next.take() {
            self.watch.clear();
            return Poll::Ready(Some(asked));
        }
        self.watch.arm(cx);
        if !shared.lanes.over.get() && !shared.worker.clock.expired(&self.watch) {
            return Poll::Pending;
        }
        shared.lanes.forget(self);
        Poll::Ready(None)
    }
}
