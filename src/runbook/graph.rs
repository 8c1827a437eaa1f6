//! The graph while it is built: steps and barriers (a phase's start, all copies of a step) that
//! need each other; then the order of execution with the barriers dissolved. Knows nothing of what
//! a step does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::expand::DraftIx;
use super::model::{Runbook, StepIx};
use super::{Span, StepMap};

/// A step or a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(usize);

#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Kind>,
    needs: Vec<Vec<Node>>,
}

#[derive(Debug)]
enum Kind {
    Step(DraftIx),
    Barrier(String),
}

/// Which of the nodes that are free comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Barrier(usize),
    Step(DraftIx),
}

/// The steps in order of execution, and what each needs.
pub struct Order {
    pub steps: Vec<DraftIx>,
    pub needs: Vec<Vec<DraftIx>>,
}

impl Graph {
    pub fn step(&mut self, ix: DraftIx) -> Node {
        self.add(Kind::Step(ix))
    }

    pub fn barrier(&mut self, name: &str) -> Node {
        self.add(Kind::Barrier(name.to_owned()))
    }

    fn add(&mut self, kind: Kind) -> Node {
        self.nodes.push(kind);
        self.needs.push(Vec::new());
        Node(self.nodes.len() - 1)
    }

    pub fn need(&mut self, node: Node, needed: Node) {
        self.needs[node.0].push(needed);
    }

    /// Kahn's algorithm; among steps that are free, the one written first comes first.
    ///
    /// # Errors
    /// A cycle, as the names along it, the first one again at its end.
    pub fn order(&self, label: impl Fn(DraftIx) -> String) -> Result<Order, Vec<String>> {
        let count = self.nodes.len();
        let mut waits: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (node, needs) in self.needs.iter().enumerate() {
            for need in needs {
                followers[need.0].push(node);
            }
        }
        // A barrier is passed at once, so that it does not push a step behind later ones.
        let rank = |node: usize| match &self.nodes[node] {
            Kind::Barrier(_) => Rank::Barrier(node),
            Kind::Step(ix) => Rank::Step(*ix),
        };
        let mut free: BinaryHeap<Reverse<(Rank, usize)>> = (0..count)
            .filter(|node| waits[*node] == 0)
            .map(|node| Reverse((rank(node), node)))
            .collect();
        let mut order = Vec::with_capacity(count);
        while let Some(Reverse((_, node))) = free.pop() {
            order.push(node);
            for &follower in &followers[node] {
                waits[follower] -= 1;
                if waits[follower] == 0 {
                    free.push(Reverse((rank(follower), follower)));
                }
            }
        }
        if order.len() < count {
            return Err(self.cycle(&waits, label));
        }
        Ok(self.dissolve(&order))
    }

    /// Replaces each barrier in a step's needs by the steps behind it.
    fn dissolve(&self, order: &[usize]) -> Order {
        let mut behind: Vec<Vec<DraftIx>> = vec![Vec::new(); self.nodes.len()];
        let mut result = Order { steps: Vec::new(), needs: Vec::new() };
        for &node in order {
            let mut steps = Vec::with_capacity(self.needs[node].len());
            for need in &self.needs[node] {
                match self.nodes[need.0] {
                    Kind::Step(ix) => steps.push(ix),
                    Kind::Barrier(_) => steps.extend_from_slice(&behind[need.0]),
                }
            }
            steps.sort_unstable();
            steps.dedup();
            match self.nodes[node] {
                Kind::Step(ix) => {
                    result.steps.push(ix);
                    result.needs.push(steps);
                }
                Kind::Barrier(_) => behind[node] = steps,
            }
        }
        result
    }

    fn cycle(&self, waits: &[usize], label: impl Fn(DraftIx) -> String) -> Vec<String> {
        // Every node left over needs one that is left over too: walking along must come back to
        // where it was.
        let mut at = (0..self.nodes.len()).find(|node| waits[*node] > 0).unwrap_or_default();
        let (mut path, mut seen) = (Vec::new(), HashSet::new());
        while seen.insert(at) {
            path.push(at);
            match self.needs[at].iter().find(|need| waits[need.0] > 0) {
                Some(next) => at = next.0,
                None => break,
            }
        }
        let from = path.iter().position(|node| *node == at).unwrap_or(0);
        let name = |node: &usize| match &self.nodes[*node] {
            Kind::Step(ix) => Some(label(*ix)),
            Kind::Barrier(_) => None,
        };
        let mut names: Vec<String> = path[from..].iter().filter_map(name).collect();
        if names.is_empty() {
            names = path[from..]
                .iter()
                .map(|node| {
                    if let Kind::Barrier(name) = &self.nodes[*node] {
                        format!("phase {name}")
                    } else {
                        String::new()
                    }
                })
                .collect();
        }
        names.dedup();
        // From the one that waits to the one waited for, as people read `needs`.
        names.extend(names.first().cloned());
        names
    }
}

/// The longest way through the graph by the estimates of its steps, and how long it takes.
pub fn critical_path(runbook: &Runbook) -> (Vec<StepIx>, Span) {
    longest_way(runbook, |ix| runbook.step(ix).estimated())
}

/// The longest way through the graph, and how long it takes, where `estimate` says how long each
/// step does.
pub fn longest_way(runbook: &Runbook, estimate: impl Fn(StepIx) -> Span) -> (Vec<StepIx>, Span) {
    let mut finish = StepMap::filled((Span::ZERO, None), runbook.steps.len());
    for ix in runbook.ixs() {
        let needs = &runbook.step(ix).needs;
        let before = needs
            .iter()
            .map(|need| (finish[*need].0, Some(*need)))
            .max()
            .unwrap_or((Span::ZERO, None));
        finish[ix] = (before.0 + estimate(ix), before.1);
    }
    let Some(last) = runbook.ixs().max_by_key(|ix| (finish[*ix].0, Reverse(*ix))) else {
        return (Vec::new(), Span::ZERO);
    };
    let total = finish[last].0;
    let mut path = vec![last];
    let mut at = last;
    while let Some(before) = finish[at].1 {
        path.push(before);
        at = before;
    }
    path.reverse();
    (path, total)
}
