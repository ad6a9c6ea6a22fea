//! Bringing everything up to date with the stored definitions: their statuses, the kinds that are served, and the objects of
//! definitions that are being deleted.

use std::sync::{Arc, Weak};

use ::objects::{
    custom,
    kinds::{Kind, KindRef, Kinds},
};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{FINALIZER, kind, names, stored};
use crate::{
    follow,
    registry::{
        Registry,
        delete::{self, DeleteOptions},
        meta,
        update::Part,
    },
    status::Failure,
    store::Watcher,
};

/// Reads every definition, writes the statuses that changed, and serves what is to be served.
///
/// # Errors
/// What the store refused; the next call goes on from there.
pub(crate) async fn sync(registry: &Registry) -> Result<(), Failure> {
    let _turn = registry.definitions().turn.lock().await;
    let outcome = write_statuses(registry).await;
    registry.definitions().load(registry);
    outcome?;
    clean(registry).await?;
    registry.definitions().load(registry);
    Ok(())
}

/// Brings everything up to date whenever a definition changes, or something that a deletion waits for, until the registry is gone. The
/// requests that change definitions do the same, so that it is done when they are answered; but whoever asked may leave before that.
/// What the store refused is tried again.
pub(crate) async fn follow(registry: Weak<Registry>) {
    let work = |registry: Arc<Registry>| async move { sync(&registry).await };
    follow::run(registry, "CustomResourceDefinitions", watchers, work).await;
}

/// The kinds whose definitions are being deleted.
fn terminating(kinds: &Kinds) -> impl Iterator<Item = &Arc<Kind>> {
    kinds.defined().iter().filter(|kind| kind.definition().is_some_and(|definition| definition.terminating))
}

/// What tells of changes: of the definitions, and of the objects that deleted ones wait for.
fn watchers(registry: &Registry) -> Vec<Watcher> {
    let kinds = registry.kinds();
    let held = terminating(&kinds).map(|kind| registry.resource(kind));
    let all = kind().map(|kind| registry.resource(kind)).into_iter().chain(held);
    all.map(|resource| registry.store().watch(&resource)).collect()
}

async fn write_statuses(registry: &Registry) -> Result<(), Failure> {
    let Some(kind) = kind() else { return Ok(()) };
    let mut all = stored(registry);
    let now = delete::time(Timestamp::now());
    let groups: Vec<Option<Value>> = all.iter().map(|one| one.pointer("/spec/group").cloned()).collect();
    for (index, own) in groups.iter().enumerate() {
        let others = all.iter().zip(&groups).enumerate().filter(|(at, (_, group))| *at != index && *group == own);
        let others: Vec<&Value> = others.map(|(_, (other, _))| other).collect();
        let Some(definition) = all.get(index).filter(|definition| !meta::is_deleting(definition)) else { continue };
        let status = names::status(definition, &others, &now);
        if definition.get("status") == Some(&status) {
            continue;
        }
        let name = meta::text(definition, "name").to_owned();
        set_status(registry, kind.into(), &name, status.clone()).await?;
        if let Some(map) = all.get_mut(index).and_then(Value::as_object_mut) {
            map.insert("status".to_owned(), status.clone());
        }
    }
    Ok(())
}

async fn set_status(registry: &Registry, kind: KindRef, name: &str, status: Value) -> Result<(), Failure> {
    let set = move |current: &Value| {
        let mut next = current.clone();
        if let Some(map) = next.as_object_mut() {
            map.insert("status".to_owned(), status.clone());
        }
        Ok(next)
    };
    gone_is_fine(registry.update(kind, "", name, Part::Status, false, set).await.map(drop))
}

fn gone_is_fine(outcome: Result<(), Failure>) -> Result<(), Failure> {
    match outcome {
        Err(failure) if failure.code == StatusCode::NOT_FOUND => Ok(()),
        outcome => outcome,
    }
}

/// Deletes the objects of definitions that are being deleted, and lets those go that have none left.
async fn clean(registry: &Registry) -> Result<(), Failure> {
    let Some(kind) = kind() else { return Ok(()) };
    for mut definition in stored(registry) {
        if !meta::is_deleting(&definition) || !meta::finalizers(&definition).contains(&FINALIZER) {
            continue;
        }
        let name = meta::text(&definition, "name").to_owned();
        let now = delete::time(Timestamp::now());
        let mut left = false;
        if let Some(own) = own_kind(&definition) {
            left = !remove_all(registry, &own).await?;
        }
        let (reason, message) = if left {
            ("InstanceDeletionInProgress", "CustomResource deletion is in progress")
        } else {
            ("InstanceDeletionCompleted", "removed all instances")
        };
        let mut status = definition.get_mut("status").map(Value::take).unwrap_or_else(|| json!({}));
        let before = status.clone();
        names::set_condition(&mut status, "Terminating", left, reason, message, &now);
        if left {
            if status != before {
                set_status(registry, kind.into(), &name, status).await?;
            }
            continue;
        }
        let release = |current: &Value| {
            let mut next = current.clone();
            let kept: Vec<&str> = meta::finalizers(current).into_iter().filter(|one| *one != FINALIZER).collect();
            meta::set(&mut next, "finalizers", Some(json!(kept)));
            Ok(next)
        };
        gone_is_fine(registry.update(kind, "", &name, Part::Main, false, release).await.map(drop))?;
    }
    Ok(())
}

/// The kind whose objects go with a definition; `None` where they are not the definition's.
fn own_kind(definition: &Value) -> Option<KindRef> {
    let mut definition = definition.clone();
    // Objects of a version that is not served go too.
    for version in definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(map) = version.as_object_mut() {
            map.insert("served".to_owned(), true.into());
        }
    }
    // What is built in stays, and a definition that never was established has none.
    if !custom::is_served(&definition) {
        return None;
    }
    let kinds = ::objects::kinds::Kinds::new(custom::kinds(&definition).ok()?);
    // In the version that they are kept in: the schemas of others are not known here.
    let keeps = |kind: &&Arc<Kind>| kind.definition().is_some_and(|definition| definition.storage == kind.version);
    kinds.defined().iter().find(keeps).cloned().map(KindRef::Defined)
}

/// Whether none is left.
async fn remove_all(registry: &Registry, kind: &KindRef) -> Result<bool, Failure> {
    for (key, _) in registry.list(kind, "").objects {
        let deleted = registry.delete(kind, &key.namespace, &key.name, DeleteOptions::default(), false).await;
        gone_is_fine(deleted.map(drop))?;
    }
    Ok(registry.list(kind, "").objects.is_empty())
}
