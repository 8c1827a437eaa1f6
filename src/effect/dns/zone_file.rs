//! Zone files (RFC 1035). A file is read again under a lock, compared, and replaced as a whole;
//! only the records meant and the serial number are other bytes than before.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use hickory_proto::rr::Name;

use super::record::{Edit, Key, Records, parse, shown, whole};
use super::{Provider, Unwritten, unchanged};
use crate::effect::replace::replace;
use crate::effect::{EffectError, Job, Keeper, Stopper, Teller, aside};
use crate::runbook::zone::{RecordKind, ZoneFile};

/// The words for a record's class.
const CLASSES: [&str; 4] = ["IN", "CH", "HS", "ANY"];
/// How long others may hold the lock.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct OnDisk<'a> {
    pub file: &'a ZoneFile<String>,
    pub job: &'a Job,
    pub keeper: &'a Keeper,
}

impl OnDisk<'_> {
    fn failed(&self, why: &dyn std::fmt::Display) -> EffectError {
        EffectError::before(format!("{}: {why}", self.file.path))
    }

    fn text(&self) -> Result<String, EffectError> {
        std::fs::read_to_string(&self.file.path).map_err(|error| self.failed(&error))
    }

    fn records(&self, text: &str, key: &Key) -> Result<Option<Records>, EffectError> {
        let zone = whole(&self.file.zone).map_err(|why| self.failed(&why))?;
        Parsed::new(text, &zone)
            .and_then(|parsed| parsed.records(key))
            .map_err(|why| self.failed(&why))
    }

    /// Nobody else here changes a file of this folder meanwhile. The lock is on the folder, as the
    /// file itself is replaced.
    fn lock(&self, folder: &Path) -> Result<File, EffectError> {
        let lock = File::open(folder).map_err(|error| self.failed(&error))?;
        let mut waited = Duration::ZERO;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if waited < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                    waited += Duration::from_millis(20);
                }
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }
}

impl Provider for OnDisk<'_> {
    fn read(&mut self, key: &Key) -> Result<Option<Records>, EffectError> {
        self.records(&self.text()?, key)
    }

    fn write(&mut self, edits: &[Edit]) -> Result<(), Unwritten> {
        // A link stays one: what it leads to is replaced.
        let path =
            Path::new(&self.file.path).canonicalize().map_err(|error| self.failed(&error))?;
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let _lock = self.lock(&folder)?;
        unchanged(self, edits)?;
        let zone = whole(&self.file.zone).map_err(|why| self.failed(&why))?;
        let mut text = self.text()?;
        for (at, Edit { key, becomes, .. }) in edits.iter().enumerate() {
            text = Parsed::new(&text, &zone)
                .and_then(|parsed| parsed.changed(key, becomes.as_ref(), at == 0))
                .map_err(|why| self.failed(&why))?;
        }
        // What comes of it is read before it is put in place.
        for Edit { key, becomes, .. } in edits {
            if !Records::same(key.kind, self.records(&text, key)?.as_ref(), becomes.as_ref()) {
                return Err(self
                    .failed(&format!(
                        "{key} cannot be written in a way that reads as it \
                    should; nothing was changed"
                    ))
                    .into());
            }
        }
        replace(&path, &text).map_err(|error| self.failed(&error).into())
    }

    fn size(&mut self, key: &Key) -> Result<usize, EffectError> {
        let text = self.text()?;
        let parsed = Parsed::new(&text, &key.zone).map_err(|why| self.failed(&why))?;
        let sets = parsed.entries.iter().map(|entry| {
            (entry.owner.to_lowercase(), parsed.word(&entry.kind).to_ascii_uppercase())
        });
        Ok(sets.collect::<BTreeSet<_>>().len())
    }

    fn settle(&mut self, _: Option<&str>, _: &Stopper, _: &Teller) -> Result<(), EffectError> {
        if self.file.reload.is_empty() {
            return Ok(());
        }
        aside::run(self.job, &self.file.reload, "reload", None, self.keeper).map(drop).map_err(
            |error| {
                let message = format!(
                    "{} is written, but its server was not told: {}",
                    self.file.path, error.message
                );
                EffectError::during(message)
            },
        )
    }
}

/// One word of a zone file, and where it stands.
#[derive(Debug, Clone)]
struct Word {
    at: Range<usize>,
}

