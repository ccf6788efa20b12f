//! A disk that knows what would survive a power cut: bytes that were flushed, names that were
//! synced. Of the rest any part may survive. It can also fail and hold operations back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use thrustmq_store::{Disk, DiskAction, DiskOperation, DiskWatcher, Store};

use super::Image;

/// What a name stands for: the number of a file or directory, which no other ever has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    number: usize,
    is_directory: bool,
}

type Names = BTreeMap<PathBuf, Entry>;

/// A file's bytes on the disk.
#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    /// Blocks whose flush failed, with what they held: the system takes them for written, so that
    /// another flush does not write them.
    given_up: HashMap<usize, Vec<u8>>,
}

/// So much reaches the disk whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

/// Something that fails.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) action: DiskAction,
    /// First part of the path below the root; the root itself is the empty text.
    pub(crate) area: String,
    /// So many such operations are let through first.
    pub(crate) skip: u32,
    /// And so many fail then.
    pub(crate) times: u32,
    /// As `errno` numbers it.
    pub(crate) os_error: i32,
}

/// Which flushes of maps wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    All,
    Log,
}

#[derive(Debug, Default)]
struct State {
    now: Names,
    durable: Names,
    contents: HashMap<usize, Content>,
    numbers: usize,
    seen: BTreeSet<(DiskAction, String)>,
    fault: Option<Fault>,
    failed: u32,
    /// Flushes of maps wait, all of them or those of one area.
    held: Option<Held>,
    /// How many operations are let through before the power fails; then nothing is done any more.
    operations_left: Option<u32>,
    dead: bool,
}

/// The disk below one directory.
#[derive(Debug)]
pub(crate) struct DurableDisk {
    root: PathBuf,
    state: Mutex<State>,
    released: Condvar,
}

impl DurableDisk {
    /// What lies there now is durable.
    pub(crate) fn new(root: &Path) -> Arc<Self> {
        let mut state = State::default();
        state.scan(root, Path::new(""));
        Arc::new(Self {
            root: root.to_owned(),
            state: Mutex::new(state),
            released: Condvar::new(),
        })
    }

    pub(crate) fn disk(self: &Arc<Self>) -> Disk {
        Disk::watched(self.clone())
    }

