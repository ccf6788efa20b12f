//! An index file after a crash: what is not known to be on the disk goes, and slots are led back to
//! what is left.
//!
//! Entries are flushed in order and seldom lie behind; slots are flushed seldom, at random places, and
//! may on the disk be older or newer than the entries. Nothing behind the cut is believed, so that a
//! crash during recovery changes nothing.

use std::io;

use super::file::{End, IndexFile, slot_at};

/// What is known to be on the disk, as physical offsets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trusted {
    /// Entries of all messages before this are; other entries go.
    pub(crate) entries: i64,
    /// So are the slots of the entries of messages before this.
    pub(crate) slots: i64,
}

/// What is left of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All entries that can be trusted.
    Trusted,
    /// Nothing counts, because some of them were damaged: the files have to go, and all messages are
    /// to be indexed again.
    Nothing,
}

impl IndexFile {
    /// Whether recovery has nothing to do with this file, nor with those before it.
    pub(super) fn is_on_disk(&self, trusted: Trusted) -> bool {
        self.is_full() && self.end_offset() < trusted.entries.min(trusted.slots)
    }

    /// Cuts the entries that cannot be trusted. `store_time` knows the time of a message, of which an
    /// entry has the seconds only.
    pub(super) fn recover(
        &self,
        trusted: Trusted,
        store_time: &dyn Fn(i64) -> Option<i64>,
    ) -> io::Result<Kept> {
        let next = self.first_untrusted(trusted.entries);
        if self.lacks_entries(next, trusted.entries) {
            return Ok(Kept::Nothing);
        }
        let entries_end = self.entry_at(next);
        self.cells.clear_from(entries_end)?;
        self.take_blocks(entries_end)?;
        let used_slots = self.mend_slots(next, trusted.slots)?;
        self.restore_header(self.end_before(next, store_time), used_slots);
        Ok(Kept::Trusted)
    }

    /// Number of the first entry that goes.
    fn first_untrusted(&self, entries: i64) -> u32 {
        let is_kept = |number| {
            self.offset_of(number)
                .is_some_and(|offset| offset < entries)
        };
        let found = partition_point(1..self.size.entries, is_kept);
        // Behind the cut there may be anything, even what looks like an entry before it.
        let in_order = |number: u32| {
            is_kept(number) && (number == 1 || self.offset_of(number - 1) <= self.offset_of(number))
        };
        let last = found - 1;
        if last <= 1 || in_order(last) && is_kept(last - 1) {
            return found;
        }
        (1..found)
            .find(|number| !in_order(*number))
            .unwrap_or(found)
    }

    /// Whether the header, which is flushed behind the entries, knows more of them.
    fn lacks_entries(&self, next: u32, entries: i64) -> bool {
        let fewer = self.next_entry() > next && self.end_offset() < entries;
        let begins_otherwise = next > 1 && self.offset_of(1) != Some(self.begin_offset());
        fewer || begins_otherwise
    }

    /// Makes the slots what they were before the entry `next` was added. Returns how many are used.
    fn mend_slots(&self, next: u32, slots_safe: i64) -> io::Result<u32> {
        let unlinked = partition_point(1..next, |number| {
            self.offset_of(number)
                .is_some_and(|offset| offset < slots_safe)
        });
        self.cells.read_ahead(0, self.entry_at(0))?;
        let led_astray = self.empty_slots_from(next);
        let from = if led_astray.is_empty() { unlinked } else { 1 };
        self.cells
            .read_ahead(self.entry_at(from), self.entry_at(next))?;
        for number in from..next {
            let slot = self.cells.get(self.entry_at(number)) % self.size.slots;
            if number >= unlinked || led_astray.has(slot) {
                self.cells.set(slot_at(slot), number);
            }
        }
        let used = |slot: &u32| self.cells.get(slot_at(*slot)) != 0;
        Ok((0..self.size.slots).filter(used).count() as u32)
    }

    /// Empties the slots that point at an entry from `next` on, and returns which.
    fn empty_slots_from(&self, next: u32) -> SlotSet {
        let mut emptied = SlotSet::default();
        for slot in 0..self.size.slots {
            if self.cells.get(slot_at(slot)) >= next {
                emptied.insert(slot);
                self.cells.set(slot_at(slot), 0);
            }
        }
        emptied
    }

    /// What the header has to say when the last entry is the one before `next`.
    fn end_before(&self, next: u32, store_time: &dyn Fn(i64) -> Option<i64>) -> End {
        let last = next - 1;
        let offset = self.offset_of(last).unwrap_or_default();
        let seconds = self.cells.get(self.entry_at(last) + 12);
        let latest_ms = self
            .begin_timestamp()
            .saturating_add(i64::from(seconds) * 1_000 + 999);
        End {
            next_entry: next,
            offset,
            timestamp: store_time(offset).unwrap_or(latest_ms),
        }
    }

    /// Physical offset of an entry; nothing where none was written.
    fn offset_of(&self, number: u32) -> Option<i64> {
        let at = self.entry_at(number);
        let cells = [0, 4, 8, 12].map(|cell| self.cells.get(at + cell));
        let offset = self.cells.get_i64(at + 4);
        (cells != [0; 4] && offset >= 0).then_some(offset)
    }
}

/// A bit for each slot: so few bytes that a processor keeps them at hand, for each entry of a file is
/// looked up.
#[derive(Debug, Default)]
struct SlotSet {
    words: Vec<u64>,
}

impl SlotSet {
    fn insert(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (slot % 64);
    }

