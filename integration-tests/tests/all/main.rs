//! Whole clusters with unmodified foreign clients. One binary, so that peers and servers are prepared once.

mod bad_input;
mod clients;
mod directories;
mod killed;
mod lifecycle;
mod load;
mod many_topics;
mod mixed;
mod mqadmin;
mod rust_client;
