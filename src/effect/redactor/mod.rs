//! Masks secret values in a byte stream, in every spelling common tools print them in, before the
//! bytes reach the disk. It knows the secrets' names and values, and nothing of where the bytes
//! come from, where they go or who may read them.

mod file;
mod spelling;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use spelling::spellings;

/// How many bytes the search hashes together. A needle has at least as many, so a value of fewer is
/// not masked at all.
const BLOCK: usize = 4;
/// How much of a needle's beginning the search looks at: more means longer leaps, but a fuller
/// table.
const WINDOW: usize = 32;
/// Masks secrets in one stream of bytes. A clone shares the search tables, so that making a second
/// one for a second stream is cheap.
#[derive(Clone)]
pub struct Redactor {
    search: Arc<Search>,
    /// The end of the stream so far, if what comes next may make it a needle.
    held: Vec<u8>,
    /// How many of the held bytes a mark already written stands for.
    masked: usize,
}

impl Redactor {
    /// A redactor for secrets given as pairs of a name and a value; if two are spelled alike, the
    /// name is the first one's.
    ///
    /// White space around a value is not part of the secret. Each occurrence becomes `(the secret
    /// NAME)`, or something that tells less if this might be, or make, an occurrence itself.
    #[must_use]
    pub fn new(secrets: &[(String, String)]) -> Self {
        Self { search: Arc::new(Search::new(secrets)), held: Vec::new(), masked: 0 }
    }

    /// Goes on in the same stream with what another one masks.
    pub fn take_over(&mut self, other: &Redactor) {
        self.search = Arc::clone(&other.search);
    }

    /// Takes the next bytes of the stream, cut anywhere, and appends to `out` all that can be
    /// decided about by now.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        self.advance(false, out);
    }

    /// Ends the stream: appends what was held back. The redactor is then ready for another stream.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.advance(true, out);
    }

    /// Masks a text that is complete in itself, apart from the stream.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        self.search.scan(text.as_bytes(), 0, true, &mut out);
        // Needles and marks are whole characters, so this replaces nothing.
        String::from_utf8_lossy(&out).into_owned()
    }

    fn advance(&mut self, ended: bool, out: &mut Vec<u8>) {
        let (decided, masked) = self.search.scan(&self.held, self.masked, ended, out);
        self.held.drain(..decided);
        self.masked = masked - decided;
    }
}

/// One that masks nothing.
impl Default for Redactor {
    fn default() -> Redactor {
        Redactor::new(&[])
    }
}

// What is held and searched for must not get into a log by way of `{:?}`.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// One spelling of one secret.
struct Needle {
    text: String,
    secret: usize,
}

enum Verdict<'a> {
    Nothing,
    Undecided,
    Found(&'a Needle),
}

/// All needles, and a table to leap over what cannot be one (Wu and Manber's search, with hashed
/// blocks).
///
/// For twenty secrets, an Aho-Corasick DFA takes 20 ms and 14 MB to build, and its NFA looks at
/// every byte; a command may be over in less. This looks at one block in a window's length, if all
/// needles are long, and has but the sorted needles and small tables.
struct Search {
    /// Sorted, each text once.
    needles: Vec<Needle>,
    /// The replacement for each secret.
    marks: Vec<String>,
    /// As many bytes as every needle has, up to [`WINDOW`].
    window: usize,
    /// By the hash of a window's last block: how far the next window is that may be a needle's
    /// beginning.
    leaps: Vec<u8>,
    /// By the same hash of a block: whether a needle may begin with it. Chunks are often short, and
    /// a leap does not help near their end.
    begins: Vec<bool>,
    hash_shift: u32,
}

impl Search {
    fn new(secrets: &[(String, String)]) -> Self {
        let mut needles = Vec::new();
        for (secret, (_, value)) in secrets.iter().enumerate() {
            needles.extend(
                spellings(value)
                    .into_iter()
                    .filter(|text| text.len() >= BLOCK)
                    .map(|text| Needle { text, secret }),
            );
        }
        needles.sort_unstable_by(|a, b| (&a.text, a.secret).cmp(&(&b.text, b.secret)));
        needles.dedup_by(|a, b| a.text == b.text);
        needles.shrink_to_fit();

        let window = needles.iter().map(|needle| needle.text.len()).fold(WINDOW, usize::min);
        // Past a block that is in no needle's beginning: no window that has this block can be one.
        let farthest = u8::try_from(window - BLOCK + 1).unwrap_or(u8::MAX);
        // Few slots taken by chance, and still within a processor's second cache.
        let slots = (4 * window * needles.len()).next_power_of_two().clamp(1 << 10, 1 << 16);
        let mut search = Self {
            marks: secrets.iter().map(|(name, _)| mark(name, &needles)).collect(),
            window,
            leaps: vec![farthest; slots],
            begins: vec![false; slots],
            hash_shift: u32::BITS - slots.ilog2(),
            needles,
        };
        for needle in &search.needles {
            let beginning = &needle.text.as_bytes()[..search.window];
            for (leap, block) in (0..).zip(beginning.array_windows().rev()) {
                let nearest = &mut search.leaps[slot(*block, search.hash_shift)];
                *nearest = leap.min(*nearest);
            }
            if let Some(block) = beginning.first_chunk() {
                search.begins[slot(*block, search.hash_shift)] = true;
            }
        }
        search
    }

