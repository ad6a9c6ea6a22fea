//! How soon a change of a route is served, with many other routes around it.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use objects::gateway::HTTPRoute;

use super::{Options, Verdicts};
use crate::{
    http::{self, field},
    machine,
    peers::{Coracle, Peer, Programs, Shape, Site},
};

/// Between two looks at what is served: short beside what is measured, long beside what a look costs.
const LOOK: Duration = Duration::from_micros(200);

/// Patches a route again and again over the API, while a client watches the answers.
pub fn run(programs: &Programs, options: &Options, verdicts: &mut Verdicts) -> anyhow::Result<()> {
    let site = Site::open(options.many_routes)?;
    let shape = Shape { routes: options.many_routes, matches: 5 };
    // On all cores, as people run it.
    let Coracle { peer, kubeconfig } = Coracle::start(&programs.coracle, &site, shape, None)?;
    let number = options.many_routes / 2;
    let seen = watch(&peer, format!("/r{number}/x"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut from_sent, mut from_said) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let (kubeconfig, chosen) = (Kubeconfig::read_from(&kubeconfig)?, KubeConfigOptions::default());
        let client = Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &chosen).await?)?;
        let routes: Api<HTTPRoute> = Api::default_namespaced(client);
        for version in 0..options.changes {
            let patch = Patch::Merge(Coracle::versioned(&format!("/r{number}"), version));
            let sent = Instant::now();
            routes.patch(&format!("r{number}"), &PatchParams::default(), &patch).await?;
            let said = Instant::now();
            let live = loop {
                match seen.recv_timeout(Duration::from_secs(20)).context("the change is not served")? {
                    Ok((live, at)) if live == version.to_string() => break at,
                    Ok(_) => {}
                    Err(error) => bail!("the watching client: {error}"),
                }
            };
            from_sent.push(live.duration_since(sent).as_secs_f64() * 1e3);
            from_said.push(live.saturating_duration_since(said).as_secs_f64() * 1e3);
            // The next one is to find the loops at rest.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    })?;
    println!("\na change of one of {} HTTPRoutes with 5 matches each, {} times", shape.routes, options.changes);
    for (name, mut times) in [("from the request", from_sent), ("from the answer", from_said)] {
        times.sort_by(f64::total_cmp);
        let (median, most) = (machine::median(times.clone()), times.last().copied().unwrap_or(f64::NAN));
        println!("{name:<20} {median:>8.1} ms (median) {most:>8.1} ms (longest)");
        if name == "from the request" {
            verdicts.at_most("ms from the request for a change to the first changed answer", median, 20.0);
        }
    }
    Ok(())
}

/// Asks for the path all the time; the versions it is answered with, and when each was seen first.
fn watch(peer: &Peer, path: String) -> mpsc::Receiver<std::io::Result<(String, Instant)>> {
    let (send, seen) = mpsc::channel();
    let address = peer.plain;
    thread::spawn(move || {
        let mut last = String::new();
        let mut look = || -> std::io::Result<()> {
            let mut client = http::Client::connect(address, None)?;
            loop {
                let head = client.get(&path)?;
                let version = field(&head, "x-version").unwrap_or_default();
                if version != last {
                    version.clone_into(&mut last);
                    if send.send(Ok((last.clone(), Instant::now()))).is_err() {
                        return Ok(());
                    }
                }
                thread::sleep(LOOK);
            }
        };
        if let Err(error) = look() {
            // Nobody listens any more when the measurement is over.
            _ = send.send(Err(error));
        }
    });
    seen
}
