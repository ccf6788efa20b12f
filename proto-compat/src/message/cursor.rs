//! A reading position in bytes that came from the network or a disk: every step is checked.

/// More bytes were asked for than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfBytes;

/// Reads big-endian values off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], OutOfBytes> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(OutOfBytes)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], OutOfBytes> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(OutOfBytes)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> Result<i32, OutOfBytes> {
        self.array().map(i32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Result<i64, OutOfBytes> {
        self.array().map(i64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i16(&mut self) -> Result<i16, OutOfBytes> {
        self.array().map(i16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, OutOfBytes> {
        self.array::<1>().map(|[byte]| byte)
    }
}
