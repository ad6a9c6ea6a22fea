//! Updates, prepared before their turn comes.
//!
//! All writes wait for the one whose turn it is, and nearly all that an update takes does not depend on who wrote last: so its text
//! is made from what everybody sees. When its turn comes, that is still what there is, and only the revision is put in; or somebody
//! was faster, and the change is made once more, of that.

use std::sync::{Arc, mpsc};

use bytes::Bytes;
use jiff::Timestamp;
use objects::kinds::KindRef;
use serde_json::Value;

use super::{
    Outcome, Registry,
    claims::{Claims, Decision},
    delete,
    encoded::Encoded,
    ownership::{self, Write},
    parse, priority,
    quota::{Limits, Turn},
    read, requests,
    services::Services,
    update::{self, Part},
};
use crate::{crd, status::Failure, store::Stored};

/// From the object as it is to the object that is wanted. It may be asked twice, the second time of what another write made of it.
pub trait Change: Fn(&Value) -> Result<Value, Failure> + Send + Sync + 'static {}
impl<T: Fn(&Value) -> Result<Value, Failure> + Send + Sync + 'static> Change for T {}

impl Registry {
    /// Changes an object.
    ///
    /// # Errors
    /// 404, 409, 422, and what `change` refuses.
    pub async fn update(
        &self,
        kind: impl Into<KindRef>,
        namespace: &str,
        name: &str,
        part: Part,
        write: impl Into<Write>,
        change: impl Change,
    ) -> Result<Outcome, Failure> {
        let kind = &kind.into();
        let (of, called) = (kind.clone(), name.to_owned());
        let missing = move || Failure::not_found(&of, &called);
        // Of what else changes, no change can use more.
        let grows = match part {
            Part::Main => kind.is("", "Service") || kind.is("", "PersistentVolumeClaim"),
            part => part == Part::Resize,
        };
        let (turn, limits) = if grows { self.limits(kind, namespace).await } else { Default::default() };
        let classes = if kind.is("", "Pod") { priority::Classes::default() } else { self.classes(kind) };
        let services = self.services.clone();
        let update = Update { kind: kind.clone(), part, write: write.into(), change, limits, classes, services, turn };
        let dry_run = update.write.dry_run;
        let found = self.store.get(&self.key(kind, namespace, name)).ok_or_else(&missing)?;
        // What a Service takes that there is once, another write of the same would be refused meanwhile, which is about to take it too.
        let prepared = if kind.is("", "Service") { None } else { Some(update.prepare(&found)?) };
        let (tell, told) = mpsc::channel();
        let written = self.write(kind, namespace, name, dry_run, move |current, revision| {
            let current = current.ok_or_else(missing)?;
            let prepared = prepared.filter(|_| current.revision == found.revision);
            let prepared = prepared.map_or_else(|| update.prepare(current), Ok)?;
            let Prepared { text, gone, claims, before, after } = prepared;
            // Whoever waits is given both, to let go of them as well.
            let _ = tell.send((before, after));
            let json = text.map_or_else(|| current.json.to_vec(), |text| text.at(revision));
            Ok(Decision { claims, ..Decision::new(json, gone) })
        });
        let json: Bytes = written.await?;
        let (before, object) = told.try_recv().map_err(Failure::internal)?;
        Ok(Outcome { json, object, before: Some(before) })
    }
}

/// An update that is to be made.
struct Update<C> {
    kind: KindRef,
    part: Part,
    write: Write,
    change: C,
    limits: Limits,
    classes: priority::Classes,
    services: Arc<Services>,
    turn: Option<Turn>,
}

/// What an update makes of one version of an object.
struct Prepared {
    /// `None`: it stays as it is.
    text: Option<Encoded>,
    /// Whether it goes.
    gone: bool,
    claims: Claims,
    before: Value,
    after: Value,
}

impl<C: Change> Update<C> {
    fn prepare(&self, stored: &Stored) -> Result<Prepared, Failure> {
        let (kind, part) = (&self.kind, self.part);
        let mut current = read(kind, stored)?;
        let wanted = (self.change)(&current)?;
        if part != Part::Main && kind.definition().is_some() {
            current = crd::objects::read_whole(kind, parse(stored)?);
        }
        let supplied = ownership::of(&wanted).cloned();
        let mut next = update::merge(kind, self.write.view(kind), &current, wanted, part)?;
        if requests::is_certificate_request(kind) {
            requests::date(&current, &mut next, Timestamp::now());
        }
        self.limits.check(kind, Some(&current), &next)?;
        self.classes.admit_change(kind, part, &next)?;
        let owned = ownership::take(&mut current);
        let (old, new) = ((Some(&current), owned.as_ref()), (&next, supplied.as_ref()));
        let managed = ownership::after(kind, part, &self.write, old, new, Timestamp::now());
        let is_service = kind.is("", "Service");
        let mut claims = Claims { turn: self.turn.clone(), ..Claims::default() };
        if is_service && part == Part::Main {
            (claims.held, claims.freed) = self.services.change(kind, &current, &mut next)?;
        }
        if next == current && managed == owned {
            return Ok(Prepared { text: None, gone: false, claims, before: current, after: next });
        }
        ownership::put(&mut next, managed);
        let gone = delete::is_finished(kind, &next);
        if is_service && gone {
            // What it would have been given it gives back at once; what it had is its own until that is durable.
            (claims.held, claims.freed) = (Vec::new(), self.services.gone(&current));
        }
        let text = Encoded::new(kind, &mut next, true);
        Ok(Prepared { text: Some(text), gone, claims, before: current, after: next })
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread};

