//! Frames ready to be written: heads and small bodies one after another in one buffer, greater bodies
//! beside it without a copy. The outbox fills one while the connection writes another.
//!
//! Invariant: bodies stand in the order of their place in the heads, and the cursor never passes them.

use std::io::IoSlice;

use bytes::{Buf, Bytes};
use thrustmq_proto_compat::command::Body;

/// A body piece up to this size is copied: that costs less than a slice of its own in the write call.
const COPIED_BYTES_MAX: usize = 1024;
/// Buffers that grew beyond this are given back once they are written.
const KEPT_BYTES_MAX: usize = 64 * 1024;
const KEPT_BODIES_MAX: usize = 256;

/// Frames in the order in which they are sent.
#[derive(Default)]
pub(crate) struct Batch {
    heads: Vec<u8>,
    bodies: Vec<PlacedBody>,
    bytes: usize,
    /// How much of `heads` is written.
    head_at: usize,
    /// The first body that is not written whole; its own cursor is its `Bytes`.
    body_next: usize,
}

/// A body that goes out after the first `at` bytes of the heads.
struct PlacedBody {
    at: usize,
    bytes: Bytes,
}

impl Batch {
    /// Bytes still to be written.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends a frame: everything of it before the body, and the body.
    pub(crate) fn push(&mut self, head: &[u8], body: &Body) {
        self.heads.extend_from_slice(head);
        self.bytes += head.len() + body.len();
        match body {
            Body::Empty => {}
            Body::One(bytes) => self.push_body(bytes),
            Body::Many(pieces) => pieces.iter().for_each(|piece| self.push_body(piece)),
        }
    }

    fn push_body(&mut self, bytes: &Bytes) {
        if bytes.len() <= COPIED_BYTES_MAX {
            self.heads.extend_from_slice(bytes);
        } else {
            self.bodies.push(PlacedBody {
                at: self.heads.len(),
                bytes: bytes.clone(),
            });
        }
    }

    /// Fills `slices` with what is to be written next; returns how many it filled.
    pub(crate) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut put = |piece: &'a [u8]| -> bool {
            if let Some(slot) = slices.get_mut(filled)
                && !piece.is_empty()
            {
                *slot = IoSlice::new(piece);
                filled += 1;
            }
            filled < slices.len()
        };
        let mut head_at = self.head_at;
        for body in &self.bodies[self.body_next..] {
            if !put(&self.heads[head_at..body.at]) || !put(&body.bytes) {
                return filled;
            }
            head_at = body.at;
        }
        put(&self.heads[head_at..]);
        filled
    }

    /// Moves the cursor over `written` bytes.
    pub(crate) fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(body) = self.bodies.get_mut(self.body_next) {
            let head = written.min(body.at - self.head_at);
            self.head_at += head;
            written -= head;
            let piece = written.min(body.bytes.len());
            body.bytes.advance(piece);
            written -= piece;
            if !body.bytes.is_empty() {
                return;
            }
            self.body_next += 1;
        }
        self.head_at += written;
    }

    /// Forgets what was written and keeps the buffers for the next frames, unless they grew large.
    pub(crate) fn clear(&mut self) {
        if self.heads.capacity() > KEPT_BYTES_MAX || self.bodies.capacity() > KEPT_BODIES_MAX {
            *self = Self::default();
            return;
        }
        self.heads.clear();
        self.bodies.clear();
        self.bytes = 0;
        self.head_at = 0;
        self.body_next = 0;
    }
}

#[cfg(test)]
mod tests;
