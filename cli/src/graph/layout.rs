//! Places crates in columns, consumers left of their dependencies (after Sugiyama, Tagawa and Toda, 1981).
//!
//! What is granted over an edge is written on the last, straight piece of it, left of the dependency; each edge has a row of
//! its own there, so that labels never meet.

use super::model::Drawing;

/// Width of a character of a label, pixels, in the monospaced font of 11 pixels that the drawing asks for.
pub(super) const LABEL_CHARACTER: f64 = 6.7;
/// Width of a character of a crate's name, pixels, in a font of 13 pixels: generous, since fonts differ.
const NAME_CHARACTER: f64 = 8.0;
/// Height of one line of a label.
pub(super) const LABEL_LINE: f64 = 13.0;
/// Longest label, characters; the rest is in the tooltip.
pub(super) const LABEL_MAX: usize = 44;
/// Most lines of one label.
pub(super) const LABEL_LINES_MAX: usize = 4;

const NODE_HEIGHT: f64 = 40.0;
const NODE_GAP: f64 = 16.0;
const WAYPOINT_HEIGHT: f64 = 8.0;
const COLUMN_GAP: f64 = 70.0;
const MARGIN: f64 = 24.0;
const SWEEPS: usize = 12;

/// Where everything is, pixels.
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    /// One per crate of the drawing.
    pub(super) boxes: Vec<Rectangle>,
    /// One per edge of the drawing.
    pub(super) wires: Vec<Wire>,
}