    pub(crate) fn fail(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// How many operations failed by a [`Fault`].
    pub(crate) fn failed(&self) -> u32 {
        self.state().failed
    }

    /// Actions that were done, and where.
    pub(crate) fn seen(&self) -> BTreeSet<(DiskAction, String)> {
        self.state().seen.clone()
    }

    /// While held, flushes of maps do not end: what is written meanwhile need not reach the disk.
    pub(crate) fn hold_flushes(&self, held: bool) {
        self.hold(held.then_some(Held::All));
    }

    /// As [`DurableDisk::hold_flushes`], but only those of the log: what is derived from it may be
    /// on the disk before it.
    pub(crate) fn hold_log_flushes(&self, held: bool) {
        self.hold(held.then_some(Held::Log));
    }

    fn hold(&self, held: Option<Held>) {
        self.state().held = held;
        self.released.notify_all();
    }

    /// After so many operations nothing is done any more, until [`DurableDisk::revive`] or for good.
    pub(crate) fn cut_power_after(&self, operations: u32) {
        self.state().operations_left = Some(operations);
    }

    /// Ends a store as if its process were killed: what it wrote stays in the system's memory.
    pub(crate) fn kill(&self, store: Store) {
        self.state().dead = true;
        self.hold_flushes(false);
        drop(store);
        self.revive();
    }

    /// Another process comes: it finds what the one before left in the system's memory.
    pub(crate) fn revive(&self) {
        let mut state = self.state();
        state.dead = false;
        state.operations_left = None;
    }

    /// The power fails now. Nothing that the store does from here on counts.
    pub(crate) fn cut_power(&self, block_bytes: usize) -> PowerCut {
        let mut state = self.state();
        let cut = PowerCut::of(&self.root, &state, block_bytes);
        state.dead = true;
        state.held = None;
        self.released.notify_all();
        cut
    }

    /// A file's bytes as a power cut would leave them; nothing if it has no name yet.
    pub(crate) fn durable(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        let entry = state.durable.get(Path::new(name));
        entry.map_or_else(Vec::new, |entry| {
            state.contents[&entry.number].durable.clone()
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Path below the root; nothing for others.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.root).ok().map(Path::to_owned)
    }
}

fn area_of(path: &Path) -> String {
    let first = path.components().next();
    first.map_or_else(String::new, |first| {
        first.as_os_str().to_str().unwrap().to_owned()
    })
}

impl DiskWatcher for DurableDisk {
    fn before(&self, operation: &DiskOperation<'_>) -> io::Result<()> {
        let Some(path) = self.below(operation.path) else {
            return Ok(());
        };
        let mut state = self.state();
        while state.is_held(operation.action, &path) {
            state = self.released.wait(state).unwrap();
        }
        if let Some(left) = state.operations_left {
            state.dead |= left == 0;
            state.operations_left = Some(left.saturating_sub(1));
        }
        if state.dead {
            return Err(io::Error::other("the power failed"));
        }
        match state.fault_of(operation.action, &path) {
            Some(error) => {
                state.fail(&self.root, &path, operation);
                Err(error)
            }
            None => Ok(()),
        }
    }

    fn after(&self, operation: &DiskOperation<'_>) {
        let Some(path) = self.below(operation.path) else {
            return;
        };
        // Also if the power failed or the process was killed meanwhile: it is done, and whoever opens
        // the directory next finds it there.
        let mut state = self.state();
        state.seen.insert((operation.action, area_of(&path)));
        match operation.action {
            DiskAction::MakeDirectory => state.add(path, true),
            DiskAction::Create => state.add(path, false),
            DiskAction::Remove => drop(state.now.remove(&path)),
            DiskAction::RemoveDirectory => state.now.retain(|name, _| !name.starts_with(&path)),
            DiskAction::Rename => {
                let name = self.below(new_name(operation)).unwrap();
                state.rename(&path, &name);
                if name == Path::new("abort") {
                    state.queues_are_put_again();
                }
            }
            DiskAction::Write | DiskAction::Clear => state.rewritten(&path, operation),
            DiskAction::FlushMap => {
                let range = operation.from as usize..operation.to as usize;
                state.flush(&self.root, &path, range);
            }
            DiskAction::Sync => state.flush(&self.root, &path, 0..usize::MAX),
            DiskAction::SyncDirectory => state.sync_directory(&path),
            DiskAction::SyncFileSystem => state.sync_all(&self.root),
            DiskAction::Open
            | DiskAction::Length
            | DiskAction::SetLength
            | DiskAction::Reserve
            | DiskAction::Map
            | DiskAction::Read
            | DiskAction::ReadInMemory
            | DiskAction::List => {}
        }
    }
}

fn new_name<'a>(operation: &DiskOperation<'a>) -> &'a Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(operation.content))
}

impl State {
    fn scan(&mut self, root: &Path, dir: &Path) {
        for entry in fs::read_dir(root.join(dir)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            let is_directory = entry.file_type().unwrap().is_dir();
            self.add(path.clone(), is_directory);
            if is_directory {
                self.scan(root, &path);
            } else {
                self.flush(root, &path, 0..usize::MAX);
            }
        }
        self.durable = self.now.clone();
    }

