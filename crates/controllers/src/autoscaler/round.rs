//! One round up to its decisions: what every autoscaler sees, and what comes of it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use autoscaling::{
    Moment,
    decide::{Autoscaler, Demand, Reading, Scale, Seen, Status, Unselected},
    history::History,
    metrics::Source,
    overlap,
    predict::Outlook,
};
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use kube::ResourceExt;
use objects::{
    kinds::{KindRef, Kinds},
    selector::Labels,
};

use super::{
    Act, Loop, Memory, Pass, Todo, demand,
    figures::Figures,
    target::{self, Target},
};
use crate::cache::{Key, in_namespace};

/// One autoscaler in this round.
struct Look {
    key: Key,
    object: Arc<HorizontalPodAutoscaler>,
    autoscaler: Autoscaler,
    target: Result<Target, String>,
    selector: Result<Labels, Unselected>,
    /// Nothing is asked for it: it is here because its pods may be others', too.
    only_selects: bool,
}

impl Loop {
    /// What every one of these comes to; early only those come to anything that rise.
    pub(super) async fn decide(&mut self, objects: Vec<Arc<HorizontalPodAutoscaler>>, pass: Pass) -> Vec<Act> {
        let kinds = self.served.now().await.kinds;
        let mut looks = Vec::with_capacity(objects.len());
        for object in objects.into_iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
            looks.push(self.look(object, &kinds, pass).await);
        }
        let resources = |look: &&Look| {
            look.target.is_ok()
                && !look.only_selects
                && look.autoscaler.metrics.iter().any(|one| matches!(one.source, Source::Resource { .. }))
        };
        let namespaces: HashSet<&str> =
            looks.iter().filter(resources).map(|look| look.key.namespace.as_str()).collect();
        let client = self.client.clone();
        let mut figures = Figures::new(&client, namespaces.len());
        let mut by_namespace: BTreeMap<String, Vec<Look>> = BTreeMap::new();
        for look in looks {
            by_namespace.entry(look.key.namespace.clone()).or_default().push(look);
        }
        let mut acts = Vec::new();
        for (namespace, looks) in by_namespace {
            acts.extend(self.decide_in(&namespace, looks, &mut figures, &kinds, pass).await);
        }
        acts
    }

    async fn look(&mut self, object: Arc<HorizontalPodAutoscaler>, kinds: &Kinds, pass: Pass) -> Look {
        let key = Key::of(object.as_ref());
        let known = self.memory.get(&key).and_then(|memory| memory.target.clone());
        let to = object.spec.as_ref().map(|spec| &spec.scale_target_ref);
        let only_selects = pass == Pass::Early && !self.may_rise(&object);
        let target = match known {
            known if only_selects => known.ok_or_else(|| "its round has not come yet".to_owned()),
            known => target::read(&self.client, &self.cache, kinds, (&key.namespace, to), known).await,
        };
        let memory = self.memory.entry(key.clone()).or_insert_with(|| Memory {
            uid: object.uid(),
            history: None,
            target: None,
            status: None,
            written: None,
            warned: Vec::new(),
        });
        memory.target = target.as_ref().ok().cloned();
        let selector = match target.as_ref().map(|target| target.scale.selector.as_str()) {
            Ok("") | Err(_) => Err(Unselected::Absent),
            Ok(text) => Labels::parse(text).map_err(|error| Unselected::Unreadable(error.to_string())),
        };
        let autoscaler = Autoscaler::of(&object, &self.options.settings);
        Look { key, object, autoscaler, target, selector, only_selects }
    }

    /// Decides for the autoscalers of one namespace.
    async fn decide_in(
        &mut self,
        namespace: &str,
        looks: Vec<Look>,
        figures: &mut Figures<'_>,
        kinds: &Kinds,
        pass: Pass,
    ) -> Vec<Act> {
        let pods = in_namespace(&self.cache.pods, namespace);
        let selected = selected(&looks, &pods);
        let wakes = looks.iter().any(|look| look.autoscaler.bounds.min == 0);
        let services = if wakes { in_namespace(&self.cache.services, namespace) } else { Vec::new() };
        let services: Vec<_> = services.iter().map(AsRef::as_ref).collect();
        let mut acts = Vec::with_capacity(looks.len());
        for (look, (pods, wrong)) in looks.into_iter().zip(selected) {
            if look.only_selects {
                continue;
            }
            let (mut readings, mut wanted) = (Vec::new(), Demand::Unknown);
            if look.target.is_ok() && wrong.is_none() {
                readings = read(&look, namespace, &pods, figures, kinds).await;
                if look.autoscaler.bounds.min == 0 {
                    wanted = demand::demand(figures, namespace, &pods, &services).await;
                }
            }
            let mut sight = Sight { pods, wrong, readings, demand: wanted, outlook: None };
            let now = self.now();
            if pass == Pass::Early && !self.rises(&look, &sight, now) {
                continue;
            }
            sight.outlook = self.forecasts.outlook(&look.object, &look.autoscaler, &sight.pods, now.wall).await;
            let (old, todo) = self.decide_one(&look, &sight, self.now());
            let Look { key, object, autoscaler, .. } = look;
            acts.push(Act { key, object, autoscaler, old, todo });
        }
        acts
    }

    /// Whether a look between two rounds raises the count.
    fn rises(&self, look: &Look, sight: &Sight<'_>, now: Moment) -> bool {
        let history = self.memory.get(&look.key).and_then(|memory| memory.history.as_ref());
        let (Ok(target), Some(history), None) = (&look.target, history, &sight.wrong) else { return false };
        let seen = sight.of(&target.scale);
        look.autoscaler.rises_early(seen, history, now)
    }

    fn decide_one(&mut self, look: &Look, sight: &Sight<'_>, now: Moment) -> (Status, Todo) {
        let memory = self.memory.get_mut(&look.key);
        let (mut fresh, mut status) = (None, None);
        let history = match memory {
            Some(memory) => {
                status.clone_from(&memory.status);
                &mut memory.history
            }
            None => &mut fresh,
        };
        let old = status.or_else(|| look.object.status.clone()).unwrap_or_default();
        let target = match &look.target {
            Ok(target) => target,
            Err(error) => {
                let (status, event) = look.autoscaler.unreadable(&old, error, now);
                return (old, Todo::Unreadable(Box::new(status), event));
            }
        };
        let history = history.get_or_insert_with(|| History::restored(target.scale.replicas, Some(&old), now));
        let decision = look.autoscaler.decide_ahead(&old, sight.of(&target.scale), sight.outlook, history, now);
        if let Some(needed) = decision.needed {
            self.forecasts.learn(&look.key, needed, now.wall);
        }
        (old, Todo::Decided(Box::new(decision), target.clone()))
    }
}

