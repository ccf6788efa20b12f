//! `thrustmq store inspect`.

use std::process::ExitCode;

use serde_json::{Value, json};
use thrustmq_store::offline::{
    FileSummary, InspectRequest, Inspection, QueueSummary, RecordSummary, inspect,
};

use super::arguments::InspectArguments;
use super::text;
use crate::output;

pub(super) fn run(arguments: &InspectArguments) -> anyhow::Result<ExitCode> {
    let request = InspectRequest {
        last_records: arguments.last,
        topic: arguments.topic.clone(),
    };
    let inspection = inspect(&arguments.directory.options(), &request)?;
    if arguments.json {
        output::print(&as_json(&inspection).to_string());
    } else {
        output::print(&as_text(&inspection, arguments.queues).join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_text(inspection: &Inspection, queues_max: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if inspection.in_use {
        lines.push("a broker runs on this directory: its ends may have moved on".to_owned());
    } else if inspection.abort {
        lines.push("abort is there: the store was not closed cleanly".to_owned());
    }
    lines.extend(files(inspection));
    lines.push(format!(
        "log from {} to {}",
        inspection.log_start, inspection.log_end
    ));
    if let Some(stop) = &inspection.log_stop {
        lines.push(format!("behind its end is something else: {stop}"));
    }
    lines.extend(checkpoint(inspection));
    lines.extend(last_records(&inspection.last_records));
    lines.extend(queues(&inspection.queues, queues_max));
    lines.extend(index(inspection));
    lines
}

fn files(inspection: &Inspection) -> Vec<String> {
    let row = |kind: &str, files: &FileSummary| {
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        vec![
            kind.to_owned(),
            files.count.to_string(),
            text::bytes(files.bytes),
            text::bytes(files.disk_bytes),
            name(&files.first),
            name(&files.last),
        ]
    };
    let rows = [
        row("commitlog", &inspection.log),
        row("consumequeue", &inspection.consume_queue),
        row("index", &inspection.index),
    ];
    text::table(
        &["files", "count", "bytes", "on disk", "first", "last"],
        &rows,
    )
}

fn checkpoint(inspection: &Inspection) -> Vec<String> {
    let Some(checkpoint) = inspection.checkpoint else {
        return vec!["no checkpoint".to_owned()];
    };
    let mut lines = vec![
        "checkpoint: on the disk is what was stored until".to_owned(),
        format!("  log     {}", text::time(checkpoint.log_ms)),
        format!("  queues  {}", text::time(checkpoint.queues_ms)),
        format!("  index   {}", text::time(checkpoint.index_ms)),
        format!(
            "  confirmed until offset {}, master's flushed offset {}",
            checkpoint.confirm_offset, checkpoint.master_flushed_offset
        ),
    ];
    if let Some(offsets) = checkpoint.offsets {
        let end = offsets.closed.map_or_else(
            || "not closed".to_owned(),
            |end| format!("closed cleanly at {end}"),
        );
        lines.push(format!(
            "  log until offset {}, {} queues and index until {}, index slots until {}, {end}",
            offsets.flushed, offsets.queues, offsets.derived, offsets.index_slots
        ));
    }
    lines
}

fn last_records(records: &[RecordSummary]) -> Vec<String> {
    let row = |record: &RecordSummary| {
        vec![
            record.physical_offset.to_string(),
            record.record_bytes.to_string(),
            record.topic.clone(),
            record.queue_id.to_string(),
            record.queue_offset.to_string(),
            text::time(record.store_ms),
            record.unique_key.clone(),
            record.keys.clone(),
        ]
    };
    let rows: Vec<_> = records.iter().map(row).collect();
    let headings = [
        "offset",
        "bytes",
        "topic",
        "queue",
        "number",
        "stored",
        "unique key",
        "keys",
    ];
    let mut lines = vec![format!("last {} records", records.len())];
    if !rows.is_empty() {
        lines.extend(text::table(&headings, &rows));
    }
    lines
}

fn queues(queues: &[QueueSummary], queues_max: usize) -> Vec<String> {
    let offset = |offset: Option<i64>| offset.map_or("-".to_owned(), |offset| offset.to_string());
    let row = |queue: &QueueSummary| {
        vec![
            queue.topic.clone(),
            queue.queue_id.to_string(),
            queue.range.min.to_string(),
            queue.range.max.to_string(),
            offset(queue.first_physical_offset),
            offset(queue.last_physical_offset),
            queue.problem.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = queues.iter().take(queues_max).map(row).collect();
    let headings = ["topic", "queue", "min", "max", "first at", "last at", ""];
    let mut lines = vec![format!("{} queues", queues.len())];
    if !rows.is_empty() {
        lines.extend(text::table(&headings, &rows));
    }
    let hidden = queues.len().saturating_sub(queues_max);
    if hidden > 0 {
        lines.push(format!(
            "  and {hidden} more: see --topic, --queues and --json"
        ));
    }
    lines
}

fn index(inspection: &Inspection) -> Vec<String> {
    let rows: Vec<_> = inspection
        .index_files
        .iter()
        .map(|file| {
            vec![
                file.name.clone(),
                file.entries.to_string(),
                text::time(file.begin_ms),
                text::time(file.end_ms),
                file.begin_offset.to_string(),
                file.end_offset.to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return vec!["no index".to_owned()];
    }
    let headings = ["index file", "entries", "from", "to", "first at", "last at"];
    text::table(&headings, &rows)
}

fn as_json(inspection: &Inspection) -> Value {
    let files = |files: &FileSummary| {
        json!({
            "count": files.count, "first": files.first, "last": files.last,
            "bytes": files.bytes, "disk_bytes": files.disk_bytes,
        })
    };
    let records = inspection.last_records.iter().map(|record| {
        json!({
            "physical_offset": record.physical_offset, "record_bytes": record.record_bytes,
            "topic": record.topic, "queue_id": record.queue_id,
            "queue_offset": record.queue_offset, "store_ms": record.store_ms,
            "unique_key": record.unique_key, "keys": record.keys,
        })
    });
    let queues = inspection.queues.iter().map(|queue| {
        json!({
            "topic": queue.topic, "queue_id": queue.queue_id,
            "min": queue.range.min, "max": queue.range.max,
            "first_physical_offset": queue.first_physical_offset,
            "last_physical_offset": queue.last_physical_offset, "problem": queue.problem,
        })
    });
    let index_files = inspection.index_files.iter().map(|file| {
        json!({
            "name": file.name, "entries": file.entries, "begin_ms": file.begin_ms,
            "end_ms": file.end_ms, "begin_offset": file.begin_offset, "end_offset": file.end_offset,
        })
    });
    let checkpoint = inspection.checkpoint.map(|checkpoint| {
        json!({
            "log_ms": checkpoint.log_ms, "queues_ms": checkpoint.queues_ms,
            "index_ms": checkpoint.index_ms, "confirm_offset": checkpoint.confirm_offset,
            "master_flushed_offset": checkpoint.master_flushed_offset,
            "offsets": checkpoint.offsets.map(|offsets| json!({
                "flushed": offsets.flushed, "derived": offsets.derived,
                "index_slots": offsets.index_slots, "closed": offsets.closed,
                "queues": offsets.queues,
            })),
        })
    });
    json!({
        "in_use": inspection.in_use, "abort": inspection.abort,
        "log": files(&inspection.log), "consume_queue": files(&inspection.consume_queue),
        "index": files(&inspection.index), "log_start": inspection.log_start,
        "log_end": inspection.log_end, "log_stop": inspection.log_stop,
        "checkpoint": checkpoint, "last_records": records.collect::<Value>(),
        "queues": queues.collect::<Value>(), "index_files": index_files.collect::<Value>(),
    })
}
