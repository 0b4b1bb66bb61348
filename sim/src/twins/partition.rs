//! Which seats hear each other. Each seat is in one cell; cells are numbered by their first seats,
//! so that one partition has one form.

use core::fmt;

/// Most seats: a committee of seven with two twins has nine.
pub(super) const MAX_SEATS: usize = 10;

/// Seats divided into cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    cells: [u8; MAX_SEATS],
    seats: usize,
}

impl Partition {
    /// Everybody hears everybody.
    pub fn whole(seats: usize) -> Self {
        Partition::of(seats, |_| 0)
    }

    /// Seats with equal labels share a cell.
    ///
    /// # Panics
    /// When there are more than ten seats.
    pub fn of(seats: usize, label: impl Fn(usize) -> u8) -> Self {
        assert!(seats <= MAX_SEATS, "{seats} seats");
        let mut cells = [0; MAX_SEATS];
        let mut next = 0;
        for seat in 0..seats {
            let first = (0..seat).find(|earlier| label(*earlier) == label(seat));
            cells[seat] = first.map_or(next, |earlier| cells[earlier]);
            next = next.max(cells[seat] + 1);
        }
        Partition { cells, seats }
    }

    /// All partitions of so many seats into at most so many cells, in a fixed order.
    pub fn all(seats: usize, cells: u8) -> Vec<Self> {
        let mut all = vec![Vec::new()];
        for _ in 0..seats {
            all = all.iter().flat_map(|begun| grown(begun, cells)).collect();
        }
        let labelled = all.into_iter();
        labelled
            .map(|labels: Vec<u8>| Partition::of(seats, |seat| labels[seat]))
            .collect()
    }

    /// Do these two hear each other?
    pub fn joins(&self, one: usize, other: usize) -> bool {
        self.cells[one] == self.cells[other]
    }

    /// The same with every seat moved: seat s of the result is where `from(s)` was.
    pub fn moved(&self, from: impl Fn(usize) -> usize) -> Self {
        Partition::of(self.seats, |seat| self.cells[from(seat)])
    }
}

/// A new seat joins one of the cells, or opens the next one.
fn grown(begun: &[u8], cells: u8) -> Vec<Vec<u8>> {
    let used = begun.iter().max().map_or(0, |last| last + 1);
    (0..cells.min(used + 1))
        .map(|cell| {
            let mut labels = begun.to_vec();
            labels.push(cell);
            labels
        })
        .collect()
}

impl fmt::Display for Partition {
    /// Seats of one cell side by side, cells apart: `012|34`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for cell in 0..=self.cells[..self.seats].iter().copied().max().unwrap_or(0) {
            if cell > 0 {
                f.write_str("|")?;
            }
            for seat in (0..self.seats).filter(|seat| self.cells[*seat] == cell) {
                write!(f, "{seat}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_stirling() {
        assert_eq!(Partition::all(5, 2).len(), 16);
        assert_eq!(Partition::all(5, 3).len(), 41);
        let mut all = Partition::all(5, 5);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 52, "each once");
    }

    #[test]
    fn one_partition_has_one_form() {
        let one = Partition::of(4, |seat| [7, 3, 7, 1][seat]);
        assert_eq!(one, Partition::of(4, |seat| [0, 2, 0, 9][seat]));
        assert_eq!(one.to_string(), "02|1|3");
        assert_eq!(one.moved(|seat| 3 - seat).to_string(), "0|13|2");
    }
}
