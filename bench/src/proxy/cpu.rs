//! CPU time per request of the process tree of each proxy, in interleaved runs.

use std::{fs, net::SocketAddr, process::Command};

use anyhow::{Context, bail};
use testkit::processes;

use super::{Options, Verdicts};
use crate::{
    load, machine,
    peers::{CALL, LARGE, Peer, Site},
};

/// One kind of load, and what is wanted of the gateway under it.
#[derive(Debug)]
pub struct Scenario {
    /// For `--only`.
    pub name: &'static str,
    /// In tables.
    title: &'static str,
    load: Load,
    /// At most this share of that peer's CPU time.
    targets: &'static [(&'static str, f64)],
}

#[derive(Debug, Clone, Copy)]
enum Load {
    /// wrk over keep-alive connections.
    Http1 { tls: bool, large: bool, post: bool },
    /// h2load.
    Http2 { tls: bool, grpc: bool },
    /// A connection and a full handshake for each request.
    Handshakes,
}

const GET: Load = Load::Http1 { tls: false, large: false, post: false };

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "get-1k", title: "HTTP/1.1 GET 1 KiB", load: GET, targets: &[("nginx", 0.80), ("envoy", 0.30)] },
    Scenario {
        name: "post-1k",
        title: "HTTP/1.1 POST 1 KiB, answered with 1 KiB",
        load: Load::Http1 { tls: false, large: false, post: true },
        targets: &[("nginx", 0.80), ("envoy", 0.30)],
    },
    Scenario {
        name: "get-64k",
        title: "HTTP/1.1 GET 64 KiB",
        load: Load::Http1 { tls: false, large: true, post: false },
        targets: &[("nginx", 0.90), ("envoy", 0.30)],
    },
    Scenario {
        name: "tls-1k",
        title: "HTTP/1.1 GET 1 KiB in TLS 1.3, keep-alive",
        load: Load::Http1 { tls: true, large: false, post: false },
        targets: &[("nginx", 0.75), ("envoy", 0.30)],
    },
    Scenario {
        name: "handshake",
        title: "a full TLS 1.3 handshake (ECDSA P-256) for each GET 1 KiB",
        load: Load::Handshakes,
        targets: &[("nginx", 0.65)],
    },
    Scenario {
        name: "h2-1k",
        title: "HTTP/2 (prior knowledge) to HTTP/1.1, GET 1 KiB",
        load: Load::Http2 { tls: false, grpc: false },
        targets: &[("haproxy", 1.0), ("envoy", 0.30)],
    },
    Scenario {
        name: "h2-tls-1k",
        title: "HTTP/2 in TLS 1.3 to HTTP/1.1, GET 1 KiB",
        load: Load::Http2 { tls: true, grpc: false },
        targets: &[("haproxy", 1.0), ("envoy", 0.30)],
    },
    Scenario {
        name: "grpc",
        title: "gRPC unary, HTTP/2 (prior knowledge) on both sides",
        load: Load::Http2 { tls: false, grpc: true },
        targets: &[("envoy", 0.50)],
    },
];

/// A run's figures: µs of CPU per request, requests a second.
pub type Figures = (f64, f64);

/// Measures one scenario on every peer and prints its table; a peer that fails has its failure printed instead.
pub fn run(scenario: &Scenario, site: &Site, peers: &[Peer], options: &Options, verdicts: &mut Verdicts) {
    println!("\n{}: {} routes, medians of {} runs", scenario.title, site.routes, options.runs);
    let results = interleaved(peers, options.runs, |peer| measure(scenario.load, site, peer, options));
    let found = print(peers.iter().map(|peer| peer.name), results);
    let of = |name: &str| found.iter().find(|(peer, _)| *peer == name).map(|(_, cpu)| *cpu);
    for (peer, most) in scenario.targets {
        if let (Some(own), Some(other)) = (of("coracle"), of(peer)) {
            verdicts.at_most(format!("{}: CPU per request / {peer}'s", scenario.title), own / other, *most);
        }
    }
}

/// So many runs of each, in turn; of a peer that fails only the first failure.
pub fn interleaved<P>(
    peers: &[P],
    runs: usize,
    measure: impl Fn(&P) -> anyhow::Result<Figures>,
) -> Vec<anyhow::Result<Vec<Figures>>> {
    let mut results: Vec<_> = peers.iter().map(|_| Ok(Vec::new())).collect();
    for _ in 0..runs {
        for (peer, result) in peers.iter().zip(&mut results) {
            if let Ok(figures) = result {
                match measure(peer) {
                    Ok(figure) => figures.push(figure),
                    Err(error) => *result = Err(error),
                }
            }
        }
    }
    results
}

