//! Records and their values as texts, as they stand in zone files.

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};
use serde::{Deserialize, Serialize};

use crate::runbook::zone::RecordKind;

/// Which records are meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub zone: Name,
    pub name: Name,
    pub kind: RecordKind,
    /// Which of several weighted sets.
    pub set: Option<String>,
}

/// All records of one type that a name has, or one weighted set of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// In seconds.
    pub ttl: u32,
    pub values: Vec<String>,
    /// Whether a provider answers for them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxied: Option<bool>,
    /// Their share of the answers, in relation to other sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// What tells their provider whether to answer with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<String>,
}

/// What records were, and what they are to become.
#[derive(Debug, Clone)]
pub struct Edit {
    pub key: Key,
    pub was: Option<Records>,
    pub becomes: Option<Records>,
}

impl Key {
    /// # Errors
    /// If the zone or the name is none, or the name is not in the zone.
    pub fn new(zone: &str, name: &str, kind: RecordKind) -> Result<Key, String> {
        let zone = whole(zone)?;
        let name = match name {
            "@" => zone.clone(),
            _ => {
                let given = whole(name)?;
                match (zone.zone_of(&given), name.ends_with('.')) {
                    (true, _) => given,
                    (false, true) => return Err(format!("{given} is not in the zone {zone}")),
                    (false, false) => below(name, &zone)?,
                }
            }
        };
        Ok(Key { zone, name, kind, set: None })
    }

    pub fn record_type(&self) -> RecordType {
        match self.kind {
            RecordKind::A => RecordType::A,
            RecordKind::Aaaa => RecordType::AAAA,
            RecordKind::Cname => RecordType::CNAME,
            RecordKind::Txt => RecordType::TXT,
            RecordKind::Mx => RecordType::MX,
            RecordKind::Ns => RecordType::NS,
            RecordKind::Srv => RecordType::SRV,
            RecordKind::Caa => RecordType::CAA,
            RecordKind::Ptr => RecordType::PTR,
        }
    }

    /// The same name without the final dot.
    pub fn plain(&self) -> String {
        plain(&self.name)
    }
}

/// A name without the final dot.
pub fn plain(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.name, self.kind.word())?;
        self.set.iter().try_for_each(|set| write!(out, " ({set})"))
    }
}

impl Records {
    /// For people.
    pub fn in_words(records: Option<&Records>) -> String {
        match records {
            None => "nothing".to_owned(),
            Some(records) => {
                let proxied = if records.is_proxied() { ", proxied" } else { "" };
                let weight =
                    records.weight.map(|weight| format!(", weight {weight}")).unwrap_or_default();
                let check = records
                    .health_check
                    .as_ref()
                    .map(|check| format!(", health check {check}"))
                    .unwrap_or_default();
                format!(
                    "{} (TTL {}s{proxied}{weight}{check})",
                    records.values.join(", "),
                    records.ttl
                )
            }
        }
    }

    fn is_proxied(&self) -> bool {
        self.proxied == Some(true)
    }

    /// Whether both are the same in every respect.
    pub fn same(kind: RecordKind, one: Option<&Records>, other: Option<&Records>) -> bool {
        match (one, other) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                (one.ttl, one.is_proxied(), one.weight, &one.health_check)
                    == (other.ttl, other.is_proxied(), other.weight, &other.health_check)
                    && same_values(kind, &one.values, &other.values)
            }
            _ => false,
        }
    }
}

/// Whether both lists say the same, in any order.
pub fn same_values(kind: RecordKind, one: &[String], other: &[String]) -> bool {
    let all = |values: &[String]| {
        values.iter().map(|value| parse(kind, value, None).ok()).collect::<Option<Vec<_>>>()
    };
    let (Some(one), Some(other)) = (all(one), all(other)) else { return false };
    one.iter().all(|value| other.contains(value)) && other.iter().all(|value| one.contains(value))
}

/// The values in the one form in which they are stored and compared, each once.
///
/// # Errors
/// If one is no value of this type.
pub fn normal(kind: RecordKind, values: &[String]) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for value in values {
        let shown = shown(&parse(kind, value, None)?).unwrap_or_default();
        if !all.contains(&shown) {
            all.push(shown);
        }
    }
    if kind == RecordKind::Cname && all.len() > 1 {
        return Err("a name has at most one CNAME".to_owned());
    }
    Ok(all)
}

