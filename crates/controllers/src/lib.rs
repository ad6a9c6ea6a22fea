//! One module per controller: a pure planner plus a thin loop that observes and acts.
//!
//! `cache` holds what the API has, once for all controllers; `served` says which kinds it has; `queue` says which keys are due; `runner` ties both to a
//! controller. A controller is told a key and nothing else: it reads the state again, plans, acts.

pub mod autoscaler;
mod cache;
mod claim;
pub mod deployment;
pub mod disruption;
mod endpoints;
pub mod endpointslice;
mod events;
mod expiry;
mod garbage;
mod namespace;
mod nodes;
mod queue;
mod quota;
pub mod replicaset;
mod runner;
pub mod scheduler;
mod served;
mod serviceaccount;
mod vertical;

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ReplicationController};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use cache::Cache;
use runner::run_controller;
use served::Served;

/// What controllers need to know besides the API.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The settings of the autoscaler.
    pub autoscaler: autoscaler::Options,
    /// Where the autoscaler's forecasts are published.
    pub forecasts: autoscaler::Published,
    /// The authority's certificate in PEM: every namespace gets it as the ConfigMap `kube-root-ca.crt`.
    pub root_ca: Option<String>,
}

/// Runs every controller until `stop`. `client_for` gives a client that acts under a name.
pub async fn run(client_for: impl Fn(&str) -> Client, options: Options, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    let cache = Arc::new(Cache::start(&client_for("system:kube-controller-manager"), &mut tasks));
    let served = Served::start(&client_for("system:kube-controller-manager"), &mut tasks);
    if stop.run_until_cancelled(cache.ready()).await.is_none() {
        return;
    }
    let client = |name: &str| client_for(&format!("system:serviceaccount:kube-system:{name}"));
    let (c, o) = (&cache, options);
    tasks.spawn(run_controller(deployment::Controller::new(client("deployment-controller"), c.clone()), c.clone()));
    let sets = replicaset::Controller::<ReplicaSet>::new(client("replicaset-controller"), c.clone());
    tasks.spawn(run_controller(sets, c.clone()));
    let older = replicaset::Controller::<ReplicationController>::new(client("replication-controller"), c.clone());
    tasks.spawn(run_controller(older, c.clone()));
    tasks.spawn(run_controller(
        endpointslice::Controller::new(client("endpointslice-controller"), c.clone()),
        c.clone(),
    ));
    tasks.spawn(run_controller(endpoints::Controller::new(client("endpoint-controller"), c.clone()), c.clone()));
    let budgets = disruption::Controller::new(client("disruption-controller"), c.clone(), served.clone());
    tasks.spawn(run_controller(budgets, c.clone()));
    let namespaces = namespace::Controller::new(client("namespace-controller"), c.clone(), served.clone());
    tasks.spawn(run_controller(namespaces, c.clone()));
    let accounts = serviceaccount::Controller::new(client("service-account-controller"), c.clone(), o.root_ca);
    tasks.spawn(run_controller(accounts, c.clone()));
    tasks.spawn(run_controller(scheduler::Controller::new(client_for("system:kube-scheduler"), c.clone()), c.clone()));
    let alarms = vertical::Alarms::new(client("vertical-pod-autoscaler"), c.clone());
    tasks.spawn(run_controller(alarms, c.clone()));
    let interval = o.autoscaler.recommender_interval;
    tasks.spawn(vertical::run(client("vertical-pod-autoscaler"), c.clone(), served.clone(), interval));
    let scaling =
        autoscaler::run(client("horizontal-pod-autoscaler"), c.clone(), served.clone(), o.autoscaler, o.forecasts);
    tasks.spawn(scaling);
    let quotas = quota::Controller::new(client("resourcequota-controller"), c.clone(), served.clone());
    tasks.spawn(run_controller(quotas, c.clone()));
    tasks.spawn(quota::follow(client("resourcequota-controller"), c.clone(), served.clone()));
    tasks.spawn(garbage::run(client("generic-garbage-collector"), served));
    tasks.spawn(nodes::run(client("node-controller"), c.clone()));
    tasks.spawn(expiry::run(client("event-expiry")));
    stop.cancelled().await;
    tasks.shutdown().await;
}
