//! The graph of a phase as boxes in columns: what waits for something stands to the right of it.
//! Copies are one step, steps that only follow each other one box, and many alike side by side one
//! too. Gives numbers for a drawing, and draws nothing.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::fold::base;
use super::gantt::tail;
use super::layout::{BOX, layout};
use crate::report::line::shorten;
use crate::runbook::action::DoneBy;
use crate::runbook::{Downtime, Runbook, Step, StepIx, Undo};

const LINE: f64 = 15.0;
/// The most steps of a phase that are drawn, copies counted once.
const MOST: usize = 400;
/// The most lines of a box.
const LINES: usize = 24;
/// So many alike stand side by side; more of them are one box.
const ALIKE: usize = 4;

/// One phase, drawn at its own place.
#[derive(Debug, Default, Serialize)]
pub struct Drawing {
    pub title: String,
    pub after: String,
    pub width: f64,
    pub height: f64,
    pub boxes: Vec<Shape>,
    pub edges: Vec<String>,
    pub heads: Vec<String>,
    /// Why there is no drawing.
    pub without: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Shape {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    is_many: bool,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    x: f64,
    y: f64,
    text: String,
    title: String,
    class: &'static str,
    signs: String,
    signs_x: f64,
}

/// Steps that are one in the drawing, in order of execution.
struct Node {
    steps: Vec<StepIx>,
    before: BTreeSet<usize>,
}

pub fn drawing(runbook: &Runbook, phase: usize, title: String) -> Drawing {
    let of = &runbook.phases[phase];
    let after: Vec<&str> =
        of.needs.iter().map(|need| runbook.phases[*need as usize].id.as_str()).collect();
    let follows = of.needs.len() == 1 && of.needs[0] as usize + 1 == phase;
    let after = match after.as_slice() {
        [] if phase > 0 => "at once".to_owned(),
        [] => String::new(),
        _ if follows => String::new(),
        after => format!("after {}", after.join(", ")),
    };
    let nodes = nodes(runbook, phase);
    if nodes.len() > MOST {
        let without = format!(
            "{} steps, copies counted once, are too many for a drawing: `switchover plan --format \
             dot` has them",
            nodes.len()
        );
        return Drawing { title, after, without: Some(without), ..Drawing::default() };
    }
    let boxes = boxes(&reduced(nodes));
    place(runbook, boxes, title, after)
}

/// The steps of a phase, copies as one, and which of them must be done before.
fn nodes(runbook: &Runbook, phase: usize) -> Vec<Node> {
    let mut number_of: HashMap<String, usize> = HashMap::new();
    let mut nodes: Vec<Node> = Vec::new();
    // What stands behind each step for those that need it: itself or, of the end of a nested
    // runbook, what that waits for.
    let mut behind: HashMap<StepIx, BTreeSet<usize>> = HashMap::new();
    for ix in runbook.ixs().filter(|ix| runbook.step(*ix).phase as usize == phase) {
        let step = runbook.step(ix);
        let needed: BTreeSet<usize> =
            step.needs.iter().filter_map(|need| behind.get(need)).flatten().copied().collect();
        if step.act.action.done_by() == DoneBy::Nobody {
            behind.insert(ix, needed);
            continue;
        }
        let number = *number_of.entry(base(&step.id)).or_insert_with(|| {
            nodes.push(Node { steps: Vec::new(), before: BTreeSet::new() });
            nodes.len() - 1
        });
        nodes[number].steps.push(ix);
        // Copies that take turns would go round in a circle: the first one's order is shown.
        nodes[number].before.extend(needed.into_iter().filter(|need| *need < number));
        behind.insert(ix, BTreeSet::from([number]));
    }
    nodes
}

/// Without what another need says already.
fn reduced(mut nodes: Vec<Node>) -> Vec<Node> {
    let mut reach: Vec<Vec<bool>> = Vec::with_capacity(nodes.len());
    for number in 0..nodes.len() {
        let mut reached = vec![false; nodes.len()];
        let mut kept = BTreeSet::new();
        for &need in nodes[number].before.iter().rev() {
            if !reached[need] {
                kept.insert(need);
                reached[need] = true;
                reached
                    .iter_mut()
                    .zip(&reach[need])
                    .for_each(|(reached, further)| *reached |= further);
            }
        }
        nodes[number].before = kept;
        reach.push(reached);
    }
    nodes
}

/// A box: steps below each other, which follow each other or are alike.
struct Stack {
    nodes: Vec<Vec<StepIx>>,
    before: BTreeSet<usize>,
    is_alike: bool,
}

fn boxes(nodes: &[Node]) -> Vec<Stack> {
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (number, node) in nodes.iter().enumerate() {
        node.before.iter().for_each(|need| after[*need].push(number));
    }
    let mut alike: HashMap<(&BTreeSet<usize>, &Vec<usize>), Vec<usize>> = HashMap::new();
    for (number, node) in nodes.iter().enumerate() {
        alike.entry((&node.before, &after[number])).or_default().push(number);
    }
    let mut stack_of: Vec<usize> = vec![0; nodes.len()];
    let mut stacks: Vec<Stack> = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let many = &alike[&(&node.before, &after[number])];
        let only = node
            .before
            .first()
            .filter(|need| node.before.len() == 1 && after[**need].len() == 1)
            .map(|need| stack_of[*need]);
        let home = match only {
            _ if many.len() > ALIKE && many[0] != number => Some(stack_of[many[0]]),
            Some(stack) if !stacks[stack].is_alike && many.len() <= ALIKE => Some(stack),
            _ => None,
        };
        stack_of[number] = home.unwrap_or_else(|| {
            let before = node.before.iter().map(|need| stack_of[*need]).collect();
            stacks.push(Stack { nodes: Vec::new(), before, is_alike: many.len() > ALIKE });
            stacks.len() - 1
        });
        stacks[stack_of[number]].nodes.push(node.steps.clone());
    }
    stacks
}

