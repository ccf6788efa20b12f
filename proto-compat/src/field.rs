//! Text values of header fields, and the list of fields a command carries.
