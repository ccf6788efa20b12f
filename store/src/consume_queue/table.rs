//! All consume queues by topic and queue id.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::HashMap;

use crate::api::QueueEntry;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::layout::names_in;

use super::{ConsumeQueue, Put, QueueLocation};

/// More queues than that are flushed together.
const FLUSH_APART_MAX: usize = 100;

type Topics = HashMap<Box<str>, BTreeMap<i32, Arc<ConsumeQueue>>>;

/// The queues of a store.
#[derive(Debug)]
pub(crate) struct ConsumeQueues {
    disk: Disk,
    dir: PathBuf,
    file_bytes: usize,
    memory_bytes: i64,
    topics: RwLock<Topics>,
    /// Queues with entries that may not be on the disk, each once.
    dirty: Mutex<Vec<Arc<ConsumeQueue>>>,
    /// Directories of queues that are none. They stay until nobody vouches for the queues any more.
    unusable: Vec<PathBuf>,
}

/// The place of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryPlace<'a> {
    pub(crate) topic: &'a str,
    pub(crate) queue_id: i32,
    pub(crate) queue_offset: i64,
}

impl ConsumeQueues {
    /// Finds all queues. If the files of one do not fit together, all have to be built again: see
    /// [`ConsumeQueues::are_damaged`].
    pub(crate) fn open(
        disk: Disk,
        dir: PathBuf,
        file_bytes: u64,
        memory_bytes: i64,
    ) -> Result<Self, OpenError> {
        let mut queues = Self {
            disk,
            dir,
            file_bytes: usize::try_from(file_bytes).unwrap_or(usize::MAX),
            memory_bytes,
            topics: RwLock::default(),
            dirty: Mutex::default(),
            unusable: Vec::new(),
        };
        for topic in names_in(&queues.disk, &queues.dir)? {
            for id in names_in(&queues.disk, &queues.dir.join(&topic))? {
                if let Some(queue_id) = id.parse().ok().filter(|id: &i32| *id >= 0) {
                    queues.open_queue(&topic, queue_id)?;
                }
            }
            queues.remove_if_empty(&queues.dir.join(&topic))?;
        }
        Ok(queues)
    }

