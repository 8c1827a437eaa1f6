//! Copies of a `for_each` step as one: a page has no room for 66 of everything. Knows only names.

use indexmap::IndexMap;

/// The name that all copies share: `region[us-east-1]/node[7]` is `region[…]/node[…]`.
pub fn base(id: &str) -> String {
    let (mut base, mut depth) = (String::with_capacity(id.len()), 0usize);
    for c in id.chars() {
        match c {
            '[' if depth == 0 => base.push_str("[…"),
            '[' | ']' if depth > 1 => {}
            ']' if depth == 1 => base.push(']'),
            _ if depth == 0 => base.push(c),
            _ => {}
        }
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    base
}

/// Each once, with how many copies: `region[…] (6)`. What stands alone keeps its whole name.
pub fn folded<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut all: IndexMap<String, (&str, usize)> = IndexMap::new();
    for id in ids {
        all.entry(base(id)).or_insert((id, 0)).1 += 1;
    }
    let word = |(base, (id, count)): (String, (&str, usize))| {
        if count == 1 { id.to_owned() } else { format!("{base} ({count})") }
    };
    all.into_iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_one() {
        assert_eq!(base("p/region[us-east-1]/node[7]"), "p/region[…]/node[…]");
        assert_eq!(base("p/odd[a[1]b]x"), "p/odd[…]x");
        assert_eq!(folded(["p/a", "p/b[1]", "p/b[2]", "p/c[1]"]), ["p/a", "p/b[…] (2)", "p/c[1]"]);
    }
}