fn place(runbook: &Runbook, stacks: Vec<Stack>, title: String, after: String) -> Drawing {
    let height = |stack: &Stack| 10.0 + LINE * stack.nodes.len().min(LINES) as f64;
    let layout = layout(
        &stacks
            .iter()
            .map(|stack| (height(stack), stack.before.iter().copied().collect()))
            .collect::<Vec<_>>(),
    );
    let shapes = stacks.iter().zip(&layout.places).map(|(stack, (x, y))| Shape {
        x: *x,
        y: *y,
        width: BOX,
        height: height(stack),
        is_many: stack.nodes.iter().any(|steps| steps.len() > 1) && stack.nodes.len() == 1,
        lines: text(runbook, stack, *x, *y),
    });
    Drawing {
        title,
        after,
        width: layout.width,
        height: layout.height,
        boxes: shapes.collect(),
        edges: layout.lines,
        heads: layout.heads,
        without: None,
    }
}

fn text(runbook: &Runbook, stack: &Stack, x: f64, y: f64) -> Vec<Line> {
    let count = stack.nodes.len();
    let mut lines: Vec<Line> = Vec::new();
    let line =
        |number: usize, text: String, title: String, class: &'static str, signs: String| Line {
            x: x + 8.0,
            y: y + 16.0 + LINE * number as f64,
            text,
            title,
            class,
            signs,
            signs_x: x + BOX - 8.0,
        };
    for (number, steps) in
        stack.nodes.iter().take(if count > LINES { LINES - 1 } else { count }).enumerate()
    {
        let step = runbook.step(steps[0]);
        let name = if steps.len() > 1 { base(&step.id) } else { step.id.to_string() };
        let inside = name.split_once('/').map_or(name.as_str(), |(_, inside)| inside);
        let signs = signs(step);
        let copies = if steps.len() > 1 { format!(" ×{}", steps.len()) } else { String::new() };
        let shown = tail(inside, 27 - signs.chars().count() - copies.chars().count());
        let class = if step.act.action.is_for_a_person() { "person" } else { "" };
        lines.push(line(number, format!("{shown}{copies}"), shorten(&name, 200), class, signs));
    }
    if count > LINES {
        lines.push(line(
            LINES - 1,
            format!("and {} more", count - LINES + 1),
            String::new(),
            "more",
            String::new(),
        ));
    }
    lines
}

/// What is to be known of a step at a glance; the page explains them.
fn signs(step: &Step) -> String {
    let signs = [
        (step.undo == Undo::Unknown && !step.point_of_no_return, '!'),
        (step.point_of_no_return, '■'),
        (step.act.action.done_by() == DoneBy::GATE, '◆'),
        (step.act.action.done_by() == DoneBy::TASK, '●'),
        (step.downtime == Some(Downtime::Begins), '▼'),
        (step.downtime == Some(Downtime::Ends), '▲'),
    ];
    signs.into_iter().filter(|(holds, _)| *holds).map(|(_, sign)| sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u32, before: &[usize]) -> Node {
        Node { steps: vec![StepIx(number)], before: before.iter().copied().collect() }
    }

    #[test]
    fn what_another_need_says_is_left_out() {
        let nodes = reduced(vec![node(0, &[]), node(1, &[0]), node(2, &[0, 1])]);
        assert_eq!(nodes[2].before, BTreeSet::from([1]));
    }

    #[test]
    fn what_only_follows_is_one_box_and_so_are_many_alike() {
        // 0, 1, then 2 to 7 side by side, then 8 and 9.
        let mut nodes = vec![node(0, &[]), node(1, &[0])];
        nodes.extend((2..8).map(|number| node(number, &[1])));
        nodes.extend([node(8, &[2, 3, 4, 5, 6, 7]), node(9, &[8])]);
        let stacks = boxes(&nodes);
        let sizes: Vec<usize> = stacks.iter().map(|stack| stack.nodes.len()).collect();
        assert_eq!(sizes, [2, 6, 2]);
        assert_eq!(stacks[2].before, BTreeSet::from([1]));
    }
}
