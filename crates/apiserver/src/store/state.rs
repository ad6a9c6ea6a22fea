//! What is visible: committed, and nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use super::{
    Key, Stored,
    history::{Change, History},
};

/// Namespace and name.
pub(super) type Name = (String, String);

/// Where the watchers of one resource wait.
#[derive(Debug)]
pub(super) struct Feed {
    /// The revision of the resource's last change.
    pub changed: watch::Sender<u64>,
    /// How many wait.
    pub watchers: AtomicUsize,
}

pub(super) struct Resource {
    pub objects: BTreeMap<Name, Stored>,
    pub history: History,
    pub feed: Arc<Feed>,
}

impl Resource {
    fn new(revision: u64) -> Self {
        let feed = Arc::new(Feed { changed: watch::Sender::new(revision), watchers: AtomicUsize::new(0) });
        Self { objects: BTreeMap::new(), history: History::starting_at(revision), feed }
    }
}

pub(super) struct State {
    pub revision: u64,
    /// The revision at the start: nothing from before is remembered, of any resource.
    start: u64,
    resources: BTreeMap<Arc<str>, Resource>,
    /// Bytes of all objects' JSON and names.
    pub live: u64,
}

/// Which objects of a resource are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range<'a> {
    /// Of one namespace, or of all (empty).
    pub namespace: &'a str,
    /// Only those after this namespace and name.
    pub after: Option<(&'a str, &'a str)>,
    /// At most so many; 0 is all.
    pub limit: usize,
    /// As they were at this revision; `None` is now.
    pub at: Option<u64>,
}

/// A consistent read of one resource.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The store's revision at the time of the read, or the one that was asked for: the list's `resourceVersion`.
    pub revision: u64,
    /// In order of namespace and name.
    pub objects: Vec<(Key, Stored)>,
    /// How many of the range come after these.
    pub remaining: usize,
}

impl State {
    pub(super) fn new(objects: Vec<(Key, Stored)>, revision: u64) -> Self {
        let mut state = Self { revision, start: revision, resources: BTreeMap::new(), live: 0 };
        for (key, stored) in objects {
            state.live += size(&key, &stored);
            state.resource(&key.resource).objects.insert((key.namespace, key.name), stored);
        }
        state
    }

    /// The resource, made if need be. There is one for each kind at most: whoever asks has found the kind first.
    pub(super) fn resource(&mut self, name: &Arc<str>) -> &mut Resource {
        let start = self.start;
        self.resources.entry(name.clone()).or_insert_with(|| Resource::new(start))
    }

