//! A walk over the records of the log, in order: for who has to look for records that no queue leads to.

use thrustmq_proto_compat::message::record::{CheckBody, RecordView};

use crate::commit_log::reader::{RecordReader, Step, step};
use crate::error::ReadError;
use crate::shared::Shared;

/// Shows every record between `from`, where one begins, and the end of the log. What was deleted
/// meanwhile is left out.
pub(crate) fn walk(
    shared: &Shared,
    from: i64,
    mut visit: impl FnMut(&RecordView<'_>),
) -> Result<(), ReadError> {
    let end = shared.progress.written();
    let mut at = from.max(shared.progress.min());
    let mut reader = RecordReader::new(&shared.log);
    while at < end {
        let Some(rest) = reader.rest_of_file(at)?.filter(|rest| !rest.is_empty()) else {
            return Ok(());
        };
        match step(&rest, at, CheckBody::Skip) {
            Step::Record(view) => {
                visit(&view);
                at += view.record_bytes as i64;
            }
            Step::NextFile => match shared.log.files.find(at) {
                Some(file) => at = file.end(),
                None => return Ok(()),
            },
            Step::Stop(source) => {
                return Err(ReadError::NoRecord {
                    physical_offset: at,
                    source,
                });
            }
        }
    }
    Ok(())
}
