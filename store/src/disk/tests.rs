use std::sync::{Mutex, PoisonError};

use super::*;

/// Notes what is done, and forbids one action.
#[derive(Default)]
struct Notes {
    forbidden: Option<DiskAction>,
    seen: Mutex<Vec<(DiskAction, u64, u64)>>,
}

impl DiskWatcher for Notes {
    fn before(&self, operation: &DiskOperation<'_>) -> io::Result<()> {
        if Some(operation.action) == self.forbidden {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn after(&self, operation: &DiskOperation<'_>) {
        let seen = (operation.action, operation.from, operation.to);
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(seen);
    }

    fn used_percent(&self, _dir: &Path) -> Option<u32> {
        Some(42)
    }
}

#[test]
fn a_watcher_sees_what_was_done() {
    let dir = tempfile::tempdir().unwrap();
    let notes = Arc::new(Notes::default());
    let disk = Disk::watched(notes.clone());
    let file = disk.create(&dir.path().join("file")).unwrap();
    file.write_all_at(b"hello", 3).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.used_percent(dir.path()), 42);
    let expected = [
        (DiskAction::Create, 0, 0),
        (DiskAction::Write, 3, 8),
        (DiskAction::Sync, 0, 0),
    ];
    assert_eq!(*notes.seen.lock().unwrap(), expected);
}

#[test]
fn what_a_watcher_forbids_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let notes = Arc::new(Notes {
        forbidden: Some(DiskAction::Write),
        ..Notes::default()
    });
    let disk = Disk::watched(notes.clone());
    let file = disk.create(&path).unwrap();
    let error = file.write_all_at(b"hello", 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.length().unwrap(), 0);
    let seen = notes.seen.lock().unwrap();
    assert!(seen.iter().all(|seen| seen.0 != DiskAction::Write));
}

#[test]
fn new_directories_are_told_with_their_parents() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (a, b) = (dir.path().join("a"), dir.path().join("a/b"));
    let changed = disk.make_directories(&b).unwrap();
    assert_eq!(changed, [dir.path().to_owned(), a]);
    assert!(disk.make_directories(&b).unwrap().is_empty());
    std::fs::write(dir.path().join("file"), "x").unwrap();
    assert!(disk.make_directories(&dir.path().join("file")).is_err());
    assert!(disk.make_directories(&dir.path().join("file/c")).is_err());
}

#[test]
fn a_cleared_file_keeps_front_and_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, [7; 9000]).unwrap();
    let file = Disk::default().open(&path).unwrap();
    file.clear_from(5).unwrap();
    file.clear_from(9000).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!((bytes.len(), &bytes[..6]), (9000, &[7, 7, 7, 7, 7, 0][..]));
    assert!(bytes[5..].iter().all(|byte| *byte == 0));
}

#[test]
fn what_is_not_there_is_no_error_where_it_should_not_be() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let absent = dir.path().join("absent");
    disk.remove(&absent).unwrap();
    disk.remove_directory(&absent).unwrap();
    assert!(disk.list(&absent).unwrap().is_empty());
    assert!(!disk.exists(&absent).unwrap());
    assert!(disk.open(&absent).is_err() && disk.length(&absent).is_err());
}

#[test]
fn disks_are_between_empty_and_full() {
    let disk = Disk::default();
    assert!((1..=100).contains(&disk.used_percent(Path::new("/"))));
    assert_eq!(disk.used_percent(Path::new("/no/such/directory")), 0);
}