    fn add(&mut self, path: PathBuf, is_directory: bool) {
        if !self.now.contains_key(&path) {
            self.numbers += 1;
            let number = self.numbers;
            let entry = Entry {
                number,
                is_directory,
            };
            self.now.insert(path, entry);
            self.contents.insert(number, Content::default());
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let entry = self.now.remove(from).unwrap();
        self.now.insert(to.to_owned(), entry);
    }

    fn content(&mut self, path: &Path) -> Option<&mut Content> {
        let entry = self.now.get(path)?;
        self.contents.get_mut(&entry.number)
    }

    fn flush(&mut self, root: &Path, path: &Path, range: std::ops::Range<usize>) {
        let Some(content) = self.content(path) else {
            return;
        };
        let now = match fs::read(root.join(path)) {
            Ok(now) => now,
            // Another thread is removing it, and has not told yet.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        content.durable.resize(now.len(), 0);
        for block in range.start / SECTOR_BYTES..range.end.min(now.len()).div_ceil(SECTOR_BYTES) {
            let bytes = block_of(&now, block, SECTOR_BYTES);
            if content.given_up.get(&block).is_some_and(|old| old == bytes) {
                continue;
            }
            content.given_up.remove(&block);
            let from = range.start.max(block * SECTOR_BYTES);
            let to = range.end.min(now.len()).min((block + 1) * SECTOR_BYTES);
            content.durable[from..to].copy_from_slice(&now[from..to]);
        }
    }

    /// A process that starts puts the queue entries again that nobody vouched for, through maps, which
    /// cannot be seen from here: the system writes them out though they are what they were.
    fn queues_are_put_again(&mut self) {
        for (path, entry) in &self.now {
            if path.starts_with("consumequeue")
                && let Some(content) = self.contents.get_mut(&entry.number)
            {
                content.given_up.clear();
            }
        }
    }

    /// What was written or cleared is written out by the next flush.
    fn rewritten(&mut self, path: &Path, operation: &DiskOperation<'_>) {
        let first = operation.from as usize / SECTOR_BYTES;
        let end = (operation.to as usize).div_ceil(SECTOR_BYTES);
        if let Some(content) = self.content(path) {
            content
                .given_up
                .retain(|block, _| !(first..end).contains(block));
        }
    }

    fn is_held(&self, action: DiskAction, path: &Path) -> bool {
        let is_of_it = match self.held {
            None => false,
            Some(Held::All) => true,
            Some(Held::Log) => path.starts_with("commitlog"),
        };
        is_of_it && action == DiskAction::FlushMap
    }

    fn sync_directory(&mut self, dir: &Path) {
        let is_child = |name: &Path| name.parent() == Some(dir);
        let gone: Vec<_> = self
            .durable
            .iter()
            .filter(|(name, entry)| is_child(name) && self.now.get(*name) != Some(entry))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            // With a directory goes what is in it.
            self.durable.retain(|other, _| !other.starts_with(&name));
        }
        let there = self.now.iter().filter(|(name, _)| is_child(name));
        self.durable
            .extend(there.map(|(name, entry)| (name.clone(), *entry)));
    }

    fn sync_all(&mut self, root: &Path) {
        self.durable = self.now.clone();
        for path in self.now.keys().cloned().collect::<Vec<_>>() {
            if root.join(&path).is_file() {
                self.flush(root, &path, 0..usize::MAX);
            }
        }
    }

    fn fault_of(&mut self, action: DiskAction, path: &Path) -> Option<io::Error> {
        let fault = self.fault.as_mut()?;
        if fault.action != action || fault.area != area_of(path) || fault.times == 0 {
            return None;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        self.failed += 1;
        Some(io::Error::from_raw_os_error(fault.os_error))
    }

    /// What a failing operation does all the same.
    fn fail(&mut self, root: &Path, path: &Path, operation: &DiskOperation<'_>) {
        use std::os::unix::fs::FileExt;
        if operation.action == DiskAction::Write {
            // The first half of it is written.
            let half = &operation.content[..operation.content.len() / 2];
            let file = fs::OpenOptions::new().write(true).open(operation.path);
            file.unwrap().write_all_at(half, operation.from).unwrap();
        }
        // The index is written again through its map, which cannot be seen from here.
        let is_flush = matches!(operation.action, DiskAction::FlushMap | DiskAction::Sync);
        if !is_flush || path.starts_with("index") {
            return;
        }
        let Ok(now) = fs::read(root.join(path)) else {
            return;
        };
        // The end is 0 if it is about all of the file.
        let to = if operation.to == 0 {
            now.len()
        } else {
            operation.to as usize
        };
        let blocks =
            operation.from as usize / SECTOR_BYTES..to.min(now.len()).div_ceil(SECTOR_BYTES);
        let given_up = blocks.map(|block| (block, block_of(&now, block, SECTOR_BYTES).to_vec()));
        if let Some(content) = self.content(path) {
            content.given_up.extend(given_up);
        }
    }
}

fn block_of(bytes: &[u8], block: usize, block_bytes: usize) -> &[u8] {
    let from = bytes.len().min(block * block_bytes);
    let to = bytes.len().min((block + 1) * block_bytes);
    &bytes[from..to]
}

/// One thing that was done and need not have reached the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A name came, went, or stands for another file.
    Name(PathBuf),
    /// A file has another length.
    Length(PathBuf),
    /// Part of a file was written.
    Block(PathBuf, usize),
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Done,
    /// Of a block only so many bytes: an earlier state of something that grows.
    Begun(usize),
}

/// The moment when the power failed.
#[derive(Debug)]
pub(crate) struct PowerCut {
    now: Names,
    durable: Names,
    /// By number: bytes on the disk, bytes as the store saw them.
    contents: HashMap<usize, (Vec<u8>, Vec<u8>)>,
    block_bytes: usize,
    /// What may or may not have reached the disk.
    pub(crate) changes: Vec<Change>,
}

impl PowerCut {
    fn of(root: &Path, state: &State, block_bytes: usize) -> Self {
        let mut contents = HashMap::new();
        for (number, content) in &state.contents {
            contents.insert(*number, (content.durable.clone(), content.durable.clone()));
        }
        for (path, entry) in state.now.iter().filter(|(_, entry)| !entry.is_directory) {
            if let Ok(bytes) = fs::read(root.join(path)) {
                contents.get_mut(&entry.number).unwrap().1 = bytes;
            }
        }
        let mut cut = Self {
            now: state.now.clone(),
            durable: state.durable.clone(),
            contents,
            block_bytes,
            changes: Vec::new(),
        };
        cut.changes = cut.find_changes();
        cut
    }

