//! What an expression can cost at most, told before it is evaluated: cel-go's `checker/cost.go`. Whether a definition with rules
//! is accepted depends on these numbers, so they are the same ones, oddities included.

mod calls;
mod size;

use std::sync::Arc;

use crate::{
    ast::{Expr, Fold, FoldKind, Literal, Node},
    types::{Type, kept},
};

pub use size::{Bounds, Sizes};
use size::{Entries, Size};

/// What making a list costs, and making a map.
const LIST: u64 = 10;
const MAP: u64 = 30;

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    /// The expression made it.
    Nowhere,
    /// It is a part of a variable, of which something may be known.
    At(Option<&'a Bounds>),
}

/// A step into a value.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Keys,
    Elements,
    Indices,
    Field(&'a str),
}

/// What is known of an expression's value, and of the way to it.
#[derive(Clone, Debug)]
struct Estimate<'a> {
    cost: u64,
    size: Option<Size>,
    entries: Option<Entries>,
    place: Place<'a>,
}

impl Estimate<'_> {
    fn size(&self) -> Size {
        self.size.unwrap_or(Size::UNKNOWN)
    }
}

/// A name that an expression binds.
struct Local<'a> {
    name: Arc<str>,
    size: Option<Size>,
    entries: Option<Entries>,
    place: Place<'a>,
}

/// An estimation of one expression, whose parts have these types.
pub(crate) struct Estimator<'a> {
    types: &'a [Type],
    sizes: Sizes<'a>,
    locals: Vec<Local<'a>>,
}

impl<'a> Estimator<'a> {
    /// The highest cost of an expression. `types` are those of its parts, by their numbers.
    pub(crate) fn cost(expr: &Expr, types: &'a [Type], sizes: Sizes<'a>) -> u64 {
        Self { types, sizes, locals: Vec::new() }.expr(expr).cost
    }

    fn type_of(&self, expr: &Expr) -> &'a Type {
        self.types.get(expr.id).unwrap_or(&Type::Dyn)
    }

    fn step(&self, from: Place<'a>, step: Step<'_>) -> Place<'a> {
        match (from, step) {
            (Place::Nowhere, _) => Place::At(self.sizes.elsewhere),
            (Place::At(None), _) | (Place::At(_), Step::Indices) => Place::At(None),
            (Place::At(Some(bounds)), Step::Keys) => Place::At(bounds.keys.as_deref()),
            (Place::At(Some(bounds)), Step::Elements) => Place::At(bounds.elements.as_deref()),
            (Place::At(Some(bounds)), Step::Field(name)) => {
                let field = bounds.fields.get(name).or_else(|| bounds.fields.get(&kept(name)?));
                Place::At(field.map(AsRef::as_ref))
            }
        }
    }

    /// The size of what stands at a place, or else what its type says.
    fn known(place: Place<'a>, of: &Type) -> Option<Size> {
        match place {
            Place::At(Some(bounds)) => Some(Size::up_to(bounds.most)),
            Place::At(None) | Place::Nowhere => is_scalar(of).then(|| Size::fixed(1)),
        }
    }

    fn made(&self, expr: &Expr, cost: u64) -> Estimate<'a> {
        Estimate { cost, size: Self::known(Place::Nowhere, self.type_of(expr)), entries: None, place: Place::Nowhere }
    }

    fn expr(&mut self, expr: &Expr) -> Estimate<'a> {
        match &expr.of {
            Node::Literal(literal) => Estimate { size: Some(of_literal(literal)), ..self.made(expr, 0) },
            Node::Name(name) => self.name(expr, name),
            Node::Select { operand, field, test, optional } => {
                let inner = self.expr(operand);
                if *test {
                    return self.made(expr, inner.cost);
                }
                if *optional {
                    return self.made(expr, inner.cost.saturating_add(1));
                }
                let looked_up = matches!(self.type_of(operand), Type::Map(..) | Type::Object(_));
                let place = self.step(inner.place, Step::Field(field));
                let size = Self::known(place, self.type_of(expr));
                Estimate { cost: inner.cost.saturating_add(u64::from(looked_up)), size, entries: None, place }
            }
            Node::Call { target, name, arguments } => self.call(expr, target.as_deref(), name, arguments),
            Node::List(elements) => {
                let all: Vec<_> = elements.iter().map(|(element, _)| self.expr(element)).collect();
                let value = union(&all);
                let entries = Entries { is_list: true, key: Size::fixed(1), value };
                self.literal(expr, LIST, &all, elements.len(), entries)
            }
            Node::Map(entries) => {
                let keys: Vec<_> = entries.iter().map(|(key, _, _)| self.expr(key)).collect();
                let values: Vec<_> = entries.iter().map(|(_, value, _)| self.expr(value)).collect();
                let sizes = Entries { is_list: false, key: union(&keys), value: union(&values) };
                let all = [keys, values].concat();
                self.literal(expr, MAP, &all, entries.len(), sizes)
            }
            Node::Fold(fold) => self.fold(expr, fold),
            Node::Bind { name, value, body } => {
                let value = self.expr(value);
                self.bind(expr, name, &value, body)
            }
            Node::OptMap { target, name, body, flat } => self.opt_map(expr, target, name, body, *flat),
        }
    }

    fn literal(&self, expr: &Expr, base: u64, parts: &[Estimate<'a>], count: usize, entries: Entries) -> Estimate<'a> {
        let cost = parts.iter().fold(base, |sum, part| sum.saturating_add(part.cost));
        Estimate { size: Some(Size::fixed(count as u64)), entries: Some(entries), ..self.made(expr, cost) }
    }

    fn name(&self, expr: &Expr, name: &str) -> Estimate<'a> {
        let of = self.type_of(expr);
        if let Some(local) = self.locals.iter().rev().find(|local| *local.name == *name) {
            let size = Self::known(local.place, of).or(local.size);
            return Estimate { cost: 1, size, entries: local.entries, place: local.place };
        }
        let variable = self.sizes.variables.iter().find(|(known, _)| *known == name);
        let place = Place::At(variable.map(|(_, bounds)| *bounds));
        Estimate { cost: 1, size: Self::known(place, of), entries: None, place }
    }

    fn bind(&mut self, expr: &Expr, name: &Arc<str>, value: &Estimate<'a>, body: &Expr) -> Estimate<'a> {
        let local = Local { name: name.clone(), size: value.size, entries: value.entries, place: value.place };
        self.locals.push(local);
        let body = self.expr(body);
        self.locals.pop();
        // The macro's empty range is a list.
        let cost = LIST.saturating_add(value.cost).saturating_add(body.cost);
        let made = self.made(expr, cost);
        Estimate { size: body.size.or(made.size), entries: body.entries, ..made }
    }

    /// `target.hasValue() ? optional.of(cel.bind(name, target.value(), body)) : optional.none()`
    fn opt_map(&mut self, expr: &Expr, target: &Expr, name: &Arc<str>, body: &Expr, flat: bool) -> Estimate<'a> {
        let target = self.expr(target);
        let value = Estimate { cost: target.cost.saturating_add(1), size: None, entries: None, place: Place::Nowhere };
        let bound = self.bind(expr, name, &value, body);
        let taken = bound.cost.saturating_add(u64::from(!flat)).max(1);
        let made = self.made(expr, value.cost.saturating_add(taken));
        Estimate { size: Some(made.size()), ..made }
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Estimate<'a> {
        let range = self.expr(&fold.range);
        let is_list =
            range.entries.map_or_else(|| matches!(self.type_of(&fold.range), Type::List(_)), |entries| entries.is_list);
        let keys = range.entries.map(|entries| entries.key);
        let values = range.entries.map(|entries| entries.value);
        let key = (if is_list { Step::Indices } else { Step::Keys }, keys);
        let value = (Step::Elements, values);
        let bound = match &fold.second {
            Some(second) => vec![(&fold.first, key), (second, value)],
            None => vec![(&fold.first, if is_list { value } else { key })],
        };
        let outer = self.locals.len();
        for (name, (step, size)) in bound {
            let place = self.step(range.place, step);
            self.locals.push(Local { name: name.clone(), size, entries: None, place });
        }
        let filter = fold.filter.as_ref().map(|filter| self.expr(filter).cost);
        let body = self.expr(&fold.body);
        // What `filter` keeps is what its name stands for.
        let kept = match (fold.kind, self.locals.get(outer)) {
            (FoldKind::Filter, Some(local)) => {
                Self::known(local.place, element(self.type_of(&fold.range))).or(local.size)
            }
            _ => body.size,
        };
        self.locals.truncate(outer);
        let count = range.size();
        let (each, after) = per_element(fold.kind, body.cost, filter);
        let cost = range.cost.saturating_add(count.most.saturating_mul(each)).saturating_add(after);
        let made = self.made(expr, cost);
        match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Estimate { size: Some(Size::fixed(1)), ..made },
            FoldKind::TransformMap | FoldKind::TransformMapEntry => Estimate { size: Some(count), ..made },
            FoldKind::Filter | FoldKind::Map | FoldKind::TransformList => {
                let value = Size::up_to(kept.unwrap_or(Size::UNKNOWN).most);
                let entries = Entries { is_list: true, key: Size::fixed(1), value };
                Estimate { size: Some(count), entries: Some(entries), ..made }
            }
        }
    }
}

