//! Expressions, after macros are expanded.

use std::sync::Arc;

/// An expression, and where in the text it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expr {
    /// Its number among the parts of the whole expression.
    pub(crate) id: usize,
    /// Bytes from the start.
    pub(crate) at: usize,
    /// Expressions from here down, the longest way.
    pub(crate) depth: usize,
    pub(crate) of: Node,
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Literal(Literal),
    Name(Arc<str>),
    /// `operand.field`; `test` for `has()`, `optional` for `?.`.
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        test: bool,
        optional: bool,
    },
    /// A function, or a method of `target`. Operators are functions with their sign as name.
    Call {
        target: Option<Box<Expr>>,
        name: Arc<str>,
        arguments: Vec<Expr>,
    },
    /// Elements, and whether each is an optional one (`[?x]`).
    List(Vec<(Expr, bool)>),
    /// Entries, and whether each is an optional one (`{?k: v}`).
    Map(Vec<(Expr, Expr, bool)>),
    /// A macro over the elements of a list or the keys of a map.
    Fold(Box<Fold>),
    /// `cel.bind(name, value, body)`.
    Bind {
        name: Arc<str>,
        value: Box<Expr>,
        body: Box<Expr>,
    },
    /// `target.optMap(name, body)`, or (`flat`) `optFlatMap`.
    OptMap {
        target: Box<Expr>,
        name: Arc<str>,
        body: Box<Expr>,
        flat: bool,
    },
}

/// What a macro makes of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
    TransformList,
    TransformMap,
    TransformMapEntry,
}

/// A macro over a range.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fold {
    pub(crate) kind: FoldKind,
    pub(crate) range: Expr,
    /// The element; with a second name, the index or key.
    pub(crate) first: Arc<str>,
    /// With two names, the value.
    pub(crate) second: Option<Arc<str>>,
    /// Of what `map` makes something: only of this.
    pub(crate) filter: Option<Expr>,
    pub(crate) body: Expr,
}

impl Node {
    /// Names with dots between them, if it is nothing but that.
    pub(crate) fn path(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name.to_string()),
            Self::Select { operand, field, test: false, optional: false } => {
                operand.of.path().map(|path| format!("{path}.{field}"))
            }
            _ => None,
        }
    }

    /// The longest way down below it.
    pub(crate) fn depth(&self) -> usize {
        let deepest = |all: &mut dyn Iterator<Item = &Expr>| all.map(|expr| expr.depth).max().unwrap_or(0);
        match self {
            Self::Literal(_) | Self::Name(_) => 0,
            Self::Select { operand, .. } => operand.depth,
            Self::Call { target, arguments, .. } => deepest(&mut target.as_deref().into_iter().chain(arguments)),
            Self::List(elements) => deepest(&mut elements.iter().map(|(element, _)| element)),
            Self::Map(entries) => deepest(&mut entries.iter().flat_map(|(key, value, _)| [key, value])),
            Self::Fold(fold) => deepest(&mut [&fold.range, &fold.body].into_iter().chain(&fold.filter)),
            Self::Bind { value, body, .. } => value.depth.max(body.depth),
            Self::OptMap { target, body, .. } => target.depth.max(body.depth),
        }
    }
}

impl Expr {
    /// Whether a name is used in it. (A macro's own name counts too, which is a little too often.)
    pub(crate) fn mentions(&self, wanted: &str) -> bool {
        let any = |mut all: &mut dyn Iterator<Item = &Self>| Iterator::any(&mut all, |expr| expr.mentions(wanted));
        match &self.of {
            Node::Literal(_) => false,
            Node::Name(name) => &**name == wanted,
            Node::Select { operand, .. } => operand.mentions(wanted),
            Node::Call { target, arguments, .. } => any(&mut target.as_deref().into_iter().chain(arguments)),
            Node::List(elements) => any(&mut elements.iter().map(|(element, _)| element)),
            Node::Map(entries) => any(&mut entries.iter().flat_map(|(key, value, _)| [key, value])),
            Node::Fold(fold) => any(&mut [&fold.range, &fold.body].into_iter().chain(&fold.filter)),
            Node::Bind { value, body, .. } => value.mentions(wanted) || body.mentions(wanted),
            Node::OptMap { target, body, .. } => target.mentions(wanted) || body.mentions(wanted),
        }
    }
}
