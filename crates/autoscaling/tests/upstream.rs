//! Upstream's tables (`pkg/controller/podautoscaler/{replica_calculator,horizontal}_test.go`), every row under its upstream name:
//! as upstream decides, and beside it what changes when rises are looked at twice (`Settings::calm`), which is never a count
//! outside what upstream proposes and what there is.
//!
//! What those tests say of kube-controller-manager's own monitoring has no counterpart here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "upstream/calculator.rs"]
mod calculator;
#[path = "upstream/controller.rs"]
mod controller;
#[path = "upstream/rules.rs"]
mod rules;
#[path = "upstream/world.rs"]
mod world;
