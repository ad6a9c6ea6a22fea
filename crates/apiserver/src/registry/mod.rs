//! Objects as the API has them: the store below, with identity, versions, deletion and what Services are given on top.

pub mod addresses;
mod change;
mod claims;
pub mod create;
pub mod delete;
mod encoded;
pub mod meta;
pub(crate) mod node_ports;
pub mod ownership;
mod pool;
mod priority;
mod quota;
pub(crate) mod requests;
mod services;
pub mod update;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use jiff::Timestamp;
use objects::kinds::{self, Kind, KindRef, Kinds};
use serde_json::Value;

use crate::{
    crd::{self, Definitions},
    status::Failure,
    store::{Key, Snapshot, Store, StoreError, Stored},
};
use addresses::Addresses;
pub use change::Change;
use claims::{Claims, Decision};
use create::Identity;
use delete::{DeleteOptions, Fate};
use encoded::Encoded;
use ownership::Write;
use services::Services;
use update::Part;

/// How often a generated name is made again when it is taken.
const NAME_TRIES: usize = 8;

/// The objects of the API. Shared by everything that serves requests.
pub struct Registry {
    store: Store,
    services: Arc<Services>,
    /// One string per resource, so that a million keys share it.
    resources: Mutex<HashMap<(&'static str, &'static str), Arc<str>>>,
    definitions: Definitions,
    turns: quota::Turns,
}

/// What a write made of an object.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// As it is stored.
    pub json: Bytes,
    /// The same, parsed, but for its revision.
    pub object: Value,
    /// As it was, without its managedFields; `None` if there was none.
    pub before: Option<Value>,
}

/// What deleting did.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object went; this was its last state.
    Gone(Value),
    /// It waits for its node, a finalizer or the namespace controller.
    Waits(Bytes),
}

