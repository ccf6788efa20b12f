//! Latencies, counted in buckets that are at most 0.8 % wide.

/// Buckets of a power of two.
const STEPS_BITS: u32 = 7;
const STEPS: u64 = 1 << STEPS_BITS;
/// Enough for 2^40 µs.
const BUCKETS: usize = (40 - STEPS_BITS as usize + 1) * STEPS as usize;

/// Counts of latencies in microseconds.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: 0,
        }
    }

    pub(super) fn record(&mut self, latency_us: u64) {
        self.max = self.max.max(latency_us);
        let last = self.counts.len() - 1;
        if let Some(count) = self.counts.get_mut(bucket(latency_us).min(last)) {
            *count += 1;
            self.total += 1;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many were recorded.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The longest, exactly.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The latency that a share of all stays at or below; 0 of none.
    pub(super) fn at(&self, share: f64) -> u64 {
        let rank = (share * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return highest(at).min(self.max);
            }
        }
        0
    }
}

/// Exact below 128 µs, then 128 steps for each power of two.
fn bucket(latency_us: u64) -> usize {
    if latency_us < STEPS {
        return latency_us as usize;
    }
    let power = latency_us.ilog2() - STEPS_BITS;
    let step = (latency_us >> power) - STEPS;
    (u64::from(power + 1) * STEPS + step) as usize
}

/// The highest latency in a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let power = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_a_bucket_that_reaches_it() {
        for latency in (0..5_000).chain([65_535, 65_536, 1 << 30, (1 << 39) + 7]) {
            let top = highest(bucket(latency));
            assert!(
                top >= latency && top <= latency + latency / 128,
                "{latency} in {top}"
            );
            assert!(latency == 0 || highest(bucket(latency - 1)) <= top);
        }
    }

    #[test]
    fn shares_are_those_of_the_sorted_list() {
        let mut one = Histogram::new();
        let mut two = Histogram::new();
        assert_eq!(one.at(0.5), 0);
        (1..=20).for_each(|latency| one.record(latency));
        (21..=30).for_each(|latency| two.record(latency));
        one.add(&two);
        assert_eq!((one.at(0.5), one.at(0.9), one.at(1.0)), (15, 27, 30));
        one.record(1_001);
        assert_eq!((one.at(1.0), one.max()), (1_001, 1_001));
    }

    #[test]
    fn what_is_beyond_the_last_bucket_counts_in_it() {
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        assert!(histogram.at(0.5) >= 1 << 39);
        assert_eq!(histogram.max(), u64::MAX);
    }
}
