//! Writing a pod's status, its deletion once it is over, and taking away what is left of it.

use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

use super::Worker;
use crate::{
    monitor::{LEAST, RETRY},
    plan::Plan,
    runtime::ContainerId,
    status, volumes,
};

/// What was said last.
pub(super) struct Report {
    written: Option<Value>,
    pub last: Option<PodStatus>,
    /// Tells the node's endpoint the latest status.
    told: watch::Sender<Option<Arc<PodStatus>>>,
}

impl Report {
    pub fn new(told: watch::Sender<Option<Arc<PodStatus>>>) -> Self {
        Self { written: None, last: None, told }
    }
}

impl Worker {
    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.ctx.client.clone(), &self.pod.namespace().unwrap_or_default())
    }

    pub(super) async fn write_status(&mut self, plan: &Plan, now: Timestamp) {
        let failure = self.failure.as_ref();
        let (view, resize, host_ip) = (&self.view, &self.resize, self.ctx.internal_ip);
        let facts = status::Facts { view, plan, resize, host_ip, failure, now };
        let status = status::build(&self.pod, facts);
        let Ok(value) = serde_json::to_value(&status) else { return };
        if self.report.written.as_ref() == Some(&value) {
            return;
        }
        self.report.told.send_replace(Some(Arc::new(status.clone())));
        let change = status::change(self.pod.status.as_ref(), &status, failure);
        let patch = json!({"metadata": {"uid": self.pod.uid()}, "status": change});
        match self.api().patch_status(&self.pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => {
                // Times of conditions carry over from what was written, whether or not the watch has shown it yet.
                Arc::make_mut(&mut self.pod).status = Some(status.clone());
                (self.report.last, self.report.written) = (Some(status), Some(value));
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                self.retry = true;
                tracing::warn!("status of pod {}: {error}", self.pod.name_any());
            }
        }
    }

    pub(super) async fn delete(&mut self) {
        let preconditions = Some(Preconditions { uid: self.pod.uid(), ..Preconditions::default() });
        let params = DeleteParams { preconditions, ..DeleteParams::default().grace_period(0) };
        match self.api().delete(&self.pod.name_any(), &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => {
                self.retry = true;
                tracing::warn!("delete pod {}: {error}", self.pod.name_any());
            }
        }
    }

    /// Nothing of the pod runs any more, and nothing will: what it kept in volumes goes at once, as it may be what the disk lacks. Its
    /// logs stay for as long as its object.
    pub(super) async fn clear(&mut self) {
        let dir = self.ctx.volumes_dir(&self.pod);
        if let Err(error) = tokio::task::spawn_blocking(move || volumes::remove(&dir)).await {
            tracing::error!("remove the volumes of pod {}: {error}", self.pod.name_any());
        }
        // Who waits for its end may wait for this.
        self.report.told.send_modify(|_| ());
    }

    /// Tells what still runs to end, and gives it a moment for that. Who deletes by force does not want to wait for the pod; its programs
    /// may finish what they are writing all the same (the kubelet's least grace).
    async fn end_what_runs(&self) {
        let running = self.view.containers.iter().filter(|(_, seen)| seen.running());
        let running: Vec<ContainerId> = running.map(|(name, _)| self.latest(name)).collect();
        for id in &running {
            if let Err(error) = self.ctx.runtime.signal(id, libc::SIGTERM).await {
                tracing::debug!("SIGTERM to container {}: {error}", id.name);
            }
        }
        let ended = join_all(running.iter().map(|id| self.ctx.runtime.wait(id)));
        // Whatever is not over by then is killed with its sandbox.
        let _ = timeout(LEAST, ended).await;
    }

    /// The object is gone: whatever is left of the pod goes too.
    pub(super) async fn purge(mut self) {
        self.tasks.clear();
        self.end_what_runs().await;
        let uid = self.pod.uid().unwrap_or_default();
        while let Err(error) = self.ctx.runtime.remove_sandbox(&uid).await {
            tracing::warn!("remove pod {}: {error}", self.pod.name_any());
            tokio::time::sleep(RETRY).await;
        }
        self.ctx.ledger.release(&uid);
        for dir in [self.ctx.volumes_dir(&self.pod), self.ctx.logs_dir(&self.pod)] {
            volumes::remove(&dir);
        }
    }
}
