//! One line for each notable event of the cluster: every warning, and what changes how many pods serve.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event as Change},
    },
};

use super::report::Report;

/// Normal events that are worth a line.
const NOTABLE: &[&str] = &["ScalingReplicaSet", "SuccessfulRescale", "Killing"];

/// Prints events from now on; does not return.
///
/// # Errors
/// None today; a lost watch is taken up again.
pub async fn follow(client: Client, report: &Report) -> anyhow::Result<()> {
    let mut changes =
        kube::runtime::watcher(Api::<Event>::all(client), watcher::Config::default()).default_backoff().boxed();
    while let Some(change) = changes.next().await {
        // The first list holds what happened before; only later changes are news.
        if let Ok(Change::Apply(event)) = change
            && is_notable(&event)
        {
            let object = &event.involved_object;
            let name = format!(
                "{}/{} in {}",
                object.kind.as_deref().unwrap_or_default().to_ascii_lowercase(),
                object.name.as_deref().unwrap_or_default(),
                object.namespace.as_deref().unwrap_or_default()
            );
            let (kind, reason) =
                (event.type_.as_deref().unwrap_or("Normal"), event.reason.as_deref().unwrap_or_default());
            report.event(kind, &name, reason, event.message.as_deref().unwrap_or_default());
        }
    }
    Ok(())
}

fn is_notable(event: &Event) -> bool {
    event.type_.as_deref() == Some("Warning") || event.reason.as_deref().is_some_and(|reason| NOTABLE.contains(&reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_and_scaling_are_notable_and_routine_is_not() {
        let event = |kind: &str, reason: &str| Event {
            type_: Some(kind.into()),
            reason: Some(reason.into()),
            ..Event::default()
        };
        assert!(is_notable(&event("Warning", "Unhealthy")));
        assert!(is_notable(&event("Normal", "ScalingReplicaSet")));
        assert!(!is_notable(&event("Normal", "Pulled")));
    }
}
