//! `coracle gateway`: the gateway of a cluster that has everything else.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use gateway::control::{
    Options, Reached,
    leader::{self, Election},
};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    cli::Alone,
    config::Edge,
    handover::Inheritance,
    platform::{Gateway, Tasks, metrics, reachable},
    up::{report::Report, service},
};

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a flag is wrong, the cluster's access cannot be read, or a port that was asked for cannot be had. A cluster that does
/// not answer is waited for.
pub fn run(flags: &Alone) -> anyhow::Result<()> {
    let edge = Edge::alone(flags)?;
    let election = election(&flags.lease)?;
    let reached = reached(flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(serve(flags, &edge, election, reached))
}

async fn serve(flags: &Alone, edge: &Edge, election: Election, reached: Reached) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let report = Report::new(flags.output);
    let client = connect(flags).await.context("find the cluster")?;
    let gateway = Gateway::open(edge, Inheritance::default())?;
    let scraped = metrics::listen(edge.metrics).await?;
    let url = scraped.as_ref().and_then(|listener| listener.local_addr().ok()).map(|at| metrics::url(reachable(at)));
    let mut tasks = Tasks::new();
    let (lead, mut leading) = watch::channel(false);
    let mut options = Options { reached, services: false, leading: Some(leading.clone()), ..gateway.options() };
    if let Some(controller) = &flags.controller {
        options.controller = controller.as_str().into();
    }
    gateway.start(client.clone(), options, &mut tasks);
    gateway.observe(scraped, Arc::new(String::new), &mut tasks)?;
    tasks.spawn("leader election", |stop| async move {
        leader::run(client, election, lead, stop).await;
        Ok::<_, anyhow::Error>(())
    });
    let told = async {
        gateway.serves().await;
        service::say_ready();
        report.serving(&gateway.serving(), url.as_deref());
        while leading.changed().await.is_ok() {
            report.leading(*leading.borrow_and_update());
        }
        std::future::pending().await
    };
    let result = tokio::select! {
        never = told => never,
        error = tasks.failed() => Err(error),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    report.stopping();
    gateway.drain();
    let end = async {
        // Whoever sends clients here hears only by and by that it should not; endpoints may change meanwhile.
        tokio::time::sleep(Duration::from_secs(flags.drain_delay)).await;
        tasks.stop().await;
        gateway.retire().await;
    };
    tokio::select! {
        () = end => {}
        _ = interrupt.recv() => {}
    }
    report.ended();
    result
}

async fn connect(flags: &Alone) -> anyhow::Result<Client> {
    let config = match &flags.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("read {}", path.display()))?;
            let chosen = KubeConfigOptions { context: flags.context.clone(), ..KubeConfigOptions::default() };
            kube::Config::from_custom_kubeconfig(kubeconfig, &chosen).await?
        }
        None => kube::Config::infer().await.context("there is neither a kubeconfig nor a service account")?,
    };
    Ok(Client::try_from(config)?)
}

fn election(lease: &str) -> anyhow::Result<Election> {
    let (namespace, name) = namespaced(lease).context("--lease")?;
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    // Host names may repeat, and a process that was started again is another one.
    Ok(Election { namespace, name, identity: format!("{host}_{}", uuid::Uuid::new_v4()) })
}

fn reached(flags: &Alone) -> anyhow::Result<Reached> {
    Ok(match &flags.service {
        Some(service) => {
            let (namespace, name) = namespaced(service).context("--service")?;
            Reached::Service { namespace, name }
        }
        None if flags.address.is_empty() => Reached::Bound,
        None => Reached::At(flags.address.clone()),
    })
}

/// `NAMESPACE/NAME`.
fn namespaced(text: &str) -> anyhow::Result<(String, String)> {
    let (namespace, name) = text.split_once('/').unwrap_or_default();
    ensure!(!namespace.is_empty() && !name.is_empty(), "{text:?} is not NAMESPACE/NAME");
    Ok((namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_and_a_service_are_named_with_their_namespaces() {
        assert_eq!(namespaced("a/b").unwrap(), ("a".to_owned(), "b".to_owned()));
        for wrong in ["", "a", "/a", "a/"] {
            assert!(namespaced(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_processes_of_one_machine_are_two_candidates() {
        let (one, two) = (election("a/b").unwrap(), election("a/b").unwrap());
        assert_ne!(one.identity, two.identity);
    }
}
