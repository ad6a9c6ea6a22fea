//! Resizing the pod in place: taking on what its spec asks for, and giving it to the containers that run.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodSpec;
use kube::ResourceExt;

use super::Worker;
use crate::{
    recover,
    resize::{self, Pending, Step},
    start,
    state::{find, init},
    status,
};

/// Until a size is tried again that a container could not be given.
const AGAIN: SignedDuration = SignedDuration::from_secs(10);

impl Worker {
    /// Takes on what the spec asks for, if the node has room; gives the spec with what is promised.
    pub(super) fn admit(&mut self) -> PodSpec {
        let spec = self.pod.spec.clone().unwrap_or_default();
        let uid = self.pod.uid().unwrap_or_default();
        if self.is_deleted() || recover::is_terminal(&self.pod) {
            self.resize.pending = None;
            return resize::sized(&spec, &self.resize.allocated);
        }
        let wanted = resize::sizes(&spec);
        let pending = if resize::all_same(&wanted, &self.resize.allocated) {
            None
        } else {
            self.ctx.ledger.promise(&uid, resize::amounts(&spec, &wanted)).err()
        };
        match &pending {
            None if wanted == self.resize.allocated => {}
            None => {
                self.resize.allocated = wanted;
                // What was refused may be asked for no more.
                self.resize.again = None;
            }
            Some(why) if self.resize.pending.as_ref() != Some(why) => {
                let (reason, message) = why.said();
                self.ctx.events.warning(&self.pod, None, &format!("Resize{reason}"), message);
            }
            Some(_) => {}
        }
        self.resize.pending = pending;
        resize::sized(&spec, &self.resize.allocated)
    }

    /// Whether the resize waits for others to leave room.
    pub(super) fn waits_for_room(&self) -> bool {
        matches!(self.resize.pending, Some(Pending::Deferred(_)))
    }

    /// Gives the containers that run what is promised to them, those first that get less.
    pub(super) async fn actuate(&mut self, spec: &PodSpec, now: Timestamp) {
        if self.resize.again.is_some_and(|at| at > now) || self.is_deleted() {
            return;
        }
        self.resize.again = None;
        let all = init(spec).iter().chain(&spec.containers);
        let steps = all.filter_map(|container| {
            let seen = self.view.containers.get(&container.name)?;
            let step = resize::step(container, seen).filter(|_| !seen.stopping)?;
            Some((step, container.name.clone()))
        });
        let mut steps: Vec<(Step, String)> = steps.collect();
        steps.sort_by_key(|(step, _)| *step != Step::Adjust { less: true });
        let (mut error, mut done) = (None, Vec::new());
        for (step, name) in steps {
            let given = match step {
                Step::Note => Ok(()),
                Step::Adjust { .. } => self.adjust(spec, &name).await,
                // The plan ends the run, and the next one is as large as it is to be.
                Step::Restart => continue,
            };
            match given {
                Ok(()) => done.push(name),
                Err(why) => error = Some(format!("container {name}: {why}")),
            }
        }
        for name in &done {
            let size = self.resize.allocated.get(name).cloned();
            if let Some(seen) = self.view.containers.get_mut(name) {
                seen.size = size;
            }
        }
        self.tell_resized(&done, error, now);
    }

    fn tell_resized(&mut self, done: &[String], error: Option<String>, now: Timestamp) {
        let events = &self.ctx.events;
        if !done.is_empty() {
            let list = done.join(", ");
            if !self.ctx.runtime.features().limits {
                let runtime = self.ctx.runtime.name();
                let message = format!(
                    "the {runtime} runtime limits nothing: the new sizes of {list} count for scheduling and are not enforced"
                );
                events.warning(&self.pod, None, "NotHonoured", message);
            }
            events.normal(&self.pod, None, "ResizeCompleted", format!("Pod resize completed for containers: {list}"));
        }
        if let Some(error) = &error {
            self.resize.again = now.checked_add(AGAIN).ok();
            if self.resize.error.as_ref() != Some(error) {
                events.warning(&self.pod, None, "ResizeError", format!("Error resizing pod: {error}"));
            }
        }
        self.resize.error = error;
    }

    async fn adjust(&self, spec: &PodSpec, name: &str) -> Result<(), String> {
        let Some(container) = find(spec, name) else { return Ok(()) };
        let limits = start::limits(container, status::qos(spec), crate::register::capacity().0);
        self.ctx.runtime.resize(&self.latest(name), &limits).await.map_err(|error| error.to_string())
    }
}