/// What a macro's loop costs for each element, and what comes before and after it, as cel-go expands it: the accumulator is
/// looked up (1), added to (1), joined with a list of one element, asked whether it decides already.
fn per_element(kind: FoldKind, body: u64, filter: Option<u64>) -> (u64, u64) {
    const LOOK: u64 = 1;
    const CALL: u64 = 1;
    let step = |step: u64| match filter {
        Some(filter) => filter.saturating_add(step.max(LOOK)),
        None => step,
    };
    match kind {
        FoldKind::All => (body.saturating_add(CALL + LOOK + LOOK), LOOK),
        FoldKind::Exists => (body.saturating_add(CALL + CALL + LOOK + LOOK), LOOK),
        FoldKind::ExistsOne => (body.saturating_add(CALL + LOOK), CALL + LOOK),
        FoldKind::Filter => (body.saturating_add(CALL + LOOK + LIST + LOOK), LIST + LOOK),
        FoldKind::Map | FoldKind::TransformList => (step(body.saturating_add(CALL + LOOK + LIST)), LIST + LOOK),
        FoldKind::TransformMap | FoldKind::TransformMapEntry => {
            (step(body.saturating_add(CALL + LOOK + LOOK)), MAP + LOOK)
        }
    }
}

/// The type of what a macro with one name goes over.
fn element(range: &Type) -> &Type {
    match range {
        Type::List(of) | Type::Map(of, _) => of,
        _ => &Type::Dyn,
    }
}

fn union(all: &[Estimate<'_>]) -> Size {
    all.iter().map(Estimate::size).reduce(Size::or).unwrap_or(Size::fixed(0))
}

fn of_literal(literal: &Literal) -> Size {
    Size::fixed(match literal {
        Literal::Text(text) => text.chars().count() as u64,
        Literal::Bytes(bytes) => bytes.len() as u64,
        Literal::Null | Literal::Bool(_) | Literal::Int(_) | Literal::Uint(_) | Literal::Double(_) => 1,
    })
}

/// Whether values of a type are all of one size. (Null and texts are not, by cel-go's reckoning.)
fn is_scalar(of: &Type) -> bool {
    match of {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}
