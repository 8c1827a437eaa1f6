//! Changes of a text that are likely to matter: pieces cut out, doubled, swapped, taken from
//! elsewhere, and characters that mean something to somebody.

/// What parsers stumble over.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "- ",
    ": ",
    "\n",
    "\t",
    "  ",
    "\"",
    "'",
    "\\",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "é",
    "#",
    "|",
    ">",
    "!!str ",
    "0",
    "-1",
    "18446744073709551616",
    "1e999",
    "null",
    "true",
    "~",
    "$(x)",
    "%2F",
    "\\n",
    "\\u0041",
    "==",
    "((((((((",
    "))))",
    "||",
    "&&",
    "?",
    "..",
    "@",
    "\x1b[2J",
];

/// The letters and digits around a place, or a single byte.
fn word_at(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_' || **byte == b'-';
    let before = bytes[..at].iter().rev().take_while(is_word).count();
    let after = bytes[at..].iter().take_while(is_word).count();
    if before + after == 0 { at..(at + 1).min(bytes.len()) } else { at - before..at + after }
}

pub struct Mutator {
    state: u64,
}

impl Mutator {
    pub fn new(seed: u64) -> Mutator {
        Mutator { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// A seed after a few changes.
    pub fn change(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        // Mostly one or two: what is changed in many places is refused at the first.
        let most = 1 + self.below(8);
        for _ in 0..1 + self.below(most) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(40)).min(bytes.len());
            match self.below(12) {
                0 => drop(bytes.drain(at..end)),
                1 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, piece);
                }
                2 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    let piece = other[from..(from + self.below(200)).min(other.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                4 => bytes.truncate(at),
                5 => {
                    let piece = PIECES[self.below(PIECES.len())].repeat(1 + self.below(300));
                    bytes.splice(at..at, piece.into_bytes());
                }
                6 | 7 => {
                    let piece = PIECES[self.below(PIECES.len())];
                    bytes.splice(at..end.min(at + 1), piece.bytes());
                }
                // A word takes the place of another, so that what stands around it still means
                // something.
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    let word = word_at(other, from);
                    bytes.splice(word_at(&bytes, at), other[word].to_vec());
                }
            }
        }
        bytes
    }

    /// A number below this one, or 0.
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }
}