    fn open_queue(&mut self, topic: &str, queue_id: i32) -> Result<(), OpenError> {
        let location = self.location(topic, queue_id);
        let dir = location.dir.clone();
        match ConsumeQueue::open(location) {
            Ok(queue) => {
                if queue.has_files() {
                    self.insert(queue);
                    return Ok(());
                }
                self.remove_if_empty(&dir)
            }
            Err(error @ (OpenError::WrongLength { .. } | OpenError::Gap { .. })) => {
                tracing::warn!(topic, queue_id, %error, "consume queue is unusable and is built again");
                self.unusable.push(dir);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what a deletion that was cut short left of a topic.
    fn remove_if_empty(&self, dir: &Path) -> Result<(), OpenError> {
        if dir.is_dir() && names_in(&self.disk, dir)?.is_empty() {
            let removed = self.disk.remove_directory(dir);
            removed.map_err(OpenError::io("remove", dir))?;
        }
        Ok(())
    }

    /// Whether some are none: all have to be built again from the log.
    pub(crate) fn are_damaged(&self) -> bool {
        !self.unusable.is_empty()
    }

    pub(crate) fn find(&self, topic: &str, queue_id: i32) -> Option<Arc<ConsumeQueue>> {
        self.topics().get(topic)?.get(&queue_id).cloned()
    }

    pub(crate) fn find_or_make(&self, topic: &str, queue_id: i32) -> Arc<ConsumeQueue> {
        match self.find(topic, queue_id) {
            Some(queue) => queue,
            None => self.insert(ConsumeQueue::new(self.location(topic, queue_id))),
        }
    }

    /// Puts an entry into its queue. Dispatch thread and recovery only.
    pub(crate) fn put(&self, place: EntryPlace<'_>, entry: &QueueEntry) -> io::Result<Put> {
        let mut queue = self.find_or_make(place.topic, place.queue_id);
        let mut put = self.put_into(&queue, place.queue_offset, entry)?;
        if put == Put::Restarted {
            tracing::info!(?place, "queue begins anew");
            queue = self.restart(&queue)?;
            queue.fill_up_to(place.queue_offset)?;
            put = self.put_into(&queue, place.queue_offset, entry)?;
        }
        Ok(put)
    }

    /// Fills a queue with blank entries up to a number.
    pub(crate) fn fill_up_to(&self, place: EntryPlace<'_>) -> io::Result<()> {
        let queue = self.find_or_make(place.topic, place.queue_id);
        queue.fill_up_to(place.queue_offset)
    }

    fn put_into(
        &self,
        queue: &Arc<ConsumeQueue>,
        offset: i64,
        entry: &QueueEntry,
    ) -> io::Result<Put> {
        let put = queue.put(offset, entry)?;
        if put == Put::Added {
            self.mark_dirty(queue);
        }
        Ok(put)
    }

    /// Replaces a queue by an empty one.
    fn restart(&self, queue: &ConsumeQueue) -> io::Result<Arc<ConsumeQueue>> {
        queue.remove()?;
        Ok(self.insert(ConsumeQueue::new(
            self.location(&queue.topic, queue.queue_id),
        )))
    }

    /// Queue ids of a topic, ascending.
    pub(crate) fn queues_of(&self, topic: &str) -> Vec<i32> {
        let topics = self.topics();
        let queues = topics.get(topic);
        queues.map_or_else(Vec::new, |queues| queues.keys().copied().collect())
    }

    /// Whether the topic has any queue.
    pub(crate) fn has_topic(&self, topic: &str) -> bool {
        self.topics().contains_key(topic)
    }

    /// How many queues have files.
    pub(crate) fn count(&self) -> i64 {
        let topics = self.topics();
        let queues = topics.values().flat_map(BTreeMap::values);
        queues.filter(|queue| !queue.is_empty()).count() as i64
    }

    /// How many queues of a topic have files.
    pub(crate) fn count_of(&self, topic: &str) -> i64 {
        let topics = self.topics();
        let queues = topics.get(topic).into_iter().flat_map(BTreeMap::values);
        queues.filter(|queue| !queue.is_empty()).count() as i64
    }

    /// Names of all topics.
    pub(crate) fn topic_names(&self) -> Vec<String> {
        self.topics()
            .keys()
            .map(|topic| topic.to_string())
            .collect()
    }

    /// All queues.
    pub(crate) fn all(&self) -> Vec<Arc<ConsumeQueue>> {
        let topics = self.topics();
        topics
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// Forgets a topic and removes its files, for good. Nothing may be dispatched meanwhile: the
    /// topic's next life must not begin among these files.
    pub(crate) fn remove_topic(&self, topic: &str) -> io::Result<()> {
        let removed = self.topics_mut().remove(topic);
        for queue in removed.iter().flat_map(BTreeMap::values) {
            queue.remove()?;
        }
        self.disk.remove_tree(&self.dir.join(topic))?;
        self.disk.sync_directory(&self.dir)
    }

    /// Removes all queues, when nobody vouches for them any more; recovery only.
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        for dir in &self.unusable {
            self.disk.remove_tree(dir)?;
            self.disk
                .sync_directory(dir.parent().unwrap_or(&self.dir))?;
        }
        for topic in self.topic_names() {
            self.remove_topic(&topic)?;
        }
        Ok(())
    }

    /// Unmaps the files of all queues that nobody holds at this moment.
    pub(crate) fn unmap_free(&self) {
        for queue in self.all() {
            queue.unmap_free();
        }
    }

    /// Notes that a queue has entries to flush.
    fn mark_dirty(&self, queue: &Arc<ConsumeQueue>) {
        if !queue.dirty.swap(true, Ordering::AcqRel) {
            self.dirty().push(Arc::clone(queue));
        }
    }

    /// Flushes all queues that have something to flush, and the names of their files.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let due = std::mem::take(&mut *self.dirty());
        // Cleared first: an entry put meanwhile marks its queue again.
        for queue in &due {
            queue.dirty.store(false, Ordering::Release);
        }
        if due.len() > FLUSH_APART_MAX {
            self.flush_together(&due)
        } else {
            self.flush_apart(&due)
        }
    }

    /// Forces these queues to the disk whole; recovery only.
    pub(crate) fn sync(&self, queues: &[Arc<ConsumeQueue>]) -> io::Result<()> {
        if queues.len() > FLUSH_APART_MAX {
            return self.disk.sync_file_system(&self.dir);
        }
        queues.iter().try_for_each(|queue| queue.sync())
    }

    /// Makes the names of all queues and of their files durable: an earlier process may have been
    /// killed before it came to that. Recovery only.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        let queues = self.all();
        if queues.len() > FLUSH_APART_MAX {
            return self.disk.sync_file_system(&self.dir);
        }
        let dirs = queues.iter().flat_map(|queue| {
            let topic = self.dir.join(&*queue.topic);
            // A queue whose files all went has no directory, or none that matters.
            let own = queue.has_files().then(|| queue.dir().to_owned());
            own.map_or_else(Vec::new, |own| vec![own, topic])
        });
        let dirs: BTreeSet<_> = dirs.chain([self.dir.clone()]).collect();
        dirs.iter()
            .try_for_each(|dir| self.disk.sync_directory(dir))
    }

    fn flush_apart(&self, due: &[Arc<ConsumeQueue>]) -> io::Result<()> {
        due.iter().try_for_each(|queue| flush_one(queue))?;
        // Queues of one topic have parents in common.
        let dirs: BTreeSet<_> = due.iter().flat_map(|queue| queue.take_unsynced()).collect();
        dirs.iter()
            .try_for_each(|dir| match self.disk.sync_directory(dir) {
                // The topic was deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                synced => synced,
            })
    }

    /// One flush of the whole file system costs less than one of each of many files.
    fn flush_together(&self, due: &[Arc<ConsumeQueue>]) -> io::Result<()> {
        let ends: Vec<i64> = due.iter().map(|queue| queue.next()).collect();
        due.iter().for_each(|queue| drop(queue.take_unsynced()));
        self.disk.sync_file_system(&self.dir)?;
        for (queue, end) in due.iter().zip(ends) {
            queue.flushed_up_to(end);
        }
        Ok(())
    }

    fn insert(&self, queue: ConsumeQueue) -> Arc<ConsumeQueue> {
        let queue = Arc::new(queue);
        let mut topics = self.topics_mut();
        let queues = topics.entry(queue.topic.clone()).or_default();
        queues.insert(queue.queue_id, Arc::clone(&queue));
        queue
    }

    fn location(&self, topic: &str, queue_id: i32) -> QueueLocation {
        QueueLocation {
            disk: self.disk.clone(),
            topic: topic.into(),
            queue_id,
            dir: self.dir.join(topic).join(queue_id.to_string()),
            file_bytes: self.file_bytes,
            memory_bytes: self.memory_bytes,
        }
    }

    fn topics(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics_mut(&self) -> RwLockWriteGuard<'_, Topics> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn dirty(&self) -> MutexGuard<'_, Vec<Arc<ConsumeQueue>>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flush_one(queue: &ConsumeQueue) -> io::Result<()> {
    match queue.flush() {
        // The files of a deleted topic are gone, and nobody misses them.
        Err(_) if queue.is_removed() => Ok(()),
        flushed => flushed,
    }
}