    /// Appends to `out` the part of `text` that can be decided about, but for its first `done`
    /// bytes, which an earlier mark stands for. Returns how many bytes are decided, and how many
    /// are written or masked, which may be more.
    ///
    /// What is masked is the union of all occurrences: to leave what only the second of two
    /// overlapping ones covers would leak it. A place is judged by the bytes from there on alone,
    /// and only once these suffice, so it makes no difference how a stream is cut.
    fn scan(&self, text: &[u8], mut done: usize, ended: bool, out: &mut Vec<u8>) -> (usize, usize) {
        let mut at = self.leap(text, 0);
        while at < text.len() {
            match self.judge(&text[at..], ended) {
                Verdict::Nothing => {}
                Verdict::Undecided => break,
                Verdict::Found(needle) => {
                    if done <= at {
                        out.extend_from_slice(&text[done..at]);
                        out.extend_from_slice(self.marks[needle.secret].as_bytes());
                    }
                    done = done.max(at + needle.text.len());
                }
            }
            at = self.leap(text, at + 1);
        }
        // Nothing, if a mark stands for more.
        out.extend_from_slice(text.get(done..at).unwrap_or_default());
        (at, done.max(at))
    }

    /// The first place from `at` on that may be the beginning of a needle, as is every place nearer
    /// to the end than a window.
    fn leap(&self, text: &[u8], mut at: usize) -> usize {
        while let Some(block) = text.get(at + self.window - BLOCK..).and_then(<[u8]>::first_chunk) {
            match self.leaps[slot(*block, self.hash_shift)] {
                0 => break,
                leap => at += usize::from(leap),
            }
        }
        at
    }

    /// Looks for the longest needle that `text` begins with.
    fn judge(&self, text: &[u8], ended: bool) -> Verdict<'_> {
        if text.first_chunk().is_some_and(|block| !self.begins[slot(*block, self.hash_shift)]) {
            return Verdict::Nothing;
        }
        let after = self.needles.partition_point(|needle| needle.text.as_bytes() <= text);
        // Needles that go on where the text ends sort right after it, ...
        if !ended
            && self
                .needles
                .get(after)
                .is_some_and(|needle| needle.text.as_bytes().starts_with(text))
        {
            return Verdict::Undecided;
        }
        // ... and those it begins with before it, the longest last, though others that share their
        // beginning may come between.
        let akin = |needle: &&Needle| text.starts_with(&needle.text.as_bytes()[..BLOCK]);
        let found = self.needles[..after]
            .iter()
            .rev()
            .take_while(akin)
            .find(|needle| text.starts_with(needle.text.as_bytes()));
        found.map_or(Verdict::Nothing, Verdict::Found)
    }
}

fn slot(block: [u8; BLOCK], hash_shift: u32) -> usize {
    (u32::from_le_bytes(block).wrapping_mul(0x9E37_79B1) >> hash_shift) as usize
}

/// The replacement for the secret of this name: `(the secret NAME)`, unless that might make a
/// needle.
///
/// Why the output has no needle if all marks are safe: suppose it has one. Text kept between two
/// marks was in one piece in the input, and all needles there are masked, so this one overlaps a
/// mark; take the first such mark. If the needle begins before it, then it ends within (a beginning
/// of the mark is the needle's end) or not (the needle contains the mark). If it begins at or
/// within the mark, then it ends there too (the mark contains the needle) or goes on (an end of the
/// mark is the needle's beginning, or all of the mark is). [`is_safe`] rules out each for every
/// needle, whatever is next to the mark, be it text or a mark.
fn mark(name: &str, needles: &[Needle]) -> String {
    let usual = [format!("(the secret {name})"), "***".to_owned()];
    // A character in no needle is always safe. There is one, for secrets with all million of them
    // would not fit into an environment.
    let blocks = ('\u{2588}'..=char::MAX).map(String::from);
    usual.into_iter().chain(blocks).find(|mark| is_safe(mark, needles)).unwrap_or_default()
}

/// Whether a mark and a needle never overlap; both are whole characters, so it is enough to cut the
/// mark between these.
fn is_safe(mark: &str, needles: &[Needle]) -> bool {
    let cuts = || mark.char_indices().skip(1).map(|(cut, _)| mark.split_at(cut));
    needles.iter().map(|needle| needle.text.as_str()).all(|needle| {
        // Most needles lack the mark's brackets, and this is many times faster than to look for all
        // beginnings and ends.
        let has = |edge: Option<&u8>| edge.is_some_and(|edge| needle.as_bytes().contains(edge));
        let (has_first, has_last) = (has(mark.as_bytes().first()), has(mark.as_bytes().last()));
        !(has_first && cuts().any(|(beginning, _)| needle.ends_with(beginning))
            || has_last && cuts().any(|(_, end)| needle.starts_with(end))
            || has_first && has_last && needle.contains(mark)
            || mark.contains(needle))
    })
}
