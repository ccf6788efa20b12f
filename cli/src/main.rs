//! The one binary `thrustmq`.
fn main() {}
