//! What a HorizontalPodAutoscaler decides (`kubernetes/pkg/controller/podautoscaler`), as pure functions of what is wanted, what
//! was measured, what was decided before, and the time.
//!
//! `pods` says which pods count, `replicas` how many pods a metric asks for, `history` and `behavior` how fast the count may
//! change, `metrics` what a metric of the object is about, and `decide` puts them together for one object: the count, its
//! conditions, its status and its events. `early` is for looks between two rounds, `predict` learns what is ahead, and `simulate`
//! puts autoscalers into simulated time.
//!
//! Where the outcome differs from upstream's, [`Settings::calm`] is on and the rule stands with [`replicas`].

pub mod behavior;
pub mod conditions;
mod count;
pub mod decide;
pub mod early;
pub mod history;
pub mod metrics;
pub mod overlap;
pub mod pods;
pub mod predict;
pub mod replicas;
mod settings;
pub mod simulate;
pub mod time;
pub mod vertical;

pub use settings::{Moment, Settings, Tolerances};