/// A record in a zone file.
#[derive(Debug)]
struct Entry {
    /// From the beginning of its first line to the end of its last one.
    lines: Range<usize>,
    owner: Name,
    /// The word that names the owner; without it, it is the owner of the record before.
    named: Option<Range<usize>>,
    ttl: u32,
    /// The word that says the TTL.
    stated: Option<Range<usize>>,
    kind: Word,
    value: Vec<Word>,
    origin: Name,
}

/// The number of a line, where it stands, and its words.
type Line = (usize, Range<usize>, Vec<Word>);

struct Parsed<'a> {
    text: &'a str,
    entries: Vec<Entry>,
}

impl<'a> Parsed<'a> {
    fn new(text: &'a str, zone: &Name) -> Result<Parsed<'a>, String> {
        let mut parsed = Parsed { text, entries: Vec::new() };
        let (mut origin, mut default, mut last_ttl, mut owner): (
            Name,
            Option<u32>,
            Option<u32>,
            Option<Name>,
        ) = (zone.clone(), None, None, None);
        for (number, lines, words) in lines(text)? {
            let wrong = |why: &str| format!("line {number}: {why}");
            let Some(first) = words.first() else { continue };
            let word = |word: &Word| &text[word.at.clone()];
            let rest: Vec<&str> = words[1..].iter().map(word).collect();
            match (word(first).to_ascii_uppercase().as_str(), rest.as_slice()) {
                ("$ORIGIN", [name]) => {
                    origin = relative(name, &origin).map_err(|why| wrong(&why))?;
                    continue;
                }
                ("$TTL", [ttl]) => {
                    default = Some(seconds(ttl).ok_or_else(|| wrong("this is no TTL"))?);
                    continue;
                }
                (directive, _) if directive.starts_with('$') => {
                    return Err(wrong(&format!("{directive} is not read here")));
                }
                _ => {}
            }
            let is_named = first.at.start == lines.start;
            if is_named {
                owner = Some(relative(word(first), &origin).map_err(|why| wrong(&why))?);
            }
            let mut at = usize::from(is_named);
            let mut stated = None;
            // The TTL and the class stand in any order, and either may be missing.
            while let Some(next) = words.get(at) {
                if CLASSES.contains(&word(next).to_ascii_uppercase().as_str()) {
                    at += 1;
                } else if let (None, Some(ttl)) = (&stated, seconds(word(next))) {
                    stated = Some((ttl, next.at.clone()));
                    at += 1;
                } else {
                    break;
                }
            }
            let kind = words.get(at).ok_or_else(|| wrong("a record has no type"))?.clone();
            let value: Vec<Word> = words[at + 1..].to_vec();
            if let Some((ttl, _)) = &stated {
                last_ttl = Some(*ttl);
            }
            let minimum = || {
                value
                    .get(6)
                    .filter(|_| word(&kind).eq_ignore_ascii_case("SOA"))
                    .and_then(|last| seconds(word(last)))
            };
            let ttl =
                stated.as_ref().map(|(ttl, _)| *ttl).or(default).or(last_ttl).or_else(minimum);
            last_ttl = last_ttl.or(ttl);
            parsed.entries.push(Entry {
                lines,
                owner: owner.clone().ok_or_else(|| wrong("a record has no owner"))?,
                named: is_named.then(|| first.at.clone()),
                ttl: ttl.ok_or_else(|| wrong("a record has no TTL"))?,
                stated: stated.map(|(_, at)| at),
                kind,
                value,
                origin: origin.clone(),
            });
        }
        // Without one, a TTL that changes would change those of the records below it.
        if default.is_none() && parsed.entries.iter().any(|entry| entry.stated.is_none()) {
            return Err("it has records without a TTL of their own, and no $TTL".to_owned());
        }
        Ok(parsed)
    }

    fn word(&self, word: &Word) -> &'a str {
        &self.text[word.at.clone()]
    }

    fn value(&self, kind: RecordKind, entry: &Entry) -> Result<String, String> {
        let text: Vec<&str> = entry.value.iter().map(|word| self.word(word)).collect();
        Ok(shown(&parse(kind, &text.join(" "), Some(&entry.origin))?).unwrap_or_default())
    }

    fn own(&self, key: &Key) -> Vec<usize> {
        let is_own = |entry: &Entry| {
            entry.owner == key.name && self.word(&entry.kind).eq_ignore_ascii_case(key.kind.word())
        };
        (0..self.entries.len()).filter(|at| is_own(&self.entries[*at])).collect()
    }

