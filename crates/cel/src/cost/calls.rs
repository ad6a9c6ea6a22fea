//! What calls can cost at most: cel-go's own functions and extensions, and Kubernetes' libraries
//! (`apiserver/pkg/cel/library/cost.go`).

use super::{
    Estimate, Estimator, LIST, Place, Step,
    size::{Entries, Size, scaled},
};
use crate::{
    ast::{Expr, Literal, Node},
    types::Type,
};

/// Looking at a character of a text, and at one of a pattern.
const TEXT: f64 = 0.1;
const PATTERN: f64 = 0.25;

/// A value that is passed to a function.
struct Given<'a, 'e> {
    expr: &'e Expr,
    of: &'a Type,
    estimate: Estimate<'a>,
}

impl Given<'_, '_> {
    fn size(&self) -> Size {
        self.estimate.size()
    }

    fn most(&self) -> u64 {
        self.size().most
    }

    /// What looking through the text costs.
    fn text(&self) -> u64 {
        scaled(self.most(), TEXT)
    }

    /// The number that it is, if it is written out.
    fn number(&self) -> Option<u64> {
        match self.expr.of {
            Node::Literal(Literal::Int(number)) => Some(u64::try_from(number).unwrap_or(0)),
            _ => None,
        }
    }
}

/// What a call costs beyond its arguments, and how large its result is, if that is known.
type Call = (u64, Option<Size>);

