//! Servers and clients over real loopback sockets, most of them against a peer that follows a script.

mod calling;
mod flow_control;
mod garbage;
mod handling;
mod pressure;
mod scripted_peer;
mod shutdown;
