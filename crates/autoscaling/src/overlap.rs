//! Pods that more than one autoscaler counts: none of them may scale by them (upstream's `AmbiguousSelector`).

use std::collections::BTreeMap;

use objects::selector::Labels;

/// One autoscaler of a namespace and the pods that its target selects.
#[derive(Clone, Debug)]
pub struct Selects<'a> {
    /// The autoscaler's name.
    pub name: &'a str,
    /// The selector of its target's scale.
    pub selector: &'a Labels,
}

/// The names of the autoscalers that count a pod with one of these labels, in order.
pub fn counting<'a>(
    all: &[Selects<'a>],
    pods: impl IntoIterator<Item = &'a BTreeMap<String, String>> + Clone,
) -> Vec<&'a str> {
    let counts = |one: &&Selects<'a>| pods.clone().into_iter().any(|labels| one.selector.matches(labels));
    let mut names: Vec<&str> = all.iter().filter(counts).map(|one| one.name).collect();
    names.sort_unstable();
    names
}

/// What is said about an autoscaler whose pods others count, too.
pub fn message(selector: &str, namespace: &str, names: &[&str]) -> String {
    let keys: Vec<String> = names.iter().map(|name| format!("{{{name} {namespace}}}")).collect();
    format!("pods by selector {selector} are controlled by multiple HPAs: [{}]", keys.join(" "))
}
