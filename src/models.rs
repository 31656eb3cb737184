//! Loom models of the concurrency protocols. Each model calls the shipped functions. `make loom` runs each model in
//! its own process. `make loom-mutants` plants each weakening named in a model's comment and expects the model to
//! fail.

mod attach;
mod call;
mod clients;
mod gateway;
mod handles;
mod handoff;
mod lane;
mod local;
mod metrics;
mod placement;
mod recorders;
mod ring;
mod rooms;
mod stuck;
mod wake;

/// Explores the schedules of `model` with at most three preemptions. Two miss a real bug of the combined wakes.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound =
        Some(std::env::var("LOOM_MAX_PREEMPTIONS").ok().and_then(|bound| bound.parse().ok()).unwrap_or(3));
    builder.max_branches = 100_000;
    builder.check(model);
}