impl<'a> Estimator<'a> {
    pub(super) fn call(&mut self, expr: &Expr, target: Option<&Expr>, name: &str, rest: &[Expr]) -> Estimate<'a> {
        let mut given = Vec::with_capacity(rest.len() + 1);
        for part in target.into_iter().chain(rest) {
            let estimate = self.expr(part);
            given.push(Given { expr: part, of: self.type_of(part), estimate });
        }
        let costs = given.iter().fold(0_u64, |sum, part| sum.saturating_add(part.estimate.cost));
        let made = self.made(expr, costs);
        match (name, given.as_slice()) {
            ("&&" | "||", _) => made,
            ("dyn", [of]) => {
                let (size, entries) = (of.estimate.size, of.estimate.entries);
                Estimate { cost: costs.saturating_add(1), size: size.or(made.size), entries, ..made }
            }
            ("?:", [condition, then, otherwise]) => {
                let cost = condition.estimate.cost.saturating_add(then.estimate.cost.max(otherwise.estimate.cost));
                let entries = Entries::or(then.estimate.entries, otherwise.estimate.entries);
                Estimate { cost, size: Some(then.size().or(otherwise.size())), entries, ..made }
            }
            ("[]", [within, _]) => {
                let value = within.estimate.entries.map(|entries| entries.value);
                let place = match within.of {
                    Type::List(_) | Type::Map(..) | Type::Dyn => self.step(within.estimate.place, Step::Elements),
                    _ => Place::Nowhere,
                };
                let size = value.or_else(|| Self::known(place, self.type_of(expr)));
                Estimate { cost: costs.saturating_add(1), size, entries: None, place }
            }
            (_, given) => {
                let (cost, size) = self.function(name, target.is_some(), given);
                let entries = match (name, given) {
                    ("+", [a, b]) => Entries::or(a.estimate.entries, b.estimate.entries),
                    _ => None,
                };
                Estimate { cost: costs.saturating_add(cost), size: size.or(made.size), entries, ..made }
            }
        }
    }

    fn function(&self, name: &str, method: bool, given: &[Given<'a, '_>]) -> Call {
        let library = if method { self.method(name, given) } else { self.free(name, given) };
        library.or_else(|| self.shared(name, given)).or_else(|| language(name, given)).unwrap_or((1, None))
    }

    /// What Kubernetes and cel-go's extensions say of methods.
    fn method(&self, name: &str, given: &[Given<'a, '_>]) -> Option<Call> {
        let [target, rest @ ..] = given else { return None };
        let size = target.size();
        Some(match (name, rest) {
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", _) => (self.walked(target), None),
            ("lowerAscii" | "upperAscii" | "substring" | "trim", _) => (target.text(), Some(size)),
            ("replace", [old, new, ..]) => {
                (scaled(size.most, 2.0 * TEXT), Some(replaced(size, old.size(), new.size())))
            }
            ("split", rest) => {
                let most = rest.get(1).and_then(written).unwrap_or(size.most);
                (scaled(size.most, 2.0 * TEXT), Some(Size::up_to(most)))
            }
            ("join", rest) => {
                let joined = self.joined(target, rest.first());
                (scaled(joined.most, TEXT), Some(joined))
            }
            ("find" | "findAll", [pattern, ..]) => (searched(target, pattern), Some(Size::up_to(size.most))),
            ("matches", [pattern]) => (searched(target, pattern), None),
            ("contains", [part]) => (target.text().saturating_mul(part.text()), None),
            ("startsWith" | "endsWith", [part]) => (part.text(), None),
            ("format", _) => (target.text(), None),
            ("slice", [from, to]) => {
                let count = to.number().unwrap_or(size.most).saturating_sub(from.number().unwrap_or(0));
                (count.saturating_add(LIST), Some(Size::fixed(count)))
            }
            ("reverse", []) if matches!(target.of, Type::List(_)) => (size.most.saturating_add(LIST), Some(size)),
            ("distinct", []) => {
                let pairs = size.times(size);
                (scaled(pairs.most, 2.0).saturating_add(LIST), Some(pairs))
            }
            ("ip", []) => (1, None),
            ("containsIP" | "containsCIDR", [other]) => {
                // Two addresses of up to 16 bytes are compared; of a range, its own is masked before.
                let compared = if name == "containsIP" { 4 } else { 4 + 2 + 1 };
                let read = if *other.of == Type::Text { other.text() } else { 0 };
                (read.saturating_add(compared), None)
            }
            // A pattern of at most 128 characters that nobody sees.
            ("validate", [text]) => (scaled(text.text(), 128.0 * PATTERN), None),
            _ => return None,
        })
    }

    /// What Kubernetes and cel-go's extensions say of functions.
    fn free(&self, name: &str, given: &[Given<'a, '_>]) -> Option<Call> {
        Some(match (name, given) {
            ("url", [text]) => (text.text(), Some(text.size())),
            ("ip.isCanonical", [text]) => (scaled(text.most(), 2.0 * TEXT), None),
            ("sets.contains" | "sets.intersects", [a, b]) => {
                (a.most().saturating_mul(b.most()).saturating_add(1), None)
            }
            ("sets.equivalent", [a, b]) => (scaled(a.most().saturating_mul(b.most()), 2.0).saturating_add(1), None),
            ("strings.quote", [text]) => {
                let size = text.size();
                let quoted = size.plus(Size { least: 0, most: size.most }).plus(Size::fixed(2));
                (text.text(), Some(quoted))
            }
            ("cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver", [text, ..]) => {
                (text.text(), None)
            }
            _ => return None,
        })
    }

    /// Equality of what libraries make.
    fn shared(&self, name: &str, given: &[Given<'a, '_>]) -> Option<Call> {
        let ("==", [a, b]) = (name, given) else { return None };
        match (a.of, b.of) {
            (Type::Opaque(a), Type::Opaque(other)) if a == other => match *a {
                "net.IP" | "net.CIDR" | "kubernetes.Quantity" | "kubernetes.Semver" => Some((1, None)),
                "kubernetes.NamedFormat" => Some((scaled(64, TEXT), None)),
                "kubernetes.URL" => Some((b.estimate.size.map_or(1, |size| scaled(size.most, TEXT)), None)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Looking at each element of a list, and at each character of those that are texts; or at the characters of a text.
    fn walked(&self, target: &Given<'a, '_>) -> u64 {
        let Type::List(of) = target.of else { return target.text() };
        let element = match **of {
            Type::Text | Type::Bytes => scaled(self.element_size(target).most, TEXT).saturating_add(1),
            _ => 1,
        };
        target.most().saturating_mul(element)
    }

    /// The size of a list's elements, by where the list comes from.
    fn element_size(&self, list: &Given<'a, '_>) -> Size {
        match list.estimate.place {
            Place::Nowhere => Size::UNKNOWN,
            place => match self.step(place, Step::Elements) {
                Place::At(Some(bounds)) => Size::up_to(bounds.most),
                Place::At(None) | Place::Nowhere => Size::UNKNOWN,
            },
        }
    }

    fn joined(&self, list: &Given<'a, '_>, separator: Option<&Given<'a, '_>>) -> Size {
        let count = list.size();
        let texts = match list.of {
            Type::List(_) => count.times(self.element_size(list)),
            _ => Size::fixed(0),
        };
        let Some(separator) = separator else { return texts };
        let between = Size { least: count.least.saturating_sub(1), most: count.most.saturating_sub(1) };
        texts.plus(separator.size().times(between))
    }
}

fn written(given: &Given<'_, '_>) -> Option<u64> {
    match given.expr.of {
        // A negative count is none at all, which is what it reads as without its sign.
        #[allow(clippy::cast_sign_loss, reason = "upstream reads it so")]
        Node::Literal(Literal::Int(number)) => Some(number as u64),
        _ => None,
    }
}

/// What cel-go says of the language's own functions.
fn language(name: &str, given: &[Given<'_, '_>]) -> Option<Call> {
    Some(match (name, given) {
        ("bytes", [text]) if matches!(text.of, Type::Text | Type::Dyn) => {
            let size = text.size();
            let least = u64::from(*text.of == Type::Dyn);
            (text.text().max(least), Some(Size { least: size.least, most: size.most.saturating_mul(4) }))
        }
        ("string", [bytes]) if matches!(bytes.of, Type::Bytes | Type::Dyn) => {
            let size = bytes.size();
            let least = u64::from(*bytes.of == Type::Dyn);
            (bytes.text().max(least), Some(Size { least: size.least / 4, most: size.most }))
        }
        ("in", [_, within]) => match within.of {
            Type::Map(..) => (1, None),
            _ => (within.most(), None),
        },
        ("+", [a, b]) => {
            let sum = a.size().plus(b.size());
            match (a.of, b.of) {
                (Type::List(_), _) | (_, Type::List(_)) => (1, Some(sum)),
                (Type::Text | Type::Bytes, _) | (_, Type::Text | Type::Bytes) => (scaled(sum.most, TEXT), Some(sum)),
                (Type::Dyn, Type::Dyn) => (scaled(sum.most, TEXT).max(1), Some(sum)),
                _ => (1, None),
            }
        }
        ("==" | "!=", [a, b]) => (scaled(a.most().min(b.most()), TEXT), None),
        ("<" | "<=" | ">" | ">=", [a, b]) => {
            let long = |of: &Type| matches!(of, Type::Text | Type::Bytes | Type::Dyn);
            let either = |given: &Given<'_, '_>| matches!(given.of, Type::Text | Type::Bytes);
            match (long(a.of) && long(b.of), either(a) || either(b)) {
                (true, true) => (scaled(a.most().min(b.most()), TEXT), None),
                (true, false) => (scaled(a.most().min(b.most()), TEXT).max(1), None),
                (false, _) => (1, None),
            }
        }
        _ => return None,
    })
}

/// A pattern against a text. One more than its length, so that a dear pattern is dear for an empty text too.
fn searched(text: &Given<'_, '_>, pattern: &Given<'_, '_>) -> u64 {
    scaled(text.most().saturating_add(1), TEXT).saturating_mul(scaled(pattern.most(), PATTERN))
}

/// The shortest and the longest text that `replace` can make.
fn replaced(text: Size, old: Size, new: Size) -> Size {
    // Between and around all characters, as often as it fits, or so that nothing gets longer (or shorter).
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as Kubernetes reckons; casts from floats saturate"
    )]
    let fits = |size: u64, part: u64| (size as f64 / part as f64).ceil() as u64;
    let (most, kept_most) = match old.least {
        0 => (text.most.saturating_add(1), text.most),
        least if new.most <= least => (0, text.most),
        least => (fits(text.most, least), 0),
    };
    let (least, kept_least) = match old.most {
        0 => (text.least.saturating_add(1), text.least),
        most if most <= new.least => (0, text.least),
        most => (fits(text.least, most), 0),
    };
    Size { least, most }.times(new).plus(Size { least: kept_least, most: kept_most })
}
