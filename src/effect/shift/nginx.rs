//! A file of servers that nginx includes in an `upstream`. A new file takes its place in one go, is
//! tested, and is put back if it does not stand the test.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Divider, EffectError, Job, Keeper, Weights};
use crate::effect::aside;
use crate::effect::replace::replace;
use crate::runbook::traffic::Nginx;

pub struct Upstream<'a> {
    pub nginx: &'a Nginx<String>,
    pub job: &'a Job,
    pub keeper: &'a Keeper,
}

impl Divider for Upstream<'_> {
    fn read(&self) -> Result<Weights, EffectError> {
        let Nginx { from, to, .. } = self.nginx;
        if from == to {
            return Err(EffectError::before(format!(
                "from and to are both {from}: traffic is moved between two servers"
            )));
        }
        let text = self.text()?;
        [from, to]
            .into_iter()
            .map(|address| {
                Ok((address.clone(), text[self.place(&text, address)?].trim().to_owned()))
            })
            .collect()
    }

    fn set(&self, weights: &Weights) -> Result<(), EffectError> {
        let old = self.text()?;
        let mut new = old.clone();
        for (address, weight) in weights {
            let place = self.place(&new, address)?;
            let weight = if weight.is_empty() { String::new() } else { format!(" {weight}") };
            new.replace_range(place, &weight);
        }
        if new != old {
            self.write(&new)?;
        }
        let test =
            if self.nginx.test.is_empty() { Ok(()) } else { self.run(&self.nginx.test, "test") };
        test.and_then(|()| self.run(&self.nginx.reload, "reload")).map_err(|error| {
            let file = &self.nginx.file;
            match self.write(&old) {
                Ok(()) => EffectError::before(format!("{}; {file} is as it was", error.message)),
                Err(again) => EffectError::during(format!(
                    "{}, and {file} could not be put back: {}",
                    error.message, again.message
                )),
            }
        })
    }

    fn at(&self, percent: u8, like: &Weights) -> Weights {
        let Nginx { from, to, .. } = self.nginx;
        let percent = percent.min(100);
        let of = |address: &String, share: u8| {
            (address.clone(), with_share(like.get(address).map_or("", String::as_str), share))
        };
        Weights::from([of(from, 100 - percent), of(to, percent)])
    }
}

/// A server's options with this share of the traffic. nginx knows no weight of 0.
fn with_share(options: &str, share: u8) -> String {
    let word = if share == 0 { "down".to_owned() } else { format!("weight={share}") };
    let mut words: Vec<&str> = Vec::new();
    let is_share = |word: &str| word == "down" || word.starts_with("weight=");
    let mut is_set = false;
    for old in options.split_whitespace() {
        match is_share(old) {
            true if is_set => {}
            true => {
                words.push(&word);
                is_set = true;
            }
            false => words.push(old),
        }
    }
    if !is_set {
        words.push(&word);
    }
    words.join(" ")
}

impl Upstream<'_> {
    /// The file itself, not what links to it.
    fn path(&self) -> Result<PathBuf, EffectError> {
        Path::new(&self.nginx.file).canonicalize().map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, error: &dyn std::fmt::Display) -> EffectError {
        EffectError::before(format!(
            "{}: {error}; it is to be the file with the `server` lines that nginx includes in its \
             upstream, and this user must be allowed to replace it",
            self.nginx.file
        ))
    }

    fn text(&self) -> Result<String, EffectError> {
        std::fs::read_to_string(self.path()?).map_err(|error| self.unusable(&error))
    }

    /// Where the options of this server stand, with the space before them.
    fn place(&self, text: &str, address: &str) -> Result<Range<usize>, EffectError> {
        let file = &self.nginx.file;
        let servers = servers(text);
        let mut found =
            servers.iter().filter(|(name, _)| *name == address).map(|(_, place)| place.clone());
        match (found.next(), found.next()) {
            (Some(place), None) => Ok(place),
            (Some(_), Some(_)) => {
                Err(EffectError::before(format!("{file} has the server {address} more than once")))
            }
            (None, _) => {
                let names: Vec<&str> = servers.iter().map(|(name, _)| *name).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Err(EffectError::before(format!(
                    "{file} has no server {address}; its servers are {names}"
                )))
            }
        }
    }

    fn write(&self, text: &str) -> Result<(), EffectError> {
        replace(&self.path()?, text).map_err(|error| self.unusable(&error))
    }

    fn run(&self, words: &[String], what: &str) -> Result<(), EffectError> {
        aside::run(self.job, words, what, None, self.keeper).map(drop).map_err(|error| {
            EffectError {
                message: format!("the {what} of {}: {}", self.nginx.file, error.message),
                ..error
            }
        })
    }
}

/// The servers of a file: the address of each, and where its options stand.
fn servers(text: &str) -> Vec<(&str, Range<usize>)> {
    let mut found = Vec::new();
    let (mut at, bytes) = (0, text.as_bytes());
    // The words of the statement at hand, each with its place.
    let mut words: Vec<Range<usize>> = Vec::new();
    while at < bytes.len() {
        match bytes[at] {
            b'#' => at = text[at..].find('\n').map_or(bytes.len(), |end| at + end),
            b';' => {
                if let [first, address, ..] = words.as_slice()
                    && &text[first.clone()] == "server"
                {
                    found.push((
                        &text[address.clone()],
                        address.end..words.last().map_or(address.end, |last| last.end),
                    ));
                }
                words.clear();
                at += 1;
            }
            b'{' | b'}' => {
                words.clear();
                at += 1;
            }
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => {
                let end = text[at..]
                    .find(|c: char| c.is_whitespace() || ";{}".contains(c))
                    .map_or(bytes.len(), |end| at + end);
                words.push(at..end);
                at = end;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_where_they_are_no_comment() {
        let text = "# server a;\nupstream \
            x { server a weight=5\n max_fails=3; zone z 64k; server b:80;server unix:/c down ; }\
            \nserver";
        let seen: Vec<(&str, &str)> =
            servers(text).into_iter().map(|(name, place)| (name, &text[place])).collect();
        assert_eq!(seen, [("a", " weight=5\n max_fails=3"), ("b:80", ""), ("unix:/c", " down")]);
    }

    #[test]
    fn only_the_share_is_changed() {
        assert_eq!(with_share("weight=5 max_fails=3", 90), "weight=90 max_fails=3");
        assert_eq!(with_share("max_fails=3 down", 0), "max_fails=3 down");
        assert_eq!(with_share("weight=3 down backup", 10), "weight=10 backup");
        assert_eq!(with_share("", 0), "down");
    }
}
