//! One look at everything that waits for a node: who goes where, who waits and why, and who has to go for them. Pure.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;

use super::{
    fit::{Load, Reason, Stay, Wants, fits, takes_room, unschedulable_message},
    preempt::{self, Left, Victims},
};

/// Everything there is.
#[derive(Clone, Debug)]
pub struct World<'a> {
    /// The nodes, in the order in which they are tried.
    pub nodes: Vec<&'a Node>,
    /// All pods.
    pub pods: Vec<&'a Pod>,
    /// The disruption budgets.
    pub budgets: Vec<&'a PodDisruptionBudget>,
    /// Nodes of pods, by uid, that were bound to them a moment ago.
    pub bound: &'a HashMap<String, String>,
    /// What was said a moment ago of pods, by uid.
    pub said: &'a HashMap<String, Said>,
    /// The uids of pods that were told to go a moment ago.
    pub told: &'a HashSet<String>,
    /// The time.
    pub now: Timestamp,
}

/// What is said of a pod that waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Why it waits.
    pub message: String,
    /// The node on which room is made for it.
    pub nominated: Option<String>,
}

/// What is to be done about a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'a> {
    /// It goes to this node.
    Bind(&'a Pod, &'a Node),
    /// It waits, and others go for it.
    Wait {
        /// The pod.
        pod: &'a Pod,
        /// What is to be said of it.
        said: Said,
        /// Who has to go, the most important first.
        victims: Vec<&'a Pod>,
    },
}

/// A node, and what is on it.
#[derive(Clone, Debug)]
pub(super) struct Room<'a> {
    pub node: &'a Node,
    pub pods: Vec<Wants<'a>>,
    load: Load,
    /// Those for whom room is being made here.
    expected: Vec<Wants<'a>>,
}

impl<'a> Room<'a> {
    fn add(&mut self, pod: Wants<'a>) {
        self.load.add(&pod);
        self.pods.push(pod);
    }

    /// What a pod must fit beside: what is there, and what is expected and not less important.
    pub(super) fn load_for(&self, pod: &Wants<'_>) -> Load {
        let mut load = self.load.clone();
        let before = |other: &&Wants<'_>| other.priority >= pod.priority && other.pod.uid() != pod.pod.uid();
        self.expected.iter().filter(before).for_each(|other| load.add(other));
        load
    }

    fn forget(&mut self, pod: &Pod) {
        self.expected.retain(|other| other.pod.uid() != pod.uid());
    }
}

/// Whether this scheduler is to find a node for a pod; for one with gates, not before the last of them is taken away.
pub(super) fn waits(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.node_name.is_none()
            && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
            && spec.scheduler_name.as_deref().unwrap_or(super::COMPONENT) == super::COMPONENT
    }) && pod.metadata.deletion_timestamp.is_none()
        && takes_room(pod)
}

/// Plans for every pod that waits: the most important first, then the oldest.
pub fn plan<'a>(world: &World<'a>) -> Vec<Decision<'a>> {
    let bound = |pod: &Pod| pod.uid().and_then(|uid| world.bound.get(&uid));
    let mut waiting: Vec<&'a Pod> =
        world.pods.iter().copied().filter(|pod| waits(pod) && bound(pod).is_none()).collect();
    if waiting.is_empty() {
        return Vec::new();
    }
    let priority = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    waiting
        .sort_by_cached_key(|pod| (Reverse(priority(pod)), pod.creation_timestamp(), pod.namespace(), pod.name_any()));
    let mut round = Round { rooms: rooms(world, &waiting), left: Left::new(), world };
    waiting.into_iter().map(|pod| round.decide(pod)).collect()
}

fn rooms<'a>(world: &World<'a>, waiting: &[&'a Pod]) -> Vec<Room<'a>> {
    let mut on: HashMap<&str, Vec<&'a Pod>> = HashMap::new();
    for pod in world.pods.iter().copied().filter(|pod| takes_room(pod)) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node = node.or_else(|| world.bound.get(pod.metadata.uid.as_deref()?).map(String::as_str));
        if let Some(node) = node {
            on.entry(node).or_default().push(pod);
        }
    }
    let make = |node: &&'a Node| {
        let name = node.name_any();
        let mut room = Room { node, pods: Vec::new(), load: Load::default(), expected: Vec::new() };
        for pod in on.remove(name.as_str()).into_iter().flatten() {
            let mut wants = Wants::of(pod);
            if pod.metadata.uid.as_ref().is_some_and(|uid| world.told.contains(uid)) {
                wants.stay = Stay::Preempted;
            }
            room.add(wants);
        }
        let expected = waiting.iter().filter(|pod| nominated(world, pod).as_deref() == Some(&name));
        room.expected = expected.map(|pod| Wants::of(pod)).collect();
        room
    };
    world.nodes.iter().map(make).collect()
}

