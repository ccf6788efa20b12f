//! A hash map keyed by codes, opaques and ids: one multiplication instead of SipHash.
//!
//! The keys are ours (ids and opaques that we count up) or from a fixed table (codes); a peer can't
//! choose keys to make them collide.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map keyed by one integer.
pub(crate) type IntegerMap<K, V> = HashMap<K, V, BuildHasherDefault<IntegerHasher>>;

#[derive(Default)]
pub(crate) struct IntegerHasher(u64);

impl Hasher for IntegerHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_i32(&mut self, key: i32) {
        self.write_u64(u64::from(key.cast_unsigned()));
    }

    fn write_u64(&mut self, key: u64) {
        // The map takes the bucket from the low bits and a tag from the high ones: fold both halves
        // of the product together, so that either sees the whole key.
        let product = u128::from(self.0 ^ key) * 0x9E37_79B9_7F4A_7C15_u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}
