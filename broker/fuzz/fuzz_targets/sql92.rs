#![no_main]

#[path = "../entry.rs"]
mod entry;
#[path = "../../src/filter/sql/mod.rs"]
#[allow(dead_code)] // the broker uses more of it
mod sql;

use sql::Sql;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entry::sql92(bytes);
});
