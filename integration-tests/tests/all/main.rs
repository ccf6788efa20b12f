//! Whole clusters with unmodified foreign clients. One binary, so that peers and servers are prepared once.

mod bad_input;
mod bench;
mod clients;
mod conformance;
mod conformance_go;
mod differential;
mod directories;
mod handover;
mod hostile;
mod instructions;
mod killed;
mod lifecycle;
mod light_queues;
mod load;
mod many_topics;
mod mixed;
mod mqadmin;
mod orderly;
mod pop_order;
mod popping;
mod rust_client;
mod survival;
