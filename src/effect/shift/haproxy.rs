//! HAProxy's runtime API: two servers of a backend and their weights.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Divider, EffectError, Weights};
use crate::runbook::traffic::Haproxy;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

pub struct Backend<'a>(pub &'a Haproxy<String>);

impl Divider for Backend<'_> {
    fn read(&self) -> Result<Weights, EffectError> {
        let Haproxy { backend, from, to, .. } = self.0;
        // These stand in commands that end at a space, `;` or line break.
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
        };
        if let Some(wrong) = [backend, from, to].into_iter().find(|name| !is_name(name)) {
            return Err(EffectError::before(format!(
                "`{wrong}` cannot be a name in HAProxy: it has letters, digits and -_.: only"
            )));
        }
        if from == to {
            return Err(EffectError::before(format!(
                "from and to are both {from}: traffic is moved between two servers"
            )));
        }
        let mut weights = Weights::new();
        for server in [from, to] {
            let answer = self.ask(&format!("get weight {backend}/{server}"))?;
            let weight =
                answer.split_whitespace().next().filter(|weight| weight.parse::<u16>().is_ok());
            let weight = weight.ok_or_else(|| self.refused(&answer))?;
            weights.insert(server.clone(), weight.to_owned());
        }
        Ok(weights)
    }

    fn set(&self, weights: &Weights) -> Result<(), EffectError> {
        let Haproxy { backend, from, to, .. } = self.0;
        let weight = |server: &String| {
            weights.get(server).and_then(|weight| weight.parse::<u16>().ok()).unwrap_or_default()
        };
        let command = |server: &String| format!("set weight {backend}/{server} {}", weight(server));
        // In one line, so that it is taken as a whole; what grows goes first, so that there is
        // always a server.
        let (first, second) = if weight(to) > 0 { (to, from) } else { (from, to) };
        let answer = self.ask(&format!("{}; {}", command(first), command(second)))?;
        if answer.trim().is_empty() { Ok(()) } else { Err(self.refused(&answer)) }
    }

    fn is_ready(&self) -> Result<(), EffectError> {
        let Haproxy { socket, backend, to, .. } = self.0;
        // Behind the names of proxy and server, the status is the sixteenth cell.
        let line = format!("{backend},{to},");
        let table = self.ask("show stat")?;
        let status = table
            .lines()
            .find_map(|found| found.strip_prefix(&line)?.split(',').nth(15))
            .unwrap_or_default();
        match status.starts_with("DOWN")
            || status.starts_with("MAINT")
            || status.starts_with("NOLB")
        {
            true => Err(EffectError::before(format!(
                "HAProxy at {socket} says that {to} of {backend} is {status}: it takes no traffic"
            ))),
            false => Ok(()),
        }
    }

    fn at(&self, percent: u8, _: &Weights) -> Weights {
        let Haproxy { from, to, .. } = self.0;
        Weights::from([
            (from.clone(), (100 - percent.min(100)).to_string()),
            (to.clone(), percent.min(100).to_string()),
        ])
    }
}

impl Backend<'_> {
    fn ask(&self, line: &str) -> Result<String, EffectError> {
        let socket = &self.0.socket;
        self.exchange(line).map_err(|error| {
            EffectError::before(format!(
                "HAProxy's runtime API at {socket} cannot be asked: {error}; its configuration \
                 needs `stats socket {socket} level admin`, and this user must be allowed to use it"
            ))
        })
    }

    fn exchange(&self, line: &str) -> std::io::Result<String> {
        let socket = &self.0.socket;
        if socket.contains('/') {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            return say(stream, line);
        }
        let address =
            socket.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        say(stream, line)
    }

    /// What it says when it does not do what it is asked, with what can be done about it.
    fn refused(&self, answer: &str) -> EffectError {
        let Haproxy { socket, backend, from, to } = self.0;
        let said: Vec<&str> = answer.split_whitespace().collect();
        let said = said.join(" ");
        let remedy = if said.contains("No such backend") {
            format!(
                "; its backends are {}",
                self.names(|proxy, server| (server == "BACKEND").then(|| proxy.to_owned()))
            )
        } else if said.contains("No such server") {
            let is_server = |server: &str| server != "BACKEND" && server != "FRONTEND";
            let of_this = |proxy: &str, server: &str| {
                (proxy == backend && is_server(server)).then(|| server.to_owned())
            };
            format!("; its servers there are {}", self.names(of_this))
        } else if said.contains("Permission denied") {
            "; the socket needs `level admin`".to_owned()
        } else if said.contains("static LB algorithm") {
            "; choose a `balance` that is dynamic, or shift to 100 % at once".to_owned()
        } else {
            String::new()
        };
        EffectError::before(format!(
            "HAProxy at {socket} says of {from} and {to} of {backend}: {said}{remedy}"
        ))
    }

    /// Names from the statistics: the first two columns are a proxy and what belongs to it.
    fn names(&self, take: impl Fn(&str, &str) -> Option<String>) -> String {
        let Ok(table) = self.exchange("show stat") else { return "not to be had".to_owned() };
        let found: Vec<String> = table
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut cells = line.split(',');
                take(cells.next()?, cells.next()?)
            })
            .collect();
        if found.is_empty() { "none".to_owned() } else { found.join(", ") }
    }
}

/// One line, and its whole answer.
fn say(mut stream: impl Read + Write, line: &str) -> std::io::Result<String> {
    let mut answer = Vec::new();
    stream.write_all(format!("{line}\n").as_bytes())?;
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
