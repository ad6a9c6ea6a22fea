//! One module per controller: a pure planner plus a thin loop that observes and acts.
