//! Damage to samples, from a seed.

/// Lengths and counts at which readers go wrong.
const ODD_NUMBERS: [i32; 8] = [
    0,
    1,
    -1,
    i32::MAX,
    i32::MIN,
    0x00FF_FFFF,
    0x0100_0000,
    0x7FFF,
];

/// Letters that mean something to one of the parsers.
const ODD_LETTERS: &[u8] = b"{}[]\"':,\\u\0\x01\x02-.e0 \n=#\xff\x80";

/// Makes damaged samples; the same seed makes the same ones.
pub(crate) struct Mutator {
    state: u64,
}

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    /// A sample with one to six injuries; now and then pure noise.
    pub(crate) fn damaged(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        if self.below(50) == 0 {
            return (0..self.below(64)).map(|_| self.byte()).collect();
        }
        let mut bytes = self.pick(samples).clone();
        for _ in 0..=self.below(6) {
            self.injure(&mut bytes, samples);
        }
        bytes
    }

    fn injure(&mut self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        match self.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(..at)),
            2 => bytes.insert(at, *self.pick(ODD_LETTERS)),
            3 => {
                let other = self.pick(samples);
                let tail = other[self.below(other.len() + 1)..].to_vec();
                bytes.truncate(at);
                bytes.extend(tail);
            }
            4 => {
                let number = self.pick(&ODD_NUMBERS).to_be_bytes();
                bytes
                    .iter_mut()
                    .skip(at)
                    .zip(number)
                    .for_each(|(byte, new)| *byte = new);
            }
            5 => {
                let end = (at + self.below(16)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let bit = 1 << self.below(8);
                bytes
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|byte| *byte ^= bit);
            }
        }
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// xorshift64*
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }
}