/// A box.
#[derive(Clone, Copy, Default)]
pub(super) struct Rectangle {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// An edge: from the consumer's right side through points to the straight piece that carries the label.
pub(super) struct Wire {
    pub(super) points: Vec<(f64, f64)>,
    /// Where the straight piece begins; it ends at the last point.
    pub(super) label_x: f64,
    pub(super) label: Vec<String>,
}

/// A crate, or a point where a long edge passes a column.
struct Slot {
    column: usize,
    height: f64,
    y: f64,
}

/// The lines that are written on an edge.
fn label(link: &super::model::Link) -> Vec<String> {
    let denied = link.denied.iter().map(|what| format!("\u{2717} {what}"));
    let mut lines: Vec<String> =
        denied.chain(link.grants.iter().cloned()).map(|line| shortened(&line)).collect();
    if lines.len() > LABEL_LINES_MAX {
        let more = lines.len() - LABEL_LINES_MAX + 1;
        lines.truncate(LABEL_LINES_MAX - 1);
        lines.push(format!("... {more} more"));
    }
    lines
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= LABEL_MAX {
        return line.to_owned();
    }
    line.chars().take(LABEL_MAX - 1).chain(['\u{2026}']).collect()
}

pub(super) fn lay_out(drawing: &Drawing) -> Layout {
    let labels: Vec<Vec<String>> = drawing.edges.iter().map(label).collect();
    let columns = columns(drawing);
    let rows = |lines: &[String]| (lines.len() as f64 * LABEL_LINE).max(LABEL_LINE) + 4.0;
    let mut slots: Vec<Slot> = (0..drawing.crates.len())
        .map(|index| {
            let incoming = drawing.edges.iter().zip(&labels).filter(|(link, _)| link.to == index);
            let needed: f64 = incoming.map(|(_, lines)| rows(lines)).sum();
            Slot { column: columns[index], height: NODE_HEIGHT.max(needed), y: 0.0 }
        })
        .collect();
    // Each edge as a chain of slots, one in every column that it crosses.
    let chains: Vec<Vec<usize>> = drawing
        .edges
        .iter()
        .map(|link| {
            let mut chain = vec![link.from];
            for column in columns[link.from] + 1..columns[link.to] {
                slots.push(Slot { column, height: WAYPOINT_HEIGHT, y: 0.0 });
                chain.push(slots.len() - 1);
            }
            chain.push(link.to);
            chain
        })
        .collect();
    let mut neighbours: Vec<(Vec<usize>, Vec<usize>)> =
        slots.iter().map(|_| (Vec::new(), Vec::new())).collect();
    for pair in chains.iter().flat_map(|chain| chain.windows(2)) {
        neighbours[pair[0]].1.push(pair[1]);
        neighbours[pair[1]].0.push(pair[0]);
    }
    let count = slots.iter().map(|slot| slot.column + 1).max().unwrap_or(0);
    let mut by_column: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (index, slot) in slots.iter().enumerate() {
        by_column[slot.column].push(index);
    }
    order(&mut by_column, &neighbours);
    place(&mut slots, &by_column, &neighbours);

    let (boxes, column_right, column_label) = measure(drawing, &labels, &columns, &slots, count);
    let mut ports = vec![0.0; drawing.edges.len()];
    for (target, rectangle) in boxes.iter().enumerate() {
        let mut incoming: Vec<usize> =
            (0..drawing.edges.len()).filter(|edge| drawing.edges[*edge].to == target).collect();
        incoming.sort_by(|a, b| {
            let before = |edge: &usize| center(&slots[chains[*edge][chains[*edge].len() - 2]]);
            before(a).total_cmp(&before(b))
        });
        let total: f64 = incoming.iter().map(|edge| rows(&labels[*edge])).sum();
        let mut y = rectangle.y + (rectangle.height - total) / 2.0;
        for edge in incoming {
            y += rows(&labels[edge]);
            ports[edge] = y - 4.0;
        }
    }
    let wires = chains.iter().enumerate().map(|(edge, chain)| {
        let (from, to) = (chain[0], chain[chain.len() - 1]);
        let mut points = vec![(boxes[from].x + boxes[from].width, boxes[from].y + boxes[from].height / 2.0)];
        for waypoint in &chain[1..chain.len() - 1] {
            let column = slots[*waypoint].column;
            let y = MARGIN + center(&slots[*waypoint]);
            points.push((column_label[column], y));
            points.push((column_right[column], y));
        }
        points.push((column_label[columns[to]], ports[edge]));
        points.push((boxes[to].x, ports[edge]));
        Wire { points, label_x: column_label[columns[to]], label: labels[edge].clone() }
    });
    let wires: Vec<Wire> = wires.collect();
    let bottom = boxes.iter().map(|b| b.y + b.height).fold(0.0, f64::max);
    let lowest = wires.iter().flat_map(|wire| &wire.points).map(|point| point.1).fold(bottom, f64::max);
    let right = column_right.last().copied().unwrap_or(MARGIN);
    Layout { width: right + MARGIN, height: lowest + MARGIN, boxes, wires }
}

fn center(slot: &Slot) -> f64 {
    slot.y + slot.height / 2.0
}

/// The longest way from a crate without consumers; consumers come first, since the graph has no cycle.
fn columns(drawing: &Drawing) -> Vec<usize> {
    let mut columns = vec![0; drawing.crates.len()];
    for _ in 0..drawing.crates.len() {
        let mut moved = false;
        for link in &drawing.edges {
            if columns[link.to] <= columns[link.from] {
                columns[link.to] = columns[link.from] + 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    columns
}

/// Sorts each column by the mean place of its neighbours, to and fro, which removes most crossings.
fn order(by_column: &mut [Vec<usize>], neighbours: &[(Vec<usize>, Vec<usize>)]) {
    let mut place = vec![0.0; neighbours.len()];
    let number = |by_column: &[Vec<usize>], place: &mut Vec<f64>| {
        for column in by_column {
            for (at, slot) in column.iter().enumerate() {
                place[*slot] = at as f64 / column.len() as f64;
            }
        }
    };
    number(by_column, &mut place);
    for sweep in 0..SWEEPS {
        let forwards = sweep % 2 == 0;
        let count = by_column.len();
        for step in 1..count {
            let column = if forwards { step } else { count - 1 - step };
            let mean = |slot: &usize| {
                let (before, after) = &neighbours[*slot];
                let near = if forwards { before } else { after };
                if near.is_empty() {
                    place[*slot]
                } else {
                    near.iter().map(|other| place[*other]).sum::<f64>() / near.len() as f64
                }
            };
            let mut sorted: Vec<(f64, usize)> =
                by_column[column].iter().map(|slot| (mean(slot), *slot)).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            by_column[column] = sorted.into_iter().map(|(_, slot)| slot).collect();
            number(&by_column[column..=column], &mut place);
        }
    }
}

/// Moves every slot towards its neighbours, keeping the order and the gaps.
fn place(slots: &mut [Slot], by_column: &[Vec<usize>], neighbours: &[(Vec<usize>, Vec<usize>)]) {
    for column in by_column {
        let mut y = 0.0;
        for slot in column {
            slots[*slot].y = y;
            y += slots[*slot].height + NODE_GAP;
        }
    }
    for sweep in 0..SWEEPS * 2 {
        let forwards = sweep % 2 == 0;
        for step in 0..by_column.len() {
            let column = &by_column[if forwards { step } else { by_column.len() - 1 - step }];
            let wanted = column.iter().map(|slot| {
                let (before, after) = &neighbours[*slot];
                let near: Vec<f64> = before.iter().chain(after).map(|other| center(&slots[*other])).collect();
                if near.is_empty() {
                    slots[*slot].y
                } else {
                    near.iter().sum::<f64>() / near.len() as f64 - slots[*slot].height / 2.0
                }
            });
            let wanted: Vec<f64> = wanted.collect();
            spread(slots, column, &wanted);
        }
    }
    let top = slots.iter().map(|slot| slot.y).fold(f64::INFINITY, f64::min);
    for slot in slots {
        slot.y -= top;
    }
}

/// Places a column as near to the wanted heights as its order allows: runs that would overlap move together
/// (the pool-adjacent-violators algorithm).
fn spread(slots: &mut [Slot], column: &[usize], wanted: &[f64]) {
    let mut offset = 0.0;
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    let mut offsets = Vec::with_capacity(column.len());
    for (slot, wanted) in column.iter().zip(wanted) {
        offsets.push(offset);
        blocks.push((wanted - offset, 1));
        offset += slots[*slot].height + NODE_GAP;
        while let [.., (before, few), (after, many)] = blocks[..] {
            if before <= after {
                break;
            }
            blocks.truncate(blocks.len() - 2);
            let mean = (before * few as f64 + after * many as f64) / (few + many) as f64;
            blocks.push((mean, few + many));
        }
    }
    let levels = blocks.iter().flat_map(|(level, count)| std::iter::repeat_n(*level, *count));
    for ((slot, offset), level) in column.iter().zip(offsets).zip(levels) {
        slots[*slot].y = level + offset;
    }
}

/// The boxes, and for each column where its boxes end and where the labels in front of it begin.
fn measure(
    drawing: &Drawing,
    labels: &[Vec<String>],
    columns: &[usize],
    slots: &[Slot],
    count: usize,
) -> (Vec<Rectangle>, Vec<f64>, Vec<f64>) {
    let mut label_width = vec![0.0_f64; count];
    let mut box_width = vec![0.0_f64; count];
    for (link, lines) in drawing.edges.iter().zip(labels) {
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let width = if longest == 0 { 14.0 } else { longest as f64 * LABEL_CHARACTER + 16.0 };
        let column = columns[link.to];
        label_width[column] = label_width[column].max(width);
    }
    for (node, column) in drawing.crates.iter().zip(columns) {
        let characters = node.name.chars().count().max(node.version.len() + node.backend.name().len() + 3);
        box_width[*column] = box_width[*column].max(characters as f64 * NAME_CHARACTER + 24.0);
    }
    let (mut x, mut left, mut right, mut label) = (MARGIN, Vec::new(), Vec::new(), Vec::new());
    for column in 0..count {
        if column > 0 {
            x += COLUMN_GAP;
        }
        label.push(x);
        x += label_width[column];
        left.push(x);
        x += box_width[column];
        right.push(x);
    }
    let boxes = drawing.crates.iter().enumerate().map(|(index, _)| {
        let slot = &slots[index];
        Rectangle {
            x: left[slot.column],
            y: MARGIN + slot.y,
            width: box_width[slot.column],
            height: slot.height,
        }
    });
    (boxes.collect(), right, label)
}
