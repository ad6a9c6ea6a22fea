//! Taking in what the tasks around containers tell, and what changed at the API.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{Message, Worker, spawn};
use crate::{
    monitor::Run,
    plan::restarts,
    probes::Kind,
    start,
    state::{State, Trouble, Unhealthy, find, find_any, policy},
    status, volumes,
};

impl Worker {
    /// Takes in what a task tells, unless it is about a run that is over.
    pub(super) fn take(&mut self, message: Message) {
        let id = match &message {
            Message::Ended(id, _) | Message::Probed { id, .. } | Message::Hooked(id, _) => id.clone(),
            Message::Fail(failure) => {
                self.failure.get_or_insert_with(|| failure.clone());
                return;
            }
        };
        let Some(entry) = self.view.containers.get_mut(&id.name) else { return };
        let State::Running { since } = entry.state else { return };
        if entry.attempt != Some(id.attempt) {
            return;
        }
        match message {
            Message::Fail(_) => {}
            Message::Ended(_, exit) => {
                self.tasks.remove(&id.name);
                let container = self.pod.spec.as_ref().and_then(|spec| find_any(spec, &id.name));
                entry.end(start::ended(&self.ctx, &self.pod, container.as_deref(), &id, since, exit));
                self.note_back_off(&id.name);
            }
            Message::Probed { kind: Kind::Readiness, ok, .. } => entry.ready = ok,
            Message::Probed { kind: Kind::Startup, ok: true, .. } => {
                entry.started = true;
                self.watch_health(&id.name);
            }
            Message::Probed { ok: true, .. } => {}
            Message::Probed { kind, grace, .. } => {
                entry.unhealthy = Some(Unhealthy { trouble: Trouble::Probe(kind), grace });
            }
            Message::Hooked(_, Ok(())) => {
                entry.hook = false;
                self.watch_health(&id.name);
            }
            Message::Hooked(_, Err(error)) => {
                entry.unhealthy = Some(Unhealthy { trouble: Trouble::Hook, grace: None });
                let message = format!("PostStartHook failed: {error}");
                self.ctx.events.warning(&self.pod, Some(&id.name), "FailedPostStartHook", message);
            }
        }
    }

    /// Starts the probes that go with where a run is: none before its postStart hook is done, then the startup probe, then
    /// the other two.
    pub(super) fn watch_health(&mut self, name: &str) {
        let seen = self.view.container(name);
        let (State::Running { since }, Some(run)) = (&seen.state, self.around(&self.latest(name))) else { return };
        if seen.hook || seen.stopping {
            return;
        }
        let has = |kind| match kind {
            Kind::Startup => run.container.startup_probe.is_some(),
            Kind::Liveness => run.container.liveness_probe.is_some(),
            Kind::Readiness => run.container.readiness_probe.is_some(),
        };
        let probe = |kind| has(kind).then(|| spawn(Run::probe(run.clone(), kind, *since)));
        let tasks = self.tasks.entry(name.to_owned()).or_default();
        if seen.started {
            tasks.health = probe(Kind::Liveness).into_iter().collect();
            tasks.readiness = probe(Kind::Readiness);
        } else {
            tasks.health = probe(Kind::Startup).into_iter().collect();
        }
    }

    /// Says that a container that ended is not restarted at once.
    pub(super) fn note_back_off(&mut self, name: &str) {
        let seen = self.view.container(name);
        let spec = self.pod.spec.as_ref();
        let Some((spec, container)) = spec.and_then(|spec| Some((spec, find(spec, name)?))) else { return };
        if self.ends() || seen.back_off().is_zero() || !restarts(policy(spec, container), &seen) {
            return;
        }
        let message = format!("Back-off restarting failed container {name} in pod {}", status::full_name(&self.pod));
        self.ctx.events.warning(&self.pod, Some(name), "BackOff", message);
    }

    /// A ConfigMap or Secret changed: what a container waits for may be there now, and volumes may say something else.
    pub(super) fn refresh(&mut self) {
        let now = self.ctx.clock.now();
        self.held = None;
        let waiting = self.view.containers.values_mut().filter_map(|container| container.blocked.as_mut());
        for blocked in waiting.filter(|blocked| blocked.reason == start::CONFIG_ERROR) {
            blocked.until = now;
        }
        if self.view.sandbox.is_none() || self.ends() {
            return;
        }
        let dir = self.ctx.volumes_dir(&self.pod);
        if let Err(error) = volumes::prepare(&self.pod, &dir, &self.ctx.sources, now) {
            self.ctx.events.warning(&self.pod, None, "FailedMount", error);
        }
    }

    /// Takes a newer object over. The watch may lag behind what was written here, so of its status only the conditions of
    /// others count.
    pub(super) fn adopt(&mut self, pod: Arc<Pod>) {
        if Arc::ptr_eq(&self.pod, &pod) {
            return;
        }
        let before = std::mem::replace(&mut self.pod, pod);
        if let Some(last) = &self.report.last {
            let mut status = last.clone();
            let theirs = self.pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
            let theirs: Vec<_> = theirs.filter(|c| !status::is_ours(&c.type_)).cloned().collect();
            let conditions = status.conditions.get_or_insert_default();
            conditions.retain(|c| status::is_ours(&c.type_));
            conditions.extend(theirs);
            Arc::make_mut(&mut self.pod).status = Some(status);
        }
        if before.labels() != self.pod.labels() || before.annotations() != self.pod.annotations() {
            // Volumes of the downward API show them.
            self.refresh();
        }
        if self.is_deleted() && before.metadata.deletion_timestamp.is_none() {
            self.held = None;
        }
        let grace = self.pod.metadata.deletion_grace_period_seconds;
        if let Some(grace) = grace.filter(|_| before.metadata.deletion_grace_period_seconds != grace) {
            self.shorten(grace);
        }
    }
}
