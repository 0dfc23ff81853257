//! The printed table: one line per measurement, side by side with its reference.

use std::fmt;

/// One measurement.
#[derive(Default)]
pub struct Row {
    /// What was measured.
    pub what: &'static str,
    /// Faultvisor's, with its unit.
    pub faultvisor: Option<String>,
    /// QEMU's.
    pub qemu: Option<String>,
    /// The bare echo's.
    pub echo: Option<String>,
    /// Faultvisor's ratio to the named reference.
    pub ratio: Option<String>,
    /// The target, with its unit unless the ratio is meant.
    pub target: Option<String>,
}

/// All measurements.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Adds a measurement.
    pub fn add(&mut self, row: Row) {
        self.0.push(row);
    }
}

const HEAD: [&str; 6] = ["", "Faultvisor", "QEMU", "bare echo", "ratio", "target"];

impl Row {
    fn cells(&self) -> [&str; 6] {
        [
            self.what,
            self.faultvisor.as_deref().unwrap_or("-"),
            self.qemu.as_deref().unwrap_or("-"),
            self.echo.as_deref().unwrap_or("-"),
            self.ratio.as_deref().unwrap_or("-"),
            self.target.as_deref().unwrap_or("-"),
        ]
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[&str; 6]> = std::iter::once(HEAD)
            .chain(self.0.iter().map(Row::cells))
            .collect();
        let width = |column: usize| {
            rows.iter()
                .map(|cells| cells[column].chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: [usize; 6] = std::array::from_fn(width);
        for [what, numbers @ ..] in rows {
            write!(f, "{what:<width$}", width = widths[0])?;
            for (cell, width) in numbers.iter().zip(&widths[1..]) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::default();
        table.add(Row {
            what: "a round trip",
            faultvisor: Some("1.0 µs".to_owned()),
            ..Row::default()
        });
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].chars().count(), lines[1].chars().count());
        assert!(
            lines[1].starts_with("a round trip      1.0 µs     -"),
            "{text}"
        );
    }
}