    fn has(&self, slot: u32) -> bool {
        let word = self.words.get(slot as usize / 64);
        word.is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// First number of a range for which the condition does not hold, if it holds for a front of it.
fn partition_point(range: std::ops::Range<u32>, holds: impl Fn(u32) -> bool) -> u32 {
    let (mut from, mut to) = (range.start, range.end);
    while from < to {
        let middle = from + (to - from) / 2;
        if holds(middle) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::{Entry, IndexSize, Search, Wanted};
    use super::*;
    use crate::disk::Disk;

    const SIZE: IndexSize = IndexSize {
        slots: 11,
        entries: 100,
    };
    /// Bytes that reach the disk together: at least the header, and less than in truth, for more
    /// ways to fail.
    const PAGE_BYTES: usize = 40;

    /// A key of its message; each message has three.
    fn entry(number: u64, random: u64) -> Entry {
        Entry {
            key_hash: (random % 30) as u32,
            physical_offset: (number / 3 * 10) as i64,
            store_timestamp: store_time((number / 3 * 10) as i64),
        }
    }

    fn store_time(offset: i64) -> i64 {
        1_700_000_000_000 + offset * 77
    }

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, limit: usize) -> usize {
            (self.next() % limit.max(1) as u64) as usize
        }
    }

    fn all(file: &IndexFile) -> Vec<Vec<i64>> {
        let found = |key_hash| {
            let wanted = Wanted {
                key_hash,
                begin_ms: 0,
                end_ms: i64::MAX,
            };
            let mut found = Vec::new();
            file.find(wanted, &mut |offset| {
                found.push(offset);
                Search::On
            });
            found
        };
        (0..30).map(found).collect()
    }

    fn file_of(path: &Path, entries: &[Entry]) -> IndexFile {
        let _ = std::fs::remove_file(path);
        let file = IndexFile::open(&Disk::default(), path, SIZE).unwrap();
        for entry in entries {
            file.put(*entry).unwrap();
        }
        file
    }

    /// The file as it was at each moment: after no entry, after one, after two…
    fn states(path: &Path, entries: &[Entry]) -> Vec<Vec<u8>> {
        let file = file_of(path, &[]);
        let mut states = vec![std::fs::read(path).unwrap()];
        for entry in entries {
            file.put(*entry).unwrap();
            states.push(std::fs::read(path).unwrap());
        }
        states
    }

    /// What a power cut leaves: of each page some state since it was last flushed.
    fn image(
        random: &mut Random,
        states: &[Vec<u8>],
        slots_flushed: usize,
        entries_flushed: usize,
    ) -> Vec<u8> {
        let entries_at = slot_at(SIZE.slots);
        let mut image = states[0].clone();
        for at in (0..image.len()).step_by(PAGE_BYTES) {
            let end = (at + PAGE_BYTES).min(image.len());
            let holds_entries = end > entries_at || at == 0;
            let since = if holds_entries {
                entries_flushed
            } else {
                slots_flushed
            };
            let state = since + random.below(states.len() - since);
            image[at..end].copy_from_slice(&states[state][at..end]);
        }
        image
    }

    #[test]
    fn whatever_pages_a_power_cut_leaves_the_trusted_entries_are_found() {
        let seed = std::env::var("SEED").map_or(88_172_645_463_325_252, |seed| {
            seed.parse::<u64>().unwrap() | 1
        });
        println!("SEED={seed}");
        let mut random = Random(seed);
        let dir = tempfile::tempdir().unwrap();
        for round in 0..300 {
            let count = 1 + random.below(99);
            let entries: Vec<Entry> = (0..count as u64)
                .map(|number| entry(number + 3, random.next()))
                .collect();
            let states = states(&dir.path().join("states"), &entries);
            // Messages are flushed whole.
            let entries_flushed = random.below(count + 1);
            let slots_flushed = random.below(entries_flushed + 1);
            let trusted = Trusted {
                entries: offset_behind(&entries, entries_flushed),
                slots: offset_behind(&entries, slots_flushed),
            };
            let image = image(&mut random, &states, slots_flushed, entries_flushed);
            let path = dir.path().join("image");
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, image).unwrap();
            let file = IndexFile::open(&Disk::default(), &path, SIZE).unwrap();

            let kept = entries
                .iter()
                .filter(|entry| entry.physical_offset < trusted.entries);
            let kept: Vec<Entry> = kept.copied().collect();
            let sound = file_of(&dir.path().join("sound"), &kept);
            for _ in 0..2 {
                let recovered = file.recover(trusted, &|offset| Some(store_time(offset)));
                assert_eq!(recovered.unwrap(), Kept::Trusted, "round {round}");
                assert_eq!(all(&file), all(&sound), "round {round}");
            }
            if !kept.is_empty() {
                let bytes = |file: &IndexFile| std::fs::read(file.path()).unwrap();
                assert!(bytes(&file) == bytes(&sound), "round {round}");
            }
            let rest = entries
                .iter()
                .filter(|entry| entry.physical_offset >= trusted.entries);
            for entry in rest {
                file.put(*entry).unwrap();
            }
            let whole = file_of(&dir.path().join("sound"), &entries);
            assert_eq!(all(&file), all(&whole), "round {round}");
        }
    }

    /// All messages before this have their entries among the first `count`.
    fn offset_behind(entries: &[Entry], count: usize) -> i64 {
        entries
            .get(count)
            .map_or(i64::MAX, |entry| entry.physical_offset)
    }
}
