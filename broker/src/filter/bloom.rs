//! The bit positions that stand for a group in a topic, as Java's `BloomFilter` works them out. Here they
//! are only written to `consumerFilter.json`, for a Java broker that reads it.

use thrustmq_proto_compat::body::BloomFilterData;

/// How many positions a group has, of how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bloom {
    hashes: i32,
    bits: i32,
}

impl Bloom {
    /// For `groups` groups in a topic, of which `error_percent` are taken wrongly.
    pub(crate) fn new(error_percent: i32, groups: i32) -> Self {
        let error = f64::from(error_percent) / 100.0;
        let hashes = (error.ln() / 0.5_f64.ln()).ceil();
        let log2 = |value: f64| value.ln() / 2.0_f64.ln();
        let bits = (f64::from(groups) * log2(1.0 / error) * log2(std::f64::consts::E)).ceil();
        Self {
            // Saturates; the limits of both settings keep it far from there.
            hashes: hashes as i32,
            bits: ((bits / 8.0).ceil() * 8.0) as i32,
        }
    }

    /// The positions of one text.
    pub(crate) fn positions(self, text: &str) -> BloomFilterData {
        let hash = murmur3(text.as_bytes());
        let (low, high) = (hash as i32, (hash >> 32) as i32);
        let position = |round: i32| {
            let combined = low.wrapping_add(round.wrapping_mul(high));
            let positive = if combined < 0 { !combined } else { combined };
            positive % self.bits.max(1)
        };
        BloomFilterData {
            bit_num: self.bits,
            bit_pos: (1..=self.hashes).map(position).collect(),
        }
    }
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The lower half of MurmurHash3 for 128 bits, seed 0.
fn murmur3(bytes: &[u8]) -> u64 {
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let mut blocks = bytes.chunks_exact(16);
    for block in &mut blocks {
        let Half { low, high } = halves(block);
        h1 = (h1 ^ mix1(low)).rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ mix2(high)).rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let Half { low, high } = halves(blocks.remainder());
    h2 ^= mix2(high);
    h1 ^= mix1(low);
    let length = bytes.len() as u64;
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2))
}

struct Half {
    low: u64,
    high: u64,
}

/// Up to 16 bytes as two numbers, little end first; what is missing is zero.
fn halves(bytes: &[u8]) -> Half {
    let number = |bytes: &[u8]| {
        let shifted = bytes.iter().rev();
        shifted.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (low, high) = bytes.split_at(bytes.len().min(8));
    Half {
        low: number(low),
        high: number(high),
    }
}

fn mix1(value: u64) -> u64 {
    value.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(value: u64) -> u64 {
    value.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut value: u64) -> u64 {
    value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Java 5.5.0 answers with its defaults.
    #[test]
    fn positions_are_javas() {
        let bloom = Bloom::new(20, 32);
        let long = "group_with_longer_name#some-topic-name-1234567890";
        for (text, positions) in [
            ("g#t", [22, 87, 58]),
            ("CID#Topic", [52, 92, 20]),
            ("", [0, 0, 0]),
            ("a", [94, 99, 7]),
            (long, [41, 56, 101]),
            ("汉字#主题", [89, 5, 100]),
        ] {
            let data = bloom.positions(text);
            assert_eq!((data.bit_num, &data.bit_pos[..]), (112, &positions[..]));
        }
    }
}