/// A whole name, with or without its final dot.
pub fn whole(text: &str) -> Result<Name, String> {
    let mut name =
        Name::from_ascii(text).map_err(|error| format!("`{text}` is no name: {error}"))?;
    if text.is_empty() {
        return Err("a name is empty".to_owned());
    }
    name.set_fqdn(true);
    Ok(name)
}

/// A name below an origin.
fn below(text: &str, origin: &Name) -> Result<Name, String> {
    let name = Name::from_ascii(text).and_then(|name| name.append_domain(origin));
    name.map_err(|error| format!("`{text}` is no name: {error}"))
}

/// The value that a text stands for. In a zone file, which has an origin, a name without a final
/// dot is below it; elsewhere names are whole, and a text that does not begin with a quote is one
/// string.
pub fn parse(kind: RecordKind, text: &str, origin: Option<&Name>) -> Result<RData, String> {
    let text = text.trim();
    let wrong =
        |why: &str| format!("`{text}` is no value of a record of type {}: {why}", kind.word());
    if kind == RecordKind::Txt && origin.is_none() && !text.starts_with('"') {
        let chunks: Vec<&[u8]> =
            if text.is_empty() { vec![b""] } else { text.as_bytes().chunks(255).collect() };
        return Ok(RData::TXT(TXT::from_bytes(chunks)));
    }
    let words = strings(text).map_err(|why| wrong(&why))?;
    let name = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is no ASCII"))?;
        match origin {
            Some(origin) if text == "@" => Ok(origin.clone()),
            Some(origin) if !text.ends_with('.') => below(text, origin),
            _ => whole(text),
        }
        .map_err(|why| wrong(&why))
    };
    fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
        std::str::from_utf8(bytes).ok()?.parse().ok()
    }
    let out_of_range = || wrong("a number is missing or out of range");
    let address = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    Ok(match (kind, words.as_slice()) {
        (RecordKind::A, [one]) => {
            RData::A(A(address(one).parse().map_err(|_| wrong("it is no IPv4 address"))?))
        }
        (RecordKind::Aaaa, [one]) => {
            RData::AAAA(AAAA(address(one).parse().map_err(|_| wrong("it is no IPv6 address"))?))
        }
        (RecordKind::Cname, [one]) => RData::CNAME(CNAME(name(one)?)),
        (RecordKind::Ns, [one]) => RData::NS(NS(name(one)?)),
        (RecordKind::Ptr, [one]) => RData::PTR(PTR(name(one)?)),
        (RecordKind::Mx, [preference, exchange]) => {
            RData::MX(MX::new(number(preference).ok_or_else(out_of_range)?, name(exchange)?))
        }
        (RecordKind::Srv, [priority, weight, port, target]) => {
            let number = |word: &[u8]| number::<u16>(word).ok_or_else(out_of_range);
            RData::SRV(SRV::new(number(priority)?, number(weight)?, number(port)?, name(target)?))
        }
        (RecordKind::Caa, [flags, tag, value]) => {
            let flags: u8 = number(flags).ok_or_else(out_of_range)?;
            let length = u8::try_from(tag.len()).map_err(|_| wrong("its tag is too long"))?;
            let wire = [&[flags, length], *tag, *value].concat();
            let size = u16::try_from(wire.len()).map_err(|_| wrong("it is too long"))?;
            RData::read(&mut BinDecoder::new(&wire), RecordType::CAA, Restrict::new(size))
                .map_err(|error| wrong(&error.to_string()))?
        }
        (RecordKind::Txt, strings) if !strings.is_empty() => {
            if strings.iter().any(|string| string.len() > 255) {
                return Err(wrong("one of its strings is longer than 255 bytes"));
            }
            RData::TXT(TXT::from_bytes(strings.to_vec()))
        }
        _ => return Err(wrong("it has too few or too many parts")),
    })
}

