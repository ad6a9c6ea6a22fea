//! The slowest answers at a rate well below what any of the proxies can do, load and proxy each on their own core.

use std::time::Duration;

use super::{Options, Verdicts};
use crate::{
    load::{self, Rate},
    machine,
    peers::{Peer, Site},
};

/// Connections that share the rate.
const CONNECTIONS: u32 = 64;
/// The shares that are shown; the target is for the second.
const SHARES: [f64; 3] = [0.5, 0.99, 0.999];

/// Interleaved runs of every peer; medians of each run's quantiles.
pub fn run(site: &Site, peers: &[Peer], options: &Options, verdicts: &mut Verdicts) -> anyhow::Result<()> {
    let rate = Rate { per_second: options.rate, connections: CONNECTIONS, duration: options.duration() };
    println!("\nHTTP/1.1 GET 1 KiB at {} requests/s, open loop, medians of {} runs", options.rate, options.runs);
    println!("{:<24} {:>12} {:>12} {:>12}", "ms", "p50", "p99", "p99.9");
    let mut found = vec![[const { Vec::new() }; SHARES.len()]; peers.len()];
    for _ in 0..options.runs {
        for (peer, found) in peers.iter().zip(&mut found) {
            let times = load::open_loop(peer.plain, &site.small(), rate)?;
            for (share, found) in SHARES.iter().zip(found) {
                found.push(milliseconds(load::quantile(&times, *share)));
            }
        }
    }
    let mut p99 = Vec::new();
    for (peer, found) in peers.iter().zip(found) {
        let [half, most, nearly_all] = found.map(machine::median);
        println!("{:<24} {half:>12.3} {most:>12.3} {nearly_all:>12.3}", peer.name);
        p99.push((peer.name, most));
    }
    let of = |name: &str| p99.iter().find(|(peer, _)| *peer == name).map(|(_, most)| *most);
    if let (Some(own), Some(other)) = (of("coracle"), of("nginx")) {
        verdicts.at_most(format!("p99 at {} requests/s / nginx's", options.rate), own / other, 1.10);
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
