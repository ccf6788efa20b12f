//! The two encodings of a header. The type byte of each frame says which it is.

pub(crate) mod binary;
pub(crate) mod json;