/// The node on which room is being made for a pod.
fn nominated(world: &World<'_>, pod: &Pod) -> Option<String> {
    match pod.uid().and_then(|uid| world.said.get(&uid)) {
        Some(said) => said.nominated.clone(),
        None => pod.status.as_ref().and_then(|status| status.nominated_node_name.clone()).filter(|n| !n.is_empty()),
    }
}

struct Round<'w, 'a> {
    world: &'w World<'a>,
    rooms: Vec<Room<'a>>,
    left: Left,
}

impl<'a> Round<'_, 'a> {
    fn decide(&mut self, pod: &'a Pod) -> Decision<'a> {
        let wants = Wants::of(pod);
        let mut reasons = Vec::with_capacity(self.rooms.len());
        for room in &mut self.rooms {
            match fits(&wants, room.node, &room.load_for(&wants)) {
                Ok(()) => {
                    let node = room.node;
                    room.add(wants);
                    self.rooms.iter_mut().for_each(|room| room.forget(pod));
                    return Decision::Bind(pod, node);
                }
                Err(why) => reasons.push(why),
            }
        }
        let mut message = unschedulable_message(reasons.iter().map(Vec::as_slice));
        let before = self.expects(pod);
        let (nominated, victims) = if self.rooms.is_empty() {
            (None, Vec::new())
        } else {
            match self.preempt(&wants, &reasons, before) {
                Ok(victims) => (Some(victims.node), victims.pods),
                Err((why, nominated)) => {
                    message = format!("{message} preemption: {why}");
                    (nominated, Vec::new())
                }
            }
        };
        self.expect(wants, nominated);
        victims.iter().for_each(|victim| self.tell(victim));
        let nominated = nominated.and_then(|at| self.rooms.get(at)).map(|room| room.node.name_any());
        Decision::Wait { pod, said: Said { message, nominated }, victims }
    }

    /// The place of the node on which a pod is expected.
    fn expects(&self, pod: &Pod) -> Option<usize> {
        self.rooms.iter().position(|room| room.expected.iter().any(|other| other.pod.uid() == pod.uid()))
    }

    /// Who goes for a pod; or why nobody does, and the node on which it is expected all the same.
    fn preempt(
        &self,
        wants: &Wants<'a>,
        reasons: &[Vec<Reason>],
        before: Option<usize>,
    ) -> Result<Victims<'a>, (String, Option<usize>)> {
        // A node that no pod's going can help is none to wait for.
        let helps = |at: &usize| reasons.get(*at).is_some_and(|reasons| reasons.iter().all(Reason::is_others));
        let before = before.filter(helps);
        let room = before.and_then(|at| self.rooms.get(at));
        if let Some(why) = preempt::may_not(wants, room) {
            return Err((why.to_owned(), before));
        }
        preempt::choose(wants, &self.rooms, reasons, (&self.world.budgets, &self.left), self.world.now)
            .map_err(|why| (why, None))
    }

    /// Notes that a pod is to go.
    fn tell(&mut self, victim: &Pod) {
        preempt::spend(victim, &self.world.budgets, &mut self.left);
        let pods = self.rooms.iter_mut().flat_map(|room| &mut room.pods);
        pods.filter(|other| other.pod.metadata.uid == victim.metadata.uid)
            .for_each(|other| other.stay = Stay::Preempted);
    }

    /// Keeps the room on a node for a pod. Those less important that were expected there have to look for another.
    fn expect(&mut self, wants: Wants<'a>, node: Option<usize>) {
        self.rooms.iter_mut().for_each(|room| room.forget(wants.pod));
        if let Some(room) = node.and_then(|at| self.rooms.get_mut(at)) {
            room.expected.retain(|other| other.priority >= wants.priority);
            room.expected.push(wants);
        }
    }
}
