//! Writes that make an object that is not there: applies, and updates of some kinds.

use http::StatusCode;
use objects::kinds::Kind;
use serde_json::Value;

use super::verbs::Call;
use crate::{
    convert,
    registry::{Change, Outcome, meta, ownership::Write, update::Part},
    status::Failure,
};

/// How often an object that appears or disappears meanwhile is tried again.
const TRIES: usize = 4;

/// The kinds that an update makes when there is no object of the name: those whose upstream strategy says
/// `AllowCreateOnUpdate`. An update of any other kind is answered with 404 then.
const BY_UPDATE: &[(&str, &str)] = &[
    ("", "Endpoints"),
    ("", "Event"),
    ("", "LimitRange"),
    ("", "Service"),
    ("coordination.k8s.io", "Lease"),
    ("coordination.k8s.io", "LeaseCandidate"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
];

/// Whether an update makes an object of a stored kind that is not there.
pub(super) fn by_update(kind: &Kind) -> bool {
    !kind.is_custom() && BY_UPDATE.contains(&(kind.group, kind.kind))
}

impl Call<'_> {
    /// Changes the object, or makes it if it is not there; whichever was done, with its answer.
    ///
    /// # Errors
    /// What changing or making it refuses, and 500 if others make and delete it all the while.
    pub(super) async fn change_or_make<F>(
        &self,
        write: &Write,
        change: impl Change + Clone,
        make: impl Fn() -> F,
    ) -> Result<(StatusCode, Outcome), Failure>
    where
        F: Future<Output = Result<Outcome, Failure>>,
    {
        let mut outcome = Err(Failure::internal("the object comes and goes"));
        for _ in 0..TRIES {
            match self.change(Part::Main, write.clone(), change.clone()).await {
                Ok(changed) => return Ok((StatusCode::OK, changed)),
                Err(failure) if failure.reason == "NotFound" => {}
                Err(failure) => return Err(failure),
            }
            outcome = make().await.map(|made| (StatusCode::CREATED, made));
            match &outcome {
                Err(failure) if failure.reason == "AlreadyExists" => {}
                _ => break,
            }
        }
        outcome
    }

    /// Makes the object of an update that found none. The version that it may say counts for nothing, as upstream; a uid is that of
    /// another object.
    pub(super) async fn make(&self, mut wanted: Value, write: &Write) -> Result<Outcome, Failure> {
        let (kind, namespace) = (self.kind(), &self.target.namespace);
        let uid = meta::text(&wanted, "uid");
        if !uid.is_empty() {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: ");
            return Err(Failure::conflict(kind, self.name(), &why));
        }
        meta::set(&mut wanted, "resourceVersion", None);
        let object = convert::to_stored(kind, wanted)?;
        self.handler.registry.create(kind.storage(), namespace, object, write.clone()).await
    }
}
