//! Label selectors.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{NotASelector, parse};

/// What is asked of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Exists,
    Absent,
    In,
    NotIn,
    Equal,
    /// `==`, which is the same.
    Equals,
    NotEqual,
    Greater,
    Less,
}

/// One requirement on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// In order, each once.
    pub values: Vec<String>,
}

/// A label selector: the conjunction of its requirements; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    requirements: Vec<Requirement>,
}

impl Labels {
    /// Parses the text form: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    ///
    /// # Errors
    /// Says what is wrong, in upstream's words.
    pub fn parse(text: &str) -> Result<Self, NotASelector> {
        let mut requirements = parse::requirements(text)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// The selector of an object such as a Deployment; an empty one selects everything, as upstream has it.
    ///
    /// # Errors
    /// Names the operator that does not exist.
    pub fn from_selector(selector: &LabelSelector) -> Result<Self, NotASelector> {
        let mut requirements = Self::from_map(&selector.match_labels.clone().unwrap_or_default()).requirements;
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::Absent,
                other => return Err(NotASelector(format!("{other:?} is not a valid label selector operator"))),
            };
            requirements.push(Requirement::new(
                expression.key.clone(),
                operator,
                expression.values.clone().unwrap_or_default(),
            ));
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// The selector that a map of exact labels stands for, such as a Service's.
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        let exact =
            labels.iter().map(|(key, value)| Requirement::new(key.clone(), Operator::Equal, vec![value.clone()]));
        Self { requirements: exact.collect() }
    }

    /// Whether there is no requirement.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the labels satisfy every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }
}

impl Requirement {
    pub(super) fn new(key: String, operator: Operator, mut values: Vec<String>) -> Self {
        values.sort_unstable();
        values.dedup();
        Self { key, operator, values }
    }

    /// Whether a label of its key satisfies it. A missing one is not among any values.
    fn holds(&self, value: Option<&String>) -> bool {
        let among = || value.is_some_and(|value| self.values.contains(value));
        let number = |text: &String| text.parse::<i64>().ok();
        let compared = |is: fn(&i64, &i64) -> bool| {
            value
                .and_then(number)
                .zip(self.values.first().and_then(number))
                .is_some_and(|(own, wanted)| is(&own, &wanted))
        };
        match self.operator {
            Operator::Exists => value.is_some(),
            Operator::Absent => value.is_none(),
            Operator::In | Operator::Equal | Operator::Equals => among(),
            Operator::NotIn | Operator::NotEqual => !among(),
            Operator::Greater => compared(i64::gt),
            Operator::Less => compared(i64::lt),
        }
    }
}

impl fmt::Display for Labels {
    /// The text form, which `parse` reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, operator, values }) in self.requirements.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            let values = values.join(",");
            match operator {
                Operator::Exists => f.write_str(key),
                Operator::Absent => write!(f, "!{key}"),
                Operator::In => write!(f, "{key} in ({values})"),
                Operator::NotIn => write!(f, "{key} notin ({values})"),
                Operator::Equal => write!(f, "{key}={values}"),
                Operator::Equals => write!(f, "{key}=={values}"),
                Operator::NotEqual => write!(f, "{key}!={values}"),
                Operator::Greater => write!(f, "{key}>{values}"),
                Operator::Less => write!(f, "{key}<{values}"),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_selector_selects_what_upstream_says_it_selects() {
        for (text, given, wanted) in [
            ("", "x=y", true),
            ("x=y", "x=y", true),
            ("x==y", "x=y", true),
            ("x=y,z=w", "x=y z=w", true),
            ("x!=y,z!=w", "x=z z=a", true),
            ("notin=in", "notin=in", true),
            ("x", "x=z", true),
            ("!x", "y=z", true),
            ("x>1", "x=2", true),
            ("x<1", "x=0", true),
            ("x=z", "", false),
            ("x=y", "x=z", false),
            ("x=y,z=w", "x=w z=w", false),
            ("x!=y,z!=w", "x=z z=w", false),
            ("x", "y=z", false),
            ("!x", "x=z", false),
            ("x>1", "x=0", false),
            ("x<1", "x=2", false),
            ("x>1", "x=y", false),
            ("x>1", "", false),
            ("foo=bar,baz=blah", "foo=bar baz=blah", true),
            ("foo=bar,foobar=bar,baz=blah", "foo=bar baz=blah", false),
            ("app in (web, api)", "app=web", true),
            ("app notin (web)", "app=web", false),
            ("missing notin (x)", "app=web", true),
            ("app in (api),tier", "app=web tier=front", false),
        ] {
            assert_eq!(Labels::parse(text).unwrap().matches(&labels(given)), wanted, "{text} {given}");
        }
    }

    #[test]
    fn a_text_is_read_as_upstream_reads_it() {
        for (text, wanted) in [
            ("x=a,y=b,z=c", "x=a,y=b,z=c"),
            ("x=a,a=x", "a=x,x=a"),
            ("x= ,z= ", "x=,z="),
            ("x==abc,y=jkl", "x==abc,y=jkl"),
            ("x>1,z<5", "x>1,z<5"),
            ("\rx", "x"),
            ("this-is-a-dns.domain.com/key-with-dash", "this-is-a-dns.domain.com/key-with-dash"),
            (
                "0.1.2.domain/99 notin (10.10.100.1, tick.tack.clock)",
                "0.1.2.domain/99 notin (10.10.100.1,tick.tack.clock)",
            ),
            ("foo  in\t (abc)", "foo in (abc)"),
            ("x notin\n (abc)", "x notin (abc)"),
            ("x in (abc,abc)", "x in (abc)"),
            ("x in (abc,)", "x in (,abc)"),
            ("x in ()", "x in ()"),
            ("x in (a,,a,,a,,a,,)", "x in (,a)"),
            ("x notin (abc,,def),bar,z in (),w", "bar,w,x notin (,abc,def),z in ()"),
            ("x notin ( )", "x notin ()"),
            ("x notin (, a)", "x notin (,a)"),
            ("a ", "a"),
            ("a in (x,y,notin, z,in)", "a in (in,notin,x,y,z)"),
        ] {
            assert_eq!(Labels::parse(text).unwrap().to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_in_upstreams_words() {
        let known = "found 'b', expected: in, notin, =, ==, !=, gt, lt";
        for (text, wanted) in [
            ("x=a||y=b", "a||y"),
            ("x==a==b", "found '==', expected: ',' or 'end of string'"),
            ("!x=a", "found '=', expected: ',' or 'end of string'"),
            ("x<a", "for 'Gt', 'Lt' operators, the value must be an integer"),
            ("x,,y", "found ',', expected: identifier after ','"),
            (",x,y", "found ',', expected: !, identifier, or 'end of string'"),
            ("x nott in (y)", "found 'nott', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in (xyz),", "found '', expected: identifier after ','"),
            ("a in (xyz)b notin ()", "found 'b', expected: ',' or 'end of string'"),
            ("a in (xyz abc)", "unable to parse requirement: found 'abc', expected: ',' or ')'"),
            ("a notin(", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a (", "unable to parse requirement: found '(', expected: in, notin, =, ==, !=, gt, lt"),
            ("(", "found '(', expected: !, identifier, or 'end of string'"),
            ("a in web", "unable to parse requirement: found 'web' expected: '('"),
            ("a b", known),
            ("=x", "found '=', expected: !, identifier, or 'end of string'"),
            ("-a=b", "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a=-b", "unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label must be"),
        ] {
            let said = Labels::parse(text).unwrap_err().to_string();
            assert!(said.contains(wanted), "{text}: {said}");
        }
    }
}
