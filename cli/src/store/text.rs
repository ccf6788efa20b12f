//! Numbers, times and tables for people.

use thrustmq_proto_compat::local_time::LocalTime;

/// A time as the local clock shows it; a dash if there is none.
pub(super) fn time(at_ms: i64) -> String {
    if at_ms <= 0 {
        return "-".to_owned();
    }
    let digits = LocalTime::at(at_ms).digits();
    let part = |range| digits.get(range).unwrap_or_default();
    format!(
        "{}-{}-{} {}:{}:{}.{}",
        part(0..4),
        part(4..6),
        part(6..8),
        part(8..10),
        part(10..12),
        part(12..14),
        part(14..17)
    )
}

/// Bytes in the largest unit of which there is one.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{size:.1} {unit}")
    }
}

/// Rows under their headings, numbers (columns that begin with a digit) to the right.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let cell_width =
        |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = rows.iter().map(|row| cell_width(row, column)).max();
            let heading = headings.get(column).map_or(0, |heading| heading.len());
            cells.unwrap_or(0).max(heading)
        })
        .collect();
    let is_number = |cell: &String| {
        cell.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    let line = |cells: &[String]| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let width = widths.get(column).copied().unwrap_or(0);
            let to_right = rows.iter().filter_map(|row| row.get(column)).all(is_number);
            if to_right {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        let padded: Vec<String> = padded.collect();
        format!("  {}", padded.join("  ").trim_end())
    };
    let headings: Vec<String> = headings
        .iter()
        .map(|heading| (*heading).to_owned())
        .collect();
    let mut lines = vec![line(&headings)];
    lines.extend(rows.iter().map(|row| line(row)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let sizes = [0, 1023, 1024, 1 << 30, (3 << 30) / 2].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.0 GiB", "1.5 GiB"]);
        assert_eq!(time(0), "-");
        assert_eq!(
            time(1_700_000_000_123).len(),
            "2023-11-14 22:13:20.123".len()
        );
        assert!(time(1_700_000_000_123).ends_with(":20.123"));
    }

    #[test]
    fn numbers_stand_right_and_words_left() {
        let rows = [
            vec!["a".into(), "5".into()],
            vec!["long".into(), "1234".into()],
        ];
        assert_eq!(
            table(&["topic", "min"], &rows),
            ["  topic   min", "  a         5", "  long   1234"]
        );
    }
}
