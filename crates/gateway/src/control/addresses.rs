//! The addresses that Gateways are bound to: this machine's, as published, or those that a Gateway asks for.

use std::net::{IpAddr, SocketAddr};

use objects::gateway::{Gateway, GatewayAddress};

use super::{Options, Reached, Snapshot};

/// The addresses that a Gateway asks for; empty if it takes what there is, or must because others are in front.
pub(super) fn of(gateway: &Gateway, options: &Options) -> Vec<IpAddr> {
    if options.reached != Reached::Bound {
        return Vec::new();
    }
    let asked = gateway.spec.addresses.iter().flatten().filter(|a| a.type_.as_deref().unwrap_or(IP) == IP);
    let mut asked: Vec<_> = asked.filter_map(|a| a.value.as_deref()?.parse().ok()).collect();
    asked.sort_unstable();
    asked.dedup();
    asked
}

const IP: &str = "IPAddress";

/// Where a port is bound on these addresses, or where it is published; and why it is bound nowhere.
pub(super) fn binds(own: &[IpAddr], port: u16, options: &Options) -> (Vec<SocketAddr>, Option<String>) {
    if own.is_empty() {
        return published(port, options);
    }
    let (mut all, mut unbound) = (Vec::new(), None);
    for address in own {
        if *address == options.bind {
            let (binds, why) = published(port, options);
            all.extend(binds);
            unbound = why;
        } else {
            all.push(SocketAddr::new(*address, port));
        }
    }
    (all, unbound)
}

/// Where Gateways are reached: at `reached`, or the addresses that one asks for; and the first of these that cannot be used, with
/// the reason.
pub(super) fn used(
    gateway: &Gateway,
    reached: &[GatewayAddress],
    options: &Options,
    snapshot: &Snapshot,
) -> (Vec<GatewayAddress>, Option<String>) {
    let own = of(gateway, options);
    if own.is_empty() {
        let values: Vec<_> = reached.iter().filter_map(|address| address.value.as_deref()).collect();
        let mut wanted = gateway.spec.addresses.iter().flatten().filter_map(|a| a.value.as_deref());
        let other = wanted.find(|value| !value.is_empty() && !values.contains(value));
        let why = |other: &str| format!("{other} is not where Gateways are reached: {}", values.join(", "));
        return (reached.to_vec(), other.map(why));
    }
    let ports = gateway.spec.listeners.iter().filter_map(|listener| u16::try_from(listener.port).ok());
    let failed = |address: &IpAddr| {
        let binds = |port| binds(std::slice::from_ref(address), port, options).0;
        let all: Vec<_> = ports.clone().flat_map(binds).collect();
        snapshot.bind_errors.iter().find(|error| all.contains(&error.address))
    };
    let mut unusable = None;
    let usable = own.iter().filter(|address| match failed(address) {
        None => true,
        Some(error) => {
            unusable.get_or_insert(format!("{address} cannot be used: {}", error.message));
            false
        }
    });
    let address = |ip: &IpAddr| GatewayAddress { type_: Some(IP.to_owned()), value: Some(ip.to_string()) };
    (usable.map(address).collect(), unusable)
}

fn published(port: u16, options: &Options) -> (Vec<SocketAddr>, Option<String>) {
    let published = options.publish.iter().filter(|p| p.listener_port == port).map(|p| p.address);
    let mut published: Vec<_> = published.collect();
    published.sort_unstable();
    published.dedup();
    let own = SocketAddr::new(options.bind, port);
    if !published.is_empty() {
        return (published, None);
    }
    if let Some(taken) = options.publish.iter().find(|p| p.address == own) {
        let message = format!("{own} is published as port {}: start with --publish HOST:{port}", taken.listener_port);
        return (Vec::new(), Some(message));
    }
    if port < 1024 {
        let message = format!("port {port} is not published on this machine: start with --publish HOST:{port}");
        return (Vec::new(), Some(message));
    }
    (vec![own], None)
}
