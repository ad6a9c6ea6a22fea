//! Whether a request costs more where there are more routes.

use super::{Options, Verdicts, cpu};
use crate::peers::{CORES, Coracle, Programs, Shape, Site};

/// Routes of the smaller table.
const FEW: usize = 10;
/// Matches of each route.
const MATCHES: usize = 5;

/// Two Coracles side by side, one with few routes and one with many.
pub fn run(programs: &Programs, options: &Options, verdicts: &mut Verdicts) -> anyhow::Result<()> {
    let many = options.many_routes;
    println!("\nHTTP/1.1 GET 1 KiB, {MATCHES} matches in each route, medians of {} runs", options.runs);
    let site = Site::open(FEW)?;
    let start = |routes| -> anyhow::Result<_> {
        let coracle = Coracle::start(&programs.coracle, &site, Shape { routes, matches: MATCHES }, Some(CORES.0))?;
        Ok((coracle.peer, format!("/r{}/x", routes / 2)))
    };
    let peers = [start(FEW)?, start(many)?];
    let results = cpu::interleaved(&peers, options.runs, |(peer, path)| cpu::gets(peer, peer.plain, path, options));
    let names = [format!("{FEW} routes"), format!("{many} routes")];
    if let [(_, few), (_, more)] = cpu::print(names.iter().map(String::as_str), results)[..] {
        verdicts.at_most(format!("CPU per request with {many} routes / with {FEW}"), more / few, 1.05);
    }
    Ok(())
}
