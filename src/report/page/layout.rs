//! Where the boxes of a graph stand and how the lines between them go: what waits for something
//! stands in a column to the right of it, and a line over several columns has a place of its own in
//! each, so that it goes behind no box. Knows nothing of steps.

use std::collections::HashMap;

pub const BOX: f64 = 196.0;
pub const PAD: f64 = 8.0;
const GAP: f64 = 34.0;
const BETWEEN: f64 = 10.0;
/// What a line takes of a column's height.
const LANE: f64 = 2.0;
const HEAD: f64 = 6.0;

#[derive(Debug, Default)]
pub struct Layout {
    /// Left and top of each box.
    pub places: Vec<(f64, f64)>,
    pub lines: Vec<String>,
    /// Where the lines end, with the heads of arrows.
    pub heads: Vec<String>,
    pub width: f64,
    pub height: f64,
}

/// A box, or the place of a line that passes by.
struct Cell {
    column: usize,
    height: f64,
    /// In the column before.
    before: Vec<usize>,
    y: f64,
}

/// Of the boxes' heights, and the numbers of those that stand before each: smaller ones.
pub fn layout(boxes: &[(f64, Vec<usize>)]) -> Layout {
    let mut cells = cells(boxes);
    let height = settle(&mut cells);
    let left = |cell: &Cell| PAD + cell.column as f64 * (BOX + GAP);
    let middle = |cell: &Cell| cell.y + cell.height / 2.0;
    let (mut lines, mut heads) = (Vec::new(), Vec::new());
    for (number, cell) in cells.iter().enumerate() {
        let is_box = number < boxes.len();
        let (to_x, to_y) = (left(cell) - if is_box { HEAD } else { 0.0 }, middle(cell));
        for before in &cell.before {
            let (x, y) = (left(&cells[*before]) + BOX, middle(&cells[*before]));
            let bend = (x + to_x) / 2.0;
            let on = if is_box { String::new() } else { format!("H{:.0}", to_x + BOX) };
            lines.push(format!(
                "M{x:.0} {y:.1}C{bend:.0} {y:.1} {bend:.0} {to_y:.1} {to_x:.0} {to_y:.1}{on}"
            ));
        }
        if is_box && !cell.before.is_empty() {
            heads.push(format!("M{to_x:.0} {:.1}l{HEAD} 3l-{HEAD} 3z", to_y - 3.0));
        }
    }
    let columns = cells.iter().map(|cell| cell.column + 1).max().unwrap_or_default();
    Layout {
        places: cells[..boxes.len()].iter().map(|cell| (left(cell), cell.y)).collect(),
        lines,
        heads,
        width: PAD * 2.0 + columns as f64 * (BOX + GAP) - GAP,
        height: height + PAD * 2.0,
    }
}

/// The boxes, and then the places of lines: those that come from one box share theirs.
fn cells(boxes: &[(f64, Vec<usize>)]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for (height, before) in boxes {
        let column = before.iter().map(|need| cells[*need].column + 1).max().unwrap_or_default();
        cells.push(Cell { column, height: *height, before: Vec::new(), y: 0.0 });
    }
    let mut lanes: HashMap<(usize, usize), usize> = HashMap::new();
    for (number, (_, before)) in boxes.iter().enumerate() {
        for &need in before {
            let mut last = need;
            for column in cells[need].column + 1..cells[number].column {
                last = *lanes.entry((need, column)).or_insert_with(|| {
                    cells.push(Cell { column, height: LANE, before: vec![last], y: 0.0 });
                    cells.len() - 1
                });
            }
            cells[number].before.push(last);
        }
    }
    cells
}

/// Places the cells of each column below each other, as near as they can to what they wait for;
/// gives the height of all.
fn settle(cells: &mut [Cell]) -> f64 {
    let mut columns: Vec<Vec<usize>> = Vec::new();
    for (number, cell) in cells.iter().enumerate() {
        if columns.len() <= cell.column {
            columns.resize_with(cell.column + 1, Vec::new);
        }
        columns[cell.column].push(number);
    }
    let tall = |cells: &[Cell], column: &[usize]| {
        column.iter().map(|number| cells[*number].height + BETWEEN).sum::<f64>() - BETWEEN
    };
    let tallest = columns.iter().map(|column| tall(cells, column)).fold(0.0, f64::max);
    for column in &mut columns {
        let middle = |number: &usize| {
            let before = &cells[*number].before;
            before.iter().map(|need| cells[*need].y + cells[*need].height / 2.0).sum::<f64>()
                / before.len().max(1) as f64
        };
        column.sort_by(|one, other| middle(one).total_cmp(&middle(other)));
        let mut y = PAD + (tallest - tall(cells, column)) / 2.0;
        for &number in column.iter() {
            cells[number].y = y;
            y += cells[number].height + BETWEEN;
        }
    }
    tallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_over_several_columns_goes_behind_no_box() {
        // 0, then 1, 2 and 3 in a row, and 0 also before 3 and 4.
        let boxes = [
            (25.0, vec![]),
            (25.0, vec![0]),
            (25.0, vec![1]),
            (25.0, vec![0, 2]),
            (25.0, vec![0, 3]),
        ];
        let mut all = cells(&boxes);
        settle(&mut all);
        assert_eq!(all.len(), boxes.len() + 3, "the lines of 0 share their places");
        for cell in &all {
            assert!(cell.before.iter().all(|before| all[*before].column + 1 == cell.column));
        }
        for (number, one) in all.iter().enumerate() {
            for other in all[..number].iter().filter(|other| other.column == one.column) {
                assert!(
                    one.y >= other.y + other.height || other.y >= one.y + one.height,
                    "one lies on another in column {}",
                    one.column
                );
            }
        }
        assert_eq!(layout(&boxes).heads.len(), 4);
    }
}