    fn records(&self, key: &Key) -> Result<Option<Records>, String> {
        let own = self.own(key);
        let Some(first) = own.first() else {
            let is_alias = |entry: &Entry| {
                entry.owner == key.name && self.word(&entry.kind).eq_ignore_ascii_case("CNAME")
            };
            return match self.entries.iter().any(is_alias) {
                true => Err(format!("{} is a CNAME, beside which there is nothing else", key.name)),
                false => Ok(None),
            };
        };
        let ttl = self.entries[*first].ttl;
        let mut values = Vec::new();
        for entry in own.iter().map(|at| &self.entries[*at]) {
            if entry.ttl != ttl {
                return Err(format!(
                    "the records {key} have different TTLs, which could not be put back"
                ));
            }
            values.push(self.value(key.kind, entry)?);
        }
        values.sort();
        Ok(Some(Records { ttl, values, ..Records::default() }))
    }

    /// The text with other records, and perhaps the next serial number.
    fn changed(
        &self,
        key: &Key,
        becomes: Option<&Records>,
        is_next: bool,
    ) -> Result<String, String> {
        let mut edits: Vec<(Range<usize>, String)> =
            if is_next { vec![self.next_serial()?] } else { Vec::new() };
        let own = self.own(key);
        let mut values: Vec<&str> = becomes
            .map(|records| records.values.iter().map(String::as_str).collect())
            .unwrap_or_default();
        let ttl = becomes.map_or(0, |records| records.ttl);
        let (mut stay, mut others) = (Vec::new(), Vec::new());
        for at in own.iter().copied() {
            let value = self.value(key.kind, &self.entries[at])?;
            match values.iter().position(|wanted| *wanted == value) {
                Some(found) => {
                    values.remove(found);
                    stay.push(at);
                }
                None => others.push(at),
            }
        }
        // Records are changed in their places first; then some come, or go.
        for at in others.split_off(0) {
            let entry = &self.entries[at];
            match (values.is_empty(), entry.value.first(), entry.value.last()) {
                (false, Some(first), Some(last)) => {
                    edits.push((first.at.start..last.at.end, values.remove(0).to_owned()));
                    stay.push(at);
                }
                _ => others.push(at),
            }
        }
        for entry in stay.iter().map(|at| &self.entries[*at]).filter(|entry| entry.ttl != ttl) {
            edits.push(match &entry.stated {
                Some(word) => (word.clone(), ttl.to_string()),
                None => (entry.kind.at.start..entry.kind.at.start, format!("{ttl} ")),
            });
        }
        for at in &others {
            let entry = &self.entries[*at];
            edits.push((entry.lines.clone(), String::new()));
            // The record below has its owner from this one.
            let heir = (at + 1..self.entries.len())
                .find(|next| !others.contains(next))
                .map(|next| &self.entries[next]);
            if let Some(heir) =
                heir.filter(|heir| heir.named.is_none() && heir.owner == entry.owner)
            {
                edits.push((heir.lines.start..heir.lines.start, entry.owner.to_ascii()));
            }
        }
        if !values.is_empty() {
            let end = own.last().map_or(self.text.len(), |at| self.entries[*at].lines.end);
            let line_break = if self.text[..end].ends_with('\n') { "" } else { "\n" };
            let lines = values.iter().map(|value| {
                format!("{}\t{ttl}\tIN\t{}\t{value}\n", key.name.to_ascii(), key.kind.word())
            });
            edits.push((end..end, format!("{line_break}{}", lines.collect::<String>())));
        }
        edits.sort_by_key(|(at, _)| (at.start, at.end));
        // Two records that go may leave their owner to the same heir.
        edits.dedup();
        let (mut out, mut from) = (String::with_capacity(self.text.len() + 64), 0);
        for (at, new) in edits {
            out.push_str(self.text.get(from..at.start).ok_or("changes overlap")?);
            out.push_str(&new);
            from = at.end;
        }
        out.push_str(&self.text[from..]);
        Ok(out)
    }

    fn next_serial(&self) -> Result<(Range<usize>, String), String> {
        let soa =
            self.entries.iter().find(|entry| self.word(&entry.kind).eq_ignore_ascii_case("SOA"));
        let serial = soa
            .and_then(|soa| soa.value.get(2))
            .ok_or("it has no SOA record with a serial number")?;
        let number: u32 = self
            .word(serial)
            .parse()
            .map_err(|_| format!("`{}` is no serial number", self.word(serial)))?;
        Ok((serial.at.clone(), number.wrapping_add(1).to_string()))
    }
}