impl Registry {
    /// As [`Store::closed`].
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.store.closed()
    }

    /// The registry over a store.
    pub fn new(store: Store, addresses: Addresses) -> Self {
        let registry = Self {
            store,
            services: Arc::new(Services::new(addresses)),
            resources: Mutex::default(),
            definitions: Definitions::default(),
            turns: quota::Turns::default(),
        };
        registry.definitions.load(&registry);
        if let Some(services) = kinds::by_kind("", "v1", "Service") {
            for (_, stored) in registry.list(services, "").objects {
                if let Ok(service) = parse(&stored) {
                    registry.services.adopt(&service);
                }
            }
        }
        registry
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The address of the Service `kubernetes`.
    pub fn api_address(&self) -> std::net::Ipv4Addr {
        self.services.addresses().api()
    }

    /// The kinds that are served now.
    pub fn kinds(&self) -> Arc<Kinds> {
        self.definitions.kinds()
    }

    /// What CustomResourceDefinitions add to them.
    pub(crate) fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// The store's name of a kind's resource: kinds that are versions of each other share it.
    pub fn resource(&self, kind: &Kind) -> Arc<str> {
        let kind = kind.storage();
        let mut resources = self.resources.lock().unwrap_or_else(PoisonError::into_inner);
        let name = || Arc::from(format!("{}/{}", kind.group, kind.plural));
        resources.entry((kind.group, kind.plural)).or_insert_with(name).clone()
    }

    fn key(&self, kind: &Kind, namespace: &str, name: &str) -> Key {
        Key { resource: self.resource(kind), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// One object.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Stored, Failure> {
        self.store.get(&self.key(kind, namespace, name)).ok_or_else(|| Failure::not_found(kind, name))
    }

    /// All objects of a kind, in a namespace or (empty) in all.
    pub fn list(&self, kind: &Kind, namespace: &str) -> Snapshot {
        self.store.list(&self.resource(kind), namespace)
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: &Kind) -> usize {
        self.store.count(&self.resource(kind))
    }

    /// Makes an object.
    ///
    /// # Errors
    /// 409 when there is one of this name; 403 when its namespace is going or a quota is used up, 404 when it is not there; 422.
    pub async fn create(
        &self,
        kind: impl Into<KindRef>,
        namespace: &str,
        mut object: Value,
        write: impl Into<Write>,
    ) -> Result<Outcome, Failure> {
        let kind = &kind.into();
        let write = write.into();
        let dry_run = write.dry_run;
        let generated = meta::text(&object, "name").is_empty();
        let supplied = ownership::take(&mut object);
        let unsaid = ownership::unsaid(kind, &object);
        let (turn, limits) = self.limits(kind, namespace).await;
        self.classes(kind).admit(kind, &mut object)?;
        for _ in 0..if generated { NAME_TRIES } else { 1 } {
            let identity = Identity::generate();
            let sent = if generated { object.clone() } else { std::mem::take(&mut object) };
            let mut made = create::prepare(kind, write.view(kind), namespace, sent, &identity)?;
            let seen = ownership::without(&made, &unsaid);
            let new = (&*seen, supplied.as_ref());
            let managed = ownership::after(kind, Part::Main, &write, (None, None), new, identity.now);
            let name = meta::text(&made, "name").to_owned();
            self.check_namespace(kind, namespace, &name)?;
            limits.check(kind, None, &made)?;
            let held = if kind.is("", "Service") { self.services.create(kind, &mut made)? } else { Vec::new() };
            ownership::put(&mut made, managed);
            let taken = Failure::already_exists(kind, &name);
            let encoded = Encoded::new(kind, &mut made, !dry_run);
            let claims = Claims { held, turn: turn.clone(), ..Claims::default() };
            let written = self.write(kind, namespace, &name, dry_run, move |current, revision| match current {
                Some(_) => Err(taken),
                None => Ok(Decision { claims, ..Decision::new(encoded.at(revision), false) }),
            });
            match written.await {
                Err(failure) if generated && failure.reason == "AlreadyExists" => continue,
                Ok(json) => return Ok(Outcome { json, object: made, before: None }),
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::already_exists(kind, meta::text(&object, "generateName")))
    }

    /// Begins or finishes an object's deletion.
    ///
    /// # Errors
    /// 404, and 409 when a precondition does not hold.
    pub async fn delete(
        &self,
        kind: impl Into<KindRef>,
        namespace: &str,
        name: &str,
        options: DeleteOptions,
        dry_run: bool,
    ) -> Result<Deleted, Failure> {
        let kind = &kind.into();
        let of = kind.clone();
        let missing = Failure::not_found(kind, name);
        let services = self.services.clone();
        let (tell, told) = std::sync::mpsc::channel();
        let written = self.write(kind, namespace, name, dry_run, move |current, revision| {
            let stored = current.ok_or(missing)?;
            let kind = &of;
            let mut current = parse(stored)?;
            if crd::is_definition(kind) {
                crd::hold_until_cleaned(&mut current);
            }
            let fate = delete::fate(kind, &current, &options, Timestamp::now())?;
            // The receiver lives until the write is answered.
            let _ = tell.send(fate == Fate::Gone);
            Ok(match fate {
                Fate::Gone => {
                    let mut decision = Decision::new(encode(kind, &mut current, revision), true);
                    if kind.is("", "Service") {
                        decision.claims.freed = services.gone(&current);
                    }
                    decision
                }
                Fate::Unchanged => Decision::new(stored.json.to_vec(), false),
                Fate::Waits(mut next) => Decision::new(encode(kind, &mut next, revision), false),
            })
        });
        let bytes = written.await?;
        if told.try_recv() != Ok(true) {
            return Ok(Deleted::Waits(bytes));
        }
        serde_json::from_slice(&bytes).map(Deleted::Gone).map_err(Failure::internal)
    }

    fn check_namespace(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Failure> {
        if !kind.namespaced {
            return Ok(());
        }
        let Some(namespaces) = kinds::by_kind("", "v1", "Namespace") else { return Ok(()) };
        let found = self.get(namespaces, "", namespace)?;
        // Nearly none is, and to look for a word costs less than to read it all.
        let word = b"\"deletionTimestamp\"";
        if !found.json.windows(word.len()).any(|part| part == word) {
            return Ok(());
        }
        if meta::is_deleting(&parse(&found)?) && (kind.kind != "Event" || kind.is_custom()) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut refused = Failure::forbidden(kind, name, &why);
            if let Some(details) = refused.details.as_mut().and_then(Value::as_object_mut) {
                let cause = serde_json::json!({"reason": "NamespaceTerminating", "field": "metadata.namespace",
                    "message": format!("namespace {namespace} is being terminated")});
                details.insert("causes".to_owned(), serde_json::json!([cause]));
            }
            return Err(refused);
        }
        Ok(())
    }

    /// One write, which is settled even if nobody waits for its answer.
    async fn write(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        dry_run: bool,
        decide: impl FnOnce(Option<&Stored>, u64) -> Result<Decision, Failure> + Send + 'static,
    ) -> Result<Bytes, Failure> {
        let key = self.key(kind, namespace, name);
        if dry_run {
            let current = self.store.get(&key);
            let revision = current.as_ref().map_or(0, |stored| stored.revision);
            return decide(current.as_ref(), revision).map(|decision| Bytes::from(decision.json));
        }
        let written = self.store.write(key, move |current, revision| {
            let decision = decide(current, revision)?;
            Ok(decision.decided(current.map(|stored| &*stored.json)))
        });
        match written.await {
            Ok(written) => written.stored.map(|stored| stored.json).ok_or_else(|| Failure::not_found(kind, name)),
            Err(StoreError::Refused(failure)) => Err(failure),
            Err(StoreError::Disk(error)) if error.full => Err(Failure::disk_full(&error)),
            Err(StoreError::Panicked(panic)) => {
                Err(Failure::internal(format!("a panic while the object was checked: {panic}")))
            }
            Err(StoreError::Disk(error)) => {
                Err(Failure::internal(format!("the write could not be made durable: {error}")))
            }
        }
    }
}

/// The object in its stored bytes.
///
/// # Errors
/// 500: the store holds what is not JSON.
pub fn parse(stored: &Stored) -> Result<Value, Failure> {
    serde_json::from_slice(&stored.json).map_err(Failure::internal)
}

/// The object in its stored bytes, as a kind has it.
///
/// # Errors
/// 500: the store holds what is not JSON.
fn read(kind: &Kind, stored: &Stored) -> Result<Value, Failure> {
    let object = parse(stored)?;
    Ok(if kind.definition().is_some() { crd::objects::read(kind, object) } else { object })
}

/// The object's bytes, saying the revision that writes them.
fn encode(kind: &Kind, object: &mut Value, revision: u64) -> Vec<u8> {
    Encoded::new(kind, object, revision > 0).at(revision)
}
