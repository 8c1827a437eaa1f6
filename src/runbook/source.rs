//! One YAML file as text with a position for every node, read within limits. Knows YAML, not what a
//! runbook is.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::{Place, Problem, Problems};

/// The deepest nesting read; a runbook needs about 12.
pub const MAX_DEPTH: usize = 64;
/// The largest file read, in bytes.
pub const MAX_BYTES: usize = 64 << 20;
/// The most nodes that aliases may add on top of those written out.
pub const MAX_ALIASED_NODES: usize = 100_000;

/// A file that was read: its name as shown to people, its text, and where each node stands in it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
    pub root: Mark,
    /// Keys that stand twice in one mapping.
    pub duplicates: Vec<Problem>,
}

/// Where a node stands, and its children. Lines and columns count from 1, columns in characters.
#[derive(Debug, Default)]
pub struct Mark {
    pub place: Place,
    children: Children,
}

#[derive(Debug, Default)]
enum Children {
    #[default]
    None,
    // Boxed, so that a leaf, of which there can be a million, stays small.
    #[expect(clippy::box_collection, reason = "a Vec would double the size of every leaf")]
    List(Box<Vec<Mark>>),
    #[expect(clippy::box_collection, reason = "as above")]
    Map(Box<Vec<(String, Place, Mark)>>),
}

impl Mark {
    /// The child of a mapping under `key`.
    pub fn get(&self, key: &str) -> Option<&Mark> {
        self.entries().iter().find(|entry| entry.0 == key).map(|entry| &entry.2)
    }

    /// The place of `key` itself in a mapping.
    pub fn key(&self, key: &str) -> Option<Place> {
        self.entries().iter().find(|entry| entry.0 == key).map(|entry| entry.1)
    }

    /// A mapping's entries in the order written: key, place of the key, value.
    pub fn entries(&self) -> &[(String, Place, Mark)] {
        match &self.children {
            Children::Map(entries) => entries,
            _ => &[],
        }
    }

    /// A sequence's items.
    pub fn items(&self) -> &[Mark] {
        match &self.children {
            Children::List(items) => items,
            _ => &[],
        }
    }

    /// The place of the node that the keys of `path` lead to, or of the last one on the way that
    /// has a place of its own (nothing inside an alias has).
    pub fn place_at(&self, path: &[&str]) -> Place {
        let mut mark = self;
        for key in path {
            match mark.get(key) {
                Some(next) => mark = next,
                None => break,
            }
        }
        mark.place
    }
}

impl Source {
    /// Reads `bytes` as one YAML document. Everything that a later pass must not meet is refused
    /// here: invalid UTF-8, duplicate keys, tags, several documents, and whatever goes over the
    /// limits above.
    pub fn read(
        file: usize,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<(Source, serde_yaml::Value), Problems> {
        let nowhere = Place { file: file as u32, line: 1, column: 1, length: 0 };
        let refuse = |place: Place, text: &str, message: String, help: Option<String>| Problems {
            names: vec![(name.to_owned(), text.to_owned())],
            list: vec![Problem::new(place, message, help)],
        };
        if bytes.len() > MAX_BYTES {
            return Err(refuse(
                nowhere,
                "",
                format!(
                    "the file has {} bytes, more than the {MAX_BYTES} that are read",
                    bytes.len()
                ),
                None,
            ));
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let before = &text[..valid.min(text.len())];
                let line = before.matches('\n').count() as u32 + 1;
                let column = before.rsplit('\n').next().unwrap_or("").chars().count() as u32 + 1;
                let place = Place { file: file as u32, line, column, length: 1 };
                let help = "save the file as UTF-8".to_owned();
                return Err(refuse(
                    place,
                    &text,
                    format!("byte {valid} is not valid UTF-8"),
                    Some(help),
                ));
            }
        };
        let mut reader =
            Reader { file: file as u32, list: Vec::new(), anchors: Vec::new(), aliased: 0 };
        // Two parsers, one for the places and one for the values, each with limits of its own: side
        // by side, as a runbook with many edges takes both a while.
        let (root, value) = std::thread::scope(|scope| {
            let value = scope.spawn(|| serde_yaml::from_str::<serde_yaml::Value>(&text));
            (
                reader.document(&text),
                value.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            )
        });
        let root = match root {
            Ok(root) => root,
            Err(problem) => {
                reader.list.push(problem);
                Mark::default()
            }
        };
        if !reader.list.is_empty() {
            return Err(Problems { names: vec![(name.to_owned(), text)], list: reader.list });
        }
        let twice = duplicates(&root);
        // A key that stands twice would end the parse: it is told here, and renamed for what
        // follows, whose places come from the marks and so stay right.
        let value =
            if twice.is_empty() { value } else { serde_yaml::from_str(&rename(&text, &twice)) };
        match value {
            Ok(value) => {
                Ok((Source { name: name.to_owned(), text, root, duplicates: twice }, value))
            }
            Err(error) => {
                let place = error.location().map_or(nowhere, |at| Place {
                    file: file as u32,
                    line: at.line() as u32,
                    column: at.column() as u32,
                    length: 1,
                });
                Err(refuse(place, &text, format!("this is not valid YAML: {error}"), None))
            }
        }
    }
}