/// What one autoscaler sees.
struct Sight<'a> {
    pods: Vec<&'a Pod>,
    wrong: Option<Unselected>,
    readings: Vec<Result<Reading, String>>,
    demand: Demand,
    outlook: Option<Outlook>,
}

impl Sight<'_> {
    fn of<'a>(&'a self, scale: &'a Scale) -> Seen<'a> {
        let pods = self.wrong.as_ref().map_or(Ok(self.pods.as_slice()), Err);
        Seen { scale, pods, readings: &self.readings, demand: self.demand }
    }
}

/// The pods of each autoscaler, and what is wrong with how it selects them.
fn selected<'a>(looks: &[Look], pods: &'a [Arc<Pod>]) -> Vec<(Vec<&'a Pod>, Option<Unselected>)> {
    let selectors: Vec<Option<&Labels>> = looks.iter().map(|look| look.selector.as_ref().ok()).collect();
    let found = overlap::select(&selectors, pods.iter().map(|pod| pod.labels()));
    let of = |(look, selection): (&Look, overlap::Selection)| {
        let mine = selection.pods.iter().filter_map(|place| pods.get(*place)).map(AsRef::as_ref).collect();
        let mut names: Vec<&str> =
            selection.shared.iter().filter_map(|place| looks.get(*place)).map(|look| look.key.name.as_str()).collect();
        names.sort_unstable();
        let selector = look.target.as_ref().map_or("", |target| target.scale.selector.as_str());
        let shared = || Unselected::Ambiguous(overlap::message(selector, &look.key.namespace, &names));
        let wrong = look.selector.as_ref().err().cloned().or_else(|| (!names.is_empty()).then(shared));
        (mine, wrong)
    };
    looks.iter().zip(found).map(of).collect()
}

/// What the metrics APIs say to one autoscaler.
async fn read(
    look: &Look,
    namespace: &str,
    pods: &[&Pod],
    figures: &mut Figures<'_>,
    kinds: &Kinds,
) -> Vec<Result<Reading, String>> {
    let of_group = |group: &str, name: &str| -> Option<KindRef> {
        kinds.all().find(|kind| kind.group == group && kind.kind == name)
    };
    let mut readings = Vec::with_capacity(look.autoscaler.metrics.len());
    for metric in &look.autoscaler.metrics {
        readings.push(figures.of(metric, namespace, pods, of_group).await);
    }
    readings
}
