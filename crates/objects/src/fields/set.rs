//! Sets of fields.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::element::Element;

/// A set of paths, as a tree. Being in the set and having fields below that are in it are two things: `f:labels` may be in a
/// set without any label, and a label without `f:labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// By rising element; none is without a member at or below it.
    nodes: Vec<Node>,
}

/// One step of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) element: Element,
    /// Whether the path that ends here is in the set.
    pub(super) member: bool,
    pub(super) below: Set,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl Set {
    /// The set of these paths.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a [Element]>) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    /// Whether no path is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many paths are in it.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|node| usize::from(node.member) + node.below.len()).sum()
    }

    /// Adds a path. The empty path, which is the whole object, is never in a set.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let at = match self.find(first) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, Node { element: first.clone(), member: false, below: Self::default() });
                at
            }
        };
        if let Some(node) = self.nodes.get_mut(at) {
            if rest.is_empty() { node.member = true } else { node.below.insert(rest) }
        }
    }

    fn find(&self, element: &Element) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.element.cmp(element))
    }

    pub(super) fn node(&self, element: &Element) -> Option<&Node> {
        self.find(element).ok().and_then(|at| self.nodes.get(at))
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A set of nodes in any order, of which none occurs twice.
    pub(super) fn from_nodes(mut nodes: Vec<Node>) -> Self {
        nodes.retain(|node| !node.is_empty());
        if !nodes.is_sorted_by(|a, b| a.element < b.element) {
            nodes.sort_by(|a, b| a.element.cmp(&b.element));
        }
        Self { nodes }
    }

    /// Whether a path is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        match path.split_first() {
            None => false,
            Some((last, [])) => self.node(last).is_some_and(|node| node.member),
            Some((first, rest)) => self.node(first).is_some_and(|node| node.below.has(rest)),
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        zip(self, other, &|a, b| match (a, b) {
            (Some(a), Some(b)) => (a.member || b.member, a.below.union(&b.below)),
            (Some(one), None) | (None, Some(one)) => (one.member, one.below.clone()),
            (None, None) => (false, Self::default()),
        })
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        zip(self, other, &|a, b| match (a, b) {
            (Some(a), Some(b)) => (a.member && b.member, a.below.intersection(&b.below)),
            _ => (false, Self::default()),
        })
    }

    /// What is in this one and not in the other. A path stays when only fields above or below it go.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = self.clone();
        left.subtract(other);
        left
    }

    /// What is in this one, without what is at or below a path of the other.
    #[must_use]
    pub fn difference_below(&self, other: &Self) -> Self {
        let mut left = self.clone();
        left.subtract_below(other);
        left
    }

    /// [`Set::difference`], in place.
    pub(super) fn subtract(&mut self, other: &Self) {
        if !other.is_empty() {
            self.nodes.retain_mut(|node| {
                if let Some(same) = other.node(&node.element) {
                    node.member &= !same.member;
                    node.below.subtract(&same.below);
                }
                !node.is_empty()
            });
        }
    }

    /// [`Set::difference_below`], in place.
    pub(super) fn subtract_below(&mut self, other: &Self) {
        if !other.is_empty() {
            self.nodes.retain_mut(|node| match other.node(&node.element) {
                Some(same) if same.member => false,
                Some(same) => {
                    node.below.subtract_below(&same.below);
                    !node.is_empty()
                }
                None => true,
            });
        }
    }

    /// [`Set::union`], in place.
    pub(super) fn absorb(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else if !other.is_empty() {
            *self = self.union(&other);
        }
    }

    /// Whether a path is in both.
    pub fn meets(&self, other: &Self) -> bool {
        let meets = |node: &Node| {
            let same = self.node(&node.element);
            same.is_some_and(|same| same.member && node.member || same.below.meets(&node.below))
        };
        other.nodes.iter().any(meets)
    }

    /// Calls `see` with every path: those of one level before those below it.
    pub fn each(&self, mut see: impl FnMut(&[Element])) {
        self.walk(&mut Vec::new(), &mut see);
    }

    fn walk(&self, path: &mut Vec<Element>, see: &mut impl FnMut(&[Element])) {
        for node in self.nodes.iter().filter(|node| node.member) {
            path.push(node.element.clone());
            see(path);
            path.pop();
        }
        for node in self.nodes.iter().filter(|node| !node.below.is_empty()) {
            path.push(node.element.clone());
            node.below.walk(path, see);
            path.pop();
        }
    }

    /// Every path, in the order of [`Set::each`].
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut all = Vec::new();
        self.each(|path| all.push(path.to_vec()));
        all
    }

    /// The `FieldsV1` of the set.
    pub fn to_json(&self) -> Value {
        Value::Object(self.json(false))
    }

    fn json(&self, itself: bool) -> Map<String, Value> {
        let own = (itself && !self.nodes.is_empty()).then(|| (".".to_owned(), Value::Object(Map::new())));
        let fields = self.nodes.iter().map(|node| (node.element.to_key(), Value::Object(node.below.json(node.member))));
        own.into_iter().chain(fields).collect()
    }

    /// Reads a `FieldsV1`. Steps of types that are not known are left out.
    ///
    /// # Errors
    /// What is no path element.
    pub fn from_json(fields: &Value) -> Result<Self, String> {
        fields.as_object().map_or_else(|| Ok(Self::default()), |map| read(map).map(|(set, _)| set))
    }
}

/// The set below a step, and whether the step itself is a member.
fn read(map: &Map<String, Value>) -> Result<(Set, bool), String> {
    let mut nodes = Vec::with_capacity(map.len());
    let mut member = false;
    for (key, value) in map {
        if key == "." {
            member = true;
            continue;
        }
        let Some(element) = Element::from_key(key)? else { continue };
        let (below, is_member) = value.as_object().map_or_else(|| Ok((Set::default(), true)), read)?;
        nodes.push(Node { element, member: is_member, below });
    }
    let below = Set::from_nodes(nodes);
    let member = member || below.is_empty();
    Ok((below, member))
}

/// Whether an element is a member of a set that is made of two, and what is below it there.
type Join<'f> = &'f dyn Fn(Option<&Node>, Option<&Node>) -> (bool, Set);

/// Two sets side by side; `join` gives membership and what is below for each element that either has.
fn zip(a: &Set, b: &Set, join: Join<'_>) -> Set {
    let (mut a, mut b) = (a.nodes.iter().peekable(), b.nodes.iter().peekable());
    let mut nodes = Vec::new();
    loop {
        let (one, other) = match (a.peek(), b.peek()) {
            (None, None) => return Set { nodes },
            (Some(_), None) => (a.next(), None),
            (None, Some(_)) => (None, b.next()),
            (Some(x), Some(y)) => match x.element.cmp(&y.element) {
                Ordering::Less => (a.next(), None),
                Ordering::Greater => (None, b.next()),
                Ordering::Equal => (a.next(), b.next()),
            },
        };
        let (member, below) = join(one, other);
        if let (true, Some(node)) = (member || !below.is_empty(), one.or(other)) {
            nodes.push(Node { element: node.element.clone(), member, below });
        }
    }
}