/// Puts a mark into each of these keys.
fn rename(text: &str, keys: &[Problem]) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let mut places: Vec<Place> = keys.iter().map(|problem| problem.place).collect();
    places.sort();
    for (number, place) in places.iter().enumerate().rev() {
        let Some(line) = lines.get_mut(place.line as usize - 1) else { continue };
        if let Some((at, _)) = line.char_indices().nth(place.column as usize) {
            line.insert_str(at, &format!("~{number}"));
        } else {
            line.push_str(&format!("~{number}"));
        }
    }
    lines.join("\n")
}

/// Builds the tree of marks from parser events, without recursion, so that depth is bounded by a
/// check and not by the stack.
struct Reader {
    file: u32,
    list: Vec<Problem>,
    /// For each anchor id, how many nodes it holds, aliases followed; `None` while it is still
    /// open.
    anchors: Vec<Option<usize>>,
    aliased: usize,
}

struct Open {
    mark: Mark,
    key: Option<(String, Place)>,
    is_map: bool,
    anchor: usize,
    nodes: usize,
}

impl Reader {
    fn document(&mut self, text: &str) -> Result<Mark, Problem> {
        let mut open: Vec<Open> = Vec::new();
        let mut root: Option<Mark> = None;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                let at = error.marker();
                let place = Place {
                    file: self.file,
                    line: at.line() as u32,
                    column: at.col() as u32 + 1,
                    length: 1,
                };
                Problem::new(place, format!("this is not valid YAML: {}", error.info()), None)
            })?;
            let place = self.place(&span);
            match event {
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(Problem::new(
                        place,
                        "a second document begins here",
                        Some("a file holds one runbook; remove the `---`".into()),
                    ));
                }
                Event::SequenceStart(anchor, ref tag) | Event::MappingStart(anchor, ref tag) => {
                    self.refuse_tag(tag.is_some(), place);
                    let is_map = matches!(event, Event::MappingStart(..));
                    if open.len() >= MAX_DEPTH {
                        return Err(Problem::new(
                            place,
                            format!("nested deeper than {MAX_DEPTH} levels"),
                            None,
                        ));
                    }
                    if open.last().is_some_and(|parent| parent.is_map && parent.key.is_none()) {
                        return Err(Problem::new(place, "a key must be a plain name", None));
                    }
                    self.open_anchor(anchor);
                    let children = if is_map {
                        Children::Map(Box::default())
                    } else {
                        Children::List(Box::default())
                    };
                    open.push(Open {
                        mark: Mark { place, children },
                        key: None,
                        is_map,
                        anchor,
                        nodes: 1,
                    });
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(done) = open.pop() {
                        self.close_anchor(done.anchor, done.nodes);
                        self.add(&mut open, &mut root, done.mark, done.nodes, None);
                    }
                }
                Event::Scalar(value, style, anchor, tag) => {
                    self.refuse_tag(tag.is_some(), place);
                    self.open_anchor(anchor);
                    self.close_anchor(anchor, 1);
                    let is_null =
                        style == ScalarStyle::Plain && matches!(value.as_ref(), "" | "~" | "null");
                    let key = (!is_null).then(|| value.as_ref());
                    self.add(
                        &mut open,
                        &mut root,
                        Mark { place, children: Children::None },
                        1,
                        Some(key),
                    );
                }
                Event::Alias(anchor) => {
                    let Some(nodes) = self.anchors.get(anchor).copied().flatten() else {
                        return Err(Problem::new(
                            place,
                            "this alias stands inside its own anchor",
                            None,
                        ));
                    };
                    self.aliased = self.aliased.saturating_add(nodes);
                    if self.aliased > MAX_ALIASED_NODES {
                        let message =
                            format!("aliases here repeat more than {MAX_ALIASED_NODES} nodes");
                        return Err(Problem::new(
                            place,
                            message,
                            Some("write the parts out, or use for_each".into()),
                        ));
                    }
                    self.add(
                        &mut open,
                        &mut root,
                        Mark { place, children: Children::None },
                        nodes,
                        None,
                    );
                }
                _ => {}
            }
        }
        root.ok_or_else(|| {
            let place = Place { file: self.file, line: 1, column: 1, length: 0 };
            Problem::new(
                place,
                "the file is empty",
                Some("a runbook begins with `runbook: its-name`".into()),
            )
        })
    }

    /// Adds a finished node to the innermost open collection. `scalar` is its text if it could be a
    /// mapping's key.
    fn add(
        &mut self,
        open: &mut [Open],
        root: &mut Option<Mark>,
        mark: Mark,
        nodes: usize,
        scalar: Option<Option<&str>>,
    ) {
        let Some(parent) = open.last_mut() else {
            *root = Some(mark);
            return;
        };
        parent.nodes = parent.nodes.saturating_add(nodes);
        match &mut parent.mark.children {
            Children::List(items) => items.push(mark),
            Children::Map(entries) => match parent.key.take() {
                Some((key, place)) => entries.push((key, place, mark)),
                None => match scalar {
                    Some(Some(key)) => parent.key = Some((key.to_owned(), mark.place)),
                    _ => {
                        self.list.push(Problem::new(
                            mark.place,
                            "a key must be a plain name",
                            None,
                        ));
                        parent.key = Some((String::new(), mark.place));
                    }
                },
            },
            Children::None => {}
        }
    }

    fn open_anchor(&mut self, anchor: usize) {
        if anchor > 0 {
            if self.anchors.len() <= anchor {
                self.anchors.resize(anchor + 1, None);
            }
            self.anchors[anchor] = None;
        }
    }

    fn close_anchor(&mut self, anchor: usize, nodes: usize) {
        if anchor > 0 {
            self.anchors[anchor] = Some(nodes);
        }
    }

    fn refuse_tag(&mut self, tagged: bool, place: Place) {
        if tagged {
            self.list.push(Problem::new(
                place,
                "YAML tags such as `!!str` are not used here",
                Some("remove the tag".into()),
            ));
        }
    }

    fn place(&self, span: &Span) -> Place {
        let (start, end) = (span.start, span.end);
        let length =
            if end.line() == start.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Place {
            file: self.file,
            line: start.line() as u32,
            column: start.col() as u32 + 1,
            length: length as u32,
        }
    }
}

/// Every key that stands twice in one mapping, wherever it is. A typed reader would silently keep
/// the last one.
fn duplicates(root: &Mark) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut waiting = vec![root];
    while let Some(mark) = waiting.pop() {
        let mut seen = std::collections::HashMap::with_capacity(mark.entries().len());
        for (key, place, value) in mark.entries() {
            if let Some(first) = seen.insert(key.as_str(), *place) {
                let message = format!(
                    "`{key}` stands here a second time; the first is on line {}",
                    first.line
                );
                let help = Some("rename or remove one of the two".into());
                found.push(Problem { is_duplicate: true, ..Problem::new(*place, message, help) });
            }
            waiting.push(value);
        }
        waiting.extend(mark.items());
    }
    found
}