fn relative(text: &str, origin: &Name) -> Result<Name, String> {
    match text {
        "@" => Ok(origin.clone()),
        _ if text.ends_with('.') => whole(text),
        _ => Name::from_ascii(text)
            .and_then(|name| name.append_domain(origin))
            .map_err(|error| format!("`{text}` is no name: {error}")),
    }
}

/// A TTL: seconds, or with units as BIND reads them.
fn seconds(text: &str) -> Option<u32> {
    let (mut total, mut number) = (0u32, None::<u32>);
    for c in text.chars() {
        match c.to_digit(10) {
            Some(digit) => {
                number = Some(number.unwrap_or_default().checked_mul(10)?.checked_add(digit)?)
            }
            None => {
                let unit = match c.to_ascii_lowercase() {
                    's' => 1,
                    'm' => 60,
                    'h' => 3600,
                    'd' => 86_400,
                    'w' => 604_800,
                    _ => return None,
                };
                total = total.checked_add(number.take()?.checked_mul(unit)?)?;
            }
        }
    }
    match number {
        Some(rest) => total.checked_add(rest),
        None if text.is_empty() => None,
        None => Some(total),
    }
}

/// The lines of a zone file, those in parentheses as one: its number, where it stands, and its
/// words, comments left out.
fn lines(text: &str) -> Result<Vec<Line>, String> {
    let bytes = text.as_bytes();
    let (mut all, mut words, mut depth, mut number) = (Vec::new(), Vec::new(), 0u32, 1);
    let (mut start, mut first, mut at) = (0, 1, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\n' => {
                at += 1;
                number += 1;
                if depth == 0 {
                    all.push((first, start..at, std::mem::take(&mut words)));
                    (start, first) = (at, number);
                }
            }
            b' ' | b'\t' | b'\r' => at += 1,
            b';' => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at)
            }
            b'(' => {
                depth += 1;
                at += 1;
            }
            b')' => {
                depth = depth.checked_sub(1).ok_or_else(|| {
                    format!("line {number}: a parenthesis is closed that was not opened")
                })?;
                at += 1;
            }
            b'"' => {
                let begin = at;
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if at >= bytes.len() {
                    return Err(format!("line {number}: a quote is not closed"));
                }
                number += bytes[begin..at].iter().filter(|byte| **byte == b'\n').count();
                at += 1;
                words.push(Word { at: begin..at });
            }
            _ => {
                let begin = at;
                while bytes.get(at).is_some_and(|byte| !b" \t\r\n;()\"".contains(byte)) {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at = at.min(bytes.len());
                words.push(Word { at: begin..at });
            }
        }
    }
    if depth > 0 {
        return Err(format!("line {first}: a parenthesis is not closed"));
    }
    if start < bytes.len() {
        all.push((first, start..bytes.len(), words));
    }
    // A word ends where a character does, as what ends it is ASCII; a backslash may stand before a
    // longer one.
    if all.iter().flat_map(|(_, _, words)| words).any(|word| text.get(word.at.clone()).is_none()) {
        return Err("a backslash stands before a character that is no ASCII".to_owned());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = r#"; the zone of the shop
$TTL 1h
@   IN SOA ns1 admin ( 7 ; serial; do not "forget" it
                       60 30 3600 5 )
    NS  ns1
    NS  ns2.example.org.
ns1 A   192.0.2.1
shop  60 IN A 192.0.2.10 ; the old one
      60 IN A 192.0.2.11
      TXT "a ; b" "c\"d"
$ORIGIN sub.example.test.
www   CNAME shop.example.test.
mail  MX 10 mx
last  A 192.0.2.30"#;

    fn zone() -> Name {
        whole("example.test").unwrap()
    }

    fn read(text: &str, name: &str, kind: RecordKind) -> Option<Records> {
        Parsed::new(text, &zone())
            .unwrap()
            .records(&Key::new("example.test", name, kind).unwrap())
            .unwrap()
    }

    fn write(text: &str, name: &str, kind: RecordKind, ttl: u32, values: &[&str]) -> String {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let values = super::super::record::normal(kind, &values).unwrap();
        let records = (!values.is_empty()).then_some(Records { ttl, values, ..Records::default() });
        Parsed::new(text, &zone())
            .unwrap()
            .changed(&Key::new("example.test", name, kind).unwrap(), records.as_ref(), true)
            .unwrap()
    }

    #[test]
    fn records_are_read_with_owners_ttls_and_origins() {
        let all = |name, kind| {
            read(ZONE, name, kind).map(|records| (records.ttl, records.values.join(" ")))
        };
        assert_eq!(
            all("@", RecordKind::Ns),
            Some((3600, "ns1.example.test. ns2.example.org.".into()))
        );
        assert_eq!(all("shop", RecordKind::A), Some((60, "192.0.2.10 192.0.2.11".into())));
        assert_eq!(all("shop", RecordKind::Txt), Some((3600, r#""a ; b" "c\"d""#.into())));
        assert_eq!(all("mail.sub", RecordKind::Mx), Some((3600, "10 mx.sub.example.test.".into())));
        assert_eq!(all("nothing", RecordKind::A), None);
        let key = Key::new("example.test", "www.sub", RecordKind::A).unwrap();
        assert!(
            Parsed::new(ZONE, &zone())
                .unwrap()
                .records(&key)
                .is_err_and(|error| error.contains("is a CNAME"))
        );
    }

    #[test]
    fn all_other_bytes_stay_as_they_are() {
        let changed = write(ZONE, "shop", RecordKind::A, 60, &["192.0.2.20", "192.0.2.11"]);
        assert_eq!(changed, ZONE.replace("( 7 ;", "( 8 ;").replace("192.0.2.10", "192.0.2.20"));
        // And back again.
        assert_eq!(
            write(&changed, "shop", RecordKind::A, 60, &["192.0.2.10", "192.0.2.11"]),
            ZONE.replace("( 7 ;", "( 9 ;")
        );
        let lowered = write(ZONE, "mail.sub", RecordKind::Mx, 30, &["10 mx.sub.example.test."]);
        assert_eq!(lowered, ZONE.replace("( 7 ;", "( 8 ;").replace("mail  MX", "mail  30 MX"));
        let added = write(ZONE, "new", RecordKind::Txt, 5, &["v=1 x"]);
        assert_eq!(
            added,
            format!(
                "{}\nnew.example.test.\t5\tIN\tTXT\t\"v=1 x\"\n",
                ZONE.replace("( 7 ;", "( 8 ;")
            )
        );
        assert_eq!(
            write(&added, "new", RecordKind::Txt, 5, &[]),
            format!("{}\n", ZONE.replace("( 7 ;", "( 9 ;"))
        );
        // The last line of a file without a line break is a record too.
        assert_eq!(
            write(ZONE, "last.sub", RecordKind::A, 3600, &["192.0.2.31"]),
            ZONE.replace("( 7 ;", "( 8 ;").replace(".30", ".31")
        );
    }

    #[test]
    fn what_goes_leaves_its_name_to_the_record_below() {
        let changed = write(ZONE, "shop", RecordKind::A, 60, &["192.0.2.11"]);
        assert_eq!(read(&changed, "shop", RecordKind::A).unwrap().values, ["192.0.2.11"]);
        let changed = write(ZONE, "shop", RecordKind::A, 60, &[]);
        assert_eq!(
            (read(&changed, "shop", RecordKind::A), read(&changed, "ns1", RecordKind::Txt)),
            (None, None)
        );
        assert_eq!(read(&changed, "shop", RecordKind::Txt), read(ZONE, "shop", RecordKind::Txt));
        let changed = write(ZONE, "ns1", RecordKind::A, 60, &["192.0.2.1", "192.0.2.2"]);
        assert_eq!(
            read(&changed, "ns1", RecordKind::A).unwrap(),
            Records {
                ttl: 60,
                values: vec!["192.0.2.1".into(), "192.0.2.2".into()],
                ..Records::default()
            }
        );
        assert_eq!(read(&changed, "shop", RecordKind::A), read(ZONE, "shop", RecordKind::A));
    }

    #[test]
    fn what_cannot_be_read_for_certain_is_an_error() {
        for (text, words) in [
            ("$INCLUDE other\n", "line 1: $INCLUDE is not read here"),
            ("@ 60 SOA a b ( 1 2 3 4 5\n", "line 1: a parenthesis is not closed"),
            ("@ 60 TXT \"open\n", "line 1: a quote is not closed"),
            ("\n A 192.0.2.1\n", "line 2: a record has no owner"),
            (
                "@ 60 A 192.0.2.1\nx A 192.0.2.2\n",
                "records without a TTL of their own, and no $TTL",
            ),
        ] {
            assert!(Parsed::new(text, &zone()).is_err_and(|error| error.contains(words)), "{text}");
        }
    }
}
