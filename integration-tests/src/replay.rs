//! Recorded requests: a script of them is sent by hand to a fresh broker, and the answers are brought to a form in
//! which two brokers can be compared.
//!
//! `script` reads the requests, `play` sends them, `answer` takes out of an answer what must differ (times, addresses,
//! places in the log), `difference` compares, and knows the differences that docs/differences.md explains.

pub mod answer;
pub mod difference;
pub mod play;
pub mod script;
