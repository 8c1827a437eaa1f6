//! A disk that loses its power: by what `tests/shim/record.c` wrote down of the calls of all
//! processes, what it may have kept at any moment. What was synced is there. Of the rest, each
//! block, each size and each entry of a folder is there or not: a disk promises no order. It does
//! not know what the files mean.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// A line of the recording.
#[derive(Debug, Clone)]
pub enum Call {
    Create {
        number: String,
        path: PathBuf,
    },
    Folder {
        number: String,
        path: PathBuf,
    },
    Write {
        number: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Size {
        number: String,
        size: usize,
    },
    Sync {
        number: String,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    /// One process said something to another.
    Send(Vec<u8>),
    /// What a step's command did to the world, which loses nothing.
    Witness(String),
}

/// Reads a recording; paths are those below `root`, and what lies elsewhere is left out.
pub fn read(recording: &str, root: &Path) -> Vec<Call> {
    recording.lines().filter_map(|line| call(line, root)).collect()
}

fn call(line: &str, root: &Path) -> Option<Call> {
    let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = rest.split(' ').collect();
    let number = words[0].to_owned();
    let below = |at: usize| Path::new(words[at]).strip_prefix(root).ok().map(Path::to_owned);
    let size = |at: usize| words[at].parse().expect("a size");
    Some(match what {
        "create" => Call::Create { number, path: below(1)? },
        "folder" => Call::Folder { number, path: below(1)? },
        "write" => Call::Write { number, at: size(1), bytes: unhex(words[2]) },
        "size" => Call::Size { number, size: size(1) },
        "sync" => Call::Sync { number },
        "rename" => Call::Rename { from: below(0)?, to: below(1)? },
        "link" => Call::Link { from: below(0)?, to: below(1)? },
        "unlink" => Call::Unlink { path: below(0)? },
        "send" => Call::Send(unhex(words[0])),
        "witness" => Call::Witness(rest.to_owned()),
        _ => panic!("{line:?} in a recording"),
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Numbers that look random, the same for the same seed.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn of(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}

/// What is left: files with their bytes, and folders.
pub type Left = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// The disk as the processes see it, and which part of that is certain.
#[derive(Debug)]
pub struct Disk {
    /// The first one is the folder that is looked at.
    nodes: Vec<Node>,
    /// By what the kernel calls them; it uses the number of a file that is gone again.
    numbers: HashMap<String, usize>,
}

#[derive(Debug)]
enum Node {
    File { durable: Vec<u8>, pending: Vec<Change> },
    Folder { durable: Entries, now: Entries, pending: Vec<Vec<(String, Option<usize>)>> },
}

type Entries = BTreeMap<String, usize>;

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

impl Disk {
    /// With a folder of this number, in which nothing is that matters.
    pub fn of(number: String) -> Disk {
        Disk { nodes: vec![Node::folder()], numbers: HashMap::from([(number, 0)]) }
    }

    pub fn take(&mut self, call: &Call) {
        match call {
            Call::Create { number, path } => {
                self.made(number, path, Node::File { durable: Vec::new(), pending: Vec::new() })
            }
            Call::Folder { number, path } => self.made(number, path, Node::folder()),
            Call::Write { number, at, bytes } => {
                self.change(number, || Change::Write(*at, bytes.clone()))
            }
            Call::Size { number, size } => self.change(number, || Change::Size(*size)),
            Call::Sync { number } => {
                if let Some(node) = self.numbers.get(number) {
                    self.nodes[*node].sync();
                }
            }
            Call::Rename { from, to } => {
                let node = self.find(from).expect("what was renamed");
                assert_eq!(
                    from.parent(),
                    to.parent(),
                    "what is renamed into another folder is not known here"
                );
                self.enter(to, vec![(name(from), None), (name(to), Some(node))]);
            }
            Call::Link { from, to } => {
                let node = self.find(from).expect("what was linked");
                self.enter(to, vec![(name(to), Some(node))]);
            }
            Call::Unlink { path } => self.enter(path, vec![(name(path), None)]),
            Call::Send(_) | Call::Witness(_) => {}
        }
    }

    fn made(&mut self, number: &str, path: &Path, node: Node) {
        self.nodes.push(node);
        self.numbers.insert(number.to_owned(), self.nodes.len() - 1);
        self.enter(path, vec![(name(path), Some(self.nodes.len() - 1))]);
    }

    fn change(&mut self, number: &str, change: impl Fn() -> Change) {
        if let Some(node) = self.numbers.get(number)
            && let Node::File { pending, .. } = &mut self.nodes[*node]
        {
            pending.push(change());
        }
    }

    fn enter(&mut self, path: &Path, entries: Vec<(String, Option<usize>)>) {
        let folder = self
            .find(path.parent().expect("a folder"))
            .unwrap_or_else(|| panic!("nobody made the folder of {path:?}"));
        let Node::Folder { now, pending, .. } = &mut self.nodes[folder] else {
            panic!("{path:?} lies in a file")
        };
        put(now, &entries);
        pending.push(entries);
    }

    fn find(&self, path: &Path) -> Option<usize> {
        path.components().try_fold(0, |at, part| match &self.nodes[at] {
            Node::Folder { now, .. } => now.get(part.as_os_str().to_str()?).copied(),
            Node::File { .. } => None,
        })
    }

    /// What of a file a loss of power may take, if anything: its bytes, or an entry on the way to
    /// it.
    pub fn uncertain(&self, path: &Path) -> Option<String> {
        let mut at = 0;
        for part in path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()) {
            let Node::Folder { durable, now, .. } = &self.nodes[at] else {
                return Some(format!("{path:?} lies in a file"));
            };
            match now.get(&part) {
                Some(node) if durable.get(&part) == Some(node) => at = *node,
                Some(_) => {
                    return Some(format!("the entry {part} on the way to {path:?} is not synced"));
                }
                None => return Some(format!("there is no {part} on the way to {path:?}")),
            }
        }
        match &self.nodes[at] {
            Node::File { pending, .. } if !pending.is_empty() => {
                Some(format!("{path:?} is not synced"))
            }
            _ => None,
        }
    }

    /// Where what the recording calls by this number lies now.
    pub fn path_of(&self, number: &str) -> Option<PathBuf> {
        let wanted = *self.numbers.get(number)?;
        self.walk(0, Path::new(""))
            .into_iter()
            .find(|(_, node)| *node == wanted)
            .map(|(path, _)| path)
    }

    /// The folder of the only run.
    pub fn folder_of_the_run(&self) -> PathBuf {
        let runs = Path::new("journal/runs");
        let all = self.walk(0, Path::new("")).into_iter().map(|(path, _)| path);
        all.into_iter().find(|path| path.parent() == Some(runs)).expect("a run")
    }

    fn walk(&self, at: usize, path: &Path) -> Vec<(PathBuf, usize)> {
        let mut found = vec![(path.to_owned(), at)];
        if let Node::Folder { now, .. } = &self.nodes[at] {
            found.extend(now.iter().flat_map(|(name, node)| self.walk(*node, &path.join(name))));
        }
        found
    }

    /// What a loss of power now may leave.
    pub fn lose(&self, chance: &mut Chance) -> Left {
        // Nothing, everything, or of each thing whether it is there by its own chance of so many in
        // ten.
        let kept = [0, 10, 1, 5, 5, 9][chance.below(6)];
        let unit = [512, 4096][chance.below(2)];
        let mut left = Left::new();
        self.lose_folder(0, Path::new(""), &mut left, &mut Keep { kept, unit, chance });
        left
    }

    fn lose_folder(&self, at: usize, path: &Path, left: &mut Left, keep: &mut Keep) {
        let Node::Folder { durable, pending, .. } = &self.nodes[at] else { return };
        let mut entries = durable.clone();
        // Some file systems keep the order of what is done to folders, others do not.
        let is_ordered = keep.chance.below(2) == 0;
        for change in pending {
            match keep.keeps() {
                true => put(&mut entries, change),
                false if is_ordered => break,
                false => {}
            }
        }
        for (name, node) in entries {
            let path = path.join(name);
            match &self.nodes[node] {
                Node::File { durable, pending } => {
                    drop(left.insert(path, Some(keep.file(durable, pending))))
                }
                Node::Folder { .. } => {
                    left.insert(path.clone(), None);
                    self.lose_folder(node, &path, left, keep);
                }
            }
        }
    }
}

impl Node {
    fn folder() -> Node {
        Node::Folder { durable: Entries::new(), now: Entries::new(), pending: Vec::new() }
    }

    fn sync(&mut self) {
        match self {
            Node::File { durable, pending } => {
                for change in pending.drain(..) {
                    match change {
                        Change::Write(at, bytes) => {
                            durable.resize(durable.len().max(at + bytes.len()), 0);
                            durable[at..at + bytes.len()].copy_from_slice(&bytes);
                        }
                        Change::Size(size) => durable.resize(size, 0),
                    }
                }
            }
            Node::Folder { durable, now, pending } => {
                durable.clone_from(now);
                pending.clear();
            }
        }
    }
}

fn put(entries: &mut Entries, changes: &[(String, Option<usize>)]) {
    for (name, node) in changes {
        match node {
            Some(node) => drop(entries.insert(name.clone(), *node)),
            None => drop(entries.remove(name)),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_str().expect("a name").to_owned()
}

/// What of a disk is kept.
struct Keep<'a> {
    /// In how many of ten cases.
    kept: usize,
    /// What is written in one go, in bytes.
    unit: usize,
    chance: &'a mut Chance,
}

impl Keep<'_> {
    fn keeps(&mut self) -> bool {
        self.chance.below(10) < self.kept
    }

    /// How many of the changes of one thing came to the disk.
    fn count(&mut self, all: usize) -> usize {
        if self.kept == 0 {
            0
        } else if self.keeps() {
            all
        } else {
            self.chance.below(all)
        }
    }

    fn file(&mut self, durable: &[u8], pending: &[Change]) -> Vec<u8> {
        let mut bytes = durable.to_vec();
        if pending.is_empty() {
            return bytes;
        }
        let last = self.count(pending.len());
        let mut size = durable.len();
        // By the number of a block, how many changes it has seen.
        let mut seen: HashMap<usize, usize> = HashMap::new();
        for (number, change) in pending.iter().enumerate() {
            let (from, to) = match change {
                Change::Write(at, new) => (*at, at + new.len()),
                Change::Size(size) => (*size, bytes.len().max(*size)),
            };
            if number < last {
                size = if let Change::Size(size) = change { *size } else { size.max(to) };
            }
            bytes.resize(bytes.len().max(to), 0);
            let mut at = from;
            while at < to {
                let block = at / self.unit;
                let end = to.min((block + 1) * self.unit);
                let until = *seen.entry(block).or_insert_with(|| self.count(pending.len()));
                if number < until {
                    match change {
                        Change::Write(from, new) => {
                            bytes[at..end].copy_from_slice(&new[at - from..end - from])
                        }
                        Change::Size(_) => bytes[at..end].fill(0),
                    }
                }
                at = end;
            }
        }
        bytes.resize(size, 0);
        bytes
    }
}
