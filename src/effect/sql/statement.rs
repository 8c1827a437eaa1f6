//! Just enough of SQL's shape to tell statements apart and to find the `:name` of a value: what is
//! quoted or a comment is left alone. Knows no grammar.

/// How values stand in a statement as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `$1`
    Postgres,
    /// `?`
    Mysql,
}

/// One statement as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub text: String,
    /// The names of its values, in the order of their places.
    pub names: Vec<String>,
}

/// Whether a server can say what it would do with it: whatever else it is, it may be about what is
/// not there yet.
pub fn is_explained(text: &str) -> bool {
    matches!(&*first_word(text), "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "MERGE" | "WITH")
}

/// The statements of a text, without those that are empty.
pub fn statements(text: &str, dialect: Dialect) -> Vec<Statement> {
    let (mut all, mut one, mut rest) =
        (Vec::new(), Statement { text: String::new(), names: Vec::new() }, text);
    while !rest.is_empty() {
        let quoted = length_of_quoted(rest, dialect);
        if quoted > 0 {
            one.text.push_str(&rest[..quoted]);
            rest = &rest[quoted..];
        } else if let Some(after) = rest.strip_prefix(';') {
            all.push(std::mem::replace(
                &mut one,
                Statement { text: String::new(), names: Vec::new() },
            ));
            rest = after;
        } else if rest.starts_with("::") || rest.starts_with(":=") {
            one.text.push_str(&rest[..2]);
            rest = &rest[2..];
        } else if let Some(name) = name_at(rest) {
            let place = match dialect {
                // A name that comes twice is one value.
                Dialect::Postgres => one.names.iter().position(|known| known == name),
                Dialect::Mysql => None,
            };
            let place = place.unwrap_or_else(|| {
                one.names.push(name.to_owned());
                one.names.len() - 1
            });
            match dialect {
                Dialect::Postgres => one.text.push_str(&format!("${}", place + 1)),
                Dialect::Mysql => one.text.push('?'),
            }
            rest = &rest[1 + name.len()..];
        } else {
            let plain = rest.chars().next().map_or(1, char::len_utf8);
            one.text.push_str(&rest[..plain]);
            rest = &rest[plain..];
        }
    }
    all.push(one);
    all.retain(|one| {
        !first_word(&one.text).is_empty()
            || !one.text.trim().is_empty() && !is_comment(&one.text, dialect)
    });
    all
}

/// The first word, in capitals, behind comments and space.
pub fn first_word(text: &str) -> String {
    let mut rest = text.trim_start();
    loop {
        let comment = length_of_comment(rest, Dialect::Mysql);
        if comment == 0 {
            break;
        }
        rest = rest[comment..].trim_start();
    }
    rest.chars().take_while(|c| c.is_ascii_alphabetic()).collect::<String>().to_ascii_uppercase()
}

fn is_comment(text: &str, dialect: Dialect) -> bool {
    let mut rest = text.trim_start();
    while length_of_comment(rest, dialect) > 0 {
        rest = rest[length_of_comment(rest, dialect)..].trim_start();
    }
    rest.is_empty()
}

fn name_at(text: &str) -> Option<&str> {
    let name = text.strip_prefix(':')?;
    let length = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    (length > 0 && !name.starts_with(|c: char| c.is_ascii_digit())).then(|| &name[..length])
}

/// How long the quoted text, name or comment at the beginning is; 0 if there is none.
fn length_of_quoted(text: &str, dialect: Dialect) -> usize {
    let comment = length_of_comment(text, dialect);
    if comment > 0 {
        return comment;
    }
    let escapes = dialect == Dialect::Mysql;
    match text.as_bytes()[0] {
        b'E' | b'e' if dialect == Dialect::Postgres && text[1..].starts_with('\'') => {
            1 + to_quote(&text[1..], b'\'', true)
        }
        b'\'' => to_quote(text, b'\'', escapes),
        b'"' => to_quote(text, b'"', escapes),
        b'`' if dialect == Dialect::Mysql => to_quote(text, b'`', false),
        b'$' if dialect == Dialect::Postgres => to_tag(text),
        // Inside of a word neither `E'` nor `$` begins anything.
        first if first.is_ascii_alphanumeric() || first == b'_' => {
            text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(text.len())
        }
        _ => 0,
    }
}

fn length_of_comment(text: &str, dialect: Dialect) -> usize {
    let to_line_end = || text.find('\n').map_or(text.len(), |end| end + 1);
    if text.starts_with("--") || dialect == Dialect::Mysql && text.starts_with('#') {
        return to_line_end();
    }
    if !text.starts_with("/*") {
        return 0;
    }
    let (bytes, mut at, mut depth) = (text.as_bytes(), 0, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] if depth == 0 || dialect == Dialect::Postgres => {
                (depth, at) = (depth + 1, at + 2)
            }
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Up to and with the closing quote; a doubled one is none.
fn to_quote(text: &str, quote: u8, escapes: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            found if found == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            found if found == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `$tag$ … $tag$`, or 0.
fn to_tag(text: &str) -> usize {
    let Some(end) = text[1..].find('$') else { return 0 };
    let tag = &text[..end + 2];
    let word = &tag[1..tag.len() - 1];
    if word.starts_with(|c: char| c.is_ascii_digit())
        || !word.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return 0;
    }
    text[tag.len()..].find(tag).map_or(text.len(), |close| tag.len() + close + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, dialect: Dialect) -> Vec<(String, String)> {
        statements(text, dialect)
            .into_iter()
            .map(|one| (one.text.trim().to_owned(), one.names.join(" ")))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(text, names)| ((*text).to_owned(), (*names).to_owned())).collect()
    }

    #[test]
    fn values_are_found_where_nothing_is_quoted() {
        let text = "SELECT ':no', \":no\", a::int, :a, :b, :a -- :no\
            \n, /* :no /* ; */ :no */ $x$ :no ; $x$, E'\\':no', word$1, x:y;";
        let expected = "SELECT ':no', \":no\", a::int, $1, $2, $1 -- :no\
            \n, /* :no /* ; */ :no */ $x$ :no ; $x$, E'\\':no', word$1, x$3";
        assert_eq!(split(text, Dialect::Postgres), pairs(&[(expected, "a b y")]));
        assert_eq!(
            split("SELECT `:no`, '\\':no', \"a\"\":no\", :a, :a # :no\n", Dialect::Mysql),
            pairs(&[("SELECT `:no`, '\\':no', \"a\"\":no\", ?, ? # :no", "a a")])
        );
    }

    #[test]
    fn statements_end_at_semicolons_that_are_not_quoted() {
        let text =
            "DO $$ BEGIN x; END $$; -- only; words\n;; INSERT INTO t VALUES (';', :v); -- the end";
        assert_eq!(
            split(text, Dialect::Postgres),
            pairs(&[("DO $$ BEGIN x; END $$", ""), ("INSERT INTO t VALUES (';', $1)", "v")])
        );
        assert_eq!(split("  ", Dialect::Mysql), []);
        for unfinished in ["'a", "$a$ b", "/* x", "\"", "e'", ":", "$", "--"] {
            let whole: String =
                statements(unfinished, Dialect::Postgres).into_iter().map(|one| one.text).collect();
            assert!(unfinished.starts_with(&whole) || whole == unfinished, "{unfinished}");
        }
    }

    #[test]
    fn the_first_word_is_behind_comments() {
        assert_eq!(first_word(" /* x */ -- y\n  commit;"), "COMMIT");
        assert_eq!(first_word("(SELECT 1)"), "");
    }
}