    fn find_changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let names: BTreeSet<_> = self.now.keys().chain(self.durable.keys()).collect();
        for name in names {
            let (now, durable) = (self.now.get(name), self.durable.get(name));
            if now != durable {
                changes.push(Change::Name(name.clone()));
            }
            let Some(entry) = now.filter(|entry| !entry.is_directory) else {
                continue;
            };
            let (old, new) = &self.contents[&entry.number];
            if old.len() != new.len() {
                changes.push(Change::Length(name.clone()));
            }
            for block in 0..new.len().div_ceil(self.block_bytes) {
                let mut old = block_of(old, block, self.block_bytes).to_vec();
                let new = block_of(new, block, self.block_bytes);
                old.resize(new.len(), 0);
                if old != new {
                    changes.push(Change::Block(name.clone(), block));
                }
            }
        }
        changes
    }

    /// The directory as it is found when the power is back.
    pub(crate) fn image(&self, mut fate: impl FnMut(&Change) -> Fate) -> Image {
        let mut fates = HashMap::new();
        for change in &self.changes {
            let path = match change {
                Change::Name(path) | Change::Length(path) | Change::Block(path, _) => path,
            };
            let of_path: &mut Vec<(Change, Fate)> = fates.entry(path.clone()).or_default();
            of_path.push((change.clone(), fate(change)));
        }
        let image = Image::empty();
        let names: BTreeSet<_> = self.now.keys().chain(self.durable.keys()).collect();
        for name in names {
            let fates = fates.get(name).map_or(&[][..], Vec::as_slice);
            let done = |change: &Change| {
                let found = fates.iter().find(|(other, _)| other == change);
                found.is_some_and(|(_, fate)| *fate != Fate::Lost)
            };
            let names = if done(&Change::Name(name.clone())) {
                &self.now
            } else {
                &self.durable
            };
            let path = image.path().join(name);
            match names.get(name) {
                // A name in a directory whose own name was lost is lost.
                Some(_) if !path.parent().unwrap().is_dir() => {}
                Some(entry) if entry.is_directory => fs::create_dir(&path).unwrap(),
                Some(entry) => {
                    // What was written was written to the file that has the name now.
                    let fates = fates.get(..).filter(|_| self.now.get(name) == Some(entry));
                    let content = self.content(entry.number, fates.unwrap_or_default());
                    fs::write(&path, content).unwrap();
                }
                None => {}
            }
        }
        image
    }

    fn content(&self, number: usize, fates: &[(Change, Fate)]) -> Vec<u8> {
        let (old, new) = &self.contents[&number];
        let mut bytes = old.clone();
        for (change, fate) in fates {
            match (change, fate) {
                (Change::Length(_), Fate::Done | Fate::Begun(_)) => bytes.resize(new.len(), 0),
                (Change::Block(_, block), fate) => {
                    let from = bytes.len().min(block * self.block_bytes);
                    let whole = block_of(new, *block, self.block_bytes);
                    let reached = match fate {
                        Fate::Lost => 0,
                        Fate::Done => whole.len(),
                        Fate::Begun(count) => whole.len().min(*count),
                    };
                    let to = bytes.len().min(from + reached);
                    bytes[from..to].copy_from_slice(&whole[..to - from]);
                }
                (Change::Name(_) | Change::Length(_), _) => {}
            }
        }
        bytes
    }
}
