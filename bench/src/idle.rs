//! Memory with idle client connections: each has made one request and waits.

use std::{thread, time::Duration};

use testkit::processes;

use crate::{
    http::Client,
    machine,
    peers::{self, Peer, Programs, Site},
    proxy::{self, Verdicts},
};

/// How many.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Connections of each kind.
    #[arg(long, default_value_t = CONNECTIONS)]
    connections: usize,
}

const CONNECTIONS: usize = 10_000;

impl Default for Options {
    fn default() -> Self {
        Self { connections: CONNECTIONS }
    }
}

/// Measures and prints.
pub fn run(programs: &Programs, options: &Options) -> anyhow::Result<()> {
    proxy::prepare()?;
    measure(programs, options, &mut Verdicts::default())
}

/// The same, with what is wanted noted.
pub fn measure(programs: &Programs, options: &Options, verdicts: &mut Verdicts) -> anyhow::Result<()> {
    let site = Site::open(1)?;
    println!("\n{} idle connections: KiB each", options.connections);
    println!("{:<24} {:>12} {:>12}", "", "plain", "TLS");
    // New processes: what an allocator has kept from other measurements would hide what connections take.
    for peer in peers::start_all(programs, &site)? {
        let plain = each(&peer, &site, false, options.connections)?;
        let tls = each(&peer, &site, true, options.connections)?;
        println!("{:<24} {plain:>12.2} {tls:>12.2}", peer.name);
        if peer.name == "coracle" {
            verdicts.at_most("KiB for an idle connection", plain, 2.0);
            verdicts.at_most("KiB for an idle TLS connection", tls, 12.0);
        }
    }
    Ok(())
}

/// How many KiB each connection adds to the peer's processes.
fn each(peer: &Peer, site: &Site, tls: bool, connections: usize) -> anyhow::Result<f64> {
    let config = tls.then(|| site.certificate.client()).transpose()?;
    let address = if tls { peer.tls } else { peer.plain };
    let open = || -> anyhow::Result<_> {
        let mut client = Client::connect(address, config.as_ref())?;
        client.get("/r0/")?;
        Ok(client)
    };
    // What the first connection needs is needed once.
    drop(open()?);
    let before = memory(peer)?;
    let held = (0..connections).map(|_| open()).collect::<anyhow::Result<Vec<_>>>()?;
    thread::sleep(Duration::from_secs(1));
    let after = memory(peer)?;
    Ok((after as f64 - before as f64) / held.len() as f64)
}

fn memory(peer: &Peer) -> anyhow::Result<u64> {
    processes::tree(peer.process.pid()).into_iter().map(machine::pss).sum()
}
