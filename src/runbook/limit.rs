//! The limits of every value that comes from outside: a command's output, an answer, a person's
//! words. What keeps them can be written into the journal and read back. It does not know where a
//! value comes from.

use serde_json::Value as Json;

/// How many lists and maps may lie in each other. What journals add around a value, and what
/// readers of JSON take (128), is far away from it.
pub const MAX_DEPTH: usize = 64;
/// How many bytes a value may have as JSON.
pub const MAX_BYTES: usize = 1 << 20;
/// How many values may lie in one.
pub const MAX_ITEMS: usize = 100_000;
/// How many bytes a text may have that a person gives: a reason, a name.
pub const MAX_WORDS: usize = 4096;

/// Why a value is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    #[error("it is nested more than {MAX_DEPTH} levels deep")]
    Depth,
    #[error("it has {0} bytes, and {MAX_BYTES} are the most")]
    Bytes(usize),
    #[error("it has more than {MAX_ITEMS} values in it")]
    Items,
}

/// Why a text is no value.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    #[error("it is no JSON: {0}")]
    Syntax(#[from] serde_json::Error),
}

/// Reads a value that keeps the limits.
///
/// # Errors
/// If it does not, or the text is no JSON.
pub fn parse(text: &str) -> Result<Json, Unreadable> {
    if text.len() > MAX_BYTES {
        return Err(Exceeded::Bytes(text.len()).into());
    }
    let value: Json = match serde_json::from_str(text) {
        // The reader's own limit, which is above ours.
        Err(error) if error.to_string().starts_with("recursion limit") => {
            return Err(Exceeded::Depth.into());
        }
        read => read?,
    };
    check(&value)?;
    Ok(value)
}

/// Whether a value keeps the limits. Its depth is no matter of the stack.
///
/// # Errors
/// Which one it does not keep.
pub fn check(value: &Json) -> Result<(), Exceeded> {
    check_depth(value)?;
    // Only now: this one goes down with each level.
    let bytes = bytes_of(value);
    if bytes > MAX_BYTES { Err(Exceeded::Bytes(bytes)) } else { Ok(()) }
}

fn check_depth(value: &Json) -> Result<(), Exceeded> {
    let (mut items, mut open) = (0, vec![(value, 0)]);
    while let Some((value, depth)) = open.pop() {
        let inner: Box<dyn Iterator<Item = &Json>> = match value {
            Json::Array(list) => Box::new(list.iter()),
            Json::Object(map) => Box::new(map.values()),
            _ => continue,
        };
        if depth == MAX_DEPTH {
            return Err(Exceeded::Depth);
        }
        for value in inner {
            items += 1;
            if items > MAX_ITEMS {
                return Err(Exceeded::Items);
            }
            open.push((value, depth + 1));
        }
    }
    Ok(())
}

/// How long a value is as JSON, without making that.
fn bytes_of(value: &Json) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, value) {
        Ok(()) => count.0,
        // Of what cannot be written down, nothing is taken.
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn a_value_keeps_depth_size_and_count() {
        for depth in [1, 63, 64] {
            assert!(parse(&nested(depth)).is_ok(), "{depth}");
        }
        for depth in [65, 126, 127, 128, 400_000] {
            assert!(
                matches!(parse(&nested(depth)), Err(Unreadable::Exceeded(Exceeded::Depth))),
                "{depth}"
            );
        }
        let text = |length: usize| format!("\"{}\"", "a".repeat(length));
        assert!(parse(&text(MAX_BYTES - 2)).is_ok());
        assert!(matches!(
            parse(&text(MAX_BYTES - 1)),
            Err(Unreadable::Exceeded(Exceeded::Bytes(_)))
        ));
        // What is escaped is longer as JSON.
        assert_eq!(
            check(&Json::String("\0".repeat(MAX_BYTES / 2))),
            Err(Exceeded::Bytes(MAX_BYTES * 3 + 2))
        );
        let list = |count: usize| Json::Array(vec![Json::Null; count]);
        assert_eq!(check(&list(MAX_ITEMS)), Ok(()));
        assert_eq!(check(&list(MAX_ITEMS + 1)), Err(Exceeded::Items));
        assert!(matches!(parse("{"), Err(Unreadable::Syntax(_))));
    }
}