    use objects::kinds::{self, Kind};
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::runtime;

    use super::*;
    use crate::{
        registry::{addresses::Addresses, delete::DeleteOptions},
        store::Store,
    };

    fn maps() -> &'static Kind {
        kinds::by_kind("", "v1", "ConfigMap").unwrap()
    }

    /// With a ConfigMap that holds `first`.
    async fn registry() -> (Arc<Registry>, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let registry = Registry::new(store, Addresses::new("10.43.0.0/16").unwrap());
        let namespace = json!({"metadata": {"name": "default"}});
        registry.create(kinds::by_kind("", "v1", "Namespace").unwrap(), "", namespace, false).await.unwrap();
        let object = json!({"metadata": {"name": "a"}, "data": {"first": "1"}});
        registry.create(maps(), "default", object, false).await.unwrap();
        (Arc::new(registry), dir)
    }

    async fn update(registry: &Registry, change: impl Change) -> Result<Outcome, Failure> {
        registry.update(maps(), "default", "a", Part::Main, false, change).await
    }

    fn with(key: &str, current: &Value) -> Value {
        let mut next = current.clone();
        next["data"][key] = json!("1");
        next
    }

    /// Waits for another thread, which writes and is answered meanwhile.
    fn elsewhere<T: Send>(run: impl Future<Output = T> + Send) -> T {
        let runtime = || runtime::Builder::new_current_thread().build().unwrap();
        thread::scope(|scope| scope.spawn(move || runtime().block_on(run)).join().unwrap())
    }

    #[tokio::test]
    async fn a_change_is_made_once_more_of_what_a_faster_one_has_written() {
        let (registry, _dir) = registry().await;
        let (seen, own) = (Arc::new(Mutex::new(Vec::new())), registry.clone());
        let told = seen.clone();
        let slow = move |current: &Value| {
            let mut seen = told.lock().unwrap();
            seen.push(current["data"].clone());
            if seen.len() == 1 {
                elsewhere(update(&own, |current: &Value| Ok(with("faster", current)))).unwrap();
            }
            Ok(with("slow", current))
        };
        let outcome = update(&registry, slow).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [json!({"first": "1"}), json!({"first": "1", "faster": "1"})]);
        assert_eq!(outcome.before.unwrap()["data"], json!({"first": "1", "faster": "1"}));
        assert_eq!(outcome.object["data"], json!({"first": "1", "faster": "1", "slow": "1"}));
        let stored = registry.get(maps(), "default", "a").unwrap();
        assert_eq!((&stored.json, meta_version(&stored.json)), (&outcome.json, stored.revision));
        let same = update(&registry, |current: &Value| Ok(current.clone())).await.unwrap();
        assert_eq!(same.json, stored.json, "what changes nothing writes nothing");
    }

    fn meta_version(json: &[u8]) -> u64 {
        let object: Value = serde_json::from_slice(json).unwrap();
        object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn an_object_that_goes_before_its_changes_turn_comes_is_not_found() {
        let (registry, _dir) = registry().await;
        let own = registry.clone();
        let late = move |current: &Value| {
            elsewhere(own.delete(maps(), "default", "a", DeleteOptions::default(), false)).unwrap();
            Ok(with("late", current))
        };
        assert_eq!(update(&registry, late).await.unwrap_err().reason, "NotFound");
        assert!(registry.get(maps(), "default", "a").is_err());
    }

    #[tokio::test]
    async fn who_changes_a_service_as_somebody_else_does_is_not_refused_what_that_one_takes() {
        let (registry, _dir) = registry().await;
        let services = kinds::by_kind("", "v1", "Service").unwrap();
        let object = json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}});
        registry.create(services, "default", object, false).await.unwrap();
        let opened = |current: &Value| {
            let mut next = current.clone();
            next["spec"]["type"] = json!("NodePort");
            next["spec"]["ports"][0]["nodePort"] = json!(30500);
            Ok(next)
        };
        let update = || registry.update(services, "default", "a", Part::Main, false, opened);
        let outcomes = futures::future::join_all((0..5).map(|_| update())).await;
        let refused: Vec<Failure> = outcomes.into_iter().filter_map(Result::err).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }
}