    pub(super) fn existing(&self, name: &Arc<str>) -> Option<&Resource> {
        self.resources.get(name)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Stored> {
        let name = (key.namespace.clone(), key.name.clone());
        self.resources.get(&key.resource)?.objects.get(&name).cloned()
    }

    /// Takes changes in, in order; each resource's watchers are told once.
    pub(super) fn take(&mut self, revision: u64, changes: impl Iterator<Item = Change>) {
        self.revision = revision;
        let mut changed: Vec<Arc<Feed>> = Vec::new();
        for change in changes {
            let name = (change.key.namespace.clone(), change.key.name.clone());
            if let Some(previous) = &change.previous {
                self.live = self.live.saturating_sub(size(&change.key, previous));
            }
            if !change.deleted {
                self.live += size(&change.key, &change.stored);
            }
            let resource = self.resource(&change.key.resource);
            if change.deleted {
                resource.objects.remove(&name);
            } else {
                resource.objects.insert(name, change.stored.clone());
            }
            resource.history.push(change);
            if !changed.iter().any(|feed| Arc::ptr_eq(feed, &resource.feed)) {
                changed.push(resource.feed.clone());
            }
        }
        for feed in changed {
            feed.changed.send_replace(revision);
        }
    }

    /// The objects of a range; `None` if too much has changed since the revision that is asked for, or it is yet to come.
    pub(super) fn read(&self, resource: &Arc<str>, range: &Range<'_>) -> Option<Snapshot> {
        let revision = range.at.unwrap_or(self.revision);
        if revision > self.revision {
            return None;
        }
        let none = BTreeMap::new();
        let (objects, then) = match self.resources.get(resource) {
            None if revision < self.start => return None,
            None => (&none, HashMap::new()),
            Some(found) if revision == self.revision => (&found.objects, HashMap::new()),
            Some(found) => (&found.objects, since(&found.history, revision, self.revision)?),
        };
        let mut all = merged(objects, &then, range);
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        let key = |(namespace, name): &Name| Key {
            resource: resource.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let objects = all.by_ref().take(limit).map(|(name, stored)| (key(name), stored.clone())).collect();
        Some(Snapshot { revision, objects, remaining: all.count() })
    }

    /// Every object of every resource.
    pub(super) fn everything(&self) -> Vec<(Key, Stored)> {
        let of = |(resource, found): (&Arc<str>, &Resource)| {
            let resource = resource.clone();
            let key = move |(namespace, name): &Name| Key {
                resource: resource.clone(),
                namespace: namespace.clone(),
                name: name.clone(),
            };
            found.objects.iter().map(|(name, stored)| (key(name), stored.clone())).collect::<Vec<_>>()
        };
        self.resources.iter().flat_map(of).collect()
    }

    /// How many objects there are of each resource.
    pub(super) fn counts(&self) -> Vec<(Arc<str>, usize, usize)> {
        let count = |(name, found): (&Arc<str>, &Resource)| {
            (name.clone(), found.objects.len(), found.feed.watchers.load(Ordering::Relaxed))
        };
        self.resources.iter().map(count).collect()
    }

    /// The revision after which everything of a resource is remembered.
    pub(super) fn oldest(&self, resource: &Arc<str>) -> u64 {
        self.resources.get(resource).map_or(self.start, |found| found.history.oldest())
    }
}

fn size(key: &Key, stored: &Stored) -> u64 {
    (key.resource.len() + key.namespace.len() + key.name.len() + stored.json.len()) as u64
}

/// The objects that have changed since a revision, as they were then.
fn since(history: &History, revision: u64, now: u64) -> Option<HashMap<Name, Option<Stored>>> {
    let mut then = HashMap::new();
    for change in history.after(revision, now, usize::MAX)?.changes {
        let name = (change.key.namespace.clone(), change.key.name.clone());
        // The first change since knows what was there before it.
        then.entry(name).or_insert_with(|| change.previous.clone());
    }
    Some(then)
}

/// The objects of a range in order, `then` standing for what there is now.
fn merged<'a>(
    now: &'a BTreeMap<Name, Stored>,
    then: &'a HashMap<Name, Option<Stored>>,
    range: &Range<'a>,
) -> impl Iterator<Item = (&'a Name, &'a Stored)> + use<'a> {
    let (namespace, after) = (range.namespace, range.after);
    let start = match after {
        Some((in_namespace, name)) if in_namespace >= namespace => {
            Bound::Excluded((in_namespace.to_owned(), name.to_owned()))
        }
        _ => Bound::Included((namespace.to_owned(), String::new())),
    };
    let selected = move |name: &Name| {
        (namespace.is_empty() || name.0 == namespace)
            && after.is_none_or(|after| (name.0.as_str(), name.1.as_str()) > after)
    };
    let there =
        now.range((start, Bound::Unbounded)).take_while(move |(name, _)| namespace.is_empty() || name.0 == namespace);
    let mut there = there.filter(|(name, _)| !then.contains_key(*name)).peekable();
    let mut other: Vec<(&Name, &Stored)> = then
        .iter()
        .filter(|(name, _)| selected(name))
        .filter_map(|(name, stored)| Some((name, stored.as_ref()?)))
        .collect();
    other.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    std::iter::from_fn(move || match (there.peek(), other.last()) {
        (Some((now, _)), Some((then, _))) if then < now => other.pop(),
        (Some(_), _) => there.next(),
        (None, _) => other.pop(),
    })
}
