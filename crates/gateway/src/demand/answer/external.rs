//! `external.metrics.k8s.io`: figures of whatever labels select.
//!
//! A series is a way that requests take, with the labels `gateway`, `route`, `rule`, `service` and `port`, as far as these are of
//! the namespace that is asked in, and `window`. What is selected is one value: rates are sums, quantiles those of all requests
//! together, and nothing is counted twice.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{EXTERNAL, EXTERNAL_VERSION, Problem, Reading, list, measure, selector};
use crate::{
    control::Snapshot,
    demand::{
        Demand,
        directory::{Kind, Wanted, find},
        history::{History, Way, Whose},
        measure::{MEASURES, Window},
    },
};

type Series = BTreeMap<String, String>;

/// Every metric.
pub(super) fn resources() -> Value {
    let names = MEASURES.iter().map(|measure| (measure.name.to_owned(), true));
    super::resources(&group_version(), "ExternalMetricValueList", names)
}

fn group_version() -> String {
    format!("{EXTERNAL}/{EXTERNAL_VERSION}")
}

/// The labels of a way as a namespace sees it; `None` if nothing of it is there.
fn labels(way: &Way, namespace: &str) -> Option<Series> {
    let here = |name: &'_ str| -> Option<String> {
        let rest = name.strip_prefix(namespace)?.strip_prefix('/')?;
        Some(rest.to_owned())
    };
    let mut series = Series::new();
    let mut label = |name: &str, value: String| _ = series.insert(name.to_owned(), value);
    if let Some(gateway) = here(&way.listener).filter(|_| way.edge) {
        label("gateway", gateway);
    }
    // The rule of a Service that no route is attached to belongs to no route.
    if let Some((route, rule)) = here(&way.rule).as_deref().and_then(|rest| rest.split_once('/')) {
        label("route", route.to_owned());
        label("rule", rule.to_owned());
    }
    if let Some((service, port)) = here(&way.cluster).as_deref().and_then(|rest| rest.split_once(':')) {
        label("service", service.to_owned());
        label("port", port.to_owned());
    }
    Some(series).filter(|series| !series.is_empty())
}

/// Every series of a namespace: those that have been used, and what there is that may not have been.
fn series<'h>(history: &'h History, snapshot: &Snapshot, namespace: &str) -> Vec<(Series, Option<&'h Way>)> {
    let used = history.newest().ways().filter_map(|way| Some((labels(way, namespace)?, Some(way))));
    let kinds = [
        ("service", Kind::Service),
        ("route", Kind::HTTPRoute),
        ("route", Kind::GRPCRoute),
        ("gateway", Kind::Gateway),
    ];
    let everything = Default::default();
    let unused = kinds.into_iter().flat_map(|(label, kind)| {
        let objects = find(snapshot, kind, namespace, &Wanted::Selected(&everything));
        let series = objects.into_iter().map(move |object| [(label.to_owned(), object.name.to_owned())].into());
        series.map(|series| (series, None)).collect::<Vec<_>>()
    });
    used.chain(unused).collect()
}

/// The ways that a selector takes of one window, and what their series have in common.
fn select(
    all: Vec<(Series, Option<&Way>)>,
    chosen: impl Fn(&Series) -> Option<&'static Window>,
) -> Option<(&'static Window, Series, Vec<&Way>)> {
    let window = all.iter().find_map(|(series, _)| chosen(series))?;
    let selected: Vec<_> = all.into_iter().filter(|(series, _)| chosen(series) == Some(window)).collect();
    let mut common = selected.first()?.0.clone();
    common.retain(|label, value| selected.iter().all(|(series, _)| series.get(label) == Some(value)));
    common.extend([window.label()]);
    Some((window, common, selected.into_iter().filter_map(|(_, way)| way).collect()))
}

/// The value of a metric over all that a selector takes.
pub(super) async fn values(
    demand: &Demand,
    namespace: &str,
    metric: &str,
    query: Option<&str>,
) -> Result<Value, Problem> {
    let (measure, selector) = (measure(metric)?, selector(query, "labelSelector")?);
    let snapshot = demand.objects.load_full().ok_or_else(Problem::starting)?;
    let found = demand.look(|history, taken| {
        let all = series(history, &snapshot, namespace);
        let selected = select(all, |series| Window::selected(&selector, series))?;
        let (window, common, ways) = selected;
        let reading = Reading::of((history, taken), measure, window, &Whose::Ways(ways.into_iter().collect()));
        Some(reading.map(|reading| (common, reading)))
    });
    let item = match found.await {
        None => None,
        Some(Err(why)) => return Err(Problem::no_value(metric, namespace, why)),
        Some(Ok((common, reading))) => {
            let mut item = Map::new();
            item.insert("metricName".to_owned(), measure.name.into());
            item.insert("metricLabels".to_owned(), json!(common));
            item.insert("timestamp".to_owned(), reading.timestamp());
            item.insert("window".to_owned(), reading.seconds());
            item.insert("value".to_owned(), reading.value());
            Some(item)
        }
    };
    Ok(list("ExternalMetricValueList", &group_version(), item.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use objects::selector::Labels;

    use super::*;

    fn way(rule: &str, cluster: &str) -> Way {
        Way { listener: "infra/edge".into(), edge: true, rule: rule.into(), cluster: cluster.into() }
    }

    #[test]
    fn a_series_names_what_is_of_its_own_namespace() {
        let way = way("shop/api/0", "back/web:80");
        let of = |namespace| labels(&way, namespace).map(|series| series.into_iter().collect::<Vec<_>>());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(of("infra"), Some(vec![pair("gateway", "edge")]));
        assert_eq!(of("shop"), Some(vec![pair("route", "api"), pair("rule", "0")]));
        assert_eq!(of("back"), Some(vec![pair("port", "80"), pair("service", "web")]));
        assert_eq!(of("other"), None);
    }

    #[test]
    fn what_is_selected_says_what_it_has_in_common() {
        let ways = [way("a/api/0", "a/web:80"), way("a/api/1", "a/web:80"), way("a/other/0", "a/db:81")];
        let all = || ways.iter().map(|way| (labels(way, "a").unwrap(), Some(way))).collect();
        let selected = |text: &str| {
            let selector = Labels::parse(text).unwrap();
            select(all(), |series| Window::selected(&selector, series))
        };
        let (window, common, found) = selected("service=web,window=1m").unwrap();
        let common: Vec<_> = common.iter().map(|(label, value)| format!("{label}={value}")).collect();
        assert_eq!(common, ["port=80", "route=api", "service=web", "window=1m"]);
        assert_eq!((window.name, found), ("1m", vec![&ways[0], &ways[1]]));
        assert_eq!(selected("").unwrap().2.len(), 3);
        assert!(selected("service=none").is_none());
    }
}
