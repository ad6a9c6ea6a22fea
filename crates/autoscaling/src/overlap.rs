//! Which pods each autoscaler of a namespace counts. Pods that more than one counts make all of those ambiguous: none of them
//! may scale by them (upstream's `AmbiguousSelector`).

use std::collections::{BTreeMap, BTreeSet};

use objects::selector::Labels;

/// What a selector finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The pods, by their places.
    pub pods: Vec<usize>,
    /// Where one of them is found by others, too: all whose selectors find one, by their places, this one among them.
    pub shared: BTreeSet<usize>,
}

/// What each of the selectors finds among pods with these labels; one that cannot be read finds nothing.
pub fn select<'a>(
    selectors: &[Option<&Labels>],
    pods: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) -> Vec<Selection> {
    let mut found = vec![Selection::default(); selectors.len()];
    for (pod, labels) in pods.into_iter().enumerate() {
        let finds = |(_, selector): &(usize, &Option<&Labels>)| selector.is_some_and(|one| one.matches(labels));
        let finding: Vec<usize> = selectors.iter().enumerate().filter(finds).map(|(place, _)| place).collect();
        for place in &finding {
            if let Some(selection) = found.get_mut(*place) {
                selection.pods.push(pod);
                if finding.len() > 1 {
                    selection.shared.extend(&finding);
                }
            }
        }
    }
    found
}

/// What is said about an autoscaler whose pods others count, too.
pub fn message(selector: &str, namespace: &str, names: &[&str]) -> String {
    let keys: Vec<String> = names.iter().map(|name| format!("{{{name} {namespace}}}")).collect();
    format!("pods by selector {selector} are controlled by multiple HPAs: [{}]", keys.join(" "))
}
