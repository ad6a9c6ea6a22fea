//! Connections whose bytes mean nothing to the proxy: after an upgrade, and for Service ports that are not HTTP.

use std::{
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use socket2::{SockRef, TcpKeepalive};

use super::{
    connect::connect,
    end::End,
    hold::{Denied, Place},
    side::Side,
    transfer::Transfer,
    upstream,
    worker::Worker,
};
use crate::{
    balance::{Picked, hash},
    observe::{Caller, Flag, Recording},
    table::{Cluster, Split, Turn},
};

/// A tunnel may be silent for as long as it likes; the kernel finds out when a party has vanished.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Joins a client to an endpoint of one of these clusters; what the client has sent already is sent on first.
pub(super) async fn to_split(worker: &Worker, mut client: Side, caller: &Rc<Caller>, split: &Split) {
    let mut record = Recording::connection(caller);
    let cluster = split.choose(|total| worker.random.borrow_mut().u64(..total));
    let found = match cluster {
        Some(cluster) => {
            // What leads here has no rules.
            record.routed(&"".into(), Some(&cluster.name));
            endpoint_of(worker, caller.peer(), &mut client, cluster, &mut record).await
        }
        None => {
            record.flag(Flag::NoCluster);
            None
        }
    };
    // Counts as active for as long as the tunnel lives.
    if let Some((mut server, _picked)) = found {
        let (up, down) = join(worker, End::Http1(&mut client), End::Http1(&mut server)).await;
        record.received(up);
        record.sent(down);
        record.done();
        server.close(&mut worker.buffers.borrow_mut());
    }
    client.close(&mut worker.buffers.borrow_mut());
}

/// A connection to the endpoint whose turn it is, or to another if that cannot be had.
async fn endpoint_of(
    worker: &Worker,
    peer: SocketAddr,
    client: &mut Side,
    cluster: &Cluster,
    record: &mut Recording,
) -> Option<(Side, Picked)> {
    let (mut tried, mut place, mut _turn) = (Vec::new(), None, None);
    // What hashing could go by other than the address is not to be seen here.
    let key = cluster.policy().hash_on().map(|_| hash(peer.ip().to_canonical().to_string().as_bytes()));
    loop {
        let Some(mut picked) = upstream::next_endpoint(worker, cluster, &tried, key) else {
            if cluster.sleeps() {
                // Others may have it while this one waits.
                _turn = None;
                match Box::pin(hold(worker, client, cluster, &mut place, !tried.is_empty())).await {
                    Ok(turn) => {
                        _turn = Some(turn);
                        tried.clear();
                        continue;
                    }
                    Err(Denied::Off) => {}
                    Err(denied) => {
                        record.flag(denied.flag(&End::Http1(client)));
                        return None;
                    }
                }
            }
            record.flag(if tried.is_empty() { Flag::NoEndpoint } else { Flag::UpstreamConnect });
            tracing::debug!(cluster = %cluster.name, "no endpoint takes connections");
            return None;
        };
        let endpoint = picked.address();
        record.tried(endpoint, Instant::now());
        match connect(worker, endpoint, cluster).await {
            Ok(server) => {
                picked.responded(Instant::now);
                return Some((server, picked));
            }
            Err(error) => {
                tracing::debug!(%endpoint, cluster = %cluster.name, "{error}");
                picked.failed(Instant::now);
                tried.push(endpoint);
            }
        }
    }
}

/// Waits until there is an endpoint to connect to.
async fn hold(
    worker: &Worker,
    client: &mut Side,
    cluster: &Cluster,
    place: &mut Option<Box<Place>>,
    refused: bool,
) -> Result<Turn, Denied> {
    let place = match place {
        Some(place) => place,
        None => place.insert(Place::take(worker, cluster, client.filled().len())?),
    };
    place.wait(cluster, refused, &mut End::Http1(client), true).await
}

/// Moves bytes both ways until both parties have said that they are done, or one fails; returns how many to the endpoint and
/// how many to the client.
pub(super) async fn join(worker: &Worker, mut client: End<'_>, mut server: End<'_>) -> (u64, u64) {
    let mut direct = true;
    for end in [&client, &server] {
        match end {
            // Not every socket can; then the parties' own time-outs must do.
            End::Http1(side) => {
                _ = SockRef::from(side.tcp()).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
            }
            End::Http2(_) => direct = false,
        }
    }
    let (mut up, mut down) = (Direction::new(direct), Direction::new(direct));
    poll_fn(|cx| {
        let up = up.poll(cx, worker, &mut client, &mut server);
        let down = down.poll(cx, worker, &mut server, &mut client);
        match (up, down) {
            (Poll::Ready(Err(())), _) | (_, Poll::Ready(Err(()))) | (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    })
    .await;
    (up.moved(), down.moved())
}

enum Direction {
    Moving(Transfer),
    /// The source is done; the sink is being told. So many bytes were moved.
    Closing(u64),
    Done(u64),
}

impl Direction {
    fn new(direct: bool) -> Self {
        Self::Moving(Transfer::raw(direct))
    }

    fn moved(&self) -> u64 {
        match self {
            Self::Moving(transfer) => transfer.moved(),
            Self::Closing(moved) | Self::Done(moved) => *moved,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        source: &mut End<'_>,
        sink: &mut End<'_>,
    ) -> Poll<Result<(), ()>> {
        loop {
            match self {
                Self::Moving(transfer) => {
                    ready!(transfer.poll(cx, worker, source, sink)).map_err(drop)?;
                    *self = Self::Closing(transfer.moved());
                }
                Self::Closing(moved) => {
                    ready!(sink.poll_shutdown(cx)).map_err(drop)?;
                    *self = Self::Done(*moved);
                }
                Self::Done(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