/// Prints a table; the medians of CPU time.
pub fn print<'a>(
    names: impl Iterator<Item = &'a str>,
    results: Vec<anyhow::Result<Vec<Figures>>>,
) -> Vec<(&'a str, f64)> {
    println!("{:<24} {:>20} {:>14}", "", "CPU µs per request", "requests/s");
    let mut medians = Vec::new();
    for (name, result) in names.zip(results) {
        match result {
            Ok(figures) => {
                let (cpu, rate): (Vec<_>, Vec<_>) = figures.into_iter().unzip();
                let cpu = machine::median(cpu);
                println!("{name:<24} {cpu:>20.2} {:>14.0}", machine::median(rate));
                medians.push((name, cpu));
            }
            Err(error) => println!("{name:<24} failed: {error:#}"),
        }
    }
    medians
}

fn measure(load: Load, site: &Site, peer: &Peer, options: &Options) -> anyhow::Result<Figures> {
    match load {
        Load::Http1 { tls, large, post } => {
            let path = if large { LARGE.to_owned() } else { site.small() };
            let (scheme, address) = if tls { ("https", peer.tls) } else { ("http", peer.plain) };
            charged(peer, || wrk(&format!("{scheme}://localhost:{}{path}", address.port()), post, options))
        }
        Load::Http2 { tls, grpc } => {
            let path = if grpc { CALL.to_owned() } else { site.small() };
            let (scheme, address) = if tls { ("https", peer.tls) } else { ("http", peer.h2c) };
            charged(peer, || h2load(&format!("{scheme}://localhost:{}{path}", address.port()), grpc, options))
        }
        Load::Handshakes => {
            let config = site.certificate.client()?;
            charged(peer, || {
                let requests = load::handshakes(peer.tls, &site.small(), &config, 16, options.duration())?;
                Ok((requests as f64, f64::from(options.seconds)))
            })
        }
    }
}

/// GETs of 1 KiB from this address.
pub fn gets(peer: &Peer, address: SocketAddr, path: &str, options: &Options) -> anyhow::Result<Figures> {
    charged(peer, || wrk(&format!("http://{address}{path}"), false, options))
}

/// Charges the requests that `load` makes to a peer's processes; `load` says how many there were, in how many seconds.
fn charged(peer: &Peer, load: impl FnOnce() -> anyhow::Result<(f64, f64)>) -> anyhow::Result<Figures> {
    let tree = processes::tree(peer.process.pid());
    let before = machine::cpu(&tree)?;
    let (requests, seconds) = load()?;
    let used = machine::cpu(&tree)? - before;
    Ok((used.as_secs_f64() * 1e6 / requests, requests / seconds))
}

fn wrk(url: &str, post: bool, options: &Options) -> anyhow::Result<(f64, f64)> {
    testkit::find("wrk").context("wrk is not installed (apt-get install wrk)")?;
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c", &options.connections.to_string(), "-d", &options.seconds.to_string()]);
    let script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    if post {
        fs::write(script.path(), "wrk.method = 'POST'\nwrk.body = string.rep('x', 1024)\n")?;
        command.arg("-s").arg(script.path());
    }
    let text = said(command.arg(url))?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("requests failed: {text}");
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    Ok((requests.filter(|requests| *requests > 0.0).with_context(|| text)?, options.seconds.into()))
}

fn h2load(url: &str, grpc: bool, options: &Options) -> anyhow::Result<(f64, f64)> {
    testkit::find("h2load").context("h2load is not installed (apt-get install nghttp2-client)")?;
    let mut command = Command::new("h2load");
    command.args(["-t1", "-c8", "-m16", "-D", &options.seconds.to_string()]);
    let message = tempfile::NamedTempFile::new()?;
    if grpc {
        // Not compressed, 16 bytes.
        fs::write(message.path(), b"\0\0\0\0\x10sixteen bytes...")?;
        command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]).arg(message.path());
    }
    let text = said(command.arg(url))?;
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
    let (counts, statuses, protocol) = (line("requests: "), line("status codes: "), line("Application protocol: "));
    let number = |word: &str| counts.split(", ").find_map(|part| part.strip_suffix(word)?.trim().parse::<f64>().ok());
    let good = statuses.split(' ').next().and_then(|good| good.parse::<f64>().ok()).unwrap_or(0.0);
    match number(" succeeded") {
        // What was under way when the time was over counts as neither.
        Some(requests)
            if requests > 0.0 && good >= requests && number(" failed") == Some(0.0) && protocol.starts_with("h2") =>
        {
            Ok((requests, options.seconds.into()))
        }
        _ => bail!("requests failed: {counts}; {statuses}; spoken was {protocol:?}"),
    }
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(out.into_owned()) } else { bail!("{:?}: {out}{err}", command.get_program()) }
}
