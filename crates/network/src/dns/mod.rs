//! Cluster DNS (the Kubernetes DNS-Based Service Discovery specification, 1.1.0): services and headless services from the
//! API, everything else from the machine's own resolvers.
//!
//! [`zone`] holds the names, [`answer`] is the pure function from a question to an answer, [`server`] the sockets.

pub mod answer;
pub mod server;
pub mod zone;

use std::net::SocketAddr;

use futures::StreamExt;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, reflector, watcher},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use zone::Zone;

/// What the DNS server needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen, for UDP and TCP.
    pub listen: SocketAddr,
    /// The cluster domain, `cluster.local`.
    pub domain: String,
    /// Resolvers for all other names, tried in order.
    pub upstreams: Vec<SocketAddr>,
}

/// The resolvers of a `resolv.conf` text, without `own` (asking ourselves would go round in circles).
pub fn upstreams(resolv_conf: &str, own: SocketAddr) -> Vec<SocketAddr> {
    let addresses = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    addresses
        .filter_map(|rest| rest.trim().parse().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .filter(|a| *a != own)
        .collect()
}

/// Keeps a [`Zone`] in step with the API and answers from it until `shutdown`.
///
/// # Errors
/// When it cannot listen.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) -> std::io::Result<()> {
    let sockets = server::Sockets::bind(options.listen).await?;
    let (publish, zone) = watch::channel(Zone::new(&options.domain));
    let follow = follow(client, options.domain, publish);
    tokio::select! {
        () = sockets.serve(zone, options.upstreams) => {}
        () = follow => {}
        () = shutdown.cancelled() => {}
    }
    Ok(())
}

async fn follow(client: Client, domain: String, publish: watch::Sender<Zone>) {
    let (services, service_writer) = reflector::store::<Service>();
    let (slices, slice_writer) = reflector::store::<EndpointSlice>();
    let watch_services = watcher(Api::<Service>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(service_writer)
        .map(|event| event.map(drop));
    let watch_slices = watcher(Api::<EndpointSlice>::all(client), watcher::Config::default())
        .default_backoff()
        .reflect(slice_writer)
        .map(|event| event.map(drop));
    // Many objects change together (a rollout, the first list): answer them with one rebuild.
    let mut changes = futures::stream::select(watch_services.boxed(), watch_slices.boxed()).ready_chunks(256);
    while let Some(events) = changes.next().await {
        for error in events.into_iter().filter_map(Result::err) {
            tracing::warn!("cluster DNS: watch services and endpoint slices: {error}");
        }
        publish.send_replace(Zone::build(&domain, &services.state(), &slices.state()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_resolvers_are_read_and_our_own_address_left_out() {
        let text =
            "# c\nsearch x\nnameserver 10.43.0.10\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions ndots:5\n";
        let own = "10.43.0.10:53".parse().unwrap();
        let expected: Vec<SocketAddr> = vec!["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()];
        assert_eq!(upstreams(text, own), expected);
    }
}