/// The words of a value, quotes and escapes resolved.
fn strings(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut bytes = text.bytes().peekable();
    loop {
        while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
        let Some(first) = bytes.peek().copied() else { return Ok(words) };
        let is_quoted = first == b'"';
        if is_quoted {
            bytes.next();
        }
        let mut word = Vec::new();
        loop {
            match bytes.peek().copied() {
                None if is_quoted => return Err("a quote is not closed".to_owned()),
                None => break,
                Some(b'"') if is_quoted => {
                    bytes.next();
                    break;
                }
                Some(byte) if !is_quoted && byte.is_ascii_whitespace() => break,
                Some(b'\\') => {
                    bytes.next();
                    let mut digits = Vec::new();
                    while digits.len() < 3
                        && let Some(digit) = bytes.next_if(u8::is_ascii_digit)
                    {
                        digits.push(digit - b'0');
                    }
                    match digits.as_slice() {
                        [] => word.push(bytes.next().ok_or("a backslash stands at its end")?),
                        [a, b, c] => {
                            let code = u16::from(*a) * 100 + u16::from(*b) * 10 + u16::from(*c);
                            word.push(
                                u8::try_from(code).map_err(
                                    |_| "a number behind a backslash is larger than 255",
                                )?,
                            );
                        }
                        _ => {
                            return Err("behind a backslash stand three digits, or none".to_owned());
                        }
                    }
                }
                Some(byte) => {
                    bytes.next();
                    word.push(byte);
                }
            }
        }
        words.push(word);
    }
}

/// A value as it stands in a zone file, names whole; nothing for types that are not read here.
pub fn shown(data: &RData) -> Option<String> {
    Some(match data {
        RData::A(A(address)) => address.to_string(),
        RData::AAAA(AAAA(address)) => address.to_string(),
        RData::CNAME(CNAME(name)) | RData::NS(NS(name)) | RData::PTR(PTR(name)) => name.to_ascii(),
        RData::MX(mx) => format!("{} {}", mx.preference, mx.exchange.to_ascii()),
        RData::SRV(srv) => {
            format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target.to_ascii())
        }
        RData::CAA(caa) => format!("{} {} {}", caa.flags(), caa.tag, quoted(&caa.value)),
        RData::TXT(txt) => {
            txt.txt_data.iter().map(|string| quoted(string)).collect::<Vec<_>>().join(" ")
        }
        _ => return None,
    })
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\{byte:03}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_below_the_zone_or_whole() {
        let name = |name: &str| {
            Key::new("example.test", name, RecordKind::A).map(|key| key.name.to_ascii())
        };
        for (text, is) in [
            ("shop", "shop.example.test."),
            ("@", "example.test."),
            ("shop.example.test", "shop.example.test."),
            ("shop.example.test.", "shop.example.test."),
            ("a.b", "a.b.example.test."),
            ("*.x", "*.x.example.test."),
            ("_sip._tcp", "_sip._tcp.example.test."),
        ] {
            assert_eq!(name(text), Ok(is.to_owned()), "{text}");
        }
        assert!(name("shop.example.org.").is_err_and(|error| error.contains("is not in the zone")));
        assert!(name("").is_err());
    }

    #[test]
    fn values_come_back_as_they_were_given() {
        for (kind, text, is) in [
            (RecordKind::A, "192.0.2.1", "192.0.2.1"),
            (RecordKind::Aaaa, "2001:DB8::1", "2001:db8::1"),
            (RecordKind::Cname, "shop.example.test", "shop.example.test."),
            (RecordKind::Mx, "10 mx.example.test.", "10 mx.example.test."),
            (RecordKind::Srv, "1 2 443 a.example.test", "1 2 443 a.example.test."),
            (RecordKind::Caa, "0 issue \"letsencrypt.org\"", "0 issue \"letsencrypt.org\""),
            (RecordKind::Txt, "v=spf1 -all", "\"v=spf1 -all\""),
            (
                RecordKind::Txt,
                r#""first; \"quoted\"" "se\\cond" "\228""#,
                r#""first; \"quoted\"" "se\\cond" "\228""#,
            ),
        ] {
            assert_eq!(shown(&parse(kind, text, None).unwrap()).unwrap(), is);
            assert!(same_values(kind, &[text.to_owned()], &[is.to_owned()]));
        }
        for (kind, text) in [
            (RecordKind::A, "192.0.2"),
            (RecordKind::A, "192.0.2.1 192.0.2.2"),
            (RecordKind::Mx, "mx.example.test"),
            (RecordKind::Mx, "70000 mx"),
            (RecordKind::Txt, "\"open"),
            (RecordKind::Cname, ""),
        ] {
            assert!(parse(kind, text, None).is_err(), "{text}");
        }
    }
}
