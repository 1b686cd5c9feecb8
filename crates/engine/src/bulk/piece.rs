//! A group of lines to the pieces that are admitted to memory.

use crate::bulk::lines::Line;

/// The part of the budget of memory that several lines take together at most. A small piece waits for less.
const SHARE: usize = 8;
/// Bytes of a line that is refused: its error.
const REFUSED_BYTES: usize = 1 << 10;

/// Consecutive lines that are admitted together.
pub(crate) struct Piece {
    pub(crate) lines: Vec<PieceLine>,
    /// What the lines take in memory, up to their answers. It is not more than the budget.
    pub(crate) bytes: usize,
}

/// A line of a piece.
pub(crate) struct PieceLine {
    pub(crate) line: Line,
    /// Whether the line needs more memory than the whole budget.
    pub(crate) never_fits: bool,
}

/// The pieces of a group whose lines need so many bytes each, or more than any budget has.
pub(crate) fn divide(lines: impl Iterator<Item = (Line, usize)>, budget: usize) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (line, bytes) in lines {
        let never_fits = bytes > budget;
        let bytes = match never_fits {
            false => bytes,
            true => REFUSED_BYTES,
        };
        let line = PieceLine { line, never_fits };
        match pieces.last_mut() {
            Some(piece) if bytes <= (budget / SHARE).saturating_sub(piece.bytes) => {
                piece.bytes += bytes;
                piece.lines.push(line);
            }
            _ => pieces.push(Piece {
                lines: vec![line],
                bytes,
            }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn no_piece_needs_more_than_the_budget() {
        let needs = [3000, 4000, 2000, 70_000, 80_000, 80_001, usize::MAX, 5000];
        let lines = (1..).zip(needs).map(|(number, bytes)| {
            let line = Line {
                number,
                bytes: Ok(Bytes::new()),
            };
            (line, bytes)
        });
        let pieces = divide(lines, 80_000);
        let shown = |piece: &Piece| {
            let lines = piece.lines.iter();
            let lines: Vec<_> = lines.map(|one| (one.line.number, one.never_fits)).collect();
            (lines, piece.bytes)
        };
        let shown: Vec<_> = pieces.iter().map(shown).collect();
        assert_eq!(
            shown,
            [
                (vec![(1, false), (2, false), (3, false)], 9000),
                (vec![(4, false)], 70_000),
                (vec![(5, false)], 80_000),
                (vec![(6, true), (7, true), (8, false)], 7048),
            ]
        );
    }
}
