//! A real name server over sockets, with remoting's client as brokers, clients and operators.

mod asking;
mod harness;
mod leaving;
mod operating;
mod registering;
mod scale;
